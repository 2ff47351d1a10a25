//! One container: a program of the host, run in the pod's namespaces and run again when it ends.

use super::NodeConfig;
use super::image::Program;
use super::log_store::LogStore;
use super::pod::Pod;
use super::status::Phase;
use crate::lab::bootstrap;
use crate::lab::pilot::{MONITORING_PORT, XDS_TLS_PORT};
use crate::lab::process::{Process, ProcessSpec};
use crate::lab::sandbox::Sandbox;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

/// Envoy's own word that its workers take traffic: the first configuration is in and warm.
const ENVOY_READY: &[u8] = b"starting workers";
/// Istio runs Envoy at level warning; its start-up lines are only for us.
const ENVOY_START_UP: &[u8] = b"][info][config]";
/// Longest wait before a container that keeps failing is started again.
const MAX_BACK_OFF: Duration = Duration::from_secs(300);

pub struct Container {
    pub spec: core::Container,
    program: Program,
    pub log: Arc<LogStore>,
    /// What every process of the container starts with; the host's environment is not among it.
    pub env: Vec<(String, String)>,
}

impl Container {
    pub fn new(spec: core::Container, program: Program, pod: &Pod, config: &NodeConfig) -> Container {
        let log = if program == Program::Pilot { config.pilot_log.clone() } else { Arc::default() };
        let env = environment(&spec, pod, config);
        Container { spec, program, log, env }
    }
}

fn environment(spec: &core::Container, pod: &Pod, config: &NodeConfig) -> Vec<(String, String)> {
    let roots = config.outside_roots.display().to_string();
    let mut env = vec![
        ("PATH".to_string(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_string()),
        // An empty home: a `.curlrc` of the user is not part of the lab.
        ("HOME".to_string(), pod.folder(config).join("home").display().to_string()),
        ("HOSTNAME".to_string(), pod.name.clone()),
        ("LANG".to_string(), "C.UTF-8".to_string()),
        ("SSL_CERT_FILE".to_string(), roots.clone()),
        ("CURL_CA_BUNDLE".to_string(), roots),
    ];
    for var in spec.env.iter().flatten() {
        let field = var.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
        let value = var.value.clone().or_else(|| field.and_then(|field| pod_field(&field.field_path, pod)));
        env.push((var.name.clone(), value.unwrap_or_default()));
    }
    env
}

fn pod_field(path: &str, pod: &Pod) -> Option<String> {
    match path {
        "metadata.name" => Some(pod.name.clone()),
        "metadata.namespace" => Some(pod.namespace.clone()),
        "metadata.uid" => Some(pod.uid.clone()),
        "status.podIP" => Some(pod.ip.to_string()),
        "spec.serviceAccountName" => pod.object.spec.as_ref()?.service_account_name.clone(),
        _ => None,
    }
}

/// Runs the container until the pod ends, starting it again as the pod's restart policy says.
pub async fn keep_running(container: Arc<Container>, pod: Arc<Pod>, config: Arc<NodeConfig>) {
    let policy = pod.object.spec.as_ref().and_then(|spec| spec.restart_policy.clone()).unwrap_or_default();
    let mut ending = pod.ending.subscribe();
    loop {
        let exit = match run(&container, &pod, &config).await {
            Ok(exit) => exit,
            Err(message) => {
                pod.set_state(&container.spec.name, Phase::Waiting { reason: "RunContainerError", message });
                128
            }
        };
        if *ending.borrow() {
            return;
        }
        if policy == "Never" || (policy == "OnFailure" && exit == 0) {
            pod.set_state(&container.spec.name, Phase::Ended { exit, at: Timestamp::now() });
            return;
        }
        let restarts = pod.count_restart(&container.spec.name);
        // The first time at once; then as a kubelet does, 10 s and doubling.
        let back_off = match restarts {
            0 | 1 => Duration::ZERO,
            n => Duration::from_secs(10).saturating_mul(1 << (n - 2).min(6)).min(MAX_BACK_OFF),
        };
        if !back_off.is_zero() {
            let message = format!("back-off {back_off:?} restarting failed container (exit code {exit})");
            pod.set_state(&container.spec.name, Phase::Waiting { reason: "CrashLoopBackOff", message });
        }
        if tokio::time::timeout(back_off, ending.wait_for(|ending| *ending)).await.is_ok() {
            return;
        }
    }
}

async fn run(container: &Arc<Container>, pod: &Arc<Pod>, config: &Arc<NodeConfig>) -> Result<i32, String> {
    let Some(sandbox) = pod.sandbox() else { return Err("the pod has no sandbox".into()) };
    let name = container.spec.name.clone();
    let since = Timestamp::now();
    let argv = match &container.program {
        Program::Done => return Ok(0),
        Program::Pilot if config.istiod.is_some() => return run_istiod(container, pod, config, &sandbox, since).await,
        Program::Pilot => {
            for port in [MONITORING_PORT, XDS_TLS_PORT] {
                let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
                let listener = sandbox.listen_tcp(address).await.map_err(|error| error.to_string())?;
                let listener = listener.into_std().map_err(|error| format!("cannot listen: {error}"))?;
                (config.serve_pilot)(&pod.name, port, listener).map_err(|error| error.to_string())?;
            }
            pod.set_state(&name, Phase::Running { since, ready: true });
            // The pilot lives as long as the lab.
            let _ = pod.ending.subscribe().wait_for(|ending| *ending).await;
            return Ok(0);
        }
        Program::Proxy => envoy_command(pod, config).await?,
        Program::Host(default) => {
            let command = container.spec.command.iter().flatten().chain(container.spec.args.iter().flatten());
            let mut argv: Vec<String> = command.cloned().collect();
            if argv.is_empty() {
                argv = default.iter().map(|word| word.to_string()).collect();
            }
            argv
        }
    };
    let mut process = sandbox
        .spawn(ProcessSpec { argv, env: container.env.clone(), cwd: None, stdin: false })
        .await
        .map_err(|error| error.to_string())?;
    // The process outlives no sandbox: holding it here must not keep the pod's namespaces.
    drop(sandbox);
    let proxy = container.program == Program::Proxy;
    pod.set_state(&name, Phase::Running { since, ready: !proxy });
    let watched = pod.clone();
    pump(&container.log, &mut process, move |line| {
        if !proxy {
            return true;
        }
        let has = |words: &[u8]| line.windows(words.len()).any(|part| part == words);
        if has(ENVOY_READY) {
            watched.set_state(&name, Phase::Running { since, ready: true });
        }
        !has(ENVOY_START_UP)
    });
    process.wait().await.map_err(|error| error.to_string())
}

/// A real istiod: ready when it says so.
async fn run_istiod(
    container: &Arc<Container>,
    pod: &Arc<Pod>,
    config: &Arc<NodeConfig>,
    sandbox: &Arc<Sandbox>,
    since: Timestamp,
) -> Result<i32, String> {
    let Some(istiod) = &config.istiod else { return Err("no istiod is given".into()) };
    let (argv, more) = istiod.command(&pod.name);
    let env = container.env.iter().cloned().chain(more).collect();
    let cwd = Some(pod.folder(config).join("home"));
    let api = istiod.lend_api(sandbox).await?;
    let spawned = sandbox.spawn(ProcessSpec { argv, env, cwd, stdin: false }).await;
    let mut process = spawned.map_err(|error| error.to_string())?;
    let name = &container.spec.name;
    pod.set_state(name, Phase::Running { since, ready: false });
    pump(&container.log, &mut process, |_| true);
    let serving = async {
        let ready = async {
            istiod.wait_ready(sandbox).await;
            pod.set_state(name, Phase::Running { since, ready: true });
        };
        futures::future::join(ready, api).await;
    };
    let mut ending = pod.ending.subscribe();
    tokio::select! {
        exit = process.wait() => exit.map_err(|error| error.to_string()),
        () = serving => Err("the API cannot be reached from istiod's pod any more".into()),
        // The sandbox is held here: without this it would outlive the pod.
        _ = ending.wait_for(|ending| *ending) => Ok(0),
    }
}

/// Copies both outputs into the log; of standard error the lines that `keep` wants kept.
fn pump(log: &Arc<LogStore>, process: &mut Process, keep: impl FnMut(&[u8]) -> bool + Send + 'static) {
    if let Some(stdout) = process.stdout.take() {
        let log = log.clone();
        tokio::spawn(async move { log.pump(stdout, |_| true).await });
    }
    if let Some(stderr) = process.stderr.take() {
        let log = log.clone();
        tokio::spawn(async move { log.pump(stderr, keep).await });
    }
}

/// Writes the pod's bootstrap and gives the command line that starts its Envoy.
async fn envoy_command(pod: &Pod, config: &NodeConfig) -> Result<Vec<String>, String> {
    let credentials = match &config.istiod {
        Some(istiod) => Some(istiod.admit(pod, config, bootstrap::node_id(&pod.object, pod.ip)).await?),
        None => None,
    };
    let document = bootstrap::document(&pod.object, pod.ip, &config.xds_socket, credentials.as_ref());
    let path = pod.folder(config).join("envoy.json");
    crate::lab::folder::write_private(&path, &document.to_string())
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(bootstrap::command(&config.envoy, &path))
}

//! One container: a program of the host, run in the pod's namespaces and run again when it ends.

use super::attach::Attachment;
use super::image::{self, Program};
use super::log_store::LogStore;
use super::pod::Pod;
use super::status::Phase;
use super::{NodeConfig, environment, probe};
use crate::api::kubelet::ExecProcess;
use crate::lab::events::Recorder;
use crate::lab::pilot::{MONITORING_PORT, XDS_TLS_PORT};
use crate::lab::process::{Process, ProcessSpec};
use crate::lab::sandbox::Sandbox;
use crate::lab::{bootstrap, pod_server};
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use nix::sys::signal::Signal;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;

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
    env: Mutex<Vec<(String, String)>>,
    signals: broadcast::Sender<Signal>,
    /// While it runs.
    attachment: Mutex<Option<Attachment>>,
}

impl Container {
    pub fn new(spec: core::Container, program: Program, config: &NodeConfig) -> Container {
        let log = if program == Program::Pilot { config.pilot_log.clone() } else { Arc::default() };
        let (signals, _) = broadcast::channel(8);
        Container { spec, program, log, env: Mutex::default(), signals, attachment: Mutex::default() }
    }

    /// What every process of the container starts with; empty before it is known.
    pub fn env(&self) -> Vec<(String, String)> {
        self.env.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A client's part of the streams of the container's process, if it runs.
    pub fn attach(&self, stdin: bool) -> Option<ExecProcess> {
        let attachment = self.attachment.lock().unwrap_or_else(PoisonError::into_inner);
        attachment.as_ref().map(|attachment| attachment.client(stdin))
    }

    fn set_attachment(&self, attachment: Option<Attachment>) {
        *self.attachment.lock().unwrap_or_else(PoisonError::into_inner) = attachment;
    }

    /// Sends a signal to the container's process, if it runs.
    pub fn signal(&self, signal: Signal) {
        // Nobody hears it when nothing runs.
        let _ = self.signals.send(signal);
    }

    /// How many processes would hear a signal: one, or none.
    pub fn running(&self) -> usize {
        self.signals.receiver_count()
    }
}

/// Runs the container until the pod ends, starting it again as the pod's restart policy says.
pub async fn keep_running(container: Arc<Container>, pod: Arc<Pod>, config: Arc<NodeConfig>) {
    let policy = match container.spec.restart_policy.clone() {
        // A native sidecar.
        Some(own) => own,
        None => {
            let of_pod = pod.object.spec.as_ref().and_then(|spec| spec.restart_policy.clone()).unwrap_or_default();
            // An init container that is done is done.
            if pod.is_init(&container.spec.name) && of_pod != "Never" { "OnFailure".into() } else { of_pod }
        }
    };
    let mut ending = pod.ending.subscribe();
    let name = &container.spec.name;
    let events = config.events_of(&pod, name);
    loop {
        let since = Timestamp::now();
        let (exit, why) = match run(&container, &pod, &config).await {
            Ok(exit) => (exit, format!("exit code {exit}")),
            Err(Fault { reason, message }) => {
                events.warning(&pod.object, "Failed", format!("Error: {message}"));
                pod.set_state(&container.spec.name, Phase::Waiting { reason, message: message.clone() });
                (128, message)
            }
        };
        if *ending.borrow() {
            pod.set_state(&container.spec.name, Phase::Ended { exit, since, at: Timestamp::now() });
            return;
        }
        if policy == "Never" || (policy == "OnFailure" && exit == 0) {
            pod.set_state(&container.spec.name, Phase::Ended { exit, since, at: Timestamp::now() });
            return;
        }
        let restarts = pod.count_restart(&container.spec.name, exit, since);
        // The first time at once; then as a kubelet does, 10 s and doubling.
        let back_off = match restarts {
            0 | 1 => Duration::ZERO,
            n => Duration::from_secs(10).saturating_mul(1 << (n - 2).min(6)).min(MAX_BACK_OFF),
        };
        if !back_off.is_zero() {
            let of = format!("{} in pod {}_{}({})", name, pod.name, pod.namespace, pod.uid);
            events.warning(&pod.object, "BackOff", format!("Back-off restarting failed container {of}"));
            let message = format!("back-off {back_off:?} restarting failed container: {why}");
            pod.set_state(&container.spec.name, Phase::Waiting { reason: "CrashLoopBackOff", message });
        }
        if tokio::time::timeout(back_off, ending.wait_for(|ending| *ending)).await.is_ok() {
            return;
        }
    }
}

/// What a kubelet tells when it starts a container. Images are always there.
pub fn tell_start(events: &Recorder, pod: &core::Pod, container: &core::Container) {
    let (name, image) = (&container.name, container.image.as_deref().unwrap_or_default());
    events.normal(pod, "Pulled", format!("Container image \"{image}\" already present on machine"));
    events.normal(pod, "Created", format!("Created container: {name}"));
    events.normal(pod, "Started", format!("Started container {name}"));
}

/// Why a container does not run.
struct Fault {
    reason: &'static str,
    message: String,
}

fn failed(message: impl ToString) -> Fault {
    Fault { reason: "RunContainerError", message: message.to_string() }
}

async fn run(container: &Arc<Container>, pod: &Arc<Pod>, config: &Arc<NodeConfig>) -> Result<i32, Fault> {
    let Some(sandbox) = pod.sandbox() else { return Err(failed("the pod has no sandbox")) };
    let name = container.spec.name.clone();
    let since = Timestamp::now();
    let env = environment::of(&container.spec, pod, config)
        .await
        .map_err(|message| Fault { reason: "CreateContainerConfigError", message })?;
    *container.env.lock().unwrap_or_else(PoisonError::into_inner) = env.clone();
    let argv = match &container.program {
        Program::Done => return Ok(0),
        Program::Pilot if config.istiod.is_some() => {
            return run_istiod(container, pod, config, &sandbox, since).await.map_err(failed);
        }
        Program::Pilot => {
            for port in [MONITORING_PORT, XDS_TLS_PORT] {
                let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
                let listener = sandbox.listen_tcp(address).await.map_err(failed)?;
                let listener = listener.into_std().map_err(|error| failed(format!("cannot listen: {error}")))?;
                (config.serve_pilot)(&pod.name, port, listener).map_err(failed)?;
            }
            tell_start(&config.events_of(pod, &name), &pod.object, &container.spec);
            pod.set_state(&name, Phase::Running { since, ready: true });
            // The pilot lives as long as the lab.
            let _ = pod.ending.subscribe().wait_for(|ending| *ending).await;
            return Ok(0);
        }
        Program::Proxy => envoy_command(pod, config).await.map_err(failed)?,
        Program::Host(default) => {
            let argv = command(&container.spec, &env);
            // With an input its images' own command is a shell.
            let default = if container.spec.stdin == Some(true) { image::SHELL } else { *default };
            if argv.is_empty() { default.iter().map(|word| word.to_string()).collect() } else { argv }
        }
        Program::Server(server) => {
            let argv = command(&container.spec, &env);
            // A shell or a tool that the image would have too is a program of the host.
            if image::is_server(&argv) { server_command(*server, &container.spec, &env, &argv) } else { argv }
        }
    };
    let mut signals = container.signals.subscribe();
    let cwd = container.spec.working_dir.clone().map(Into::into);
    let (stdin, tty) = (container.spec.stdin == Some(true), container.spec.tty == Some(true));
    let env = if tty { environment::with_terminal(env) } else { env };
    let spawned = sandbox.spawn(ProcessSpec { argv, env, cwd, stdin, tty }).await;
    let mut process = spawned.map_err(|error| Fault {
        reason: "RunContainerError",
        message: format!("failed to start container \"{name}\": {error}"),
    })?;
    // The process outlives no sandbox: holding it here must not keep the pod's namespaces.
    drop(sandbox);
    tell_start(&config.events_of(pod, &name), &pod.object, &container.spec);
    let proxy = container.program == Program::Proxy;
    let watched_by_probes =
        !proxy && (container.spec.readiness_probe.is_some() || container.spec.startup_probe.is_some());
    pod.set_state(&name, Phase::Running { since, ready: !proxy && !watched_by_probes });
    let watched = pod.clone();
    let _attached = listen(container, &mut process, move |line| {
        if !proxy {
            return true;
        }
        let has = |words: &[u8]| line.windows(words.len()).any(|part| part == words);
        if has(ENVOY_READY) {
            watched.set_running(&name, since, true);
        }
        !has(ENVOY_START_UP)
    });
    // Envoy says itself when it is ready; its probes would ask the same.
    let probes = async {
        if !proxy && (watched_by_probes || container.spec.liveness_probe.is_some()) {
            probe::watch(container.clone(), pod.clone(), since, config.events_of(pod, &container.spec.name)).await;
        }
        std::future::pending::<()>().await
    };
    tokio::pin!(probes);
    loop {
        tokio::select! {
            exit = process.wait() => return exit.map_err(failed),
            Ok(signal) = signals.recv() => process.signal(signal),
            () = &mut probes => {}
        }
    }
}

/// The container's own command line, its variables filled in; empty: the image's.
fn command(spec: &core::Container, env: &[(String, String)]) -> Vec<String> {
    let words = spec.command.iter().flatten().chain(spec.args.iter().flatten());
    words.map(|word| environment::expand(word, env)).collect()
}

/// This program, as the image's server.
fn server_command(
    server: pod_server::Kind,
    spec: &core::Container,
    env: &[(String, String)],
    argv: &[String],
) -> Vec<String> {
    let program = std::env::current_exe().map_or("egress-scn".to_string(), |path| path.display().to_string());
    let mut ports = spec.ports.iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let declared = ports.next().and_then(|port| u16::try_from(port.container_port).ok());
    let port = image::told_port(argv, env).or(declared).unwrap_or(server.usual_port());
    let mut command = vec![program, pod_server::SUBCOMMAND.into(), server.word().into(), port.to_string()];
    command.extend(image::told_text(argv));
    command
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
    let env = container.env().into_iter().chain(more).collect();
    let cwd = Some(pod.folder(config).join("home"));
    let api = istiod.lend_api(sandbox).await?;
    let spawned = sandbox.spawn(ProcessSpec { argv, env, cwd, ..ProcessSpec::default() }).await;
    let mut process = spawned.map_err(|error| error.to_string())?;
    let name = &container.spec.name;
    tell_start(&config.events_of(pod, name), &pod.object, &container.spec);
    pod.set_state(name, Phase::Running { since, ready: false });
    let _attached = listen(container, &mut process, |_| true);
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

/// What clients are attached to, as long as it lives.
struct Attached<'c>(&'c Container);

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.0.set_attachment(None);
    }
}

/// Copies both outputs into the log, of standard error the lines that `keep` wants kept, and lets clients attach: they see
/// the end of the streams when what is given back goes.
fn listen<'c>(
    container: &'c Container,
    process: &mut Process,
    keep: impl FnMut(&[u8]) -> bool + Send + 'static,
) -> Attached<'c> {
    let log = &container.log;
    let attachment = Attachment::of(process, container.spec.stdin_once == Some(true));
    if let Some(stdout) = process.stdout.take() {
        let (log, stdout) = (log.clone(), attachment.tap_stdout(stdout));
        tokio::spawn(async move { log.pump(stdout, |_| true).await });
    }
    if let Some(stderr) = process.stderr.take() {
        let (log, stderr) = (log.clone(), attachment.tap_stderr(stderr));
        tokio::spawn(async move { log.pump(stderr, keep).await });
    }
    container.set_attachment(Some(attachment));
    Attached(container)
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

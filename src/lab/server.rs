//! The lab process: API, controllers, pilot, node agent, network and internet, put together. Runs as a
//! child of the supervisor; says on standard output how far it is.

use super::account_admission::AccountAdmission;
use super::authority::{Authority, Identity, Leaf};
use super::boot::{KUBECONFIG, OPTIONS, Options, SUBCOMMAND, Word};
use super::events::Recorder;
use super::fabric::Fabric;
use super::folder::write_private;
use super::internet::Internet;
use super::node::log_store::LogStore;
use super::node::{NodeAgent, NodeConfig};
use super::pilot::{Pilot, PilotConfig};
use super::real::api_server::{RealApiServer, administrator, server_leaf};
use super::real::istiod::RealIstiod;
use super::real::{RealParts, istio_crds, webhook};
use super::{
    api_door, base, controllers, doctor, istio_admission, istio_kinds, kubeconfig, lab_kinds, network, pod_server,
    supervisor, webhooks,
};
use crate::api::listener::Tls;
use crate::api::{self, KubeletServer};
use futures::FutureExt;
use serde_json::json;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The hidden subcommand that `doctor` tries the machine with.
const PROBE: &str = "__lab-probe";

/// The lab's only node.
const NODE: &str = "lab";

/// Becomes the lab's process when the command line is the hidden `__lab FOLDER`. `Some` is the exit code.
/// Must run before any thread exists.
pub fn main_if_asked() -> Option<i32> {
    let mut words = std::env::args_os().skip(1);
    let first = words.next()?;
    if first == PROBE {
        return Some(doctor::probe(&mut std::io::stdout()));
    }
    if first == pod_server::SUBCOMMAND {
        return Some(pod_server::main(words.map(|word| word.to_string_lossy().into_owned())));
    }
    if first != SUBCOMMAND {
        return None;
    }
    let Some(folder) = words.next().map(PathBuf::from) else {
        return Some(failed("the lab's process is started by egress-scn itself: see `egress-scn lab up`"));
    };
    Some(match supervisor::enter(|| serve(&folder)) {
        Ok(code) => code,
        Err(obstacle) => failed(&obstacle.to_string()),
    })
}

/// Whether this machine can run a lab, tried in a child process.
///
/// # Errors
/// Everything that stands in the way, each with what mends it.
pub fn check_machine() -> Result<(), doctor::Reasons> {
    let program = std::env::current_exe().unwrap_or_else(|_| "egress-scn".into());
    let mut probe = std::process::Command::new(program);
    probe.arg(PROBE);
    doctor::check(probe)
}

/// Serves the lab whose folder is given until the supervisor ends it. Exit code.
pub fn serve(folder: &Path) -> i32 {
    // Every file and socket of the lab is its owner's alone, whoever makes it.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start: {error}")),
    };
    runtime.block_on(async {
        match boot(folder).await {
            // Held until the supervisor ends the process.
            Ok(api) => {
                say(&Word::Ready);
                match api {
                    Running::Own(_server) => std::future::pending().await,
                    Running::Real { api, .. } => failed(&api.fails().await),
                }
            }
            Err(message) => failed(&message),
        }
    })
}

fn failed(message: &str) -> i32 {
    say(&Word::Failed(message.to_string()));
    1
}

fn say(word: &Word) {
    let Ok(mut line) = serde_json::to_vec(word) else { return };
    line.push(b'\n');
    // The tool may be gone; then the supervisor ends us.
    let _ = std::io::stdout().write_all(&line);
}

/// The lab's own log is its standard error, a file in its folder.
fn log(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

async fn boot(folder: &Path) -> Result<Running, String> {
    let options = std::fs::read_to_string(folder.join(OPTIONS)).map_err(|error| format!("reading options: {error}"))?;
    let options: Options = serde_json::from_str(&options).map_err(|error| format!("reading options: {error}"))?;

    let authority = |name: &str| Authority::new(name).map_err(|error| format!("making the {name}: {error}"));
    let (api_ca, mesh_ca, outside_ca) = (authority("API CA")?, authority("mesh CA")?, authority(base::OUTSIDE_CA)?);
    let (mesh_ca, outside_ca) = (Arc::new(mesh_ca), Arc::new(outside_ca));
    let outside_roots = folder.join("outside-roots.pem");
    write_private(&outside_roots, &outside_ca.root_pem()).map_err(|error| format!("writing roots: {error}"))?;

    // The network is made while the API starts: neither needs the other.
    let network = tokio::spawn(start_network(outside_ca.clone()));
    let agent = Arc::new(NodeAgent::default());
    let (api, client) = match options.real.kube_apiserver {
        None => start_api(folder, &options.context, &api_ca, agent.clone()).await?,
        Some(_) => start_real_api(&options.real, folder, &options.context, &api_ca, agent.clone()).await?,
    };
    say(&Word::Doing("API is up".into()));
    for part in options.real.names() {
        say(&Word::Doing(format!("with a real {part}")));
    }

    let events = Recorder::start(client.clone(), "kubelet", NODE, Arc::new(log));
    tokio::spawn(controllers::run(controllers::Config {
        client: client.clone(),
        events: events.clone(),
        node: NODE.to_string(),
        api_root_pem: api_ca.root_pem(),
        mesh_root_pem: options.real.istiod.is_none().then(|| mesh_ca.root_pem()),
        kubelet_port: api.kubelet_port(),
        log: Arc::new(log),
    }));
    let mut door = vec![api_door::endpoints()];
    // A kube-apiserver makes its Service itself, and nothing behind it: it does not know the lab's network.
    if matches!(api, Running::Own(_)) {
        door.push(api_door::service());
    }
    let (applying, signer) = (client.clone(), outside_ca.clone());
    let applied = tokio::spawn(async move { base::apply(&applying, &signer, options.ingress, door).await });

    let (fabric, internet) = network.await.map_err(|error| error.to_string())??;
    api_door::open(&fabric, api.address()).await?;
    let network = network::start(client.clone(), fabric.clone(), internet, Arc::new(log));

    let pilot_log = Arc::new(LogStore::default());
    // Pods see this folder, and no other of the lab's.
    let sockets = folder.join("run");
    std::fs::create_dir(&sockets).map_err(|error| format!("making {}: {error}", sockets.display()))?;
    let xds_socket = sockets.join("xds.sock");
    let istiod = match options.real.istiod {
        None => None,
        Some(program) => {
            let istiod = RealIstiod::start(program, folder, &sockets, api.address());
            Some(istiod.map_err(|error| format!("passing Envoys on to istiod: {error}"))?)
        }
    };
    let pilot_lines = pilot_log.clone();
    // Beside a real istiod the pilot has nobody to serve.
    let pilot_socket = if istiod.is_some() { sockets.join("pilot.sock") } else { xds_socket.clone() };
    let pilot = Pilot::start(PilotConfig {
        client: client.clone(),
        xds_socket: pilot_socket,
        mesh_authority: mesh_ca,
        outside_root_pem: outside_ca.root_pem(),
        log: Arc::new(move |line: &str| {
            log(line);
            pilot_lines.push(line);
        }),
        network,
    })
    .await
    .map_err(|error| error.to_string())?;
    let pilot = Arc::new(pilot);

    tokio::spawn(agent.run(NodeConfig {
        client: client.clone(),
        events,
        fabric,
        folder: folder.to_owned(),
        envoy: options.envoy,
        xds_socket,
        outside_roots,
        outside_root_pem: outside_ca.root_pem(),
        serve_pilot: Box::new(move |pod, port, listener| pilot.serve(pod, port, listener)),
        istiod,
        pilot_log,
        log: Box::new(log),
    }));

    applied.await.map_err(|error| error.to_string())??;
    say(&Word::Doing("pods are starting".into()));
    base::wait_ready(&client, options.ready_within).await?;
    Ok(api)
}

/// The fabric, and the internet in it.
async fn start_network(outside_ca: Arc<Authority>) -> Result<(Fabric, Internet), String> {
    let fabric = Fabric::new().await.map_err(|error| error.to_string())?;
    let internet = Internet::start(&fabric, outside_ca).await.map_err(|error| error.to_string())?;
    Ok((fabric, internet))
}

/// The API server that the lab is built on.
enum Running {
    Own(api::Server),
    Real { api: RealApiServer, kubelet: KubeletServer, _webhooks: api::listener::Serving },
}

impl Running {
    fn address(&self) -> SocketAddr {
        match self {
            Running::Own(server) => server.address(),
            Running::Real { api, .. } => api.address,
        }
    }

    /// Where the API server asks for logs and streams, if it is none of ours.
    fn kubelet_port(&self) -> Option<u16> {
        match self {
            Running::Own(_) => None,
            Running::Real { kubelet, .. } => Some(kubelet.address().port()),
        }
    }
}

/// Starts a real kube-apiserver and what it needs of the lab: the node's endpoint, Istio's definitions, admission.
async fn start_real_api(
    parts: &RealParts,
    folder: &Path,
    context: &str,
    ca: &Authority,
    agent: Arc<NodeAgent>,
) -> Result<(Running, kube::Client), String> {
    let endpoint = |error: &dyn std::fmt::Display| format!("serving the node's endpoint: {error}");
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| endpoint(&error))?;
    let identity = ca.issue(&server_leaf()).map_err(|error| endpoint(&error))?;
    let tls = Tls { chain_pem: identity.chain_pem, key_pem: identity.key_pem, client_ca_pem: ca.root_pem() };
    let kubelet = KubeletServer::start(listener, &tls, agent).map_err(|error| endpoint(&error))?;
    let (api, client) = RealApiServer::start(parts, folder, context, ca).await?;
    istio_crds::apply(&client, parts.istio_crds.as_deref()).await?;
    let webhooks = webhook::start(&client, ca).await?;
    Ok((Running::Real { api, kubelet, _webhooks: webhooks }, client))
}

/// Starts the API server on loopback, writes the lab's kubeconfig, and gives a client for the lab's parts.
async fn start_api(
    folder: &Path,
    context: &str,
    ca: &Authority,
    agent: Arc<NodeAgent>,
) -> Result<(Running, kube::Client), String> {
    let listener =
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("binding the API: {error}"))?;
    let address = listener.local_addr().map_err(|error| format!("binding the API: {error}"))?;
    let issue = |leaf: &Leaf| ca.issue(leaf).map_err(|error| format!("issuing a certificate: {error}"));
    let server_identity = issue(&server_leaf())?;
    let admin = issue(&administrator("kubernetes-admin"))?;
    let config = api::Config {
        listener,
        chain_pem: server_identity.chain_pem,
        key_pem: server_identity.key_pem,
        client_ca_pem: ca.root_pem(),
        custom_resources: [istio_kinds::istio_kinds(), lab_kinds::lab_kinds()].concat(),
        admission: vec![
            Arc::new(controllers::injection::Injector),
            Arc::new(AccountAdmission),
            Arc::new(istio_admission::IstioAdmission),
            Arc::new(lab_kinds::LabAdmission),
        ],
    };
    let server = api::Server::start(config, agent).map_err(|error| format!("starting the API: {error}"))?;
    let service =
        |path: &str| json!({ "service": { "name": "istiod", "namespace": "istio-system", "path": path, "port": 443 } });
    for configuration in webhooks::configurations(service, false) {
        server.seed(configuration).map_err(|error| format!("registering the webhooks: {error}"))?;
    }

    save_kubeconfig(folder, context, address, ca, &admin)?;
    // The lab's parts ask in the API's words and by its answers alone, but need no wire to it.
    let answer = server.in_process();
    let asked = tower::service_fn(move |request| answer(request).map(Ok::<_, std::convert::Infallible>));
    Ok((Running::Own(server), kube::Client::new(asked, "default")))
}

/// Writes the lab's kubeconfig, and gives its text.
fn save_kubeconfig(
    folder: &Path,
    context: &str,
    address: SocketAddr,
    ca: &Authority,
    admin: &Identity,
) -> Result<String, String> {
    let document = kubeconfig::document(context, address, &ca.root_pem(), admin).map_err(|error| error.to_string())?;
    write_private(&folder.join(KUBECONFIG), &document).map_err(|error| format!("writing the kubeconfig: {error}"))?;
    Ok(document)
}

/// Writes the lab's kubeconfig and gives a client by it.
pub async fn write_kubeconfig(
    folder: &Path,
    context: &str,
    address: SocketAddr,
    ca: &Authority,
    admin: &Identity,
) -> Result<kube::Client, String> {
    let document = save_kubeconfig(folder, context, address, ca, admin)?;
    let parsed = kube::config::Kubeconfig::from_yaml(&document).map_err(|error| error.to_string())?;
    let config = kube::Config::from_custom_kubeconfig(parsed, &Default::default()).await.map_err(|e| e.to_string())?;
    kube::Client::try_from(config).map_err(|error| error.to_string())
}

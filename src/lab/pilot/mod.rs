//! The lab's control plane: watches the Kubernetes API, has the mesh compiler make each connected
//! proxy's configuration, and pushes what changed over xDS. Knows the world through the API only.
//!
//! ```text
//! API ──watch──▶ Store ──World──▶ mesh::compile ──▶ xds::Server ──▶ Envoy
//!                      (one compile a burst of changes)   (only what differs)
//! ```

pub(in crate::lab) mod certificates;
mod config_dump;
mod debug;
mod debug_xds;
pub(super) mod kinds;
pub(super) mod log;
pub(super) mod objects;
mod proxy;
mod push;
mod serve;
mod store;
pub(super) mod watch;

use crate::lab::authority::Authority;
use crate::xds;
use debug::Debug;
use push::Pusher;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Receives the pilot's log, a line at a time without its end, in istiod's form.
pub type LogSink = Arc<dyn Fn(&str) + Send + Sync>;

/// What the pilot works with.
pub struct PilotConfig {
    /// For reading only.
    pub client: kube::Client,
    /// Where Envoys find ADS and SDS: a Unix socket, made anew; at most 107 bytes.
    pub xds_socket: PathBuf,
    /// Signs workload certificates.
    pub mesh_authority: Arc<Authority>,
    /// What proxies trust outside of the mesh (`file-root:system`).
    pub outside_root_pem: String,
    pub log: LogSink,
    /// The lab's network: what is synced is in force there too.
    pub network: Follower,
}

/// How far another part of the lab has taken the API's changes in.
#[derive(Clone)]
pub struct Follower {
    /// The resourceVersion up to which all is in force.
    pub seen: tokio::sync::watch::Receiver<u64>,
    /// One to list up to, where the API tells of none.
    pub wanted: tokio::sync::watch::Sender<u64>,
}

impl Follower {
    /// Of a part that is not there: nobody waits for it.
    pub fn of_nothing() -> Follower {
        Follower { seen: tokio::sync::watch::channel(u64::MAX).1, wanted: tokio::sync::watch::channel(0).0 }
    }
}

/// A running pilot. It ends when dropped.
pub struct Pilot {
    debug: Arc<Debug>,
    client: kube::Client,
    authority: Arc<Authority>,
    tasks: Mutex<JoinSet<()>>,
}

/// istiod's port for debug over HTTP and for its version.
pub const MONITORING_PORT: u16 = 15014;
/// istiod's port for xDS over TLS; here, for debug over xDS, as istioctl asks it.
pub const XDS_TLS_PORT: u16 = 15012;

impl Pilot {
    /// Opens the socket and starts to watch. Returns at once; proxies are answered when every kind has
    /// been listed. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub async fn start(config: PilotConfig) -> std::io::Result<Pilot> {
        let (server, connections) = xds::Server::start(&config.xds_socket)?;
        let (changes, changed) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let log = log::Log::new(config.log);
        let (wanted, waited_for) = tokio::sync::watch::channel(0);
        for index in 0..kinds::KINDS.len() {
            tasks.spawn(watch::follow(
                config.client.clone(),
                kinds::KINDS,
                index,
                changes.clone(),
                waited_for.clone(),
                log.clone(),
            ));
        }
        let (client, authority) = (config.client, config.mesh_authority.clone());
        let (asked, asked_for) = tokio::sync::watch::channel(0);
        let pusher = Pusher::new(server.clone(), config.mesh_authority, config.outside_root_pem, asked_for, log);
        let debug = Arc::new(Debug { server, progress: pusher.progress(), asked, wanted, network: config.network });
        tasks.spawn(pusher.run(changed, connections));
        Ok(Pilot { debug, client, authority, tasks: Mutex::new(tasks) })
    }

    /// Serves on a listener made in istiod's pod: on [`MONITORING_PORT`] istiod's HTTP paths (`/ready`, `/version`,
    /// `/debug/syncz` …) and the lab's own `/debug/lab/synced?rv=N` and `/debug/lab/state`; on [`XDS_TLS_PORT`] the same
    /// debug reports over xDS, to whoever has a token of a ServiceAccount.
    ///
    /// # Errors
    /// No certificate can be made for the TLS port.
    pub fn serve(&self, pod: &str, port: u16, listener: std::net::TcpListener) -> std::io::Result<()> {
        let debug = self.debug.clone();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if port == XDS_TLS_PORT {
            let served = debug_xds::DebugXds::new(debug, self.client.clone(), &self.authority, pod)?;
            tasks.spawn(async move { served.serve(listener).await });
        } else {
            tasks.spawn(async move { debug.serve(listener).await });
        }
        Ok(())
    }
}

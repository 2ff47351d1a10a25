//! The lab's controllers: what a cluster's controller manager, scheduler and istiod's webhook do for
//! the objects a lab has. They know the world through the Kubernetes API only, act on watch events,
//! and never poll.

mod deployment;
mod endpoint_slice;
pub mod injection;
mod mirror;
mod namespace;
mod reconcile;
mod replica_set;
mod scheduler;

use crate::lab::events::Recorder;
use std::sync::Arc;

/// The field manager of the controllers' writes.
const MANAGER: &str = "kube-controller-manager";

/// What the controllers work with.
#[derive(Clone)]
pub struct Config {
    pub client: kube::Client,
    pub events: Recorder,
    /// The lab's single node.
    pub node: String,
    /// The API server's CA: `kube-root-ca.crt` in each namespace.
    pub api_root_pem: String,
    /// The mesh's CA: `istio-ca-root-cert` in each namespace. `None` where an istiod writes it itself.
    pub mesh_root_pem: Option<String>,
    /// The port of the node's endpoint on loopback, where a kube-apiserver asks for logs and streams.
    pub kubelet_port: Option<u16>,
    /// The lab's own log.
    pub log: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Config {
    fn complain(&self, what: &str, error: &dyn std::fmt::Display) {
        (self.log)(&format!("{what}: {error}"));
    }
}

/// Runs all controllers. Ends only when the watches end for good: drop it to stop.
pub async fn run(config: Config) {
    tokio::join!(
        namespace::run(config.clone()),
        scheduler::run(config.clone()),
        deployment::run(config.clone()),
        replica_set::run(config.clone()),
        endpoint_slice::run(config),
    );
}

/// Whether an error means that another writer was faster or the object is gone: the watch tells the rest.
fn is_overtaken(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(refusal) if refusal.code == 404 || refusal.code == 409)
}

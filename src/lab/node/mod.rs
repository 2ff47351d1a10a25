//! The node agent: runs pods as namespaces and processes of this machine. It knows the world through
//! the Kubernetes API: it watches pods and writes their status; exec, logs and port-forward come from
//! the API server.

mod account_token;
mod attach;
mod container;
mod environment;
pub mod image;
mod kill;
pub mod log_store;
pub(in crate::lab) mod pod;
mod probe;
mod status;
mod streams;
mod volumes;

use crate::lab::events::Recorder;
use crate::lab::fabric::{FIRST_CLIENT, Fabric};
use crate::lab::real::istiod::RealIstiod;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod as PodObject;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::runtime::watcher;
use log_store::LogStore;
use pod::Pod;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The first address a pod gets; those below are the router's and the lab's own.
const FIRST_POD_IP: u32 = u32::from_be_bytes([10, 244, 0, 10]);

/// What the agent works with.
pub struct NodeConfig {
    pub client: kube::Client,
    pub events: Recorder,
    pub fabric: Fabric,
    /// The lab's folder.
    pub folder: PathBuf,
    pub envoy: PathBuf,
    pub xds_socket: PathBuf,
    /// File with the outside CA, and its text: the only roots that a pod's clients trust.
    pub outside_roots: PathBuf,
    pub outside_root_pem: String,
    /// The pilot answers on listeners made in istiod's pod (its name, the port, the listener), and logs here.
    pub serve_pilot: ServePilot,
    /// Plays the control plane in the pilot's stead.
    pub istiod: Option<Arc<RealIstiod>>,
    pub pilot_log: Arc<LogStore>,
    /// The lab's own log.
    pub log: Box<dyn Fn(&str) + Send + Sync>,
}

/// Serves a port of istiod's pod.
pub type ServePilot = Box<dyn Fn(&str, u16, std::net::TcpListener) -> std::io::Result<()> + Send + Sync>;

impl NodeConfig {
    /// Tells about a container of a pod.
    fn events_of(&self, pod: &Pod, container: &str) -> Recorder {
        let list = if pod.is_init(container) { "initContainers" } else { "containers" };
        self.events.at(format!("spec.{list}{{{container}}}"))
    }

    fn complain(&self, text: &str) {
        (self.log)(text);
    }
}

/// (namespace, name).
type Key = (String, String);

pub struct NodeAgent {
    /// Set once the API is up: the API server needs the agent before the agent has its client.
    config: std::sync::OnceLock<Arc<NodeConfig>>,
    pods: Mutex<HashMap<Key, Arc<Pod>>>,
    next_ip: AtomicU32,
    /// Of pods that play clients outside the cluster.
    next_client: AtomicU32,
}

impl Default for NodeAgent {
    fn default() -> Self {
        NodeAgent {
            config: Default::default(),
            pods: Mutex::default(),
            next_ip: AtomicU32::new(FIRST_POD_IP),
            next_client: AtomicU32::new(FIRST_CLIENT.into()),
        }
    }
}

impl NodeAgent {
    fn pods(&self) -> MutexGuard<'_, HashMap<Key, Arc<Pod>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches pods and runs them, for the lab's life.
    pub async fn run(self: Arc<Self>, config: NodeConfig) {
        let config = Arc::new(config);
        if self.config.set(config.clone()).is_err() {
            return;
        }
        tokio::spawn(kill::watch(self.clone(), config.clone()));
        let api: Api<PodObject> = Api::all(config.client.clone());
        let mut events = watcher(api, watcher::Config::default().disable_bookmarks()).boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => self.see(object, &config),
                Ok(watcher::Event::Delete(object)) => self.gone(&object, &config),
                Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
                Err(error) => config.complain(&format!("watching pods: {error}")),
            }
        }
    }

    fn see(&self, object: PodObject, config: &Arc<NodeConfig>) {
        let metadata = &object.metadata;
        let (Some(namespace), Some(name)) = (metadata.namespace.clone(), metadata.name.clone()) else { return };
        let key = (namespace, name);
        if metadata.deletion_timestamp.is_some() {
            // The pod is found until it is gone: its log is asked for meanwhile.
            let pod = self.pods().get(&key).filter(|pod| !*pod.ending.borrow()).cloned();
            if pod.is_some() || !self.pods().contains_key(&key) {
                tokio::spawn(terminate(object.clone(), pod, config.clone()));
            }
            return;
        }
        if object.spec.as_ref().and_then(|spec| spec.node_name.as_ref()).is_none() {
            return;
        }
        let mut pods = self.pods();
        if pods.get(&key).is_some_and(|known| Some(&known.uid) == metadata.uid.as_ref()) {
            return;
        }
        let next = if pod::is_outside(&object) { &self.next_client } else { &self.next_ip };
        let ip = Ipv4Addr::from(next.fetch_add(1, Ordering::Relaxed));
        let Some(pod) = Pod::new(object, ip) else { return };
        if let Some(old) = pods.insert(key, pod.clone()) {
            old.end(config);
        }
        tokio::spawn(pod.live(config.clone()));
    }

    fn gone(&self, object: &PodObject, config: &Arc<NodeConfig>) {
        let metadata = &object.metadata;
        let (Some(namespace), Some(name)) = (metadata.namespace.clone(), metadata.name.clone()) else { return };
        let mut pods = self.pods();
        let key = (namespace, name);
        let same = pods.get(&key).is_some_and(|known| Some(&known.uid) == metadata.uid.as_ref());
        if same && let Some(pod) = pods.remove(&key) {
            pod.end(config);
        }
    }

    fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.pods().get(&(namespace.to_string(), name.to_string())).cloned()
    }
}

/// The end of a pod that is being deleted: its processes go, then the API hears that it is gone.
async fn terminate(object: PodObject, pod: Option<Arc<Pod>>, config: Arc<NodeConfig>) {
    if let Some(pod) = pod {
        let seconds = object.metadata.deletion_grace_period_seconds.unwrap_or(30);
        pod.stop(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)), &config).await;
        pod.end(&config);
    }
    let (Some(namespace), Some(name)) = (object.metadata.namespace, object.metadata.name) else { return };
    let api: Api<PodObject> = Api::namespaced(config.client.clone(), &namespace);
    let only_this = Preconditions { uid: object.metadata.uid, resource_version: None };
    let now = DeleteParams { grace_period_seconds: Some(0), preconditions: Some(only_this), ..Default::default() };
    match api.delete(&name, &now).await {
        Ok(_) => {}
        Err(kube::Error::Api(refusal)) if refusal.code == 404 || refusal.code == 409 => {}
        Err(error) => config.complain(&format!("deleting pod {namespace}/{name}: {error}")),
    }
}

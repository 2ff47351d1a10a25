//! `Kill` objects: a process is ended once, when the object is made.

use super::{NodeAgent, NodeConfig};
use crate::lab::network::{Kill, KillSignal, is_of};
use futures::StreamExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use nix::sys::signal::Signal;
use serde_json::json;
use std::sync::Arc;

/// Watches for the lab's life.
pub async fn watch(agent: Arc<NodeAgent>, config: Arc<NodeConfig>) {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("lab.egress-scn.dev", "v1", "Kill"));
    let api: Api<DynamicObject> = Api::all_with(config.client.clone(), &resource);
    let mut events = watcher(api.clone(), watcher::Config::default().disable_bookmarks()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        let object = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => object,
            Ok(_) => continue,
            // A kube-apiserver without the lab's kinds has no faults to offer.
            Err(_) => continue,
        };
        if object.data["status"]["killed"].is_number() {
            continue;
        }
        // What cannot be read was refused when it was made.
        let Ok(kill) = Kill::read(&object.data["spec"]) else { continue };
        let killed = agent.kill(&kill);
        let status = json!({ "status": { "killed": killed, "observedGeneration": object.metadata.generation } });
        let name = object.metadata.name.unwrap_or_default();
        match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await {
            Ok(_) => {}
            Err(kube::Error::Api(refusal)) if refusal.code == 404 => {}
            Err(error) => config.complain(&format!("status of Kill {name}: {error}")),
        }
    }
}

impl NodeAgent {
    /// Sends the signal to a container of each of the workload's pods. How many processes it reached.
    fn kill(&self, kill: &Kill) -> usize {
        let signal = match kill.signal {
            KillSignal::Kill => Signal::SIGKILL,
            KillSignal::Term => Signal::SIGTERM,
        };
        let pods: Vec<_> = self.pods().values().cloned().collect();
        let mut reached = 0;
        for pod in pods.iter().filter(|pod| is_of(&pod.object, &kill.workload, &kill.namespace)) {
            if let Some(container) = pod.container(kill.container.as_deref()) {
                reached += container.running();
                container.signal(signal);
            }
        }
        reached
    }
}

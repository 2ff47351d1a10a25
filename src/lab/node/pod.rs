//! One pod: its sandbox, its containers, its status.

use super::NodeConfig;
use super::container::{self, Container};
use super::image::{self, Program};
use super::status::{self, ContainerStatus, Phase};
use crate::lab::fabric::DNS_ADDRESS;
use crate::lab::pod_files::PodFile;
use crate::lab::sandbox::{Capture, Sandbox, SandboxSpec};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod as PodObject;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// After a status that the API did not take.
const REFUSED: Duration = Duration::from_secs(1);

/// A pod that the agent has taken up.
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub object: PodObject,
    pub ip: Ipv4Addr,
    started: Timestamp,
    sandbox: Mutex<Option<Arc<Sandbox>>>,
    containers: Mutex<BTreeMap<String, Arc<Container>>>,
    states: Mutex<BTreeMap<String, ContainerStatus>>,
    /// Raised when a container's state has changed and the API should hear of it.
    changed: watch::Sender<u64>,
    /// True once the pod is to end: nothing is restarted any more.
    pub ending: watch::Sender<bool>,
}

impl Pod {
    pub fn new(object: PodObject, ip: Ipv4Addr) -> Option<Arc<Pod>> {
        Some(Arc::new(Pod {
            namespace: object.metadata.namespace.clone()?,
            name: object.metadata.name.clone()?,
            uid: object.metadata.uid.clone()?,
            object,
            ip,
            started: Timestamp::now(),
            sandbox: Mutex::default(),
            containers: Mutex::default(),
            states: Mutex::default(),
            changed: watch::Sender::new(0),
            ending: watch::Sender::new(false),
        }))
    }

    /// The pod's own files: Envoy's bootstrap, the home of its processes.
    pub fn folder(&self, config: &NodeConfig) -> PathBuf {
        config.folder.join("pods").join(&self.uid)
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<String, ContainerStatus>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Container>>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The container of that name, or the pod's default one.
    pub fn container(&self, name: Option<&str>) -> Option<Arc<Container>> {
        let default = || {
            let annotated = self.object.metadata.annotations.as_ref()?.get("kubectl.kubernetes.io/default-container");
            let first = || self.object.spec.as_ref()?.containers.first().map(|c| c.name.clone());
            annotated.cloned().or_else(first)
        };
        let name = name.map(str::to_string).or_else(default)?;
        self.containers().get(&name).cloned()
    }

    pub fn set_state(&self, container: &str, phase: Phase) {
        let mut states = self.states();
        let restarts = states.get(container).map_or(0, |state| state.restarts);
        states.insert(container.to_string(), ContainerStatus { phase, restarts });
        drop(states);
        self.changed.send_modify(|n| *n += 1);
    }

    pub fn count_restart(&self, container: &str) -> u32 {
        let mut states = self.states();
        let Some(state) = states.get_mut(container) else { return 0 };
        state.restarts += 1;
        state.restarts
    }

    /// The pod's namespaces; none before it starts and after it ends.
    pub fn sandbox(&self) -> Option<Arc<Sandbox>> {
        self.sandbox.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Brings the pod up and keeps its status true until it ends.
    pub async fn live(self: Arc<Self>, config: Arc<NodeConfig>) {
        if let Err(message) = self.start(&config).await {
            let spec = self.object.spec.as_ref();
            for container in spec.iter().flat_map(|spec| &spec.containers) {
                self.set_state(
                    &container.name,
                    Phase::Waiting { reason: "CreateContainerError", message: message.clone() },
                );
            }
        }
        let mut changed = self.changed.subscribe();
        let mut ending = self.ending.subscribe();
        let api: Api<PodObject> = Api::namespaced(config.client.clone(), &self.namespace);
        let mut written = None;
        while !*ending.borrow() {
            changed.mark_unchanged();
            // While containers are on their way up there is nothing to tell: one write when all stand.
            let (settled, status) = {
                let states = self.states();
                let wanted = self
                    .object
                    .spec
                    .as_ref()
                    .map_or(0, |spec| spec.containers.len() + spec.init_containers.as_ref().map_or(0, Vec::len));
                let settled = states.len() >= wanted
                    && !states.values().any(|state| matches!(state.phase, Phase::Running { ready: false, .. }));
                (settled || written.is_some(), status::of(&self.object, Some(self.ip), &states, self.started))
            };
            if settled && written.as_ref() != Some(&status) {
                let patch = Patch::Merge(json!({ "metadata": { "uid": self.uid }, "status": status }));
                match api.patch_status(&self.name, &PatchParams::default(), &patch).await {
                    Ok(_) => written = Some(status),
                    // Deleted under us: the watch tells the agent.
                    Err(kube::Error::Api(refusal)) if refusal.code == 404 || refusal.code == 409 => return,
                    Err(error) => {
                        config.complain(&format!("status of pod {}/{}: {error}", self.namespace, self.name));
                        // What the API refuses now it tends to refuse at once again.
                        let _ = tokio::time::timeout(REFUSED, ending.changed()).await;
                    }
                }
                continue;
            }
            tokio::select! {
                _ = changed.changed() => {}
                _ = ending.changed() => {}
            }
        }
    }

    async fn start(self: &Arc<Self>, config: &Arc<NodeConfig>) -> Result<(), String> {
        let spec = self.object.spec.as_ref().ok_or("the pod has no spec")?;
        let init = spec.init_containers.iter().flatten();
        let mut programs = vec![];
        for container in init.clone().chain(&spec.containers) {
            match image::program(container.image.as_deref().unwrap_or_default(), &container.name) {
                Ok(program) => programs.push((container, program)),
                Err(message) => {
                    self.set_state(&container.name, Phase::Waiting { reason: "ErrImagePull", message });
                }
            }
        }
        let redirected = init.clone().any(|container| container.name == "istio-init");
        let folder = self.folder(config);
        let home = folder.join("home");
        std::fs::create_dir_all(&home).map_err(|error| format!("cannot make {}: {error}", home.display()))?;
        let mut files = PodFile::names(&self.namespace, &self.name, self.ip, DNS_ADDRESS);
        files.extend(PodFile::trusted(&config.outside_root_pem));
        // The pod may write there; the rest of the host is read-only to it.
        files.push(PodFile::host(&home, &home));
        let sandbox = config
            .fabric
            .sandbox(SandboxSpec {
                name: format!("{}/{}", self.namespace, self.name),
                hostname: self.name.clone(),
                ip: self.ip,
                capture: if redirected { Capture::Outbound } else { Capture::None },
                files,
            })
            .await
            .map_err(|error| format!("cannot make the pod's sandbox: {error}"))?;
        *self.sandbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(sandbox));
        for (spec, program) in programs {
            if program == Program::Done {
                self.set_state(&spec.name, Phase::Ended { exit: 0, at: Timestamp::now() });
                continue;
            }
            let container = Arc::new(Container::new(spec.clone(), program, self, config));
            self.containers().insert(spec.name.clone(), container.clone());
            tokio::spawn(container::keep_running(container, self.clone(), config.clone()));
        }
        Ok(())
    }

    /// Ends the pod: every process and its namespaces go with the sandbox.
    pub fn end(&self, config: &NodeConfig) {
        self.ending.send_replace(true);
        let containers: Vec<_> = self.containers().values().cloned().collect();
        for container in containers {
            container.log.close();
        }
        drop(self.sandbox.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ = std::fs::remove_dir_all(self.folder(config));
    }
}

//! One pod: its sandbox, its containers, its status.

use super::container::{self, Container};
use super::image::{self, Program};
use super::status::{self, ContainerStatus, Phase};
use super::{NodeConfig, volumes};
use crate::lab::capture::CaptureRules;
use crate::lab::fabric::{DNS_ADDRESS, OUTSIDE_DNS_ADDRESS};
use crate::lab::pod_files::PodFile;
use crate::lab::pod_root::View;
use crate::lab::rights::Rights;
use crate::lab::sandbox::{Capture, Sandbox, SandboxSpec};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod as PodObject;
use kube::api::{Api, Patch, PatchParams};
use nix::sys::signal::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The label of pods that stand outside the cluster, as a user's machine does: `outside`.
const PLACE: &str = "lab.egress-scn.dev/place";

/// Whether the pod plays a client outside the cluster.
pub fn is_outside(pod: &PodObject) -> bool {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(PLACE)).is_some_and(|place| place == "outside")
}

/// After a status that the API did not take.
const REFUSED: Duration = Duration::from_secs(1);
/// After this time what a pod lacked is looked for again.
const AGAIN: Duration = Duration::from_secs(1);

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
        let (restarts, last) = states.get(container).map_or((0, None), |state| (state.restarts, state.last.clone()));
        states.insert(container.to_string(), ContainerStatus { phase, restarts, last });
        drop(states);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Says whether the container that runs since then is ready; one that has ended meanwhile stays ended.
    pub fn set_running(&self, container: &str, since: Timestamp, ready: bool) {
        let runs = matches!(self.states().get(container).map(|state| &state.phase),
            Some(Phase::Running { since: known, .. }) if *known == since);
        if runs {
            self.set_state(container, Phase::Running { since, ready });
        }
    }

    pub fn count_restart(&self, container: &str, exit: i32, since: Timestamp) -> u32 {
        let mut states = self.states();
        let Some(state) = states.get_mut(container) else { return 0 };
        state.restarts += 1;
        state.last = Some(Box::new(Phase::Ended { exit, since, at: Timestamp::now() }));
        state.restarts
    }

    pub fn is_init(&self, container: &str) -> bool {
        let init = self.object.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        init.into_iter().any(|known| known.name == container)
    }

    /// Waits until the container's state is as wanted; false if the pod ends before.
    async fn reaches(&self, container: &str, wanted: impl Fn(&ContainerStatus) -> bool) -> bool {
        let mut changed = self.changed.subscribe();
        let mut ending = self.ending.subscribe();
        loop {
            changed.mark_unchanged();
            if self.states().get(container).is_some_and(&wanted) {
                return true;
            }
            tokio::select! {
                _ = changed.changed() => {}
                _ = ending.wait_for(|ending| *ending) => return false,
            }
        }
    }

    /// The pod's namespaces; none before it starts and after it ends.
    pub fn sandbox(&self) -> Option<Arc<Sandbox>> {
        self.sandbox.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Brings the pod up and keeps its status true until it ends.
    pub async fn live(self: Arc<Self>, config: Arc<NodeConfig>) {
        let starting = tokio::spawn(self.clone().start_or_say(config.clone()));
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
                let told = |state: &ContainerStatus| match &state.phase {
                    Phase::Running { ready, .. } => *ready,
                    // Of those that come after it nothing is known yet.
                    Phase::Waiting { .. } => true,
                    Phase::Ended { .. } => true,
                };
                let troubled = states.values().any(|state| matches!(state.phase, Phase::Waiting { .. }));
                let probed = |name: &String| {
                    let containers = self.object.spec.iter().flat_map(|spec| &spec.containers);
                    containers.into_iter().any(|c| c.name == *name && c.readiness_probe.is_some())
                };
                let up = states.iter().all(|(name, state)| told(state) || probed(name));
                let settled = up && (states.len() >= wanted || troubled);
                (settled || written.is_some(), status::of(&self.object, Some(self.ip), &states, self.started))
            };
            if settled && written.as_ref() != Some(&status) {
                let patch = Patch::Merge(json!({ "metadata": { "uid": self.uid }, "status": status }));
                match api.patch_status(&self.name, &PatchParams::default(), &patch).await {
                    Ok(_) => written = Some(status),
                    // Deleted under us: the watch tells the agent.
                    Err(kube::Error::Api(refusal)) if refusal.code == 404 || refusal.code == 409 => break,
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
        starting.abort();
    }

    /// Starts the pod; what cannot be had yet, a ConfigMap say, is asked for again as a kubelet does.
    async fn start_or_say(self: Arc<Self>, config: Arc<NodeConfig>) {
        let mut ending = self.ending.subscribe();
        let mut told = String::new();
        while let Err((reason, message)) = self.start(&config).await {
            if told != message {
                let reason = if reason == "ContainerCreating" { "FailedMount" } else { "FailedCreatePodSandBox" };
                config.events.warning(&self.object, reason, &message);
                told.clone_from(&message);
            }
            let spec = self.object.spec.as_ref();
            for container in spec.iter().flat_map(|spec| &spec.containers) {
                self.set_state(&container.name, Phase::Waiting { reason, message: message.clone() });
            }
            if tokio::time::timeout(AGAIN, ending.wait_for(|ending| *ending)).await.is_ok() {
                return;
            }
        }
    }

    async fn start(self: &Arc<Self>, config: &Arc<NodeConfig>) -> Result<(), (&'static str, String)> {
        let create = |message: String| ("CreateContainerError", message);
        let spec = self.object.spec.as_ref().ok_or(create("the pod has no spec".into()))?;
        let init = spec.init_containers.iter().flatten();
        let mut programs = vec![];
        for container in init.clone().chain(&spec.containers) {
            match image::program(container.image.as_deref().unwrap_or_default(), &container.name) {
                Ok(program) => programs.push((container, program)),
                Err(message) => {
                    let events = config.events_of(self, &container.name);
                    let image = container.image.as_deref().unwrap_or_default();
                    events.normal(&self.object, "Pulling", format!("Pulling image \"{image}\""));
                    events.warning(&self.object, "Failed", message.replacen("failed", "Failed", 1));
                    events.warning(&self.object, "Failed", "Error: ErrImagePull");
                    self.set_state(&container.name, Phase::Waiting { reason: "ErrImagePull", message });
                }
            }
        }
        let has_proxy = programs.iter().any(|(_, program)| *program == Program::Proxy);
        let redirected = init.clone().any(|container| container.name == "istio-init");
        let folder = self.folder(config);
        let home = folder.join("home");
        std::fs::create_dir_all(&home).map_err(|error| create(format!("cannot make {}: {error}", home.display())))?;
        let mut files = match is_outside(&self.object) {
            true => PodFile::outside_names(&self.name, self.ip, OUTSIDE_DNS_ADDRESS),
            false => PodFile::names(&self.namespace, &self.name, self.ip, DNS_ADDRESS),
        };
        files.extend(PodFile::trusted(&config.outside_root_pem));
        // The pod may write there; the rest of the host is read-only to it.
        files.push(PodFile::host(&home, &home));
        files.extend(volumes::files(self, config).await.map_err(|message| ("ContainerCreating", message))?);
        let capture = if redirected { self.capture().map_err(create)? } else { Capture::None };
        let sandbox = config
            .fabric
            .sandbox(SandboxSpec {
                name: format!("{}/{}", self.namespace, self.name),
                hostname: self.name.clone(),
                ip: self.ip,
                capture,
                files,
                view: self.view(config, programs.iter().any(|(_, program)| *program == Program::Pilot)),
                rights: if has_proxy { Rights::Proxy } else { Rights::Container },
            })
            .await
            .map_err(|error| create(format!("cannot make the pod's sandbox: {error}")))?;
        *self.sandbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(sandbox));
        for (spec, program) in programs {
            if program == Program::Done {
                let now = Timestamp::now();
                container::tell_start(&config.events_of(self, &spec.name), &self.object, spec);
                self.set_state(&spec.name, Phase::Ended { exit: 0, since: now, at: now });
                continue;
            }
            let container = Arc::new(Container::new(spec.clone(), program, config));
            self.containers().insert(spec.name.clone(), container.clone());
            tokio::spawn(container::keep_running(container, self.clone(), config.clone()));
            // Init containers run one after the other, and sidecars among them stand before the next begins.
            if !self.is_init(&spec.name) {
                continue;
            }
            let sidecar = status::is_sidecar(spec);
            let done = |state: &ContainerStatus| match state.phase {
                Phase::Running { ready, .. } => sidecar && ready,
                Phase::Ended { exit, .. } => exit == 0,
                Phase::Waiting { .. } => false,
            };
            if !self.reaches(&spec.name, done).await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What the pod has of the host: programs, and of the lab's files its own and the sockets' folder. A client that stands
    /// outside is this machine's user; an istiod that was brought along reads what it was brought along with.
    fn view(&self, config: &NodeConfig, control_plane: bool) -> View {
        if is_outside(&self.object) || (control_plane && config.istiod.is_some()) {
            return View::Host;
        }
        let sockets = config.xds_socket.parent().map(PathBuf::from);
        let own = [self.folder(config), config.envoy.clone(), config.outside_roots.clone()];
        View::Container(own.into_iter().chain(sockets).chain(std::env::current_exe().ok()).collect())
    }

    /// What the injected istio-init would do, by the pod's annotations.
    fn capture(&self) -> Result<Capture, String> {
        let annotations = self.object.metadata.annotations.as_ref();
        let annotation = |name: &str| annotations.and_then(|given| given.get(name)).map(String::as_str);
        if annotation("sidecar.istio.io/interceptionMode") == Some("NONE") {
            return Ok(Capture::None);
        }
        CaptureRules::from_annotations(true, annotation).map(Capture::Rules)
    }

    /// Asks the pod's own containers to end, then its sidecars, and waits for each as long as the grace period lasts.
    pub async fn stop(&self, grace: Duration, config: &NodeConfig) {
        self.ending.send_replace(true);
        let all: Vec<Arc<Container>> = self.containers().values().cloned().collect();
        let (sidecars, own): (Vec<_>, Vec<_>) = all.into_iter().partition(|c| self.is_init(&c.spec.name));
        let deadline = tokio::time::Instant::now() + grace;
        for group in [own, sidecars] {
            for container in &group {
                if container.running() > 0 {
                    let name = &container.spec.name;
                    let events = config.events_of(self, name);
                    events.normal(&self.object, "Killing", format!("Stopping container {name}"));
                }
                container.signal(Signal::SIGTERM);
            }
            for container in group.iter().filter(|container| container.running() > 0) {
                let mut changed = self.changed.subscribe();
                let ended = async { while container.running() > 0 && changed.changed().await.is_ok() {} };
                if tokio::time::timeout_at(deadline, ended).await.is_err() {
                    return;
                }
            }
        }
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

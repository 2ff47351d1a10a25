//! The pilot's loop: takes all changes that are there, compiles once for every connected proxy, sets
//! what it got; the xDS server sends what differs.

use super::certificates::{Certificates, named_in};
use super::log::Log;
use super::proxy;
use super::store::Store;
use super::watch::Change;
use crate::lab::authority::Authority;
use crate::mesh::{self, Compiler, Generated, Proxy};
use crate::xds::{self, ConnectedNode, Event, Events, Resources, Server};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// A push waits until nothing has changed for so long, as istiod's does (`PILOT_DEBOUNCE_AFTER`), so that an object that
/// is deleted and made again is one change, or none. Who asks whether a version has arrived does not wait for it.
const QUIET: Duration = Duration::from_millis(100);
/// But not longer than this after the first change (istiod's `PILOT_DEBOUNCE_MAX` is 10 s).
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How far the pilot is; what the debug interface tells and waits for.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Everything up to this resourceVersion is compiled and handed to the xDS server as `version`.
    /// `None` before every kind was listed.
    pub seen: Option<u64>,
    /// The kinds that hold `seen` back.
    pub behind: Vec<&'static str>,
    pub version: u64,
    /// Compiles for changes so far.
    pub pushes: u64,
    /// What the last one took, all proxies together.
    pub last_compile: Duration,
    /// istiod's push status, of all proxies.
    pub push_status: Arc<Value>,
}

/// One connected Envoy.
struct Connected {
    /// As it was when it connected: proxy config takes effect at a proxy's start.
    proxy: Proxy,
    status: Value,
    warnings: Vec<String>,
}

pub struct Pusher {
    server: Server,
    certificates: Certificates,
    log: Log,
    store: Store,
    /// The store as read for compiling, led on when the store changed.
    compiler: Option<Compiler>,
    /// The store is not what the compiler has read.
    changed: bool,
    proxies: BTreeMap<String, Connected>,
    /// Nodes that came before all kinds were listed.
    early: Vec<ConnectedNode>,
    progress: watch::Sender<Progress>,
    /// The resourceVersion that somebody waits for.
    asked: watch::Receiver<u64>,
    /// Changes that no push has taken.
    pending: Option<Pending>,
}

/// When the oldest and the newest change that waits for a push came.
struct Pending {
    first: Instant,
    last: Instant,
}

impl Pusher {
    pub fn new(
        server: Server,
        authority: Arc<Authority>,
        outside_root_pem: String,
        asked: watch::Receiver<u64>,
        log: Log,
    ) -> Pusher {
        Pusher {
            server,
            certificates: Certificates::new(authority, outside_root_pem),
            log,
            store: Store::default(),
            compiler: None,
            changed: false,
            proxies: BTreeMap::new(),
            early: Vec::new(),
            progress: watch::channel(Progress::default()).0,
            asked,
            pending: None,
        }
    }

    pub fn progress(&self) -> watch::Sender<Progress> {
        self.progress.clone()
    }

    pub async fn run(mut self, mut changed: mpsc::UnboundedReceiver<Change>, mut connections: Events) {
        loop {
            let mut changes = Vec::new();
            let mut events = Vec::new();
            let due = self.due();
            tokio::select! {
                Some(change) = changed.recv() => changes.push(change),
                Some(event) = connections.recv() => events.push(event),
                Ok(()) = self.asked.changed() => {}
                () = reached(due) => {}
                else => return,
            }
            // The rest of the burst.
            while let Ok(change) = changed.try_recv() {
                changes.push(change);
            }
            while let Ok(event) = connections.try_recv() {
                events.push(event);
            }
            for change in changes {
                match self.store.take(change) {
                    Ok(false) => {}
                    Ok(true) => {
                        let now = Instant::now();
                        self.pending.get_or_insert(Pending { first: now, last: now }).last = now;
                    }
                    Err(error) => self.log.warn("mesh", &error),
                }
            }
            for event in events {
                self.hear(event);
            }
            if !self.store.is_complete() {
                continue;
            }
            let mut new = BTreeSet::new();
            for node in std::mem::take(&mut self.early) {
                new.extend(self.admit(node));
            }
            let due = self.due().is_some_and(|due| due <= Instant::now());
            if self.pending.is_some() && (due || !new.is_empty() || self.is_asked_for()) {
                self.pending = None;
                self.changed = true;
                self.push_all().await;
            } else if !new.is_empty() {
                self.compile(&new).await;
            }
            // What waits for a push has not been seen, for those who ask.
            if self.pending.is_none() {
                self.publish();
            }
        }
    }

    /// When what is pending is pushed without being asked for.
    fn due(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| (pending.last + QUIET).min(pending.first + LONGEST_WAIT))
    }

    /// Whether somebody waits for a version that is here and not pushed.
    fn is_asked_for(&self) -> bool {
        let asked = *self.asked.borrow();
        let pushed = self.progress.borrow().seen.unwrap_or(0);
        asked > pushed && self.store.seen() >= asked
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Connected(node) => self.early.push(node),
            Event::Disconnected { id } => {
                self.early.retain(|node| node.id != id);
                if let Some(gone) = self.proxies.remove(&id) {
                    self.log.info("ads", &format!("ADS: \"@\" {} terminated", name(&gone.proxy)));
                }
                self.server.forget(&id);
            }
            Event::Rejected { id, kind, message, .. } => {
                let name = self.proxies.get(&id).map_or(id, |connected| name(&connected.proxy));
                self.log.warn("ads", &format!("ADS:{}: ACK ERROR {name} Internal:{message}", kind.service()));
            }
        }
    }

    /// Takes a node that has connected. Its id, or nothing if it is none of ours.
    fn admit(&mut self, node: ConnectedNode) -> Option<String> {
        let Some(proxy) = proxy::read(&node.node, &self.store) else {
            self.log
                .warn("ads", &format!("ADS: node id {:?} is not of the form TYPE~IP~POD.NAMESPACE~DOMAIN", node.id));
            // It gets nothing, and nobody waits for it.
            self.server.set(&node.id, Resources::default());
            return None;
        };
        self.log.info("ads", &format!("ADS: new connection for node:{}", name(&proxy)));
        let connected = Connected { proxy, status: Value::Null, warnings: Vec::new() };
        self.proxies.insert(node.id.clone(), connected);
        Some(node.id)
    }

    async fn push_all(&mut self) {
        let all: BTreeSet<String> = self.proxies.keys().cloned().collect();
        let started = Instant::now();
        self.compile(&all).await;
        let push = self.progress.borrow().pushes + 1;
        self.progress.send_modify(|progress| {
            progress.pushes = push;
            progress.last_compile = started.elapsed();
        });
        if all.is_empty() {
            return;
        }
        let services = self.store.objects("Service").count();
        self.log
            .info("ads", &format!("XDS: Pushing Services:{services} ConnectedEndpoints:{} Version:{push}", all.len()));
        // A warning is the same for every proxy that meets it.
        let mut told = BTreeSet::new();
        for line in self.proxies.values().flat_map(|connected| &connected.warnings) {
            if told.insert(line) {
                self.log.line(line);
            }
        }
    }

    /// Compiles for the named proxies and sets the result.
    async fn compile(&mut self, ids: &BTreeSet<String>) {
        let named = self.proxies.iter().filter(|(id, _)| ids.contains(*id));
        let proxies: Vec<(String, Proxy)> =
            named.map(|(id, connected)| (id.clone(), connected.proxy.clone())).collect();
        if proxies.is_empty() {
            return;
        }
        let before = self.compiler.take();
        let world = if before.is_none() || self.changed { Some(self.store.world()) } else { None };
        self.changed = false;
        // Off the threads that answer Envoys. A compile that panics is a defect; the proxy keeps what it has.
        let work = move || {
            let compiler = match (before, world) {
                (Some(mut compiler), Some(world)) => {
                    compiler.update(&world);
                    compiler
                }
                (before, world) => before.or_else(|| world.as_ref().map(Compiler::new))?,
            };
            let one = |proxy: &Proxy| catch_unwind(AssertUnwindSafe(|| compiler.compile(proxy))).ok();
            let generated: Vec<_> = proxies.iter().map(|(id, proxy)| (id.clone(), one(proxy))).collect();
            Some((compiler, generated))
        };
        let Ok(Some((compiler, generated))) = tokio::task::spawn_blocking(work).await else {
            self.log.line("error\tads\tgeneration failed for every proxy");
            return;
        };
        self.compiler = Some(compiler);
        for (id, generated) in generated {
            match generated {
                Some(generated) => self.set(&id, generated),
                None => self.log.line(&format!("error\tads\tgeneration failed for {id}")),
            }
        }
    }

    fn set(&mut self, id: &str, generated: Generated) {
        let Some(connected) = self.proxies.get_mut(id) else { return };
        let bodies = generated.clusters.iter().chain(&generated.listeners).map(|resource| &resource.body);
        let names = named_in(bodies);
        let secrets = match self.certificates.secrets(&self.store, &connected.proxy, &names) {
            Ok(secrets) => secrets,
            Err(error) => {
                self.log.line(&format!("error\tca\t{error}"));
                Vec::new()
            }
        };
        (connected.status, connected.warnings) = (generated.push_status, generated.warnings);
        let take = |resources: Vec<mesh::Resource>| {
            resources.into_iter().map(|resource| xds::Resource { name: resource.name, body: resource.body }).collect()
        };
        let resources = Resources {
            clusters: take(generated.clusters),
            endpoints: take(generated.endpoints),
            listeners: take(generated.listeners),
            routes: take(generated.routes),
            secrets,
        };
        let version = self.server.set(id, resources);
        self.progress.send_modify(|progress| progress.version = version);
    }

    fn publish(&self) {
        let mut status = Value::Object(Map::new());
        for connected in self.proxies.values() {
            merge(&mut status, &connected.status);
        }
        let seen = self.store.seen();
        let behind = self.store.behind(seen + 1);
        self.progress.send_modify(|progress| {
            progress.seen = Some(seen);
            progress.behind = behind;
            progress.push_status = Arc::new(status);
        });
    }
}

async fn reached(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// As istiod names proxies in its log and its debug interface.
fn name(proxy: &Proxy) -> String {
    format!("{}.{}", proxy.name, proxy.namespace)
}

fn merge(into: &mut Value, from: &Value) {
    let (Value::Object(into), Value::Object(from)) = (into, from) else { return };
    for (name, value) in from {
        match into.get_mut(name) {
            Some(there) => merge(there, value),
            None => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

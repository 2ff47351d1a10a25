//! The proxies that a run asks: each pod of each workload with its admin connection and its followed
//! log, kept open for as long as the pod lives.

use crate::cluster::{Admin, Cluster, Error, LogFollower, Pod};
use crate::envoy::{Dump, LogFormats};
use crate::plan::Workload;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};

/// One pod that runs Envoy (or an application without one).
pub struct Proxy {
    pub pod: Pod,
    pub admin: Admin,
    log: Mutex<Option<Arc<LogFollower>>>,
    /// The dump, with the number of the change after which it was taken.
    dump: Mutex<Option<(u64, Arc<Dump>)>>,
    /// The same for the formats of its access log.
    formats: Mutex<Option<(u64, Arc<LogFormats>)>>,
    /// It has shown that it has none of the listeners that all sidecars have.
    is_gateway: AtomicBool,
    /// How seldom its Envoy writes its log out; `None`: it does not say.
    flush: OnceCell<Option<Duration>>,
}

/// All of them.
pub struct Proxies {
    cluster: Cluster,
    by_workload: HashMap<Workload, Vec<Arc<Proxy>>>,
    by_uid: HashMap<String, Arc<Proxy>>,
    told: HashSet<String>,
}

/// How long a workload may take to have a ready pod.
const READY_LIMIT: Duration = Duration::from_secs(10);

impl Proxies {
    pub fn new(cluster: Cluster) -> Proxies {
        Proxies { cluster, by_workload: HashMap::new(), by_uid: HashMap::new(), told: HashSet::new() }
    }

    /// The ready pods of a workload; at least one.
    pub async fn of(&mut self, workload: &Workload) -> Result<Vec<Arc<Proxy>>, Error> {
        self.of_within(workload, READY_LIMIT).await
    }

    /// The same, if they are ready now.
    pub async fn of_now(&mut self, workload: &Workload) -> Result<Vec<Arc<Proxy>>, Error> {
        self.of_within(workload, Duration::from_millis(1)).await
    }

    async fn of_within(&mut self, workload: &Workload, limit: Duration) -> Result<Vec<Arc<Proxy>>, Error> {
        if let Some(known) = self.by_workload.get(workload) {
            return Ok(known.clone());
        }
        let pods = self.cluster.pods(&workload.namespace, &workload.name, limit).await?;
        let proxies: Vec<Arc<Proxy>> = pods.into_iter().map(|pod| self.proxy(pod)).collect();
        self.by_workload.insert(workload.clone(), proxies.clone());
        Ok(proxies)
    }

    /// Looks up several workloads at once, as far as they are ready now.
    pub async fn look_up(&mut self, workloads: &[&Workload]) {
        let cluster = &self.cluster;
        let unknown = workloads.iter().filter(|w| !self.by_workload.contains_key(**w));
        let asked = unknown.map(|w| async move {
            let pods = cluster.pods(&w.namespace, &w.name, Duration::from_millis(1)).await;
            ((*w).clone(), pods)
        });
        let found = futures::future::join_all(asked).await;
        for (workload, pods) in found {
            if let Ok(pods) = pods {
                let proxies = pods.into_iter().map(|pod| self.proxy(pod)).collect();
                self.by_workload.insert(workload, proxies);
            }
        }
    }

    fn proxy(&mut self, pod: Pod) -> Arc<Proxy> {
        let cluster = &self.cluster;
        let fresh = || {
            let admin = cluster.admin(&pod);
            let (log, dump, formats) = (Mutex::new(None), Mutex::new(None), Mutex::new(None));
            let (is_gateway, flush) = (AtomicBool::new(false), OnceCell::new());
            Arc::new(Proxy { pod: pod.clone(), admin, log, dump, formats, is_gateway, flush })
        };
        self.by_uid.entry(pod.uid.clone()).or_insert_with(fresh).clone()
    }

    /// Every proxy seen since the last call of this.
    pub fn unseen(&mut self) -> Vec<Arc<Proxy>> {
        let mut fresh: Vec<_> = self.by_uid.values().filter(|p| p.pod.proxy_container.is_some()).cloned().collect();
        fresh.retain(|p| self.told.insert(p.pod.uid.clone()));
        fresh.sort_by(|a, b| a.pod.name.cmp(&b.pod.name));
        fresh
    }

    /// Looks the pods up anew next time: after a change that may replace them. Connections to pods that
    /// are still there are kept.
    pub fn forget_pods(&mut self) {
        self.by_workload.clear();
    }
}

impl Proxy {
    /// The followed log of the pod's Envoy; `None` where the pod has none.
    pub async fn log(&self, cluster: &Cluster) -> Option<Arc<LogFollower>> {
        let container = self.pod.proxy_container.as_deref()?;
        let mut log = self.log.lock().await;
        match log.as_ref() {
            Some(follower) if !follower.ended() => Some(follower.clone()),
            _ => {
                let follower = Arc::new(cluster.follow(&self.pod, container).await);
                *log = Some(follower.clone());
                Some(follower)
            }
        }
    }

    /// How long a line of the access log may wait in Envoy before it is written (`--file-flush-interval-msec`).
    pub async fn flush_interval(&self) -> Option<Duration> {
        let ask = || async {
            let info = self.admin.server_info().await.ok()?;
            let interval = info.pointer("/command_line_options/file_flush_interval")?.as_str()?;
            Duration::try_from_secs_f64(interval.strip_suffix('s')?.parse().ok()?).ok()
        };
        *self.flush.get_or_init(ask).await
    }

    /// The config dump, asked anew unless one was taken since change number `since`.
    pub async fn dump(&self, since: u64, fresh: bool) -> Result<Arc<Dump>, Error> {
        let mut kept = self.dump.lock().await;
        match kept.as_ref() {
            Some((at, dump)) if *at == since && !fresh => Ok(dump.clone()),
            _ => {
                let dump = Arc::new(Dump::read(&self.admin.config_dump().await?));
                *kept = Some((since, dump.clone()));
                Ok(dump)
            }
        }
    }

    async fn ask_formats(&self) -> Result<LogFormats, Error> {
        if !self.is_gateway.load(Ordering::Relaxed) {
            let found = LogFormats::read(&self.admin.listeners_named("virtualOutbound").await?);
            if found.writes() {
                return Ok(found);
            }
            self.is_gateway.store(true, Ordering::Relaxed);
        }
        // A gateway has few listeners. One without any has no logger to show its format by, and no traffic either.
        let all = self.admin.listeners_named(".*").await?;
        match all["configs"].as_array().is_none_or(Vec::is_empty) {
            true => Ok(LogFormats::istio_default()),
            false => Ok(LogFormats::read(&all)),
        }
    }

    /// How the lines of its access log are to be read, asked anew likewise. Of the listeners that all sidecars have, if
    /// it has them: one tells the mesh's format; where a listener has another, the whole dump does.
    pub async fn formats(&self, since: u64, fresh: bool) -> Result<Arc<LogFormats>, Error> {
        let mut kept = self.formats.lock().await;
        match kept.as_ref() {
            Some((at, formats)) if *at == since && !fresh => Ok(formats.clone()),
            _ => {
                let formats = Arc::new(self.ask_formats().await?);
                *kept = Some((since, formats.clone()));
                Ok(formats)
            }
        }
    }
}

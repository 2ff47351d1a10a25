//! Everything asked of Kubernetes, through `kube` alone: the same code for a cluster and for the
//! lab. Knows no scenarios.
//!
//! A proxy is a set of pods: every fact is asked of each of them.

mod admin;
pub mod doctor;
mod error;
mod exec;
mod kinds;
mod logs;
mod objects;
mod propagation;
mod rollout;
mod workload;

pub use admin::Admin;
pub use error::Error;
pub use exec::Output;
pub use kinds::Kind;
pub use logs::LogFollower;
pub use objects::{Applied, FIELD_MANAGER, content, describe, identity};
pub use propagation::{Propagation, Settled};
pub use rollout::{has_condition, rolled_out};
pub use workload::{Pod, PodSet};

use kinds::Kinds;
use kube::Client;
use std::sync::Arc;

/// A Kubernetes API with Istio on it. Cheap to clone; connections and discovery are shared.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    /// For messages and for the journal: where the API is.
    server: String,
    kinds: Kinds,
}

impl Cluster {
    /// `server` is the API's URL, as messages and the undo journal name it.
    pub fn new(client: Client, server: impl Into<String>) -> Cluster {
        Cluster { inner: Arc::new(Inner { client, server: server.into(), kinds: Kinds::default() }) }
    }

    /// The cluster that a kube configuration names.
    pub fn connect(config: kube::Config) -> Result<Cluster, Error> {
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|e| Error::from_kube("reading the configuration", e))?;
        Ok(Cluster::new(client, server.trim_end_matches('/')))
    }

    /// The client itself, for requests that this room does not offer.
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// The API's URL.
    pub fn server(&self) -> &str {
        &self.inner.server
    }

    /// What the API server says it is (`/version`), e.g. `v1.34.4`.
    pub async fn version(&self) -> Result<String, Error> {
        let info = self
            .client()
            .apiserver_version()
            .await
            .map_err(|e| Error::from_kube("asking the API server for its version", e))?;
        Ok(info.git_version)
    }

    /// What istiod says it is, e.g. `1.30.3`.
    ///
    /// # Errors
    /// [`Error::Absent`] where no istiod runs or it does not say.
    pub async fn istio_version(&self) -> Result<String, Error> {
        let pods = self.pods("istio-system", "istiod", std::time::Duration::from_millis(1)).await?;
        let silent = || Error::Absent {
            message: "istiod does not say which version it is".into(),
            help: "see `istioctl version`".into(),
        };
        let control = self.http(pods.first().ok_or_else(silent)?, propagation::MONITORING);
        let answer = control.get("/version").await?;
        let text = String::from_utf8_lossy(&answer.body);
        let version: String = text.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        match answer.status == 200 && !version.is_empty() {
            true => Ok(version),
            false => Err(silent()),
        }
    }

    /// Identifies the cluster whatever its URL: the uid of the namespace kube-system. `None` where
    /// it may not be read.
    pub async fn uid(&self) -> Option<String> {
        let kind = self.kind("v1", "Namespace").await.ok()?;
        let namespace = self.get(&kind, None, "kube-system").await.ok()??;
        namespace.pointer("/metadata/uid").and_then(|v| v.as_str()).map(str::to_owned)
    }
}

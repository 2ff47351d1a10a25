//! The mesh compiler: Kubernetes and Istio objects and mesh config → the Envoy resources of one
//! proxy, as Istio 1.30.3 generates them. A pure function; each resource carries its provenance.
//!
//! Used by the lab's pilot, by `check`, by `proxy-config` and by failure analysis. Does no I/O.

mod access_log;
mod asked;
mod cluster;
mod compiler;
mod destination_rule;
mod difference;
pub mod documents;
mod duration;
mod endpoint;
mod envoy_filter;
mod gateway;
mod host;
mod ingress;
mod json;
mod listener;
mod load_balancing;
mod memo;
mod mesh_config;
mod metrics;
mod node;
mod object;
mod pod_proxy;
mod policy;
mod protocol;
mod push;
mod registry;
mod report;
mod route;
mod scope;
mod sidecar;
mod stat_name;
mod subsets;
mod telemetry;
mod tls;
mod tracing;
mod virtual_service;

use crate::message::Body;
pub use compiler::Compiler;
pub use difference::{Change, changes};
use object::Object;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything a control plane knows: objects as the API server stores them (defaults filled in),
/// and the effective mesh config (protojson names, as in the ConfigMap `istio`, key `mesh`).
#[derive(Debug, Clone, Default)]
pub struct World {
    pub objects: Vec<Arc<Value>>,
    pub mesh_config: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyType {
    Sidecar,
    Router,
}

/// The node that asks: what a proxy's metadata tells istiod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    pub kind: ProxyType,
    /// Pod name.
    pub name: String,
    pub namespace: String,
    pub ip: String,
    pub labels: BTreeMap<String, String>,
    pub service_account: String,
    /// Further node metadata (`DNS_CAPTURE`, …), by its Istio name.
    pub metadata: BTreeMap<String, Value>,
}

/// Where a resource, or a part of it, came from: an object and a JSON pointer into it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Origin {
    object: Object,
    /// RFC 6901, e.g. `/spec/tls/0/route/0`.
    pub pointer: Arc<str>,
    /// The part of the resource that came from there, as a pointer into its body; empty for the whole.
    pub at: Arc<str>,
}

impl Origin {
    pub fn kind(&self) -> &str {
        &self.object.kind
    }

    pub fn namespace(&self) -> &str {
        &self.object.namespace
    }

    pub fn name(&self) -> &str {
        &self.object.name
    }
}

/// The object is compared by its name: what it holds is another question.
impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.object.kind == other.object.kind
            && self.object.is_same_as(&other.object)
            && self.pointer == other.pointer
            && self.at == other.at
    }
}

impl Eq for Origin {}

/// One Envoy resource as proto3 JSON (lowerCamelCase names, `@type` in Anys, no defaults).
/// Cheap to clone: what did not change from one world to the next is shared.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    pub name: Arc<str>,
    pub body: Body,
    pub origins: Arc<[Origin]>,
}

impl Resource {
    pub fn new(name: impl Into<Arc<str>>, body: Value, origins: Vec<Origin>) -> Self {
        Self { name: name.into(), body: body.into(), origins: origins.into() }
    }
}

/// What one proxy gets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Generated {
    pub listeners: Vec<Resource>,
    pub clusters: Vec<Resource>,
    pub routes: Vec<Resource>,
    /// ClusterLoadAssignments.
    pub endpoints: Vec<Resource>,
    /// As istiod's `/debug/push_status` words it.
    pub push_status: Value,
    /// istiod's log lines about dropped config: `warn\t…`, `info\t…`.
    pub warnings: Vec<String>,
}

/// Generates the configuration of one proxy.
pub fn compile(world: &World, proxy: &Proxy) -> Generated {
    Compiler::new(world).compile(proxy)
}

/// Settings of istiod itself that change what it generates: flags and environment variables of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Objects come from files: a short host name gets the namespace but no cluster domain, so it names no Service.
    pub reads_files: bool,
    /// `ENABLE_TLS_ON_SIDECAR_INGRESS`: `tls` of a Sidecar's ingress counts, where mutual TLS is disabled.
    pub tls_on_sidecar_ingress: bool,
}

//! Resources as a control plane offers them, and as the server keeps them: encoded once.

use super::references::References;
use super::template::Templates;
use super::wire::{Any, WireError};
use crate::message::Body;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The kinds of resource, in the order in which they are pushed: what is referred to by what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    Cluster,
    Endpoint,
    Listener,
    Route,
    Secret,
}

impl ResourceType {
    pub const ALL: [ResourceType; 5] = [Self::Cluster, Self::Endpoint, Self::Listener, Self::Route, Self::Secret];

    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    pub fn from_type_url(url: &str) -> Option<ResourceType> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// CDS, EDS, LDS, RDS, SDS: the service's name, as control planes print it.
    pub fn service(self) -> &'static str {
        match self {
            Self::Cluster => "CDS",
            Self::Endpoint => "EDS",
            Self::Listener => "LDS",
            Self::Route => "RDS",
            Self::Secret => "SDS",
        }
    }

    /// Whether Envoy asks for all there are (and each response holds them all), not by name.
    pub(super) fn is_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

/// One resource: its name in the protocol and its body, proto3 JSON (with or without its own `@type`).
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    pub name: Arc<str>,
    pub body: Body,
}

/// All that one node should have. The order of clusters and listeners is kept.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    pub clusters: Vec<Resource>,
    /// ClusterLoadAssignments, by cluster (or EDS service) name.
    pub endpoints: Vec<Resource>,
    pub listeners: Vec<Resource>,
    pub routes: Vec<Resource>,
    pub secrets: Vec<Resource>,
}

impl Resources {
    pub(super) fn take(&mut self, kind: ResourceType) -> Vec<Resource> {
        std::mem::take(match kind {
            ResourceType::Cluster => &mut self.clusters,
            ResourceType::Endpoint => &mut self.endpoints,
            ResourceType::Listener => &mut self.listeners,
            ResourceType::Route => &mut self.routes,
            ResourceType::Secret => &mut self.secrets,
        })
    }
}

/// A resource ready to send. Two entries are the same content exactly when their `id` is the same.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: Arc<str>,
    pub id: u64,
    pub body: Body,
    pub encoded: Any,
    pub references: References,
}

impl Entry {
    fn new(kind: ResourceType, resource: Resource, templates: &mut Templates) -> Result<Entry, WireError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (encoded, references) = templates.encode(kind, &resource)?;
        Ok(Entry {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            references,
            name: resource.name,
            body: resource.body,
            encoded,
        })
    }
}

/// The wanted resources of one type, in order and by name.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub order: Vec<Arc<Entry>>,
    pub by_name: HashMap<Arc<str>, Arc<Entry>>,
}

impl Set {
    /// Takes over entries of `before` whose body is unchanged; encodes the rest. What cannot be
    /// encoded is left out and told.
    pub fn new(kind: ResourceType, resources: Vec<Resource>, before: &Set) -> (Set, Vec<String>) {
        let mut set = Set::default();
        let mut refused = Vec::new();
        let mut templates = Templates::default();
        for resource in resources {
            let entry = match before.by_name.get(&resource.name).filter(|entry| entry.body == resource.body) {
                Some(entry) => entry.clone(),
                None => {
                    let name = resource.name.clone();
                    match Entry::new(kind, resource, &mut templates) {
                        Ok(entry) => Arc::new(entry),
                        Err(error) => {
                            refused.push(format!("{name:?} has no protobuf form: {error}"));
                            continue;
                        }
                    }
                }
            };
            set.by_name.insert(entry.name.clone(), entry.clone());
            set.order.push(entry);
        }
        (set, refused)
    }

    pub fn same_as(&self, other: &Set) -> bool {
        self.order.len() == other.order.len() && self.order.iter().zip(&other.order).all(|(a, b)| a.id == b.id)
    }
}

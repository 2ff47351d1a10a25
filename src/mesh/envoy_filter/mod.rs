//! EnvoyFilters: patches to what has been generated, in their order of priority.

mod cluster;
mod edit;
mod listener;
mod route;
mod schema;

use super::json::{labels, labels_match, list, present, text};
use super::node::Node;
use super::object::Object;
use super::{Origin, Proxy, Resource};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The version that `match.proxy.proxyVersion` is compared with when the node tells none.
const VERSION: &str = "1.30.3";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    SidecarInbound,
    SidecarOutbound,
    Gateway,
}

impl Context {
    fn name(self) -> &'static str {
        match self {
            Self::SidecarInbound => "SIDECAR_INBOUND",
            Self::SidecarOutbound => "SIDECAR_OUTBOUND",
            Self::Gateway => "GATEWAY",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Merge,
    Add,
    Remove,
    InsertBefore,
    InsertAfter,
    InsertFirst,
    Replace,
}

/// One element of `configPatches`.
#[derive(Debug)]
struct Patch {
    operation: Operation,
    context: String,
    /// `match`.
    at: Value,
    value: Value,
    origin: Origin,
}

impl Patch {
    fn in_context(&self, context: Context) -> bool {
        self.context == "ANY" || self.context == context.name()
    }

    /// An ADD for any context makes one resource, not one for each direction.
    fn adds_to(&self, context: Context) -> bool {
        self.operation == Operation::Add
            && self.in_context(context)
            && !(self.context == "ANY" && context == Context::SidecarInbound)
    }

    /// Merges the value into a message of the patch's own type.
    fn merge(&self, kind: Kind, target: &mut Value) {
        schema::merge(kind.message(), target, &self.value);
    }
}

/// What a patch applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Listener,
    ListenerFilter,
    FilterChain,
    NetworkFilter,
    HttpFilter,
    Cluster,
    RouteConfiguration,
    VirtualHost,
    HttpRoute,
}

impl Kind {
    fn read(name: &str) -> Option<Self> {
        Some(match name {
            "LISTENER" => Self::Listener,
            "LISTENER_FILTER" => Self::ListenerFilter,
            "FILTER_CHAIN" => Self::FilterChain,
            "NETWORK_FILTER" => Self::NetworkFilter,
            "HTTP_FILTER" => Self::HttpFilter,
            "CLUSTER" => Self::Cluster,
            "ROUTE_CONFIGURATION" => Self::RouteConfiguration,
            "VIRTUAL_HOST" => Self::VirtualHost,
            "HTTP_ROUTE" => Self::HttpRoute,
            _ => return None,
        })
    }

    fn message(self) -> &'static str {
        match self {
            Self::Listener => "envoy.config.listener.v3.Listener",
            Self::ListenerFilter => "envoy.config.listener.v3.ListenerFilter",
            Self::FilterChain => "envoy.config.listener.v3.FilterChain",
            Self::NetworkFilter => "envoy.config.listener.v3.Filter",
            Self::HttpFilter => "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
            Self::Cluster => "envoy.config.cluster.v3.Cluster",
            Self::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "envoy.config.route.v3.VirtualHost",
            Self::HttpRoute => "envoy.config.route.v3.Route",
        }
    }

    /// Kinds whose elements have an order that patches can insert into.
    fn is_ordered(self) -> bool {
        matches!(self, Self::ListenerFilter | Self::NetworkFilter | Self::HttpFilter | Self::HttpRoute)
    }
}

/// The patches for one proxy, by what they apply to.
#[derive(Debug, Default)]
pub struct Patches {
    by_kind: BTreeMap<Kind, Vec<Patch>>,
}

impl Patches {
    pub fn of(objects: &[Object], root: &str, proxy: &Proxy) -> Self {
        let mut out = Self::default();
        let mut filters: Vec<&Object> = objects.iter().filter(|o| applies(o, root, proxy)).collect();
        filters.sort_by_cached_key(|o| {
            let place = if o.namespace == root { "" } else { o.namespace.as_str() };
            (priority(o), !place.is_empty(), o.created.clone(), format!("{}.{}", o.name, o.namespace))
        });
        for filter in filters {
            for (index, entry) in list(&filter.spec()["configPatches"]).iter().enumerate() {
                let Some(kind) = Kind::read(text(&entry["applyTo"])) else { continue };
                if !present(&entry["patch"]) || !accepts(&entry["match"]["proxy"], proxy) {
                    continue;
                }
                let origin = filter.origin(format!("/spec/configPatches/{index}"));
                out.by_kind.entry(kind).or_default().extend(patch(kind, entry, origin));
            }
        }
        out
    }

    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty()
    }

    fn kind(&self, kind: Kind) -> &[Patch] {
        self.by_kind.get(&kind).map_or(&[], Vec::as_slice)
    }

    pub fn listeners(&self, node: &Node, listeners: Vec<Resource>) -> Vec<Resource> {
        if self.is_empty() { listeners } else { listener::patch(self, node, listeners) }
    }

    pub fn clusters(&self, node: &Node, clusters: Vec<Resource>) -> Vec<Resource> {
        if self.is_empty() { clusters } else { cluster::patch(self, node, clusters) }
    }

    pub fn routes(&self, node: &Node, mut routes: Vec<Resource>) -> Vec<Resource> {
        let context = if node.is_sidecar() { Context::SidecarOutbound } else { Context::Gateway };
        if !self.is_empty() {
            for route in &mut routes {
                let mut from = Vec::new();
                route::patch(self, node, context, route.body.make_mut(), &mut from);
                note(&mut route.origins, from);
            }
        }
        routes
    }
}

/// The origins of the patches that changed something, each once.
fn note(origins: &mut Arc<[Origin]>, from: Vec<Origin>) {
    let mut all = Vec::new();
    for origin in from {
        if !origins.contains(&origin) && !all.contains(&origin) {
            all.push(origin);
        }
    }
    if !all.is_empty() {
        *origins = origins.iter().cloned().chain(all).collect();
    }
}

fn applies(filter: &Object, root: &str, proxy: &Proxy) -> bool {
    (filter.namespace == root || filter.namespace == proxy.namespace)
        && list(&filter.spec()["targetRefs"]).is_empty()
        && labels_match(&labels(&filter.spec()["workloadSelector"]["labels"]), &proxy.labels)
}

fn priority(filter: &Object) -> i64 {
    super::json::integer(&filter.spec()["priority"])
}

/// Whether the proxy is of the version and has the metadata that a patch asks for.
fn accepts(wanted: &Value, proxy: &Proxy) -> bool {
    let version = proxy.metadata.get("ISTIO_VERSION").map_or(VERSION, text);
    let pattern = text(&wanted["proxyVersion"]);
    let of_version = pattern.is_empty() || regex::Regex::new(pattern).map_or(true, |r| r.is_match(version));
    of_version
        && labels(&wanted["metadata"])
            .iter()
            .all(|(key, value)| proxy.metadata.get(key).and_then(Value::as_str) == Some(value.as_str()))
}

fn patch(kind: Kind, entry: &Value, origin: Origin) -> Option<Patch> {
    let operation = match text(&entry["patch"]["operation"]) {
        "MERGE" => Operation::Merge,
        "ADD" => Operation::Add,
        "REMOVE" => Operation::Remove,
        "REPLACE" => Operation::Replace,
        "INSERT_BEFORE" | "INSERT_AFTER" | "INSERT_FIRST" if !kind.is_ordered() => Operation::Add,
        "INSERT_BEFORE" => Operation::InsertBefore,
        "INSERT_AFTER" => Operation::InsertAfter,
        "INSERT_FIRST" => Operation::InsertFirst,
        _ => return None,
    };
    let value = &entry["patch"]["value"];
    if !value.is_object() && operation != Operation::Remove {
        return None;
    }
    let context = match text(&entry["match"]["context"]) {
        "" => "ANY",
        context => context,
    };
    Some(Patch {
        operation,
        context: context.to_owned(),
        at: entry["match"].clone(),
        value: schema::read(kind.message(), value),
        origin,
    })
}

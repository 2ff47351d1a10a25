//! The resources that a proxy runs with, as JSON: from a config dump, or to one.

use super::json::{at, field, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;

const TYPES: &str = "type.googleapis.com/envoy.config";

/// Resource bodies in either spelling of their fields.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// Active ones; those of the bootstrap come last, here and in the other lists.
    pub listeners: Vec<Value>,
    pub clusters: Vec<Value>,
    pub routes: Vec<Value>,
    /// ClusterLoadAssignments; only in dumps taken with `include_eds`.
    pub endpoints: Vec<Value>,
}

impl Resources {
    /// Reads `/config_dump`. Sections that are missing are empty.
    pub fn from_dump(dump: &Value) -> Self {
        let mut out = Self::default();
        for section in list(dump, &["configs"]) {
            let kind = section.get("@type").and_then(Value::as_str).and_then(|kind| kind.rsplit('.').next());
            let (into, keys, path): (_, _, &[&str]) = match kind {
                Some("ListenersConfigDump") => {
                    (&mut out.listeners, ["dynamic_listeners", "static_listeners"], &["listener"])
                }
                Some("ClustersConfigDump") => {
                    (&mut out.clusters, ["dynamic_active_clusters", "static_clusters"], &["cluster"])
                }
                Some("RoutesConfigDump") => {
                    (&mut out.routes, ["dynamic_route_configs", "static_route_configs"], &["route_config"])
                }
                Some("EndpointsConfigDump") => {
                    (&mut out.endpoints, ["dynamic_endpoint_configs", "static_endpoint_configs"], &["endpoint_config"])
                }
                _ => continue,
            };
            for entry in keys.iter().flat_map(|key| list(section, &[key])) {
                // A dynamic listener has its states around it.
                into.extend(at(entry, path).or_else(|| at(entry, &["active_state", "listener"])).cloned());
            }
        }
        out
    }

    /// An Envoy config dump (lowerCamelCase around the bodies, as istioctl prints one).
    pub fn to_dump(&self) -> Value {
        let typed = |body: &Value, kind: &str| {
            let mut body = body.clone();
            if let Value::Object(fields) = &mut body
                && !fields.contains_key("@type")
            {
                fields.shift_insert(0, "@type".into(), format!("{TYPES}.{kind}").into());
            }
            body
        };
        let listener = |l: &Value| json!({"name": text(l, &["name"]), "activeState": {"listener": typed(l, "listener.v3.Listener")}});
        let entries = |bodies: &[Value], key: &str, kind: &str| -> Vec<Value> {
            bodies.iter().map(|body| json!({ key: typed(body, kind) })).collect()
        };
        let section = |kind: &str, key: &str, entries: Vec<Value>| json!({"@type": format!("type.googleapis.com/envoy.admin.v3.{kind}ConfigDump"), key: entries});
        json!({"configs": [
            // istioctl reads no dump without bootstrap and secrets; neither is the control plane's to say here.
            {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {}},
            {"@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump"},
            section("Clusters", "dynamicActiveClusters", entries(&self.clusters, "cluster", "cluster.v3.Cluster")),
            section("Listeners", "dynamicListeners", self.listeners.iter().map(listener).collect()),
            section("Routes", "dynamicRouteConfigs",
                entries(&self.routes, "routeConfig", "route.v3.RouteConfiguration")),
            section("Endpoints", "dynamicEndpointConfigs",
                entries(&self.endpoints, "endpointConfig", "endpoint.v3.ClusterLoadAssignment")),
        ]})
    }

    /// Puts each list into the order in which istioctl shows it.
    pub fn sort(&mut self) {
        super::table::sort(self);
    }

    /// Every assignment known without asking Envoy for its state: also those that clusters hold, which a dump may
    /// list among the others.
    pub(super) fn assignments(&self) -> impl Iterator<Item = &Value> {
        let known: HashSet<String> = self.endpoints.iter().map(|a| text(a, &["cluster_name"])).collect();
        let held = self.clusters.iter().filter_map(|c| field(c, "load_assignment"));
        self.endpoints.iter().chain(held.filter(move |a| !known.contains(&text(a, &["cluster_name"]))))
    }
}

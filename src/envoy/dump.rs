//! A whole config dump: what the Envoy runs with now.

use super::access_log::LogFormats;
use super::cluster::{Cluster, ClusterName, string_map};
use super::json::{at, field, list, port, text};
use super::listener::{Listener, uses_original_destination};
use super::route::RouteConfig;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
pub struct Dump {
    /// Active listeners.
    pub listeners: Vec<Listener>,
    /// Names of listeners that are not active yet.
    pub warming: Vec<String>,
    /// Updates that Envoy refused: name and its own words.
    pub rejected: Vec<(String, String)>,
    pub clusters: Vec<Cluster>,
    pub routes: Vec<RouteConfig>,
    /// By cluster name; only in dumps taken with `include_eds`.
    pub endpoints: BTreeMap<String, Vec<Endpoint>>,
    pub log_formats: LogFormats,
    /// It has a listener that redirects by original destination, as sidecars have.
    pub is_sidecar: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub address: String,
    pub port: u16,
    pub healthy: bool,
    /// What `transport_socket_matches` look at (`tlsMode`).
    pub labels: BTreeMap<String, String>,
}

impl Dump {
    /// How the proxy's lines are to be read. One without listeners has no logger to show its format by, and no traffic
    /// either: then Istio's default.
    pub fn readable_formats(&self) -> Cow<'_, LogFormats> {
        match self.listeners.is_empty() {
            true => Cow::Owned(LogFormats::istio_default()),
            false => Cow::Borrowed(&self.log_formats),
        }
    }

    /// Reads `/config_dump` (`{"configs": […]}`). Unknown sections and missing fields are passed over.
    pub fn read(value: &Value) -> Dump {
        let mut dump = Dump {
            listeners: vec![],
            warming: vec![],
            rejected: vec![],
            clusters: vec![],
            routes: vec![],
            endpoints: BTreeMap::new(),
            log_formats: LogFormats::read(value),
            is_sidecar: false,
        };
        for section in list(value, &["configs"]) {
            match section.get("@type").and_then(Value::as_str).and_then(|kind| kind.rsplit('.').next()) {
                Some("ListenersConfigDump") => dump.read_listeners(section),
                Some("ClustersConfigDump") => dump.read_clusters(section),
                Some("RoutesConfigDump") | Some("ScopedRoutesConfigDump") => dump.read_routes(section),
                Some("EndpointsConfigDump") => dump.read_endpoints(section),
                _ => {}
            }
        }
        dump
    }

    fn read_listeners(&mut self, section: &Value) {
        for entry in list(section, &["static_listeners"]) {
            self.listeners.extend(field(entry, "listener").map(|listener| Listener::read(listener, true)));
        }
        for entry in list(section, &["dynamic_listeners"]) {
            let name = text(entry, &["name"]);
            if let Some(listener) = at(entry, &["active_state", "listener"]) {
                self.is_sidecar |= uses_original_destination(listener);
                self.listeners.push(Listener::read(listener, false));
            } else if field(entry, "warming_state").is_some() {
                self.warming.push(name.clone());
            }
            if let Some(error) = field(entry, "error_state") {
                self.rejected.push((name, text(error, &["details"])));
            }
        }
    }

    fn read_clusters(&mut self, section: &Value) {
        for (key, fixed) in [("static_clusters", true), ("dynamic_active_clusters", false)] {
            for entry in list(section, &[key]) {
                self.clusters.extend(field(entry, "cluster").map(|cluster| Cluster::read(cluster, fixed)));
            }
        }
    }

    fn read_routes(&mut self, section: &Value) {
        for key in ["static_route_configs", "dynamic_route_configs"] {
            let entries = list(section, &[key]).iter();
            self.routes.extend(entries.filter_map(|entry| field(entry, "route_config")).map(RouteConfig::read));
        }
    }

    fn read_endpoints(&mut self, section: &Value) {
        for key in ["static_endpoint_configs", "dynamic_endpoint_configs"] {
            for assignment in list(section, &[key]).iter().filter_map(|entry| field(entry, "endpoint_config")) {
                let localities = list(assignment, &["endpoints"]).iter();
                let found = localities.flat_map(|locality| list(locality, &["lb_endpoints"])).filter_map(|entry| {
                    let socket = at(entry, &["endpoint", "address", "socket_address"])?;
                    let health = text(entry, &["health_status"]);
                    Some(Endpoint {
                        address: text(socket, &["address"]),
                        port: port(socket, &["port_value"]),
                        healthy: matches!(health.as_str(), "" | "HEALTHY" | "UNKNOWN"),
                        labels: string_map(
                            at(entry, &["metadata", "filter_metadata"])
                                .and_then(|metadata| metadata.get("envoy.transport_socket_match")),
                        ),
                    })
                });
                self.endpoints.insert(text(assignment, &["cluster_name"]), found.collect());
            }
        }
    }

    /// Active listeners on a port, virtual ones included.
    pub fn listeners_on(&self, port: u16) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(move |listener| listener.port == port)
    }

    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }

    /// Clusters for a host, by the parts of their names.
    pub fn clusters_for<'a>(
        &'a self,
        host: &'a str,
        port: Option<u16>,
        subset: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Cluster> {
        self.clusters.iter().filter(move |cluster| {
            cluster.parts.as_ref().is_some_and(|parts: &ClusterName| {
                parts.direction == "outbound"
                    && parts.host.eq_ignore_ascii_case(host)
                    && port.is_none_or(|port| parts.port == port)
                    && parts.subset.as_deref() == subset
            })
        })
    }

    pub fn route(&self, name: &str) -> Option<&RouteConfig> {
        self.routes.iter().find(|route| route.name == name)
    }
}

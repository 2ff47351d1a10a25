//! Which resources `proxy-config` shows: the filters of istioctl, which compare as istioctl compares.

use super::json::{at, field, list, text};
use super::resources::Resources;
use super::table::{self, EndpointRow};
use serde_json::Value;

/// Empty (0) filters take everything; several must all hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of listeners and endpoints.
    pub address: String,
    /// Of listeners, clusters and endpoints.
    pub port: u64,
    /// Of listeners: `HTTP`, `TCP`, `HTTP+TCP`, `UNKNOWN`.
    pub kind: String,
    /// Part of a cluster's name.
    pub fqdn: String,
    /// Part of a cluster's name: `inbound`, `outbound`.
    pub direction: String,
    /// Part of a cluster's name.
    pub subset: String,
    /// Of a route configuration.
    pub name: String,
    /// Of endpoints.
    pub cluster: String,
    /// Of endpoints: `healthy`, `unhealthy`, …
    pub status: String,
}

impl Filter {
    pub fn apply(&self, resources: &mut Resources) {
        resources.listeners.retain(|listener| self.takes_listener(listener));
        resources.clusters.retain(|cluster| self.takes_cluster(&text(cluster, &["name"])));
        resources.routes.retain(|route| self.name.is_empty() || text(route, &["name"]) == self.name);
    }

    fn takes_listener(&self, listener: &Value) -> bool {
        let same = |address: &str| address.eq_ignore_ascii_case(&self.address);
        (self.address.is_empty() || table::addresses(listener).iter().any(|a| same(a)))
            && (self.port == 0 || table::port(listener) == self.port)
            && (self.kind.is_empty() || table::kind(listener).eq_ignore_ascii_case(&self.kind))
    }

    fn takes_cluster(&self, name: &str) -> bool {
        let parts = [&self.fqdn, &self.direction, &self.subset];
        parts.into_iter().all(|part| name.contains(part.as_str()))
            && (self.port == 0 || name.contains(&format!("|{}|", self.port)))
    }

    pub fn takes_endpoint(&self, endpoint: &EndpointRow) -> bool {
        (self.address.is_empty() || endpoint.address.eq_ignore_ascii_case(&self.address))
            && (self.port == 0 || endpoint.port == self.port)
            && (self.cluster.is_empty() || endpoint.cluster.eq_ignore_ascii_case(&self.cluster))
            && (self.status.is_empty() || endpoint.status.eq_ignore_ascii_case(&self.status))
    }

    /// The entries of `/clusters`, or the load assignments, that have an endpoint which the filter takes.
    pub fn with_endpoints(&self, clusters: Vec<Value>, rows: &[EndpointRow]) -> Vec<Value> {
        if self.address.is_empty() && self.port == 0 && self.cluster.is_empty() && self.status.is_empty() {
            return clusters;
        }
        let name = |cluster: &Value| {
            let own = text(cluster, &["name"]);
            if own.is_empty() { text(cluster, &["cluster_name"]) } else { own }
        };
        let taken = |cluster: &Value| {
            let name = name(cluster);
            rows.iter().any(|row| row.cluster == name && self.takes_endpoint(row))
        };
        clusters.into_iter().filter(taken).collect()
    }
}

/// The secrets that resources refer to, with what they are for: `Cert Chain` or `CA`.
pub fn secret_names(resources: &Resources) -> Vec<(String, &'static str)> {
    let mut out = vec![];
    resources.listeners.iter().chain(&resources.clusters).for_each(|body| collect(body, &mut out));
    out.sort();
    out.dedup();
    out
}

fn collect(body: &Value, out: &mut Vec<(String, &'static str)>) {
    match body {
        Value::Object(fields) => {
            for certificate in list(body, &["tls_certificate_sds_secret_configs"]) {
                out.push((text(certificate, &["name"]), "Cert Chain"));
            }
            let combined = at(body, &["combined_validation_context", "validation_context_sds_secret_config"]);
            if let Some(root) = combined.or_else(|| field(body, "validation_context_sds_secret_config")) {
                out.push((text(root, &["name"]), "CA"));
            }
            fields.values().for_each(|inner| collect(inner, out));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, out)),
        _ => {}
    }
}

//! The table of endpoints, from `/clusters?format=json` or from load assignments.

use super::aligned;
use crate::envoy::json::{at, field, flag, list, number, text};
use crate::envoy::resources::Resources;
use serde_json::Value;

/// One endpoint of one cluster, in the order of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointRow {
    /// An IP address, a host name not resolved yet, or a pipe's path.
    pub address: String,
    /// 0: none.
    pub port: u64,
    pub cluster: String,
    /// `HEALTHY`, `UNHEALTHY`, `DRAINING`, …
    pub status: String,
    /// Outlier detection has taken it out.
    pub ejected: bool,
}

/// Endpoints as they are configured. A name that only DNS knows stays a name.
pub fn endpoint_rows(resources: &Resources) -> Vec<EndpointRow> {
    let mut rows = vec![];
    for assignment in resources.assignments() {
        let cluster = text(assignment, &["cluster_name"]);
        for entry in list(assignment, &["endpoints"]).iter().flat_map(|locality| list(locality, &["lb_endpoints"])) {
            let Some(address) = at(entry, &["endpoint", "address"]) else { continue };
            let status = text(entry, &["health_status"]);
            rows.push(row(address, &cluster, if status.is_empty() { "HEALTHY" } else { &status }, false));
        }
    }
    rows.sort();
    rows
}

/// Endpoints as Envoy sees them now.
pub fn live_endpoint_rows(clusters: &Value) -> Vec<EndpointRow> {
    let mut rows = vec![];
    for cluster in list(clusters, &["cluster_statuses"]) {
        for host in list(cluster, &["host_statuses"]) {
            let Some(address) = field(host, "address") else { continue };
            let health = text(host, &["health_status", "eds_health_status"]);
            let ejected = flag(host, &["health_status", "failed_outlier_check"]);
            rows.push(row(
                address,
                &text(cluster, &["name"]),
                if health.is_empty() { "UNKNOWN" } else { &health },
                ejected,
            ));
        }
    }
    rows.sort();
    rows
}

fn row(address: &Value, cluster: &str, status: &str, ejected: bool) -> EndpointRow {
    let (name, port) = match (field(address, "socket_address"), at(address, &["pipe", "path"])) {
        (Some(socket), _) => (text(socket, &["address"]), number(socket, &["port_value"]).unwrap_or(0)),
        (None, Some(path)) => (format!("unix://{}", path.as_str().unwrap_or_default()), 0),
        (None, None) => {
            let internal = field(address, "envoy_internal_address").unwrap_or(&Value::Null);
            (format!("envoy://{}/{}", text(internal, &["server_listener_name"]), text(internal, &["endpoint_id"])), 0)
        }
    };
    EndpointRow { address: name, port, cluster: cluster.into(), status: status.into(), ejected }
}

/// ENDPOINT, STATUS, OUTLIER CHECK, CLUSTER.
pub fn endpoints(endpoints: &[EndpointRow]) -> String {
    let mut rows = vec![["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"].map(str::to_owned).to_vec()];
    rows.extend(endpoints.iter().map(|e| {
        let address = if e.port == 0 { e.address.clone() } else { format!("{}:{}", e.address, e.port) };
        vec![address, e.status.clone(), if e.ejected { "FAILED" } else { "OK" }.into(), e.cluster.clone()]
    }));
    aligned(&rows, 5)
}

/// NAME, STATUS, LOCALITY, CLUSTER, in the order of clusters.
pub(super) fn named_rows(resources: &Resources) -> Vec<Vec<String>> {
    let mut rows = vec![["NAME", "STATUS", "LOCALITY", "CLUSTER"].map(str::to_owned).to_vec()];
    let mut assignments: Vec<&Value> = resources.assignments().collect();
    assignments.sort_by_cached_key(|assignment| {
        let (host, port, subset, direction) = super::key(&text(assignment, &["cluster_name"]));
        (host, subset, port, direction)
    });
    for assignment in assignments {
        for locality in list(assignment, &["endpoints"]) {
            let place = ["region", "zone", "sub_zone"].map(|part| text(locality, &["locality", part]));
            let place = place.into_iter().take_while(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
            for entry in list(locality, &["lb_endpoints"]) {
                let Some(address) = at(entry, &["endpoint", "address"]) else { continue };
                let status = text(entry, &["health_status"]);
                let status = if status.is_empty() { "HEALTHY" } else { &status };
                let row = row(address, "", status, false);
                let port = if row.port == 0 { String::new() } else { format!(":{}", row.port) };
                rows.push(vec![
                    format!("endpoint/{}{port}", row.address),
                    row.status,
                    place.clone(),
                    text(assignment, &["cluster_name"]),
                ]);
            }
        }
    }
    rows
}

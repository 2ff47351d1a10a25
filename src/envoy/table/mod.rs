//! Envoy's resources as the tables of `istioctl proxy-config`, byte for byte. The rules were measured on istioctl
//! 1.30.3's output; it prints no more of a match than is said here.

mod endpoints;
mod listeners;
mod matching;

use super::cluster::ClusterName;
use super::json::{at, field, list, text};
use super::resources::Resources;
use serde_json::Value;

pub use endpoints::{EndpointRow, endpoint_rows, endpoints, live_endpoint_rows};
pub use listeners::listeners;

/// SERVICE FQDN, PORT, SUBSET, DIRECTION, TYPE, DESTINATION RULE.
pub fn clusters(clusters: &[Value]) -> String {
    let mut rows =
        vec![["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"].map(str::to_owned).to_vec()];
    for cluster in clusters {
        let name = text(cluster, &["name"]);
        let kind = match text(cluster, &["type"]) {
            kind if kind.is_empty() => "STATIC".to_owned(),
            kind => kind,
        };
        let (host, port, subset, direction) = key(&name);
        let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        let known = !direction.is_empty();
        rows.push(vec![
            host,
            if known { port.to_string() } else { "-".into() },
            or_dash(subset),
            or_dash(direction),
            kind,
            origin(cluster),
        ]);
    }
    aligned(&rows, 5)
}

/// NAME, VHOST NAME, DOMAINS, MATCH, VIRTUAL SERVICE.
pub fn routes(routes: &[Value]) -> String {
    let mut rows = vec![["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"].map(str::to_owned).to_vec()];
    for config in routes {
        for host in list(config, &["virtual_hosts"]) {
            let row = |matching: String, origin: String| {
                vec![text(config, &["name"]), text(host, &["name"]), matching::domains(host), matching, origin]
            };
            let routes = list(host, &["routes"]);
            if routes.is_empty() {
                rows.push(row("/*".into(), "404".into()));
            }
            let shown = routes.iter().filter(|route| text(route, &["route", "cluster"]) != "PassthroughCluster");
            rows.extend(shown.map(|route| row(matching::route(route), origin(route))));
        }
    }
    aligned(&rows, 5)
}

/// istioctl's order: listeners by port, address and type; clusters by host, subset, port and direction; routes by
/// number, where their names are numbers.
pub(super) fn sort(resources: &mut Resources) {
    resources.listeners.sort_by_cached_key(listeners::order);
    resources.clusters.sort_by_cached_key(|cluster| {
        let (host, port, subset, direction) = key(&text(cluster, &["name"]));
        (host, subset, port, direction)
    });
    // A name that is no number is equal to every other, which is no order: numbers are sorted among themselves.
    let number = |route: &Value| text(route, &["name"]).parse::<u64>().ok();
    let places: Vec<usize> = (0..resources.routes.len()).filter(|i| number(&resources.routes[*i]).is_some()).collect();
    let mut numbered: Vec<Value> = places.iter().map(|i| resources.routes[*i].clone()).collect();
    numbered.sort_by_key(number);
    for (place, route) in places.into_iter().zip(numbered) {
        resources.routes[place] = route;
    }
}

/// Host, port, subset and direction of a cluster's name; of another name, the name and nothing.
fn key(name: &str) -> (String, u16, String, String) {
    match ClusterName::parse(name).filter(|_| name.contains('|')) {
        Some(parts) => (parts.host, parts.port, parts.subset.unwrap_or_default(), parts.direction),
        None => (name.to_owned(), 0, String::new(), String::new()),
    }
}

/// `NAME.NAMESPACE` of the Istio object in the metadata.
fn origin(resource: &Value) -> String {
    let Some(path) = at(resource, &["metadata", "filter_metadata"]).and_then(|m| field(m, "istio")) else {
        return String::new();
    };
    let config = text(path, &["config"]);
    let pieces: Vec<&str> = config.split('/').collect();
    match pieces.as_slice() {
        _ if config.is_empty() => String::new(),
        ["", "apis", "networking.istio.io", _, "namespaces", namespace, _, name] => format!("{name}.{namespace}"),
        _ => "<unknown>".into(),
    }
}

/// Columns as wide as their widest cell and `gap` blanks; the last one as it is.
fn aligned(rows: &[Vec<String>], gap: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0) + gap;
    let widths: Vec<usize> = (0..columns.saturating_sub(1)).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(index) {
                out.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            }
        }
        out.push('\n');
    }
    out
}

//! Envoy's resources as the tables of `istioctl proxy-config`, byte for byte. The rules were measured on istioctl
//! 1.30.3's output; it prints no more of a match than is said here.

mod endpoints;
mod listeners;
mod matching;
mod secrets;

use super::cluster::ClusterName;
use super::json::{at, field, list, text};
use super::resources::Resources;
use serde_json::Value;

pub use endpoints::{EndpointRow, endpoint_rows, endpoints, live_endpoint_rows};
pub use listeners::listeners;
pub(super) use listeners::{addresses, kind, port};
pub use secrets::{SecretRow, secret_names, secret_rows, secrets};

/// SERVICE FQDN, PORT, SUBSET, DIRECTION, TYPE, DESTINATION RULE.
pub fn clusters(clusters: &[Value]) -> String {
    aligned(&cluster_rows(clusters, ""), 5)
}

/// The tables of everything, each row with its resource's name and an empty line between two; none without rows.
pub fn all(resources: &Resources) -> String {
    let names = |kind: &str, bodies: &[Value]| -> Vec<String> {
        bodies.iter().map(|body| format!("{kind}/{}", text(body, &["name"]))).collect()
    };
    let named = |mut rows: Vec<Vec<String>>, names: Vec<String>| {
        let names = std::iter::once("NAME".to_owned()).chain(names);
        rows.iter_mut().zip(names).for_each(|(row, name)| row.insert(0, name));
        rows
    };
    let clusters = named(cluster_rows(&resources.clusters, "cluster/"), names("cluster", &resources.clusters));
    let listener_names = resources.listeners.iter().zip(names("listener", &resources.listeners));
    let listener_names = listener_names.flat_map(|(l, name)| vec![name; listeners::chains(l).count()]).collect();
    let listeners = named(listeners::rows(&resources.listeners), listener_names);
    let tables = [
        (clusters, 5),
        (listeners, 1),
        (route_rows(&resources.routes, "route/"), 5),
        (endpoints::named_rows(resources), 5),
    ];
    let shown = tables.iter().filter(|(rows, _)| rows.len() > 1).map(|(rows, gap)| aligned(rows, *gap));
    shown.collect::<Vec<_>>().join("\n")
}

/// `mark` stands before names that are no service's.
fn cluster_rows(clusters: &[Value], mark: &str) -> Vec<Vec<String>> {
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
            if known { host } else { format!("{mark}{host}") },
            if known { port.to_string() } else { "-".into() },
            or_dash(subset),
            or_dash(direction),
            kind,
            origin(cluster),
        ]);
    }
    rows
}

/// NAME, VHOST NAME, DOMAINS, MATCH, VIRTUAL SERVICE.
pub fn routes(routes: &[Value]) -> String {
    aligned(&route_rows(routes, ""), 5)
}

fn route_rows(routes: &[Value], mark: &str) -> Vec<Vec<String>> {
    let mut rows = vec![["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"].map(str::to_owned).to_vec()];
    for config in routes {
        for host in list(config, &["virtual_hosts"]) {
            let row = |matching: String, origin: String| {
                vec![
                    format!("{mark}{}", text(config, &["name"])),
                    text(host, &["name"]),
                    matching::domains(host),
                    matching,
                    origin,
                ]
            };
            let routes = list(host, &["routes"]);
            if routes.is_empty() {
                rows.push(row("/*".into(), "404".into()));
            }
            let shown = routes.iter().filter(|route| text(route, &["route", "cluster"]) != "PassthroughCluster");
            rows.extend(shown.map(|route| row(matching::route(route), origin(route))));
        }
    }
    rows
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
pub(super) fn key(name: &str) -> (String, u16, String, String) {
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

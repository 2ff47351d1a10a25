//! What a virtual host or a route matches, in istioctl's few words.

use crate::envoy::json::{list, text, texts};
use serde_json::Value;

/// How many domains are named before `+ N more...`.
const SHOWN: usize = 2;

/// The domains without a port: two of them, and how many more.
pub(super) fn domains(host: &Value) -> String {
    let all = texts(host, &["domains"]);
    if all.len() <= 1 {
        return all.join("");
    }
    let mut plain: Vec<&str> = all.iter().map(String::as_str).filter(|domain| is_portless(domain)).collect();
    let known = plain.clone();
    // `NAME.NAMESPACE` stands for its longer forms too.
    let longer = |domain: &str| {
        let shorter = [".svc.cluster.local", ".svc"].into_iter().filter_map(|tail| domain.strip_suffix(tail));
        shorter.into_iter().any(|short| known.contains(&short))
    };
    plain.retain(|domain| !longer(domain));
    match plain.len() {
        n if n > SHOWN => format!("{} + {} more...", plain[..SHOWN].join(", "), n - SHOWN),
        _ => plain.join(", "),
    }
}

/// An IPv6 address has colons without having a port.
fn is_portless(domain: &str) -> bool {
    !domain.contains(':') || (domain.matches(':').count() > 2 && domain.ends_with(']'))
}

/// The path that a route matches; headers and query are not shown.
pub(super) fn route(route: &Value) -> String {
    let mut parts = vec![];
    let get = |name: &str| text(route, &["match", name]);
    if !get("prefix").is_empty() {
        parts.push(format!("{}*", get("prefix")));
    }
    if !get("path_separated_prefix").is_empty() {
        parts.push(format!("PathPrefix:{}", get("path_separated_prefix")));
    }
    if !get("path").is_empty() {
        parts.push(get("path"));
    }
    let regex = text(route, &["match", "safe_regex", "regex"]);
    if !regex.is_empty() {
        parts.push(format!("regex {regex}"));
    }
    parts.join(" ")
}

/// The cluster of a table whose one route takes everything, `None` for any other table.
pub(super) fn only_cluster(config: &Value) -> Option<String> {
    let [host] = list(config, &["virtual_hosts"]) else { return None };
    let [only] = list(host, &["routes"]) else { return None };
    let cluster = text(only, &["route", "cluster"]);
    let whole = texts(host, &["domains"]) == ["*"] && text(only, &["match", "prefix"]) == "/";
    (whole && !cluster.is_empty()).then(|| super::listeners::cluster(&cluster))
}

/// A table written into the listener: its domains and what each matches.
pub(super) fn inline(config: &Value) -> String {
    if let Some(cluster) = only_cluster(config) {
        return cluster;
    }
    let hosts = list(config, &["virtual_hosts"]).iter().map(|host| {
        let routes: Vec<String> = list(host, &["routes"]).iter().map(route).collect();
        let (domains, routes) = (texts(host, &["domains"]), routes.join(", "));
        if domains == ["*"] { routes } else { format!("{} {routes}", domains.join("/")) }
    });
    format!("Inline Route: {}", hosts.collect::<Vec<_>>().join("; "))
}

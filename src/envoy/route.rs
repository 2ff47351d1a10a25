//! HTTP route tables.

use super::json::{field, list, text, texts};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub struct RouteConfig {
    pub name: String,
    pub hosts: Vec<VirtualHost>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct VirtualHost {
    pub name: String,
    pub domains: Vec<String>,
    /// Clusters of its routes, in order; a weighted route gives each.
    pub clusters: Vec<String>,
}

impl RouteConfig {
    pub(super) fn read(value: &Value) -> RouteConfig {
        let hosts = list(value, &["virtual_hosts"]).iter().map(|host| VirtualHost {
            name: text(host, &["name"]),
            domains: texts(host, &["domains"]),
            clusters: list(host, &["routes"]).iter().flat_map(clusters_of).collect(),
        });
        RouteConfig { name: text(value, &["name"]), hosts: hosts.collect() }
    }

    /// The virtual host that Envoy would choose for an authority: exact, then longest `*` suffix, then `*`.
    pub fn host_for(&self, authority: &str) -> Option<&VirtualHost> {
        let exact = self.hosts.iter().find(|host| host.domains.iter().any(|d| d.eq_ignore_ascii_case(authority)));
        exact.or_else(|| {
            let wild = self.hosts.iter().filter_map(|host| {
                let longest = host.domains.iter().filter_map(|d| {
                    let suffix = d.strip_prefix('*')?;
                    (authority.len() >= suffix.len() && authority.ends_with(suffix)).then_some(suffix.len())
                });
                Some((longest.max()?, host))
            });
            wild.max_by_key(|(length, _)| *length).map(|(_, host)| host)
        })
    }
}

pub(super) fn clusters_of(route: &Value) -> Vec<String> {
    let Some(action) = field(route, "route") else { return vec![] };
    let weighted = list(action, &["weighted_clusters", "clusters"]);
    if weighted.is_empty() {
        let name = text(action, &["cluster"]);
        return if name.is_empty() { vec![] } else { vec![name] };
    }
    weighted.iter().map(|cluster| text(cluster, &["name"])).collect()
}

//! Names of statistics, where the mesh config gives a pattern.

use super::json::text;
use super::node::Node;
use super::registry::service::{Registry, Service};
use serde_json::Value;

/// What a pattern's variables stand for.
pub struct Subject<'a> {
    pub host: &'a str,
    /// `None` for hosts without a service.
    pub service: Option<&'a Service>,
    pub subset: &'a str,
    pub port: u32,
    pub port_name: &'a str,
    pub target_port: u32,
}

impl Subject<'_> {
    fn fill(&self, pattern: &str) -> String {
        let kubernetes = self.service.filter(|s| s.registry == Registry::Kubernetes);
        let short = kubernetes.map_or_else(|| self.host.to_owned(), |s| format!("{}.{}", s.name, s.namespace));
        let name = kubernetes.map_or(self.host, |s| s.name.as_str());
        pattern
            .replace("%SERVICE%", &short)
            .replace("%SERVICE_NAME%", name)
            .replace("%SERVICE_FQDN%", self.host)
            .replace("%SUBSET_NAME%", self.subset)
            .replace("%TARGET_PORT%", &self.target_port.to_string())
            .replace("%SERVICE_PORT%", &self.port.to_string())
            .replace("%SERVICE_PORT_NAME%", self.port_name)
    }
}

fn pattern<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    let given: &Value = &node.push.mesh.raw[key];
    Some(text(given)).filter(|p| !p.is_empty())
}

/// By `outboundClusterStatName`; `None` when there is no pattern.
pub fn outbound(node: &Node, subject: &Subject) -> Option<String> {
    pattern(node, "outboundClusterStatName").map(|p| subject.fill(p))
}

/// By `inboundClusterStatName` as listeners have it, which know no target port and leave its variable as it is.
pub fn inbound_listener(node: &Node, subject: &Subject) -> Option<String> {
    const TARGET: &str = "%TARGET_PORT%";
    let parts = pattern(node, "inboundClusterStatName")?.split(TARGET).map(|part| subject.fill(part));
    Some(parts.collect::<Vec<_>>().join(TARGET))
}

/// By `inboundClusterStatName`; `None` when there is no pattern.
pub fn inbound(node: &Node, subject: &Subject) -> Option<String> {
    pattern(node, "inboundClusterStatName").map(|p| subject.fill(p))
}

//! Clusters: outbound ones for every service port and subset in scope, inbound ones for the pod's own ports,
//! and the fixed ones.

pub mod draft;
mod fixed;
mod inbound;
mod outbound;
mod tls;
mod traffic_policy;

use super::Resource;
use super::node::Node;
use super::registry::service::Service;
use std::collections::HashSet;
use std::sync::Arc;

/// `outbound|port|subset|host`.
pub fn outbound_name(port: u32, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// `outbound_.port_.subset_.host`, the form that fits an SNI.
pub fn sni_name(port: u32, subset: &str, host: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}

/// The clusters of one service.
pub struct OfService {
    pub service: Arc<Service>,
    /// Named after an SNI.
    pub sni: bool,
    pub clusters: Arc<[Resource]>,
}

pub struct Clusters {
    pub all: Vec<Resource>,
    /// Those towards services, in their order, as they were made.
    pub by_service: Vec<OfService>,
    /// Whether all are as they were made, and each has a name of its own.
    pub as_made: bool,
}

/// All clusters of a proxy.
pub fn build(node: &Node, gateway_passes_through: bool) -> Clusters {
    let mut by_service = outbound::build(node);
    let mut out = Vec::new();
    by_service.iter().for_each(|of| out.extend_from_slice(&of.clusters));
    out.push(fixed::black_hole(node));
    if node.is_sidecar() {
        out.push(fixed::passthrough(node));
        out.extend(inbound::build(node));
        out.push(fixed::inbound_passthrough(node));
    } else if gateway_passes_through {
        let by_sni = outbound::build_sni(node);
        by_sni.iter().for_each(|of| out.extend_from_slice(&of.clusters));
        by_service.extend(by_sni);
    }
    let mut out = node.patches.clusters(node, out);
    let mut seen = HashSet::with_capacity(out.len());
    let duplicates: Vec<usize> =
        out.iter().enumerate().filter(|(_, resource)| !seen.insert(resource.name.clone())).map(|(at, _)| at).collect();
    let as_made = duplicates.is_empty() && node.patches.is_empty();
    for at in duplicates.into_iter().rev() {
        let name = out.remove(at).name;
        let message = format!("Duplicate cluster {name} found while pushing CDS");
        node.push.report.metric("pilot_duplicate_envoy_clusters", &name, &node.id(), &message);
    }
    Clusters { all: out, by_service, as_made }
}

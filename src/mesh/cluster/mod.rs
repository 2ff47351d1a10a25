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
use std::collections::HashSet;

/// `outbound|port|subset|host`.
pub fn outbound_name(port: u32, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// `outbound_.port_.subset_.host`, the form that fits an SNI.
pub fn sni_name(port: u32, subset: &str, host: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}

/// All clusters of a proxy.
pub fn build(node: &Node, gateway_passes_through: bool) -> Vec<Resource> {
    let mut out = outbound::build(node);
    out.push(fixed::black_hole(node));
    if node.is_sidecar() {
        out.push(fixed::passthrough(node));
        out.extend(inbound::build(node));
        out.push(fixed::inbound_passthrough(node));
    } else if gateway_passes_through {
        out.extend(outbound::build_sni(node));
    }
    let mut out = node.patches.clusters(node, out);
    let mut seen = HashSet::with_capacity(out.len());
    let duplicates: Vec<usize> =
        out.iter().enumerate().filter(|(_, resource)| !seen.insert(resource.name.as_str())).map(|(at, _)| at).collect();
    for at in duplicates.into_iter().rev() {
        let name = out.remove(at).name;
        let message = format!("Duplicate cluster {name} found while pushing CDS");
        node.push.report.metric("pilot_duplicate_envoy_clusters", &name, &node.id(), &message);
    }
    out
}

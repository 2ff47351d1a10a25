//! The listener that captures outgoing connections, and what happens to those that no other listener takes.

use crate::mesh::json::{into_map, put, text};
use crate::mesh::listener::Class;
use crate::mesh::listener::network::{destination_cluster, listener_logs, to_cluster};
use crate::mesh::node::Node;
use crate::mesh::{Origin, Resource};
use serde_json::{Value, json};

/// The cluster of unregistered destinations.
pub fn catch_all_cluster(node: &Node) -> String {
    let Some(policy) = node.scope.outbound_policy.as_ref().filter(|p| p.allow_any) else {
        return "BlackHoleCluster".to_owned();
    };
    match text(&policy.egress_proxy["host"]) {
        "" => "PassthroughCluster".to_owned(),
        _ => destination_cluster(&policy.egress_proxy, None, 0),
    }
}

/// The network filters of connections that no chain takes.
pub fn catch_all_filters(node: &Node) -> Vec<Value> {
    to_cluster(node, Class::SidecarOutbound, &catch_all_cluster(node), true)
}

/// The Sidecar that decided about unregistered destinations, as origin of `at`.
pub fn policy_origin(node: &Node, at: &str) -> Option<Origin> {
    let origin = node.scope.outbound_policy.as_ref()?.origin.clone()?;
    Some(Origin { at: at.into(), ..origin })
}

/// `virtualOutbound` on port 15001.
pub fn build(node: &Node) -> Resource {
    let mut body = into_map(json!({
        "name": "virtualOutbound",
        "address": {"socketAddress": {"address": "0.0.0.0", "portValue": 15001}},
        "useOriginalDst": true,
        "trafficDirection": "OUTBOUND",
        "maxConnectionsToAcceptPerSocketEvent": 1,
        "filterChains": [
            {
                "name": "virtualOutbound-blackhole",
                "filterChainMatch": {"destinationPort": 15001},
                "filters": to_cluster(node, Class::SidecarOutbound, "BlackHoleCluster", false),
            },
            {"name": "virtualOutbound-catchall-tcp", "filters": catch_all_filters(node)},
        ],
    }));
    put(&mut body, "accessLog", listener_logs(node, Class::SidecarOutbound));
    let origins = policy_origin(node, "/filterChains/1").into_iter().collect();
    Resource::new("virtualOutbound", Value::Object(body), origins)
}

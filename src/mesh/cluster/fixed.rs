//! Clusters that every proxy has: for nothing, and for the address that the client chose.

use super::draft::{Draft, Kind, Upstream};
use super::traffic_policy::{apply_connection_pool, preserves_header_case};
use crate::mesh::Resource;
use crate::mesh::node::Node;
use serde_json::{Value, json};

fn resource(draft: Draft) -> Resource {
    Resource::new(draft.name.clone(), draft.build(), Vec::new())
}

pub fn black_hole(node: &Node) -> Resource {
    let mut draft = Draft::new("BlackHoleCluster", Kind::Static);
    draft.set("connectTimeout", node.push.mesh.connect_timeout.clone());
    resource(draft)
}

fn passthrough_draft(node: &Node) -> Draft {
    let mut draft = Draft::new("PassthroughCluster", Kind::OriginalDst);
    draft.set_lb("CLUSTER_PROVIDED");
    let preserve_case = preserves_header_case(node);
    let http = draft.http();
    http.common.insert("idleTimeout".to_owned(), Value::from("300s"));
    http.upstream = Some(Upstream::Downstream { preserve_case });
    apply_connection_pool(node, &mut draft, &json!({}), &Value::Null);
    draft
}

pub fn passthrough(node: &Node) -> Resource {
    resource(passthrough_draft(node))
}

pub fn inbound_passthrough(node: &Node) -> Resource {
    let mut draft = passthrough_draft(node);
    // The statistics stay under the name of the outbound one.
    draft.name = "InboundPassthroughCluster".to_owned();
    draft.set("name", Value::from("InboundPassthroughCluster"));
    draft.set("upstreamBindConfig", json!({"sourceAddress": {"address": "127.0.0.6", "portValue": 0}}));
    resource(draft)
}

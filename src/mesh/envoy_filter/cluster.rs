//! Patches to clusters.

use super::edit::merge_any;
use super::{Context, Kind, Operation, Patch, Patches, note};
use crate::mesh::json::{list, text, unsigned};
use crate::mesh::node::Node;
use crate::mesh::{Origin, Resource};
use serde_json::Value;

pub fn patch(patches: &Patches, node: &Node, clusters: Vec<Resource>) -> Vec<Resource> {
    let of_kind = patches.kind(Kind::Cluster);
    let mut out = Vec::with_capacity(clusters.len());
    for mut cluster in clusters {
        let mut from = Vec::new();
        if patch_one(of_kind, context(node, &cluster.name), &mut cluster, &mut from) {
            note(&mut cluster.origins, from);
            out.push(cluster);
        }
    }
    let contexts: &[Context] =
        if node.is_sidecar() { &[Context::SidecarOutbound, Context::SidecarInbound] } else { &[Context::Gateway] };
    for context in contexts {
        for added in of_kind.iter().filter(|p| p.adds_to(*context)) {
            let origins = vec![added.origin.clone()];
            out.push(Resource::new(text(&added.value["name"]), added.value.clone(), origins));
        }
    }
    out
}

fn context(node: &Node, name: &str) -> Context {
    match name {
        _ if !node.is_sidecar() => Context::Gateway,
        "InboundPassthroughCluster" => Context::SidecarInbound,
        name if name.starts_with("inbound|") => Context::SidecarInbound,
        _ => Context::SidecarOutbound,
    }
}

/// Tells whether the cluster stays.
fn patch_one(patches: &[Patch], context: Context, resource: &mut Resource, from: &mut Vec<Origin>) -> bool {
    for patch in patches.iter().filter(|p| p.in_context(context)) {
        if !matches!(patch.operation, Operation::Merge | Operation::Remove) || !takes(&patch.at["cluster"], resource) {
            continue;
        }
        if patch.operation == Operation::Remove {
            return false;
        }
        from.push(patch.origin.clone());
        // Bodies are shared with the world before; a cluster that no patch takes stays so.
        let cluster = resource.body.make_mut();
        if patch.value["transportSocket"].is_object() {
            merge_transport_socket(cluster, &patch.value["transportSocket"]);
        } else {
            patch.merge(Kind::Cluster, cluster);
        }
    }
    true
}

/// A patch with a transport socket changes nothing else: it is merged with one of the same name, or takes the place
/// of another. Where matches choose the socket, one of the same name is needed.
fn merge_transport_socket(cluster: &mut Value, socket: &Value) {
    let same = |other: &Value| other["name"] == socket["name"];
    if !list(&cluster["transportSocketMatches"]).is_empty() {
        let matches = cluster["transportSocketMatches"].as_array_mut().into_iter().flatten();
        if let Some(found) = matches.map(|m| &mut m["transportSocket"]).find(|s| same(s)) {
            merge_any(&mut found["typedConfig"], &socket["typedConfig"]);
        }
    } else if cluster.get("transportSocket").is_some_and(same) {
        merge_any(&mut cluster["transportSocket"]["typedConfig"], &socket["typedConfig"]);
    } else {
        cluster["transportSocket"] = socket.clone();
    }
}

/// `match.cluster`.
fn takes(wanted: &Value, resource: &Resource) -> bool {
    let cluster = resource.body.shape();
    // A patch before this one may have named it otherwise; a template holds marks for the name.
    let name = if resource.body.template().is_some() { &resource.name } else { text(&cluster["name"]) };
    if !text(&wanted["name"]).is_empty() {
        return text(&wanted["name"]) == name;
    }
    let (inbound, port, subset, host) = parts(name);
    let (service, number) = (text(&wanted["service"]), unsigned(&wanted["portNumber"]));
    let services = list(&cluster["metadata"]["filterMetadata"]["istio"]["services"]);
    let of_service = if inbound && !services.is_empty() {
        services.iter().any(|s| text(&s["host"]) == service)
    } else {
        host == service
    };
    (text(&wanted["subset"]).is_empty() || text(&wanted["subset"]) == subset)
        && (service.is_empty() || of_service)
        && (number == 0 || number == port)
}

/// Inbound, port, subset and host of `direction|port|subset|host` or `direction_.port_.subset_.host`.
pub fn parts(name: &str) -> (bool, u32, &str, &str) {
    let separator = if name.starts_with("outbound_.") || name.starts_with("inbound_.") { "_." } else { "|" };
    let parts: Vec<&str> = name.split(separator).collect();
    match parts.as_slice() {
        [direction, port, subset, host, ..] => (*direction == "inbound", port.parse().unwrap_or(0), subset, host),
        _ => (false, 0, "", ""),
    }
}

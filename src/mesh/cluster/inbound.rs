//! Clusters towards the pod's own containers.

use super::draft::{Draft, Kind};
use super::traffic_policy::{Purpose, apply_traffic_policy, preserves_header_case, set_upstream_protocol};
use crate::mesh::destination_rule::port_policy;
use crate::mesh::json::{into_map, present, text, unsigned};
use crate::mesh::node::Node;
use crate::mesh::protocol::Protocol;
use crate::mesh::registry::kubernetes::Target;
use crate::mesh::registry::service::Port;
use crate::mesh::stat_name::{self, Subject};
use crate::mesh::{Origin, Resource};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

pub fn build(node: &Node) -> Vec<Resource> {
    if !node.scope.ingress().is_empty() {
        return from_sidecar(node);
    }
    let mut by_port: BTreeMap<u32, Vec<&Target>> = BTreeMap::new();
    for target in &node.targets {
        by_port.entry(target.target).or_default().push(target);
    }
    let bind = if text(&node.push.mesh.raw["inboundTrafficPolicy"]["mode"]) == "LOCALHOST" { "127.0.0.1" } else { "" };
    by_port.into_iter().map(|(port, targets)| from_targets(node, port, bind, &targets)).collect()
}

fn from_targets(node: &Node, port: u32, bind: &str, targets: &[&Target]) -> Resource {
    let first = targets[0];
    let mut draft = draft(node, port, bind, first.target, &first.port);
    if !first.service.mesh_external {
        let mut hosts = HashSet::new();
        let services: Vec<Value> = targets
            .iter()
            .filter(|t| t.port.number == first.port.number && hosts.insert(t.service.hostname.as_str()))
            .map(|t| json!({"host": t.service.hostname, "name": t.service.name, "namespace": t.service.namespace}))
            .collect();
        draft.istio_metadata().insert("services".to_owned(), Value::Array(services));
    }
    let subject = Subject {
        host: &first.service.hostname,
        service: Some(&first.service),
        subset: "",
        port: first.port.number,
        port_name: &first.port.name,
        target_port: port,
    };
    if let Some(name) = stat_name::inbound(node, &subject) {
        draft.set("altStatName", Value::from(format!("{name};")));
    }
    let rule = node.scope.rule(node.proxy, &first.service.hostname, false);
    let mut origins: Vec<Origin> = targets.iter().map(|t| t.service.origin.clone()).collect();
    let mut policy = Value::Null;
    if let Some(rule) = rule.filter(|r| present(r.policy())) {
        policy = port_policy(rule.policy(), first.port.number).0;
        // A cluster without services has no metadata to add the rule to.
        if !first.service.mesh_external {
            draft.istio_metadata().insert("config".to_owned(), Value::from(rule.config_path()));
        }
        origins.push(rule.policy_origin().clone());
    }
    finish(node, draft, policy, port, bind, &first.port, origins)
}

fn draft(node: &Node, cluster_port: u32, bind: &str, target: u32, port: &Port) -> Draft {
    let kind = if bind.is_empty() { Kind::OriginalDst } else { Kind::Static };
    let name = format!("inbound|{cluster_port}||");
    let mut draft = Draft::new(&name, kind);
    draft.set("commonLbConfig", json!({}));
    if kind == Kind::Static {
        let address = match bind.strip_prefix("unix://") {
            Some(path) => json!({"pipe": {"path": path}}),
            None => json!({"socketAddress": {"address": bind, "portValue": target}}),
        };
        draft.set(
            "loadAssignment",
            json!({"clusterName": name, "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address}}]}]}),
        );
    } else {
        draft.set("cleanupInterval", Value::from("9223372035s"));
    }
    let preserve_case = preserves_header_case(node);
    set_upstream_protocol(node, &mut draft, port.protocol, preserve_case);
    draft
}

fn finish(
    node: &Node,
    mut draft: Draft,
    policy: Value,
    cluster_port: u32,
    bind: &str,
    port: &Port,
    origins: Vec<Origin>,
) -> Resource {
    let pool = node
        .scope
        .ingress()
        .iter()
        .find(|i| unsigned(&i["port"]["number"]) == cluster_port && present(&i["connectionPool"]))
        .map_or(&node.scope.sidecar_spec()["inboundConnectionPool"], |i| &i["connectionPool"]);
    let mut policy = policy;
    if present(pool) {
        let mut map = into_map(policy);
        map.insert("connectionPool".to_owned(), pool.clone());
        policy = Value::Object(map);
    }
    apply_traffic_policy(node, &mut draft, &policy, &Purpose::inbound(port));
    if bind != "127.0.0.1" {
        draft.set("upstreamBindConfig", json!({"sourceAddress": {"address": "127.0.0.6", "portValue": 0}}));
    }
    Resource::new(draft.name.clone(), draft.build(), origins)
}

/// One cluster for each `ingress` of the Sidecar.
fn from_sidecar(node: &Node) -> Vec<Resource> {
    let mut out = Vec::new();
    for (index, ingress) in node.scope.ingress().iter().enumerate() {
        let port = Port {
            name: text(&ingress["port"]["name"]).to_owned(),
            number: unsigned(&ingress["port"]["number"]),
            protocol: Protocol::parse(text(&ingress["port"]["protocol"])),
        };
        let endpoint = text(&ingress["defaultEndpoint"]);
        let (bind, target) = if endpoint.starts_with("unix://") {
            (endpoint.to_owned(), 0)
        } else if endpoint.is_empty() {
            (String::new(), 0)
        } else {
            let Some((ip, number)) = endpoint.rsplit_once(':') else { continue };
            let Ok(number) = number.parse::<u32>() else { continue };
            let bind = match ip {
                "0.0.0.0" => node.proxy.ip.clone(),
                "127.0.0.1" | "[::1]" => "127.0.0.1".to_owned(),
                "[::]" => "::1".to_owned(),
                _ => String::new(),
            };
            (bind, number)
        };
        let real = node.targets.iter().find(|t| t.target == port.number);
        let mut draft = draft(node, port.number, &bind, target, &port);
        let hostname = match real {
            Some(found) => {
                let service = &found.service;
                // The metadata lists services of the same port number as the listener's.
                let entry = json!([{"host": service.hostname, "name": service.name, "namespace": service.namespace}]);
                draft.istio_metadata().insert("services".to_owned(), entry);
                service.hostname.clone()
            }
            None => format!("{}.{}", node.scope.name, node.scope.namespace),
        };
        let subject = Subject {
            host: &hostname,
            service: real.map(|t| &*t.service),
            subset: "",
            port: port.number,
            port_name: &port.name,
            target_port: port.number,
        };
        if let Some(name) = stat_name::inbound(node, &subject) {
            draft.set("altStatName", Value::from(format!("{name};")));
        }
        let mut origins: Vec<Origin> =
            node.scope.sidecar.iter().map(|s| s.origin(format!("/spec/ingress/{index}"))).collect();
        let mut policy = Value::Null;
        if let Some(rule) = node.scope.rule(node.proxy, &hostname, false).filter(|r| present(r.policy())) {
            policy = port_policy(rule.policy(), port.number).0;
            draft.istio_metadata().insert("config".to_owned(), Value::from(rule.config_path()));
            origins.push(rule.policy_origin().clone());
        }
        out.push(finish(node, draft, policy, port.number, &bind, &port, origins));
    }
    out
}

//! AUTO_PASSTHROUGH: a chain for each service of the mesh, by the SNI that mesh clients send.

use super::merge::Server;
use crate::mesh::cluster::sni_name;
use crate::mesh::host::subset_of;
use crate::mesh::json::text;
use crate::mesh::listener::Class;
use crate::mesh::listener::chain::Chain;
use crate::mesh::listener::network::{Destination, single};
use crate::mesh::node::Node;
use crate::mesh::protocol::Protocol;
use crate::mesh::stat_name::{self, Subject};

const MESH_PROTOCOLS: [&str; 5] = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];

pub fn chains(node: &Node, server: &Server) -> Vec<Chain> {
    let hosts = server.server_names();
    let mut out = Vec::new();
    for service in node.scope.services().iter().filter(|s| !s.mesh_external) {
        if !hosts.iter().any(|h| subset_of(&service.hostname, h)) {
            continue;
        }
        let rule = node.scope.rule(node.proxy, &service.hostname, true);
        for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
            let subsets = rule.map_or(&[][..], |r| r.subsets());
            for subset in std::iter::once("").chain(subsets.iter().map(|s| text(&s["name"]))) {
                let cluster = sni_name(port.number, subset, &service.hostname);
                let destination = Destination {
                    stat_prefix: stat_name::outbound(
                        node,
                        &Subject {
                            host: &service.hostname,
                            service: Some(service),
                            subset,
                            port: port.number,
                            port_name: &port.name,
                            target_port: 0,
                        },
                    )
                    .unwrap_or_else(|| cluster.clone()),
                    cluster: cluster.clone(),
                    subset: subset.to_owned(),
                    rule,
                    protocol: port.protocol,
                    passed_through: true,
                };
                out.push(Chain {
                    server_names: vec![cluster],
                    application_protocols: MESH_PROTOCOLS.to_vec(),
                    filters: single(node, Class::Gateway, &destination),
                    origins: vec![server.origin.clone(), service.origin.clone()],
                    ..Chain::default()
                });
            }
        }
    }
    out
}

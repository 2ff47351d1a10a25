//! Chains of outbound TCP and TLS ports: by the rules of VirtualServices, else to the service itself.

use super::forward_proxy;
use super::outbound::Bind;
use crate::mesh::cluster::outbound_name;
use crate::mesh::json::{labels, labels_match, list, strings, text, unsigned};
use crate::mesh::listener::Class;
use crate::mesh::listener::chain::Chain;
use crate::mesh::listener::network::{Destination, routed, single};
use crate::mesh::node::Node;
use crate::mesh::object::config_metadata;
use crate::mesh::policy::authorization;
use crate::mesh::registry::service::{Port, Service};
use crate::mesh::route::alternate_hosts;
use crate::mesh::stat_name::{self, Subject};
use crate::mesh::virtual_service::VirtualService;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// The chains that a service's port adds to a listener; `egress` is the place of the egress listener.
pub fn chains(node: &Node, egress: usize, service: &Arc<Service>, port: &Port, bind: &Bind) -> Vec<Chain> {
    let rules = node.scope.virtual_services_for(egress, &service.hostname);
    if port.protocol.is_tls() {
        tls_chains(node, &rules, service, port, bind)
    } else {
        tcp_chains(node, &rules, service, port, bind)
    }
}

/// Whether an L4 match applies to the proxy, on the `mesh` gateway and this port.
fn applies(node: &Node, found: &Value, port: u32) -> bool {
    let gateways = list(&found["gateways"]);
    let namespace = text(&found["sourceNamespace"]);
    (gateways.is_empty() || gateways.iter().any(|g| text(g) == "mesh"))
        && labels_match(&labels(&found["sourceLabels"]), &node.proxy.labels)
        && (unsigned(&found["port"]) == 0 || unsigned(&found["port"]) == port)
        && (namespace.is_empty() || namespace == node.proxy.namespace)
}

fn owner(service: &VirtualService) -> String {
    format!("{}.{}", service.object.name, service.object.namespace)
}

fn tls_chains(
    node: &Node,
    rules: &[&Arc<VirtualService>],
    service: &Arc<Service>,
    port: &Port,
    bind: &Bind,
) -> Vec<Chain> {
    let mut destinations = bind.destinations.clone();
    let mut handled: HashSet<(Vec<String>, Vec<String>)> = HashSet::new();
    let mut out = Vec::new();
    for virtual_service in rules {
        for rule in &virtual_service.tls {
            for found in list(&rule.spec()["match"]).iter().filter(|m| applies(node, m, port.number)) {
                let subnets = strings(&found["destinationSubnets"]);
                if !subnets.is_empty() && port.number > 0 {
                    destinations.clone_from(&subnets);
                }
                let names = strings(&found["sniHosts"]);
                if handled.insert((names.clone(), subnets)) {
                    out.push(Chain {
                        server_names: names,
                        destinations: destinations.clone(),
                        metadata: config_metadata(&virtual_service.config_path()),
                        filters: routed(
                            node,
                            Class::SidecarOutbound,
                            list(&rule.spec()["route"]),
                            port,
                            &owner(virtual_service),
                        ),
                        origins: vec![rule.origin.clone()],
                        ..Chain::default()
                    });
                }
            }
        }
    }
    if out.is_empty() {
        out.push(default_tls_chain(node, service, port, bind, destinations));
    }
    out
}

fn default_tls_chain(
    node: &Node,
    service: &Arc<Service>,
    port: &Port,
    bind: &Bind,
    destinations: Vec<String>,
) -> Chain {
    let own = service.listen_address(node.captures_dns);
    let own = if own.contains('/') { "" } else { own };
    let by_name = !destinations.is_empty()
        || own.is_empty()
        || (own == "0.0.0.0" && bind.address == "0.0.0.0")
        || service.is_wildcard_dynamic();
    let mut server_names = Vec::new();
    if by_name {
        server_names.push(service.hostname.clone());
        for alias in &service.aliases {
            server_names.push(alias.clone());
            server_names.extend(alternate_hosts(node, alias));
        }
    }
    Chain { server_names, destinations, ..default_chain(node, service, port) }
}

/// To the service itself, whatever the name.
fn default_chain(node: &Node, service: &Arc<Service>, port: &Port) -> Chain {
    let number = if service.ports.len() == 1 { service.ports[0].number } else { port.number };
    let cluster = outbound_name(number, "", &service.hostname);
    let rule = node.scope.rule(node.proxy, &service.hostname, true);
    let subject = Subject {
        host: &service.hostname,
        service: Some(service),
        subset: "",
        port: number,
        port_name: "",
        target_port: 0,
    };
    let mut filters = single(
        node,
        Class::SidecarOutbound,
        &Destination {
            stat_prefix: stat_name::outbound(node, &subject).unwrap_or_else(|| cluster.clone()),
            cluster,
            subset: String::new(),
            rule,
            protocol: port.protocol,
            passed_through: false,
        },
    );
    if service.is_wildcard_dynamic() {
        let before_proxy = filters.len().saturating_sub(1);
        filters.insert(before_proxy, forward_proxy::sni_filter(&service.hostname, port.number));
        filters.splice(0..0, authorization::own_tcp_filters(node));
    }
    let mut origins = vec![service.origin.clone()];
    origins.extend(rule.map(|r| r.policy_origin().clone()));
    Chain { filters, origins, ..Chain::default() }
}

fn tcp_chains(
    node: &Node,
    rules: &[&Arc<VirtualService>],
    service: &Arc<Service>,
    port: &Port,
    bind: &Bind,
) -> Vec<Chain> {
    let mut out = Vec::new();
    let mut has_default = false;
    'rules: for virtual_service in rules {
        for rule in &virtual_service.tcp {
            let chain = |destinations: Vec<String>, metadata: Value| Chain {
                destinations,
                metadata,
                filters: routed(
                    node,
                    Class::SidecarOutbound,
                    list(&rule.spec()["route"]),
                    port,
                    &owner(virtual_service),
                ),
                origins: vec![rule.origin.clone()],
                ..Chain::default()
            };
            let metadata = || config_metadata(&virtual_service.config_path());
            let found = list(&rule.spec()["match"]);
            if found.is_empty() {
                out.push(chain(bind.destinations.clone(), metadata()));
                has_default = true;
                break 'rules;
            }
            let mut subnets = Vec::new();
            for one in found.iter().filter(|m| applies(node, m, port.number)) {
                let own = strings(&one["destinationSubnets"]);
                if own.is_empty() || port.number == 0 {
                    out.push(chain(bind.destinations.clone(), metadata()));
                    has_default = true;
                    break 'rules;
                }
                subnets.extend(own);
            }
            if !subnets.is_empty() {
                let (mut a, mut b) = (subnets.clone(), bind.destinations.clone());
                a.sort();
                b.sort();
                has_default |= a == b;
                out.push(chain(subnets, Value::Null));
            }
        }
    }
    if !has_default {
        out.push(Chain { destinations: bind.destinations.clone(), ..default_chain(node, service, port) });
    }
    out
}

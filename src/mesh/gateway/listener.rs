//! Gateway listeners: one for each port, with a chain for each server or SNI.

use super::merge::{Merged, Server, duplicates};
use super::passthrough;
use crate::mesh::host::{matches, resolve_gateway};
use crate::mesh::json::{flag, into_map, list, message, present, put, strings, text, unsigned};
use crate::mesh::listener::chain::{Chain, Written};
use crate::mesh::listener::http::{HttpChain, ProxyHeaders, connection_manager};
use crate::mesh::listener::network::{listener_logs, routed};
use crate::mesh::listener::{Class, socket_address, tls_inspector};
use crate::mesh::memo::{ListenerOf, Same};
use crate::mesh::node::Node;
use crate::mesh::registry::service::Port;
use crate::mesh::virtual_service::VirtualService;
use crate::mesh::{Origin, Resource, tls};
use crate::message::Body;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// On VirtualServices that istiod makes from other kinds of routes: which rules they follow.
const ROUTE_SEMANTICS: &str = "internal.istio.io/route-semantics";

/// A listener while ports add chains to it.
struct Entry {
    bind: String,
    port: u32,
    chains: Vec<Arc<Written>>,
}

/// A chain that a `tls` match of a VirtualService asks for, unless another one has its SNI hosts.
#[derive(Debug)]
pub struct Leg {
    names: Vec<String>,
    /// The VirtualService's name, and which match of its rule it is.
    from: (String, usize),
    chain: Arc<Written>,
}

pub fn build(node: &Node, merged: &Merged) -> Vec<Resource> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut server_names: HashMap<u32, HashMap<String, String>> = HashMap::new();
    for port in &merged.ports {
        let servers = merged.servers.get(port).map_or(&[][..], Vec::as_slice);
        let bind = if port.2.is_empty() { "0.0.0.0" } else { &port.2 };
        let protocol = crate::mesh::protocol::Protocol::parse(&port.1);
        let listener = format!("{bind}_{}", port.0);
        let mut chains = Vec::new();
        if protocol.is_http() {
            let route = merged.route_names.get(port).map_or("", String::as_str);
            chains.push(plain_http_chain(node, servers, route, &listener).write());
        } else {
            for server in servers {
                if server.terminates_https() {
                    chains.push(https_chain(node, server, &listener).write());
                } else {
                    chains.extend(tcp_chains(node, server, port.0, &mut server_names));
                }
            }
        }
        match entries.iter_mut().find(|e| e.bind == bind && e.port == port.0) {
            Some(entry) => entry.chains.extend(chains),
            None => entries.push(Entry { bind: bind.to_owned(), port: port.0, chains }),
        }
    }
    if entries.is_empty() {
        node.push.report.warn(format!("gateway has zero listeners for node {}", node.id()));
    }
    let mut errors = Vec::new();
    let mut out = Vec::new();
    for entry in entries {
        let name = format!("{}_{}", entry.bind, entry.port);
        if entry.chains.is_empty() {
            errors.push(format!(
                "gateway omitting listener \"{name}\" due to: must have more than 0 chains in listener \"{name}\""
            ));
        } else {
            let chains = entry.chains.iter().map(|chain| Same(chain.clone())).collect();
            let build = || entry.build(node, name.clone());
            out.push(node.memo.pieces.listeners.get(node, name.clone(), ListenerOf(true, chains), build));
        }
    }
    report_omitted(node, &errors);
    out
}

/// One log line for all omitted listeners, as istiod writes it.
fn report_omitted(node: &Node, errors: &[String]) {
    match errors {
        [] => {}
        [one] => node.push.report.info(one.clone()),
        several => {
            let listed: Vec<String> = several.iter().map(|e| format!("* {e}")).collect();
            node.push.report.info(format!("{} errors occurred:\n\t{}\n", several.len(), listed.join("\n\t")));
        }
    }
}

impl Entry {
    fn build(&self, node: &Node, name: String) -> Resource {
        let topology = &node.proxy_config()["gatewayTopology"];
        let mut filters = Vec::new();
        if present(&topology["proxyProtocol"]) {
            filters.push(json!({
                "name": "envoy.filters.listener.proxy_protocol",
                "typedConfig": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
                },
            }));
        }
        if self.chains.iter().any(|chain| chain.inspects_tls || chain.has_transport_socket) {
            filters.push(tls_inspector());
        }
        let mut origins = Vec::new();
        let mut chains = Vec::new();
        for (index, chain) in self.chains.iter().enumerate() {
            let at: Arc<str> = format!("/filterChains/{index}").into();
            origins.extend(chain.origins.iter().map(|o| Origin { at: at.clone(), ..o.clone() }));
            chains.push(chain.body.clone());
        }
        let mut body = into_map(message! {
            "name": name.as_str(),
            "address": socket_address(&self.bind, self.port),
            "trafficDirection": "OUTBOUND",
            "maxConnectionsToAcceptPerSocketEvent": 1,
        });
        put(&mut body, "listenerFilters", Value::Array(filters));
        put(&mut body, "accessLog", listener_logs(node, Class::Gateway));
        Resource { name: name.into(), body: Body::listing(body, "filterChains", chains), origins: origins.into() }
    }
}

/// The connection manager's settings that gateways have.
fn http_fields(node: &Node) -> Map<String, Value> {
    let topology = &node.proxy_config()["gatewayTopology"];
    let mut fields = Map::new();
    ProxyHeaders::read(node, Class::Gateway).apply(&mut fields);
    fields.insert("httpProtocolOptions".to_owned(), json!({}));
    if node.metadata("HTTP10") == "1" {
        fields.insert("httpProtocolOptions".to_owned(), json!({"acceptHttp10": true}));
    }
    put(&mut fields, "xffNumTrustedHops", Value::from(unsigned(&topology["numTrustedProxies"])));
    let forward = match text(&topology["forwardClientCertDetails"]) {
        "" | "UNDEFINED" => "SANITIZE_SET",
        given => given,
    };
    // Envoy's default is not printed.
    put(&mut fields, "forwardClientCertDetails", Value::from(if forward == "SANITIZE" { "" } else { forward }));
    if matches!(forward, "APPEND_FORWARD" | "SANITIZE_SET") {
        fields.insert(
            "setCurrentClientCertDetails".to_owned(),
            json!({"subject": true, "cert": true, "dns": true, "uri": true}),
        );
    }
    fields
}

fn http_chain(node: &Node, protocol: crate::mesh::protocol::Protocol, route: &str, stat_prefix: &str) -> HttpChain {
    HttpChain {
        class: Class::Gateway,
        protocol,
        route_config: route.to_owned(),
        inline: Value::Null,
        stat_prefix: stat_prefix.to_owned(),
        use_remote_address: true,
        fields: http_fields(node),
        dynamic_host: None,
    }
}

fn plain_http_chain(node: &Node, servers: &[Arc<Server>], route: &str, listener: &str) -> Chain {
    let protocol = servers.first().map_or(crate::mesh::protocol::Protocol::Http, |s| s.protocol);
    Chain {
        filters: vec![connection_manager(node, &http_chain(node, protocol, route, ""), listener)],
        origins: servers.iter().map(|s| s.origin.clone()).collect(),
        ..Chain::default()
    }
}

fn https_chain(node: &Node, server: &Server, listener: &str) -> Chain {
    let http = http_chain(node, server.protocol, &server.route_name, text(&server.spec()["name"]));
    Chain {
        server_names: server.server_names(),
        transport_socket: tls::server(node, server.tls(), false),
        filters: vec![connection_manager(node, &http, listener)],
        origins: vec![server.origin.clone()],
        ..Chain::default()
    }
}

fn port_of(server: &Server) -> Port {
    Port { name: server.port_name.clone(), number: server.number, protocol: server.protocol }
}

fn tcp_chains(
    node: &Node,
    server: &Arc<Server>,
    listener_port: u32,
    known: &mut HashMap<u32, HashMap<String, String>>,
) -> Vec<Arc<Written>> {
    if server.passes_through() {
        if server.auto_passthrough() {
            return passthrough::chains(node, server).into_iter().map(Chain::write).collect();
        }
        let key = (server.gateway.clone(), server.place, listener_port);
        let legs = node.memo.pieces.legs.get(node, key, Same(server.clone()), || legs(node, server));
        return sni_chains(node, server, &legs, known.entry(listener_port).or_default());
    }
    let Some((filters, rule)) = first_tcp_rule(node, server) else {
        node.push.report.warn(format!("gateway {}:{} listener missed network filter", server.gateway, server.number));
        return Vec::new();
    };
    let mut chain = Chain { filters, origins: vec![server.origin.clone(), rule], ..Chain::default() };
    if server.has_tls() {
        chain.server_names = server.server_names();
        chain.transport_socket = tls::server(node, server.tls(), server.terminates_tcp());
    }
    vec![chain.write()]
}

/// Whether any host of a VirtualService is one of the server's.
fn concerns(server: &Server, service: &VirtualService) -> bool {
    server.hosts.iter().any(|host| {
        let host = match host.split_once('/') {
            Some((namespace, _)) if namespace != service.object.namespace => return false,
            Some((_, host)) => host,
            None => host,
        };
        service.hosts.iter().any(|h| matches(host, h))
    })
}

/// Whether a match applies to a server; `namespace` is the VirtualService's.
fn applies(found: &Value, server: &Server, namespace: &str) -> bool {
    let port = unsigned(&found["port"]);
    let gateways = list(&found["gateways"]);
    (port == 0 || port == server.number)
        && (gateways.is_empty() || gateways.iter().any(|g| resolve_gateway(text(g), namespace) == server.gateway))
}

fn bound<'a>(node: &'a Node, server: &'a Server) -> impl Iterator<Item = &'a Arc<VirtualService>> {
    node.scope.bound_to(&server.gateway).filter(|v| concerns(server, v))
}

/// The filters of the first `tcp` rule that applies to a server.
fn first_tcp_rule(node: &Node, server: &Server) -> Option<(Vec<Value>, Origin)> {
    if node.scope.bound_to(&server.gateway).next().is_none() {
        node.push.report.warn(format!("no virtual service bound to gateway: {}", server.gateway));
    }
    for service in bound(node, server) {
        // A route of the Gateway API goes by SNI where TLS ends, too; a VirtualService of a user does not.
        let of_gateway_api = service.object.annotations.get(ROUTE_SEMANTICS).is_some_and(|s| s == "gateway");
        let by_sni = if of_gateway_api { service.tls.as_slice() } else { &[] };
        for rule in service.tcp.iter().chain(by_sni) {
            let found = list(&rule.spec()["match"]);
            if found.is_empty() || found.iter().any(|m| applies(m, server, &service.object.namespace)) {
                let owner = format!("{}.{}", service.object.name, service.object.namespace);
                let filters = routed(node, Class::Gateway, list(&rule.spec()["route"]), &port_of(server), &owner);
                return (!filters.is_empty()).then(|| (filters, rule.origin.clone()));
            }
        }
    }
    None
}

/// A chain for each `tls` match of a server that passes TLS through, if no other chain of the port has its names.
fn sni_chains(node: &Node, server: &Server, legs: &[Leg], known: &mut HashMap<String, String>) -> Vec<Arc<Written>> {
    let mut out = Vec::new();
    for leg in legs {
        let duplicated = duplicates(&leg.names, text(&server.spec()["bind"]), known);
        if duplicated.is_empty() {
            out.push(leg.chain.clone());
            continue;
        }
        let (service, index) = &leg.from;
        node.push.report.warn(format!(
            "skipping VirtualService {service} rule #{index} on server port {} of gateway {}, duplicate SNI host names: [{}]",
            server.number,
            server.gateway,
            duplicated.join(" ")
        ));
    }
    out
}

/// What the `tls` matches that apply to a server ask for.
fn legs(node: &Node, server: &Server) -> Arc<[Leg]> {
    let mut out = Vec::new();
    for service in bound(node, server) {
        for rule in &service.tls {
            let matches = list(&rule.spec()["match"]).iter().enumerate();
            for (index, found) in matches.filter(|(_, m)| applies(m, server, &service.object.namespace)) {
                let names = strings(&found["sniHosts"]);
                let owner = format!("{}.{}", service.object.name, service.object.namespace);
                let chain = Chain {
                    server_names: names.clone(),
                    filters: routed(node, Class::Gateway, list(&rule.spec()["route"]), &port_of(server), &owner),
                    origins: vec![server.origin.clone(), rule.origin.clone()],
                    ..Chain::default()
                };
                out.push(Leg { names, from: (service.object.name.clone(), index), chain: chain.write() });
            }
        }
    }
    out.into()
}

/// Redirects to HTTPS, for routes of a server.
pub fn redirects_to_https(server: &Server) -> bool {
    flag(&server.tls()["httpsRedirect"])
}

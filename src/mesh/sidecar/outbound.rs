//! Outbound listeners of sidecars: one for each address and port that services in scope have.

use super::outbound_tcp;
use super::virtual_outbound::{catch_all_filters, policy_origin};
use crate::mesh::json::{into_map, message, put, text, unsigned};
use crate::mesh::listener::chain::{Chain, ChainKey, PLAIN_HTTP};
use crate::mesh::listener::http::{HttpChain, ProxyHeaders, connection_manager};
use crate::mesh::listener::{Class, http_inspector, socket_address, tls_inspector};
use crate::mesh::node::Node;
use crate::mesh::protocol::{ListenerProtocol, Protocol};
use crate::mesh::registry::service::{Port, Registry, Resolution, Service};
use crate::mesh::scope::EgressListener;
use crate::mesh::{Origin, Resource};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A listener while services add chains to it.
struct Entry {
    bind: String,
    bind_to_port: bool,
    port: Port,
    /// What the chains so far speak; `Auto` once they are mixed.
    protocol: Protocol,
    /// Made by an earlier egress listener: later ones may not add to it.
    locked: bool,
    chains: Vec<Chain>,
    /// What the chains match.
    matches: HashSet<ChainKey>,
}

/// Where a service's listener goes.
#[derive(Clone)]
pub struct Bind {
    /// Empty: the service's own address.
    pub address: String,
    pub to_port: bool,
    pub destinations: Vec<String>,
}

#[derive(Default)]
struct Listeners {
    entries: Vec<Entry>,
    index: HashMap<(String, u32), usize>,
}

const WILDCARD: &str = "0.0.0.0";

pub fn build(node: &Node) -> Vec<Resource> {
    let mut listeners = Listeners::default();
    for egress in &node.scope.listeners {
        let bind = bind_of(node, egress);
        if let Some(number) = egress.port() {
            let port = Port {
                name: text(&egress.spec["port"]["name"]).to_owned(),
                number,
                protocol: Protocol::parse(text(&egress.spec["port"]["protocol"])),
            };
            if reserved(&bind.address, &port) {
                continue;
            }
            for service in &egress.services {
                listeners.add(node, egress, service, &port, bind.clone());
            }
        } else {
            listeners.entries.iter_mut().for_each(|e| e.locked = true);
            for service in &egress.services {
                for port in service.ports.iter().filter(|p| !reserved(&bind.address, p)) {
                    listeners.add_service_port(node, egress, service, port, &bind);
                }
            }
        }
    }
    listeners.entries.into_iter().map(|entry| entry.build(node, true)).collect()
}

fn bind_of(node: &Node, egress: &EgressListener) -> Bind {
    let given = text(&egress.spec["bind"]);
    let none_mode = text(&egress.spec["captureMode"]) == "NONE"
        || given.starts_with("unix://")
        || node.metadata("INTERCEPTION_MODE") == "NONE";
    let address = match given {
        "" if none_mode => "127.0.0.1",
        given => given,
    };
    Bind { address: address.to_owned(), to_port: none_mode, destinations: Vec::new() }
}

/// Ports that the proxy itself listens on.
fn reserved(bind: &str, port: &Port) -> bool {
    let everywhere = bind == WILDCARD || (bind.is_empty() && port.protocol.is_http());
    everywhere && matches!(port.number, 15001 | 15006 | 15021 | 15090)
}

impl Listeners {
    fn add_service_port(
        &mut self,
        node: &Node,
        egress: &EgressListener,
        service: &Arc<Service>,
        port: &Port,
        bind: &Bind,
    ) {
        let headless = bind.address.is_empty()
            && service.resolution == Resolution::Passthrough
            && service.listen_address(node.captures_dns) == WILDCARD
            && (port.protocol.is_tcp() || port.protocol == Protocol::Auto);
        if !headless {
            self.add(node, egress, service, port, bind.clone());
            return;
        }
        let endpoints = node.push.registry.endpoints_by_port(service, port.number, None);
        if service.registry == Registry::External && endpoints.is_empty() && !service.has_selector {
            self.add(node, egress, service, port, bind.clone());
            return;
        }
        // A listener for each endpoint of a headless service, but not for the proxy itself.
        for endpoint in endpoints {
            if endpoint.address.parse::<std::net::IpAddr>().is_ok() && endpoint.address != node.proxy.ip {
                self.add(node, egress, service, port, Bind { address: endpoint.address.clone(), ..bind.clone() });
            }
        }
    }

    fn add(&mut self, node: &Node, egress: &EgressListener, service: &Arc<Service>, port: &Port, mut bind: Bind) {
        if service.resolution == Resolution::Alias {
            return;
        }
        let listener_protocol = port.protocol.listener();
        match listener_protocol {
            ListenerProtocol::Tcp | ListenerProtocol::Auto if bind.address.is_empty() => {
                let own = service.listen_address(node.captures_dns);
                if own.contains('/') {
                    bind.destinations = vec![own.to_owned()];
                    bind.address = WILDCARD.to_owned();
                } else {
                    bind.address = own.to_owned();
                }
            }
            ListenerProtocol::Http if bind.address.is_empty() => bind.address = WILDCARD.to_owned(),
            _ => {}
        }
        let current = self.index.get(&(bind.address.clone(), port.number)).copied();
        if current.is_some_and(|i| self.entries[i].locked) {
            return;
        }
        let existing = current.map(|i| self.entries[i].protocol);
        let mut protocol = port.protocol;
        let tcp = || outbound_tcp::chains(node, egress, service, port, &bind);
        let (chains, merge, mixed) = if protocol == Protocol::HttpProxy {
            (vec![http_chain(node, service, port, &bind)], false, false)
        } else {
            match listener_protocol {
                ListenerProtocol::Http => {
                    if existing.is_some_and(|p| !p.is_tcp()) {
                        return;
                    }
                    let mut chain = http_chain(node, service, port, &bind);
                    if bind.address == WILDCARD {
                        sniff(&mut chain);
                        protocol = Protocol::Auto;
                    }
                    (vec![chain], existing.is_some(), existing.is_some())
                }
                ListenerProtocol::Tcp => (tcp(), existing.is_some(), existing.is_some_and(Protocol::is_http)),
                ListenerProtocol::Auto => {
                    if existing == Some(Protocol::Auto) {
                        return;
                    }
                    let mut chains = tcp();
                    let mut http = http_chain(node, service, port, &bind);
                    sniff(&mut http);
                    chains.push(http);
                    // Sniffed ports take an HTTP listener over.
                    let merge = existing.is_some_and(Protocol::is_tcp);
                    (chains, merge, merge)
                }
                ListenerProtocol::Unknown => return,
            }
        };
        let well_known = |p: Protocol| matches!(p, Protocol::Mongo | Protocol::MySql);
        if let Some(existing) = existing.filter(|_| merge)
            && (well_known(port.protocol) || well_known(existing))
            && port.protocol != existing
        {
            return;
        }
        match current.filter(|_| merge) {
            Some(at) => self.entries[at].merge(node, chains, mixed, service, port, &bind.address),
            None => {
                let entry = Entry {
                    bind: bind.address.clone(),
                    bind_to_port: bind.to_port,
                    port: port.clone(),
                    protocol,
                    locked: false,
                    matches: chains.iter().map(Chain::key).collect(),
                    chains,
                };
                match current {
                    Some(at) => self.entries[at] = entry,
                    None => {
                        self.index.insert((bind.address, port.number), self.entries.len());
                        self.entries.push(entry);
                    }
                }
            }
        }
    }
}

fn sniff(chain: &mut Chain) {
    chain.application_protocols = PLAIN_HTTP.to_vec();
    chain.transport_protocol = "raw_buffer";
}

fn http_chain(node: &Node, service: &Arc<Service>, port: &Port, bind: &Bind) -> Chain {
    let route_config = if port.number == 0 {
        bind.address.clone()
    } else if port.protocol.listener() == ListenerProtocol::Auto && bind.address != WILDCARD {
        format!("{}:{}", service.hostname, port.number)
    } else {
        port.number.to_string()
    };
    let mut fields = Map::new();
    ProxyHeaders::read(node, Class::SidecarOutbound).apply(&mut fields);
    Chain {
        http: Some(HttpChain {
            class: Class::SidecarOutbound,
            protocol: port.protocol,
            route_config,
            inline: Value::Null,
            stat_prefix: String::new(),
            use_remote_address: false,
            fields,
            dynamic_host: service.is_wildcard_dynamic().then(|| service.hostname.clone()),
        }),
        origins: vec![service.origin.clone()],
        ..Chain::default()
    }
}

impl Entry {
    /// Adds chains that do not conflict with those already there.
    fn merge(&mut self, node: &Node, chains: Vec<Chain>, mixed: bool, service: &Service, port: &Port, bind: &str) {
        for chain in chains {
            if !self.matches.insert(chain.key()) {
                let name = format!("{bind}_{}", port.number);
                let message = format!(
                    "Listener={name} Accepted={} Rejected={} ({})",
                    self.port.protocol.listener_name(),
                    port.protocol.listener_name(),
                    service.hostname
                );
                let metric = "pilot_conflict_outbound_listener_tcp_over_current_tcp";
                node.push.report.metric(metric, &name, &node.id(), &message);
            } else {
                self.chains.push(chain);
            }
        }
        if mixed {
            self.protocol = Protocol::Auto;
        }
    }

    fn build(self, node: &Node, with_fallthrough: bool) -> Resource {
        let name = format!("{}_{}", self.bind, self.port.number);
        let mut body = into_map(json!({
            "name": name,
            "address": socket_address(&self.bind, self.port.number),
            "trafficDirection": "OUTBOUND",
            "continueOnListenerFiltersTimeout": true,
        }));
        if self.bind_to_port {
            body.insert("maxConnectionsToAcceptPerSocketEvent".to_owned(), json!(1));
        } else {
            body.insert("bindToPort".to_owned(), json!(false));
        }
        let inspects_tls = self.chains.iter().any(|c| {
            !c.server_names.is_empty()
                || c.filters.iter().any(|f| text(&f["name"]).ends_with("sni_dynamic_forward_proxy"))
        });
        let inspects_http = self.chains.iter().any(|c| !c.application_protocols.is_empty());
        let mut filters = Vec::new();
        if inspects_tls {
            filters.push(tls_inspector());
        }
        if inspects_http {
            filters.push(http_inspector());
        }
        put(&mut body, "listenerFilters", Value::Array(filters));
        let timeout = if inspects_http { node.push.mesh.protocol_detection_timeout.clone() } else { Value::from("0s") };
        body.insert("listenerFiltersTimeout".to_owned(), timeout);
        let mut default: Option<(Value, Vec<Origin>)> = None;
        let mut chains: Vec<Value> = Vec::new();
        let mut origins: Vec<Origin> = Vec::new();
        for mut chain in self.chains {
            let built = build_chain(node, &mut chain, &name);
            match chain.to_match() {
                None => default = Some((built, chain.origins)),
                Some(found) => {
                    let mut built = built;
                    built["filterChainMatch"] = found;
                    origins.extend(at(chain.origins, &format!("/filterChains/{}", chains.len())));
                    chains.push(built);
                }
            }
        }
        match default {
            Some((chain, from)) if chains.is_empty() => {
                origins.extend(at(from, "/filterChains/0"));
                chains.push(chain);
            }
            Some((chain, from)) => {
                origins.extend(at(from, "/defaultFilterChain"));
                body.insert("defaultFilterChain".to_owned(), chain);
            }
            None if with_fallthrough => {
                origins.extend(policy_origin(node, "/defaultFilterChain"));
                body.insert(
                    "defaultFilterChain".to_owned(),
                    json!({"name": "PassthroughFilterChain", "filterChainMatch": {}, "filters": catch_all_filters(node)}),
                );
            }
            None => {}
        }
        body.insert("filterChains".to_owned(), Value::Array(chains));
        Resource::new(name, Value::Object(body), origins)
    }
}

fn at(origins: Vec<Origin>, pointer: &str) -> impl Iterator<Item = Origin> {
    origins.into_iter().map(move |o| Origin { at: pointer.to_owned(), ..o })
}

fn build_chain(node: &Node, chain: &mut Chain, listener: &str) -> Value {
    let mut filters = std::mem::take(&mut chain.filters);
    if let Some(http) = &chain.http {
        filters.push(connection_manager(node, http, listener));
    }
    let mut out = into_map(message! {
        "filters": filters,
        "transportSocketConnectTimeout": crate::mesh::tls::connect_timeout(),
    });
    put(&mut out, "metadata", chain.metadata.take());
    put(&mut out, "transportSocket", chain.transport_socket.take());
    Value::Object(out)
}

/// The explicit HTTP proxy that `proxyHttpPort` of the mesh config asks for.
pub fn http_proxy(node: &Node) -> Option<Resource> {
    let port = match node.metadata("HTTP_PROXY_PORT").parse() {
        Ok(port) => port,
        Err(_) => unsigned(&node.push.mesh.raw["proxyHttpPort"]),
    };
    if port == 0 {
        return None;
    }
    let mut fields = Map::new();
    ProxyHeaders::read(node, Class::SidecarOutbound).apply(&mut fields);
    fields.insert("httpProtocolOptions".to_owned(), json!({"allowAbsoluteUrl": true}));
    let chain = Chain {
        http: Some(HttpChain {
            class: Class::SidecarOutbound,
            protocol: Protocol::HttpProxy,
            route_config: "http_proxy".to_owned(),
            inline: Value::Null,
            stat_prefix: String::new(),
            use_remote_address: false,
            fields,
            dynamic_host: None,
        }),
        ..Chain::default()
    };
    let port = Port { name: String::new(), number: port, protocol: Protocol::HttpProxy };
    let entry = Entry {
        bind: "127.0.0.1".to_owned(),
        bind_to_port: true,
        protocol: port.protocol,
        port,
        locked: false,
        matches: HashSet::new(),
        chains: vec![chain],
    };
    Some(entry.build(node, false))
}

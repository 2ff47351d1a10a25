//! Outbound listeners of sidecars: one for each address and port that services in scope have.

use super::outbound_tcp;
use super::virtual_outbound::{catch_all_filters, policy_origin};
use crate::mesh::json::{into_map, put, text, unsigned};
use crate::mesh::listener::chain::{Chain, ChainKey, PLAIN_HTTP, Written};
use crate::mesh::listener::http::{HttpChain, ProxyHeaders, connection_manager};
use crate::mesh::listener::{Class, http_inspector, socket_address, tls_inspector};
use crate::mesh::memo::{ChainsGiven, ListenerOf, Same};
use crate::mesh::node::Node;
use crate::mesh::protocol::{ListenerProtocol, Protocol};
use crate::mesh::registry::service::{Port, Registry, Resolution, Service};
use crate::mesh::scope::EgressListener;
use crate::mesh::{Origin, Resource};
use crate::message::Body;
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
    chains: Vec<Arc<Written>>,
    /// What the chains match.
    matches: HashSet<Arc<ChainKey>>,
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
    for egress in node.scope.listeners() {
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
    listeners.entries.into_iter().map(|entry| entry.kept(node)).collect()
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
        let endpoints = node.scope.endpoints_by_port(service, port.number, None);
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
        let kept = |http: bool, make: &dyn Fn() -> Arc<[Arc<Written>]>| {
            let key = (egress.place, service.hostname.clone(), port.number, bind.address.clone(), http);
            let given = ChainsGiven {
                service: service.clone(),
                port: service.ports.iter().position(|p| std::ptr::eq(p, port)).ok_or_else(|| port.clone()),
                to_port: bind.to_port,
                destinations: bind.destinations.clone(),
            };
            node.memo.pieces.chains.get(node, key, given, make)
        };
        let tcp = || {
            kept(false, &|| {
                let chains = outbound_tcp::chains(node, egress.place, service, port, &bind);
                chains.into_iter().map(Chain::write).collect()
            })
        };
        let http = |sniffed: bool| kept(true, &|| [http_chain(node, service, port, &bind, sniffed).write()].into());
        let (chains, merge, mixed) = if protocol == Protocol::HttpProxy {
            (http(false).to_vec(), false, false)
        } else {
            match listener_protocol {
                ListenerProtocol::Http => {
                    if existing.is_some_and(|p| !p.is_tcp()) {
                        return;
                    }
                    let sniffed = bind.address == WILDCARD;
                    if sniffed {
                        protocol = Protocol::Auto;
                    }
                    (http(sniffed).to_vec(), existing.is_some(), existing.is_some())
                }
                ListenerProtocol::Tcp => (tcp().to_vec(), existing.is_some(), existing.is_some_and(Protocol::is_http)),
                ListenerProtocol::Auto => {
                    if existing == Some(Protocol::Auto) {
                        return;
                    }
                    let mut chains = tcp().to_vec();
                    chains.extend(http(true).iter().cloned());
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
                    matches: chains.iter().map(|chain| chain.key.clone()).collect(),
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

/// `sniffed`: beside chains of other protocols, so it says how HTTP looks. Whether it is follows from port and bind.
fn http_chain(node: &Node, service: &Arc<Service>, port: &Port, bind: &Bind, sniffed: bool) -> Chain {
    let route_config = if port.number == 0 {
        bind.address.clone()
    } else if port.protocol.listener() == ListenerProtocol::Auto && bind.address != WILDCARD {
        format!("{}:{}", service.hostname, port.number)
    } else {
        port.number.to_string()
    };
    let mut fields = Map::new();
    ProxyHeaders::read(node, Class::SidecarOutbound).apply(&mut fields);
    let http = HttpChain {
        class: Class::SidecarOutbound,
        protocol: port.protocol,
        route_config,
        inline: Value::Null,
        stat_prefix: String::new(),
        use_remote_address: false,
        fields,
        dynamic_host: service.is_wildcard_dynamic().then(|| service.hostname.clone()),
    };
    Chain {
        application_protocols: if sniffed { PLAIN_HTTP.to_vec() } else { Vec::new() },
        transport_protocol: if sniffed { "raw_buffer" } else { "" },
        filters: vec![connection_manager(node, &http, &listener_name(&bind.address, port))],
        origins: vec![service.origin.clone()],
        ..Chain::default()
    }
}

fn listener_name(bind: &str, port: &Port) -> String {
    format!("{bind}_{}", port.number)
}

impl Entry {
    /// Adds chains that do not conflict with those already there.
    fn merge(
        &mut self,
        node: &Node,
        chains: Vec<Arc<Written>>,
        mixed: bool,
        service: &Service,
        port: &Port,
        bind: &str,
    ) {
        for chain in chains {
            if !self.matches.insert(chain.key.clone()) {
                let name = listener_name(bind, port);
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

    fn kept(self, node: &Node) -> Resource {
        let chains = self.chains.iter().map(|chain| Same(chain.clone())).collect();
        let key = listener_name(&self.bind, &self.port);
        node.memo.pieces.listeners.get(node, key, ListenerOf(self.bind_to_port, chains), || self.build(node, true))
    }

    /// Of the entry's own, only what tells its name, whether it binds to its port, and its chains go into it.
    fn build(self, node: &Node, with_fallthrough: bool) -> Resource {
        let name = listener_name(&self.bind, &self.port);
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
        let inspects_tls = self.chains.iter().any(|chain| chain.inspects_tls);
        let inspects_http = self.chains.iter().any(|chain| chain.inspects_http);
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
        let (default, mut chains): (Vec<Arc<Written>>, Vec<Arc<Written>>) =
            self.chains.into_iter().partition(|chain| chain.matches_all);
        let mut default = default.into_iter().next_back();
        let alone = if chains.is_empty() { default.take() } else { None };
        let with_fallthrough = with_fallthrough && alone.is_none();
        chains.extend(alone);
        let mut origins: Vec<Origin> = Vec::new();
        for (place, chain) in chains.iter().enumerate() {
            origins.extend(at(&chain.origins, &format!("/filterChains/{place}")));
        }
        match default {
            Some(chain) => {
                origins.extend(at(&chain.origins, "/defaultFilterChain"));
                body.insert("defaultFilterChain".to_owned(), (*chain.body).clone());
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
        let chains = chains.iter().map(|chain| chain.body.clone()).collect();
        Resource { name: name.into(), body: Body::listing(body, "filterChains", chains), origins: origins.into() }
    }
}

fn at(origins: &[Origin], pointer: &str) -> impl Iterator<Item = Origin> {
    let pointer: Arc<str> = pointer.into();
    origins.iter().map(move |o| Origin { at: pointer.clone(), ..o.clone() })
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
    let port = Port { name: String::new(), number: port, protocol: Protocol::HttpProxy };
    let bind = "127.0.0.1".to_owned();
    let http = HttpChain {
        class: Class::SidecarOutbound,
        protocol: Protocol::HttpProxy,
        route_config: "http_proxy".to_owned(),
        inline: Value::Null,
        stat_prefix: String::new(),
        use_remote_address: false,
        fields,
        dynamic_host: None,
    };
    let filters = vec![connection_manager(node, &http, &listener_name(&bind, &port))];
    let entry = Entry {
        bind,
        bind_to_port: true,
        protocol: port.protocol,
        port,
        locked: false,
        matches: HashSet::new(),
        chains: vec![Chain { filters, ..Chain::default() }.write()],
    };
    Some(entry.build(node, false))
}

//! Inbound listeners of sidecars: mutual TLS and plain traffic towards the pod's own ports.

use crate::mesh::json::{into_map, present, put, text, unsigned};
use crate::mesh::listener::chain::PLAIN_HTTP;
use crate::mesh::listener::http::{HttpChain, ProxyHeaders, connection_manager};
use crate::mesh::listener::network::{complete, listener_logs, tcp_proxy, to_cluster};
use crate::mesh::listener::{Class, http_inspector, original_destination, socket_address, tls_inspector};
use crate::mesh::node::Node;
use crate::mesh::object::config_metadata;
use crate::mesh::policy::peer_authentication::Mode;
use crate::mesh::protocol::{ListenerProtocol, Protocol};
use crate::mesh::registry::service::Service;
use crate::mesh::stat_name::{self, Subject};
use crate::mesh::{Origin, Resource, route, tls};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A port that gets inbound chains.
#[derive(Clone)]
struct Inbound {
    bind: String,
    bind_to_port: bool,
    /// The Service's port number, which names the virtual host.
    port: u32,
    port_name: String,
    target: u32,
    protocol: Protocol,
    cluster: String,
    service: Option<Arc<Service>>,
    /// The host of the first Service, for the trace operation.
    hostname: String,
    metadata: Value,
    passthrough: bool,
    /// TLS that a Sidecar's ingress terminates itself, where mutual TLS is disabled.
    tls: Value,
    origins: Vec<Origin>,
}

/// How one chain of a port matches.
struct Form {
    application_protocols: &'static [&'static str],
    transport_protocol: &'static str,
    http: bool,
    tls: bool,
}

const MTLS_HTTP: &[&str] = &["istio-http/1.0", "istio-http/1.1", "istio-h2"];
const MTLS_ALL: &[&str] = &["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];
const MTLS_TCP: &[&str] = &["istio-peer-exchange", "istio"];

fn form(alpn: &'static [&'static str], transport: &'static str, http: bool, tls: bool) -> Form {
    Form { application_protocols: alpn, transport_protocol: transport, http, tls }
}

/// The chains of a port, by its protocol and mutual TLS mode.
fn forms(mode: Mode, protocol: ListenerProtocol) -> Vec<Form> {
    let plain_http: &[&str] = &PLAIN_HTTP;
    match (protocol, mode) {
        (ListenerProtocol::Http, Mode::Strict) => vec![form(&[], "tls", true, true)],
        (ListenerProtocol::Http, Mode::Permissive) => {
            vec![form(MTLS_ALL, "tls", true, true), form(&[], "raw_buffer", true, false)]
        }
        (ListenerProtocol::Http, _) => vec![form(&[], "raw_buffer", true, false)],
        (ListenerProtocol::Auto, Mode::Strict) => {
            vec![form(MTLS_HTTP, "tls", true, true), form(&[], "tls", false, true)]
        }
        (ListenerProtocol::Auto, Mode::Permissive) => vec![
            form(MTLS_HTTP, "tls", true, true),
            form(plain_http, "raw_buffer", true, false),
            form(MTLS_TCP, "tls", false, true),
            form(&[], "raw_buffer", false, false),
            form(&[], "tls", false, false),
        ],
        (ListenerProtocol::Auto, _) => {
            vec![form(plain_http, "raw_buffer", true, false), form(&[], "raw_buffer", false, false)]
        }
        (_, Mode::Strict) => vec![form(&[], "tls", false, true)],
        (_, Mode::Permissive) => vec![
            form(MTLS_ALL, "tls", false, true),
            form(&[], "tls", false, false),
            form(&[], "raw_buffer", false, false),
        ],
        _ => vec![form(&[], "raw_buffer", false, false)],
    }
}

pub fn build(node: &Node) -> Vec<Resource> {
    let authentication = node.push.peer_authentications.compose(&node.proxy.namespace, &node.proxy.labels);
    let mut chains = vec![json!({
        "name": "virtualInbound-blackhole",
        "filterChainMatch": {"destinationPort": 15006},
        "filters": to_cluster(node, Class::SidecarInbound, "BlackHoleCluster", false),
    })];
    let ports = ports(node);
    // Ports with a mode of their own that neither a Sidecar's ingress nor, without one, a Service declares.
    let ingress = node.scope.ingress();
    let declared = |port: u32| match ingress.is_empty() {
        true => node.targets.iter().any(|t| t.target == port),
        false => ingress.iter().any(|i| unsigned(&i["port"]["number"]) == port),
    };
    let extra: Vec<u32> = authentication.ports.keys().copied().filter(|p| !declared(*p)).collect();
    for port in std::iter::once(0).chain(extra) {
        let inbound = Inbound {
            bind: String::new(),
            bind_to_port: false,
            port: 0,
            port_name: "virtualInbound".to_owned(),
            service: None,
            target: port,
            protocol: Protocol::Auto,
            cluster: "InboundPassthroughCluster".to_owned(),
            hostname: String::new(),
            metadata: Value::Null,
            passthrough: true,
            tls: Value::Null,
            origins: Vec::new(),
        };
        chains.extend(chains_of(node, &inbound, authentication.for_port(port)));
    }
    let mut origins = Vec::new();
    let mut own_listeners = Vec::new();
    for inbound in ports {
        let built = chains_of(node, &inbound, authentication.for_port(inbound.target));
        if inbound.bind_to_port {
            own_listeners.push(listener(
                node,
                &inbound.name(false),
                &inbound.bind,
                inbound.target,
                true,
                built,
                inbound.origins,
            ));
            continue;
        }
        for offset in 0..built.len() {
            let at: Arc<str> = format!("/filterChains/{}", chains.len() + offset).into();
            origins.extend(inbound.origins.iter().map(|o| Origin { at: at.clone(), ..o.clone() }));
        }
        chains.extend(built);
    }
    let mut out = vec![listener(node, "virtualInbound", "0.0.0.0", 15006, false, chains, origins)];
    out.extend(own_listeners);
    out
}

fn ports(node: &Node) -> Vec<Inbound> {
    let mut by_target: BTreeMap<u32, Inbound> = BTreeMap::new();
    if node.scope.ingress().is_empty() {
        for target in &node.targets {
            if matches!(target.target, 15001 | 15006 | 15021 | 15090) {
                continue;
            }
            let inbound = Inbound {
                bind: "0.0.0.0".to_owned(),
                bind_to_port: false,
                port: target.port.number,
                port_name: target.port.name.clone(),
                service: Some(target.service.clone()),
                target: target.target,
                protocol: target.port.protocol,
                cluster: format!("inbound|{}||", target.target),
                hostname: target.service.hostname.clone(),
                metadata: Value::Null,
                passthrough: false,
                tls: Value::Null,
                origins: vec![target.service.origin.clone()],
            };
            match by_target.get(&target.target) {
                None => {
                    by_target.insert(target.target, inbound);
                }
                Some(existing) => report_conflict(node, existing, &inbound),
            }
        }
        return by_target.into_values().collect();
    }
    let sidecar = node.scope.sidecar.as_ref();
    for (index, ingress) in node.scope.ingress().iter().enumerate() {
        let number = unsigned(&ingress["port"]["number"]);
        let bind = match text(&ingress["bind"]) {
            "" => node.proxy.ip.as_str(),
            given => given,
        };
        let protocol = Protocol::parse(text(&ingress["port"]["protocol"]));
        let ends_tls = node.push.settings.tls_on_sidecar_ingress && present(&ingress["tls"]);
        let inbound = Inbound {
            bind: bind.to_owned(),
            bind_to_port: text(&ingress["captureMode"]) == "NONE",
            port: number,
            port_name: text(&ingress["port"]["name"]).to_owned(),
            service: None,
            target: number,
            protocol: match protocol {
                Protocol::Https if ends_tls => Protocol::Http,
                Protocol::Tls if ends_tls => Protocol::Tcp,
                protocol => protocol,
            },
            cluster: format!("inbound|{number}||"),
            hostname: format!("{}.{}", node.scope.name, node.scope.namespace),
            metadata: sidecar
                .map_or(Value::Null, |s| config_metadata(&s.config_path("networking.istio.io", "sidecar"))),
            passthrough: false,
            tls: if ends_tls { ingress["tls"].clone() } else { Value::Null },
            origins: sidecar.map(|s| s.origin(format!("/spec/ingress/{index}"))).into_iter().collect(),
        };
        by_target.entry(number).or_insert(inbound);
    }
    by_target.into_values().collect()
}

fn report_conflict(node: &Node, existing: &Inbound, incoming: &Inbound) {
    if existing.protocol != incoming.protocol && existing.hostname != incoming.hostname {
        let message = format!(
            "Conflicting inbound listener:{}. existing: {}, incoming: {}",
            incoming.target, existing.hostname, incoming.hostname
        );
        node.push.report.metric("pilot_conflict_inbound_listener", &node.id(), &node.id(), &message);
    }
}

impl Inbound {
    fn name(&self, http: bool) -> String {
        match (self.passthrough, http) {
            (true, true) => "virtualInbound-catchall-http".to_owned(),
            (true, false) => "virtualInbound".to_owned(),
            _ => format!("{}_{}", self.bind, self.target),
        }
    }
}

fn chains_of(node: &Node, inbound: &Inbound, mode: Mode) -> Vec<Value> {
    let protocol = inbound.protocol.listener();
    if mode == Mode::Disable && present(&inbound.tls) {
        let form = form(&[], "tls", protocol == ListenerProtocol::Http, true);
        let mut chain = chain(node, inbound, &form);
        chain["transportSocket"] = tls::server(node, &inbound.tls, false);
        return vec![chain];
    }
    forms(mode, protocol).iter().map(|form| chain(node, inbound, form)).collect()
}

fn chain(node: &Node, inbound: &Inbound, form: &Form) -> Value {
    let mut found = Map::new();
    put(&mut found, "applicationProtocols", json!(form.application_protocols));
    put(&mut found, "transportProtocol", Value::from(form.transport_protocol));
    put(&mut found, "destinationPort", Value::from(inbound.target));
    let filters = if form.http {
        vec![http(node, inbound)]
    } else {
        let mut fields = Map::new();
        let subject = Subject {
            host: &inbound.hostname,
            service: inbound.service.as_deref(),
            subset: "",
            port: inbound.port,
            port_name: &inbound.port_name,
            target_port: 0,
        };
        let stat_prefix = stat_name::inbound_listener(node, &subject).unwrap_or_else(|| inbound.cluster.clone());
        fields.insert("statPrefix".to_owned(), Value::from(stat_prefix));
        fields.insert("cluster".to_owned(), Value::from(inbound.cluster.as_str()));
        let proxy = tcp_proxy(node, Class::SidecarInbound, fields, true);
        complete(node, Class::SidecarInbound, proxy, inbound.protocol)
    };
    let mut out = into_map(json!({
        "name": inbound.name(form.http),
        "filterChainMatch": found,
        "filters": filters,
    }));
    put(&mut out, "metadata", inbound.metadata.clone());
    if form.tls {
        out.insert("transportSocket".to_owned(), tls::inbound_mtls(node));
    }
    Value::Object(out)
}

fn http(node: &Node, inbound: &Inbound) -> Value {
    let headers = ProxyHeaders::read(node, Class::SidecarInbound);
    let mut fields = Map::new();
    headers.apply(&mut fields);
    fields.insert("forwardClientCertDetails".to_owned(), Value::from(headers.forward_client_cert.as_str()));
    let details = &headers.client_cert_details;
    let mut current = into_map(json!({"subject": details["subject"].as_bool().unwrap_or(true)}));
    for (field, default) in [("uri", true), ("dns", true), ("cert", false), ("chain", false)] {
        put(&mut current, field, json!(details[field].as_bool().unwrap_or(default)));
    }
    fields.insert("setCurrentClientCertDetails".to_owned(), Value::Object(current));
    if inbound.protocol.is_http2() {
        fields.insert("http2ProtocolOptions".to_owned(), json!({}));
    }
    let stat_prefix =
        if inbound.passthrough { format!("{};", inbound.cluster) } else { format!("inbound_{};", inbound.name(true)) };
    let chain = HttpChain {
        class: Class::SidecarInbound,
        protocol: inbound.protocol,
        route_config: String::new(),
        inline: route::inbound_configuration(&inbound.cluster, &inbound.hostname, inbound.port, inbound.protocol),
        stat_prefix,
        use_remote_address: false,
        fields,
        dynamic_host: None,
    };
    connection_manager(node, &chain, "")
}

fn listener(
    node: &Node,
    name: &str,
    bind: &str,
    port: u32,
    bind_to_port: bool,
    chains: Vec<Value>,
    origins: Vec<Origin>,
) -> Resource {
    let filters = listener_filters(&chains, bind_to_port);
    let mut body = into_map(json!({
        "name": name,
        "address": socket_address(bind, port),
        "trafficDirection": "INBOUND",
        "continueOnListenerFiltersTimeout": true,
        "maxConnectionsToAcceptPerSocketEvent": 1,
        "listenerFiltersTimeout": node.push.mesh.protocol_detection_timeout,
    }));
    put(&mut body, "accessLog", listener_logs(node, Class::SidecarInbound));
    put(&mut body, "listenerFilters", Value::Array(filters));
    body.insert("filterChains".to_owned(), Value::Array(chains));
    Resource::new(name, Value::Object(body), origins)
}

/// Inspectors run only where a chain needs them: each port either way is written as an exception.
fn listener_filters(chains: &[Value], bind_to_port: bool) -> Vec<Value> {
    let mut needs: BTreeMap<u32, (bool, bool)> = BTreeMap::new();
    for chain in chains {
        let found = &chain["filterChainMatch"];
        let plain_http = super::super::json::list(&found["applicationProtocols"]);
        let entry = needs.entry(unsigned(&found["destinationPort"])).or_default();
        entry.0 |= text(&found["transportProtocol"]) == "tls";
        entry.1 |= plain_http.iter().any(|p| matches!(text(p), "http/1.1" | "h2c"));
    }
    let mut out = Vec::new();
    if !bind_to_port {
        out.push(original_destination());
    }
    if needs.values().any(|n| n.0) {
        let mut filter = tls_inspector();
        let by_default = needs.get(&0).is_some_and(|n| n.0);
        let exceptions: Vec<u32> =
            needs.iter().filter(|(p, n)| **p != 0 && n.0 != by_default).map(|(p, _)| *p).collect();
        if !exceptions.is_empty() {
            let ports = port_predicate(&exceptions);
            filter["filterDisabled"] = if by_default { ports } else { json!({"notMatch": ports}) };
        }
        out.push(filter);
    }
    if needs.values().any(|n| n.1) {
        let mut filter = http_inspector();
        let exceptions: Vec<u32> = needs.iter().filter(|(_, n)| !n.1).map(|(p, _)| *p).collect();
        if !exceptions.is_empty() {
            filter["filterDisabled"] = port_predicate(&exceptions);
        }
        out.push(filter);
    }
    out
}

fn port_predicate(ports: &[u32]) -> Value {
    let range = |port: &u32| {
        let mut out = Map::new();
        put(&mut out, "start", Value::from(*port));
        out.insert("end".to_owned(), Value::from(port + 1));
        json!({"destinationPortRange": out})
    };
    match ports {
        [one] => range(one),
        several => json!({"orMatch": {"rules": several.iter().map(range).collect::<Value>()}}),
    }
}

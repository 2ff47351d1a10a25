//! Merging: the servers of all Gateways that select the proxy, by port.

use crate::mesh::Origin;
use crate::mesh::json::{labels, labels_match, list, present, text, unsigned};
use crate::mesh::node::Node;
use crate::mesh::object::{Object, sort};
use crate::mesh::protocol::Protocol;
use crate::mesh::registry::kubernetes::Target;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// One server of a Gateway on one resolved port.
#[derive(Debug)]
pub struct Server {
    object: Object,
    /// Its place in the Gateway.
    pub place: usize,
    /// `./` and `*/` resolved: `ns/host` or `host`.
    pub hosts: Vec<String>,
    /// `ns/name`.
    pub gateway: String,
    pub protocol: Protocol,
    pub number: u32,
    pub port_name: String,
    /// The route configuration of an HTTP server, else "".
    pub route_name: String,
    pub origin: Origin,
}

impl Server {
    /// `resolved`: the port behind the gateway's Service.
    fn read(object: &Object, place: usize, resolved: u32) -> Self {
        let spec = &object.spec()["servers"][place];
        let mut server = Self {
            object: object.clone(),
            place,
            hosts: resolve_hosts(spec, &object.namespace),
            gateway: format!("{}/{}", object.namespace, object.name),
            protocol: Protocol::parse(text(&spec["port"]["protocol"])),
            number: unsigned(&spec["port"]["number"]),
            port_name: text(&spec["port"]["name"]).to_owned(),
            route_name: String::new(),
            origin: object.origin(format!("/spec/servers/{place}")),
        };
        server.route_name = route_name(&server, object, resolved, text(&spec["bind"]));
        server
    }

    pub fn spec(&self) -> &Value {
        &self.object.spec()["servers"][self.place]
    }

    pub fn tls(&self) -> &Value {
        &self.spec()["tls"]
    }

    pub fn has_tls(&self) -> bool {
        present(self.tls())
    }

    fn tls_mode(&self) -> &str {
        text(&self.tls()["mode"])
    }

    /// Neither end of TLS is here. PASSTHROUGH is the mode that a `tls` without one has.
    pub fn passes_through(&self) -> bool {
        self.has_tls() && matches!(self.tls_mode(), "PASSTHROUGH" | "AUTO_PASSTHROUGH" | "")
    }

    pub fn auto_passthrough(&self) -> bool {
        self.tls_mode() == "AUTO_PASSTHROUGH"
    }

    /// HTTP, or HTTPS that is not passed through.
    pub fn is_http(&self) -> bool {
        self.protocol.is_http() || (self.protocol == Protocol::Https && !self.passes_through())
    }

    pub fn terminates_https(&self) -> bool {
        self.protocol == Protocol::Https && self.has_tls() && !self.passes_through()
    }

    /// TLS settings on anything but HTTP (where they can only redirect).
    fn is_tls(&self) -> bool {
        self.has_tls() && !self.protocol.is_http()
    }

    /// Ends TLS for something that is not HTTP.
    pub fn terminates_tcp(&self) -> bool {
        !self.passes_through() && !self.protocol.is_http() && self.protocol != Protocol::Https
    }

    /// Host names for SNI, sorted.
    pub fn server_names(&self) -> Vec<String> {
        let names: BTreeSet<String> =
            self.hosts.iter().map(|h| h.split_once('/').map_or(h.as_str(), |(_, host)| host).to_owned()).collect();
        names.into_iter().collect()
    }
}

/// A listener's identity: number, protocol as written, bind.
pub type ServerPort = (u32, String, String);

#[derive(Debug, Default)]
pub struct Merged {
    /// In the order in which ports were first seen.
    pub ports: Vec<ServerPort>,
    pub servers: HashMap<ServerPort, Vec<Arc<Server>>>,
    /// The route configuration of a plain port.
    pub route_names: HashMap<ServerPort, String>,
    pub by_route: BTreeMap<String, Vec<Arc<Server>>>,
    pub passes_through: bool,
}

/// What merging remembers between servers.
#[derive(Default)]
struct State {
    ports: HashSet<u32>,
    plain: HashMap<u32, ServerPort>,
    tls_binds: HashMap<u32, HashSet<String>>,
    /// Port, then host, to bind.
    tls_hosts: HashMap<u32, HashMap<String, String>>,
}

impl Merged {
    /// `None` when no Gateway selects the proxy.
    pub fn of(node: &Node) -> Option<Self> {
        let mut gateways: Vec<Object> = node.objects("Gateway").filter(|g| selects(node, g)).cloned().collect();
        if gateways.is_empty() {
            return None;
        }
        sort(&mut gateways);
        let mut merged = Self::default();
        let mut state = State::default();
        for gateway in &gateways {
            let mut names = HashSet::new();
            for (index, spec) in list(&gateway.spec()["servers"]).iter().enumerate() {
                let name = text(&spec["name"]);
                if !name.is_empty() && !names.insert(name) {
                    node.push.report.warn(format!(
                        "model\tServer name {name} is not unique in gateway {}/{} and may create possible issues like stat prefix collision ",
                        gateway.namespace, gateway.name
                    ));
                }
                for resolved in resolved_ports(node, gateway, unsigned(&spec["port"]["number"])) {
                    if present(&spec["port"]) {
                        merged.add(node, &mut state, gateway, index, resolved);
                    }
                }
            }
        }
        Some(merged)
    }

    fn add(&mut self, node: &Node, state: &mut State, gateway: &Object, index: usize, resolved: u32) {
        let spec = &gateway.spec()["servers"][index];
        let protocol_name = text(&spec["port"]["protocol"]).to_owned();
        let bind = text(&spec["bind"]).to_owned();
        let key = (gateway.namespace.clone(), gateway.name.clone(), index, resolved);
        let read = || Arc::new(Server::read(gateway, index, resolved));
        let server = node.memo.pieces.servers.get(node, key, gateway.clone(), read);
        if server.has_tls() {
            let known = state.tls_hosts.entry(resolved).or_default();
            let duplicates = duplicates(&server.hosts, &bind, known);
            if !duplicates.is_empty() {
                node.push.report.warn(format!(
                    "model\tskipping server on gateway {}, duplicate host names: [{}]",
                    server.gateway,
                    duplicates.join(" ")
                ));
                return;
            }
            self.passes_through |= server.auto_passthrough();
        }
        let port: ServerPort = (resolved, protocol_name, bind);
        if state.ports.insert(resolved) {
            self.add_new(state, port, server);
        } else if let Some(current) = state.plain.get(&resolved).cloned() {
            self.add_to_plain(node, state, &current, port, server, gateway);
        } else {
            self.add_to_tls(node, state, port, server, gateway);
        }
    }

    /// The first server of a port, or of a bind.
    fn add_new(&mut self, state: &mut State, port: ServerPort, server: Arc<Server>) {
        if !server.is_tls() {
            state.plain.insert(port.0, port.clone());
        }
        if server.is_http() {
            self.by_route.insert(server.route_name.clone(), vec![server.clone()]);
        }
        self.route_names.insert(port.clone(), server.route_name.clone());
        self.servers.insert(port.clone(), vec![server]);
        self.ports.push(port);
    }

    fn add_to_plain(
        &mut self,
        node: &Node,
        state: &mut State,
        current: &ServerPort,
        port: ServerPort,
        server: Arc<Server>,
        gateway: &Object,
    ) {
        let current_protocol = Protocol::parse(&current.1);
        let same_bind = current.2 == port.2;
        let mergeable =
            (server.protocol.is_http() || server.protocol == current_protocol) && current_protocol.is_http();
        if !mergeable && same_bind {
            node.push.report.info(format!(
                "model\tskipping server on gateway {} port {}.{}.{}: conflict with existing server {}.{}",
                gateway.name, server.port_name, port.0, port.1, port.0, port.1
            ));
            return;
        }
        if server.route_name.is_empty() && same_bind {
            return;
        }
        if !same_bind {
            match self.servers.get_mut(&port) {
                None => self.add_new(state, port, server),
                Some(servers) => {
                    self.route_names.insert(port, server.route_name.clone());
                    self.by_route.entry(server.route_name.clone()).or_default().push(server.clone());
                    servers.push(server);
                }
            }
            return;
        }
        self.by_route.entry(server.route_name.clone()).or_default().push(server.clone());
        self.servers.entry(current.clone()).or_default().push(server);
    }

    fn add_to_tls(&mut self, node: &Node, state: &mut State, port: ServerPort, server: Arc<Server>, gateway: &Object) {
        if !server.is_tls() {
            state.plain.insert(port.0, port.clone());
            if server.is_http() {
                self.by_route.insert(server.route_name.clone(), vec![server.clone()]);
            }
            self.route_names.insert(port.clone(), server.route_name.clone());
            self.servers.insert(port.clone(), vec![server]);
            self.ports.push(port);
            return;
        }
        if server.is_http() {
            if server.route_name.is_empty() {
                return;
            }
            if self.by_route.contains_key(&server.route_name) {
                node.push.report.info(format!(
                    "model\tskipping server on gateway {} port {}.{}.{}: non unique port name for HTTPS port",
                    gateway.name, server.port_name, port.0, port.1
                ));
                return;
            }
            self.by_route.insert(server.route_name.clone(), vec![server.clone()]);
        }
        state.tls_binds.entry(port.0).or_default().insert(port.2.clone());
        match self.servers.get_mut(&port) {
            Some(servers) => servers.push(server),
            None => {
                self.servers.insert(port.clone(), vec![server]);
                self.ports.push(port);
            }
        }
    }
}

/// Names the Services whose workloads a Gateway is for, instead of a selector.
const GATEWAY_SERVICE: &str = "internal.istio.io/gateway-service";

fn named_services(gateway: &Object) -> Option<Vec<&str>> {
    gateway.annotations.get(GATEWAY_SERVICE).map(|names| names.split(',').collect())
}

/// The proxy's own ports of Services that a Gateway names; of its own namespace.
fn named_targets<'a>(node: &'a Node, gateway: &Object, names: &[&str]) -> impl Iterator<Item = &'a Target> {
    node.targets
        .iter()
        .filter(|t| t.service.namespace == gateway.namespace && names.contains(&t.service.hostname.as_str()))
}

fn selects(node: &Node, gateway: &Object) -> bool {
    if let Some(names) = named_services(gateway) {
        return named_targets(node, gateway, &names).next().is_some();
    }
    let selector = &gateway.spec()["selector"];
    !present(selector) || labels_match(&labels(selector), &node.proxy.labels)
}

/// The ports behind the gateway's Service: the first target of a Service port with that number, else the number
/// itself; of a Gateway that names its Services, all their targets.
fn resolved_ports(node: &Node, gateway: &Object, number: u32) -> Vec<u32> {
    if let Some(names) = named_services(gateway) {
        let found: BTreeSet<u32> =
            named_targets(node, gateway, &names).filter(|t| t.port.number == number).map(|t| t.target).collect();
        return found.into_iter().collect();
    }
    let translated = node
        .targets
        .iter()
        .filter(|t| !t.service.labels.contains_key("experimental.istio.io/disable-gateway-port-translation"))
        .find(|t| t.port.number == number)
        .map_or(number, |t| t.target);
    vec![translated]
}

fn resolve_hosts(spec: &Value, namespace: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for host in list(&spec["hosts"]).iter().map(text) {
        match host.split_once('/') {
            Some((".", name)) => out.push(format!("{namespace}/{name}")),
            Some(("*", "*")) => return vec!["*".to_owned()],
            Some(("*", name)) => out.push(name.to_owned()),
            _ => out.push(host.to_owned()),
        }
    }
    out
}

/// Hosts that a server of the same bind already has; notes the others when there are none.
pub fn duplicates(hosts: &[String], bind: &str, known: &mut HashMap<String, String>) -> Vec<String> {
    let found: Vec<String> = hosts.iter().filter(|h| known.get(*h).is_some_and(|b| b == bind)).cloned().collect();
    if found.is_empty() {
        known.extend(hosts.iter().map(|h| (h.clone(), bind.to_owned())));
    }
    found
}

fn route_name(server: &Server, gateway: &Object, resolved: u32, bind: &str) -> String {
    let bind = if bind.is_empty() { String::new() } else { format!(".{bind}") };
    if server.protocol.is_http() {
        return format!("http.{resolved}{bind}");
    }
    if server.protocol == Protocol::Https && !server.passes_through() {
        let Server { number, port_name, .. } = server;
        return format!("https.{number}.{port_name}.{}.{}{bind}", gateway.name, gateway.namespace);
    }
    String::new()
}

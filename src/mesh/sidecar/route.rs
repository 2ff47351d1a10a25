//! Route configurations of sidecars: the virtual hosts of a port.

use super::virtual_outbound::{catch_all_cluster, policy_origin};
use crate::mesh::host::{is_wildcard, matches};
use crate::mesh::json::{into_map, list, put, text};
use crate::mesh::listener::Class;
use crate::mesh::listener::http::ProxyHeaders;
use crate::mesh::node::Node;
use crate::mesh::protocol::Protocol;
use crate::mesh::registry::service::{Port, Registry, Resolution, Service};
use crate::mesh::route::action::{hash_of_port, hash_policy};
use crate::mesh::route::http::{Context, Route, routes};
use crate::mesh::route::{alternate_hosts, default_outbound, domain_name};
use crate::mesh::scope::EgressListener;
use crate::mesh::virtual_service::VirtualService;
use crate::mesh::{Origin, Resource};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The route configurations that the listeners ask for.
pub fn build(node: &Node, listeners: &[Resource]) -> Vec<Resource> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for listener in listeners {
        let chains =
            listener.body.list("filterChains").chain(std::iter::once(listener.body.field("defaultFilterChain")));
        for filter in chains.flat_map(|c| list(&c["filters"])) {
            let name = text(&filter["typedConfig"]["rds"]["routeConfigName"]);
            if !name.is_empty() {
                names.insert(name.to_owned());
            }
        }
    }
    let mut by_port: HashMap<u32, Vec<VirtualHost>> = HashMap::new();
    names.iter().map(|name| configuration(node, name, &mut by_port)).collect()
}

/// A virtual host and the origins of its routes.
#[derive(Debug, Clone)]
struct VirtualHost {
    name: String,
    domains: Vec<String>,
    routes: Vec<Route>,
    origins: Vec<Origin>,
}

fn configuration(node: &Node, name: &str, by_port: &mut HashMap<u32, Vec<VirtualHost>>) -> Resource {
    let sniffed = !name.starts_with("unix://") && name.contains(':');
    let port = match name {
        "http_proxy" => Some(0),
        unix if unix.starts_with("unix://") => Some(0),
        other => other.rsplit(':').next().and_then(|p| p.parse::<u32>().ok()),
    };
    let Some(port) = port else {
        let body = json!({"name": name, "validateClusters": false});
        return Resource::new(name, body, Vec::new());
    };
    let mut hosts = match by_port.get(&port).filter(|_| sniffed && port != 0) {
        Some(known) => known.clone(),
        None => {
            let built = virtual_hosts(node, name, port);
            if port > 0 {
                by_port.insert(port, built.clone());
            }
            built
        }
    };
    if sniffed {
        hosts = of_service(hosts, name);
    }
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    write(node, name, hosts, !sniffed)
}

/// The one virtual host of a sniffed port's own address.
fn of_service(hosts: Vec<VirtualHost>, name: &str) -> Vec<VirtualHost> {
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    let mut found: Vec<VirtualHost> =
        hosts.into_iter().filter(|h| h.domains.iter().any(|d| d == name || d == host)).collect();
    if let [only] = found.as_mut_slice() {
        only.domains = vec!["*".to_owned()];
    }
    found
}

fn write(node: &Node, name: &str, hosts: Vec<VirtualHost>, with_catch_all: bool) -> Resource {
    let headers = ProxyHeaders::read(node, Class::SidecarOutbound);
    let mut origins = Vec::new();
    let mut written: Vec<Value> = Vec::new();
    for (index, host) in hosts.into_iter().enumerate() {
        let at: Arc<str> = format!("/virtualHosts/{index}").into();
        origins.extend(host.origins.into_iter().map(|o| Origin { at: at.clone(), ..o }));
        let mut routes = Vec::new();
        for (number, route) in host.routes.into_iter().enumerate() {
            origins.extend(route.origin.map(|o| Origin { at: format!("{at}/routes/{number}").into(), ..o }));
            routes.push(route.body);
        }
        let mut out = into_map(json!({"name": host.name, "domains": host.domains, "routes": routes}));
        put(&mut out, "includeRequestAttemptCount", json!(headers.attempt_count));
        written.push(Value::Object(out));
    }
    if with_catch_all {
        origins.extend(policy_origin(node, &format!("/virtualHosts/{}", written.len())));
        written.push(catch_all(node, &headers));
    }
    let mut body = into_map(json!({
        "name": name,
        "validateClusters": false,
        "ignorePortInHostMatching": true,
        "maxDirectResponseBodySizeBytes": 1_048_576,
    }));
    put(&mut body, "virtualHosts", Value::Array(written));
    Resource::new(name, Value::Object(body), origins)
}

fn catch_all(node: &Node, headers: &ProxyHeaders) -> Value {
    let (name, key, action) = if node.allows_any() {
        let mut action = into_map(json!({"cluster": catch_all_cluster(node), "timeout": "0s", "maxGrpcTimeout": "0s"}));
        put(&mut action, "appendXForwardedHost", json!(headers.forwarded_host));
        ("allow_any", "route", Value::Object(action))
    } else {
        ("block_all", "directResponse", json!({"status": 502}))
    };
    let mut out = into_map(json!({
        "name": name,
        "domains": ["*"],
        "routes": [{"name": name, "match": {"prefix": "/"}, key: action}],
    }));
    put(&mut out, "includeRequestAttemptCount", json!(headers.attempt_count));
    Value::Object(out)
}

/// Virtual hosts that share routes.
struct Wrapper {
    port: u32,
    hosts: Vec<String>,
    services: Vec<Arc<Service>>,
    routes: Vec<Route>,
}

fn virtual_hosts(node: &Node, name: &str, port: u32) -> Vec<VirtualHost> {
    let Some(egress) = node.scope.listener_for_routes(port, name) else { return Vec::new() };
    let proxy_port =
        Protocol::parse(text(&egress.spec["port"]["protocol"])) == Protocol::HttpProxy && egress.port().is_some();
    let port = if proxy_port { 0 } else { port };
    let mut services: BTreeMap<String, Arc<Service>> = BTreeMap::new();
    for service in &egress.services {
        if port == 0 {
            services.insert(service.hostname.clone(), service.clone());
        } else if let Some(found) = service.port(port) {
            let hostname = service.hostname.to_lowercase();
            let ports = vec![found.clone()];
            services.insert(hostname.clone(), Arc::new(Service { hostname, ports, ..(**service).clone() }));
        }
    }
    let wrappers = wrappers(node, egress, services, port);
    assemble(node, wrappers, port)
}

fn wrappers(
    node: &Node,
    egress: &EgressListener,
    mut services: BTreeMap<String, Arc<Service>>,
    port: u32,
) -> Vec<Wrapper> {
    let mut out = Vec::new();
    let wildcards: Vec<&String> = services.keys().filter(|host| is_wildcard(host)).collect();
    for virtual_service in &egress.virtual_services {
        // Port 80 also serves hosts that no service has.
        if port != 80 && !concerns(virtual_service, &services, &wildcards) {
            continue;
        }
        let find = |host: &str| services.get(host).cloned();
        let context = Context { node, gateway: "mesh", port, tls: false, service: &find };
        let built = routes(&context, virtual_service);
        if built.is_empty() {
            continue;
        }
        let (hosts, matching) = split_hosts(virtual_service, &services, egress);
        let mut by_port: BTreeMap<u32, Vec<Arc<Service>>> = BTreeMap::new();
        for service in matching {
            for one in service.ports.iter().filter(|p| p.protocol.is_http_or_sniffed()) {
                by_port.entry(one.number).or_default().push(service.clone());
            }
        }
        if by_port.is_empty() && port == 80 {
            by_port.insert(80, Vec::new());
        }
        out.extend(by_port.into_iter().map(|(port, services)| Wrapper {
            port,
            hosts: hosts.clone(),
            services,
            routes: built.clone(),
        }));
    }
    for wrapper in &out {
        for service in &wrapper.services {
            services.remove(&service.hostname);
        }
    }
    for service in services.values().filter(|s| s.resolution != Resolution::Alias) {
        for one in service.ports.iter().filter(|p| p.protocol.is_http_or_sniffed()) {
            out.push(default_wrapper(node, service, one));
        }
    }
    out
}

fn default_wrapper(node: &Node, service: &Arc<Service>, port: &Port) -> Wrapper {
    let cluster = crate::mesh::cluster::outbound_name(port.number, "", &service.hostname);
    let mut body = default_outbound(node, &cluster, &service.hostname, port.number);
    let mut origin = service.origin.clone();
    if let Some(rule) = node.scope.rule(node.proxy, &service.hostname, true)
        && let Some(policy) = hash_policy(&hash_of_port(rule, port.number))
    {
        body["route"]["hashPolicy"] = json!([policy]);
        origin = rule.policy_origin().clone();
    }
    Wrapper {
        port: port.number,
        hosts: Vec::new(),
        services: vec![service.clone()],
        routes: vec![Route { body, origin: Some(origin) }],
    }
}

/// Whether a VirtualService is about any of the services, of which `wildcards` have a wildcard as their host.
fn concerns(
    virtual_service: &VirtualService,
    services: &BTreeMap<String, Arc<Service>>,
    wildcards: &[&String],
) -> bool {
    virtual_service.hosts.iter().map(|h| h.to_lowercase()).any(|host| {
        services.contains_key(&host)
            || wildcards.iter().any(|s| matches(&host, s))
            || (is_wildcard(&host) && services.keys().any(|s| matches(&host, s)))
    })
}

/// Hosts that are no service, and the services that the others stand for.
fn split_hosts(
    virtual_service: &VirtualService,
    services: &BTreeMap<String, Arc<Service>>,
    egress: &EgressListener,
) -> (Vec<String>, Vec<Arc<Service>>) {
    let (mut other, mut found) = (Vec::new(), Vec::new());
    let (wildcards, exact): (Vec<&String>, Vec<&String>) = virtual_service.hosts.iter().partition(|h| is_wildcard(h));
    for host in exact {
        match services.get(&host.to_lowercase()) {
            Some(service) => found.push(service.clone()),
            None => other.push(host.clone()),
        }
    }
    let own = |service: &Arc<VirtualService>| service.object.is_same_as(&virtual_service.object);
    for host in wildcards {
        let host = host.to_lowercase();
        let fitting: Vec<&Arc<Service>> = services.values().filter(|s| matches(&s.hostname, &host)).collect();
        if fitting.is_empty() {
            other.push(host);
            continue;
        }
        // A service takes the routes of the VirtualService whose host fits it best.
        found.extend(fitting.into_iter().filter(|s| egress.most_specific(&s.hostname).is_some_and(own)).cloned());
    }
    (other, found)
}

fn assemble(node: &Node, wrappers: Vec<Wrapper>, port: u32) -> Vec<VirtualHost> {
    let mut seen = Seen::default();
    for service in wrappers.iter().flat_map(|w| w.services.iter().map(move |s| (w.port, s))) {
        seen.known.insert(domain_name(&service.1.hostname, service.0));
        seen.known.insert(service.1.hostname.clone());
    }
    let mut by_port: BTreeMap<u32, Vec<VirtualHost>> = BTreeMap::new();
    for wrapper in wrappers.iter().filter(|w| !w.routes.is_empty()) {
        let mut built = Vec::new();
        for host in &wrapper.hosts {
            built.extend(seen.virtual_host(node, &host.to_lowercase(), wrapper, None, port));
        }
        for service in &wrapper.services {
            built.extend(seen.virtual_host(node, &service.hostname, wrapper, Some(service), port));
        }
        by_port.entry(wrapper.port).or_default().extend(built);
    }
    if port != 0 {
        return by_port.remove(&port).unwrap_or_default();
    }
    let mut out = Vec::new();
    for (number, hosts) in by_port {
        for mut host in hosts {
            if number != 80 {
                host.domains.retain(|d| d.contains(':'));
            }
            if !host.domains.is_empty() {
                out.push(host);
            }
        }
    }
    out
}

/// Names and domains that are taken.
#[derive(Default)]
struct Seen {
    names: HashSet<String>,
    domains: HashSet<String>,
    known: HashSet<String>,
}

impl Seen {
    fn virtual_host(
        &mut self,
        node: &Node,
        host: &str,
        wrapper: &Wrapper,
        service: Option<&Arc<Service>>,
        listener_port: u32,
    ) -> Option<VirtualHost> {
        let name = domain_name(host, wrapper.port);
        let what = if service.is_some() { "service" } else { "virtual service" };
        let duplicate = || {
            let message = format!("duplicate domain from {what}: {name}");
            node.push.report.metric("pilot_vservice_dup_domain", &name, &node.id(), &message);
        };
        if !self.names.insert(name.clone()) {
            duplicate();
            return None;
        }
        let (domains, alternates) = match service {
            None => (vec![bracketed(host)], Vec::new()),
            Some(service) => domains(node, service, listener_port, wrapper.port),
        };
        let before = domains.len();
        let mut kept = Vec::new();
        for domain in domains {
            let lower = domain.to_lowercase();
            if self.domains.contains(&lower) || (alternates.contains(&domain) && self.known.contains(&domain)) {
                continue;
            }
            self.domains.insert(lower);
            kept.push(domain);
        }
        if kept.len() != before {
            duplicate();
        }
        if kept.is_empty() {
            return None;
        }
        let origins = service.map(|s| s.origin.clone()).into_iter().collect();
        Some(VirtualHost { name, domains: kept, routes: wrapper.routes.clone(), origins })
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The domains of a service, and which of them are its other names.
fn domains(node: &Node, service: &Service, listener_port: u32, port: u32) -> (Vec<String>, Vec<String>) {
    // The explicit HTTP proxy matches `host:port` too; others ignore ports.
    let with_port = |host: &str| {
        let mut out = vec![bracketed(host)];
        if listener_port == 0 {
            out.push(domain_name(host, port));
        }
        out
    };
    let (mut all, mut alternates) = (Vec::new(), Vec::new());
    for host in std::iter::once(&service.hostname).chain(&service.aliases) {
        let others: Vec<String> = if listener_port == 0 {
            alternate_hosts(node, host).iter().flat_map(|h| [h.clone(), domain_name(h, port)]).collect()
        } else {
            alternate_hosts(node, host)
        };
        all.extend(with_port(host));
        all.extend(others.iter().cloned());
        alternates.extend(others);
    }
    if service.resolution == Resolution::Passthrough && service.registry == Registry::Kubernetes {
        let wildcards: Vec<String> = all.iter().map(|d| format!("*.{d}")).collect();
        all.extend(wildcards);
    }
    for address in service.all_addresses(node.captures_dns) {
        if !address.is_empty() && address != "0.0.0.0" {
            all.extend(with_port(address));
        }
    }
    (all, alternates)
}

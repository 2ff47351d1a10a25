//! Route configurations of gateways.

use super::listener::redirects_to_https;
use super::merge::{Merged, Server};
use crate::mesh::host::subset_of;
use crate::mesh::json::{into_map, list, put, text};
use crate::mesh::listener::Class;
use crate::mesh::listener::http::ProxyHeaders;
use crate::mesh::node::Node;
use crate::mesh::registry::service::Service;
use crate::mesh::route::domain_name;
use crate::mesh::route::http::{Context, Route, catches_all, routes};
use crate::mesh::virtual_service::VirtualService;
use crate::mesh::{Origin, Resource};
use serde_json::{Value, json};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The route configurations that the listeners ask for.
pub fn build(node: &Node, merged: &Merged, listeners: &[Resource]) -> Vec<Resource> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for chain in listeners.iter().flat_map(|l| l.body.list("filterChains")) {
        for filter in list(&chain["filters"]) {
            names.insert(text(&filter["typedConfig"]["rds"]["routeConfigName"]));
        }
    }
    names.remove("");
    names.into_iter().map(|name| configuration(node, merged, name)).collect()
}

struct VirtualHost {
    name: String,
    domains: Vec<String>,
    /// Each with the VirtualService block that it came from: hosts with the same blocks are merged.
    routes: Vec<Route>,
    blocks: Vec<usize>,
    require_tls: bool,
    origins: Vec<Origin>,
}

fn configuration(node: &Node, merged: &Merged, name: &str) -> Resource {
    let servers = merged.by_route.get(name).map_or(&[][..], Vec::as_slice);
    let headers = ProxyHeaders::read(node, Class::Gateway);
    let mut hosts: BTreeMap<String, VirtualHost> = BTreeMap::new();
    let mut built: HashMap<(String, String, String), (usize, Vec<Route>)> = HashMap::new();
    for server in servers {
        for service in node.scope.bound_to(&server.gateway) {
            add_service(node, server, service, &mut hosts, &mut built);
        }
        if redirects_to_https(server) {
            for host in &server.hosts {
                let host = host.to_lowercase();
                hosts.entry(host.clone()).or_insert_with(|| VirtualHost::new(&host, server)).require_tls = true;
            }
        }
    }
    let hosts = if hosts.is_empty() {
        let port = servers.first().map_or(0, |s| s.number);
        node.push.report.warn(format!(
            "constructed http route config for route {name} on port {port} with no vhosts; Setting up a default 404 vhost"
        ));
        return write(name, Vec::new(), Some(port), &headers);
    } else {
        collapse(hosts)
    };
    write(name, hosts, None, &headers)
}

impl VirtualHost {
    fn new(host: &str, server: &Server) -> Self {
        Self {
            name: domain_name(host, server.number),
            domains: vec![host.to_owned()],
            routes: Vec::new(),
            blocks: Vec::new(),
            require_tls: false,
            origins: vec![server.origin.clone()],
        }
    }
}

fn add_service(
    node: &Node,
    server: &Server,
    service: &Arc<VirtualService>,
    hosts: &mut BTreeMap<String, VirtualHost>,
    built: &mut HashMap<(String, String, String), (usize, Vec<Route>)>,
) {
    let found = intersection(server, service);
    if found.is_empty() {
        return;
    }
    let object = &service.object;
    let key = (server.gateway.clone(), object.namespace.clone(), object.name.clone());
    let number = built.len();
    let (block, routes) = built.entry(key).or_insert_with(|| {
        let find = |host: &str| find_service(node, host, &object.namespace);
        let context =
            Context { node, gateway: &server.gateway, port: server.number, tls: server.has_tls(), service: &find };
        (number, routes(&context, service))
    });
    if routes.is_empty() {
        return;
    }
    for host in found {
        let host = host.to_lowercase();
        let target = hosts.entry(host.clone()).or_insert_with(|| VirtualHost::new(&host, server));
        target.routes.extend(routes.iter().cloned());
        target.blocks.push(*block);
        target.require_tls |= redirects_to_https(server);
    }
}

/// A service of the VirtualService's own namespace if the gateway may see it, else the one in scope.
fn find_service(node: &Node, host: &str, namespace: &str) -> Option<Arc<Service>> {
    let push = node.push;
    node.scope
        .in_namespaces(host)
        .and_then(|n| n.get(namespace))
        .filter(|s| s.is_visible_in(&node.proxy.namespace, &push.mesh))
        .or_else(|| node.scope.service(host))
        .cloned()
}

/// Hosts that server and VirtualService share, the narrower of each pair.
fn intersection(server: &Server, service: &VirtualService) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for host in &server.hosts {
        let host = match host.split_once('/') {
            Some((namespace, _)) if namespace != service.object.namespace && namespace != "*" => continue,
            Some((_, host)) => host,
            None => host,
        };
        for other in &service.hosts {
            let narrower = if subset_of(host, other) {
                host
            } else if subset_of(other, host) {
                other
            } else {
                continue;
            };
            if !out.iter().any(|h| h == narrower) {
                out.push(narrower.to_owned());
            }
        }
    }
    out
}

/// Merges hosts with the same routes into the first of them by order of specificity.
fn collapse(hosts: BTreeMap<String, VirtualHost>) -> Vec<VirtualHost> {
    let mut ordered: Vec<(String, VirtualHost)> = hosts.into_iter().collect();
    ordered.sort_by(|(a, _), (b, _)| {
        if crate::mesh::host::more_specific(a, b) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }
    });
    let mut out: Vec<VirtualHost> = Vec::new();
    let mut places: HashMap<(Vec<usize>, bool), usize> = HashMap::new();
    for (_, host) in ordered {
        match places.entry((host.blocks.clone(), host.require_tls)) {
            Entry::Occupied(same) => out[*same.get()].domains.extend(host.domains),
            Entry::Vacant(new) => {
                new.insert(out.len());
                out.push(host);
            }
        }
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    out
}

fn write(name: &str, hosts: Vec<VirtualHost>, blackhole: Option<u32>, headers: &ProxyHeaders) -> Resource {
    let mut origins = Vec::new();
    let mut written = Vec::new();
    if let Some(port) = blackhole {
        written.push(json!({"name": format!("blackhole:{port}"), "domains": ["*"]}));
    }
    for (index, host) in hosts.into_iter().enumerate() {
        let at: Arc<str> = format!("/virtualHosts/{index}").into();
        origins.extend(host.origins.into_iter().map(|o| Origin { at: at.clone(), ..o }));
        // Routes that take everything come last.
        let (last, first): (Vec<Route>, Vec<Route>) = host.routes.into_iter().partition(|r| catches_all(&r.body));
        let mut bodies = Vec::new();
        for (number, route) in first.into_iter().chain(last).enumerate() {
            origins.extend(route.origin.map(|o| Origin { at: format!("{at}/routes/{number}").into(), ..o }));
            bodies.push(route.body);
        }
        let mut out = into_map(json!({"name": host.name, "domains": host.domains}));
        put(&mut out, "routes", Value::Array(bodies));
        put(&mut out, "includeRequestAttemptCount", json!(headers.attempt_count));
        if host.require_tls {
            out.insert("requireTls".to_owned(), Value::from("ALL"));
        }
        written.push(Value::Object(out));
    }
    let body = json!({
        "name": name,
        "virtualHosts": written,
        "validateClusters": false,
        "ignorePortInHostMatching": true,
        "maxDirectResponseBodySizeBytes": 1_048_576,
    });
    Resource::new(name, body, origins)
}

//! Patches to route configurations, virtual hosts and routes.

use super::cluster::parts;
use super::edit::{edit, give, take};
use super::{Context, Kind, Operation, Patch, Patches};
use crate::mesh::Origin;
use crate::mesh::json::{list, text, unsigned};
use crate::mesh::node::Node;
use serde_json::Value;
use std::collections::HashSet;

pub fn patch(patches: &Patches, node: &Node, context: Context, configuration: &mut Value, from: &mut Vec<Origin>) {
    let name = text(&configuration["name"]).to_owned();
    let of = |kind: Kind| -> Vec<&Patch> {
        let all = patches.kind(kind).iter();
        all.filter(|p| p.in_context(context) && takes(&p.at["routeConfiguration"], node, context, &name)).collect()
    };
    for patch in of(Kind::RouteConfiguration).into_iter().filter(|p| p.operation == Operation::Merge) {
        patch.merge(Kind::RouteConfiguration, configuration);
        from.push(patch.origin.clone());
    }
    let (of_hosts, of_routes) = (of(Kind::VirtualHost), of(Kind::HttpRoute));
    if of_hosts.is_empty() && of_routes.is_empty() {
        return;
    }
    let mut hosts = take(configuration, "virtualHosts");
    let mut removed: HashSet<String> = HashSet::new();
    for host in &mut hosts {
        if !virtual_host(&of_hosts, &of_routes, host, from) {
            removed.insert(text(&host["name"]).to_owned());
        }
    }
    for patch in of_hosts.iter().filter(|p| p.operation == Operation::Add) {
        hosts.push(patch.value.clone());
        from.push(patch.origin.clone());
    }
    hosts.retain(|host| !removed.contains(text(&host["name"])));
    give(configuration, "virtualHosts", hosts);
}

/// Tells whether the virtual host stays.
fn virtual_host(of_hosts: &[&Patch], of_routes: &[&Patch], host: &mut Value, from: &mut Vec<Origin>) -> bool {
    for patch in of_hosts {
        if !takes_host(patch, host) {
            continue;
        }
        match patch.operation {
            Operation::Remove => return false,
            Operation::Merge => patch.merge(Kind::VirtualHost, host),
            Operation::Replace => *host = patch.value.clone(),
            _ => continue,
        }
        from.push(patch.origin.clone());
    }
    let applicable: Vec<&&Patch> = of_routes.iter().filter(|p| takes_host(p, host)).collect();
    if applicable.is_empty() {
        return true;
    }
    let mut routes = take(host, "routes");
    let mut kept = Vec::with_capacity(routes.len());
    for mut route in routes.drain(..) {
        let mut stays = true;
        for patch in &applicable {
            if !takes_route(patch, &route) {
                continue;
            }
            match patch.operation {
                Operation::Remove => stays = false,
                Operation::Merge => patch.merge(Kind::HttpRoute, &mut route),
                _ => continue,
            }
            from.push(patch.origin.clone());
            if !stays {
                break;
            }
        }
        if stays {
            kept.push(route);
        }
    }
    for patch in applicable.iter().filter(|p| !matches!(p.operation, Operation::Remove | Operation::Replace)) {
        let specific = patch.at["routeConfiguration"]["vhost"]["route"].is_object();
        let first = patch.operation == Operation::InsertFirst;
        if first && specific && !kept.iter().any(|r| takes_route(patch, r)) {
            continue;
        }
        if edit(&mut kept, patch, specific, |r| takes_route(patch, r)) {
            from.push(patch.origin.clone());
        }
    }
    give(host, "routes", kept);
    true
}

/// `match.routeConfiguration` without its virtual host.
fn takes(wanted: &Value, node: &Node, context: Context, name: &str) -> bool {
    let own = text(&wanted["name"]);
    let port = unsigned(&wanted["portNumber"]);
    if !own.is_empty() && own != name {
        return false;
    }
    if context != Context::Gateway {
        let of_name = if name.starts_with("inbound|") { parts(name).1 } else { name.parse().unwrap_or(0) };
        return port == 0 || port == of_name;
    }
    let (number, port_name, gateway) = of_gateway(name);
    let agrees = |key: &str, is: &str| text(&wanted[key]).is_empty() || text(&wanted[key]) == is;
    let mut services = node.targets.iter().filter(|t| t.target == number).peekable();
    let of_port = match services.peek() {
        _ if port == 0 => true,
        Some(_) => services.any(|t| t.port.number == port),
        None => number == port,
    };
    agrees("portName", port_name) && agrees("gateway", &gateway) && of_port
}

/// Port, port name and `namespace/gateway` of `http.80` or `https.443.name.gateway.namespace`.
fn of_gateway(name: &str) -> (u32, &str, String) {
    let parts: Vec<&str> = name.split('.').collect();
    let port = parts.get(1).and_then(|p| p.parse().ok()).unwrap_or(0);
    match parts.as_slice() {
        ["https", _, port_name, gateway, namespace] => (port, port_name, format!("{namespace}/{gateway}")),
        _ => (port, "", String::new()),
    }
}

fn takes_host(patch: &Patch, host: &Value) -> bool {
    let wanted = &patch.at["routeConfiguration"]["vhost"];
    let (name, domain) = (text(&wanted["name"]), text(&wanted["domainName"]));
    (name.is_empty() || name == text(&host["name"]))
        && (domain.is_empty() || list(&host["domains"]).iter().any(|d| text(d) == domain))
}

fn takes_route(patch: &Patch, route: &Value) -> bool {
    let wanted = &patch.at["routeConfiguration"]["vhost"]["route"];
    let name = text(&wanted["name"]);
    let has = ["route", "redirect", "directResponse"].into_iter().find(|key| !route[*key].is_null());
    let of_action = match (text(&wanted["action"]), has) {
        ("" | "ANY", _) | (_, None) => true,
        ("ROUTE", Some(is)) => is == "route",
        ("REDIRECT", Some(is)) => is == "redirect",
        (_, Some(is)) => is == "directResponse",
    };
    (name.is_empty() || name == text(&route["name"])) && of_action
}

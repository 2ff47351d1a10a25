//! VirtualService: hosts, gateways, TLS and TCP routes.

use super::fields::Fields;
use super::findings::Findings;
use super::headers;
use super::http_route::{self, check_destinations};
use super::names::{
    check_fqdn, check_gateway_domain, check_labels, check_port, check_subnet, check_wildcard_domain, is_dns_label,
    is_subset, overlap,
};
use super::unreachable;
use super::visibility::{self, Exported};
use super::webhook::Meta;
use crate::istio::go::{address::is_address, quote};
use serde_json::Value;

pub(super) fn check(spec: &Value, meta: &Meta) -> Findings {
    let mut found = Findings::default();
    let gateway_api = meta.annotation("internal.istio.io/route-semantics") == Some("gateway");
    let (hosts, gateways) = (spec.texts("hosts"), spec.texts("gateways"));
    let delegate = hosts.is_empty();
    if delegate {
        for (name, what) in [("gateways", "gateways"), ("tls", "tls route"), ("tcp", "tcp route")] {
            if spec.has(name) {
                found.error(format!("delegate virtual service must have no {what} specified"));
            }
        }
    }
    let at_gateway = !gateways.is_empty() && on_gateways_only(&gateways);
    if !gateways.is_empty() {
        found.join(check_gateway_names(&gateways, gateway_api));
    }
    if !at_gateway {
        refuse_claims(spec, &gateways, &mut found);
    }
    check_hosts(spec, &hosts, at_gateway, &mut found);
    if !["http", "tcp", "tls"].iter().any(|name| spec.has(name)) {
        found.error("http, tcp or tls must be provided in virtual service");
    }
    for route in spec.items("http") {
        found.join(http_route::check(route, delegate, gateway_api));
    }
    for route in spec.items("tls") {
        found.join(check_tls_route(route, &hosts, &gateways, gateway_api));
    }
    for route in spec.items("tcp") {
        found.join(check_tcp_route(route, gateway_api));
    }
    found.join(visibility::check(meta.namespace, &spec.texts("exportTo"), Exported::Other));
    for warning in unreachable::warnings(spec) {
        found.warn(warning.text());
    }
    found
}

/// Whether none of the gateways is the mesh; true of no gateway at all.
fn on_gateways_only(gateways: &[&str]) -> bool {
    !gateways.contains(&"mesh")
}

/// Only gateways route by JWT claims.
fn refuse_claims(spec: &Value, gateways: &[&str], found: &mut Findings) {
    for condition in spec.items("http").iter().flat_map(|route| route.items("match")) {
        for name in ["headers", "withoutHeaders"] {
            for (key, _) in condition.entries(name).iter().filter(|(key, _)| headers::is_jwt_claim(key)) {
                found.error(format!(
                    "JWT claim based routing (key: {key}) is only supported for gateway, found no gateways: [{}]",
                    gateways.join(" ")
                ));
            }
        }
    }
}

fn check_hosts(spec: &Value, hosts: &[&str], at_gateway: bool, found: &mut Findings) {
    let routes_by_sni =
        spec.items("tls").iter().flat_map(|route| route.items("match")).any(|condition| condition.has("sniHosts"));
    let mut all_valid = true;
    for host in hosts {
        let checked = if at_gateway { check_gateway_domain(routes_by_sni, host) } else { check_wildcard_domain(host) };
        match checked {
            Err(_) if is_address(host) => {}
            Err(error) => {
                found.error(error);
                all_valid = false;
            }
            Ok(()) if !at_gateway && *host == "*" => {
                found.error("wildcard host * is not allowed for virtual services bound to the mesh gateway");
                all_valid = false;
            }
            Ok(()) => {}
        }
    }
    if all_valid {
        for (index, host) in hosts.iter().enumerate() {
            for other in hosts[index + 1..].iter().filter(|other| overlap(host, other)) {
                found.error(format!("duplicate hosts in virtual service: {host} & {other}"));
            }
        }
    }
}

/// Names of gateways: `namespace/name`, or a plain name, after which istiod looks no further.
pub(super) fn check_gateway_names(names: &[&str], gateway_api: bool) -> Findings {
    let mut found = Findings::default();
    for name in names {
        let Some((namespace, gateway)) = name.split_once('/') else {
            if name.contains('.') {
                let mut parts = name.split('.');
                let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                found.warn(format!(
                    "using legacy gatewayName format {}; prefer the <namespace>/<name> format: {}",
                    quote(name),
                    quote(&format!("{second}/{first}"))
                ));
            }
            found.check(check_fqdn(name));
            return found;
        };
        if namespace.is_empty() || gateway.is_empty() {
            found.error("config namespace and gateway name cannot be empty");
        }
        if !is_dns_label(namespace) {
            found.error(format!("invalid value for namespace: {}", quote(namespace)));
        }
        if !is_dns_label(gateway) && !gateway_api {
            found.error(format!("invalid value for gateway name: {}", quote(gateway)));
        }
    }
    found
}

fn check_tls_route(route: &Value, hosts: &[&str], gateways: &[&str], gateway_api: bool) -> Findings {
    let mut found = Findings::default();
    if !route.has("match") {
        found.error("TLS route must have at least one match condition");
    }
    for condition in route.items("match") {
        if !condition.has("sniHosts") {
            found.error("TLS match must have at least one SNI host");
        }
        for sni in condition.texts("sniHosts") {
            found.join(check_sni(sni, hosts, gateways));
        }
        check_connection(condition, &mut found);
    }
    if !route.has("route") {
        found.error("TLS route is required");
    }
    found.join(check_destinations(route.items("route"), gateway_api));
    found
}

fn check_sni(sni: &str, hosts: &[&str], gateways: &[&str]) -> Findings {
    let checked = if on_gateways_only(gateways) { check_gateway_domain(true, sni) } else { check_wildcard_domain(sni) };
    let mut found = Findings::default();
    match checked {
        Err(_) if is_address(sni) => found.warn(format!(
            "using an IP address ({}) goes against SNI spec and most clients do not support this",
            quote(sni)
        )),
        Err(error) => found.error(error),
        Ok(()) if hosts.iter().any(|host| is_subset(sni, host)) => {}
        Ok(()) => found.error(format!(
            "SNI host {} is not a compatible subset of any of the virtual service hosts: [{}]",
            quote(sni),
            hosts.join(", ")
        )),
    }
    found
}

/// What TLS and TCP matches have in common.
fn check_connection(condition: &Value, found: &mut Findings) {
    for subnet in condition.texts("destinationSubnets") {
        found.check(check_subnet(subnet));
    }
    if condition.has("port") {
        found.check(check_port(condition.number("port")));
    }
    found.join(check_labels(&condition.entries("sourceLabels")));
    found.join(check_gateway_names(&condition.texts("gateways"), false));
}

/// A TCP route; its warnings are lost, as istiod loses them.
fn check_tcp_route(route: &Value, gateway_api: bool) -> Findings {
    let mut found = Findings::default();
    for condition in route.items("match") {
        check_connection(condition, &mut found);
    }
    if !route.has("route") {
        found.error("TCP route is required");
    }
    found.join(check_destinations(route.items("route"), gateway_api));
    found.errors.into()
}

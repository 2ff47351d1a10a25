//! VirtualServices and the Gateways they name: does the gateway exist, does a server fit, does the
//! leg fit what the server does with TLS.

use super::gateway::is_for_mesh;
use super::host;
use super::index::{Index, Leg, Object, Server, gateways_of, legs, servers};
use crate::diag::Diagnostic;
use crate::diag::suggest::nearest;

pub fn check(index: &Index<'_>, found: &mut Vec<Diagnostic>) {
    for service in index.virtual_services.iter().filter(|s| !s.ambient) {
        let missing = gateways_exist(index, service, found);
        let legs = legs(service);
        for leg in &legs {
            named_above(service, leg, found);
            for name in &leg.gateways {
                let Some(gateway) = index.gateway(name, service.namespace) else { continue };
                let fitting: Vec<Server<'_>> =
                    servers(gateway).into_iter().filter(|s| leg.port.is_none_or(|p| p == s.port)).collect();
                if fitting.is_empty() {
                    no_such_port(service, leg, gateway, found);
                }
                for server in &fitting {
                    tls_behind_terminating(service, leg, &legs, name, server, found);
                    tcp_behind_http(service, leg, server, found);
                }
                sni_not_served(service, leg, &fitting, found);
            }
        }
        if !missing {
            bypass(index, service, found);
        }
    }
}

/// `true` when one is missing.
fn gateways_exist(index: &Index<'_>, service: &Object<'_>, found: &mut Vec<Diagnostic>) -> bool {
    let mut missing = false;
    for (i, name) in gateways_of(service).iter().enumerate() {
        if *name == "mesh" || index.gateway(name, service.namespace).is_some() {
            continue;
        }
        missing = true;
        let known: Vec<String> = index
            .gateways
            .iter()
            .map(|g| {
                if g.namespace == service.namespace {
                    g.name.to_string()
                } else {
                    format!("{}/{}", g.namespace, g.name)
                }
            })
            .collect();
        let short = name.rsplit('/').next().unwrap_or(name);
        let elsewhere = known.iter().find(|k| k.rsplit('/').next() == Some(short)).map(String::as_str);
        let why = match elsewhere.or_else(|| nearest(name, known.iter().map(String::as_str))) {
            Some(near) => format!("no Gateway is so named; did you mean `{near}`?"),
            None => "no Gateway is so named among what is applied here".to_string(),
        };
        found.push(
            Diagnostic::warning("W0325", format!("the gateway `{name}` does not exist"))
                .at(service.at(&format!("/spec/gateways/{i}")), why)
                .help(format!("apply a Gateway {short}, or name one as NAME (same namespace) or NAMESPACE/NAME")),
        );
    }
    missing
}

/// A match for a gateway that the VirtualService itself does not name is never used.
fn named_above(service: &Object<'_>, leg: &Leg<'_>, found: &mut Vec<Diagnostic>) {
    let above = gateways_of(service);
    for (i, name) in leg.gateways.iter().enumerate() {
        if !above.contains(name) {
            found.push(
                Diagnostic::warning("W0332", format!("the match names `{name}`, which `spec.gateways` does not"))
                    .at(
                        service.at(&format!("{}/gateways/{i}", leg.pointer)),
                        "this match is never used: the VirtualService is not bound there",
                    )
                    .at(service.at("/spec/gateways"), "bound to these")
                    .help(format!("add `{name}` to spec.gateways")),
            );
        }
    }
}

fn no_such_port(service: &Object<'_>, leg: &Leg<'_>, gateway: Object<'_>, found: &mut Vec<Diagnostic>) {
    let Some(port) = leg.port else { return };
    let ports: Vec<String> = servers(gateway).iter().map(|s| s.port.to_string()).collect();
    found.push(
        Diagnostic::warning("W0334", format!("the gateway `{}` has no server on port {port}", gateway.name))
            .at(
                service.at(&format!("{}/port", leg.pointer)),
                "no server of the gateway listens there, so this match is never used",
            )
            .at(gateway.at("/spec/servers"), format!("its servers: {}", ports.join(", ")))
            .help("a match's port is that of the Gateway's server, not the Service's targetPort"),
    );
}

fn tls_behind_terminating(
    service: &Object<'_>,
    leg: &Leg<'_>,
    legs: &[Leg<'_>],
    gateway: &str,
    server: &Server<'_>,
    found: &mut Vec<Diagnostic>,
) {
    if leg.kind != "tls" || !server.terminates() || server.is_http() {
        return;
    }
    if !leg.sni_hosts.is_empty() && !leg.sni_hosts.iter().any(|h| server.serves(h)) {
        return;
    }
    // With a `tcp` route beside it the server has its chain, and the `tls` route is only idle.
    let tcp =
        |l: &&Leg<'_>| l.kind == "tcp" && l.gateways.contains(&gateway) && l.port.is_none_or(|p| p == server.port);
    if legs.iter().any(|l| tcp(&l)) {
        return;
    }
    let port = server.port;
    found.push(
        Diagnostic::warning("W0320", format!("a `tls` route behind a server that terminates TLS ({} on {port})", server.mode))
            .at(
                service.at(&leg.pointer),
                format!(
                    "the server on {port} terminates TLS, so a `tls` route yields no filter chain and istiod omits the listener (0 chains). Behind a terminating server the leg is `tcp`."
                ),
            )
            .at(server.gateway.at(&format!("{}/tls/mode", server.pointer)), "terminates TLS here")
            .help(format!("move this route under `tcp:`, with match gateways: [{gateway}] and port: {port}, without sniHosts")),
    );
}

/// `protocol: HTTPS` with TLS ended at the gateway is an HTTP listener: it uses `http` routes only.
fn tcp_behind_http(service: &Object<'_>, leg: &Leg<'_>, server: &Server<'_>, found: &mut Vec<Diagnostic>) {
    if leg.kind == "http" || !server.terminates() || !server.is_http() {
        return;
    }
    let port = server.port;
    found.push(
        Diagnostic::warning("W0330", format!("a `{}` route behind an HTTP server ({} on {port})", leg.kind, server.protocol))
            .at(
                service.at(&leg.pointer),
                format!("the server on {port} reads HTTP behind its TLS, so this route is never used and what is not HTTP is answered with 400"),
            )
            .at(server.gateway.at(&format!("{}/port/protocol", server.pointer)), "an HTTP connection manager")
            .help("say `protocol: TLS` in the Gateway to pass bytes on, or write an `http` route"),
    );
}

fn sni_not_served(service: &Object<'_>, leg: &Leg<'_>, fitting: &[Server<'_>], found: &mut Vec<Diagnostic>) {
    // A terminating server beside it is told elsewhere.
    if leg.kind != "tls" || fitting.is_empty() || !fitting.iter().all(Server::passes) {
        return;
    }
    let server = &fitting[0];
    for (i, sni) in leg.sni_hosts.iter().enumerate() {
        if fitting.iter().any(|s| s.serves(sni)) {
            continue;
        }
        let hosts: Vec<&str> = fitting.iter().flat_map(|s| s.hosts.iter().copied()).collect();
        let hosts = hosts.join(", ");
        let title = match fitting {
            [one] => format!("{sni} is not among the hosts of the server on {}", one.port),
            _ => format!("{sni} is not among the hosts of the gateway's servers"),
        };
        found.push(
            Diagnostic::warning("W0324", title)
                .at(
                    service.at(&format!("{}/sniHosts/{i}", leg.pointer)),
                    "the gateway makes no filter chain for this SNI",
                )
                .at(server.gateway.at(&format!("{}/hosts", server.pointer)), format!("serves {hosts}"))
                .help("name the same host in both"),
        );
    }
}

/// An outside host that a gateway serves, and nothing sends the mesh's traffic there.
fn bypass(index: &Index<'_>, service: &Object<'_>, found: &mut Vec<Diagnostic>) {
    if is_for_mesh(service) {
        return;
    }
    let named = service.list("/spec/hosts").iter().filter_map(|h| h.as_str());
    for (i, name) in named.enumerate() {
        let outside = index.entries_of(name).iter().any(|e| e.text("/spec/location") != Some("MESH_INTERNAL"));
        let steered = index.virtual_services.iter().any(|v| {
            is_for_mesh(v) && v.list("/spec/hosts").iter().filter_map(|h| h.as_str()).any(|h| host::overlap(h, name))
        });
        if !outside || steered {
            continue;
        }
        let pointer = if service.get("/spec/gateways").is_some() {
            "/spec/gateways".to_string()
        } else {
            format!("/spec/hosts/{i}")
        };
        found.push(
            Diagnostic::warning("W0326", format!("traffic to {name} bypasses the gateway"))
                .at(service.at(&pointer), "without `mesh` here, sidecars do not use this VirtualService and go out directly")
                .help("add `mesh` to spec.gateways, with a leg `match: [{gateways: [mesh], …}]` that routes to the gateway's Service"),
        );
    }
}

//! Servers of Gateways: hosts that appear twice, and several hosts behind one terminating server.

use super::host::without_namespace;
use super::index::{Index, Server, destinations, gateways_of, legs};
use crate::diag::Diagnostic;

pub fn check(index: &Index<'_>, found: &mut Vec<Diagnostic>) {
    let servers: Vec<Server<'_>> = index.servers().collect();
    duplicates(&servers, found);
    plain_beside_tls(&servers, found);
    for server in servers.iter().filter(|s| !s.gateway.ambient) {
        two_hosts(index, server, found);
    }
}

/// One port speaks HTTP in the clear or TLS, not both.
fn plain_beside_tls(servers: &[Server<'_>], found: &mut Vec<Diagnostic>) {
    for (i, server) in servers.iter().enumerate() {
        let clash = |o: &&Server<'_>| {
            o.port == server.port
                && o.mode.is_empty() != server.mode.is_empty()
                && o.gateway.get("/spec/selector") == server.gateway.get("/spec/selector")
        };
        let Some(other) = servers[..i].iter().find(clash) else { continue };
        let say = |s: &Server<'_>| if s.mode.is_empty() { "in the clear" } else { "TLS" };
        found.push(
            Diagnostic::warning("W0341", format!("port {} is served both in the clear and as TLS", server.port))
                .at(server.gateway.at(&format!("{}/port/protocol", server.pointer)), say(server))
                .at(other.gateway.at(&format!("{}/port/protocol", other.pointer)), say(other))
                .help("one of the two is dropped: give them different ports"),
        );
    }
}

/// istiod merges the servers of all Gateways that select one workload, and skips a TLS server that
/// repeats a host of another on the same port.
fn duplicates(servers: &[Server<'_>], found: &mut Vec<Diagnostic>) {
    for (i, server) in servers.iter().enumerate() {
        if server.mode.is_empty() {
            continue;
        }
        let selector = server.gateway.get("/spec/selector");
        for other in &servers[..i] {
            if other.mode.is_empty() || other.port != server.port || other.gateway.get("/spec/selector") != selector {
                continue;
            }
            let Some(host) = server
                .hosts
                .iter()
                .position(|h| other.hosts.iter().any(|o| without_namespace(o) == without_namespace(h)))
            else {
                continue;
            };
            let name = without_namespace(server.hosts[host]);
            found.push(
                Diagnostic::warning("W0329", format!("{name} is served twice on port {}", server.port))
                    .at(
                        server.gateway.at(&format!("{}/hosts/{host}", server.pointer)),
                        "istiod skips the server that comes later (duplicate host names), with all its hosts",
                    )
                    .at(other.gateway.at(&format!("{}/hosts", other.pointer)), "also here, for the same gateway")
                    .help("serve the host once, or on another port"),
            );
            break;
        }
    }
}

/// One chain for each terminating server, with the first matching `tcp` route for all its hosts.
fn two_hosts(index: &Index<'_>, server: &Server<'_>, found: &mut Vec<Diagnostic>) {
    if !server.terminates() || server.is_http() || server.hosts.len() < 2 {
        return;
    }
    let mut targets: Vec<String> = vec![];
    for service in &index.virtual_services {
        for leg in legs(service).iter().filter(|l| l.kind == "tcp") {
            let here = leg.gateways.iter().any(|g| {
                index
                    .gateway(g, service.namespace)
                    .is_some_and(|o| (o.namespace, o.name) == (server.gateway.namespace, server.gateway.name))
            });
            if here && leg.port.is_none_or(|p| p == server.port) {
                targets.extend(destinations(service, &leg.route).into_iter().map(|d| d.host));
            }
        }
    }
    targets.dedup();
    let mut names: Vec<&str> = server.hosts.iter().map(|h| without_namespace(h)).collect();
    names.sort_unstable();
    names.dedup();
    if targets.is_empty() || names.len() < 2 {
        return;
    }
    let hosts = server.hosts.join(", ");
    found.push(
        Diagnostic::warning("W0328", format!("{hosts} share one server that terminates TLS"))
            .at(
                server.gateway.at(&format!("{}/hosts", server.pointer)),
                format!(
                    "one server is one filter chain: all its hosts go where the first `tcp` route goes ({})",
                    targets[0]
                ),
            )
            .help("give each host a server of its own (several servers may share the port)"),
    );
}

/// Whether a VirtualService steers traffic of the mesh itself.
pub fn is_for_mesh(service: &super::Object<'_>) -> bool {
    gateways_of(service).contains(&"mesh")
}

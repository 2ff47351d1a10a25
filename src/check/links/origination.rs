//! The mTLS that a sidecar starts towards a gateway: which SNI it sends, and whether a server takes it.

use super::host;
use super::index::{Destination, Index, Object, Server, destinations, gateways_of, legs, servers};
use crate::diag::Diagnostic;
use serde_json::Value;

pub fn check(index: &Index<'_>, found: &mut Vec<Diagnostic>) {
    for service in &index.virtual_services {
        let behind: Vec<Server<'_>> =
            gateways_of(service).iter().filter_map(|g| index.gateway(g, service.namespace)).flat_map(servers).collect();
        let mut seen = vec![];
        for leg in legs(service).iter().filter(|l| l.gateways.contains(&"mesh")) {
            for d in destinations(service, &leg.route) {
                if seen.contains(&d.pointer) {
                    continue;
                }
                seen.push(d.pointer.clone());
                let hosts: Vec<&str> = service.list("/spec/hosts").iter().filter_map(Value::as_str).collect();
                sni(index, &behind, &d, &hosts, found);
            }
        }
    }
}

/// The TLS settings that count for a destination: the subset's port, the subset, the rule's port, the rule.
fn tls<'a>(rule: &Object<'a>, d: &Destination<'_>) -> Option<(String, &'a Value)> {
    let subsets = rule.list("/spec/subsets").iter();
    let subset = subsets
        .clone()
        .position(|s| d.subset.is_some() && s.get("name").and_then(Value::as_str) == d.subset)
        .map(|i| format!("/spec/subsets/{i}/trafficPolicy"));
    for policy in [subset, Some("/spec/trafficPolicy".to_string())].into_iter().flatten() {
        let ports = rule.list(&format!("{policy}/portLevelSettings"));
        let port =
            ports.iter().position(|p| p.pointer("/port/number").and_then(Value::as_u64) == d.port && d.port.is_some());
        let places = [port.map(|i| format!("{policy}/portLevelSettings/{i}/tls")), Some(format!("{policy}/tls"))];
        for place in places.into_iter().flatten() {
            if let Some(tls) = rule.get(&place) {
                return Some((place, tls));
            }
        }
    }
    None
}

fn sni(index: &Index<'_>, behind: &[Server<'_>], d: &Destination<'_>, hosts: &[&str], found: &mut Vec<Diagnostic>) {
    let servers: Vec<&Server<'_>> =
        behind.iter().filter(|s| Some(s.port) == d.port && s.mode == "ISTIO_MUTUAL" && !s.is_http()).collect();
    let Some(server) = servers.first() else { return };
    if servers.iter().any(|s| s.hosts.iter().any(|h| host::without_namespace(h) == "*")) {
        return;
    }
    for rule in index.rules_of(&d.host).iter().filter(|r| !r.ambient) {
        let Some((place, tls)) = tls(rule, d) else { continue };
        if tls.get("mode").and_then(Value::as_str) != Some("ISTIO_MUTUAL") {
            continue;
        }
        let port = server.port;
        let wanted = hosts.first().copied().unwrap_or("HOST");
        match tls.get("sni").and_then(Value::as_str) {
            None => {
                let subset = d.subset.unwrap_or("");
                let sent = format!("outbound_.{port}_.{subset}_.{}", d.host);
                found.push(
                    Diagnostic::warning("W0327", "ISTIO_MUTUAL without `sni` towards a gateway that chooses by SNI")
                        .at(
                            rule.at(&format!("{place}/mode")),
                            format!("the sidecar sends the SNI {sent}, and no filter chain of the gateway takes it"),
                        )
                        .at(
                            server.gateway.at(&format!("{}/hosts", server.pointer)),
                            "the server on this port takes only these",
                        )
                        .help(format!("add `sni: {wanted}` beside `mode: ISTIO_MUTUAL`")),
                );
            }
            Some(sni) if !servers.iter().any(|s| s.serves(sni)) => found.push(
                Diagnostic::warning("W0333", format!("the sidecar sends the SNI {sni}, which no server takes"))
                    .at(
                        rule.at(&format!("{place}/sni")),
                        "no filter chain of the gateway has this SNI, so the handshake is refused",
                    )
                    .at(
                        server.gateway.at(&format!("{}/hosts", server.pointer)),
                        format!("the server on {port} takes only these"),
                    )
                    .help(format!("write `sni: {wanted}`")),
            ),
            Some(_) => {}
        }
    }
}

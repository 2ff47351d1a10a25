//! The mTLS that a sidecar starts towards a gateway: which SNI it sends, and whether a server takes it.

use super::host;
use super::index::{Destination, Index, Object, Server, destinations, gateways_of, legs, servers};
use crate::diag::Diagnostic;
use serde_json::Value;

pub fn check(index: &Index<'_>, found: &mut Vec<Diagnostic>) {
    double(index, found);
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
                modes(index, service, &behind, &d, &hosts, found);
            }
        }
    }
}

/// What the sidecar starts and what the gateway's server ends must be the same TLS.
fn modes(
    index: &Index<'_>,
    service: &Object<'_>,
    behind: &[Server<'_>],
    d: &Destination<'_>,
    hosts: &[&str],
    found: &mut Vec<Diagnostic>,
) {
    let meant = |s: &&Server<'_>| Some(s.port) == d.port && !s.is_http() && hosts.iter().any(|h| s.serves(h));
    let Some(server) = behind.iter().find(meant) else { return };
    let rules = index.rules_of(&d.host);
    let names =
        |r: &Object<'_>| r.list("/spec/subsets").iter().any(|s| s.get("name").and_then(Value::as_str) == d.subset);
    // An unknown subset is told elsewhere.
    if d.subset.is_some() && !rules.iter().any(names) {
        return;
    }
    let started = rules.iter().find_map(|r| tls(r, d).map(|(place, tls)| (r, place, tls)));
    let mode = started.as_ref().and_then(|(_, _, t)| t.get("mode").and_then(Value::as_str)).unwrap_or("DISABLE");
    let ends = server.gateway.at(&format!("{}/tls/mode", server.pointer));
    match (started, server.mode) {
        (Some((rule, place, _)), "PASSTHROUGH") if mode != "DISABLE" => found.push(
            Diagnostic::warning("W0336", format!("the sidecar starts {mode} towards a gateway that ends no TLS"))
                .at(
                    rule.at(&format!("{place}/mode")),
                    "wraps the client's TLS in another, which the gateway passes on as it is",
                )
                .at(ends, "TLS is passed on here")
                .help("remove this `tls`, or let the server end it: tls.mode ISTIO_MUTUAL"),
        ),
        (started, "ISTIO_MUTUAL") if mode == "DISABLE" => {
            let at = match started {
                Some((rule, place, _)) => rule.at(&format!("{place}/mode")),
                None => service.at(&d.pointer),
            };
            found.push(
                Diagnostic::warning("W0337", "no mesh mTLS towards a gateway that asks for it")
                    .at(at, "the sidecar sends the client's own TLS, and the gateway refuses it: no mesh certificate")
                    .at(ends, "ends mesh mTLS here")
                    .help(format!(
                        "give the destination's DestinationRule `tls: {{mode: ISTIO_MUTUAL, sni: {}}}` for port {}",
                        hosts.first().copied().unwrap_or("HOST"),
                        server.port
                    )),
            );
        }
        (Some((rule, place, _)), "ISTIO_MUTUAL") if matches!(mode, "SIMPLE" | "MUTUAL") => found.push(
            Diagnostic::warning(
                "W0337",
                format!("the sidecar starts {mode} towards a gateway that asks for mesh mTLS"),
            )
            .at(rule.at(&format!("{place}/mode")), "sends no mesh certificate, and the gateway refuses the handshake")
            .at(ends, "asks for a mesh certificate")
            .help("write `mode: ISTIO_MUTUAL`"),
        ),
        _ => {}
    }
}

/// A DestinationRule that starts TLS for an outside host which clients already reach with TLS.
fn double(index: &Index<'_>, found: &mut Vec<Diagnostic>) {
    for rule in index.destination_rules.iter().filter(|r| !r.ambient) {
        let Some(name) = rule.text("/spec/host") else { continue };
        let entries = index.entries_of(name);
        let ports: Vec<&Value> = entries.iter().flat_map(|e| e.list("/spec/ports")).collect();
        let is_tls = |p: &&Value| matches!(p.get("protocol").and_then(Value::as_str), Some("TLS" | "HTTPS"));
        if ports.is_empty() || !ports.iter().all(is_tls) {
            continue;
        }
        let unwrapped = index.virtual_services.iter().any(|v| {
            legs(v)
                .iter()
                .filter(|l| l.kind == "http")
                .any(|l| destinations(v, &l.route).iter().any(|d| d.host == name))
        });
        let port = ports.first().and_then(|p| p.get("number")).and_then(Value::as_u64);
        let d = Destination { pointer: String::new(), host: name.to_string(), written: name, subset: None, port };
        let Some((place, tls)) = tls(rule, &d) else { continue };
        let mode = tls.get("mode").and_then(Value::as_str).unwrap_or("");
        if unwrapped || !matches!(mode, "SIMPLE" | "MUTUAL" | "ISTIO_MUTUAL") {
            continue;
        }
        let entry = entries[0];
        found.push(
            Diagnostic::warning("W0338", format!("TLS twice towards {name}"))
                .at(rule.at(&format!("{place}/mode")), "the sidecar wraps what the client already sends as TLS")
                .at(entry.at("/spec/ports/0/protocol"), "clients speak TLS on this port")
                .help("remove this `tls`, or let clients speak HTTP to a port 80 that is routed here"),
        );
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

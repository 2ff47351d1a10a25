//! What a cause means, shown from the configuration, and what to do next.

use super::Evidence;
use super::cause::{At, Cause, Trouble};
use super::registry;
use super::services;
use super::trace::{self, Onward, Trace};
use crate::envoy::{ClusterName, Dump, Entry};

/// Lines of evidence and of help.
#[derive(Debug, Clone, Default)]
pub(super) struct Hints {
    pub seen: Vec<String>,
    pub help: Vec<String>,
}

/// The lines that a cause rests on, briefly: what each proxy wrote.
pub(super) fn log_lines(trace: &Trace) -> Vec<String> {
    let mut lines = vec![brief("sidecar", &trace.sidecar)];
    if let Some(entry) = trace.gateway.as_ref().and_then(|line| line.entry()) {
        lines.push(brief("gateway", entry));
    }
    lines
}

fn brief(role: &str, entry: &Entry) -> String {
    let mut parts = vec![];
    if entry.code() != 0 {
        parts.push(entry.code().to_string());
    }
    let flags = entry.get("RESPONSE_FLAGS").map(str::to_string);
    parts.extend(flags.or_else(|| entry.knows("RESPONSE_FLAGS").then(|| "no flag".to_string())));
    let words = [entry.details(), entry.termination(), entry.transport_failure()];
    parts.extend(words.into_iter().flatten().map(str::to_string));
    parts.extend(entry.cluster().map(str::to_string));
    parts.extend(entry.upstream_host().map(|host| format!("to {host}")));
    parts.extend(entry.server_name().map(|name| format!("SNI {name}")));
    super::text::printable(&format!("{role}  {}", parts.join("  ")))
}

pub(super) fn hints(cause: &Cause, trace: &Trace, evidence: &Evidence) -> Hints {
    let mut hints = Hints::default();
    let gateway = &trace.gateway_name;
    let (port, bound) = match trace.onward {
        Onward::Gateway { port, bound } => (port, bound),
        _ => (None, None),
    };
    let host = trace.asked.as_ref().map_or("the host", |asked| asked.host.as_str());
    match cause {
        Cause::NoListener => no_listener(&mut hints, trace, evidence, port, bound),
        Cause::NoFilterChain { shown } => no_chain(&mut hints, trace, evidence, bound, shown.as_deref()),
        Cause::NotRegistered { near: None, .. } => hints.help.push(format!(
            "no ServiceEntry has {host}, and the policy is REGISTRY_ONLY: register it with a ServiceEntry"
        )),
        Cause::NotRegistered { near: Some(near), .. } => {
            let ports: Vec<String> = near.ports.iter().map(u16::to_string).collect();
            let to = if near.export_to.is_empty() { "*".to_string() } else { near.export_to.join(", ") };
            hints.help.push(format!(
                "ServiceEntry {}/{} has {host} for the ports {}, exported to {to}: neither covers port {} from \
                 namespace {}, or the sidecar has not got it yet",
                near.namespace,
                near.name,
                ports.join(", "),
                trace.asked.as_ref().map_or(0, |asked| asked.port),
                trace.client.namespace,
            ));
        }
        Cause::OutOfScope { registration, sidecars } => hints.help.push(format!(
            "ServiceEntry {}/{} has it, but Sidecar {} does not import that namespace: add \"{}/*\" or \"./*\" to \
             egress.hosts",
            registration.namespace,
            registration.name,
            sidecars.join(", "),
            registration.namespace,
        )),
        Cause::NoCluster { at, cluster } => no_cluster(&mut hints, *at, cluster.as_deref(), evidence, gateway),
        Cause::NoRoute { at } => hints.help.push(match at {
            At::Sidecar => format!("a route table has the port, but no route for {host}: look at the VirtualService's matches"),
            At::Gateway => format!(
                "the gateway has no route for {host}: the VirtualService needs this gateway in `gateways`, its hosts must \
                 be those of the Gateway, and a match on `port` means the server's number"
            ),
        }),
        Cause::NoGatewayPod => hints.help.push(format!(
            "no endpoint of {gateway} is ready: kubectl -n {} get pods -l istio={}",
            gateway.namespace,
            gateway.name.strip_prefix("istio-").unwrap_or(&gateway.name),
        )),
        Cause::Codec => hints.help.push(
            "the Gateway's server says `protocol: HTTPS`, so it expects HTTP inside its TLS, but the leg carries the \
             client's own TLS: the server's protocol must be `TLS`"
                .into(),
        ),
        Cause::Unverified => hints.help.push(
            "the sidecar speaks ISTIO_MUTUAL, but a PASSTHROUGH server lets the site answer, whose certificate the mesh \
             does not know: drop the DestinationRule's tls for this subset, or make the server ISTIO_MUTUAL"
                .into(),
        ),
        Cause::LegReset => hints.help.push(
            "the gateway cut the leg's TLS handshake: no filter chain for its SNI, or a server that refuses the client \
             certificate; look at `expect listener` and the gateway's log"
                .into(),
        ),
        Cause::PlainToMutual => hints.help.push(
            "the Gateway's server terminates TLS, but the sidecar adds none, so the client's own TLS ends at the gateway: \
             the DestinationRule's subset needs `tls: {mode: ISTIO_MUTUAL, sni: HOST}` (no `tlsMode` label on gateway \
             pods: auto mTLS does not do it)"
                .into(),
        ),
        Cause::DoubleTls { at } => hints.help.push(format!(
            "the client already speaks TLS and the {} originates TLS once more for this host: call it by http, or drop \
             the DestinationRule's tls for port 443",
            match at {
                At::Sidecar => "sidecar",
                At::Gateway => "gateway",
            }
        )),
        Cause::WrongSite { got } => hints.help.push(format!(
            "the gateway sent the connection to {got}: one ISTIO_MUTUAL server with several hosts makes one filter chain \
             with the first matching `tcp` route; give each host a server of its own"
        )),
        Cause::Denied { at, .. } => {
            let policies = registry::policies(evidence, gateway);
            let which = if policies.is_empty() { String::new() } else { format!(" ({})", policies.join(", ")) };
            hints.help.push(match at {
                At::Gateway => format!(
                    "an AuthorizationPolicy{which} on the gateway denied it; a PASSTHROUGH leg carries no peer identity, so \
                     a rule by principal denies it too"
                ),
                At::Sidecar => "an AuthorizationPolicy denied it".into(),
            });
        }
        Cause::Site(Trouble::Status(code)) => {
            hints.help.push(format!("site, not mesh: {host} itself answered {code}"));
        }
        Cause::Site(Trouble::Tls(_)) => hints.help.push(format!(
            "the proxy's own TLS to {host} failed: look at the DestinationRule's tls (mode, sni, caCertificates) for that \
             port; an ISTIO_MUTUAL certificate means nothing outside"
        )),
        Cause::Site(_) => hints.help.push(format!(
            "site, not mesh: the connection left the mesh and {host} did not take it; try it without the mesh: \
             `exec local curl -sI https://{host}/`"
        )),
        Cause::Network(_) => hints.help.push("the network did not carry it: look at NetworkPolicies, routes and firewalls".into()),
    }
    hints
}

fn no_listener(hints: &mut Hints, trace: &Trace, evidence: &Evidence, port: Option<u16>, bound: Option<u16>) {
    let gateway = &trace.gateway_name;
    let dump = gateway_dump(trace, evidence);
    let number = bound.or(port).unwrap_or(0);
    if let Some(dump) = &dump {
        if dump.listeners_on(number).next().is_none() {
            hints.seen.push(format!("listener 0.0.0.0_{number} on {gateway}"));
            hints.seen.push("+ (no listener)".into());
        }
        for (name, details) in &dump.rejected {
            hints.seen.push(super::text::printable(&format!("rejected by Envoy  {name}: {details}")));
        }
    }
    let servers = port.map(|port| registry::servers(evidence, port)).unwrap_or_default();
    let trapped = servers
        .iter()
        .filter(|server| server.terminates())
        .find_map(|server| Some((server, registry::tls_legs(evidence, server).into_iter().next()?)));
    if let Some((server, leg)) = trapped {
        hints.help.push(format!(
            "the server on {} of Gateway {}/{} terminates TLS ({}), so the `tls` route of VirtualService {leg} yields no \
             filter chain and istiod omits the listener (0 chains). Behind a terminating server the leg is `tcp`.",
            port.unwrap_or(0),
            server.namespace,
            server.gateway,
            server.mode,
        ));
        hints.help.push("try  kubectl -n istio-system logs deploy/istiod | grep omitting".into());
        return;
    }
    if !evidence.istio.is_empty() && servers.is_empty() {
        hints.help.push(format!(
            "no Gateway has a server on port {}: apply one whose selector fits {gateway}",
            port.unwrap_or(0)
        ));
        return;
    }
    if let [server, ..] = servers.as_slice() {
        let selector: Vec<String> = server.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        hints.help.push(format!(
            "Gateway {}/{} has the server, for pods with {}: does that select {gateway}? Does a VirtualService route \
             there, with the Gateway's hosts and port?",
            server.namespace,
            server.gateway,
            selector.join(","),
        ));
    } else {
        hints.help.push(
            "nothing listens there: a `tls` route behind a terminating server yields no filter chain (there the leg is \
             `tcp`), and a Gateway's selector must fit the gateway's pods"
                .into(),
        );
    }
    hints.help.push("try  kubectl -n istio-system logs deploy/istiod | grep omitting".into());
}

fn no_chain(hints: &mut Hints, trace: &Trace, evidence: &Evidence, bound: Option<u16>, shown: Option<&str>) {
    let shown = shown.unwrap_or("-");
    if let (Some(dump), Some(bound)) = (gateway_dump(trace, evidence), bound) {
        let names: Vec<String> = dump
            .listeners_on(bound)
            .flat_map(|listener| &listener.chains)
            .map(|chain| if chain.server_names.is_empty() { "(any)".into() } else { chain.server_names.join(" ") })
            .collect();
        if !names.is_empty() {
            hints.seen.push(format!("filter chains of 0.0.0.0_{bound} on {}", trace.gateway_name));
            hints.seen.extend(names.iter().map(|name| format!("- serverNames: {name}")));
            hints.seen.push(format!("+ SNI shown: {shown}"));
        }
    }
    match ClusterName::parse(shown) {
        Some(name) => hints.help.push(format!(
            "the leg shows a name that the sidecar made up ({shown}): the DestinationRule's tls for subset {} lacks `sni: {}`",
            name.subset.as_deref().unwrap_or("-"),
            trace.asked.as_ref().map_or("HOST", |asked| asked.host.as_str()),
        )),
        None => hints.help.push(format!(
            "no chain serves {shown}: compare it with the sniHosts of the VirtualService's gateway leg and the hosts of \
             the Gateway's server (behind a terminating server the leg is `tcp`; a `tls` leg there is dropped)"
        )),
    }
}

fn no_cluster(hints: &mut Hints, at: At, cluster: Option<&str>, evidence: &Evidence, gateway: &crate::plan::Workload) {
    let who = match at {
        At::Sidecar => "sidecar",
        At::Gateway => "gateway",
    };
    let Some(name) = cluster.and_then(ClusterName::parse) else {
        hints.help.push(format!(
            "a route of the {who} names a cluster that it does not have: a subset that no DestinationRule defines where the \
             {who} looks, or a port that the Service does not expose"
        ));
        return;
    };
    let exposed = services::exposed(evidence, gateway);
    let to_gateway = name.service().is_some_and(|(service, _)| services::belongs_to(evidence, gateway, service));
    if to_gateway && !exposed.is_empty() && !exposed.contains(&name.port) {
        let list: Vec<String> = exposed.iter().map(u16::to_string).collect();
        hints.help.push(format!(
            "the Service of {gateway} does not expose {} (it has {}): add the port; `require gateway port {}` does so for \
             the scenario",
            name.port,
            list.join(", "),
            name.port,
        ));
        return;
    }
    hints.help.push(match &name.subset {
        Some(subset) => format!(
            "the {who} has no cluster for {}:{} subset {subset}: a DestinationRule for that host must define the subset, in \
             the client's namespace, the Service's or istio-system",
            name.host, name.port
        ),
        None => format!("the {who} has no cluster for {}:{}: no Service or ServiceEntry that it sees has that port", name.host, name.port),
    });
}

fn gateway_dump(trace: &Trace, evidence: &Evidence) -> Option<Dump> {
    trace::pods(evidence, &trace.gateway_name).iter().find_map(|pod| pod.dump.as_ref()).map(Dump::read)
}

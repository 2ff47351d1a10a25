//! What a cause means, shown from the configuration, and what to do next. Help lines are read behind `try`.

use super::Evidence;
use super::cause::{At, Cause, Miss, Near, Trouble};
use super::registry;
use super::services;
use super::trace::{self, Onward, Trace};
use crate::envoy::{ClusterName, Dump, Entry};
use crate::plan::Workload;

/// What a cause adds to a failure.
#[derive(Debug, Clone, Default)]
pub(super) struct Hints {
    /// Excerpts of configuration.
    pub seen: Vec<String>,
    /// The explanation, if there is one to give.
    pub why: Option<String>,
    /// What to do next.
    pub help: Vec<String>,
}

impl Hints {
    fn new(why: impl Into<String>, help: impl Into<String>) -> Hints {
        Hints { seen: vec![], why: Some(why.into()), help: vec![help.into()] }
    }
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
    super::text::printable(&format!("log   {role}: {}", parts.join("  ")))
}

pub(super) fn hints(cause: &Cause, trace: &Trace, evidence: &Evidence) -> Hints {
    let gateway = &trace.gateway_name;
    let host = trace.asked.as_ref().map_or("the host", |asked| asked.host.as_str());
    match cause {
        Cause::NoListener => no_listener(trace, evidence),
        Cause::NoFilterChain { shown } => no_chain(trace, evidence, shown.as_deref()),
        Cause::NotRegistered { near: None, .. } => Hints::new(
            format!("no ServiceEntry has {host}, and the outbound policy is REGISTRY_ONLY"),
            format!("a ServiceEntry with hosts: [{host}]"),
        ),
        Cause::NotRegistered { near: Some(Near { registration, miss }), .. } => {
            let ports: Vec<String> = registration.ports.iter().map(u16::to_string).collect();
            let to = match registration.export_to.is_empty() {
                true => "every namespace".to_string(),
                false => registration.export_to.join(", "),
            };
            let has = format!(
                "ServiceEntry {}/{} has {host} on port {}, exported to {to}",
                registration.namespace,
                registration.name,
                ports.join(", "),
            );
            match miss {
                Miss::Port(port) => Hints::new(has, format!("port {port} in its `ports`")),
                Miss::Namespace => Hints::new(has, format!("\"{}\" in its `exportTo`", trace.client.namespace)),
                Miss::Unknown => Hints::new(
                    format!("{has}, which fits; the sidecar has no route for it"),
                    format!("istioctl proxy-config listeners {} --port {}", trace.client, asked_port(trace)),
                ),
            }
        }
        Cause::OutOfScope { registration, sidecars } => Hints::new(
            format!(
                "ServiceEntry {}/{} has it, but Sidecar {} does not import it",
                registration.namespace,
                registration.name,
                sidecars.join(", "),
            ),
            format!("\"{}/*\" in the Sidecar's egress.hosts", registration.namespace),
        ),
        Cause::NoCluster { at, cluster } => no_cluster(*at, cluster.as_deref(), evidence, gateway),
        Cause::NoRoute { at: At::Sidecar } => Hints::new(
            format!("the route table of this port has no route for {host}"),
            "the matches of the VirtualService for this host",
        ),
        Cause::NoRoute { at: At::Gateway } => Hints::new(
            format!("the gateway's route table has no route for {host}"),
            "the VirtualService's `gateways` (it must list this Gateway), its hosts, and `match.port`: the server's number",
        ),
        Cause::NoGatewayPod => Hints::new(
            format!("no endpoint of {gateway} is ready"),
            format!(
                "kubectl -n {} get endpointslices -l kubernetes.io/service-name={}",
                gateway.namespace, gateway.name
            ),
        ),
        Cause::Codec => Hints::new(
            "the Gateway's server says `protocol: HTTPS`, so it expects HTTP inside its TLS; the leg carries the client's \
             own TLS",
            "`protocol: TLS` on that server",
        ),
        Cause::Unverified => Hints::new(
            "the sidecar speaks ISTIO_MUTUAL, but the PASSTHROUGH server lets the site answer, whose certificate the mesh \
             CA did not sign",
            "no `tls` in the DestinationRule's subset, or an ISTIO_MUTUAL server",
        ),
        Cause::LegReset => Hints::new(
            "the gateway cut the TLS handshake of the leg: no filter chain for its SNI, or a client certificate that it \
             refuses",
            format!("kubectl -n {} logs deploy/{} | tail", gateway.namespace, gateway.name),
        ),
        Cause::PlainToMutual => Hints::new(
            "the Gateway's server terminates TLS but the sidecar adds none, so the client's own TLS ends at the gateway \
             (auto mTLS does not help: gateway pods carry no `tlsMode` label)",
            format!("`tls: {{mode: ISTIO_MUTUAL, sni: {host}}}` in the DestinationRule's subset"),
        ),
        Cause::DoubleTls { at } => {
            let who = match at {
                At::Sidecar => "sidecar",
                At::Gateway => "gateway",
            };
            Hints::new(
                format!("the client speaks TLS already, and the {who} originates TLS once more for this host"),
                "http:// in the client, or no `tls` in the DestinationRule for that port",
            )
        }
        Cause::PlainToTls { at } => Hints::new(
            match at {
                At::Sidecar => format!(
                    "the sidecar sends plain HTTP to port 443: it sees no DestinationRule that originates TLS for {host}"
                ),
                At::Gateway => format!(
                    "the gateway sends plain HTTP to port 443: it sees no DestinationRule that originates TLS for {host} \
                     (one in the client's namespace must be exported to the gateway's)"
                ),
            },
            format!("a DestinationRule for {host} with `tls: {{mode: SIMPLE, sni: {host}}}` for port 443"),
        ),
        Cause::Site(Trouble::NotTls) => Hints::new(
            format!(
                "the endpoint of {host} answered, but not in TLS: its port, or the ServiceEntry's targetPort, is a plain one"
            ),
            format!("exec local curl -sI {}", url(trace, host)),
        ),
        Cause::WrongSite { got, .. } => Hints::new(
            format!(
                "the gateway sent it to {got}: one ISTIO_MUTUAL server with several hosts makes one filter chain, with the \
                 first `tcp` route that matches"
            ),
            "one server for each host",
        ),
        Cause::Denied { at: At::Sidecar, .. } => Hints::new(
            "an AuthorizationPolicy denied it",
            format!("kubectl -n {} get authorizationpolicies", trace.client.namespace),
        ),
        Cause::Denied { at: At::Gateway, .. } => {
            let policies = registry::policies(evidence, gateway);
            let which = if policies.is_empty() { String::new() } else { format!(" ({})", policies.join(", ")) };
            Hints::new(
                format!(
                    "an AuthorizationPolicy{which} denied it on {gateway}; a PASSTHROUGH leg carries no peer identity, so a \
                     rule by principal denies it too"
                ),
                format!("kubectl -n {} get authorizationpolicies -o yaml", gateway.namespace),
            )
        }
        Cause::Site(Trouble::Status(code)) => Hints::new(
            format!("site, not mesh: {host} itself answered {code}"),
            format!("exec local curl -sI {}", url(trace, host)),
        ),
        Cause::Site(Trouble::Tls(_)) => Hints::new(
            format!("the proxy's own TLS to {host} failed; a mesh certificate means nothing outside"),
            "mode, sni and caCertificates of the DestinationRule's `tls` for that port",
        ),
        Cause::Site(Trouble::NoAddress) => Hints::new(
            format!("site, not mesh: {host} has no address in DNS"),
            format!("exec local curl -sI {}", url(trace, host)),
        ),
        Cause::Site(Trouble::NoEndpoint) => Hints::new(
            "the cluster has no endpoint: a ServiceEntry with resolution NONE behind a gateway (it never works there), STATIC \
             without endpoints, or no ready pod",
            "`resolution: DNS`, or its `endpoints`",
        ),
        Cause::Site(_) => Hints::new(
            format!("site, not mesh: the connection left the mesh and {host} did not take it"),
            format!("exec local curl -sI {}", url(trace, host)),
        ),
        Cause::Network(_) => {
            Hints::new("the network did not carry it", "NetworkPolicies, routes and firewalls on the way")
        }
    }
}

fn url(trace: &Trace, host: &str) -> String {
    match &trace.asked {
        Some(asked) => format!("{}://{host}:{}/", asked.scheme, asked.port),
        None => format!("https://{host}/"),
    }
}

fn asked_port(trace: &Trace) -> u16 {
    trace.asked.as_ref().map_or(0, |asked| asked.port)
}

fn ports(trace: &Trace) -> (Option<u16>, Option<u16>) {
    match trace.onward {
        Onward::Gateway { port, bound } => (port, bound),
        _ => (None, None),
    }
}

/// The lesson of a `tls` leg behind a server that terminates TLS.
pub(super) fn terminating(port: u16, evidence: &Evidence) -> Option<(String, String)> {
    let servers = registry::servers(evidence, port);
    let trapped = servers
        .iter()
        .filter(|server| server.terminates())
        .find_map(|server| Some((server, registry::tls_legs(evidence, server).into_iter().next()?)));
    trapped.map(|(server, leg)| {
        (
            format!(
                "the server on {port} of Gateway {}/{} terminates TLS ({}), so the `tls` route of VirtualService {leg} \
                 yields no filter chain and istiod omits the listener (0 chains). Behind a terminating server the leg is \
                 `tcp`.",
                server.namespace, server.gateway, server.mode,
            ),
            OMITTING.to_string(),
        )
    })
}

const OMITTING: &str = "kubectl -n istio-system logs deploy/istiod | grep omitting";

fn no_listener(trace: &Trace, evidence: &Evidence) -> Hints {
    let gateway = &trace.gateway_name;
    let (port, bound) = ports(trace);
    let number = bound.or(port).unwrap_or(0);
    let mut seen = vec![];
    if let Some(dump) = gateway_dump(trace, evidence) {
        if dump.listeners_on(number).next().is_none() {
            seen.push(format!("listener 0.0.0.0_{number} on {gateway}"));
            seen.push("+ (no listener)".into());
        }
        for (name, details) in &dump.rejected {
            seen.push(super::text::printable(&format!("rejected by Envoy  {name}: {details}")));
        }
    }
    let port = port.unwrap_or(number);
    if let Some((why, help)) = terminating(port, evidence) {
        return Hints { seen, ..Hints::new(why, help) };
    }
    let servers = registry::servers(evidence, port);
    let hints = match servers.as_slice() {
        [] if !evidence.istio.is_empty() => Hints::new(
            format!("no Gateway has a server on port {port}"),
            format!("a Gateway with that port whose selector fits {gateway}"),
        ),
        [] => Hints::new(
            "nothing listens there: no Gateway for these pods has the port, or a `tls` route behind a terminating server \
             yields no filter chain (there the leg is `tcp`)",
            OMITTING,
        ),
        [server, ..] => {
            let selector: Vec<String> = server.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let selector = selector.join(",");
            Hints::new(
                format!(
                    "Gateway {}/{} has a server on {port}, for pods with {selector}: either they are not those of \
                     {gateway}, or no VirtualService routes there with the Gateway's hosts",
                    server.namespace, server.gateway,
                ),
                format!("kubectl -n {} get pods -l {selector}", gateway.namespace),
            )
        }
    };
    Hints { seen, ..hints }
}

fn no_chain(trace: &Trace, evidence: &Evidence, shown: Option<&str>) -> Hints {
    let shown = shown.unwrap_or("-");
    let mut seen = vec![];
    if let (Some(dump), Some(bound)) = (gateway_dump(trace, evidence), ports(trace).1) {
        let names: Vec<String> = dump
            .listeners_on(bound)
            .flat_map(|listener| &listener.chains)
            .map(|chain| if chain.server_names.is_empty() { "(any)".into() } else { chain.server_names.join(" ") })
            .collect();
        if !names.is_empty() {
            seen.push(format!("filter chains of 0.0.0.0_{bound} on {}", trace.gateway_name));
            seen.extend(names.iter().map(|name| format!("- serverNames: {name}")));
            seen.push(format!("+ SNI shown: {}", super::text::printable(shown)));
        }
    }
    let host = trace.asked.as_ref().map_or("HOST", |asked| asked.host.as_str());
    let hints = match ClusterName::parse(shown) {
        Some(name) => Hints::new(
            format!(
                "the leg shows a name that the sidecar made up, since the DestinationRule's tls for subset {} says no `sni`",
                name.subset.as_deref().unwrap_or("-"),
            ),
            format!("`sni: {host}` in that tls"),
        ),
        None => Hints::new(
            format!("no chain of the gateway's listener serves {}", super::text::printable(shown)),
            "sniHosts of the VirtualService's gateway leg against the hosts of the Gateway's server (behind a terminating \
             server a `tls` leg is dropped: there it is `tcp`)",
        ),
    };
    Hints { seen, ..hints }
}

fn no_cluster(at: At, cluster: Option<&str>, evidence: &Evidence, gateway: &Workload) -> Hints {
    let who = match at {
        At::Sidecar => "sidecar",
        At::Gateway => "gateway",
    };
    let Some(name) = cluster.and_then(ClusterName::parse) else {
        return Hints::new(
            format!("a route of the {who} names a cluster that it does not have"),
            "the subset (a DestinationRule must define it where the proxy looks) and the port (the Service must expose it)",
        );
    };
    let exposed = services::exposed(evidence, gateway);
    let to_gateway = name.service().is_some_and(|(service, _)| services::belongs_to(evidence, gateway, service));
    if to_gateway && !exposed.is_empty() && !exposed.contains(&name.port) {
        let list: Vec<String> = exposed.iter().map(u16::to_string).collect();
        return Hints::new(
            format!("the Service of {gateway} does not expose {}; it has {}", name.port, list.join(", ")),
            format!("`require gateway port {}` in the scenario, or the port in the Service", name.port),
        );
    }
    match &name.subset {
        Some(subset) => Hints::new(
            format!(
                "the {who} has no cluster for {}:{} subset {subset}: no DestinationRule that it sees defines it",
                name.host, name.port
            ),
            format!(
                "a DestinationRule for {} with subset {subset}, in the client's namespace, the Service's or istio-system",
                name.host
            ),
        ),
        None => Hints::new(
            format!(
                "the {who} has no cluster for {}:{}: no Service or ServiceEntry that it sees has that port",
                name.host, name.port
            ),
            "the port and `exportTo` of the Service or ServiceEntry",
        ),
    }
}

fn gateway_dump<'a>(trace: &Trace, evidence: &'a Evidence) -> Option<&'a Dump> {
    trace::pods(evidence, &trace.gateway_name).iter().find_map(|pod| pod.dump.as_deref())
}

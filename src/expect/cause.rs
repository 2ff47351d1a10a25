//! Why a probe did not get through, by the signature that curl and the two logs leave together.
//!
//! The signatures were measured on real Envoys. Flags are a set, as their order is not fixed.

use super::curl::Transfer;
use super::registry::{self, Registration};
use super::trace::{self, Onward, Trace};
use super::{Evidence, Probe};
use crate::envoy::{Dump, Entry, TlsMode};
use crate::plan::BlockedBy;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// REGISTRY_ONLY: nothing that the sidecar has covers the host on this port.
    NotRegistered {
        /// Plain HTTP: a virtual host answered 502; otherwise BlackHoleCluster.
        http: bool,
        /// A ServiceEntry has the host, but that did not help.
        near: Option<Near>,
    },
    /// A ServiceEntry has the host and the port, and a Sidecar keeps it from this workload.
    OutOfScope { registration: Registration, sidecars: Vec<String> },
    /// A route names a cluster that does not exist.
    NoCluster { at: At, cluster: Option<String> },
    /// An HTTP route table without a route for this.
    NoRoute { at: At },
    /// Nothing listens on the gateway's port.
    NoListener,
    /// The gateway's listener has no filter chain for the name shown.
    NoFilterChain { shown: Option<String> },
    /// The gateway has no ready pod.
    NoGatewayPod,
    /// The gateway takes the connection for HTTP, which it is not.
    Codec,
    /// The sidecar does not trust what answered on the leg to the gateway.
    Unverified,
    /// The leg's TLS was cut without a word from the gateway.
    LegReset,
    /// The sidecar sends the leg without mTLS to a server that terminates TLS.
    PlainToMutual,
    /// TLS around the client's own TLS.
    DoubleTls { at: At },
    /// Plain HTTP sent to a port that speaks TLS: nothing originates TLS.
    PlainToTls { at: At },
    /// The gateway sent it to another host than the one asked for.
    WrongSite { asked: String, got: String },
    /// `policy` is what Envoy names; none: no ALLOW rule fits.
    Denied { at: At, policy: Option<String> },
    /// The outside itself: not the mesh.
    Site(Trouble),
    /// No way there: timeouts, unreachable addresses.
    Network(String),
}

/// A ServiceEntry that has the host, and why the sidecar does not use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Near {
    pub registration: Registration,
    pub miss: Miss,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss {
    /// Not for this port.
    Port(u16),
    /// Not exported to the client's namespace.
    Namespace,
    /// It fits; the sidecar has not got it (yet), or a route kept the host from it.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Sidecar,
    Gateway,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    Refused,
    /// Its name gives no address.
    NoAddress,
    /// istiod gave the cluster no endpoint, or none is healthy.
    NoEndpoint,
    Reset,
    Tls(String),
    /// What answered the client's TLS does not speak it.
    NotTls,
    /// An answer of the site's own.
    Status(u16),
}

impl Cause {
    /// The word that `blocked by` uses for it; `None` for what is a mistake rather than a block.
    pub fn blocked_by(&self) -> Option<BlockedBy> {
        Some(match self {
            Cause::NotRegistered { .. } => BlockedBy::RegistryOnly,
            Cause::OutOfScope { .. } => BlockedBy::SidecarScope,
            Cause::Denied { .. } => BlockedBy::Authorization,
            Cause::NoCluster { .. }
            | Cause::NoRoute { .. }
            | Cause::NoListener
            | Cause::NoFilterChain { .. }
            | Cause::NoGatewayPod => BlockedBy::NoRoute,
            Cause::Network(_) => BlockedBy::Network,
            Cause::Site(Trouble::Status(_)) => return None,
            Cause::Site(_) => BlockedBy::Upstream,
            Cause::Codec
            | Cause::Unverified
            | Cause::LegReset
            | Cause::PlainToMutual
            | Cause::DoubleTls { .. }
            | Cause::PlainToTls { .. }
            | Cause::WrongSite { .. } => return None,
        })
    }

    /// A few words for the path line.
    pub fn words(&self) -> String {
        match self {
            Cause::NotRegistered { http: false, near: None } => "not registered (BlackHoleCluster)".into(),
            Cause::NotRegistered { http: true, near: None } => "not registered (block_all)".into(),
            Cause::NotRegistered { http, near: Some(near) } => {
                let how = if *http { "block_all" } else { "BlackHoleCluster" };
                match near.miss {
                    Miss::Port(port) => format!("registered, but not on port {port} ({how})"),
                    Miss::Namespace => format!("registered, but not for its namespace ({how})"),
                    Miss::Unknown => format!("registered, but the sidecar does not know it ({how})"),
                }
            }
            Cause::OutOfScope { .. } => "out of its Sidecar's scope".into(),
            Cause::NoCluster { cluster: Some(name), .. } => format!("no cluster {name}"),
            Cause::NoCluster { cluster: None, .. } => "no such cluster (NC)".into(),
            Cause::NoRoute { .. } => "no route".into(),
            Cause::NoListener => "no listener".into(),
            Cause::NoFilterChain { .. } => "no filter chain".into(),
            Cause::NoGatewayPod => "no ready pod".into(),
            Cause::Codec => "took TLS for HTTP (http1.codec_error)".into(),
            Cause::Unverified => "certificate not trusted".into(),
            Cause::LegReset => "TLS reset".into(),
            Cause::PlainToMutual => "leg without mTLS".into(),
            Cause::DoubleTls { .. } => "TLS in TLS".into(),
            Cause::PlainToTls { .. } => "plain HTTP to a TLS port".into(),
            Cause::WrongSite { asked, .. } => format!("not {asked}"),
            Cause::Denied { policy: Some(policy), .. } => format!("denied by {policy}"),
            Cause::Denied { policy: None, .. } => "denied: no ALLOW rule fits".into(),
            // These two are the mesh's configuration as often as not.
            Cause::Site(trouble @ (Trouble::NoEndpoint | Trouble::Tls(_))) => trouble.words(),
            Cause::Site(trouble) => format!("{} (site, not mesh)", trouble.words()),
            Cause::Network(words) => words.clone(),
        }
    }

    /// Which stop of the path it happened at: 0 the client's sidecar, 1 the gateway, 2 the outside.
    pub fn stop(&self) -> usize {
        match self {
            Cause::NotRegistered { .. } | Cause::OutOfScope { .. } => 0,
            Cause::NoCluster { at, .. } | Cause::NoRoute { at } | Cause::Denied { at, .. } => match at {
                At::Sidecar => 0,
                At::Gateway => 1,
            },
            Cause::NoListener
            | Cause::NoFilterChain { .. }
            | Cause::NoGatewayPod
            | Cause::Codec
            | Cause::Unverified
            | Cause::LegReset
            | Cause::PlainToMutual => 1,
            Cause::DoubleTls { .. }
            | Cause::PlainToTls { .. }
            | Cause::WrongSite { .. }
            | Cause::Site(_)
            | Cause::Network(_) => 2,
        }
    }
}

impl Trouble {
    fn words(&self) -> String {
        match self {
            Trouble::Refused => "connection refused".into(),
            Trouble::NoAddress => "its name gives no address".into(),
            Trouble::NoEndpoint => "no endpoint".into(),
            Trouble::Reset => "connection reset".into(),
            Trouble::Tls(reason) => format!("TLS failed: {reason}"),
            Trouble::NotTls => "does not speak TLS".into(),
            Trouble::Status(code) => format!("answered {code}"),
        }
    }
}

/// Envoy writes the words of a reason with underscores.
fn says(entry: &Entry, words: &str) -> bool {
    let reason = entry.transport_failure().unwrap_or_default().to_ascii_lowercase().replace('_', " ");
    reason.contains(words)
}

/// The cause by the logs; `None`: the far end answered (or nothing tells otherwise).
pub(super) fn cause(trace: &Trace, transfer: Transfer<'_>, probe: &Probe, evidence: &Evidence) -> Option<Cause> {
    at_sidecar(trace, transfer.status(), evidence)
        .or_else(|| match &trace.onward {
            Onward::Gateway { .. } => on_gateway_leg(trace, transfer, probe, evidence),
            Onward::Host(_) | Onward::Passthrough(_) => {
                outside(&trace.sidecar, At::Sidecar, transfer, probe, trace::client_dump(evidence))
            }
            Onward::Nowhere => None,
        })
        .or_else(|| (transfer.exit(probe) == 28).then(|| Cause::Network("timed out".into())))
}

fn at_sidecar(trace: &Trace, status: u16, evidence: &Evidence) -> Option<Cause> {
    let entry = &trace.sidecar;
    let flags = entry.flags();
    // A format without details and route name shows the same by what is absent: no cluster, no host, 502.
    let bare = entry.details().is_none() && entry.cluster().is_none() && entry.upstream_host().is_none();
    let http = (entry.details() == Some("direct_response") && entry.route() == Some("block_all"))
        || (bare && flags.is_empty() && status == 502);
    if http || entry.cluster() == Some("BlackHoleCluster") {
        return Some(unregistered(trace, evidence, http));
    }
    if flags.contains("NC") {
        let port = trace.asked.as_ref().map(|asked| asked.port);
        let cluster = wanted_cluster(trace, trace::client_dump(evidence), port, entry);
        return Some(Cause::NoCluster { at: At::Sidecar, cluster });
    }
    if flags.contains("NR") || entry.details() == Some("route_not_found") {
        return Some(Cause::NoRoute { at: At::Sidecar });
    }
    denied(entry, At::Sidecar)
}

fn denied(entry: &Entry, at: At) -> Option<Cause> {
    let said =
        [entry.termination(), entry.details()].into_iter().flatten().find(|text| text.contains("rbac_access_denied"));
    if let Some(said) = said {
        // `rbac_access_denied_matched_policy[ns[mesh-test]-policy[deny]-rule[0]]`; `none`: no ALLOW rule fits.
        let name = said.split_once('[').map_or("", |(_, rest)| rest.trim_end_matches(']'));
        let policy = (!matches!(name, "" | "none")).then(|| name.to_string());
        return Some(Cause::Denied { at, policy });
    }
    let external =
        entry.flags().contains("UAEX") || entry.details().is_some_and(|text| text.starts_with("ext_authz_denied"));
    external.then(|| Cause::Denied { at, policy: Some("the external authorizer".into()) })
}

fn unregistered(trace: &Trace, evidence: &Evidence, http: bool) -> Cause {
    let Some(asked) = &trace.asked else { return Cause::NotRegistered { http, near: None } };
    let found = registry::registrations(evidence, &asked.host);
    let exported = |entry: &Registration| {
        entry.namespace == trace.client.namespace
            || entry.export_to.is_empty()
            || entry.export_to.iter().any(|to| to == "*" || *to == trace.client.namespace)
    };
    let fits = |entry: &&Registration| exported(entry) && entry.ports.contains(&asked.port);
    let sidecars = registry::sidecars(evidence, &trace.client.namespace);
    if let Some(registration) = found.iter().find(fits).filter(|_| !sidecars.is_empty()) {
        return Cause::OutOfScope { registration: registration.clone(), sidecars };
    }
    let nearest = found.iter().find(fits).or_else(|| found.iter().find(|entry| exported(entry))).or(found.first());
    let near = nearest.map(|registration| Near {
        registration: registration.clone(),
        miss: match (exported(registration), registration.ports.contains(&asked.port)) {
            (true, true) => Miss::Unknown,
            (true, false) => Miss::Port(asked.port),
            (false, _) => Miss::Namespace,
        },
    });
    Cause::NotRegistered { http, near }
}

/// The cluster that a proxy's configuration names for this connection, if it does not have it.
fn wanted_cluster(trace: &Trace, dump: Option<&Dump>, port: Option<u16>, entry: &Entry) -> Option<String> {
    let (dump, port) = (dump?, port?);
    let host = trace.asked.as_ref()?.host.as_str();
    let sni = entry.server_name().unwrap_or(host);
    let mut named = vec![];
    for listener in dump.listeners_on(port) {
        for chain in listener.chains.iter().filter(|chain| chain.serves(sni)) {
            match &chain.target {
                crate::envoy::Target::Http { route, .. } => {
                    let found = dump.route(route).and_then(|route| route.host_for(host));
                    named.extend(found.into_iter().flat_map(|host| host.clusters.iter().cloned()));
                }
                target => named.extend(target.clusters().into_iter().map(str::to_string)),
            }
        }
    }
    named.into_iter().find(|name| !name.is_empty() && dump.cluster(name).is_none())
}

fn on_gateway_leg(trace: &Trace, transfer: Transfer<'_>, probe: &Probe, evidence: &Evidence) -> Option<Cause> {
    let sidecar = &trace.sidecar;
    let flags = sidecar.flags();
    let dump = || trace::pods(evidence, &trace.gateway_name).iter().find_map(|pod| pod.dump.as_deref());
    if let Some(entry) = trace.gateway.as_ref().and_then(|line| line.entry())
        && let Some(cause) = at_gateway(entry)
    {
        return Some(match (cause, &trace.onward) {
            (Cause::NoCluster { at, cluster: None }, Onward::Gateway { bound, .. }) => {
                Cause::NoCluster { at, cluster: wanted_cluster(trace, dump(), *bound, entry) }
            }
            (cause, _) => cause,
        });
    }
    // The gateway's own trouble onwards comes first: the sidecar only sees its leg end.
    if let Some(trace::GatewayLine::Joined(entry)) = &trace.gateway
        && !entry.flags().is_empty()
        && let Some(cause) = outside(entry, At::Gateway, transfer, probe, dump())
    {
        return Some(cause);
    }
    if flags.contains("UH") {
        return Some(Cause::NoGatewayPod);
    }
    if says(sidecar, "certificate verify failed") {
        return Some(Cause::Unverified);
    }
    if says(sidecar, "connection refused") {
        return Some(Cause::NoListener);
    }
    if says(sidecar, "timeout") || says(sidecar, "unreachable") || says(sidecar, "no route to host") {
        return Some(Cause::Network("the gateway could not be reached".into()));
    }
    let modes = leg_modes(trace, evidence);
    if flags.contains("UF") || flags.contains("UR") || flags.contains("UC") {
        return Some(missing_chain(trace, evidence).unwrap_or(Cause::LegReset));
    }
    let joined = match &trace.gateway {
        Some(trace::GatewayLine::Joined(entry)) => Some(entry),
        _ => None,
    };
    let failed = transfer.exit(probe) != 0;
    if failed && modes == Some((TlsMode::None, TlsMode::IstioMutual)) {
        return Some(Cause::PlainToMutual);
    }
    let entry = joined?;
    let reason = entry.get("DOWNSTREAM_TRANSPORT_FAILURE_REASON").unwrap_or_default();
    if failed && reason.contains("TLS_error") {
        return Some(Cause::PlainToMutual);
    }
    if let (Some(asked), Some(got)) = (&trace.asked, entry.cluster().and_then(crate::envoy::ClusterName::parse))
        && failed
        && !got.host.eq_ignore_ascii_case(&asked.host)
    {
        return Some(Cause::WrongSite { asked: asked.host.clone(), got: format!("{}:{}", got.host, got.port) });
    }
    outside(entry, At::Gateway, transfer, probe, dump())
}

/// What the gateway's own line says about a refusal of its own.
fn at_gateway(entry: &Entry) -> Option<Cause> {
    let flags = entry.flags();
    if flags.contains("NR") {
        return Some(match entry.details() {
            Some("filter_chain_not_found") => Cause::NoFilterChain { shown: entry.server_name().map(str::to_string) },
            _ => Cause::NoRoute { at: At::Gateway },
        });
    }
    if flags.contains("NC") {
        return Some(Cause::NoCluster { at: At::Gateway, cluster: entry.cluster().map(str::to_string) });
    }
    if flags.contains("DPE") || entry.details().is_some_and(|details| details.contains("codec_error")) {
        return Some(Cause::Codec);
    }
    denied(entry, At::Gateway)
}

/// TLS mode of the sidecar's cluster and of the gateway's filter chain for this leg.
fn leg_modes(trace: &Trace, evidence: &Evidence) -> Option<(TlsMode, TlsMode)> {
    let dump = trace::client_dump(evidence)?;
    let leg = dump.cluster(trace.sidecar.cluster()?)?;
    // Gateway pods carry no `tlsMode` label: with auto mTLS the leg is plain.
    let mode = leg.tls_for(&Default::default()).map_or(TlsMode::None, |tls| tls.mode);
    let Onward::Gateway { bound: Some(bound), .. } = trace.onward else { return None };
    let sni = trace.sidecar.server_name()?;
    let gateway = trace::pods(evidence, &trace.gateway_name).iter().find_map(|pod| pod.dump.as_deref())?;
    let chain =
        gateway.listeners_on(bound).flat_map(|listener| listener.all_chains()).find(|chain| chain.serves(sni))?;
    Some((mode, chain.tls.mode))
}

/// The gateway's configuration has the listener, but no chain for the name that the leg shows.
fn missing_chain(trace: &Trace, evidence: &Evidence) -> Option<Cause> {
    let Onward::Gateway { bound: Some(bound), .. } = trace.onward else { return None };
    let dump = trace::client_dump(evidence)?;
    let leg = dump.cluster(trace.sidecar.cluster()?)?;
    let tls = leg.tls_for(&Default::default())?;
    let shown = if tls.sni.is_empty() { trace.sidecar.server_name()?.to_string() } else { tls.sni.clone() };
    let gateway = trace::pods(evidence, &trace.gateway_name).iter().find_map(|pod| pod.dump.as_deref())?;
    let mut listeners = gateway.listeners_on(bound).peekable();
    if listeners.peek().is_none() {
        return Some(Cause::NoListener);
    }
    let served = listeners.flat_map(|listener| listener.all_chains()).any(|chain| chain.serves(&shown));
    (!served).then_some(Cause::NoFilterChain { shown: Some(shown) })
}

/// What happened on the last leg, out of the mesh, by the line of the proxy that made it.
fn outside(entry: &Entry, at: At, transfer: Transfer<'_>, probe: &Probe, dump: Option<&Dump>) -> Option<Cause> {
    let flags = entry.flags();
    let originates = || {
        let cluster = dump.zip(entry.cluster()).and_then(|(dump, name)| dump.cluster(name));
        cluster.is_some_and(|cluster| cluster.mode().is_some_and(|mode| mode != TlsMode::None))
    };
    if flags.contains("UH") {
        let kind = dump.zip(entry.cluster()).and_then(|(dump, name)| Some(dump.cluster(name)?.kind.as_str()));
        let by_name = kind.is_none_or(|kind| kind.contains("DNS") || kind.contains("dns"));
        return Some(Cause::Site(if by_name { Trouble::NoAddress } else { Trouble::NoEndpoint }));
    }
    if says(entry, "connection refused") {
        return Some(Cause::Site(Trouble::Refused));
    }
    if says(entry, "timeout") || says(entry, "unreachable") || says(entry, "no route to host") || flags.contains("UT") {
        return Some(Cause::Network("no way to the outside (timed out or unreachable)".into()));
    }
    if says(entry, "tls error") {
        return Some(Cause::Site(Trouble::Tls(tls_reason(entry.transport_failure().unwrap_or_default()))));
    }
    if flags.contains("UF") || flags.contains("UC") || flags.contains("UR") {
        return Some(Cause::Site(Trouble::Reset));
    }
    let puzzled = ["wrong version number", "unexpected message"].iter().any(|words| transfer.message().contains(words));
    if transfer.exit(probe) == 35 && puzzled {
        return Some(if originates() { Cause::DoubleTls { at } } else { Cause::Site(Trouble::NotTls) });
    }
    let status = transfer.status();
    let port = entry.cluster().and_then(crate::envoy::ClusterName::parse).map(|name| name.port);
    let plain = transfer.asked().is_some_and(|asked| !asked.is_tls());
    if plain && status == 400 && port == Some(443) && !originates() {
        return Some(Cause::PlainToTls { at });
    }
    let own_answer = entry.details() == Some("via_upstream") || entry.code() == 0;
    (status >= 400 && own_answer).then_some(Cause::Site(Trouble::Status(status)))
}

/// `WRONG VERSION NUMBER` out of BoringSSL's `TLS_error:|268435703:SSL_routines:OPENSSL_internal:WRONG_VERSION_NUMBER:…`.
fn tls_reason(reason: &str) -> String {
    let after = reason.split("OPENSSL_internal:").nth(1).and_then(|rest| rest.split(':').next());
    super::text::excerpt(&after.unwrap_or(reason).replace('_', " "))
}

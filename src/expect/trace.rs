//! The exact join of one probe's lines: curl's local port → the sidecar's line → the gateway's line.
//!
//! `DOWNSTREAM_REMOTE_ADDRESS` of the sidecar's line is curl's local address; its `UPSTREAM_LOCAL_ADDRESS`
//! is the gateway's `DOWNSTREAM_REMOTE_ADDRESS`. For TLS that is the only exact join there is.

use super::curl::{Asked, Transfer, exit_words};
use super::finding::Finding;
use super::{Evidence, Failure, Probe, ProxyPod};
use crate::envoy::{ClusterName, Dump, Entry, LogFormats};
use crate::plan::Workload;
use std::borrow::Cow;

/// How far the last transfer got, by the logs.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    pub client: Workload,
    pub asked: Option<Asked>,
    pub sidecar: Entry,
    pub onward: Onward,
    /// Where `onward` is the gateway.
    pub gateway: Option<GatewayLine>,
    pub gateway_name: Workload,
    /// The client got a response, or at least no error.
    pub answered: bool,
}

/// Where the sidecar sent the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Onward {
    /// To the gateway: the Service's port, and the port that Envoy binds for it.
    Gateway { port: Option<u16>, bound: Option<u16> },
    /// To another host that istiod knows.
    Host(ClusterName),
    /// To the address that the client asked for, whatever it is.
    Passthrough(String),
    /// Nowhere.
    Nowhere,
}

#[derive(Debug, Clone)]
pub(super) enum GatewayLine {
    /// By the exact join.
    Joined(Entry),
    /// The sidecar's connection never stood, so there is no exact join; this refusal by the gateway was
    /// written in the probe's window. Good for an explanation, never for a pass.
    Likely(Entry),
    /// The gateway writes no such log, or not the field to join by.
    Unreadable(Unreadable),
    Absent,
}

impl GatewayLine {
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            GatewayLine::Joined(entry) | GatewayLine::Likely(entry) => Some(entry),
            _ => None,
        }
    }
}

/// Why a proxy's log cannot tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unreadable {
    NoProxy,
    NoLog,
    RemoteLog,
    Lacks(&'static str),
}

/// Why there is no trace.
#[derive(Debug, Clone)]
pub(super) enum Blind {
    NoProbe,
    OutsideTheMesh,
    NotCurl(String),
    /// curl never had a connection.
    NoConnection {
        exit: i32,
    },
    Sidecar(Workload, Unreadable),
    NoLine {
        workload: Workload,
        local: u16,
    },
}

impl Blind {
    /// `what` is the expectation in words: "via istio-egressgateway".
    pub fn finding(self, code: &'static str, what: &str) -> Finding {
        match self {
            Blind::NoProbe => Finding::not_shown("no command ran before this line", "put an `exec` before it"),
            Blind::OutsideTheMesh => Finding::not_shown(
                "`exec local` runs outside the mesh: no sidecar saw it",
                "run the command in a workload of the mesh, e.g. `exec sleep curl …`",
            ),
            Blind::NotCurl(program) => Finding::not_shown(
                format!("`{program}` does not say which connection was its own, so no log line can be called its line"),
                "use curl for this probe, or look for the line with `expect log P contains …`",
            ),
            Blind::NoConnection { exit } => Finding::no(Failure::new(
                code,
                format!("expected {what}, but curl never connected (curl exit {exit}: {})", exit_words(exit, "")),
            )),
            Blind::Sidecar(workload, why) => {
                let (reason, help) = why.words(&workload, "sidecar");
                Finding::NotShown { reason, help }
            }
            Blind::NoLine { workload, local } => Finding::unproven(
                Failure::new(
                    code,
                    format!(
                        "expected {what}, but the sidecar of {workload} has no access-log line for the connection \
                         from port {local}"
                    ),
                )
                .why(
                    "a line is written when the connection ends, and real sidecars flush once a second; if it never comes, \
                     the traffic did not pass the sidecar (excluded port or address, no redirect)",
                ),
            ),
        }
    }
}

impl Unreadable {
    /// Reason and help.
    pub fn words(&self, workload: &Workload, role: &str) -> (String, String) {
        match self {
            Unreadable::NoProxy => (
                format!("{workload} shows no Envoy configuration: it has no {role} proxy, or no pod"),
                format!(
                    "look at `kubectl -n {} get pods`: each pod of {} needs the container istio-proxy",
                    workload.namespace, workload.name
                ),
            ),
            Unreadable::NoLog => (
                format!("the proxy of {workload} writes no access log"),
                "`require access-log` in the scenario, or `accessLogFile: /dev/stdout` in the mesh config".to_string(),
            ),
            Unreadable::RemoteLog => (
                format!("the proxy of {workload} sends its access log away (gRPC or OpenTelemetry) and writes none"),
                "`require access-log` in the scenario, or add `accessLogFile: /dev/stdout` to the mesh config"
                    .to_string(),
            ),
            Unreadable::Lacks(operator) => (
                format!("the access log of {workload} lacks %{operator}%"),
                format!(
                    "`require access-log{}` in the scenario, or add %{operator}% to accessLogFormat",
                    if *operator == "DOWNSTREAM_PEER_URI_SAN" { " peer" } else { "" }
                ),
            ),
        }
    }
}

/// The formats a pod writes, and whether its log can serve a join.
pub(super) fn readable<'p>(pod: &'p ProxyPod, needed: &[&'static str]) -> Result<Cow<'p, LogFormats>, Unreadable> {
    let formats = match (&pod.dump, &pod.formats) {
        (Some(dump), _) => dump.readable_formats(),
        (None, Some(formats)) => Cow::Borrowed(&**formats),
        (None, None) if pod.log.is_empty() => return Err(Unreadable::NoProxy),
        (None, None) => Cow::Owned(LogFormats::istio_default()),
    };
    if !formats.writes() {
        return Err(if formats.is_remote() { Unreadable::RemoteLog } else { Unreadable::NoLog });
    }
    for operator in needed {
        let without_port = format!("{operator}_WITHOUT_PORT");
        if !formats.has(operator) && !formats.has(&without_port) {
            return Err(Unreadable::Lacks(operator));
        }
    }
    Ok(formats)
}

pub(super) fn pods<'a>(evidence: &'a Evidence, workload: &Workload) -> &'a [ProxyPod] {
    evidence.proxies.get(&workload.to_string()).map_or(&[], Vec::as_slice)
}

/// The exec's workload and curl's last transfer, with the local port of its connection.
fn connection(evidence: &Evidence) -> Result<(&Probe, &Workload, Transfer<'_>, u16), Blind> {
    let probe = evidence.probe.as_ref().ok_or(Blind::NoProbe)?;
    let workload = probe.workload.as_ref().ok_or(Blind::OutsideTheMesh)?;
    let Some(transfer) = Transfer::last(probe) else {
        return Err(Blind::NotCurl(probe.command.first().cloned().unwrap_or_default()));
    };
    let Some((_, local)) = transfer.local() else {
        return Err(Blind::NoConnection { exit: transfer.exit(probe) });
    };
    Ok((probe, workload, transfer, local))
}

/// Joins the lines of the last transfer. `gateway` is the one the expectation names, or the default.
pub(super) fn trace(evidence: &Evidence, gateway: &Workload) -> Result<Trace, Blind> {
    let (probe, workload, transfer, local) = connection(evidence)?;
    let unreadable = |why| Blind::Sidecar(workload.clone(), why);
    let all = pods(evidence, workload);
    let pod = all.iter().find(|pod| pod.pod == probe.pod).or(match all {
        [only] => Some(only),
        _ => None,
    });
    let pod = pod.ok_or_else(|| unreadable(Unreadable::NoProxy))?;
    let formats = readable(pod, &["DOWNSTREAM_REMOTE_ADDRESS"]).map_err(unreadable)?;
    let ends = |entry: &Entry| entry.downstream().as_deref().and_then(port_of) == Some(local);
    let entry = pod.log.iter().rev().filter_map(|line| formats.parse(line)).find(ends);
    let sidecar = entry.ok_or_else(|| Blind::NoLine { workload: workload.clone(), local })?;
    let gateways = pods(evidence, gateway);
    let onward = onward(&sidecar, gateway, gateways, evidence);
    let asked = transfer.asked();
    let gateway_line = matches!(onward, Onward::Gateway { .. })
        .then(|| gateway_line(&sidecar, gateways, asked.as_ref().map(|asked| asked.host.as_str())));
    Ok(Trace {
        client: workload.clone(),
        asked,
        sidecar,
        onward,
        gateway: gateway_line,
        gateway_name: gateway.clone(),
        answered: transfer.status() != 0 || transfer.exit(probe) == 0,
    })
}

fn onward(sidecar: &Entry, gateway: &Workload, gateways: &[ProxyPod], evidence: &Evidence) -> Onward {
    let host = sidecar.upstream_host();
    let name = sidecar.cluster().and_then(ClusterName::parse);
    let to_pod = host
        .as_deref()
        .and_then(split_address)
        .is_some_and(|(ip, _)| gateways.iter().any(|pod| !pod.ip.is_empty() && pod.ip == ip));
    let to_service = name.as_ref().and_then(ClusterName::service).is_some_and(|(service, namespace)| {
        namespace == gateway.namespace && super::services::belongs_to(evidence, gateway, service)
    });
    if to_pod || to_service {
        let bound = host.as_deref().and_then(port_of);
        return Onward::Gateway { port: name.map(|name| name.port), bound };
    }
    match (name, sidecar.cluster(), host) {
        (Some(name), _, _) => Onward::Host(name),
        (None, Some("PassthroughCluster"), Some(host)) => Onward::Passthrough(host),
        _ => Onward::Nowhere,
    }
}

fn gateway_line(sidecar: &Entry, gateways: &[ProxyPod], host: Option<&str>) -> GatewayLine {
    let mut why = Unreadable::NoProxy;
    let mut readable_pods = vec![];
    for pod in gateways {
        match readable(pod, &["DOWNSTREAM_REMOTE_ADDRESS"]) {
            Ok(formats) => readable_pods.push((pod, formats)),
            Err(reason) => why = reason,
        }
    }
    if readable_pods.is_empty() {
        return GatewayLine::Unreadable(why);
    }
    let lines = readable_pods
        .iter()
        .flat_map(|(pod, formats)| pod.log.iter().rev().filter_map(move |line| formats.parse(line)));
    match sidecar.upstream_local() {
        Some(local) => lines
            .into_iter()
            .find(|entry| entry.downstream().as_deref() == Some(local.as_str()))
            .map_or(GatewayLine::Absent, GatewayLine::Joined),
        None => {
            lines.into_iter().find(|entry| is_refusal_of(entry, host)).map_or(GatewayLine::Absent, GatewayLine::Likely)
        }
    }
}

/// A line by which the gateway turned somebody away who asked for this host, or gave a name that sidecars
/// make up when a DestinationRule says none (`outbound_.15443_.cnn_.…`).
fn is_refusal_of(entry: &Entry, host: Option<&str>) -> bool {
    let turned_away =
        !entry.flags().is_empty() || entry.code() >= 400 || entry.get("DOWNSTREAM_TRANSPORT_FAILURE_REASON").is_some();
    let name = entry.server_name().unwrap_or_default();
    turned_away && (name.is_empty() || name.starts_with("outbound_.") || Some(name) == host)
}

/// `10.0.0.1:443` and `[::1]:443` cut at the port.
pub(super) fn split_address(address: &str) -> Option<(&str, u16)> {
    let (ip, port) = address.rsplit_once(':')?;
    Some((ip.trim_start_matches('[').trim_end_matches(']'), port.parse().ok()?))
}

pub(super) fn port_of(address: &str) -> Option<u16> {
    split_address(address).map(|(_, port)| port)
}

/// The sidecar's dump of the pod that the probe ran in.
pub(super) fn client_dump(evidence: &Evidence) -> Option<&Dump> {
    let probe = evidence.probe.as_ref()?;
    let all = pods(evidence, probe.workload.as_ref()?);
    let pod = all.iter().find(|pod| pod.pod == probe.pod).or(all.first())?;
    pod.dump.as_deref()
}

//! `path  sleep ✓ → istio-egressgateway:15443 ✗ no listener → edition.cnn.com`.

use super::cause::Cause;
use super::trace::{GatewayLine, Onward, Trace, port_of};
use crate::envoy::ClusterName;

/// One stop with the port that people name, and the port it really is where that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stop {
    pub name: String,
    pub port: Option<u16>,
    /// The port that the gateway's Envoy binds, or the site's endpoint has.
    pub bound: Option<u16>,
    pub is_gateway: bool,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        match (self.port, self.bound) {
            (Some(port), Some(bound)) if bound != port => {
                write!(f, ":{port} ({} {bound})", if self.is_gateway { "bound" } else { "endpoint port" })
            }
            (Some(port), _) | (None, Some(port)) => write!(f, ":{port}"),
            (None, None) => Ok(()),
        }
    }
}

/// The stops that the logs show: the client, the gateway if it went there, the far end.
pub(super) fn stops(trace: &Trace) -> Vec<Stop> {
    let stop = |name: &str, port| Stop { name: name.to_string(), port, bound: None, is_gateway: false };
    let mut stops = vec![stop(&trace.client.name, None)];
    let asked = || trace.asked.as_ref().map(|asked| stop(&asked.host, Some(asked.port)));
    match &trace.onward {
        Onward::Gateway { port, bound } => {
            stops.push(Stop { name: trace.gateway_name.name.clone(), port: *port, bound: *bound, is_gateway: true });
            let joined = match &trace.gateway {
                Some(GatewayLine::Joined(entry)) => entry.cluster().and_then(|name| {
                    let address = entry.upstream_host();
                    match ClusterName::parse(name) {
                        Some(name) => Some(named(name, address.as_deref())),
                        None => address.map(|address| stop(&address, None)),
                    }
                }),
                _ => None,
            };
            // Beyond a gateway that did not pass it on, the port would be the gateway's choice.
            stops.extend(joined.or_else(|| trace.asked.as_ref().map(|asked| stop(&asked.host, None))));
        }
        Onward::Host(name) => stops.push(named(name.clone(), trace.sidecar.upstream_host().as_deref())),
        Onward::Passthrough(address) => {
            stops.push(asked().unwrap_or_else(|| stop(address, None)));
        }
        Onward::Nowhere => stops.extend(asked()),
    }
    stops
}

/// A cluster's host and port; `bound` when its endpoint has another port (a ServiceEntry's `targetPort`).
fn named(name: ClusterName, address: Option<&str>) -> Stop {
    let bound = address.and_then(port_of).filter(|port| *port != name.port);
    Stop { name: name.host, port: Some(name.port), bound, is_gateway: false }
}

/// The line with its marks: ✓ passed, ✗ with what went wrong there, ? where nothing proves it, nothing where it
/// never came.
pub(super) fn path_line(trace: &Trace, cause: Option<&Cause>) -> String {
    let stops = stops(trace);
    let last = stops.len() - 1;
    // Beyond the gateway nothing is proven without its line, nor where the sidecar answered by itself.
    let unproven = matches!(trace.gateway, Some(GatewayLine::Absent | GatewayLine::Unreadable(_)))
        || trace.onward == Onward::Nowhere;
    let doubt_from = match (cause, unproven, trace.answered) {
        (Some(_), _, _) | (None, false, true) => usize::MAX,
        (None, true, _) => 1,
        (None, false, false) => last,
    };
    let marked = stops.iter().enumerate().map(|(index, stop)| match cause {
        Some(cause) if index == cause.stop().min(last) => format!("{stop} ✗ {}", cause.words()),
        Some(cause) if index > cause.stop() => stop.to_string(),
        _ if index >= doubt_from => format!("{stop} ?"),
        _ => format!("{stop} ✓"),
    });
    let note = match &trace.onward {
        Onward::Passthrough(_) => "  (PassthroughCluster)",
        _ => "",
    };
    format!("path  {}{note}", marked.collect::<Vec<_>>().join(" → "))
}

/// The same stops without marks, for a comparison.
pub(super) fn plain(stops: &[Stop]) -> String {
    stops.iter().map(Stop::to_string).collect::<Vec<_>>().join(" → ")
}

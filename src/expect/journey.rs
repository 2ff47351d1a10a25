//! Where the probe went: `via`, `direct`, `path`, `peer`.

use super::cause::Cause;
use super::explain::{Story, default_gateway, told, with_lines, with_story};
use super::finding::Finding;
use super::needs::gateway_of;
use super::path_line::{Stop, path_line, plain, stops};
use super::text::resolve;
use super::trace::{self, Blind, GatewayLine, Onward};
use super::{Evidence, Failure, code, registry};
use crate::plan::{Hop, Text, Workload};

pub(super) fn via_words(gateway: &Workload, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("via {}:{port}", gateway.name),
        None => format!("via {}", gateway.name),
    }
}

pub(super) fn hop_words(hops: &[Hop]) -> String {
    let hop = |hop: &Hop| match hop.port {
        Some(port) => format!("{}:{port}", hop.name),
        None => hop.name.clone(),
    };
    hops.iter().map(hop).collect::<Vec<_>>().join(" -> ")
}

/// The story of the probe by way of this gateway, or why there is none.
fn story(evidence: &Evidence, gateway: &Workload, code: &'static str, what: &str) -> Result<Story, Finding> {
    match trace::trace(evidence, gateway) {
        Ok(trace) => Ok(told(trace, evidence)),
        Err(blind) => Err(match (blind.clone(), blind.finding(code, what)) {
            (Blind::NoConnection { .. }, Finding::No(failure)) => {
                Finding::no(super::explain::explained(*failure, evidence))
            }
            (_, finding) => finding,
        }),
    }
}

/// Where the sidecar sent it, in words.
fn went(story: &Story) -> String {
    match (&story.trace.onward, &story.cause) {
        (_, Some(cause)) if cause.stop() == 0 => format!("it stopped at the sidecar: {}", cause.words()),
        (Onward::Gateway { .. }, _) => {
            let stop = stops(&story.trace).into_iter().nth(1);
            format!("it went to {}", stop.map(|stop| stop.to_string()).unwrap_or_default())
        }
        (Onward::Host(name), _) => format!("it went straight to {}:{}", name.host, name.port),
        (Onward::Passthrough(address), _) => format!("it was passed through to {address}"),
        (Onward::Nowhere, _) => "it went nowhere".into(),
    }
}

/// The story of a probe that should have gone by the gateway. A bypass is most often a VirtualService
/// without `mesh`; what the site made of it then matters less.
fn not_by_gateway(failure: Failure, story: &Story, gateway: &Workload, evidence: &Evidence) -> Failure {
    let left = matches!(story.trace.onward, Onward::Host(_) | Onward::Passthrough(_));
    let Some(asked) = story.trace.asked.as_ref().filter(|_| left) else {
        return with_story(failure, story, evidence);
    };
    let failure = with_lines(failure, story, evidence);
    let without = registry::without_mesh(evidence, &asked.host);
    match without.first() {
        Some(name) => failure
            .why(format!("VirtualService {name} lists `gateways` without `mesh`, so sidecars do not follow it"))
            .advise("`mesh` in its `gateways` and in the match of its first leg"),
        None => failure.why(format!("no route of the sidecar sends {} to {gateway}", asked.host)).advise(format!(
            "a VirtualService for {} with `gateways: [mesh, …]` and a match on port {}",
            asked.host, asked.port
        )),
    }
}

/// What the gateway's own line must say for a pass: it took the connection and opened the next.
fn passed_on(story: &Story, code: &'static str, what: &str, evidence: &Evidence) -> Result<(), Finding> {
    let gateway = &story.trace.gateway_name;
    match &story.trace.gateway {
        Some(GatewayLine::Joined(entry)) if entry.upstream_host().is_some() => {
            let stopped = story.cause.as_ref().filter(|cause| cause.stop() == 1);
            match stopped {
                Some(cause) => {
                    let title = format!("expected {what}, but {} stopped it: {}", gateway.name, cause.words());
                    Err(Finding::no(with_story(Failure::new(code, title), story, evidence)))
                }
                None => Ok(()),
            }
        }
        Some(GatewayLine::Joined(_) | GatewayLine::Likely(_)) => {
            let why = story.cause.as_ref().map_or("it opened no connection onwards".to_string(), |cause| cause.words());
            let title = format!("expected {what}, but {} did not pass it on: {why}", gateway.name);
            Err(Finding::no(with_story(Failure::new(code, title), story, evidence)))
        }
        // Why it failed is known without the gateway's line.
        _ if story.cause.is_some() => {
            let why = story.cause.as_ref().map(Cause::words).unwrap_or_default();
            let title = format!("expected {what}, but it did not get through {}: {why}", gateway.name);
            Err(Finding::no(with_story(Failure::new(code, title), story, evidence)))
        }
        Some(GatewayLine::Unreadable(why)) => {
            let (reason, help) = why.words(gateway, "gateway");
            Err(Finding::NotShown { reason, help })
        }
        Some(GatewayLine::Absent) | None => {
            let title = format!("expected {what}, but {} has no access-log line for this connection", gateway.name);
            Err(Finding::unproven(with_story(Failure::new(code, title), story, evidence)))
        }
    }
}

pub(super) fn via(gateway: &Workload, port: Option<u16>, evidence: &Evidence) -> Finding {
    let what = via_words(gateway, port);
    let story = match story(evidence, gateway, code::VIA, &what) {
        Ok(story) => story,
        Err(finding) => return finding,
    };
    let Onward::Gateway { port: seen, bound } = story.trace.onward else {
        let failure = Failure::new(code::VIA, format!("expected {what}, but {}", went(&story)));
        return Finding::no(not_by_gateway(failure, &story, gateway, evidence));
    };
    if let (Some(port), Some(seen)) = (port, seen)
        && port != seen
    {
        let mut failure = Failure::new(code::VIA, format!("expected {what}, but {}", went(&story)));
        if bound == Some(port) {
            failure =
                failure.why(format!("{port} is the port that Envoy binds; `via` names the Gateway server's: {seen}"));
        }
        return Finding::no(with_story(failure, &story, evidence));
    }
    match passed_on(&story, code::VIA, &what, evidence) {
        Ok(()) => Finding::show(path_line(&story.trace, story.cause.as_ref())),
        Err(finding) => finding,
    }
}

pub(super) fn direct(evidence: &Evidence) -> Finding {
    let gateway = evidence.gateway.clone().unwrap_or_else(default_gateway);
    let story = match story(evidence, &gateway, code::DIRECT, "direct") {
        Ok(story) => story,
        Err(finding) => return finding,
    };
    let outside = match &story.trace.onward {
        Onward::Passthrough(_) => true,
        // Another Service of the mesh is a stop on the way, whatever it is.
        Onward::Host(name) => {
            name.service().is_none() || story.trace.asked.as_ref().is_some_and(|a| a.host == name.host)
        }
        _ => false,
    };
    let stood = story.trace.sidecar.upstream_local().is_some();
    let line = path_line(&story.trace, story.cause.as_ref());
    if outside && stood {
        return Finding::show(line);
    }
    let words = match story.cause.as_ref().filter(|_| outside) {
        Some(cause) => format!("the connection never stood: {}", cause.words()),
        None => went(&story),
    };
    Finding::no(with_story(Failure::new(code::DIRECT, format!("expected direct, but {words}")), &story, evidence))
}

pub(super) fn path(hops: &[Hop], evidence: &Evidence) -> Finding {
    if !(2..=3).contains(&hops.len()) {
        return Finding::not_shown(
            format!("a path has a client, at most one gateway and a host; this one has {} stops", hops.len()),
            "write `path A -> B:PORT -> HOST:PORT` or `path A -> HOST:PORT`",
        );
    }
    let default = evidence.gateway.clone().unwrap_or_else(default_gateway);
    let gateway = gateway_of(hops, &default);
    let what = format!("path {}", hop_words(hops));
    let story = match story(evidence, &gateway, code::PATH, &what) {
        Ok(story) => story,
        Err(finding) => return finding,
    };
    let seen = stops(&story.trace);
    let line = path_line(&story.trace, story.cause.as_ref());
    let same = hops.len() == seen.len() && hops.iter().zip(&seen).all(|(hop, stop)| hop_fits(hop, stop, &story));
    if !same {
        let expected: Vec<Stop> = hops
            .iter()
            .map(|hop| Stop { name: hop.name.clone(), port: hop.port, bound: None, is_gateway: false })
            .collect();
        // Stops that fit are written alike, so that the difference shows what differs.
        let expected: Vec<Stop> = expected
            .into_iter()
            .enumerate()
            .map(|(index, stop)| match seen.get(index).filter(|seen| hop_fits(&hops[index], seen, &story)) {
                Some(seen) => seen.clone(),
                None => stop,
            })
            .collect();
        let failure = Failure::new(code::PATH, format!("expected {what}, but {}", went(&story)))
            .seen_all(super::diff::lines(&[plain(&expected)], &[plain(&seen)]));
        return Finding::no(match hops.len() {
            3 => not_by_gateway(failure, &story, &gateway, evidence),
            _ => with_story(failure, &story, evidence),
        });
    }
    if hops.len() == 3 {
        if let Err(finding) = passed_on(&story, code::PATH, &what, evidence) {
            return finding;
        }
    } else if story.trace.sidecar.upstream_local().is_none() {
        let words = story.cause.as_ref().map_or("the connection never stood".to_string(), |cause| cause.words());
        let failure = Failure::new(code::PATH, format!("expected {what}, but {words}"));
        return Finding::no(with_story(failure, &story, evidence));
    }
    Finding::show(line)
}

fn hop_fits(hop: &Hop, stop: &Stop, story: &Story) -> bool {
    let namespaced = |workload: &Workload| hop.name == workload.to_string();
    let name = hop.name.eq_ignore_ascii_case(&stop.name)
        || (stop.name == story.trace.client.name && namespaced(&story.trace.client))
        || (stop.name == story.trace.gateway_name.name && namespaced(&story.trace.gateway_name));
    // The far end may be named by the port asked of the site where an endpoint has another.
    let far = !stop.is_gateway;
    name && hop.port.is_none_or(|port| stop.port == Some(port) || (far && stop.bound == Some(port)))
}

pub(super) fn peer(id: &Text, evidence: &Evidence) -> Finding {
    let wanted = match resolve(id, evidence) {
        Ok(wanted) => wanted,
        Err(name) => {
            return Finding::not_shown(format!("the capture `{name}` has no value yet"), "capture it before this line");
        }
    };
    let gateway = evidence.gateway.clone().unwrap_or_else(default_gateway);
    let what = format!("peer {wanted}");
    let story = match story(evidence, &gateway, code::PEER, &what) {
        Ok(story) => story,
        Err(finding) => return finding,
    };
    if !matches!(story.trace.onward, Onward::Gateway { .. }) {
        let failure = Failure::new(code::PEER, format!("expected {what} at {}, but {}", gateway.name, went(&story)));
        return Finding::no(not_by_gateway(failure, &story, &gateway, evidence));
    }
    let lacks =
        trace::pods(evidence, &gateway).iter().find_map(|pod| trace::readable(pod, &["DOWNSTREAM_PEER_URI_SAN"]).err());
    if let Some(why) = lacks {
        let (reason, help) = why.words(&gateway, "gateway");
        return Finding::NotShown { reason, help };
    }
    let line = path_line(&story.trace, story.cause.as_ref());
    let Some(GatewayLine::Joined(entry)) = &story.trace.gateway else {
        return match passed_on(&story, code::PEER, &what, evidence) {
            Err(finding) => finding,
            Ok(()) => Finding::not_shown("the gateway's line cannot be joined", "add %DOWNSTREAM_REMOTE_ADDRESS%"),
        };
    };
    match entry.peer() {
        // Several URI SANs are separated by commas.
        Some(peer) if peer.split(',').any(|uri| uri == wanted) => {
            Finding::Yes { show: vec![line, format!("peer  {}", super::printable(peer))] }
        }
        Some(peer) => Finding::no(with_story(
            Failure::new(code::PEER, format!("expected {what}, got {}", super::printable(peer)))
                .why("a SPIFFE id is spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT of the client"),
            &story,
            evidence,
        )),
        None => Finding::no(with_story(
            Failure::new(code::PEER, format!("expected {what}, but {} saw no client certificate", gateway.name))
                .why("only a leg with mTLS has a peer; a PASSTHROUGH server sees none")
                .advise("`tls.mode: ISTIO_MUTUAL` in the Gateway's server and in the DestinationRule's subset"),
            &story,
            evidence,
        )),
    }
}

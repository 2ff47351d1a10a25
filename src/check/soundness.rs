//! Whether a scenario can prove what it says: evidence that is only negative, a 200 that may have
//! come past the gateway, a scenario that checks nothing. And `expect route` where no route is.

use super::links::{Index, host_matches, without_namespace};
use super::url;
use crate::diag::{Diagnostic, Place};
use crate::plan::*;
use serde_json::Value;
use std::cell::LazyCell;

/// All doubts about one scenario. `objects` are those it applies, `ambient` what is there anyway.
pub fn check(scenario: &Scenario, objects: &[ManifestObject], ambient: &[ManifestObject]) -> Vec<Diagnostic> {
    let mut found = vec![];
    let probes = probes(scenario);
    nothing_checked(scenario, &mut found);
    lab_alone(scenario, &mut found);
    only_negative(&probes, &mut found);
    // Most scenarios do not need it.
    let index = LazyCell::new(|| Index::new(objects, ambient, &scenario.namespace));
    // A fact of a listener or cluster beside it is a second witness: then the status is not alone.
    let about_state = |s: &Step| matches!(&s.kind, StepKind::Expect(e) if !is_about_probe(&e.what));
    if !scenario.steps.iter().any(about_state) {
        status_alone(&probes, &index, &mut found);
    }
    found
}

/// An exec and the expectations behind it.
pub(super) struct Probe<'a> {
    /// Of the exec among the scenario's steps.
    pub index: usize,
    pub exec: &'a Exec,
    expects: Vec<(&'a Step, &'a Expect)>,
}

impl Probe<'_> {
    /// The line of the exec.
    pub fn place(&self, scenario: &Scenario) -> Place {
        scenario.steps[self.index].place.clone()
    }
}

/// Whether a probe is to reach what it asks for: an expectation says so, or there is none and it must exit 0.
pub(super) fn expects_success(probe: &Probe<'_>) -> bool {
    let mut expects = probe.expects.iter().map(|(_, e)| *e);
    !expects.clone().any(is_blocked) && (probe.expects.is_empty() || expects.any(is_positive))
}

pub(super) fn probes(scenario: &Scenario) -> Vec<Probe<'_>> {
    let mut out: Vec<Probe<'_>> = vec![];
    for (index, step) in scenario.steps.iter().enumerate() {
        match &step.kind {
            StepKind::Exec(exec) => out.push(Probe { index, exec, expects: vec![] }),
            StepKind::Expect(expect) if is_about_probe(&expect.what) => {
                if let Some(probe) = out.last_mut() {
                    probe.expects.push((step, expect));
                }
            }
            _ => {}
        }
    }
    out
}

fn is_about_probe(what: &Expectation) -> bool {
    !what.is_about_state()
}

fn nothing_checked(scenario: &Scenario, found: &mut Vec<Diagnostic>) {
    if scenario.steps.iter().any(|s| matches!(s.kind, StepKind::Expect(_))) {
        return;
    }
    found.push(
        Diagnostic::warning("W0234", format!("the scenario \"{}\" checks nothing", scenario.name))
            .at(first_line(&scenario.place), "no `expect` in it")
            .help("add an expectation: a run in which nothing is checked does not pass"),
    );
}

/// Kinds that only the lab knows, in a scenario that does not say so.
fn lab_alone(scenario: &Scenario, found: &mut Vec<Diagnostic>) {
    if scenario.skips.iter().any(|s| s.when == SkipWhen::NotOn(TargetKind::Lab)) {
        return;
    }
    let of_lab = |o: &ManifestObject| o.body.get("apiVersion").and_then(Value::as_str) == Some(LAB_GROUP);
    let step =
        scenario.steps.iter().find(|s| matches!(&s.kind, StepKind::Apply(objects) if objects.iter().any(of_lab)));
    if let Some(step) = step {
        found.push(
            Diagnostic::warning("W0245", "the lab alone knows this")
                .at(step.place.clone(), "on a cluster the scenario fails here")
                .help("write `only on lab` with the headers: then it is skipped elsewhere, with that reason"),
        );
    }
}

fn first_line(place: &Place) -> Place {
    let text = &place.source.text[place.span.clone()];
    let end = place.span.start + text.find(['\r', '\n']).unwrap_or(text.len());
    Place { source: place.source.clone(), span: place.span.start..end }
}

/// A client that only ever fails shows nothing: it may fail for any reason.
fn only_negative(probes: &[Probe<'_>], found: &mut Vec<Diagnostic>) {
    let mut told: Vec<Option<&Workload>> = vec![];
    for probe in probes {
        let Some((step, _)) = probe.expects.iter().find(|(_, e)| is_blocked(e)) else { continue };
        let client = probe.exec.workload.as_ref();
        let control = probes.iter().filter(|p| p.exec.workload.as_ref() == client).any(|p| {
            // An exec without expectations must exit 0; `000` and exit codes do not count as reached.
            p.expects.is_empty() || p.expects.iter().any(|(_, e)| is_positive(e))
        });
        // As good: another client that reached the same host, so that the client alone differs.
        let hosts = curl_hosts(probe.exec);
        let control = control
            || probes.iter().any(|p| {
                p.expects.iter().any(|(_, e)| is_positive(e)) && curl_hosts(p.exec).iter().any(|h| hosts.contains(h))
            });
        if control || told.contains(&client) {
            continue;
        }
        told.push(client);
        let who = client.map_or("the outside client".to_string(), |w| w.name.clone());
        found.push(
            Diagnostic::warning("W0232", format!("only blocked requests: nothing shows that {who} can reach anything"))
                .at(step.place.clone(), "would also hold if the client, DNS or the network were broken")
                .help(format!(
                    "add a positive control by the same client: an `exec {who} …` whose `expect status 200` holds"
                )),
        );
    }
}

fn is_blocked(expect: &Expect) -> bool {
    match &expect.what {
        Expectation::Blocked(_) => !expect.negated,
        Expectation::Exit(codes) => !expect.negated && !codes.contains(&0),
        Expectation::Status(list) => !expect.negated && list.iter().all(|s| *s == StatusPattern::Code(0)),
        _ => false,
    }
}

fn is_positive(expect: &Expect) -> bool {
    if expect.negated {
        return matches!(expect.what, Expectation::Blocked(_));
    }
    match &expect.what {
        Expectation::Status(list) => list.iter().all(|s| match s {
            StatusPattern::Code(c) => (200..400).contains(c),
            StatusPattern::Class(c) => matches!(c, 2 | 3),
        }),
        Expectation::Exit(codes) => codes == &[0],
        Expectation::Blocked(_) | Expectation::Stderr(_) => false,
        _ => true,
    }
}

/// A 200 from a host that a gateway is applied for says nothing of the way it took.
fn status_alone<'a>(
    probes: &[Probe<'_>],
    index: &LazyCell<Index<'a>, impl FnOnce() -> Index<'a>>,
    found: &mut Vec<Diagnostic>,
) {
    for probe in probes {
        let Some((step, _)) =
            probe.expects.iter().find(|(_, e)| matches!(e.what, Expectation::Status(_)) && is_positive(e))
        else {
            continue;
        };
        let way = |e: &Expect| {
            use Expectation as E;
            matches!(e.what, E::Via { .. } | E::Path(_) | E::Direct | E::Peer(_) | E::Log { .. })
        };
        if probe.exec.workload.is_none() || probe.expects.iter().any(|(_, e)| way(e)) {
            continue;
        }
        let Some((host, gateway)) = curl_hosts(probe.exec).into_iter().find_map(|h| served(index, &h).map(|g| (h, g)))
        else {
            continue;
        };
        found.push(
            Diagnostic::warning(
                "W0233",
                format!("a status alone does not show that {host} was reached through the gateway"),
            )
            .at(step.place.clone(), "would also hold if the traffic went past the gateway")
            .help(format!("add `expect via {gateway}`, or `expect path … -> {gateway}:PORT -> {host}:443`")),
        );
    }
}

/// The hosts of the URLs in a command.
fn curl_hosts(exec: &Exec) -> Vec<String> {
    url::hosts(exec)
}

/// The workload of the gateway that a VirtualService applied here leads a host through.
fn served(index: &Index<'_>, host: &str) -> Option<String> {
    for service in &index.virtual_services {
        let hosts = service.list("/spec/hosts").iter().filter_map(Value::as_str);
        if service.ambient || !hosts.clone().any(|h| host_matches(h, host)) {
            continue;
        }
        for name in service.list("/spec/gateways").iter().filter_map(Value::as_str) {
            if let Some(gateway) = index.gateway(name, service.namespace) {
                let label = gateway.text("/spec/selector/istio").unwrap_or("egressgateway");
                return Some(format!("istio-{}", label.trim_start_matches("istio-")));
            }
        }
    }
    None
}

/// The lesson of `expect route`: for what passes as TLS there is none.
pub fn route(
    name: &str,
    place: &Place,
    objects: &[ManifestObject],
    ambient: &[ManifestObject],
    namespace: &str,
) -> Option<Diagnostic> {
    let index = Index::new(objects, ambient, namespace);
    let host = name.split(':').next().unwrap_or(name);
    let server =
        index.servers().find(|s| s.passes() && s.hosts.iter().any(|h| host_matches(without_namespace(h), host)));
    let d = match server {
        Some(server) => Diagnostic::error("E0240", format!("{host} passes the gateway as TLS: it has no route"))
            .at(place.clone(), "SNI chains have no route; look at the listener and the path")
            .at(server.gateway.at(&format!("{}/tls/mode", server.pointer)), "TLS is passed on here"),
        None => {
            let tls = index.entries_of(host).into_iter().find_map(|e| {
                let ports = e.list("/spec/ports").iter();
                let tls = |p: &&Value| matches!(p.get("protocol").and_then(Value::as_str), Some("TLS" | "HTTPS"));
                ports.clone().position(|p| tls(&p)).filter(|_| ports.clone().all(|p| tls(&p))).map(|i| (e, i))
            });
            match tls {
                Some((entry, i)) => Diagnostic::error("E0240", format!("{host} is reached as TLS: it has no route"))
                    .at(place.clone(), "SNI chains have no route; look at the listener and the path")
                    .at(entry.at(&format!("/spec/ports/{i}/protocol")), "TLS, which no proxy on the way opens"),
                None => return None,
            }
        }
    };
    Some(d.help(format!("write expect listener PORT sni {host}, and expect path CLIENT -> GATEWAY:PORT -> {host}:443")))
}

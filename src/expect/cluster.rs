//! `cluster HOST[:PORT] [subset S] [on P] FACT…`, and `no cluster …`, which must show that the cluster could
//! have been there: a mistyped host is absent everywhere.

use super::finding::Finding;
use super::registry::{self, host_covers};
use super::text::nearest;
use super::trace::pods;
use super::{Captured, Evidence, Failure, code};
use crate::envoy::{Cluster, ClusterName, Dump, TlsContext, Upstream};
use crate::plan::{Fact, Workload};
use std::collections::BTreeMap;

pub(super) struct Wanted<'a> {
    pub host: &'a str,
    pub port: Option<u16>,
    pub subset: Option<&'a str>,
    pub facts: &'a [Fact],
}

impl Wanted<'_> {
    fn words(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let subset = self.subset.map(|subset| format!(" subset {subset}")).unwrap_or_default();
        format!("{}{port}{subset}", self.host)
    }
}

pub(super) fn cluster(wanted: &Wanted<'_>, on: Option<&Workload>, negated: bool, evidence: &Evidence) -> Finding {
    let Some(proxy) = on.cloned().or_else(|| evidence.workload.clone()) else {
        return Finding::not_shown("no workload is meant: nothing ran before this line", "say whose: `… on sleep`");
    };
    let all = pods(evidence, &proxy);
    if all.is_empty() || all.iter().any(|pod| pod.dump.is_none()) {
        return Finding::not_shown(
            format!("{proxy} shows no Envoy configuration"),
            format!("look at `kubectl -n {} get pods`: does {} run with a proxy?", proxy.namespace, proxy.name),
        );
    }
    let many = all.len() > 1;
    let mut shown = vec![];
    for pod in all {
        let Some(dump) = pod.dump.as_deref() else { continue };
        let place = if many { format!("{proxy} (pod {})", pod.pod) } else { proxy.to_string() };
        let found: Vec<&Cluster> = dump.clusters_for(wanted.host, wanted.port, wanted.subset).collect();
        let holds = !found.is_empty() && found.iter().all(|cluster| facts_hold(cluster, wanted.facts, dump));
        match (holds, negated) {
            (true, false) => shown.extend(found.iter().map(|cluster| format!("cluster  {} on {place}", cluster.name))),
            (true, true) => {
                let title =
                    format!("expected no cluster {}{}, but {place} has it", wanted.words(), fact_words(wanted.facts));
                let names = found.iter().map(|cluster| format!("cluster  {}", cluster.name));
                return Finding::no(Failure::new(code::CLUSTER, title).seen_all(names));
            }
            (false, true) => {}
            (false, false) => return Finding::no(failure(wanted, &found, dump, &place, evidence)),
        }
    }
    if negated {
        return match could_be(wanted, evidence, &proxy) {
            Some(reason) => Finding::show(format!("no cluster  {} on {proxy}; {reason}", wanted.words())),
            None => Finding::unproven(impossible(wanted, evidence, &proxy)),
        };
    }
    Finding::Yes { show: shown }
}

fn fact_words(facts: &[Fact]) -> String {
    expected_lines(facts).iter().map(|line| format!(" {}", line.replacen(": ", " ", 1))).collect()
}

fn expected_lines(facts: &[Fact]) -> Vec<String> {
    let line = |fact: &Fact| match fact {
        Fact::Type(kind) => format!("type: {}", kind.to_ascii_uppercase()),
        Fact::Tls(mode) | Fact::Mode(mode) => format!("tls: {}", canonical(mode)),
        Fact::Sni(name) => format!("sni: {name}"),
        Fact::San(name) => format!("san: {name}"),
        Fact::Alpn(name) => format!("alpn: {name}"),
        Fact::RequireClientCertificate => "requireClientCertificate: true".into(),
        Fact::Chains(count) => format!("chains: {count}"),
        Fact::To { host, .. } => format!("to: {host}"),
        Fact::Bound(port) => format!("bound: {port}"),
    };
    facts.iter().map(line).collect()
}

fn canonical(mode: &str) -> String {
    if mode.eq_ignore_ascii_case("none") { "none".into() } else { mode.to_ascii_uppercase() }
}

/// The ways this cluster speaks to its endpoints: one, or with auto mTLS one for each kind of endpoint that
/// the dump lists (all possible ones when it lists none).
fn contexts<'a>(cluster: &'a Cluster, dump: &Dump) -> Vec<&'a TlsContext> {
    match &cluster.upstream {
        Upstream::Socket(tls) => vec![tls],
        Upstream::ByEndpoint(matches) => {
            let endpoints = dump.endpoints.get(&cluster.name).map(Vec::as_slice).unwrap_or_default();
            let mut found: Vec<&TlsContext> =
                endpoints.iter().filter_map(|endpoint| cluster.tls_for(&endpoint.labels)).collect();
            if found.is_empty() {
                found = matches.iter().map(|entry| &entry.tls).collect();
            }
            found.dedup();
            found
        }
    }
}

fn facts_hold(cluster: &Cluster, facts: &[Fact], dump: &Dump) -> bool {
    let contexts = contexts(cluster, dump);
    let each = |test: &dyn Fn(&TlsContext) -> bool| contexts.iter().all(|tls| test(tls));
    facts.iter().all(|fact| match fact {
        Fact::Type(kind) => cluster.kind.eq_ignore_ascii_case(kind),
        Fact::Tls(mode) | Fact::Mode(mode) => each(&|tls| tls.mode.name().eq_ignore_ascii_case(mode)),
        Fact::Sni(name) => each(&|tls| tls.sni.eq_ignore_ascii_case(name)),
        Fact::San(name) => each(&|tls| tls.sans.iter().any(|san| san == name)),
        Fact::Alpn(name) => each(&|tls| tls.alpn.iter().any(|alpn| alpn == name)),
        Fact::RequireClientCertificate | Fact::Chains(_) | Fact::To { .. } | Fact::Bound(_) => false,
    })
}

fn actual_lines(cluster: &Cluster, facts: &[Fact], dump: &Dump) -> Vec<String> {
    let contexts = contexts(cluster, dump);
    let joined = |value: &dyn Fn(&TlsContext) -> String| {
        let mut values: Vec<String> = contexts.iter().map(|tls| value(tls)).collect();
        values.dedup();
        let words = values.join(" or ");
        match (words.is_empty(), values.len() > 1) {
            (true, _) => "(none)".to_string(),
            (false, true) => format!("{words}, by endpoint (auto mTLS)"),
            (false, false) => words,
        }
    };
    let line = |fact: &Fact| match fact {
        Fact::Type(_) => format!("type: {}", cluster.kind),
        Fact::Tls(_) | Fact::Mode(_) => format!("tls: {}", joined(&|tls| tls.mode.name().to_string())),
        Fact::Sni(wanted) => {
            let fits = contexts.iter().all(|tls| tls.sni.eq_ignore_ascii_case(wanted));
            format!("sni: {}", if fits { wanted.clone() } else { joined(&|tls| tls.sni.clone()) })
        }
        Fact::San(wanted) => {
            let fits = contexts.iter().all(|tls| tls.sans.contains(wanted));
            format!("san: {}", if fits { wanted.clone() } else { joined(&|tls| tls.sans.join(", ")) })
        }
        Fact::Alpn(wanted) => {
            let fits = contexts.iter().all(|tls| tls.alpn.contains(wanted));
            format!("alpn: {}", if fits { wanted.clone() } else { joined(&|tls| tls.alpn.join(", ")) })
        }
        Fact::RequireClientCertificate => "requireClientCertificate: (a cluster has no such fact)".into(),
        Fact::Chains(_) => "chains: (a cluster has no such fact)".into(),
        Fact::To { .. } => "to: (a cluster has no such fact)".into(),
        Fact::Bound(_) => "bound: (a cluster has no such fact)".into(),
    };
    facts.iter().map(line).collect()
}

fn failure(wanted: &Wanted<'_>, found: &[&Cluster], dump: &Dump, place: &str, evidence: &Evidence) -> Failure {
    let expected = expected_lines(wanted.facts);
    if let Some(cluster) = found.iter().find(|cluster| !facts_hold(cluster, wanted.facts, dump)) {
        let title =
            format!("expected cluster {}{}, but it is not so on {place}", wanted.words(), fact_words(wanted.facts));
        return Failure::new(code::CLUSTER, title)
            .seen(format!("cluster {} on {place}", cluster.name))
            .seen_all(super::diff::lines(&expected, &actual_lines(cluster, wanted.facts, dump)));
    }
    let title = format!("expected cluster {}{}, but {place} has none", wanted.words(), fact_words(wanted.facts));
    let failure = Failure::new(code::CLUSTER, title);
    let parts: Vec<&ClusterName> = dump
        .clusters
        .iter()
        .filter_map(|cluster| cluster.parts.as_ref())
        .filter(|parts| parts.direction == "outbound")
        .collect();
    let near: Vec<String> = parts
        .iter()
        .filter(|parts| parts.host.eq_ignore_ascii_case(wanted.host))
        .map(|parts| parts.describe())
        .collect();
    if !near.is_empty() {
        return failure.why(format!("{place} has {}", near.join(", ")));
    }
    let short = parts.iter().find(|parts| {
        parts.service().is_some_and(|(name, namespace)| {
            [format!("{name}.{namespace}"), format!("{name}.{namespace}.svc")].iter().any(|short| short == wanted.host)
        })
    });
    if let Some(parts) = short {
        return failure.why("clusters have the whole names of Services").advise(parts.host.clone());
    }
    let registered = registry::registrations(evidence, wanted.host);
    match registered.first() {
        Some(entry) => {
            let client = evidence.workload.as_ref().map_or("", |workload| workload.namespace.as_str());
            let sidecars = registry::sidecars(evidence, client);
            let narrowed = match sidecars.is_empty() {
                true => String::new(),
                false => format!(", and Sidecar {} narrows it", sidecars.join(", ")),
            };
            failure
                .why(format!("ServiceEntry {}/{} has this host{narrowed}", entry.namespace, entry.name))
                .advise("its ports and exportTo")
        }
        None => match nearest(wanted.host, parts.iter().map(|parts| parts.host.as_str())) {
            Some(host) => failure.why(format!("did you mean {host}?")),
            None => failure.why(format!("no Service or ServiceEntry that {place} sees has the host {}", wanted.host)),
        },
    }
}

/// Why the cluster could have been on the proxy; `None`: nothing shows that.
fn could_be(wanted: &Wanted<'_>, evidence: &Evidence, proxy: &Workload) -> Option<String> {
    let fits = |parts: &ClusterName| {
        parts.direction == "outbound"
            && parts.host.eq_ignore_ascii_case(wanted.host)
            && wanted.port.is_none_or(|port| port == parts.port)
    };
    let registered = registry::registrations(evidence, wanted.host);
    if let Some(entry) = registered.iter().find(|entry| wanted.port.is_none_or(|port| entry.ports.contains(&port))) {
        return Some(format!("ServiceEntry {}/{} has the host", entry.namespace, entry.name));
    }
    for service in &evidence.services {
        let text = |pointer| service.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
        let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
        let ports = service.pointer("/spec/ports").and_then(serde_json::Value::as_array);
        let has_port = wanted.port.is_none_or(|port| {
            ports
                .into_iter()
                .flatten()
                .any(|entry| entry.get("port").and_then(serde_json::Value::as_u64) == Some(port.into()))
        });
        if wanted.host.starts_with(&format!("{name}.{namespace}.svc")) && has_port {
            return Some(format!("Service {namespace}/{name} exists"));
        }
    }
    for (name, captured) in &evidence.captures {
        if let Captured::List(names) = captured
            && names.iter().filter_map(|name| ClusterName::parse(name)).any(|parts| fits(&parts))
        {
            return Some(format!("the capture `{name}` had it"));
        }
    }
    let elsewhere: BTreeMap<&String, _> =
        evidence.proxies.iter().filter(|(key, _)| **key != proxy.to_string()).collect();
    for (other, pods) in elsewhere {
        let has = pods
            .iter()
            .filter_map(|pod| pod.dump.as_deref())
            .any(|dump| dump.clusters.iter().filter_map(|cluster| cluster.parts.as_ref()).any(&fits));
        if has {
            return Some(format!("{other} has it"));
        }
    }
    None
}

fn impossible(wanted: &Wanted<'_>, evidence: &Evidence, proxy: &Workload) -> Failure {
    let failure = Failure::new(
        code::CLUSTER,
        format!(
            "expected no cluster {} on {proxy}: it is not there, but nothing shows that it could have been",
            wanted.words()
        ),
    );
    let mut known = registry::hosts(evidence);
    for pods in evidence.proxies.values() {
        for dump in pods.iter().filter_map(|pod| pod.dump.as_deref()) {
            known.extend(dump.clusters.iter().filter_map(|cluster| Some(cluster.parts.as_ref()?.host.clone())));
        }
    }
    for service in &evidence.services {
        let text = |pointer| service.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
        known.push(format!("{}.{}.svc.cluster.local", text("/metadata/name"), text("/metadata/namespace")));
    }
    let exact = known.iter().any(|host| host_covers(host, wanted.host));
    match nearest(wanted.host, known.iter().map(String::as_str)) {
        _ if exact => failure.why("the host is known, but not with this port"),
        Some(host) => failure.why(format!("no Service or ServiceEntry has this host; did you mean {host}?")),
        None => failure.why("no Service or ServiceEntry has this host and port: a mistyped name is absent everywhere"),
    }
}

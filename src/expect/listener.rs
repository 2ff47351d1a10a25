//! `listener PORT [on P] FACT…`.
//!
//! `sni` and `to` choose filter chains; every other fact must then hold on each chosen chain, and with
//! neither on every chain of the listener: one plain chain beside an mTLS one is not "requires a client
//! certificate". A sidecar's default chain (`PassthroughFilterChain`) is looked at for `to` only.

use super::explain::default_gateway;
use super::finding::Finding;
use super::services;
use super::trace::pods;
use super::{Evidence, Failure, code};
use crate::envoy::{ClusterName, Dump, FilterChain, Listener, Target};
use crate::plan::{Fact, Workload};

pub(super) fn listener(
    port: u16,
    on: Option<&Workload>,
    facts: &[Fact],
    negated: bool,
    evidence: &Evidence,
) -> Finding {
    let proxy = on.cloned().or_else(|| evidence.gateway.clone()).unwrap_or_else(default_gateway);
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
        let bound = if dump.is_sidecar { vec![port] } else { services::bound_ports(evidence, &proxy, port) };
        let found: Vec<&Listener> = bound.iter().flat_map(|bound| dump.listeners_on(*bound)).collect();
        let place = if many { format!("{proxy} (pod {})", pod.pod) } else { proxy.to_string() };
        let here = Here { port, bound: bound[0], place: &place, dump, facts };
        match (found.iter().find(|listener| holds(listener, facts, dump)), negated) {
            (Some(listener), false) => shown.push(here.line(listener)),
            (Some(listener), true) => {
                let title = format!("expected no listener {port}{}, but {place} has it", words(facts));
                return Finding::no(Failure::new(code::LISTENER, title).seen(here.line(listener)));
            }
            (None, true) => {}
            (None, false) => return Finding::no(here.failure(&found, &proxy, evidence)),
        }
    }
    Finding::Yes { show: shown }
}

/// One pod's view, for messages.
struct Here<'a> {
    port: u16,
    bound: u16,
    place: &'a str,
    dump: &'a Dump,
    facts: &'a [Fact],
}

impl Here<'_> {
    fn line(&self, listener: &Listener) -> String {
        let bound = if listener.port == self.port { String::new() } else { format!(" (bound {})", listener.port) };
        let chains = listener.chains.len();
        let plural = if chains == 1 { "" } else { "s" };
        format!("listener  {}{bound} on {}: {chains} chain{plural}", self.port, self.place)
    }

    fn failure(&self, found: &[&Listener], proxy: &Workload, evidence: &Evidence) -> Failure {
        let expected = expected_lines(self.facts);
        let Some(listener) = found.first() else {
            let title = format!("expected listener {}{}, but {} has none", self.port, words(self.facts), self.place);
            let mut failure =
                Failure::new(code::LISTENER, title).seen(format!("listener 0.0.0.0_{} on {}", self.bound, self.place));
            failure.evidence.extend(expected.iter().map(|line| format!("- {line}")));
            failure.evidence.push("+ (no listener)".into());
            return self.absent(failure, proxy, evidence);
        };
        let title = format!("expected listener {}{}, but it is not so on {}", self.port, words(self.facts), self.place);
        let mut failure =
            Failure::new(code::LISTENER, title).seen(format!("listener {} on {}", listener.name, self.place));
        let chosen = choose(listener, self.facts, self.dump);
        if chosen.is_empty() {
            let chains = listener.all_chains().map(|chain| chain_words(chain, self.dump)).collect::<Vec<_>>();
            let chains = if chains.is_empty() { vec!["(no filter chain)".to_string()] } else { chains };
            failure.evidence.extend(super::diff::lines(&expected, &chains));
            return failure;
        }
        for chain in chosen {
            let actual = actual_lines(listener, chain, self.facts, self.dump);
            if actual == expected {
                continue;
            }
            failure.evidence.push(format!("filter chain {}", chain_words(chain, self.dump)));
            failure.evidence.extend(super::diff::lines(&expected, &actual));
        }
        failure
    }

    /// Why there is none: Envoy refused it, it warms still, or istiod made none.
    fn absent(&self, mut failure: Failure, proxy: &Workload, evidence: &Evidence) -> Failure {
        for (name, details) in &self.dump.rejected {
            failure = failure.seen(super::printable(&format!("rejected by Envoy  {name}: {details}")));
        }
        if !self.dump.warming.is_empty() {
            failure = failure.seen(format!("warming  {}", self.dump.warming.join(", ")));
        }
        let others: Vec<String> = self
            .dump
            .listeners
            .iter()
            .filter(|listener| !listener.fixed && listener.port != 0)
            .map(|listener| listener.port.to_string())
            .collect();
        failure = failure.why(match others.is_empty() {
            true => format!("{} has no listener from istiod at all: no Gateway and VirtualService fit it", self.place),
            false => format!("{} has listeners on {}", self.place, others.join(", ")),
        });
        if let Some((why, help)) = super::hints::terminating(self.port, evidence) {
            failure = failure.why(why).advise(help);
        }
        let exposed = services::exposed(evidence, proxy);
        let is_bound = |port: &u16| services::bound_ports(evidence, proxy, *port).contains(&self.port);
        if let Some(port) = exposed.iter().find(|port| is_bound(port)).filter(|_| !exposed.contains(&self.port)) {
            failure = failure.why(format!(
                "{} is the port that Envoy binds; `listener` names the Gateway server's: {port}",
                self.port
            ));
        }
        failure
    }
}

fn words(facts: &[Fact]) -> String {
    facts.iter().map(|fact| format!(" {}", fact_words(fact))).collect()
}

fn fact_words(fact: &Fact) -> String {
    let (name, value) = fact_line(fact);
    match fact {
        Fact::RequireClientCertificate => name.into(),
        _ => format!("{name} {value}"),
    }
}

/// Name and expected value.
fn fact_line(fact: &Fact) -> (&'static str, String) {
    match fact {
        Fact::RequireClientCertificate => ("requireClientCertificate", "true".into()),
        Fact::Mode(mode) => ("mode", mode.to_ascii_uppercase()),
        Fact::Sni(name) => ("sni", name.clone()),
        Fact::Chains(count) => ("chains", count.to_string()),
        Fact::To { host, subset: Some(subset) } => ("to", format!("{host} subset {subset}")),
        Fact::To { host, subset: None } => ("to", host.clone()),
        Fact::Type(kind) => ("type", kind.to_ascii_uppercase()),
        Fact::Tls(mode) => ("tls", mode.clone()),
        Fact::San(name) => ("san", name.clone()),
        Fact::Alpn(name) => ("alpn", name.clone()),
        Fact::Bound(port) => ("bound", port.to_string()),
    }
}

fn expected_lines(facts: &[Fact]) -> Vec<String> {
    facts.iter().map(|fact| fact_line(fact)).map(|(name, value)| format!("{name}: {value}")).collect()
}

/// The chain's own values for the same facts; a fact that holds is written as expected.
fn actual_lines(listener: &Listener, chain: &FilterChain, facts: &[Fact], dump: &Dump) -> Vec<String> {
    let line = |fact: &Fact| {
        let (name, wanted) = fact_line(fact);
        if fact_holds(fact, listener, chain, dump) {
            return format!("{name}: {wanted}");
        }
        let none = |list: Vec<String>| if list.is_empty() { "(none)".to_string() } else { list.join(", ") };
        let value = match fact {
            Fact::RequireClientCertificate => chain.tls.require_client_certificate.to_string(),
            Fact::Mode(_) | Fact::Tls(_) => chain.mode().to_string(),
            Fact::Sni(_) => none(chain.server_names.clone()),
            Fact::Chains(_) => listener.chains.len().to_string(),
            Fact::To { .. } => none(targets(chain, dump)),
            Fact::Type(_) => "(a listener has no type)".into(),
            Fact::San(_) => none(chain.tls.sans.clone()),
            Fact::Alpn(_) => none(chain.tls.alpn.clone()),
            Fact::Bound(_) => listener.port.to_string(),
        };
        format!("{name}: {value}")
    };
    facts.iter().map(line).collect()
}

fn chain_words(chain: &FilterChain, dump: &Dump) -> String {
    let names = match (chain.server_names.is_empty(), chain.name.is_empty()) {
        (false, _) => chain.server_names.join(" "),
        (true, false) => chain.name.clone(),
        (true, true) => "(any)".into(),
    };
    let target = targets(chain, dump);
    let target = if target.is_empty() { "(nowhere)".to_string() } else { target.join(", ") };
    format!("{names}, {} → {target}", chain.mode())
}

/// Where a chain leads: `HOST:PORT [subset S]`, or the cluster's own name.
fn targets(chain: &FilterChain, dump: &Dump) -> Vec<String> {
    let mut names = cluster_names(chain, dump);
    names.dedup();
    names.iter().map(|name| ClusterName::parse(name).map_or_else(|| name.clone(), |parts| parts.describe())).collect()
}

fn cluster_names(chain: &FilterChain, dump: &Dump) -> Vec<String> {
    let mut names: Vec<String> = chain.target.clusters().into_iter().map(str::to_string).collect();
    if let Target::Http { route, .. } = &chain.target {
        let hosts = dump.route(route).map(|route| route.hosts.as_slice()).unwrap_or_default();
        names.extend(hosts.iter().flat_map(|host| host.clusters.iter().cloned()));
    }
    names
}

fn selects(fact: &Fact) -> bool {
    matches!(fact, Fact::Sni(_) | Fact::To { .. })
}

/// The chains that `sni` and `to` choose; without them all but the default chain.
fn choose<'a>(listener: &'a Listener, facts: &[Fact], dump: &Dump) -> Vec<&'a FilterChain> {
    let selectors: Vec<&Fact> = facts.iter().filter(|fact| selects(fact)).collect();
    if selectors.is_empty() {
        return listener.chains.iter().collect();
    }
    listener.all_chains().filter(|chain| selectors.iter().all(|fact| fact_holds(fact, listener, chain, dump))).collect()
}

fn holds(listener: &Listener, facts: &[Fact], dump: &Dump) -> bool {
    let chosen = choose(listener, facts, dump);
    let whole = |fact: &Fact| matches!(fact, Fact::Chains(_) | Fact::Bound(_));
    if facts.iter().all(whole) {
        return facts.iter().all(|fact| whole_holds(fact, listener));
    }
    !chosen.is_empty() && chosen.iter().all(|chain| facts.iter().all(|fact| fact_holds(fact, listener, chain, dump)))
}

fn whole_holds(fact: &Fact, listener: &Listener) -> bool {
    match fact {
        Fact::Chains(count) => listener.chains.len() == *count,
        Fact::Bound(port) => listener.port == *port,
        _ => false,
    }
}

fn fact_holds(fact: &Fact, listener: &Listener, chain: &FilterChain, dump: &Dump) -> bool {
    match fact {
        Fact::RequireClientCertificate => chain.tls.require_client_certificate,
        Fact::Mode(mode) | Fact::Tls(mode) => chain.mode().eq_ignore_ascii_case(mode),
        Fact::Sni(name) => chain.server_names.iter().any(|server| server.eq_ignore_ascii_case(name)),
        Fact::Chains(_) | Fact::Bound(_) => whole_holds(fact, listener),
        Fact::To { host, subset } => {
            cluster_names(chain, dump).iter().any(|name| leads_to(name, host, subset.as_deref()))
        }
        Fact::San(name) => chain.tls.sans.iter().any(|san| san == name),
        Fact::Alpn(name) => chain.tls.alpn.iter().any(|alpn| alpn == name),
        Fact::Type(_) => false,
    }
}

/// `to HOST`, `to HOST:PORT`, a Service by its short name, or a cluster by its whole name.
pub(super) fn leads_to(cluster: &str, host: &str, subset: Option<&str>) -> bool {
    let Some(parts) = ClusterName::parse(cluster) else { return subset.is_none() && cluster == host };
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, port.parse().ok()),
        _ => (host, None),
    };
    let short = parts.service().is_some_and(|(name, namespace)| {
        host == name || host == format!("{name}.{namespace}") || host == format!("{name}.{namespace}.svc")
    });
    (parts.host.eq_ignore_ascii_case(host) || short)
        && port.is_none_or(|port: u16| port == parts.port)
        && subset.is_none_or(|subset| parts.subset.as_deref() == Some(subset))
}

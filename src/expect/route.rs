//! `route HOST|NAME [on P] [to HOST [subset S]]`: a route table by its name, or the virtual host that
//! serves an authority, in any of the proxy's tables.

use super::finding::Finding;
use super::listener::leads_to;
use super::trace::pods;
use super::{Evidence, Failure, code};
use crate::envoy::{ClusterName, Dump, RouteConfig, VirtualHost};
use crate::plan::{RouteTarget, Workload};

/// Tables named in a failure, at most.
const SHOWN: usize = 12;

/// Serves every host, and so shows nothing of one: what is not registered (`allow_any`, `block_all`), or inbound.
fn is_catch_all(host: &VirtualHost) -> bool {
    host.domains.iter().all(|domain| domain == "*")
}

pub(super) fn route(name: &str, proxy: &Workload, to: &[RouteTarget], evidence: &Evidence) -> Finding {
    let all = pods(evidence, proxy);
    if all.is_empty() || all.iter().any(|pod| pod.dump.is_none()) {
        return super::no_configuration(proxy);
    }
    let words: String = to.iter().map(words).collect();
    let mut shown = vec![];
    for pod in all {
        let Some(dump) = pod.dump.as_deref() else { continue };
        let found = candidates(name, dump, !to.is_empty());
        match found.iter().find(|c| to.iter().all(|t| c.leads_to(t))) {
            Some(found) => shown.push(format!("route  {} on {proxy}: {}", found.table, found.line())),
            None => return Finding::no(failure(name, &words, proxy, &found, dump)),
        }
    }
    shown.dedup();
    Finding::Yes { show: shown }
}

/// A table, or one virtual host of it.
struct Candidate<'a> {
    table: &'a str,
    host: Option<&'a VirtualHost>,
    clusters: Vec<&'a str>,
}

impl Candidate<'_> {
    fn leads_to(&self, to: &RouteTarget) -> bool {
        self.clusters.iter().any(|cluster| leads_to(cluster, &to.host, to.subset.as_deref()))
    }

    fn line(&self) -> String {
        let describe =
            |name: &&str| ClusterName::parse(name).map_or_else(|| name.to_string(), |parts| parts.describe());
        let mut targets: Vec<String> = self.clusters.iter().map(describe).collect();
        targets.dedup();
        let to = if targets.is_empty() { "(no cluster)".to_string() } else { targets.join(", ") };
        match self.host {
            Some(host) => format!("{} → {to}", host.name),
            None => format!("→ {to}"),
        }
    }
}

fn candidates<'a>(name: &str, dump: &'a Dump, with_catch_all: bool) -> Vec<Candidate<'a>> {
    if let Some(table) = dump.route(name) {
        let clusters = table.hosts.iter().flat_map(|h| h.clusters.iter().map(String::as_str)).collect();
        return vec![Candidate { table: &table.name, host: None, clusters }];
    }
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port)),
        _ => (name, None),
    };
    let of_port = |table: &&RouteConfig| {
        port.is_none_or(|port| {
            let last = table.name.rsplit([':', '.', '|']).next().unwrap_or_default();
            last == port || table.name == port
        })
    };
    let mut out = vec![];
    for table in dump.routes.iter().filter(of_port) {
        let found = table.host_for(name).filter(|h| !is_catch_all(h)).or_else(|| table.host_for(host));
        let Some(found) = found.filter(|h| with_catch_all || !is_catch_all(h)) else { continue };
        let clusters = found.clusters.iter().map(String::as_str).collect();
        out.push(Candidate { table: &table.name, host: Some(found), clusters });
    }
    out
}

fn words(to: &RouteTarget) -> String {
    match &to.subset {
        Some(subset) => format!(" to {} subset {subset}", to.host),
        None => format!(" to {}", to.host),
    }
}

fn failure(name: &str, words: &str, proxy: &Workload, found: &[Candidate<'_>], dump: &Dump) -> Failure {
    if found.is_empty() {
        let mut tables: Vec<&str> = dump.routes.iter().map(|r| r.name.as_str()).filter(|n| !n.is_empty()).collect();
        tables.sort_unstable();
        let more = tables.len().saturating_sub(SHOWN);
        tables.truncate(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Failure::new(code::ROUTE, format!("expected route {name}{words}, but {proxy} has none"))
            .why(format!("its route tables are {}{more}", tables.join(", ")))
            .advise("TLS that passes has no route: look at `expect listener … sni HOST` and `expect path …`");
    }
    let lines = found.iter().map(|c| format!("route {}: {}", c.table, c.line()));
    Failure::new(code::ROUTE, format!("expected route {name}{words}, but it leads elsewhere on {proxy}"))
        .seen_all(lines)
}

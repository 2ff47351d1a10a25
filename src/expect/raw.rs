//! Expectations that rest on the whole of a proxy's dump, endpoints and secrets included: `endpoint`, `secret`,
//! `only … changed`, `config … matches`.

use super::finding::Finding;
use super::part::{Names, missing};
use super::{Evidence, Failure, code};
use crate::envoy::{ClusterName, Dump, Endpoint, Resources};
use crate::plan::{EndpointFact, ProxyList, Workload};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names and lines shown in a failure, at most.
const SHOWN: usize = 16;

fn dumps<'a>(proxy: &Workload, evidence: &'a Evidence) -> Result<&'a [(String, Arc<Value>)], Finding> {
    match evidence.raw.get(&proxy.to_string()) {
        Some(all) if !all.is_empty() => Ok(all),
        _ => Err(super::no_configuration(proxy)),
    }
}

// ---------------------------------------------------------------- endpoints

pub(super) struct Endpoints<'a> {
    pub host: &'a str,
    pub port: Option<u16>,
    pub subset: Option<&'a str>,
    pub facts: &'a [EndpointFact],
}

impl Endpoints<'_> {
    pub fn words(&self) -> String {
        let port = self.port.map(|p| format!(":{p}")).unwrap_or_default();
        let subset = self.subset.map(|s| format!(" subset {s}")).unwrap_or_default();
        let facts: String = self.facts.iter().map(|f| format!(" {}", fact_words(f))).collect();
        format!("endpoint {}{port}{subset}{facts}", self.host)
    }
}

fn fact_words(fact: &EndpointFact) -> String {
    match fact {
        EndpointFact::Count(count) => format!("count {count}"),
        EndpointFact::Address { address, port: Some(port) } => format!("address {address}:{port}"),
        EndpointFact::Address { address, port: None } => format!("address {address}"),
        EndpointFact::Healthy => "healthy".into(),
    }
}

pub(super) fn endpoint(wanted: &Endpoints<'_>, proxy: &Workload, evidence: &Evidence) -> Finding {
    let all = match dumps(proxy, evidence) {
        Ok(all) => all,
        Err(finding) => return finding,
    };
    let mut shown = vec![];
    for (pod, raw) in all {
        let dump = Dump::read(raw);
        let clusters: Vec<&str> =
            dump.clusters_for(wanted.host, wanted.port, wanted.subset).map(|c| c.name.as_str()).collect();
        let fails = |why: String| Failure::new(code::ENDPOINT, format!("expected {}, {why}", wanted.words()));
        if clusters.is_empty() {
            let failure = fails(format!("but {proxy} has no cluster for it"));
            return Finding::no(failure.advise(format!("look at `expect cluster {}` first", wanted.host)));
        }
        let found: Vec<&Endpoint> = clusters.iter().filter_map(|c| dump.endpoints.get(*c)).flatten().collect();
        let lines: Vec<String> = found.iter().take(SHOWN).map(|e| line(e)).collect();
        let holds = match wanted.facts {
            [] => !found.is_empty(),
            facts => facts.iter().all(|fact| holds(fact, &found)),
        };
        if !holds {
            let seen = if found.is_empty() { "got none".to_string() } else { format!("got {}", found.len()) };
            return Finding::no(fails(format!("{seen} on {proxy} (pod {pod})")).seen_all(lines));
        }
        shown.extend(lines);
    }
    shown.dedup();
    Finding::Yes { show: shown }
}

fn line(endpoint: &Endpoint) -> String {
    let health = if endpoint.healthy { "healthy" } else { "unhealthy" };
    format!("endpoint  {}:{} {health}", endpoint.address, endpoint.port)
}

fn holds(fact: &EndpointFact, found: &[&Endpoint]) -> bool {
    match fact {
        EndpointFact::Count(count) => found.len() == *count,
        EndpointFact::Address { address, port } => {
            found.iter().any(|e| e.address == *address && port.is_none_or(|port| port == e.port))
        }
        EndpointFact::Healthy => !found.is_empty() && found.iter().all(|e| e.healthy),
    }
}

// ---------------------------------------------------------------- secrets

pub(super) fn secret(name: &str, proxy: &Workload, evidence: &Evidence) -> Finding {
    let all = match dumps(proxy, evidence) {
        Ok(all) => all,
        Err(finding) => return finding,
    };
    for (pod, raw) in all {
        let active = secrets(raw, &["dynamic_active_secrets", "static_secrets"]);
        let warming = secrets(raw, &["dynamic_warming_secrets"]);
        let named = |known: &&String| **known == name || known.rsplit('/').next() == Some(name);
        if active.iter().any(|s| named(&s)) {
            continue;
        }
        let mut failure =
            Failure::new(code::SECRET, format!("expected secret {name}, but {proxy} (pod {pod}) has none"))
                .seen(format!("active   {}", if active.is_empty() { "(none)".into() } else { active.join(", ") }));
        if !warming.is_empty() {
            failure = failure.seen(format!("warming  {}", warming.join(", ")));
        }
        if warming.iter().any(|s| named(&s)) {
            failure = failure.why("the proxy asked for it and has not got it: is the Secret in the proxy's namespace?");
        }
        return Finding::no(failure);
    }
    Finding::show(format!("secret  {name} on {proxy}"))
}

fn secrets(raw: &Value, keys: &[&str]) -> Vec<String> {
    let sections = raw["configs"].as_array().into_iter().flatten();
    let of_secrets = |s: &&Value| s["@type"].as_str().is_some_and(|t| t.ends_with("SecretsConfigDump"));
    let entries = sections.filter(of_secrets).flat_map(|s| keys.iter().filter_map(|k| s[*k].as_array())).flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e["name"].as_str().map(str::to_string)).collect();
    names.sort();
    names.dedup();
    names
}

// ---------------------------------------------------------------- what changed

/// A proxy's resources by kind and name.
fn resources(raw: &Value) -> BTreeMap<(&'static str, String), Value> {
    let all = Resources::from_dump(raw);
    let mut out = BTreeMap::new();
    for (kind, bodies) in [("cluster", all.clusters), ("listener", all.listeners), ("route", all.routes)] {
        for body in bodies {
            let name = body["name"].as_str().unwrap_or_default().to_string();
            out.insert((kind, name), body);
        }
    }
    out
}

pub(super) fn kind_of(list: ProxyList) -> &'static str {
    match list {
        ProxyList::Clusters => "cluster",
        ProxyList::Listeners => "listener",
        ProxyList::Routes => "route",
    }
}

pub(super) fn only(list: ProxyList, name: &str, proxy: &Workload, evidence: &Evidence) -> Finding {
    let now = match dumps(proxy, evidence) {
        Ok(all) => all,
        Err(finding) => return finding,
    };
    let Some(before) = evidence.baselines.get(&proxy.to_string()).filter(|b| !b.is_empty()) else {
        return Finding::not_shown(
            format!("nothing was captured of {proxy} to compare with"),
            format!("before the change, write capture before = clusters on {}", proxy.name),
        );
    };
    let kind = kind_of(list);
    let mut shown = vec![];
    for (pod, raw) in now {
        // A pod that is new is compared with one that was there.
        let was = before.iter().find(|(p, _)| p == pod).or(before.first());
        let Some((_, was)) = was else { continue };
        let (was, is) = (resources(was), resources(raw));
        let mut changed: Vec<&(&str, String)> =
            is.iter().filter(|(k, v)| was.get(*k) != Some(*v)).map(|(k, _)| k).collect();
        changed.extend(was.keys().filter(|k| !is.contains_key(*k)));
        let (meant, others): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|(k, known)| *k == kind && is_named(kind, known, name));
        let title = format!("expected only {kind} {name} of {proxy} to have changed");
        if meant.is_empty() {
            let failure = Failure::new(code::ONLY, format!("{title}, it did not"));
            return Finding::no(failure.seen_all(listed(&others)));
        }
        if !others.is_empty() {
            let failure = Failure::new(code::ONLY, format!("{title}, {} more did", others.len()));
            return Finding::no(failure.seen_all(listed(&others)));
        }
        for key in meant {
            let lines = |v: Option<&Value>| -> Vec<String> {
                let text = v.map(|v| serde_json::to_string_pretty(v).unwrap_or_default()).unwrap_or_default();
                text.lines().map(str::to_string).collect()
            };
            shown.push(format!("{} {}", key.0, key.1));
            let difference = super::diff::lines(&lines(was.get(key)), &lines(is.get(key)));
            shown.extend(difference.into_iter().filter(|l| !l.starts_with(' ')).take(SHOWN));
        }
    }
    Finding::Yes { show: shown }
}

fn listed(keys: &[&(&str, String)]) -> Vec<String> {
    let mut lines: Vec<String> =
        keys.iter().take(SHOWN).map(|(kind, name)| format!("changed  {kind} {name}")).collect();
    if keys.len() > SHOWN {
        lines.push(format!("… and {} more", keys.len() - SHOWN));
    }
    lines
}

/// `80` names the listener `0.0.0.0_80`; `HOST[:PORT]` a cluster of that host.
fn is_named(kind: &str, known: &str, name: &str) -> bool {
    if known == name {
        return true;
    }
    match kind {
        "listener" => known.rsplit('_').next() == Some(name),
        "cluster" => ClusterName::parse(known).is_some_and(|parts| {
            let (host, port) = match name.rsplit_once(':') {
                Some((host, port)) => (host, port.parse::<u16>().ok()),
                None => (name, None),
            };
            parts.host == host && port.is_none_or(|port| port == parts.port)
        }),
        _ => false,
    }
}

// ---------------------------------------------------------------- whole configuration

pub(super) fn config(proxy: &Workload, document: &Value, evidence: &Evidence) -> Finding {
    let all = match dumps(proxy, evidence) {
        Ok(all) => all,
        Err(finding) => return finding,
    };
    for (pod, raw) in all {
        let resources = Resources::from_dump(raw);
        let whole = json!({
            "listeners": resources.listeners, "clusters": resources.clusters, "routes": resources.routes
        });
        let differences = missing(document, &whole, Names::Proto);
        if !differences.is_empty() {
            let title = format!("expected the configuration of {proxy} to hold the document, it does not (pod {pod})");
            return Finding::no(Failure::new(code::CONFIG, title).seen_all(differences));
        }
    }
    Finding::yes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleep() -> Workload {
        Workload { name: "sleep".into(), namespace: "a".into() }
    }

    fn dump(routes: &[(&str, u64)]) -> Arc<Value> {
        let routes: Vec<Value> =
            routes.iter().map(|(name, v)| json!({"route_config": {"name": name, "max": v}})).collect();
        Arc::new(json!({"configs": [
            {"@type": "x.RoutesConfigDump", "dynamic_route_configs": routes},
            {"@type": "x.SecretsConfigDump", "dynamic_active_secrets": [{"name": "kubernetes://site"}],
             "dynamic_warming_secrets": [{"name": "kubernetes://late"}]}
        ]}))
    }

    fn evidence(before: &[(&str, u64)], now: &[(&str, u64)]) -> Evidence {
        Evidence {
            raw: BTreeMap::from([("sleep.a".to_string(), vec![("p".to_string(), dump(now))])]),
            baselines: BTreeMap::from([("sleep.a".to_string(), vec![("p".to_string(), dump(before))])]),
            ..Evidence::default()
        }
    }

    fn title(finding: Finding) -> String {
        match finding {
            Finding::No(failure) => failure.title,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn only_what_is_named_may_have_changed() {
        let judge = |before: &[(&str, u64)], now: &[(&str, u64)]| {
            only(ProxyList::Routes, "80", &sleep(), &evidence(before, now))
        };
        assert!(matches!(judge(&[("80", 1), ("x", 1)], &[("80", 2), ("x", 1)]), Finding::Yes { .. }));
        let seen = title(judge(&[("80", 1), ("x", 1)], &[("80", 2), ("x", 2)]));
        assert_eq!(seen, "expected only route 80 of sleep.a to have changed, 1 more did");
        let seen = title(judge(&[("80", 1)], &[("80", 1)]));
        assert_eq!(seen, "expected only route 80 of sleep.a to have changed, it did not");
        assert!(matches!(judge(&[], &[("80", 1)]), Finding::Yes { .. }), "a new one has changed");
    }

    #[test]
    fn a_secret_that_only_warms_is_not_there() {
        let evidence = evidence(&[], &[]);
        assert!(matches!(secret("site", &sleep(), &evidence), Finding::Yes { .. }));
        let Finding::No(failure) = secret("late", &sleep(), &evidence) else { panic!() };
        assert!(failure.evidence.iter().any(|line| line.starts_with("why")), "{failure:?}");
    }

    #[test]
    fn names_of_listeners_and_clusters_may_be_short() {
        assert!(is_named("listener", "0.0.0.0_443", "443"));
        assert!(is_named("cluster", "outbound|443||httpbin.org", "httpbin.org:443"));
        assert!(!is_named("cluster", "outbound|443||httpbin.org", "httpbin.org:80"));
    }
}

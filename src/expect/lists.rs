//! Lists of names: `clusters|listeners|routes on P count N | fewer than X | same as X`.

use super::explain::default_gateway;
use super::finding::Finding;
use super::trace::pods;
use super::{Captured, Evidence, Failure, code};
use crate::envoy::Dump;
use crate::plan::{ListCompare, Operand, ProxyList, Workload};

/// Names shown on each side of a difference, at most.
const SHOWN: usize = 20;

/// The sorted names of a proxy's clusters, listeners or routes (for `capture`, `diff`): what istiod sent; the
/// bootstrap's own clusters and listeners are left out, so that a lab and a cluster count alike.
pub fn list(dump: &Dump, list: ProxyList) -> Vec<String> {
    let mut names: Vec<String> = match list {
        ProxyList::Clusters => dump.clusters.iter().filter(|c| !c.fixed).map(|c| c.name.clone()).collect(),
        ProxyList::Listeners => dump.listeners.iter().filter(|l| !l.fixed).map(|l| l.name.clone()).collect(),
        ProxyList::Routes => dump.routes.iter().map(|r| r.name.clone()).filter(|name| !name.is_empty()).collect(),
    };
    names.sort();
    names.dedup();
    names
}

pub(super) fn noun(list: ProxyList) -> &'static str {
    match list {
        ProxyList::Clusters => "clusters",
        ProxyList::Listeners => "listeners",
        ProxyList::Routes => "routes",
    }
}

/// The difference of two lists as `diff A B` shows it: a line of counts, then `- gone` and `+ new` names.
pub fn list_difference(left: &[String], right: &[String]) -> Vec<String> {
    let gone = left.iter().filter(|name| !right.contains(name));
    let new = right.iter().filter(|name| !left.contains(name));
    let mut lines = vec![format!("{} → {}", left.len(), right.len())];
    lines.extend(capped(gone.map(|name| format!("- {}", super::printable(name))).collect()));
    lines.extend(capped(new.map(|name| format!("+ {}", super::printable(name))).collect()));
    lines
}

fn capped(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > SHOWN {
        let more = lines.len() - SHOWN;
        lines.truncate(SHOWN);
        lines.push(format!("  … and {more} more"));
    }
    lines
}

enum Size {
    Number(usize),
    Names(Vec<String>),
}

impl Size {
    fn size(&self) -> usize {
        match self {
            Size::Number(number) => *number,
            Size::Names(names) => names.len(),
        }
    }
}

fn proxy_of(on: Option<&Workload>, evidence: &Evidence) -> Workload {
    on.cloned()
        .or_else(|| evidence.workload.clone())
        .or_else(|| evidence.gateway.clone())
        .unwrap_or_else(default_gateway)
}

/// The list on each pod.
fn lists(list_of: ProxyList, proxy: &Workload, evidence: &Evidence) -> Result<Vec<(String, Vec<String>)>, Finding> {
    let all = pods(evidence, proxy);
    if all.is_empty() || all.iter().any(|pod| pod.dump.is_none()) {
        return Err(Finding::not_shown(
            format!("{proxy} shows no Envoy configuration"),
            format!("look at `kubectl -n {} get pods`: does {} run with a proxy?", proxy.namespace, proxy.name),
        ));
    }
    Ok(all.iter().filter_map(|pod| Some((pod.pod.clone(), list(pod.dump.as_deref()?, list_of)))).collect())
}

fn operand(operand: &Operand, evidence: &Evidence) -> Result<Size, Finding> {
    match operand {
        Operand::Number(number) => Ok(Size::Number(*number)),
        Operand::List { list, on } => {
            let found = lists(*list, &proxy_of(on.as_ref(), evidence), evidence)?;
            Ok(Size::Names(found.into_iter().next().map(|(_, names)| names).unwrap_or_default()))
        }
        Operand::Capture(name) => match evidence.captures.get(name) {
            Some(Captured::List(names)) => Ok(Size::Names(names.clone())),
            Some(Captured::Text(text)) => text.trim().parse().map(Size::Number).map_err(|_| {
                Finding::not_shown(
                    format!("the capture `{name}` is neither a list nor a number"),
                    "capture a list for it",
                )
            }),
            None => {
                Err(Finding::not_shown(format!("the capture `{name}` has no value yet"), "capture it before this line"))
            }
        },
    }
}

pub(super) fn compare(
    list_of: ProxyList,
    on: Option<&Workload>,
    compare: &ListCompare,
    evidence: &Evidence,
) -> Finding {
    let proxy = proxy_of(on, evidence);
    let found = match lists(list_of, &proxy, evidence) {
        Ok(found) => found,
        Err(finding) => return finding,
    };
    let right = match compare {
        ListCompare::Count(number) => Ok(Size::Number(*number)),
        ListCompare::FewerThan(right) | ListCompare::SameAs(right) => operand(right, evidence),
    };
    let right = match right {
        Ok(right) => right,
        Err(finding) => return finding,
    };
    let noun = noun(list_of);
    let many = found.len() > 1;
    let mut shown = vec![];
    for (pod, names) in found {
        let place = if many { format!("{proxy} (pod {pod})") } else { proxy.to_string() };
        let difference = match &right {
            Size::Names(before) => list_difference(before, &names),
            Size::Number(number) => vec![format!("{number} → {}", names.len())],
        };
        let (holds, wanted) = match (compare, &right) {
            (ListCompare::Count(number), _) => (names.len() == *number, format!("{number} {noun}")),
            (ListCompare::FewerThan(_), right) => {
                (names.len() < right.size(), format!("fewer than {} {noun}", right.size()))
            }
            (ListCompare::SameAs(_), Size::Names(before)) => {
                (*before == names, format!("the same {} {noun}", before.len()))
            }
            (ListCompare::SameAs(_), Size::Number(number)) => (names.len() == *number, format!("{number} {noun}")),
        };
        if !holds {
            let title = format!("expected {wanted} on {place}, got {}", names.len());
            let mut failure = Failure::new(code::LIST, title);
            if matches!(right, Size::Names(_)) {
                failure = failure.seen_all(difference);
            } else {
                failure = failure.seen_all(capped(names.iter().map(|name| super::printable(name)).collect()));
            }
            return Finding::no(failure);
        }
        if matches!(compare, ListCompare::FewerThan(_)) {
            shown.push(format!("{noun}  {}  on {place}", difference[0]));
        }
    }
    Finding::Yes { show: shown }
}

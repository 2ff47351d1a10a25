//! `log P contains|matches …`: a line of the proxy's log since the probe began, on any of its pods.

use super::finding::Finding;
use super::text::{Matcher, excerpt};
use super::trace::{Unreadable, pods, readable};
use super::{Evidence, Failure, code};
use crate::plan::{TextMatch, Workload};

/// Lines of a log shown in a failure, at most.
const SHOWN: usize = 5;

pub(super) fn log(proxy: &Workload, matches: &TextMatch, evidence: &Evidence) -> Finding {
    let matcher = match Matcher::new(matches, evidence) {
        Ok(matcher) => matcher,
        Err(reason) => return Finding::not_shown(reason, "capture it before this line"),
    };
    let pods = pods(evidence, proxy);
    let found = pods.iter().find_map(|pod| {
        let line = pod.log.iter().find(|line| matcher.fits(line))?;
        Some(format!("log  {}: {}", pod.pod, super::printable(line)))
    });
    if let Some(line) = found {
        return Finding::show(line);
    }
    let blind = pods.iter().map(|pod| readable(pod, &[])).find_map(Result::err);
    let blind = blind.or(pods.is_empty().then_some(Unreadable::NoProxy));
    if let Some(why) = blind {
        let (reason, help) = why.words(proxy, "Envoy");
        return Finding::NotShown { reason, help };
    }
    let lines: Vec<&String> = pods.iter().flat_map(|pod| &pod.log).collect();
    let first = lines.len().saturating_sub(SHOWN);
    let failure = Failure::new(
        code::LOG,
        format!("expected a log line of {proxy} that {}, got {} without it", verb(&matcher), count(lines.len())),
    )
    .seen_all(lines[first..].iter().map(|line| format!("log  {}", excerpt(line))));
    Finding::no(failure)
}

fn verb(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Equals(_) => format!("is {}", matcher.to_string().trim_start_matches("== ")),
        _ => matcher.to_string(),
    }
}

fn count(lines: usize) -> String {
    match lines {
        0 => "no line since the probe began".into(),
        1 => "1 line".into(),
        more => format!("{more} lines"),
    }
}

//! Adds to a failure about the last probe what the logs and the configuration tell: the path line, the
//! proxies' lines, and the hints of the cause.

use super::cause::{self, Cause};
use super::curl::{self, Transfer, exit_words};
use super::hints;
use super::path_line::path_line;
use super::trace::{self, Trace};
use super::{Evidence, Failure};
use crate::plan::Workload;

/// The trace of the last transfer and its cause, if the evidence has them.
pub(super) struct Story {
    pub trace: Trace,
    pub cause: Option<Cause>,
}

pub(super) fn story(evidence: &Evidence) -> Option<Story> {
    let gateway = evidence.gateway.clone().unwrap_or_else(default_gateway);
    let trace = trace::trace(evidence, &gateway).ok()?;
    Some(told(trace, evidence))
}

pub(super) fn told(trace: Trace, evidence: &Evidence) -> Story {
    let probe = evidence.probe.as_ref();
    let cause = probe.and_then(|probe| {
        let transfer = Transfer::last(probe)?;
        cause::cause(&trace, transfer, probe, evidence)
    });
    Story { trace, cause }
}

pub(super) fn default_gateway() -> Workload {
    Workload { name: "istio-egressgateway".into(), namespace: "istio-system".into() }
}

/// The failure with everything that can be told of the probe.
pub(super) fn explained(failure: Failure, evidence: &Evidence) -> Failure {
    let Some(story) = story(evidence) else { return unexplained(failure, evidence) };
    with_story(failure, &story, evidence)
}

pub(super) fn with_story(failure: Failure, story: &Story, evidence: &Evidence) -> Failure {
    let mut failure = with_lines(failure, story, evidence);
    if let Some(cause) = &story.cause {
        let hints = hints::hints(cause, &story.trace, evidence);
        failure = failure.seen_all(hints.seen).advise_all(hints.help);
        if let Some(why) = hints.why {
            failure = failure.why(why);
        }
    }
    failure
}

/// The failure with the path line, the proxies' lines and curl's message, without the cause's hints.
pub(super) fn with_lines(failure: Failure, story: &Story, evidence: &Evidence) -> Failure {
    let mut failure = failure.seen(path_line(&story.trace, story.cause.as_ref()));
    failure.evidence.extend(hints::log_lines(&story.trace));
    let line = evidence.probe.as_ref().and_then(Transfer::last).and_then(curl::message_line);
    failure.evidence.extend(line);
    failure
}

/// Without logs: what curl's exit code alone tells.
fn unexplained(mut failure: Failure, evidence: &Evidence) -> Failure {
    let Some(probe) = &evidence.probe else { return failure };
    let Some(transfer) = Transfer::last(probe) else { return failure };
    failure.evidence.extend(curl::message_line(transfer));
    let exit = transfer.exit(probe);
    match exit {
        6 => failure.advise("the name did not resolve inside the pod: DNS, or a mistyped host; no proxy saw it"),
        2 | 3 | 127 => {
            failure.advise(format!("the command itself is wrong ({}); no proxy saw it", exit_words(exit, "")))
        }
        _ => failure,
    }
}

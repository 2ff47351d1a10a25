//! `blocked [by …]`: that the probe got nothing from the outside, and which rule kept it.

use super::cause::{Cause, Trouble};
use super::curl::Transfer;
use super::explain::{Story, default_gateway, told, with_story};
use super::finding::Finding;
use super::path_line::path_line;
use super::response::transfers;
use super::trace::{self, Blind};
use super::{Evidence, Failure, Probe, code};
use crate::plan::BlockedBy;

pub(super) fn words(by: Option<BlockedBy>) -> String {
    match by {
        Some(by) => format!("blocked by {}", name(by)),
        None => "blocked".into(),
    }
}

fn name(by: BlockedBy) -> &'static str {
    match by {
        BlockedBy::RegistryOnly => "REGISTRY_ONLY",
        BlockedBy::SidecarScope => "sidecar-scope",
        BlockedBy::Authorization => "authorization",
        BlockedBy::NoRoute => "no-route",
        BlockedBy::Network => "network",
        BlockedBy::Upstream => "upstream",
    }
}

pub(super) fn blocked(by: Option<BlockedBy>, evidence: &Evidence) -> Finding {
    let (probe, all) = match transfers(evidence) {
        Ok(found) => found,
        Err(finding) => return finding,
    };
    let Some(transfer) = all.last().copied() else { return Finding::not_shown("no transfer", "use one URL") };
    let what = words(by);
    let gateway = evidence.gateway.clone().unwrap_or_else(default_gateway);
    let trace = match trace::trace(evidence, &gateway) {
        Ok(trace) => trace,
        Err(blind) => return without_logs(by, blind, transfer, probe, &what, evidence),
    };
    let story = told(trace, evidence);
    let blocker = story.cause.as_ref().and_then(Cause::blocked_by);
    let answered = transfer.exit(probe) == 0 && blocker.is_none();
    if answered {
        let status = transfer.status();
        let by_site = matches!(story.cause, Some(Cause::Site(Trouble::Status(_)))) || status < 400;
        let whose = if by_site { "the site answered" } else { "got" };
        let failure = Failure::new(code::BLOCKED, format!("expected {what}, but {whose} {status}"));
        let failure = with_story(failure, &story, evidence);
        return Finding::no(failure.advise_all(passthrough_help(&story)));
    }
    match (by, blocker) {
        (None, Some(_)) => shown(&story),
        // A client that got nothing was blocked, whatever it was; without a known reason only its exit tells.
        (None, None) if story.cause.is_none() && is_silence(transfer.exit(probe)) => shown(&story),
        (Some(by), Some(blocker)) if by == blocker => shown(&story),
        (by, _) => {
            let how = story.cause.as_ref().map_or_else(
                || format!("the logs do not say so: {}", transfer.outcome(probe)),
                |cause| match blocker {
                    Some(blocker) if by.is_some() => format!("it was blocked by {}: {}", name(blocker), cause.words()),
                    _ => format!("it failed for another reason: {}", cause.words()),
                },
            );
            let failure =
                with_story(Failure::new(code::BLOCKED, format!("expected {what}, but {how}")), &story, evidence);
            Finding::no(failure.advise_all(denial_help(by, &story)))
        }
    }
}

fn shown(story: &Story) -> Finding {
    Finding::show(path_line(&story.trace, story.cause.as_ref()))
}

fn passthrough_help(story: &Story) -> Option<String> {
    (story.trace.sidecar.cluster() == Some("PassthroughCluster") || story.trace.sidecar.route() == Some("allow_any"))
        .then(|| {
            "the outbound policy is ALLOW_ANY: `require outbound REGISTRY_ONLY` in the scenario, or \
             `outboundTrafficPolicy: {mode: REGISTRY_ONLY}` in the mesh config or a Sidecar"
                .to_string()
        })
}

/// A TCP denial leaves only CONNECTION_TERMINATION_DETAILS: say so where the format lacks it.
fn denial_help(by: Option<BlockedBy>, story: &Story) -> Option<String> {
    let entry = story.trace.gateway.as_ref()?.entry()?;
    (by == Some(BlockedBy::Authorization) && story.cause.is_none() && !entry.knows("CONNECTION_TERMINATION_DETAILS"))
        .then(|| {
            "a denied TCP connection shows only in %CONNECTION_TERMINATION_DETAILS%, which this access log lacks"
                .to_string()
        })
}

/// Exit codes of curl that mean that nothing came back.
fn is_silence(exit: i32) -> bool {
    matches!(exit, 7 | 28 | 35 | 52 | 55 | 56)
}

fn without_logs(
    by: Option<BlockedBy>,
    blind: Blind,
    transfer: Transfer<'_>,
    probe: &Probe,
    what: &str,
    evidence: &Evidence,
) -> Finding {
    let exit = transfer.exit(probe);
    if transfer.status() != 0 && matches!(transfer.status(), 100..=399) {
        return Finding::no(Failure::new(code::BLOCKED, format!("expected {what}, but got {}", transfer.status())));
    }
    let network = matches!(by, None | Some(BlockedBy::Network));
    match blind {
        // Nothing to log: the connection itself failed, which is the network's doing.
        Blind::NoConnection { .. } if network && matches!(exit, 7 | 28) => Finding::yes(),
        Blind::Sidecar(..) | Blind::OutsideTheMesh if by.is_none() && is_silence(exit) => {
            Finding::show(format!("curl  {} (its word alone: no access log to see)", transfer.outcome(probe)))
        }
        blind => match blind.finding(code::BLOCKED, what) {
            Finding::No(failure) => Finding::no(super::explain::explained(*failure, evidence)),
            finding => finding,
        },
    }
}

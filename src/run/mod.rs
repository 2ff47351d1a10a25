//! The interpreter: probes, waiting, journal. It knows the world only through `cluster`, emits
//! [`event::Event`]s and never prints.

mod analysis;
mod capture;
mod change_steps;
mod changes;
mod control;
pub mod curl;
pub mod event;
mod evidence;
mod exec;
mod group;
pub mod journal;
mod outside;
mod preview;
mod proxies;
mod require;
mod retry;
mod scenario;
mod skip;
mod state_evidence;
mod steadiness;
mod undo;
mod versions;

pub use changes::{Changes, Outcome};
pub use control::{Control, Handle, control};
pub use preview::{Difference, Lack, Preview, preview};
pub use undo::Undone;

use crate::cluster::Cluster;
use crate::plan::Plan;
use event::{Counts, Event, Verdict};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// Which target, and why this one.
#[derive(Debug, Clone)]
pub struct TargetInfo {
    /// E.g. `context kind-mesh` or `lab`.
    pub name: String,
    /// E.g. `--context`, or that there is no cluster.
    pub reason: String,
    /// The embedded lab: what a scenario requires is provided, and logs come at once.
    pub lab: bool,
    /// On a cluster too what a scenario requires is provided, and undone (`--provide`).
    pub provide: bool,
    /// Where the undo journal is kept.
    pub journal: journal::Keeping,
}

/// Runs every scenario of the plan. Everything that it changes is undone, also after an interrupt;
/// what could not be undone stays in the journal, and an [`Event::Undo`] names the file.
pub async fn run(
    plan: &Plan,
    cluster: Cluster,
    target: TargetInfo,
    events: UnboundedSender<Event>,
    control: Control,
) -> Counts {
    let begun = Instant::now();
    let emit = |event: Event| {
        // Nobody listens any more: the run still has to undo what it did.
        let _ = events.send(event);
    };
    let steps = plan.scenarios.iter().map(|s| s.steps.len()).sum();
    emit(Event::RunStarted { scenarios: plan.scenarios.len(), steps });
    let mut counts = Counts::default();
    let mut runner = scenario::Runner::new(cluster, &target, events.clone(), control).await;
    for (index, scenario) in plan.scenarios.iter().enumerate() {
        if counts.interrupted {
            break;
        }
        let verdict = runner.scenario(index, scenario, &mut counts).await;
        match verdict {
            Verdict::Passed => counts.passed += 1,
            Verdict::Skipped => counts.skipped += 1,
            Verdict::NotShown => counts.not_shown += 1,
            Verdict::Failed => counts.failed += 1,
            Verdict::Broken => {
                counts.broken += 1;
                // What is left would meet the same broken target.
                counts.skipped += plan.scenarios.len() - index - 1;
                break;
            }
        }
    }
    runner.close().await;
    emit(Event::RunFinished { counts, took: begun.elapsed() });
    counts
}

/// The process' exit code: 0 all passed or skipped with a reason, 1 something failed, was not shown, or
/// nothing was checked, 3 the target broke, 130 interrupted. (2 is bad usage: no run.)
pub fn exit_code(counts: &Counts) -> i32 {
    match counts {
        Counts { interrupted: true, .. } => 130,
        Counts { broken: 1.., .. } => 3,
        Counts { failed: 1.., .. } | Counts { not_shown: 1.., .. } => 1,
        Counts { passed: 0, skipped: 1.., .. } => 0,
        Counts { checked: 0, .. } => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_language() {
        let passed = Counts { passed: 2, checked: 3, ..Counts::default() };
        assert_eq!(exit_code(&passed), 0);
        assert_eq!(exit_code(&Counts { failed: 1, ..passed }), 1);
        assert_eq!(exit_code(&Counts { not_shown: 1, ..passed }), 1);
        assert_eq!(exit_code(&Counts { broken: 1, failed: 1, ..passed }), 3);
        assert_eq!(exit_code(&Counts { interrupted: true, broken: 1, ..passed }), 130);
    }

    #[test]
    fn a_run_that_checked_nothing_is_not_a_pass() {
        assert_eq!(exit_code(&Counts { passed: 1, checked: 0, ..Counts::default() }), 1);
        assert_eq!(exit_code(&Counts::default()), 1);
        assert_eq!(exit_code(&Counts { skipped: 1, ..Counts::default() }), 0, "skipped, with a reason");
    }
}

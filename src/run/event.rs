//! The event stream, versioned: everything a report, a progress bar or a later tool learns of a run.

use crate::diag::Diagnostic;
pub use crate::plan::Trap;
use std::time::Duration;

/// Raised when a field changes meaning or goes.
pub const VERSION: u32 = 1;

#[derive(Debug, Clone)]
pub enum Event {
    /// The first event: which target and why, e.g. "the embedded lab (--lab)".
    Target {
        name: String,
        reason: String,
    },
    /// What ran: Envoy's `/server_info` and the like; shown with `-v`.
    Version {
        component: String,
        version: String,
    },
    /// Progress of set-up (boot, Envoy's download); `done` of `total` bytes where known.
    Setup {
        text: String,
        progress: Option<(u64, u64)>,
    },
    RunStarted {
        scenarios: usize,
        steps: usize,
    },
    ScenarioStarted {
        index: usize,
        file: String,
        file_title: Option<String>,
        name: String,
        tags: Vec<String>,
        texts: Vec<String>,
        criteria: Vec<String>,
        see: Vec<String>,
        traps: Vec<Trap>,
    },
    /// An object was created, changed, left as it was, or put back.
    Object {
        step: Option<usize>,
        action: ObjectAction,
        kind: String,
        namespace: Option<String>,
        name: String,
        manifest: Option<Manifest>,
    },
    StepStarted {
        index: usize,
        line: usize,
        text: String,
    },
    /// Another try of a probe or state expectation has begun (1 is the first).
    Attempt {
        step: usize,
        number: u32,
    },
    /// What a command printed, whole; the evidence of reports.
    Output {
        step: usize,
        command: String,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
        exit: i32,
    },
    /// Evidence to show on a pass too: the path line, a diff, an access-log line.
    Evidence {
        step: usize,
        kind: EvidenceKind,
        lines: Vec<String>,
    },
    StepFinished {
        index: usize,
        line: usize,
        text: String,
        verdict: Verdict,
        took: Duration,
        failure: Option<Box<Diagnostic>>,
    },
    ScenarioFinished {
        index: usize,
        name: String,
        verdict: Verdict,
        took: Duration,
        reason: Option<String>,
    },
    /// The run waits for a person (`pause`); it goes on when told to.
    Paused {
        step: usize,
        text: String,
    },
    /// Undo of everything the scenario changed.
    Undo {
        text: String,
        failed: Option<String>,
    },
    RunFinished {
        counts: Counts,
        took: Duration,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub path: String,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectAction {
    Created,
    Changed,
    Unchanged,
    Deleted,
    Restored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceKind {
    Path,
    Diff,
    Log,
    Config,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Passed,
    /// With a reason.
    Skipped,
    /// The evidence cannot be had here.
    NotShown,
    Failed,
    /// The target itself failed.
    Broken,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub not_shown: usize,
    pub skipped: usize,
    pub broken: usize,
    /// Expectations judged; a run that checked nothing is not a pass.
    pub checked: usize,
    pub interrupted: bool,
}

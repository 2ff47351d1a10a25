//! The inner verdict of one expectation, and what `no` makes of it.

use super::{Failure, Judgement};

/// As [`Judgement`], but apart from "no" there is "not seen yet": `expect no …` may not rest on that.
#[derive(Debug, Clone)]
pub(super) enum Finding {
    Yes {
        show: Vec<String>,
    },
    No(Box<Failure>),
    /// The evidence is on its way (a log line) or what was asked about was never there.
    Unproven(Box<Failure>),
    NotShown {
        reason: String,
        help: String,
    },
}

impl Finding {
    pub fn yes() -> Finding {
        Finding::Yes { show: vec![] }
    }

    pub fn show(line: impl Into<String>) -> Finding {
        Finding::Yes { show: vec![line.into()] }
    }

    pub fn no(failure: Failure) -> Finding {
        Finding::No(Box::new(failure))
    }

    pub fn unproven(failure: Failure) -> Finding {
        Finding::Unproven(Box::new(failure))
    }

    pub fn not_shown(reason: impl Into<String>, help: impl Into<String>) -> Finding {
        Finding::NotShown { reason: reason.into(), help: help.into() }
    }

    pub fn judgement(self) -> Judgement {
        match self {
            Finding::Yes { show } => Judgement::Holds { show },
            Finding::No(failure) | Finding::Unproven(failure) => Judgement::Fails(failure),
            Finding::NotShown { reason, help } => Judgement::NotShown { reason, help },
        }
    }

    /// `expect no …`: `title` says what was found although it should not be.
    pub fn negated(self, code: &'static str, title: &str) -> Judgement {
        match self {
            Finding::Yes { show } => {
                Judgement::Fails(Box::new(Failure { evidence: show, ..Failure::new(code, title) }))
            }
            Finding::No(failure) => {
                let path = failure.evidence.into_iter().filter(|line| line.starts_with("path ")).collect();
                Judgement::Holds { show: path }
            }
            other => other.judgement(),
        }
    }
}

impl Failure {
    pub(super) fn new(code: &'static str, title: impl Into<String>) -> Failure {
        Failure { code, title: title.into(), evidence: vec![], help: vec![] }
    }

    pub(super) fn seen(mut self, line: impl Into<String>) -> Failure {
        self.evidence.push(line.into());
        self
    }

    pub(super) fn seen_all(mut self, lines: impl IntoIterator<Item = String>) -> Failure {
        self.evidence.extend(lines);
        self
    }

    /// An explanation, beneath the evidence.
    pub(super) fn why(mut self, line: impl AsRef<str>) -> Failure {
        self.evidence.push(format!("why   {}", line.as_ref()));
        self
    }

    /// What to do next: shown behind `try`.
    pub(super) fn advise(mut self, line: impl Into<String>) -> Failure {
        self.help.push(line.into());
        self
    }

    pub(super) fn advise_all(mut self, lines: impl IntoIterator<Item = String>) -> Failure {
        self.help.extend(lines);
        self
    }
}

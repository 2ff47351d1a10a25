//! What is read and planned, and not run yet: an error that says so, never a step that is passed over.

use crate::diag::{Diagnostic, Place, Source};
use crate::syntax::vocabulary::{LATER_CAPTURES, LATER_EXPECTATIONS, LATER_REQUIREMENTS, LATER_VERBS};
use crate::syntax::{CaptureSource, Expectation, Require, Span, Statement, Verb};
use std::sync::Arc;

pub(super) fn later(source: &Arc<Source>, statements: &[Statement], errors: &mut Vec<Diagnostic>) {
    for statement in statements {
        let Some((words, span, known)) = words(statement) else { continue };
        if known.contains(&words.1) {
            let what = match words.0 {
                "" => words.1.to_string(),
                verb => format!("{verb} {}", words.1),
            };
            let d = Diagnostic::error("E0106", format!("`{what}` is part of the language, but not of this version"));
            errors.push(d.at(Place { source: source.clone(), span }, "not run yet"));
        }
    }
}

type Words = ((&'static str, &'static str), Span, &'static [&'static str]);

fn words(statement: &Statement) -> Option<Words> {
    let verb = |word| Some((("", word), statement.span.clone(), LATER_VERBS));
    match &statement.verb {
        Verb::Wait { .. } => verb("wait"),
        Verb::Patch { .. } => verb("patch"),
        Verb::Restart(_) => verb("restart"),
        Verb::Scale { .. } => verb("scale"),
        Verb::Setup => verb("setup"),
        Verb::Cleanup => verb("cleanup"),
        Verb::Site { .. } => verb("site"),
        Verb::Cut { .. } => verb("cut"),
        Verb::Kill { .. } => verb("kill"),
        Verb::Trap { .. } => verb("trap"),
        Verb::SkipIf { .. } => verb("skip"),
        Verb::OnlyOn { .. } => verb("only"),
        Verb::Disruptive { .. } => verb("disruptive"),
        Verb::Require(require) => {
            let word = match require {
                Require::Secret { .. } => "secret",
                Require::Version { .. } => "version",
                Require::Crd(_) => "crd",
                _ => return None,
            };
            Some((("require", word), statement.span.clone(), LATER_REQUIREMENTS))
        }
        Verb::Capture { source, .. } => {
            let word = match source {
                CaptureSource::Json(_) => "json",
                CaptureSource::Object { .. } => "object",
                _ => return None,
            };
            Some((("capture", word), statement.span.clone(), LATER_CAPTURES))
        }
        Verb::Expect(expect) => {
            let word = match &expect.what {
                Expectation::Json { .. } => "json",
                Expectation::Time { .. } => "time",
                Expectation::Tls { .. } => "tls",
                Expectation::Endpoint { .. } => "endpoint",
                Expectation::Secret { .. } => "secret",
                Expectation::Only { .. } => "only",
                Expectation::Config { .. } => "config",
                Expectation::Resource { .. } => "resource",
                Expectation::Rejected { .. } => "rejected",
                Expectation::Analysis { .. } => "analysis",
                Expectation::Route { .. } => "route",
                _ => return None,
            };
            Some((("expect", word), expect.span.clone(), LATER_EXPECTATIONS))
        }
        _ => None,
    }
}

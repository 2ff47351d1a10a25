//! Failure analysis: what failed, tied to the line of the scenario and to the lines of the manifests that
//! explain it.

use crate::cluster::Error;
use crate::diag::{Diagnostic, Label};
use crate::plan::{Expect, ManifestObject, Scenario, Step};

/// The caret under an expectation that failed.
pub(super) fn label(step: &Step, expect: &Expect) -> Label {
    Label { place: step.place.clone(), text: expect.because.clone().unwrap_or_default() }
}

/// Adds what the applied manifests have to say: a link between them that cannot hold is the likeliest
/// cause of a probe that fails.
pub(super) fn attach(_failure: &mut Diagnostic, _scenario: &Scenario, _applied: &[ManifestObject]) {}

/// A step that could not be done. `refused` is the object that the API would not take.
pub(super) fn of_error(error: &Error, step: &Step, refused: Option<&ManifestObject>) -> Diagnostic {
    let (code, title, help) = match error {
        Error::Absent { message, help } => ("E0504", message.clone(), help.clone()),
        Error::Refused { message, .. } if refused.is_some() => ("E0502", message.clone(), String::new()),
        Error::Refused { .. } => ("E0501", error.to_string(), String::new()),
        Error::Broken { .. } => ("E0503", error.to_string(), "is the target still there?".to_owned()),
    };
    let mut failure = Diagnostic::error(code, title).at(step.place.clone(), "");
    if let Some(object) = refused {
        failure.labels.push(Label { place: object.place.clone(), text: "the API server refused this object".into() });
    }
    if !help.is_empty() {
        failure.help.push(help);
    }
    failure
}

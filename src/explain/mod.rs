//! A plan in plain words, with the kubectl, istioctl and curl commands that a person would type for each step.
//!
//! Reads only the plan (and what the target starts with, to know containers' names). Does no I/O: nothing is run.

mod change;
mod commands;
mod expectation;
mod shell;
mod state;
mod step;

use crate::diag::Place;
use crate::diag::render::visible;
use crate::plan::{ManifestObject, Plan, Workload};
use std::collections::HashMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Korean,
}

impl Language {
    /// By `LC_ALL`, `LC_MESSAGES` or `LANG`: Korean for `ko`, `ko_KR.UTF-8` and so on.
    pub fn of_locale(locale: &str) -> Language {
        let word = locale.split(['_', '.', '-', '@']).next().unwrap_or("");
        if word.eq_ignore_ascii_case("ko") { Language::Korean } else { Language::English }
    }

    /// The sentence in this language.
    pub(crate) fn say(self, english: impl Into<String>, korean: impl Into<String>) -> String {
        match self {
            Language::English => english.into(),
            Language::Korean => korean.into(),
        }
    }
}

/// One scenario, explained.
#[derive(Debug, Clone)]
pub struct Explained {
    pub file: String,
    pub name: String,
    /// What it needs, then its steps, then how to put back what they changed.
    pub steps: Vec<ExplainedStep>,
}

/// One step in words and commands.
#[derive(Debug, Clone)]
pub struct ExplainedStep {
    /// The statement it explains; the undo at the end has none.
    pub place: Option<Place>,
    pub text: String,
    pub words: String,
    /// For bash. Each ends with 0 when what the step says holds, but those of a bare `exec`, which end as curl does.
    pub commands: Vec<String>,
}

/// Explains every scenario. `ambient` is what the target has before a run (`manifests/base/`).
pub fn explain(plan: &Plan, language: Language, ambient: &[ManifestObject]) -> Vec<Explained> {
    let containers = containers(ambient.iter());
    plan.scenarios.iter().map(|scenario| step::scenario(scenario, language, containers.clone())).collect()
}

/// The first container of each Deployment.
fn containers<'a>(objects: impl Iterator<Item = &'a ManifestObject>) -> HashMap<Workload, String> {
    let text = |value: &serde_json::Value, pointer: &str| value.pointer(pointer)?.as_str().map(str::to_owned);
    objects
        .filter_map(|object| {
            let body = &object.body;
            text(body, "/kind").filter(|kind| kind == "Deployment")?;
            let container = text(body, "/spec/template/spec/containers/0/name")?;
            let namespace = text(body, "/metadata/namespace")?;
            Some((Workload { name: text(body, "/metadata/name")?, namespace }, container))
        })
        .collect()
}

/// As a bash script whose comments are the words: any part of it can be pasted.
pub fn render(all: &[Explained], language: Language) -> String {
    let mut out = String::new();
    for (index, scenario) in all.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        comment(&mut out, &format!("{} — {}", scenario.file, scenario.name));
        if index == 0 {
            comment(
                &mut out,
                &language.say(
                    "For bash, from this folder, with kubectl and istioctl set to the target. After a change the proxies need a \
                     moment: a command that comes too early is repeated.",
                    "bash에서, 이 폴더에서, kubectl과 istioctl이 대상을 가리킬 때 쓴다. 무엇을 바꾼 뒤에는 프록시에 전달될 때까지 \
                     잠시 걸린다. 너무 이르면 다시 실행한다.",
                ),
            );
        }
        for (number, step) in scenario.steps.iter().enumerate() {
            out.push('\n');
            let line = step.place.as_ref().map(|place| format!("  ({})", place.line())).unwrap_or_default();
            comment(&mut out, &format!("{}. {}{line}", number + 1, step.words));
            for command in &step.commands {
                out.push_str(command);
                out.push('\n');
            }
        }
    }
    out
}

/// A text behind `#`, a line each; control characters are shown, so that none ends the comment.
fn comment(out: &mut String, text: &str) {
    for line in visible(text).lines() {
        out.push_str("# ");
        out.push_str(line);
        out.push('\n');
    }
}

//! Headers of a file or scenario: what they set, and the names that `set` and `let` give.

use super::build::{Builder, DEFAULT_GATEWAY};
use super::scope::{Binding, Value};
use super::step::{Disruptive, Require, Requirement, Skip, SkipWhen, TargetKind, Trap};
use super::value::{self, Unfit};
use crate::diag::Diagnostic;
use crate::syntax::{self, Name, Span, Statement, Verb};
use std::time::Duration;
use unicode_normalization::UnicodeNormalization;

/// Headers and teaching, of a file or of a scenario.
#[derive(Default, Clone)]
pub(super) struct Headers {
    pub(super) title: Option<String>,
    pub(super) texts: Vec<String>,
    pub(super) criteria: Vec<String>,
    pub(super) see: Vec<String>,
    pub(super) traps: Vec<Trap>,
    pub(super) requires: Vec<Require>,
    pub(super) skips: Vec<Skip>,
    pub(super) disruptive: Option<Disruptive>,
    pub(super) within: Duration,
}

impl Builder<'_> {
    pub(super) fn headers(&mut self, statements: &[&Statement], headers: &mut Headers) {
        let level = self.scope.bindings.len();
        let mut seen: Vec<(&'static str, Span)> = vec![];
        // `namespace` and `gateway` first: other headers are read with them.
        for statement in statements {
            match &statement.verb {
                Verb::Namespace(word) => {
                    self.once("namespace", statement, &mut seen);
                    if let Some(namespace) = self.value(word, namespace_name) {
                        self.namespace = namespace;
                    }
                }
                Verb::Gateway(word) => {
                    self.once("gateway", statement, &mut seen);
                    if let Some(gateway) = self.value(word, |w| value::workload(w, DEFAULT_GATEWAY.1, None)) {
                        self.gateway = gateway;
                    }
                }
                _ => {}
            }
        }
        for statement in statements {
            match &statement.verb {
                Verb::Title(word) => {
                    self.once("title", statement, &mut seen);
                    headers.title = self.fixed(word).map(|t| t.nfc().collect());
                }
                Verb::Within(word) => {
                    self.once("within", statement, &mut seen);
                    if let Some(within) = self.value(word, value::duration) {
                        headers.within = within;
                    }
                }
                Verb::Require(require) => {
                    if let Some(what) = self.requirement(require) {
                        headers.requires.push(Require { place: self.place(&statement.span), what });
                    }
                }
                Verb::Set { name, words } => {
                    let mut errors = vec![];
                    let words = self.scope.words(words, &mut errors);
                    let value = match errors.is_empty() {
                        true => Value::Set(words.into_iter().map(|w| w.text).collect()),
                        false => Value::Broken,
                    };
                    self.errors.extend(errors);
                    self.define(name, value, level);
                }
                Verb::Let { name, word } => {
                    let value = self.fixed(word).map_or(Value::Broken, Value::One);
                    self.define(name, value, level);
                }
                Verb::OnlyOn { target, because } => {
                    let target = self.value(target, target_kind);
                    let because = because.as_ref().and_then(|w| self.fixed(w));
                    let place = self.place(&statement.span);
                    headers.skips.extend(target.map(|t| Skip { place, when: SkipWhen::NotOn(t), because }));
                }
                Verb::SkipIf { negated, requirement, because } => {
                    let requirement = self.requirement(requirement);
                    let because = because.as_ref().and_then(|w| self.fixed(w));
                    let place = self.place(&statement.span);
                    let when = |requirement| SkipWhen::If { negated: *negated, requirement };
                    headers.skips.extend(requirement.map(|r| Skip { place, when: when(r), because }));
                }
                Verb::Disruptive { because } => {
                    self.once("disruptive", statement, &mut seen);
                    let because = because.as_ref().and_then(|w| self.fixed(w));
                    headers.disruptive = Some(Disruptive { place: self.place(&statement.span), because });
                }
                Verb::Trap { symptom, cause, mend } => {
                    let (symptom, cause, mend) = (self.fixed(symptom), self.fixed(cause), self.fixed(mend));
                    if let (Some(symptom), Some(cause), Some(mend)) = (symptom, cause, mend) {
                        headers.traps.push(Trap { symptom, cause, mend });
                    }
                }
                Verb::Text(text) => headers.texts.push(text.clone()),
                Verb::Criteria(word) => headers.criteria.extend(self.fixed(word)),
                Verb::See(words) => {
                    for word in words {
                        headers.see.extend(self.fixed(word));
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn once(&mut self, verb: &'static str, statement: &Statement, seen: &mut Vec<(&'static str, Span)>) {
        if let Some((_, first)) = seen.iter().find(|(v, _)| *v == verb) {
            let d = Diagnostic::error("E0117", format!("`{verb}` is given twice"))
                .at(self.place(&statement.span), "again")
                .at(self.place(first), "first here");
            self.error(d);
        } else {
            seen.push((verb, statement.span.clone()));
        }
    }

    pub(super) fn requirement(&mut self, require: &syntax::Require) -> Option<Requirement> {
        Some(match require {
            syntax::Require::Outbound(word) => Requirement::Outbound(self.value(word, value::outbound)?),
            syntax::Require::GatewayPort(word) => Requirement::GatewayPort(self.value(word, value::port)?),
            syntax::Require::AccessLog { peer } => Requirement::AccessLog { peer: *peer },
            syntax::Require::Secret { name, namespace } => {
                let namespace = match namespace {
                    Some(word) => Some(self.value(word, namespace_name)?),
                    None => None,
                };
                Requirement::Secret { name: self.fixed(name)?, namespace }
            }
            syntax::Require::Version { comparison, version } => {
                Requirement::Version { comparison: *comparison, version: self.value(version, value::version)? }
            }
            syntax::Require::Crd(word) => Requirement::Crd(self.value(word, value::crd)?),
        })
    }

    /// Gives a name a value; names of the same level must differ, inner ones may hide outer ones.
    pub(super) fn define(&mut self, name: &Name, value: Value, level: usize) {
        if let Some(first) =
            self.scope.bindings[level.min(self.scope.bindings.len())..].iter().find(|b| b.name == name.text)
        {
            let d = Diagnostic::error("E0204", format!("`{}` is already named", name.text))
                .at(self.scope.place(&name.span), "again")
                .at(first.place.clone(), "first here");
            self.errors.push(d);
        }
        self.scope.bindings.push(Binding::new(name, value, &self.scope.source));
    }
}

pub(super) fn namespace_name(word: &str) -> Result<String, Unfit> {
    match value::is_label(word) {
        true => Ok(word.to_string()),
        false => Err(Unfit {
            why: "not a namespace".into(),
            help: Some("a namespace is lower-case letters, digits and `-`".into()),
        }),
    }
}

fn target_kind(word: &str) -> Result<TargetKind, Unfit> {
    match word {
        "lab" => Ok(TargetKind::Lab),
        "cluster" => Ok(TargetKind::Cluster),
        _ => Err(Unfit { why: "not a target".into(), help: Some("write only on lab, or only on cluster".into()) }),
    }
}

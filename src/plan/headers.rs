//! Headers of a file or scenario: what they set, and the names that `set` and `let` give.

use super::build::{Builder, DEFAULT_GATEWAY};
use super::scope::{Binding, Value};
use super::step::{Require, Requirement};
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
    pub(super) requires: Vec<Require>,
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
                    let read = |w: &str| match value::is_label(w) {
                        true => Ok(w.to_string()),
                        false => Err(Unfit {
                            why: "not a namespace".into(),
                            help: Some("a namespace is lower-case letters, digits and `-`".into()),
                        }),
                    };
                    if let Some(namespace) = self.value(word, read) {
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
        })
    }

    /// Gives a name a value; names of the same level must differ, inner ones may hide outer ones.
    pub(super) fn define(&mut self, name: &Name, value: Value, level: usize) {
        if let Some(first) =
            self.scope.bindings[level.min(self.scope.bindings.len())..].iter().find(|b| b.name == name.text)
        {
            let d = Diagnostic::error("E0204", format!("`{}` is already named", name.text))
                .at(self.scope.place(&name.span), "again")
                .at(self.scope.place(&first.span), "first here");
            self.errors.push(d);
        }
        self.scope.bindings.push(Binding::new(name, value));
    }
}

//! A parsed file → its scenarios with typed steps. Manifests come from the outside through
//! [`Manifests`], so that nothing here reads a file.

use super::blocks::{Around, FileBlocks, Node, Over, ScenarioBlock, blocks};
use super::headers::Headers;
use super::inline::Inline;
use super::named::{Named, include};
use super::scope::{Expanded, Scope, Value};
use super::step::*;
use super::value;
use super::value::Unfit;
use crate::diag::{Diagnostic, Place, Source};
use crate::syntax::{self, Name, Parsed, Span, Statement, Word};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use unicode_normalization::UnicodeNormalization;

/// The namespace of a file that names none: the lab's own, so that a file of four lines finds `sleep`.
pub const DEFAULT_NAMESPACE: &str = "mesh-test";
/// The gateway of a file that names none.
pub const DEFAULT_GATEWAY: (&str, &str) = ("istio-egressgateway", "istio-system");
/// How long an expectation is tried when nothing is said.
pub const DEFAULT_WITHIN: Duration = Duration::from_secs(10);
/// More steps than this in one file are an error: a loop in a loop in a loop, not a scenario.
const MAX_STEPS: usize = 1_000_000;

/// Where the words of `apply` and `delete` come from.
pub trait Manifests {
    /// The objects of the files that a word names, in order. `quoted` words are no globs.
    fn files(&self, word: &Expanded, place: &Place) -> Result<Vec<ManifestObject>, Vec<Diagnostic>>;
    /// The objects of a heredoc.
    fn inline(&self, inline: &Inline, place: &Place) -> Result<Vec<ManifestObject>, Vec<Diagnostic>>;
    /// One document of a heredoc, whatever it holds.
    fn document(&self, inline: &Inline, place: &Place) -> Result<serde_json::Value, Vec<Diagnostic>>;
    /// The text of a file of named steps.
    fn steps(&self, word: &Expanded, place: &Place) -> Result<Arc<Source>, Vec<Diagnostic>>;
}

/// Takes the scenarios of a file one after the other, so that who needs none of them longer does not hold them all.
pub trait Taker {
    /// `routes`: the names and places of its `expect route` lines, which the checks turn into a lesson.
    fn take(&mut self, scenario: Scenario, routes: Vec<(String, Place)>);
}

/// Hands on what a file says, scenario by scenario, and gives back everything found wrong or doubtful on the way.
pub fn build(parsed: &Parsed, manifests: &dyn Manifests, taker: &mut dyn Taker) -> Vec<Diagnostic> {
    let mut errors = vec![];
    let included = include(parsed, manifests, &mut errors);
    let missing = !errors.is_empty();
    let libraries: Vec<FileBlocks<'_>> =
        included.iter().map(|p| blocks(&p.source, &p.statements, &mut errors)).collect();
    let file_blocks = blocks(&parsed.source, &parsed.statements, &mut errors);
    let FileBlocks { headers, around, scenarios } = &file_blocks;
    let mut builder = Builder {
        manifests,
        named: vec![],
        lost: vec![],
        calls: vec![],
        phase: Phase::Body,
        snapshots: vec![],
        scope: Scope { source: parsed.source.clone(), bindings: vec![], later: later(parsed), given: vec![] },
        errors,
        namespace: DEFAULT_NAMESPACE.to_string(),
        gateway: Workload { name: DEFAULT_GATEWAY.0.into(), namespace: DEFAULT_GATEWAY.1.into() },
        steps: vec![],
        total: 0,
        last_exec: None,
        routes: vec![],
        is_first: true,
        first: Place {
            source: parsed.source.clone(),
            span: parsed.statements.first().map_or(0..0, |s| s.span.clone()),
        },
    };
    builder.lost.extend(missing.then_some(None));
    for (library, parsed) in libraries.iter().zip(&included) {
        builder.library(library, &parsed.source);
    }
    let mut file = Headers { within: DEFAULT_WITHIN, ..Headers::default() };
    builder.headers(headers, &mut file);
    let level = builder.named.len();
    builder.name_steps(around);
    let mut titles = HashMap::new();
    let mut again = vec![];
    for block in scenarios {
        let scenario = builder.scenario(&parsed.source, block, &file, around);
        again.extend(same_title(&scenario, &mut titles));
        let routes = std::mem::take(&mut builder.routes);
        taker.take(scenario, routes);
    }
    builder.unused_steps(level, !scenarios.is_empty());
    builder.errors.extend(again);
    builder.errors.retain(|d| !d.code.is_empty());
    builder.errors
}

/// Where the file gives names, wherever that is.
fn later(parsed: &Parsed) -> std::rc::Rc<Vec<(String, Place)>> {
    let names = parsed.statements.iter().filter_map(|s| match &s.verb {
        syntax::Verb::Set { name, .. } | syntax::Verb::Let { name, .. } | syntax::Verb::Capture { name, .. } => {
            Some(name)
        }
        _ => None,
    });
    let place = |name: &Name| Place { source: parsed.source.clone(), span: name.span.clone() };
    std::rc::Rc::new(names.map(|name| (name.text.clone(), place(name))).collect())
}

pub(super) struct Builder<'m> {
    pub(super) manifests: &'m dyn Manifests,
    /// The named steps that `do` can name; inner ones last.
    pub(super) named: Vec<Named<'m>>,
    /// Names of steps that were told to be wrong; `None`: those of a file that could not be read, whatever they are.
    pub(super) lost: Vec<Option<String>>,
    /// The `do`s that led to the steps being built, outermost first.
    pub(super) calls: Vec<(Place, String)>,
    pub(super) phase: Phase,
    /// Proxies of which a list was captured: what `expect only` compares with.
    pub(super) snapshots: Vec<Workload>,
    pub(super) scope: Scope,
    pub(super) errors: Vec<Diagnostic>,
    pub(super) namespace: String,
    pub(super) gateway: Workload,
    pub(super) steps: Vec<Step>,
    pub(super) total: usize,
    /// The last exec of the scenario, and what stands between it and here.
    pub(super) last_exec: Option<LastExec>,
    pub(super) routes: Vec<(String, Place)>,
    pub(super) is_first: bool,
    /// The file's first statement.
    pub(super) first: Place,
}

#[derive(Clone)]
pub(super) struct LastExec {
    /// `None`: the exec itself is wrong, which was told; what is about it is not blamed.
    pub(super) step: Option<usize>,
    pub(super) workload: Option<Workload>,
    /// An `apply` or `delete` behind the exec: what it showed is of before that.
    pub(super) changed: Option<Place>,
}

impl<'m> Builder<'m> {
    pub(super) fn place(&self, span: &Span) -> Place {
        self.scope.place(span)
    }

    pub(super) fn error(&mut self, d: Diagnostic) {
        self.errors.push(d);
    }

    /// The word's text, if it is known before the run; otherwise the error is kept.
    pub(super) fn fixed(&mut self, word: &Word) -> Option<String> {
        self.scope.fixed(word).map_err(|d| self.errors.push(*d)).ok()
    }

    /// What stands behind `subset`, where that is written; `None` only where it is wrong.
    pub(super) fn subset(&mut self, word: Option<&Word>) -> Option<Option<String>> {
        match word {
            Some(word) => self.fixed(word).map(Some),
            None => Some(None),
        }
    }

    pub(super) fn text(&mut self, word: &Word) -> Option<Text> {
        self.scope.text(word).map_err(|d| self.errors.push(*d)).ok()
    }

    /// The word as a value of its kind.
    pub(super) fn value<T>(&mut self, word: &Word, read: impl Fn(&str) -> Result<T, Unfit>) -> Option<T> {
        let text = self.fixed(word)?;
        self.read(&text, &word.span, read)
    }

    pub(super) fn read<T>(&mut self, text: &str, span: &Span, read: impl Fn(&str) -> Result<T, Unfit>) -> Option<T> {
        match read(text) {
            Ok(value) => Some(value),
            Err(Unfit { why, help }) => {
                let shown = text.lines().next().unwrap_or("");
                let near = if why.starts_with("did you mean") { why.as_str() } else { "" };
                let title = if near.is_empty() { why.as_str() } else { "does not fit here" };
                let mut d = Diagnostic::error("E0205", format!("`{shown}`: {title}")).at(self.place(span), near);
                d.help.extend(match self.scope.unreplaced(text) {
                    Some((_, name)) => Some(format!("a name is replaced as ${{{name}}}")),
                    None => help,
                });
                self.error(d);
                None
            }
        }
    }

    pub(super) fn workload(&mut self, word: &Word) -> Option<Workload> {
        let (namespace, gateway) = (self.namespace.clone(), self.gateway.clone());
        self.value(word, |w| value::workload(w, &namespace, Some(&gateway)))
    }

    // ---------------------------------------------------------------- scenarios

    pub(super) fn scenario(
        &mut self,
        source: &Arc<Source>,
        block: &'m ScenarioBlock<'m>,
        file: &Headers,
        around: &'m Around<'m>,
    ) -> Scenario {
        let (scope, namespace, gateway) = (self.scope.clone(), self.namespace.clone(), self.gateway.clone());
        let mut headers =
            Headers { texts: vec![], criteria: vec![], see: vec![], traps: vec![], title: None, ..file.clone() };
        self.headers(&block.headers, &mut headers);
        if let (Some(title), Some((line, ..))) = (&headers.title, block.line) {
            let d = Diagnostic::error("E0117", "`title` names the file, and stands before its first scenario")
                .at(
                    self.place(&line.span),
                    format!("the scenario's own name is \"{}\"", self.fixed_name(block).unwrap_or_default()),
                )
                .help(format!("remove title \"{title}\", or write it in the `scenario` line"));
            self.error(d);
        }
        let place = match block.line {
            Some((line, ..)) => self.place(&line.span),
            // The first line that says something.
            None => self.first.clone(),
        };
        let name = match block.line {
            Some((_, title, _)) => self.fixed(title).unwrap_or_default().nfc().collect(),
            None => file_stem(&source.name),
        };
        let level = self.scope.bindings.len();
        let named = self.named.len();
        self.name_steps(&block.around);
        self.last_exec = None;
        self.snapshots.clear();
        self.phase = Phase::Setup;
        for (_, nodes) in around.setup.iter().chain(&block.around.setup) {
            self.nodes(nodes, level);
        }
        self.phase = Phase::Body;
        self.nodes(&block.body, level);
        // What ran last is not known there: the steps before may have failed anywhere.
        self.last_exec = None;
        self.phase = Phase::Cleanup;
        for (_, nodes) in block.around.cleanup.iter().chain(&around.cleanup) {
            self.nodes(nodes, level);
        }
        self.phase = Phase::Body;
        self.unused(level, "capture");
        self.unused_steps(named, true);
        self.named.truncate(named);
        let first = std::mem::replace(&mut self.is_first, false);
        let scenario = Scenario {
            file: source.clone(),
            file_title: file.title.clone(),
            name,
            tags: block.line.map_or(vec![], |(_, _, tags)| tags.iter().map(|t| t.text.clone()).collect()),
            place,
            // What stands before the first scenario line introduces the file: told once, with the first.
            texts: [if first { file.texts.clone() } else { vec![] }, headers.texts].concat(),
            criteria: [if first { file.criteria.clone() } else { vec![] }, headers.criteria].concat(),
            see: [if first { file.see.clone() } else { vec![] }, headers.see].concat(),
            traps: [if first { file.traps.clone() } else { vec![] }, headers.traps].concat(),
            namespace: self.namespace.clone(),
            gateway: self.gateway.clone(),
            requires: headers.requires,
            skips: headers.skips,
            disruptive: headers.disruptive,
            within: headers.within,
            steps: std::mem::take(&mut self.steps),
        };
        (self.scope, self.namespace, self.gateway) = (scope, namespace, gateway);
        scenario
    }

    pub(super) fn fixed_name(&self, block: &ScenarioBlock<'_>) -> Option<String> {
        block.line.and_then(|(_, title, _)| title.literal())
    }

    /// Warns of names from `level` on that nothing refers to.
    pub(super) fn unused(&mut self, level: usize, what: &str) {
        for binding in &self.scope.bindings[level.min(self.scope.bindings.len())..] {
            if !binding.is_used() && binding.value != Value::Broken {
                let code = if what == "capture" { "W0230" } else { "W0231" };
                let d = Diagnostic::warning(code, format!("the {what} `{}` is never used", binding.name))
                    .at(binding.place.clone(), "nothing below refers to it")
                    .help(format!("use it as ${{{}}}, or remove it", binding.name));
                self.errors.push(d);
            }
        }
    }

    pub(super) fn nodes(&mut self, nodes: &'m [Node<'m>], level: usize) {
        for node in nodes {
            if self.total > MAX_STEPS {
                return;
            }
            match node {
                Node::Step(statement) => self.step(statement, level),
                Node::For { statement, over, body } => self.repeat(statement, over, body, level),
            }
        }
    }

    pub(super) fn repeat(&mut self, statement: &Statement, over: &Over<'_>, body: &'m [Node<'m>], level: usize) {
        let rounds: Vec<Vec<(Name, String)>> = match over {
            Over::Words { name, words } => {
                let mut errors = vec![];
                let words = self.scope.words(words, &mut errors);
                self.errors.extend(errors);
                words.into_iter().map(|w| vec![((*name).clone(), w.text)]).collect()
            }
            Over::Table { names, rows } => rows
                .iter()
                .map(|(_, cells)| {
                    let cells = cells.iter().map(|c| self.fixed(c).unwrap_or_default());
                    names.iter().cloned().zip(cells).collect()
                })
                .collect(),
        };
        // Seen before they are made: at least so many there would be.
        let least = rounds.len().saturating_mul(least_steps(body));
        if self.total.saturating_add(least) > MAX_STEPS {
            self.total = MAX_STEPS + 1;
        }
        for (index, round) in rounds.iter().enumerate() {
            if self.total > MAX_STEPS {
                break;
            }
            let inner = self.scope.bindings.len();
            for (name, text) in round {
                self.define(name, Value::One(text.clone()), inner);
            }
            let variables = self.scope.bindings.len();
            self.nodes(body, level);
            // Captures made inside stay known behind the block; the variables do not.
            let captures = self.scope.bindings.split_off(variables);
            if index == 0 && !body.is_empty() {
                self.unused(inner, "variable");
            }
            self.scope.bindings.truncate(inner);
            self.scope.bindings.extend(captures);
        }
        if self.total > MAX_STEPS && !self.errors.iter().any(|d| d.code == "E0124") {
            let d = Diagnostic::error("E0124", format!("the file repeats to more than {MAX_STEPS} steps"))
                .at(self.place(&statement.span), "in this block")
                .help("split it into several files, or repeat less");
            self.error(d);
        }
    }

    pub(super) fn several(&mut self, words: &[Word]) -> Option<Vec<Expanded>> {
        let mut errors = vec![];
        let out = self.scope.words(words, &mut errors);
        let ok = errors.is_empty();
        self.errors.extend(errors);
        ok.then_some(out)
    }

    pub(super) fn regex(&mut self, regex: &syntax::Regex) -> Option<String> {
        let text = self.scope.regex(&regex.text, &regex.span).map_err(|d| self.errors.push(*d)).ok()?;
        match regex::Regex::new(&text) {
            Ok(_) => Some(text),
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or("").trim_start_matches("error: ").to_string();
                let d = Diagnostic::error("E0207", "the regex cannot be read").at(self.place(&regex.span), why);
                self.error(d);
                None
            }
        }
    }

    pub(super) fn route(&mut self, name: String, span: &Span) {
        let place = self.place(span);
        self.routes.push((name, place));
    }
}

/// The steps that nodes stand for, at least: a set in a `for` counts as one word.
fn least_steps(nodes: &[Node<'_>]) -> usize {
    let of = |node: &Node<'_>| match node {
        Node::Step(_) => 1,
        Node::For { over: Over::Words { words, .. }, body, .. } => words.len().saturating_mul(least_steps(body)),
        Node::For { over: Over::Table { rows, .. }, body, .. } => rows.len().saturating_mul(least_steps(body)),
    };
    nodes.iter().map(of).fold(0, usize::saturating_add)
}

fn file_stem(name: &str) -> String {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    file.strip_suffix(".egress").unwrap_or(file).nfc().collect()
}

/// A name that an earlier scenario has.
fn same_title(scenario: &Scenario, titles: &mut HashMap<String, Place>) -> Option<Diagnostic> {
    if let Some(first) = titles.get(&scenario.name) {
        let d = Diagnostic::error("E0204", format!("two scenarios are named \"{}\"", scenario.name))
            .at(scenario.place.clone(), "again")
            .at(first.clone(), "first here");
        return Some(d);
    }
    titles.insert(scenario.name.clone(), scenario.place.clone());
    None
}

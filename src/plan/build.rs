//! A parsed file → its scenarios with typed steps. Manifests come from the outside through
//! [`Manifests`], so that nothing here reads a file.

use super::blocks::{FileBlocks, Node, Over, ScenarioBlock, blocks};
use super::inline::Inline;
use super::scope::{Binding, Expanded, Scope, Value};
use super::step::*;
use super::value::{self, Unfit};
use crate::diag::suggest::nearest;
use crate::diag::{Diagnostic, Place, Source};
use crate::syntax::{self, Manifests as ApplyWords, Name, Parsed, Span, Statement, Verb, Word, vocabulary};
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
const MAX_STEPS: usize = 100_000;

/// Where the words of `apply` and `delete` come from.
pub trait Manifests {
    /// The objects of the files that a word names, in order. `quoted` words are no globs.
    fn files(&self, word: &Expanded, place: &Place) -> Result<Vec<ManifestObject>, Vec<Diagnostic>>;
    /// The objects of a heredoc.
    fn inline(&self, inline: &Inline, place: &Place) -> Result<Vec<ManifestObject>, Vec<Diagnostic>>;
}

/// What a file says: its scenarios, and everything found wrong or doubtful on the way.
pub struct Built {
    pub scenarios: Vec<Scenario>,
    pub diagnostics: Vec<Diagnostic>,
    /// `expect route` lines, which the checks turn into a lesson: the scenario's index, the name, the place.
    pub routes: Vec<(usize, String, Place)>,
}

pub fn build(parsed: &Parsed, manifests: &dyn Manifests) -> Built {
    let mut errors = vec![];
    let FileBlocks { headers, scenarios } = blocks(&parsed.source, &parsed.statements, &mut errors);
    let mut builder = Builder {
        manifests,
        scope: Scope { source: parsed.source.clone(), bindings: vec![], given: vec![] },
        errors,
        namespace: DEFAULT_NAMESPACE.to_string(),
        gateway: Workload { name: DEFAULT_GATEWAY.0.into(), namespace: DEFAULT_GATEWAY.1.into() },
        steps: vec![],
        total: 0,
        last_exec: None,
        routes: vec![],
        index: 0,
        first: Place {
            source: parsed.source.clone(),
            span: parsed.statements.first().map_or(0..0, |s| s.span.clone()),
        },
    };
    let mut file = Headers { within: DEFAULT_WITHIN, ..Headers::default() };
    builder.headers(&headers, &mut file);
    let out: Vec<Scenario> = scenarios.iter().map(|s| builder.scenario(&parsed.source, s, &file)).collect();
    duplicate_titles(&out, &mut builder.errors);
    builder.errors.retain(|d| !d.code.is_empty());
    Built { scenarios: out, diagnostics: builder.errors, routes: builder.routes }
}

/// Headers and teaching, of a file or of a scenario.
#[derive(Default, Clone)]
struct Headers {
    title: Option<String>,
    texts: Vec<String>,
    criteria: Vec<String>,
    see: Vec<String>,
    requires: Vec<Require>,
    within: Duration,
}

pub(super) struct Builder<'m> {
    manifests: &'m dyn Manifests,
    scope: Scope,
    errors: Vec<Diagnostic>,
    namespace: String,
    gateway: Workload,
    steps: Vec<Step>,
    total: usize,
    /// The last exec of the scenario, and what stands between it and here.
    last_exec: Option<LastExec>,
    routes: Vec<(usize, String, Place)>,
    index: usize,
    /// The file's first statement.
    first: Place,
}

#[derive(Clone)]
struct LastExec {
    /// `None`: the exec itself is wrong, which was told; what is about it is not blamed.
    step: Option<usize>,
    workload: Option<Workload>,
    /// An `apply` or `delete` behind the exec: what it showed is of before that.
    changed: Option<Span>,
}

impl Builder<'_> {
    fn place(&self, span: &Span) -> Place {
        self.scope.place(span)
    }

    fn error(&mut self, d: Diagnostic) {
        self.errors.push(d);
    }

    /// The word's text, if it is known before the run; otherwise the error is kept.
    fn fixed(&mut self, word: &Word) -> Option<String> {
        self.scope.fixed(word).map_err(|d| self.errors.push(*d)).ok()
    }

    fn text(&mut self, word: &Word) -> Option<Text> {
        self.scope.text(word).map_err(|d| self.errors.push(*d)).ok()
    }

    /// The word as a value of its kind.
    fn value<T>(&mut self, word: &Word, read: impl Fn(&str) -> Result<T, Unfit>) -> Option<T> {
        let text = self.fixed(word)?;
        self.read(&text, &word.span, read)
    }

    fn read<T>(&mut self, text: &str, span: &Span, read: impl Fn(&str) -> Result<T, Unfit>) -> Option<T> {
        match read(text) {
            Ok(value) => Some(value),
            Err(Unfit { why, help }) => {
                let shown = text.lines().next().unwrap_or("");
                let near = if why.starts_with("did you mean") { why.as_str() } else { "" };
                let title = if near.is_empty() { why.as_str() } else { "does not fit here" };
                let mut d = Diagnostic::error("E0205", format!("`{shown}`: {title}")).at(self.place(span), near);
                d.help.extend(help);
                self.error(d);
                None
            }
        }
    }

    fn workload(&mut self, word: &Word) -> Option<Workload> {
        let (namespace, gateway) = (self.namespace.clone(), self.gateway.clone());
        self.value(word, |w| value::workload(w, &namespace, Some(&gateway)))
    }

    // ---------------------------------------------------------------- headers

    fn headers(&mut self, statements: &[&Statement], headers: &mut Headers) {
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

    fn once(&mut self, verb: &'static str, statement: &Statement, seen: &mut Vec<(&'static str, Span)>) {
        if let Some((_, first)) = seen.iter().find(|(v, _)| *v == verb) {
            let d = Diagnostic::error("E0117", format!("`{verb}` is given twice"))
                .at(self.place(&statement.span), "again")
                .at(self.place(first), "first here");
            self.error(d);
        } else {
            seen.push((verb, statement.span.clone()));
        }
    }

    fn requirement(&mut self, require: &syntax::Require) -> Option<Requirement> {
        Some(match require {
            syntax::Require::Outbound(word) => Requirement::Outbound(self.value(word, value::outbound)?),
            syntax::Require::GatewayPort(word) => Requirement::GatewayPort(self.value(word, value::port)?),
            syntax::Require::AccessLog { peer } => Requirement::AccessLog { peer: *peer },
        })
    }

    /// Gives a name a value; names of the same level must differ, inner ones may hide outer ones.
    fn define(&mut self, name: &Name, value: Value, level: usize) {
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

    // ---------------------------------------------------------------- scenarios

    fn scenario(&mut self, source: &Arc<Source>, block: &ScenarioBlock<'_>, file: &Headers) -> Scenario {
        let (scope, namespace, gateway) = (self.scope.clone(), self.namespace.clone(), self.gateway.clone());
        let mut headers = Headers { texts: vec![], criteria: vec![], see: vec![], title: None, ..file.clone() };
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
        self.last_exec = None;
        self.nodes(&block.body, level);
        self.unused(level, "capture");
        let first = self.index == 0;
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
            namespace: self.namespace.clone(),
            gateway: self.gateway.clone(),
            requires: headers.requires,
            within: headers.within,
            steps: std::mem::take(&mut self.steps),
        };
        (self.scope, self.namespace, self.gateway) = (scope, namespace, gateway);
        self.index += 1;
        scenario
    }

    fn fixed_name(&self, block: &ScenarioBlock<'_>) -> Option<String> {
        block.line.and_then(|(_, title, _)| title.literal())
    }

    /// Warns of names from `level` on that nothing refers to.
    fn unused(&mut self, level: usize, what: &str) {
        for binding in &self.scope.bindings[level.min(self.scope.bindings.len())..] {
            if !binding.is_used() && binding.value != Value::Broken {
                let code = if what == "capture" { "W0230" } else { "W0231" };
                let d = Diagnostic::warning(code, format!("the {what} `{}` is never used", binding.name))
                    .at(self.scope.place(&binding.span), "nothing below refers to it")
                    .help(format!("use it as ${{{}}}, or remove it", binding.name));
                self.errors.push(d);
            }
        }
    }

    fn nodes(&mut self, nodes: &[Node<'_>], level: usize) {
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

    fn repeat(&mut self, statement: &Statement, over: &Over<'_>, body: &[Node<'_>], level: usize) {
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
        for (index, round) in rounds.iter().enumerate() {
            if self.total > MAX_STEPS {
                return;
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

    // ---------------------------------------------------------------- steps

    fn step(&mut self, statement: &Statement, level: usize) {
        let kind = match &statement.verb {
            Verb::Apply(words) => self.apply(words, statement).map(StepKind::Apply),
            Verb::Delete(words) => self.delete(words, statement).map(StepKind::Delete),
            Verb::Exec(exec) => self.exec(exec, statement),
            Verb::Capture { name, source } => self.capture(name, source, statement, level),
            Verb::Diff { left, right } => {
                let (left, right) = (self.operand(left), self.operand(right));
                left.zip(right).map(|(left, right)| StepKind::Diff { left, right })
            }
            Verb::Note(word) => self.fixed(word).map(StepKind::Note),
            Verb::Pause(word) => self.fixed(word).map(StepKind::Pause),
            Verb::Expect(expect) => super::expectation::build(self, expect, statement).map(StepKind::Expect),
            Verb::Broken(broken) => {
                for name in &broken.names {
                    self.scope.bindings.push(Binding::broken(name));
                }
                if broken.exec {
                    self.last_exec = Some(LastExec { step: None, workload: None, changed: None });
                }
                None
            }
            _ => None,
        };
        if let Some(kind) = kind {
            let text = self.scope.shown(&statement.span);
            self.steps.push(Step { place: self.place(&statement.span), text, kind });
        }
        self.total += 1;
    }

    fn changed(&mut self, statement: &Statement) {
        if let Some(last) = &mut self.last_exec {
            last.changed.get_or_insert(statement.span.clone());
        }
    }

    fn apply(&mut self, what: &ApplyWords, statement: &Statement) -> Option<Vec<ManifestObject>> {
        self.changed(statement);
        match what {
            ApplyWords::Heredoc(heredoc) => {
                let inline = self.scope.heredoc(heredoc).map_err(|d| self.errors.push(*d)).ok()?;
                let place = self.place(&heredoc.body);
                self.manifests.inline(&inline, &place).map_err(|d| self.errors.extend(d)).ok()
            }
            ApplyWords::Words(words) => {
                self.reserved("apply", words)?;
                self.objects(words)
            }
        }
    }

    /// The objects of all the words; every error of them.
    fn objects(&mut self, words: &[Word]) -> Option<Vec<ManifestObject>> {
        let before = self.errors.len();
        let mut errors = vec![];
        let mut out = vec![];
        for word in self.scope.words(words, &mut errors) {
            match self.manifests.files(&word, &self.place(&word.span)) {
                Ok(objects) => out.extend(objects),
                Err(found) => errors.extend(found),
            }
        }
        self.errors.extend(errors);
        (self.errors.len() == before).then_some(out)
    }

    /// Modifier words at the end of `apply` and `delete` are an error, not a file name.
    fn reserved(&mut self, verb: &str, words: &[Word]) -> Option<()> {
        let from = words.len().saturating_sub(2);
        for word in &words[from..] {
            let Some(text) = word.literal().filter(|_| !word.quoted) else { continue };
            if vocabulary::RESERVED.contains(&text.as_str()) {
                let mut d =
                    Diagnostic::error("E0210", format!("`{text}` at the end of `{verb}` is a modifier, not a file"))
                        .at(self.place(&word.span), format!("`{verb}` takes none in this version"))
                        .help(format!("a file that is so named stands in quotes: \"{text}\""));
                if matches!(text.as_str(), "within" | "every" | "stable") {
                    d = d.help(format!("put `{text} …` at the end of the `expect` that waits"));
                }
                self.error(d);
                return None;
            }
        }
        Some(())
    }

    fn delete(&mut self, words: &[Word], statement: &Statement) -> Option<Vec<ObjectRef>> {
        self.changed(statement);
        let mut errors = vec![];
        let expanded = self.scope.words(words, &mut errors);
        let failed = !errors.is_empty();
        self.errors.extend(errors);
        let first = expanded.first().filter(|_| !failed)?;
        if is_file_word(&first.text) {
            self.reserved("delete", words)?;
            let objects = self.objects(words)?;
            return Some(objects.iter().filter_map(object_ref).collect());
        }
        let text: Vec<&str> = expanded.iter().map(|w| w.text.as_str()).collect();
        let (name, namespace) = match text.as_slice() {
            [_, name] => (name, None),
            [_, name, "in", namespace] => (name, Some(namespace.to_string())),
            _ => {
                let d = Diagnostic::error("E0107", "`delete` takes a kind and a name, or files")
                    .at(self.place(&statement.span), format!("{} words behind `delete`", text.len()))
                    .help("write delete KIND NAME [in NAMESPACE], or delete FILE… (a file ends in .yaml, .yml or .json; a folder in /)");
                self.error(d);
                return None;
            }
        };
        let (kind, name) = (text[0].to_string(), name.to_string());
        Some(vec![ObjectRef { api_version: None, kind, namespace, name }])
    }

    fn exec(&mut self, exec: &syntax::Exec, statement: &Statement) -> Option<StepKind> {
        self.last_exec = Some(LastExec { step: None, workload: None, changed: None });
        let workload = match &exec.target {
            Some(word) => Some(self.workload(word)?),
            None => None,
        };
        let container = match &exec.container {
            Some(word) => Some(self.fixed(word)?),
            None => None,
        };
        if workload.is_none() {
            self.scope.given.push("ingress");
        }
        let before = self.errors.len();
        let mut errors = vec![];
        let command = self.scope.texts(&exec.command, &mut errors);
        self.errors.extend(errors);
        self.scope.given.clear();
        self.modifiers_in_command(exec, statement);
        if self.errors.iter().skip(before).any(Diagnostic::is_error) {
            return None;
        }
        let step = Some(self.steps.len());
        self.last_exec = Some(LastExec { step, workload: workload.clone(), changed: None });
        Some(StepKind::Exec(Exec { workload, container, command, every: None, has_expects: false }))
    }

    /// `exec sleep curl … within 5s`: the words go to curl, which is hardly what was meant.
    fn modifiers_in_command(&mut self, exec: &syntax::Exec, statement: &Statement) {
        let Some([modifier, value]) = exec.command.last_chunk::<2>() else { return };
        let (Some(word), false) = (modifier.literal(), modifier.quoted) else { return };
        let fits = match word.as_str() {
            "within" | "every" => value.literal().is_some_and(|v| value::duration(&v).is_ok()),
            "stable" => value.literal().is_some_and(|v| value::stable(&v).is_ok()),
            "because" => value.quoted,
            _ => false,
        };
        if fits {
            let at = Place { source: self.scope.source.clone(), span: modifier.span.start..statement.span.end };
            let d = Diagnostic::warning("W0235", format!("`{word}` at the end of `exec` is handed to the command"))
                .at(at, "the command gets these words")
                .help(format!("put `{word} …` at the end of an `expect` below; in quotes it is meant for the command"));
            self.error(d);
        }
    }

    fn capture(
        &mut self,
        name: &Name,
        source: &syntax::CaptureSource,
        statement: &Statement,
        level: usize,
    ) -> Option<StepKind> {
        let source = match source {
            syntax::CaptureSource::List(list) => self.list(list).map(|(list, on)| CaptureSource::List { list, on }),
            syntax::CaptureSource::Stdout => self.probe(statement).map(|_| CaptureSource::Stdout),
            syntax::CaptureSource::Header(word) => {
                let header = self.fixed(word);
                self.probe(statement).and(header).map(CaptureSource::Header)
            }
        };
        // Captured again in the next round of a `for`: the same name, its newest value.
        let again = self.scope.find(&name.text).is_some_and(|b| b.span == name.span);
        if again {
            return source.map(|source| StepKind::Capture { name: name.text.clone(), source });
        }
        if source.is_none() {
            self.scope.bindings.push(Binding::broken(name));
        } else {
            self.define(name, Value::Capture, level);
        }
        source.map(|source| StepKind::Capture { name: name.text.clone(), source })
    }

    /// The list and the proxy it is of: the last exec's workload when none is named.
    pub(super) fn list(&mut self, list: &syntax::List) -> Option<(ProxyList, Option<Workload>)> {
        let kind = match list.kind {
            syntax::ListKind::Clusters => ProxyList::Clusters,
            syntax::ListKind::Listeners => ProxyList::Listeners,
            syntax::ListKind::Routes => ProxyList::Routes,
        };
        let on = self.proxy(list.on.as_ref(), &list.span)?;
        Some((kind, Some(on)))
    }

    /// The proxy that is named, or that of the last exec's workload.
    pub(super) fn proxy(&mut self, on: Option<&Word>, span: &Span) -> Option<Workload> {
        if let Some(word) = on {
            return self.workload(word);
        }
        if let Some(workload) = self.last_exec.as_ref().and_then(|l| l.workload.clone()) {
            return Some(workload);
        }
        if let Some(LastExec { step: None, .. }) = self.last_exec {
            return None;
        }
        let d = Diagnostic::error("E0211", "on which proxy?")
            .at(self.place(span), "no `exec` before this says which workload is meant")
            .help(format!("add `on NAME`, e.g. `on sleep` or `on {}`", self.gateway));
        self.error(d);
        None
    }

    pub(super) fn operand(&mut self, operand: &syntax::Operand) -> Option<Operand> {
        match operand {
            syntax::Operand::List(list) => self.list(list).map(|(list, on)| Operand::List { list, on }),
            syntax::Operand::Word(word) => {
                let text = self.text(word)?;
                if let [Part::Capture(name)] = text.0.as_slice() {
                    return Some(Operand::Capture(name.clone()));
                }
                let text = self.fixed(word)?;
                if let Ok(number) = value::count(&text) {
                    return Some(Operand::Number(number));
                }
                let known = self.scope.find(&text).filter(|b| b.value == Value::Capture).is_some();
                let names: Vec<String> = self.scope.bindings.iter().map(|b| b.name.clone()).collect();
                let d = Diagnostic::error("E0205", format!("`{text}` is not a number, a capture or a list"));
                let d = match nearest(&text, names.iter().map(String::as_str)) {
                    _ if known => d.at(self.place(&word.span), format!("did you mean `${{{text}}}`?")),
                    Some(near) => d.at(self.place(&word.span), format!("did you mean `${{{near}}}`?")),
                    None => d.at(
                        self.place(&word.span),
                        "compare with a number, a ${capture}, or clusters|listeners|routes on PROXY",
                    ),
                };
                self.error(d);
                None
            }
        }
    }

    /// The exec that an expectation is about; its index among the steps.
    pub(super) fn probe(&mut self, statement: &Statement) -> Option<usize> {
        let place = self.place(&statement.span);
        match self.last_exec.clone() {
            None => {
                let d = Diagnostic::error("E0208", "no `exec` stands before this")
                    .at(place, "it is about what an exec did")
                    .help("put an `exec WORKLOAD COMMAND…` above it");
                self.error(d);
                None
            }
            Some(LastExec { changed: Some(change), .. }) => {
                let change = self.place(&change);
                let d = Diagnostic::error("E0209", "the last `exec` ran before the change above")
                    .at(place, "would judge what was seen before the change")
                    .at(change, "changes what the exec saw")
                    .help("repeat the `exec` behind the change, or move this line up to its exec");
                self.error(d);
                None
            }
            Some(last) => last.step,
        }
    }

    /// The exec step itself, so that its expectations can mark it.
    pub(super) fn exec_step(&mut self, index: usize) -> Option<&mut Exec> {
        match &mut self.steps.get_mut(index)?.kind {
            StepKind::Exec(exec) => Some(exec),
            _ => None,
        }
    }

    // ---------------------------------------------------------------- for `expectation`

    pub(super) fn fixed_word(&mut self, word: &Word) -> Option<String> {
        self.fixed(word)
    }

    pub(super) fn text_word(&mut self, word: &Word) -> Option<Text> {
        self.text(word)
    }

    pub(super) fn value_word<T>(&mut self, word: &Word, read: impl Fn(&str) -> Result<T, Unfit>) -> Option<T> {
        self.value(word, read)
    }

    pub(super) fn workload_word(&mut self, word: &Word) -> Option<Workload> {
        self.workload(word)
    }

    pub(super) fn read_text<T>(
        &mut self,
        text: &str,
        span: &Span,
        read: impl Fn(&str) -> Result<T, Unfit>,
    ) -> Option<T> {
        self.read(text, span, read)
    }

    pub(super) fn several(&mut self, words: &[Word]) -> Option<Vec<Expanded>> {
        let mut errors = vec![];
        let out = self.scope.words(words, &mut errors);
        let ok = errors.is_empty();
        self.errors.extend(errors);
        ok.then_some(out)
    }

    pub(super) fn report(&mut self, d: Diagnostic) {
        self.error(d);
    }

    pub(super) fn at(&self, span: &Span) -> Place {
        self.place(span)
    }

    pub(super) fn default_gateway(&self) -> Workload {
        self.gateway.clone()
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
        self.routes.push((self.index, name, place));
    }
}

/// Whether a word behind `delete` names files: an ending, a folder, or a glob.
fn is_file_word(word: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|e| word.ends_with(e)) || word.contains(['/', '*', '?', '['])
}

fn object_ref(object: &ManifestObject) -> Option<ObjectRef> {
    let text = |pointer| object.body.pointer(pointer).and_then(|v| v.as_str()).map(str::to_string);
    Some(ObjectRef {
        api_version: text("/apiVersion"),
        kind: text("/kind")?,
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name")?,
    })
}

fn file_stem(name: &str) -> String {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    file.strip_suffix(".egress").unwrap_or(file).nfc().collect()
}

fn duplicate_titles(scenarios: &[Scenario], errors: &mut Vec<Diagnostic>) {
    for (index, scenario) in scenarios.iter().enumerate() {
        if let Some(first) = scenarios[..index].iter().find(|s| s.name == scenario.name) {
            let d = Diagnostic::error("E0204", format!("two scenarios are named \"{}\"", scenario.name))
                .at(scenario.place.clone(), "again")
                .at(first.place.clone(), "first here");
            errors.push(d);
        }
    }
}

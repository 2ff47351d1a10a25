//! What can be written at the cursor.

use super::cursor::Cursor;
use super::known::{Kind, Things};
use super::meaning::{Role, meaning};
use super::names;
use super::usage::{self, Slot};
use crate::explain::Language;
use crate::syntax::{Parsed, Span, vocabulary};
use lsp_types::CompletionItemKind as ItemKind;
use unicode_normalization::UnicodeNormalization;

/// One proposal: it replaces `span`.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    pub label: String,
    pub kind: ItemKind,
    pub detail: String,
    pub meaning: Option<&'static str>,
    pub span: Span,
}

/// What the completions are made of.
pub struct Around<'a> {
    pub parsed: &'a Parsed,
    /// What the manifests around define.
    pub things: &'a Things,
    /// Files that `apply` can name.
    pub manifests: &'a [String],
    /// Files that are included, and those that can be.
    pub included: &'a [Parsed],
    pub step_files: &'a [String],
    pub language: Language,
}

/// Proposals for the place, in the order they should be shown; those that begin with what is there already.
pub fn proposals(around: &Around<'_>, cursor: &Cursor) -> Vec<Proposal> {
    let text = &around.parsed.source.text;
    let mut found = Found { around, span: cursor.word.start..cursor.word.end.max(cursor.offset), out: vec![] };
    let prefix = &text[cursor.prefix.clone()];
    if let Some((span, _)) = cursor.variable(text) {
        found.span = span.clone();
        found.variables(cursor.offset);
        return found.beginning(&text[span.start..cursor.offset]);
    }
    let before = cursor.before(text);
    found.at(&before, cursor.offset);
    if !before.is_empty() && prefix.starts_with('$') {
        found.variables(cursor.offset);
    }
    let prefix = prefix.trim_start_matches(['"', '\'']);
    found.beginning(prefix)
}

struct Found<'a> {
    around: &'a Around<'a>,
    span: Span,
    out: Vec<Proposal>,
}

impl Found<'_> {
    fn beginning(mut self, prefix: &str) -> Vec<Proposal> {
        let fold = |text: &str| text.nfc().collect::<String>().to_lowercase();
        let prefix = fold(prefix);
        let mut seen = std::collections::HashSet::new();
        self.out.retain(|proposal| fold(&proposal.label).starts_with(&prefix) && seen.insert(proposal.label.clone()));
        self.out
    }

    fn push(
        &mut self,
        label: impl Into<String>,
        kind: ItemKind,
        detail: impl Into<String>,
        meaning: Option<&'static str>,
    ) {
        self.out.push(Proposal { label: label.into(), kind, detail: detail.into(), meaning, span: self.span.clone() });
    }

    fn at(&mut self, before: &[&str], offset: usize) {
        let language = self.around.language;
        let Some((&verb, rest)) = before.split_first() else {
            for entry in vocabulary::VERBS {
                self.push(entry.word, ItemKind::KEYWORD, entry.usage, meaning(Role::Verb, entry.word, language));
            }
            return;
        };
        if verb == "expect" {
            return self.expect(rest, offset);
        }
        let Some(entry) = vocabulary::VERBS.iter().find(|entry| entry.word == verb) else { return };
        if let ("delete" | "patch" | "wait", [kind]) = (verb, rest) {
            self.objects(kind);
            return if verb == "delete" {
                self.files()
            };
        }
        self.behind(entry.usage, verb, rest, offset);
    }

    fn expect(&mut self, rest: &[&str], offset: usize) {
        let language = self.around.language;
        let words = rest.strip_prefix(&["no"]).unwrap_or(rest);
        let Some((&word, values)) = words.split_first() else {
            for (word, usage) in vocabulary::EXPECTATIONS {
                self.push(*word, ItemKind::FUNCTION, *usage, meaning(Role::Expectation, word, language));
            }
            if rest.is_empty() {
                self.push("no", ItemKind::KEYWORD, "expect no WHAT", None);
            }
            return;
        };
        let Some((_, usage)) = vocabulary::EXPECTATIONS.iter().find(|(known, _)| *known == word) else { return };
        if let ("resource", [kind]) = (word, values) {
            return self.objects(kind);
        }
        let last = values.last().copied().unwrap_or(word);
        // Behind a fact or a modifier stands its own value, whatever the expectation.
        let own = vocabulary::FACTS
            .iter()
            .chain(vocabulary::MODIFIERS)
            .find(|(known, _)| *known == last && !values.is_empty());
        if let Some((_, usage)) = own
            && let (slots, true) = usage::behind(usage, last)
        {
            return self.slots(&slots, last, offset);
        }
        if self.behind(usage, word, values, offset) {
            return;
        }
        if usage.contains("FACT") {
            for (fact, usage) in vocabulary::FACTS.iter().filter(|(fact, _)| !values.contains(fact)) {
                self.push(*fact, ItemKind::PROPERTY, *usage, meaning(Role::Fact, fact, language));
            }
        }
        for (modifier, usage) in vocabulary::MODIFIERS.iter().filter(|(modifier, _)| !values.contains(modifier)) {
            if *modifier != "on" || usage::words(&format!("x {usage}"), 1).is_empty() {
                self.push(*modifier, ItemKind::KEYWORD, *usage, meaning(Role::Modifier, modifier, language));
            }
        }
    }

    /// What a usage line says of the place behind these words; true when one of it must stand there.
    fn behind(&mut self, usage: &str, verb: &str, values: &[&str], offset: usize) -> bool {
        let last = values.last().copied().unwrap_or(verb);
        let (slots, must) = usage::behind(usage, last);
        self.slots(&slots, last, offset);
        if must {
            return true;
        }
        for word in usage::words(usage, 1).into_iter().filter(|word| !values.contains(&word.as_str()) || word == "->") {
            if word != verb && word != "no" {
                self.push(&word, ItemKind::KEYWORD, usage, meaning(Role::Value, &word, self.around.language));
            }
        }
        if verb == "do" && !values.is_empty() {
            self.variables(offset);
        }
        // Files may follow one another; behind a workload stands its command.
        if !values.is_empty() && usage.contains("FILE") {
            self.files();
        }
        if verb == "exec" && values.len() == 1 {
            self.values("COMMAND", last, offset);
        }
        false
    }

    fn slots(&mut self, slots: &[Slot], last: &str, offset: usize) {
        for slot in slots {
            match slot {
                Slot::Word(word) => {
                    let meant = meaning(Role::Value, word, self.around.language);
                    self.push(word, ItemKind::ENUM_MEMBER, "", meant);
                }
                Slot::Value(kind) => self.values(kind, last, offset),
            }
        }
    }

    fn values(&mut self, kind: &str, last: &str, offset: usize) {
        match kind {
            "FILE" if last == "include" => {
                for name in self.around.step_files {
                    self.push(name, ItemKind::FILE, "", None);
                }
            }
            "FILE" => self.files(),
            "NAME" if last == "do" => self.steps(),
            "KIND" => self.kinds(),
            "NAME" if last == "subset" => self.things(Kind::Subset),
            "NAMESPACE" => self.things(Kind::Namespace),
            "NAME" if last == "namespace" => self.things(Kind::Namespace),
            "NAME" if last == "gateway" => self.workloads(true),
            "GATEWAY" => self.workloads(true),
            "WORKLOAD" | "PROXY" | "CLIENT" => {
                self.workloads(false);
                if last == "exec" {
                    self.push("local", ItemKind::KEYWORD, "exec local COMMAND…", None);
                }
            }
            "HOST" => self.hosts(),
            "PORT" | "N" => self.things(Kind::Port),
            "COMMAND" => self.push("curl", ItemKind::VALUE, "curl -sI https://HOST/", None),
            "A" | "B" | "X" | "${capture}" => {
                self.variables(offset);
                for list in ["clusters", "listeners", "routes"] {
                    self.push(list, ItemKind::KEYWORD, format!("{list} on PROXY"), None);
                }
            }
            _ => {}
        }
        if last == "->" {
            self.workloads(true);
            self.hosts();
        }
    }

    fn files(&mut self) {
        for name in self.around.manifests {
            self.push(name, ItemKind::FILE, "", None);
        }
    }

    fn variables(&mut self, offset: usize) {
        let parsed = self.around.parsed;
        for known in names::at(parsed, offset) {
            let statement = parsed.source.text[known.statement].lines().next().unwrap_or("").to_owned();
            self.push(format!("${{{}}}", known.name.text), ItemKind::VARIABLE, statement, None);
        }
        for (name, _) in names::table_names(parsed, offset) {
            self.push(format!("${{{name}}}"), ItemKind::VARIABLE, "for", None);
        }
    }

    /// Named steps, of this file and of those that it includes, with their parameters.
    fn steps(&mut self) {
        let around = self.around;
        for parsed in std::iter::once(around.parsed).chain(around.included) {
            for (name, parameters, _) in names::steps(parsed) {
                let words: Vec<&str> = parameters.iter().map(|p| p.text.as_str()).collect();
                self.push(
                    &name.text,
                    ItemKind::FUNCTION,
                    format!("do {} {}", name.text, words.join(" ")).trim_end(),
                    None,
                );
            }
        }
    }

    /// Kinds of the objects around, as kubectl takes them.
    fn kinds(&mut self) {
        for thing in self.around.things.iter().filter(|thing| thing.kind == Kind::Object) {
            let kind = thing.object.split(' ').next().unwrap_or("").to_lowercase();
            self.push(kind, ItemKind::CLASS, "", None);
        }
    }

    /// Names of the objects of a kind.
    fn objects(&mut self, kind: &str) {
        let kind = kind.to_lowercase();
        let fits = |thing: &&super::known::Thing| {
            thing.kind == Kind::Object
                && thing.object.split(' ').next().is_some_and(|of| {
                    of.eq_ignore_ascii_case(kind.trim_end_matches('s')) || of.eq_ignore_ascii_case(&kind)
                })
        };
        for thing in self.around.things.iter().filter(fits) {
            self.push(&thing.name, ItemKind::VALUE, &thing.object, None);
        }
    }

    fn things(&mut self, kind: Kind) {
        for thing in self.around.things.iter().filter(|thing| thing.kind == kind) {
            self.push(&thing.name, ItemKind::VALUE, &thing.object, None);
        }
    }

    fn hosts(&mut self) {
        for thing in self.around.things.iter().filter(|thing| thing.kind == Kind::Host) {
            self.push(&thing.name, ItemKind::MODULE, &thing.object, None);
            for port in &thing.ports {
                self.push(format!("{}:{port}", thing.name), ItemKind::MODULE, &thing.object, None);
            }
        }
    }

    /// `NAME`, and `NAME.NAMESPACE`; with `gateway` only those that Gateways can select.
    fn workloads(&mut self, gateway: bool) {
        let all = self.around.things.iter().filter(|thing| thing.kind == Kind::Workload);
        for thing in all.filter(|thing| !gateway || thing.name.contains("gateway")) {
            self.push(&thing.name, ItemKind::CLASS, &thing.object, None);
            if let Some(namespace) = &thing.namespace {
                self.push(format!("{}.{namespace}", thing.name), ItemKind::CLASS, &thing.object, None);
            }
        }
    }
}

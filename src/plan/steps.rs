//! Steps: what each is to do, and which exec the expectations behind it are about.

use super::build::{Builder, LastExec};
use super::expected::*;
use super::scope::{Binding, Value};
use super::step::*;
use super::value;
use crate::diag::suggest::nearest;
use crate::diag::{Diagnostic, Place};
use crate::syntax::{self, Manifests as ApplyWords, Name, Span, Statement, Verb, Word, vocabulary};

/// Commands that people write where the workload stands. A workload may be so named: then a command follows.
const PROGRAMS: &[&str] = &["curl", "wget", "sh", "bash", "nslookup", "dig", "nc", "openssl", "ping", "cat", "env"];

impl<'m> Builder<'m> {
    pub(super) fn step(&mut self, statement: &Statement, level: usize) {
        let kind = match &statement.verb {
            Verb::Apply(words) => self.apply(words, statement).map(StepKind::Apply),
            Verb::Delete(words) => self.delete(words, statement).map(StepKind::Delete),
            Verb::Patch { object, patch } => self.patch(object, patch, statement),
            Verb::Restart(word) => {
                self.changed(statement);
                self.workload(word).map(StepKind::Restart)
            }
            Verb::Scale { workload, replicas } => self.scale(workload, replicas, statement),
            Verb::Wait { object, condition, modifiers } => self.wait(object, condition, modifiers),
            Verb::Site { host, behaviour } => self.site(host, behaviour, statement).map(StepKind::Apply),
            Verb::Cut { from, to, refuse } => self.cut(from, to, *refuse, statement).map(StepKind::Apply),
            Verb::Kill { proxy, container } => self.kill(proxy, container.as_deref(), statement).map(StepKind::Apply),
            Verb::Do { name, words } => {
                self.do_steps(name, words, statement, level);
                None
            }
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
                    self.scope.bindings.push(Binding::broken(name, &self.scope.source));
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
            let called = self.calls.first().map(|(place, _)| place.clone());
            self.steps.push(Step { place: self.place(&statement.span), called, phase: self.phase, text, kind });
        }
        self.total += 1;
    }

    pub(super) fn changed(&mut self, statement: &Statement) {
        let place = self.place(&statement.span);
        if let Some(last) = &mut self.last_exec {
            last.changed.get_or_insert(place);
        }
    }

    pub(super) fn apply(&mut self, what: &ApplyWords, statement: &Statement) -> Option<Vec<ManifestObject>> {
        self.changed(statement);
        match what {
            ApplyWords::Heredoc(heredoc) => {
                let inline = self.scope.heredoc(heredoc).map_err(|d| self.errors.push(*d)).ok()?;
                let place = self.place(&heredoc.body);
                self.manifests.inline(&inline, &place).map_err(|d| self.errors.extend(d)).ok()
            }
            ApplyWords::Words(words) => {
                let ends = |w: &&Word| w.literal().is_some_and(|t| !w.quoted && (t == "&&" || t.ends_with(';')));
                if let Some(word) = words[..words.len().saturating_sub(1)].iter().find(ends) {
                    let d = Diagnostic::error("E0107", "two statements on one line")
                        .at(self.place(&word.span), "a line is a statement")
                        .help("put what follows on a line of its own");
                    self.error(d);
                    return None;
                }
                self.reserved("apply", words)?;
                self.objects(words)
            }
        }
    }

    /// The objects of all the words; every error of them.
    pub(super) fn objects(&mut self, words: &[Word]) -> Option<Vec<ManifestObject>> {
        let before = self.errors.len();
        let mut errors = vec![];
        let mut out = vec![];
        let mut option = false;
        for word in self.scope.words(words, &mut errors) {
            // What follows kubectl's `-n` is no file either.
            if std::mem::take(&mut option) {
                continue;
            }
            option = !word.quoted && matches!(word.text.as_str(), "-n" | "--namespace" | "-l" | "--context");
            match self.manifests.files(&word, &self.place(&word.span)) {
                Ok(objects) => out.extend(objects),
                Err(found) => errors.extend(found.into_iter().map(|d| match self.scope.unreplaced(&word.text) {
                    Some((_, name)) if d.code == "E0301" => d.help(format!("a name is replaced as ${{{name}}}")),
                    _ => d,
                })),
            }
        }
        self.errors.extend(errors);
        (self.errors.len() == before).then_some(out)
    }

    /// Modifier words at the end of `apply` and `delete` are an error, not a file name.
    pub(super) fn reserved(&mut self, verb: &str, words: &[Word]) -> Option<()> {
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

    /// kubectl's options before the command, and words of a shell that does not run.
    fn habits_in_command(&mut self, exec: &syntax::Exec) {
        let plain = |w: &Word| w.literal().filter(|_| !w.quoted);
        let first = exec.command.first().and_then(Word::literal);
        if let (Some(target), Some(first)) = (&exec.target, &first)
            && let Some(program) = plain(target).filter(|t| PROGRAMS.contains(&t.as_str()))
            && (first.starts_with('-') && first != "--" || first.contains("://") || first.contains('.'))
        {
            let d = Diagnostic::error("E0107", "`exec` without a workload")
                .at(self.place(&target.span), format!("`{program}` is the command; the workload stands before it"))
                .help(format!("write exec sleep {program} {first} …"));
            self.error(d);
            return;
        }
        if let (Some(word), Some(first), 1) = (exec.command.first(), &first, exec.command.len())
            && word.quoted
            && first.trim().contains(' ')
        {
            let d = Diagnostic::error("E0107", "the whole command is one word")
                .at(self.place(&word.span), "no program has this name")
                .help(format!("write it without the quotes: {}", first.chars().take(80).collect::<String>()));
            self.error(d);
            return;
        }
        if let Some((word, option)) =
            exec.command.first().and_then(|w| plain(w).filter(|t| t.starts_with('-')).map(|t| (w, t)))
        {
            let d = Diagnostic::error("E0107", format!("`exec` has no option `{option}`"))
                .at(self.place(&word.span), "a command starts here")
                .help(match option.as_str() {
                    "-n" | "--namespace" => "write WORKLOAD.NAMESPACE, e.g. exec sleep.mesh-test curl …",
                    _ => "write exec WORKLOAD [-c CONTAINER] [--] COMMAND…",
                });
            self.error(d);
            return;
        }
        // A shell replaces names itself.
        let is_shell = first.as_deref().is_some_and(|f| matches!(f.rsplit('/').next(), Some("sh" | "bash" | "ash")));
        let unreplaced = exec.command.iter().filter(|_| !is_shell).find_map(|w| {
            let text = w.literal()?;
            // `$${name}` says that the characters are meant.
            let source = &self.scope.source.text[w.span.clone()];
            (!source.contains("$${")).then(|| self.scope.unreplaced(&text)).flatten().map(|found| (w, found))
        });
        if let Some((word, (written, name))) = unreplaced {
            if let Some(binding) = self.scope.find(&name) {
                binding.touch();
            }
            let d = Diagnostic::warning("W0244", format!("`{written}` is not replaced"))
                .at(self.place(&word.span), "the command gets these characters");
            self.error(match written.starts_with("${") {
                true => d.help("in single quotes nothing is replaced: use double quotes, or none"),
                false => d.help(format!("write ${{{name}}}")),
            });
        }
        let shell = exec.command.iter().find_map(|w| plain(w).filter(|t| syntax::habit::is_shell(t)).map(|t| (w, t)));
        if let Some((word, sign)) = shell {
            let d = Diagnostic::warning("W0238", "no shell reads this command")
                .at(self.place(&word.span), format!("`{sign}` is handed to the command as a word"))
                .help("write exec WORKLOAD sh -c '… | …', or judge the output with `expect stdout …`");
            self.error(d);
        }
    }

    pub(super) fn exec(&mut self, exec: &syntax::Exec, statement: &Statement) -> Option<StepKind> {
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
        self.habits_in_command(exec);
        if self.errors.iter().skip(before).any(Diagnostic::is_error) {
            return None;
        }
        let step = Some(self.steps.len());
        self.last_exec = Some(LastExec { step, workload: workload.clone(), changed: None });
        Some(StepKind::Exec(Exec { workload, container, command, every: None, has_expects: false }))
    }

    /// `exec sleep curl … within 5s`: the words go to curl, which is hardly what was meant.
    pub(super) fn modifiers_in_command(&mut self, exec: &syntax::Exec, statement: &Statement) {
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

    pub(super) fn capture(
        &mut self,
        name: &Name,
        source: &syntax::CaptureSource,
        statement: &Statement,
        level: usize,
    ) -> Option<StepKind> {
        if let syntax::CaptureSource::Object { object, .. } = source
            && let Some(list) = list_meant(object)
        {
            let d = Diagnostic::error("E0107", "this is no object of the API")
                .at(self.place(&object.kind.span), format!("did you mean `{list}`?"))
                .help("write capture NAME = clusters|listeners|routes on PROXY");
            self.error(d);
            self.scope.bindings.push(Binding::broken(name, &self.scope.source));
            return None;
        }
        let source = match source {
            syntax::CaptureSource::List(list) => {
                let list = self.list(list);
                self.snapshots.extend(list.iter().filter_map(|(_, on)| on.clone()));
                list.map(|(list, on)| CaptureSource::List { list, on })
            }
            syntax::CaptureSource::Json(path) => {
                let path = self.value(path, value::json_path);
                self.probe(statement).and(path).map(CaptureSource::Json)
            }
            syntax::CaptureSource::Object { object, path } => {
                let path = self.value(path, value::json_path);
                self.object(object).zip(path).map(|(object, path)| CaptureSource::Object { object, path })
            }
            syntax::CaptureSource::Stdout => self.probe(statement).map(|_| CaptureSource::Stdout),
            syntax::CaptureSource::Header(word) => {
                let header = self.fixed(word);
                self.probe(statement).and(header).map(CaptureSource::Header)
            }
        };
        // Captured again in the next round of a `for`: the same name, its newest value.
        let place = self.place(&name.span);
        let again = self.scope.find(&name.text).is_some_and(|b| b.place == place);
        if again {
            return source.map(|source| StepKind::Capture { name: name.text.clone(), source });
        }
        if source.is_none() {
            self.scope.bindings.push(Binding::broken(name, &self.scope.source));
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
}

/// `cluster on sleep`: the list that is meant.
fn list_meant(object: &syntax::Object) -> Option<&'static str> {
    let (kind, on) = (object.kind.literal()?, object.name.literal()?);
    if on != "on" {
        return None;
    }
    ["clusters", "listeners", "routes"].into_iter().find(|list| list.strip_suffix('s') == Some(kind.as_str()))
}

/// Whether a word behind `delete` names files: an ending, a folder, or a glob.
pub(super) fn is_file_word(word: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|e| word.ends_with(e)) || word.contains(['/', '*', '?', '['])
}

//! Named steps: `steps NAME PARAMETER…`, `do NAME WORD…`, and the files that `include` brings.
//!
//! The steps see the names of the file that holds them and their parameters, not those of the scenario
//! that does them. What they capture is known behind the `do`, and the last exec is the last exec.

use super::blocks::{Around, FileBlocks, Node};
use super::build::{Builder, LastExec, Manifests};
use super::headers::Headers;
use super::scope::{Binding, Expanded, Value};
use super::step::{Part, Text};
use crate::diag::suggest::nearest;
use crate::diag::{Diagnostic, Place, Source};
use crate::syntax::{self, Name, Parsed, Statement, Verb, Word};
use std::cell::Cell;
use std::sync::Arc;

/// More files than this cannot be included by one scenario file.
const MAX_INCLUDES: usize = 100;

/// Steps that `do` can name.
pub(super) struct Named<'m> {
    name: String,
    place: Place,
    parameters: &'m [Name],
    body: &'m [Node<'m>],
    source: Arc<Source>,
    /// The names that were known where it is written.
    bindings: Vec<Binding>,
    used: Cell<bool>,
}

/// The files that a scenario includes, for those who only ask; what cannot be read is left out.
pub fn included(parsed: &Parsed, manifests: &dyn Manifests) -> Vec<Parsed> {
    include(parsed, manifests, &mut vec![])
}

/// Every file that is included, directly or by another; each once, those that others need first.
pub(super) fn include(parsed: &Parsed, manifests: &dyn Manifests, errors: &mut Vec<Diagnostic>) -> Vec<Parsed> {
    let mut out = vec![];
    let mut seen = vec![parsed.source.name.clone()];
    gather(parsed, manifests, &mut seen, &mut out, errors);
    out
}

fn gather(
    parsed: &Parsed,
    manifests: &dyn Manifests,
    seen: &mut Vec<String>,
    out: &mut Vec<Parsed>,
    errors: &mut Vec<Diagnostic>,
) {
    for statement in &parsed.statements {
        let Verb::Include(word) = &statement.verb else { continue };
        let place = Place { source: parsed.source.clone(), span: word.span.clone() };
        let Some(text) = word.literal() else {
            let d = Diagnostic::error("E0203", "`include` names its file without variables")
                .at(place, "files are read before names have values");
            errors.push(d);
            continue;
        };
        if seen.len() > MAX_INCLUDES {
            errors
                .push(Diagnostic::error("E0308", format!("more than {MAX_INCLUDES} files are included")).at(place, ""));
            return;
        }
        let expanded = Expanded { text, span: word.span.clone(), quoted: true };
        match manifests.steps(&expanded, &place) {
            Ok(source) if seen.contains(&source.name) => {}
            Ok(source) => {
                seen.push(source.name.clone());
                let library = syntax::parse(&source);
                errors.extend(library.errors.iter().cloned());
                gather(&library, manifests, seen, out, errors);
                out.push(library);
            }
            Err(found) => errors.extend(found),
        }
    }
}

impl<'m> Builder<'m> {
    /// Takes in an included file: its names and its named steps.
    pub(super) fn library(&mut self, file: &'m FileBlocks<'m>, source: &Arc<Source>) {
        let own = std::mem::replace(&mut self.scope.source, source.clone());
        let brings = |verb: &Verb| {
            matches!(verb, Verb::Set { .. } | Verb::Let { .. } | Verb::Include(_) | Verb::Text(_) | Verb::Title(_))
        };
        let stray = file.headers.iter().find(|s| !brings(&s.verb)).map(|s| s.span.clone());
        let stray =
            stray.or_else(|| file.around.setup.iter().chain(&file.around.cleanup).next().map(|(s, _)| s.span.clone()));
        let stray = stray.or_else(|| {
            let scenario = file.scenarios.first()?;
            let step = scenario.body.first().map(|node| match node {
                Node::Step(statement) | Node::For { statement, .. } => statement.span.clone(),
            });
            scenario.line.map(|(line, ..)| line.span.clone()).or(step)
        });
        if let Some(span) = stray {
            let d = Diagnostic::error("E0126", "an included file holds named steps, `set` and `let`")
                .at(self.place(&span), "would never run")
                .help("put it into `steps NAME … end`, or into the scenario itself");
            self.error(d);
        }
        let mut headers = Headers::default();
        self.headers(&file.headers, &mut headers);
        self.name_steps(&file.around);
        self.scope.source = own;
    }

    pub(super) fn name_steps(&mut self, around: &'m Around<'m>) {
        self.lost.extend(around.lost.iter().map(|name| Some(name.text.clone())));
        for steps in &around.named {
            let place = self.place(&steps.name.span);
            if let Some(first) = self.named.iter().find(|n| n.name == steps.name.text) {
                let d = Diagnostic::error("E0204", format!("steps named `{}` are there already", steps.name.text))
                    .at(place.clone(), "again")
                    .at(first.place.clone(), "first here");
                self.errors.push(d);
            }
            for (index, parameter) in steps.parameters.iter().enumerate() {
                if steps.parameters[..index].iter().any(|p| p.text == parameter.text) {
                    let d = Diagnostic::error("E0204", format!("two parameters are named `{}`", parameter.text))
                        .at(self.place(&parameter.span), "again");
                    self.error(d);
                }
            }
            self.named.push(Named {
                name: steps.name.text.clone(),
                place,
                parameters: steps.parameters,
                body: &steps.body,
                source: self.scope.source.clone(),
                bindings: self.scope.bindings.clone(),
                used: Cell::new(false),
            });
        }
    }

    /// `do NAME WORD…`: the steps, with their parameters' values, as if they stood here.
    pub(super) fn do_steps(&mut self, name: &Name, words: &[Word], statement: &Statement, level: usize) {
        let mut errors = vec![];
        let values = self.scope.texts(words, &mut errors);
        let wrong = !errors.is_empty();
        self.errors.extend(errors);
        let Some(index) = self.named.iter().rposition(|n| n.name == name.text) else {
            // What it would have run is not known: what stands below is not blamed for it.
            self.last_exec = Some(LastExec { step: None, workload: None, changed: None });
            if self.lost.iter().any(|lost| lost.as_ref().is_none_or(|lost| *lost == name.text)) {
                return;
            }
            let d = Diagnostic::error("E0212", format!("no steps are named `{}`", name.text));
            let known: Vec<&str> = self.named.iter().map(|n| n.name.as_str()).collect();
            let d = match nearest(&name.text, known.iter().copied()) {
                Some(near) => d.at(self.place(&name.span), format!("did you mean `{near}`?")),
                None if known.is_empty() => {
                    d.at(self.place(&name.span), "this file and those it includes name no steps").help(
                        "write them above the first scenario: steps NAME PARAMETER… and below it the steps, then end",
                    )
                }
                None => d.at(self.place(&name.span), "").help(format!("known here: {}", known.join(" "))),
            };
            return self.error(d);
        };
        self.named[index].used.set(true);
        let (parameters, place) = (self.named[index].parameters, self.named[index].place.clone());
        if !wrong && values.len() != parameters.len() {
            let names: Vec<&str> = parameters.iter().map(|p| p.text.as_str()).collect();
            let takes = match names.len() {
                0 => "takes no words".to_string(),
                1 => format!("takes 1 word: {}", names[0]),
                more => format!("takes {more} words: {}", names.join(" ")),
            };
            let d = Diagnostic::error("E0213", format!("`do {}` {takes}", name.text))
                .at(self.place(&statement.span), format!("{} given", values.len()))
                .at(place.clone(), "written here");
            self.error(d);
        }
        if self.calls.iter().any(|(_, called)| *called == name.text) {
            let d = Diagnostic::error("E0127", format!("the steps `{}` do themselves", name.text))
                .at(self.place(&statement.span), "would never end")
                .at(place, "written here");
            return self.error(d);
        }
        let value = |index: usize| match values.get(index) {
            Some(Text(parts)) if !wrong => match parts.as_slice() {
                [] => Value::One(String::new()),
                [Part::Literal(text)] => Value::One(text.clone()),
                _ => Value::Late(Text(parts.clone())),
            },
            _ => Value::Broken,
        };
        let values: Vec<Value> = (0..parameters.len()).map(value).collect();
        let captured = self.expand(index, values, &name.text, self.place(&statement.span));
        self.merge(captured, level);
    }

    /// Builds the steps of `self.named[index]`. Gives the captures that they made.
    fn expand(&mut self, index: usize, values: Vec<Value>, name: &str, called: Place) -> Vec<Binding> {
        let steps = &self.named[index];
        let (parameters, body) = (steps.parameters, steps.body);
        let mut bindings = steps.bindings.clone();
        let source = steps.source.clone();
        bindings.extend(parameters.iter().zip(values).map(|(parameter, value)| {
            let binding = Binding::new(parameter, value, &source);
            binding.touch();
            binding
        }));
        let level = bindings.len();
        let own = std::mem::replace(&mut self.scope.bindings, bindings);
        let own_source = std::mem::replace(&mut self.scope.source, source.clone());
        // What a change or an exec before the `do` left is told by places in the caller.
        self.calls.push((called.clone(), name.to_string()));
        let errors = self.errors.len();
        self.nodes(body, level);
        self.calls.pop();
        let captured = self.scope.bindings.split_off(level.min(self.scope.bindings.len()));
        self.scope.bindings = own;
        self.scope.source = own_source;
        for error in self.errors.iter_mut().skip(errors).filter(|e| !e.code.is_empty()) {
            if error.labels.len() == 1 && error.labels[0].place != called {
                error.labels.push(crate::diag::Label { place: called.clone(), text: "done from here".into() });
            }
        }
        captured
    }

    fn merge(&mut self, captured: Vec<Binding>, level: usize) {
        for binding in captured {
            let at = level.min(self.scope.bindings.len());
            match self.scope.bindings[at..].iter().find(|b| b.name == binding.name) {
                // The same steps done again: the same name, its newest value.
                Some(known) if known.place == binding.place => continue,
                Some(known) => {
                    let d = Diagnostic::error("E0204", format!("`{}` is already named", binding.name))
                        .at(binding.place.clone(), "again")
                        .at(known.place.clone(), "first here");
                    self.errors.push(d);
                }
                None => {}
            }
            // Steps may capture for their own use.
            binding.touch();
            self.scope.bindings.push(binding);
        }
    }

    /// Named steps from `level` on that nothing does: they are read all the same, as far as that goes
    /// without their parameters' values. `told`: it is worth a warning.
    pub(super) fn unused_steps(&mut self, level: usize, told: bool) {
        for index in level..self.named.len() {
            if self.named[index].used.get() {
                continue;
            }
            let (name, place) = (self.named[index].name.clone(), self.named[index].place.clone());
            let steps = self.steps.len();
            let (last, routes) = (self.last_exec.clone(), self.routes.len());
            self.last_exec = Some(LastExec { step: None, workload: None, changed: None });
            let values = vec![Value::Broken; self.named[index].parameters.len()];
            self.expand(index, values, &name, place.clone());
            self.last_exec = last;
            self.steps.truncate(steps);
            self.routes.truncate(routes);
            if told {
                let d = Diagnostic::warning("W0239", format!("the steps `{name}` are never done"))
                    .at(place, "no `do` names them")
                    .help(format!("write do {name} … where they are to run, or remove them"));
                self.errors.push(d);
            }
        }
    }
}

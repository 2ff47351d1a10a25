//! A whole run folded into a tree, for reports that are written at the end.

use crate::diag::Diagnostic;
use crate::run::event::{Counts, Event, EvidenceKind, Manifest, ObjectAction, Trap, Verdict};
use std::time::Duration;

#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Name and reason.
    pub target: Option<(String, String)>,
    pub versions: Vec<(String, String)>,
    pub scenarios: Vec<ScenarioModel>,
    /// What was undone outside any scenario.
    pub undo: Vec<(String, Option<String>)>,
    /// Absent: the run broke off.
    pub finished: Option<(Counts, Duration)>,
}

#[derive(Debug, Clone, Default)]
pub struct ScenarioModel {
    pub file: String,
    pub file_title: Option<String>,
    pub name: String,
    pub tags: Vec<String>,
    pub texts: Vec<String>,
    pub criteria: Vec<String>,
    pub see: Vec<String>,
    pub traps: Vec<Trap>,
    /// Distinct manifests in the order they were applied.
    pub manifests: Vec<Manifest>,
    pub objects: Vec<ObjectLine>,
    pub steps: Vec<StepModel>,
    pub undo: Vec<(String, Option<String>)>,
    /// Absent: the run broke off within it.
    pub verdict: Option<Verdict>,
    pub reason: Option<String>,
    pub took: Duration,
}

#[derive(Debug, Clone)]
pub struct ObjectLine {
    pub action: ObjectAction,
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
    /// Path of its manifest.
    pub path: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct StepModel {
    pub index: usize,
    /// 1-based line of the scenario file.
    pub line: usize,
    pub text: String,
    /// Absent: it never finished.
    pub verdict: Option<Verdict>,
    pub took: Duration,
    pub attempts: u32,
    pub outputs: Vec<OutputBlock>,
    pub evidence: Vec<(EvidenceKind, Vec<String>)>,
    pub objects: Vec<ObjectLine>,
    pub failure: Option<Diagnostic>,
}

#[derive(Debug, Clone)]
pub struct OutputBlock {
    pub command: String,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit: i32,
}

impl Model {
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Target { name, reason } => self.target = Some((name.clone(), reason.clone())),
            Event::Version { component, version } => {
                let entry = (component.clone(), version.clone());
                if !self.versions.contains(&entry) {
                    self.versions.push(entry);
                }
            }
            Event::ScenarioStarted { file, file_title, name, tags, texts, criteria, see, traps, .. } => {
                self.scenarios.push(ScenarioModel {
                    file: file.clone(),
                    file_title: file_title.clone(),
                    name: name.clone(),
                    tags: tags.clone(),
                    texts: texts.clone(),
                    criteria: criteria.clone(),
                    see: see.clone(),
                    traps: traps.clone(),
                    ..ScenarioModel::default()
                });
            }
            Event::Undo { text, failed } => {
                let entry = (text.clone(), failed.clone());
                match self.open() {
                    Some(scenario) => scenario.undo.push(entry),
                    None => self.undo.push(entry),
                }
            }
            Event::RunFinished { counts, took } => self.finished = Some((*counts, *took)),
            other => {
                if let Some(scenario) = self.scenarios.last_mut() {
                    scenario.event(other);
                }
            }
        }
    }

    /// The scenario that runs now.
    fn open(&mut self) -> Option<&mut ScenarioModel> {
        self.scenarios.last_mut().filter(|scenario| scenario.verdict.is_none())
    }
}

impl ScenarioModel {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Object { step, action, kind, namespace, name, manifest } => {
                let line = ObjectLine {
                    action: *action,
                    kind: kind.clone(),
                    namespace: namespace.clone(),
                    name: name.clone(),
                    path: manifest.as_ref().map(|manifest| manifest.path.clone()),
                };
                if let Some(manifest) = manifest
                    && !self.manifests.contains(manifest)
                {
                    self.manifests.push(manifest.clone());
                }
                if let Some(step) = step {
                    self.step(*step).objects.push(line.clone());
                }
                self.objects.push(line);
            }
            Event::StepStarted { index, line, text } => {
                let step = self.step(*index);
                step.line = *line;
                step.text.clone_from(text);
            }
            Event::Attempt { step, number } => {
                let step = self.step(*step);
                step.attempts = step.attempts.max(*number);
            }
            Event::Output { step, command, stdout, stderr, exit } => {
                self.step(*step).outputs.push(OutputBlock {
                    command: command.clone(),
                    stdout: stdout.clone(),
                    stderr: stderr.clone(),
                    exit: *exit,
                });
            }
            Event::Evidence { step, kind, lines } => self.step(*step).evidence.push((*kind, lines.clone())),
            Event::StepFinished { index, line, text, verdict, took, failure } => {
                let step = self.step(*index);
                step.line = *line;
                step.text.clone_from(text);
                step.verdict = Some(*verdict);
                step.took = *took;
                step.failure = failure.as_deref().cloned();
            }
            Event::ScenarioFinished { verdict, took, reason, .. } => {
                self.verdict = Some(*verdict);
                self.took = *took;
                self.reason.clone_from(reason);
            }
            _ => {}
        }
    }

    /// The step with this index; a new one the first time.
    fn step(&mut self, index: usize) -> &mut StepModel {
        let at = self.steps.iter().rposition(|step| step.index == index).unwrap_or_else(|| {
            self.steps.push(StepModel { index, ..StepModel::default() });
            self.steps.len() - 1
        });
        &mut self.steps[at]
    }

    /// Expectations among its steps.
    pub fn checks(&self) -> usize {
        self.steps.iter().filter(|step| step.verdict.is_some() && step.text.starts_with("expect")).count()
    }
}

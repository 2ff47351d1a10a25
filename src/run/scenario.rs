//! One scenario: its requirements, its steps in order, and the undo of all it changed.

use super::changes::Changes;
use super::control::Control;
use super::event::{Counts, Event, EvidenceKind, Manifest, ObjectAction, Verdict};
use super::evidence::{Gatherer, Marks};
use super::group::Group;
use super::journal::{self, Journal};
use super::proxies::Proxies;
use super::state_evidence::RawDumps;
use super::versions::Versions;
use super::{TargetInfo, analysis};
use crate::cluster::{Applied, Cluster, Error, Propagation, Settled};
use crate::diag::{Diagnostic, Label};
use crate::expect::{Captured, Need, Probe};
use crate::plan::{Expectation, ManifestObject, ObjectRef, Part, Phase, Scenario, Step, StepKind, Text, Workload};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Runs scenarios one after another; connections are kept between them.
pub(super) struct Runner {
    pub cluster: Cluster,
    pub lab: bool,
    /// On a cluster too, what is required is provided.
    pub provide: bool,
    pub proxies: Proxies,
    pub gatherer: Gatherer,
    pub changes: Changes,
    pub state: State,
    /// Expectations judged.
    pub checked: usize,
    /// Separates our fields in curl's output from everything else.
    pub marker: String,
    propagation: Propagation,
    /// `None` after a change that is not known to have reached the proxies.
    settled: Option<Settled>,
    /// The resourceVersion of the last change, where nothing but the proxies' configuration comes of it.
    latest: Option<u64>,
    control: Control,
    versions: Versions,
    events: UnboundedSender<Event>,
}

/// What a scenario has seen so far.
#[derive(Default)]
pub(super) struct State {
    pub captures: BTreeMap<String, Captured>,
    pub probe: Option<Probe>,
    pub workload: Option<Workload>,
    pub marks: Marks,
    /// Whole dumps of the proxies of which a list was captured, by workload.
    pub baselines: BTreeMap<String, RawDumps>,
    /// Why the last change was refused, where that was expected.
    pub refusal: Option<String>,
    /// What was applied, for the analysis of failures.
    pub applied: Vec<ManifestObject>,
    /// What else the target has, likewise.
    pub ambient: Vec<ManifestObject>,
    /// What the control plane logged about it since the scenario began.
    pub control_plane: Vec<String>,
    /// A failure has said what the manifests have to do with it.
    pub explained: bool,
    /// When the scenario began.
    pub begun: Option<jiff::Timestamp>,
    name: String,
    /// The object that the API refused last.
    refused: Option<ManifestObject>,
}

/// Why a scenario ends before its last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Failed,
    Broken,
    Interrupted,
}

/// How long a change may go on after an interrupt.
const CHANGE_GRACE: Duration = Duration::from_secs(5);
/// The least that propagation is given.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

impl State {
    /// A text with its captures filled in.
    pub fn text(&self, text: &Text) -> String {
        let part = |part: &Part| match part {
            Part::Literal(literal) => literal.clone(),
            Part::Capture(name) => match self.captures.get(name) {
                Some(Captured::Text(value)) => value.clone(),
                Some(Captured::List(values)) => values.join("\n"),
                None => String::new(),
            },
        };
        text.0.iter().map(part).collect()
    }
}

impl Runner {
    pub async fn new(
        cluster: Cluster,
        target: &TargetInfo,
        events: UnboundedSender<Event>,
        control: Control,
    ) -> Runner {
        let about = journal::target(cluster.server(), cluster.uid().await, &target.name);
        let journal = Journal::new(target.journal.clone(), about);
        let mut versions = Versions::new(events.clone());
        versions.of_api(&cluster);
        Runner {
            lab: target.lab,
            provide: target.provide || target.lab,
            proxies: Proxies::new(cluster.clone()),
            gatherer: Gatherer::default(),
            changes: Changes::new(cluster.clone(), journal),
            state: State::default(),
            checked: 0,
            marker: uuid::Uuid::new_v4().to_string(),
            propagation: Propagation::new(cluster.clone()),
            settled: None,
            latest: None,
            control,
            versions,
            events,
            cluster,
        }
    }

    /// Runs one scenario and undoes it. `counts` takes what was checked and whether it was interrupted.
    pub async fn scenario(&mut self, index: usize, scenario: &Scenario, counts: &mut Counts) -> Verdict {
        let begun = Instant::now();
        self.emit(Event::ScenarioStarted {
            index,
            file: scenario.file.name.clone(),
            file_title: scenario.file_title.clone(),
            name: scenario.name.clone(),
            tags: scenario.tags.clone(),
            texts: scenario.texts.clone(),
            criteria: scenario.criteria.clone(),
            see: scenario.see.clone(),
            traps: scenario.traps.clone(),
        });
        match self.skipped(scenario).await {
            Ok(None) => {}
            Ok(Some(reason)) => return self.not_run(index, scenario, Verdict::Skipped, reason, begun.elapsed()),
            Err(error) => {
                return self.not_run(index, scenario, Verdict::Broken, error.to_string(), begun.elapsed());
            }
        }
        self.state = State { name: scenario.name.clone(), begun: Some(jiff::Timestamp::now()), ..State::default() };
        // Pods may have come and gone since the last scenario.
        self.proxies.forget_pods();
        self.proxies.look_up(&workloads(scenario)).await;
        // While objects are applied, connections to the proxies are opened.
        self.meet_proxies();
        let (mut verdict, mut reason) = match self.steps(scenario).await {
            Ok(verdict) => (verdict, None),
            Err(Stop::Failed) => (Verdict::Failed, None),
            Err(Stop::Broken) => (Verdict::Broken, Some("the target broke".to_owned())),
            Err(Stop::Interrupted) => (Verdict::Skipped, Some("interrupted".to_owned())),
        };
        if !self.undo().await && verdict < Verdict::Failed {
            verdict = Verdict::Failed;
            reason = Some("not everything could be undone".to_owned());
        }
        counts.interrupted |= self.control.interrupted();
        counts.checked += std::mem::take(&mut self.checked);
        self.emit(Event::ScenarioFinished {
            index,
            name: scenario.name.clone(),
            verdict,
            took: begun.elapsed(),
            reason,
        });
        verdict
    }

    fn not_run(&self, index: usize, scenario: &Scenario, verdict: Verdict, reason: String, took: Duration) -> Verdict {
        let reason = Some(reason);
        self.emit(Event::ScenarioFinished { index, name: scenario.name.clone(), verdict, took, reason });
        verdict
    }

    /// All steps up to the first that fails; those of `cleanup` whatever became of the others, each of them.
    async fn steps(&mut self, scenario: &Scenario) -> Result<Verdict, Stop> {
        let worst = self.require(scenario).await?;
        let cleanup = scenario.steps.iter().position(|s| s.phase == Phase::Cleanup).unwrap_or(scenario.steps.len());
        let mut outcome = self.range(scenario, 0, cleanup).await.map(|(verdict, _)| worst.max(verdict));
        let mut at = cleanup;
        while at < scenario.steps.len() && matches!(outcome, Ok(_) | Err(Stop::Failed)) {
            let end = group_at(&scenario.steps, at).1.max(at + 1);
            outcome = match self.range(scenario, at, end).await {
                Ok((verdict, _)) => outcome.map(|worst| worst.max(verdict)),
                Err(stop) => Err(stop),
            };
            at = end;
        }
        outcome
    }

    async fn range(&mut self, scenario: &Scenario, from: usize, to: usize) -> Result<(Verdict, usize), Stop> {
        let mut worst = Verdict::Passed;
        let mut at = from;
        while let Some(step) = scenario.steps.get(at).filter(|_| at < to) {
            let interruption = self.control.interruption();
            let (verdict, next) = match &step.kind {
                StepKind::Exec(_) | StepKind::Expect(_) => {
                    let (group, next) = group_at(&scenario.steps, at);
                    let verdict = tokio::select! {
                        biased;
                        () = interruption => return Err(Stop::Interrupted),
                        verdict = self.group(scenario, &group) => verdict?,
                    };
                    (verdict, next)
                }
                kind => {
                    // A change that is under way is let finish, so that undo sees what it left.
                    let grace = match kind {
                        StepKind::Apply(_) | StepKind::Delete(_) | StepKind::Patch { .. } => CHANGE_GRACE,
                        _ => Duration::ZERO,
                    };
                    let stopped = async {
                        interruption.await;
                        tokio::time::sleep_until(tokio::time::Instant::now() + grace).await;
                    };
                    let verdict = tokio::select! {
                        biased;
                        () = stopped => return Err(Stop::Interrupted),
                        verdict = self.step(scenario, at, step) => verdict?,
                    };
                    (verdict, at + 1)
                }
            };
            worst = worst.max(verdict);
            if worst >= Verdict::Failed {
                return Err(Stop::Failed);
            }
            if self.control.interrupted() {
                return Err(Stop::Interrupted);
            }
            at = next;
        }
        Ok((worst, at))
    }

    async fn step(&mut self, scenario: &Scenario, index: usize, step: &Step) -> Result<Verdict, Stop> {
        let begun = Instant::now();
        self.started(index, step);
        self.state.refusal = None;
        let result = match &step.kind {
            StepKind::Apply(objects) => self.apply(scenario, index, objects).await,
            StepKind::Delete(objects) => self.delete(scenario, index, objects).await,
            StepKind::Capture { name, source } => {
                let captured = self.capture(scenario, source).await;
                captured.map(|value| drop(self.state.captures.insert(name.clone(), value)))
            }
            StepKind::Diff { left, right } => self.diff(scenario, left, right).await.map(|lines| {
                self.emit(Event::Evidence { step: index, kind: EvidenceKind::Diff, lines });
            }),
            StepKind::Note(_) => Ok(()),
            StepKind::Pause(text) => {
                self.emit(Event::Paused { step: index, text: text.clone() });
                self.control.resumed().await;
                Ok(())
            }
            StepKind::Patch { object, patch } => self.patch(scenario, index, object, patch).await,
            StepKind::Restart(workload) => self.restart(scenario, index, workload).await,
            StepKind::Scale { workload, replicas } => self.scale(scenario, index, workload, *replicas).await,
            StepKind::Wait(wait) => self.wait(scenario, wait).await,
            StepKind::Exec(_) | StepKind::Expect(_) => Ok(()),
        };
        let result = match result {
            Err(error) if error.refusal().is_some() && expects_refusal(scenario, index) => {
                self.state.refusal = error.refusal().map(str::to_owned);
                self.state.refused = None;
                Ok(())
            }
            result => result,
        };
        match result {
            Ok(()) => {
                self.finished(index, step, Verdict::Passed, begun.elapsed(), None);
                Ok(Verdict::Passed)
            }
            Err(error) => Err(self.broke((index, step), begun, &error).await),
        }
    }

    async fn apply(&mut self, scenario: &Scenario, index: usize, objects: &[ManifestObject]) -> Result<(), Error> {
        let bodies: Vec<_> = objects.iter().map(|o| (*o.body).clone()).collect();
        self.state.applied.extend(objects.iter().cloned());
        let name = self.state.name.clone();
        // An interrupt may drop this future: what was begun is in the journal.
        let result = self.changes.apply(&bodies, &scenario.namespace, &name).await;
        let done = match &result {
            Ok(done) => done,
            Err(failed) => &failed.done,
        };
        if done.iter().any(|o| o.applied != Applied::Unchanged) || result.is_err() {
            self.changed();
        }
        if objects.iter().any(|o| !o.body["apiVersion"].as_str().unwrap_or_default().contains("istio.io/")) {
            self.proxies.forget_pods();
        } else if result.is_ok() {
            let changed = done.iter().filter(|o| o.applied != Applied::Unchanged);
            self.latest = changed.filter_map(|o| version_of(&o.object)).max().or(self.latest);
        }
        for (object, outcome) in objects.iter().zip(done) {
            let (namespace, name) = crate::cluster::identity(&outcome.object);
            self.emit(Event::Object {
                step: Some(index),
                action: match outcome.applied {
                    Applied::Created => ObjectAction::Created,
                    Applied::Changed => ObjectAction::Changed,
                    Applied::Unchanged => ObjectAction::Unchanged,
                },
                kind: object.body["kind"].as_str().unwrap_or_default().to_owned(),
                namespace: Some(namespace.to_owned()).filter(|n| !n.is_empty()),
                name: name.to_owned(),
                manifest: Some(Manifest {
                    path: object.place.source.name.clone(),
                    text: object.place.source.text.get(object.place.span.clone()).unwrap_or_default().to_owned(),
                }),
            });
        }
        result.map(|_| ()).map_err(|failed| {
            self.state.refused = objects.get(failed.object).cloned();
            failed.error
        })
    }

    async fn delete(&mut self, scenario: &Scenario, index: usize, objects: &[ObjectRef]) -> Result<(), Error> {
        let scenario_name = self.state.name.clone();
        for object in objects {
            let kind = self.changes.delete(object, &scenario.namespace, &scenario_name).await;
            self.changed();
            self.proxies.forget_pods();
            let kind = kind?;
            let namespace = object.namespace.clone().unwrap_or_else(|| scenario.namespace.clone());
            self.emit(Event::Object {
                step: Some(index),
                action: ObjectAction::Deleted,
                kind: kind.kind,
                namespace: Some(namespace).filter(|_| kind.namespaced),
                name: object.name.clone(),
                manifest: None,
            });
        }
        Ok(())
    }

    /// Something changed: what was gathered is old, and the proxies do not have it yet.
    pub fn changed(&mut self) {
        self.settled = None;
        self.latest = None;
        self.gatherer.change += 1;
    }

    /// Waits until the proxies have every change so far: those of `needs`, the gateway and the last
    /// exec's workload.
    pub async fn settle(&mut self, scenario: &Scenario, needs: &[Need]) -> Result<Settled, Error> {
        if let Some(settled) = &self.settled {
            return Ok(settled.clone());
        }
        let mut asked: Vec<_> = vec![];
        for need in needs {
            if let Need::Dump(workload) | Need::Format(workload) | Need::Log(workload) = need {
                asked.extend(self.proxies.of(workload).await?);
            }
        }
        // These two may be absent: then whoever needs them says so.
        for workload in [Some(&scenario.gateway), self.state.workload.as_ref()].into_iter().flatten() {
            asked.extend(self.proxies.of_now(workload).await.unwrap_or_default());
        }
        asked.retain(|p| p.pod.proxy_container.is_some());
        asked.sort_by(|a, b| a.pod.uid.cmp(&b.pod.uid));
        asked.dedup_by(|a, b| a.pod.uid == b.pod.uid);
        let admins: Vec<_> = asked.iter().map(|p| &p.admin).collect();
        let settled = self.propagation.settle(&admins, self.latest, scenario.within.max(SETTLE_LIMIT)).await;
        self.meet_proxies();
        self.settled = Some(settled.clone());
        Ok(settled)
    }

    /// Asks proxies that are new for their versions, beside the work.
    fn meet_proxies(&mut self) {
        for proxy in self.proxies.unseen() {
            self.versions.of_proxy(&self.cluster, proxy);
        }
    }

    /// Undoes everything. False when something could not be.
    async fn undo(&mut self) -> bool {
        if !self.changes.any() {
            return true;
        }
        let undone = self.changes.undo().await;
        self.changed();
        let mut clean = true;
        for one in undone {
            let label = crate::cluster::describe(&one.kind, Some(&one.namespace), &one.name);
            match one.result {
                Ok(action) => {
                    self.emit(Event::Object {
                        step: None,
                        action,
                        kind: one.kind,
                        namespace: Some(one.namespace).filter(|n| !n.is_empty()),
                        name: one.name,
                        manifest: None,
                    });
                    if let Some(text) = one.note {
                        self.emit(Event::Undo { text, failed: None });
                    }
                }
                Err(error) => {
                    clean = false;
                    self.emit(Event::Undo { text: format!("{label} could not be put back"), failed: Some(error) });
                }
            }
        }
        clean
    }

    /// Ends the journal.
    pub async fn close(&mut self) {
        self.versions.finish().await;
        if let Some(path) = self.changes.close() {
            let text = format!("what could not be undone is kept in {}", path.display());
            self.emit(Event::Undo { text, failed: Some("each line holds an object as it was".into()) });
        }
    }

    pub fn emit(&self, event: Event) {
        // Nobody listens any more: the run still has to undo what it did.
        let _ = self.events.send(event);
    }

    pub fn started(&self, index: usize, step: &Step) {
        self.emit(Event::StepStarted { index, line: line_of(step), text: step.text.clone() });
    }

    pub fn finished(&self, index: usize, step: &Step, verdict: Verdict, took: Duration, failure: Option<Diagnostic>) {
        let failure = failure.map(|mut failure| {
            if let Some(called) = &step.called {
                failure.labels.push(Label { place: called.clone(), text: "done from here".into() });
            }
            failure
        });
        self.emit(Event::StepFinished {
            index,
            line: line_of(step),
            text: step.text.clone(),
            verdict,
            took,
            failure: failure.map(Box::new),
        });
    }

    /// A step that could not be done at all. The target is broken only if its API no longer answers: a
    /// stream to one pod may break for the pod's sake.
    pub async fn broke(&mut self, (index, step): (usize, &Step), begun: Instant, error: &Error) -> Stop {
        let refused = self.state.refused.take();
        let failure = analysis::of_error(error, step, refused.as_ref());
        let broken = error.is_broken() && self.cluster.version().await.is_err();
        let (verdict, stop) = match broken {
            true => (Verdict::Broken, Stop::Broken),
            false => (Verdict::Failed, Stop::Failed),
        };
        self.finished(index, step, verdict, begun.elapsed(), Some(failure));
        stop
    }
}

fn version_of(object: &serde_json::Value) -> Option<u64> {
    object.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}

/// The line of the scenario's file: of the `do` where the steps are written in another file.
fn line_of(step: &Step) -> usize {
    match &step.called {
        Some(called) if called.source.name != step.place.source.name => called.line(),
        _ => step.place.line(),
    }
}

/// Whether the step behind a change says that it is to be refused.
fn expects_refusal(scenario: &Scenario, index: usize) -> bool {
    let next = scenario.steps.get(index + 1).map(|s| &s.kind);
    matches!(next, Some(StepKind::Expect(e)) if !e.negated && matches!(e.what, Expectation::Rejected { .. }))
}

/// The workloads of a scenario's commands, and its gateway.
fn workloads(scenario: &Scenario) -> Vec<&Workload> {
    let mut found = vec![&scenario.gateway];
    for step in &scenario.steps {
        if let StepKind::Exec(exec) = &step.kind {
            found.extend(exec.workload.iter().filter(|w| !found.contains(w)).collect::<Vec<_>>());
        }
    }
    found
}

/// The exec or expectation at `at` with all expectations right behind it.
fn group_at(steps: &[Step], at: usize) -> (Group<'_>, usize) {
    let mut group = Group { exec: None, expects: vec![] };
    let mut next = at;
    while let Some(step) = steps.get(next) {
        match &step.kind {
            StepKind::Exec(exec) if next == at => group.exec = Some((next, step, exec)),
            StepKind::Expect(expect) if step.phase == steps[at].phase => group.expects.push((next, step, expect)),
            _ => break,
        }
        next += 1;
    }
    (group, next)
}

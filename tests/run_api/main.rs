//! The interpreter against the project's own API server: applying, leaving alone, undo, the journal,
//! interrupts, verdicts. No Envoy takes part, so nothing here is about traffic.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod server;

use egress_scn::diag::{Place, Source};
use egress_scn::plan::{
    Condition, Exec, Expect, Expectation, ManifestObject, ObjectRef, Phase, Plan, Scenario, Step, StepKind, Text,
    TextMatch, Wait, Workload,
};
use egress_scn::run::event::{Counts, Event, ObjectAction, Verdict};
use egress_scn::run::journal::Keeping;
use egress_scn::run::{self, TargetInfo};
use serde_json::{Value, json};
use server::Target;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const ISTIO: &str = "networking.istio.io/v1";

fn place() -> Place {
    Place { source: Arc::new(Source { name: "test.egress".into(), text: "apply x.yaml\n".into() }), span: 0..5 }
}

fn step(text: &str, kind: StepKind) -> Step {
    Step { place: place(), called: None, phase: Phase::Body, text: text.into(), kind }
}

fn apply(objects: &[Value]) -> Step {
    let manifest = |body: &Value| ManifestObject::new(body.clone(), place(), vec![]);
    step("apply x.yaml", StepKind::Apply(objects.iter().map(manifest).collect()))
}

fn exec(command: &[&str], has_expects: bool) -> Step {
    let kind = StepKind::Exec(Exec {
        workload: Some(Workload { name: "client".into(), namespace: "test".into() }),
        container: None,
        command: command.iter().map(|w| Text::literal(*w)).collect(),
        every: None,
        has_expects,
    });
    step("exec client …", kind)
}

fn expect(what: Expectation) -> Step {
    let expect = Expect { negated: false, what, within: Some(Duration::from_millis(200)), stable: None, because: None };
    step("expect …", StepKind::Expect(expect))
}

fn pause() -> Step {
    step("pause", StepKind::Pause("look".into()))
}

fn plan(scenarios: Vec<Vec<Step>>) -> Plan {
    let scenario = |steps| Scenario {
        file: place().source,
        file_title: None,
        name: "시험".into(),
        tags: vec![],
        place: place(),
        texts: vec![],
        criteria: vec![],
        see: vec![],
        traps: vec![],
        namespace: "test".into(),
        gateway: Workload { name: "istio-egressgateway".into(), namespace: "istio-system".into() },
        requires: vec![],
        skips: vec![],
        disruptive: None,
        within: Duration::from_secs(10),
        steps,
    };
    Plan { scenarios: scenarios.into_iter().map(scenario).collect() }
}

fn gateway(number: u64) -> Value {
    json!({"apiVersion": ISTIO, "kind": "Gateway", "metadata": {"name": "egress"},
        "spec": {"selector": {"istio": "egressgateway"}, "servers": [{"port": {"number": number}}]}})
}

fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "test",
        "annotations": {"kept": "as it was"}}, "data": {"key": value, "other": "mine"}})
}

/// What a run did, and a look at the target at each `pause`.
struct Ran {
    counts: Counts,
    events: Vec<Event>,
}

impl Ran {
    fn objects(&self) -> Vec<(Option<usize>, ObjectAction, String)> {
        let object = |e: &Event| match e {
            Event::Object { step, action, kind, name, .. } => Some((*step, *action, format!("{kind}/{name}"))),
            _ => None,
        };
        self.events.iter().filter_map(object).collect()
    }

    fn failures(&self) -> Vec<String> {
        let failure = |e: &Event| match e {
            Event::StepFinished { failure: Some(f), .. } => Some(format!("{} {}", f.code, f.title)),
            _ => None,
        };
        self.events.iter().filter_map(failure).collect()
    }

    fn undo_failures(&self) -> Vec<String> {
        let failed = |e: &Event| match e {
            Event::Undo { failed: Some(f), .. } => Some(f.clone()),
            _ => None,
        };
        self.events.iter().filter_map(failed).collect()
    }
}

/// Runs a plan; `look` is called at each `pause`, then the run goes on.
async fn run_with(target: &Target, journal: &Path, plan: Plan, mut look: impl AsyncFnMut(&run::Handle)) -> Ran {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let (handle, control) = run::control();
    let info = TargetInfo {
        name: "test".into(),
        reason: "a test".into(),
        lab: false,
        provide: false,
        journal: Keeping { folder: journal.to_owned(), durable: true },
    };
    let cluster = target.cluster.clone();
    let running = tokio::spawn(async move { run::run(&plan, cluster, info, sender, control).await });
    let mut events = vec![];
    while let Some(event) = receiver.recv().await {
        if matches!(event, Event::Paused { .. }) {
            look(&handle).await;
            handle.resume();
        }
        events.push(event);
    }
    Ran { counts: running.await.unwrap(), events }
}

async fn run_plan(target: &Target, plan: Plan) -> Ran {
    let journal = tempfile::tempdir().unwrap();
    let ran = run_with(target, journal.path(), plan, async |_: &run::Handle| ()).await;
    assert_eq!(left(journal.path()), 0, "a journal is left");
    ran
}

fn left(journal: &Path) -> usize {
    std::fs::read_dir(journal).map_or(0, Iterator::count)
}

#[tokio::test]
async fn what_is_created_is_there_and_then_gone() {
    let target = Target::start().await;
    let journal = tempfile::tempdir().unwrap();
    let mut seen = None;
    let plan = plan(vec![vec![apply(&[gateway(443)]), pause()]]);
    let ran = run_with(&target, journal.path(), plan, async |_: &run::Handle| {
        seen = target.get(ISTIO, "Gateway", "egress").await;
        let file = std::fs::read_dir(journal.path()).unwrap().next().unwrap().unwrap().path();
        let lines = run::journal::read(&file).unwrap();
        assert_eq!(lines.len(), 3, "target, intent, done: {lines:?}");
    })
    .await;
    assert_eq!(seen.expect("applied")["metadata"]["namespace"], "test");
    assert_eq!(target.get(ISTIO, "Gateway", "egress").await, None);
    assert_eq!(left(journal.path()), 0);
    assert_eq!(
        ran.objects(),
        [
            (Some(0), ObjectAction::Created, "Gateway/egress".into()),
            (None, ObjectAction::Deleted, "Gateway/egress".into())
        ]
    );
}

#[tokio::test]
async fn an_identical_object_is_left_untouched() {
    let target = Target::start().await;
    let before = target.kubectl_create(&gateway(443)).await;
    let ran = run_plan(&target, plan(vec![vec![apply(&[gateway(443)])]])).await;
    assert_eq!(ran.objects(), [(Some(0), ObjectAction::Unchanged, "Gateway/egress".into())]);
    assert_eq!(target.get(ISTIO, "Gateway", "egress").await, Some(before), "to the byte, managed fields too");
}

#[tokio::test]
async fn a_changed_object_is_put_back_with_its_managed_fields() {
    let target = Target::start().await;
    let before = target.kubectl_create(&config_map("settings", "old")).await;
    let journal = tempfile::tempdir().unwrap();
    let change = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings",
        "annotations": {"new": "yes"}}, "data": {"key": "new"}});
    let again =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"third": "x"}});
    let plan = plan(vec![vec![apply(&[change]), pause(), apply(&[again])]]);
    let ran = run_with(&target, journal.path(), plan, async |_: &run::Handle| {
        let now = target.get("v1", "ConfigMap", "settings").await.unwrap();
        assert_eq!(now["data"], json!({"key": "new", "other": "mine"}));
    })
    .await;
    assert_eq!(ran.undo_failures(), Vec::<String>::new());
    let mut after = target.get("v1", "ConfigMap", "settings").await.unwrap();
    // Only the count of versions has moved on.
    after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
    assert_eq!(after, before);
    assert_eq!(left(journal.path()), 0);
}

fn object(kind: &str, name: &str) -> ObjectRef {
    ObjectRef { api_version: None, kind: kind.into(), namespace: None, name: name.into() }
}

#[tokio::test]
async fn a_patch_is_journalled_first_and_put_back_with_its_managed_fields() {
    let target = Target::start().await;
    let before = target.kubectl_create(&config_map("settings", "old")).await;
    let journal = tempfile::tempdir().unwrap();
    let patch = json!({"metadata": {"annotations": {"kept": null}}, "data": {"key": "new"}});
    let kind = StepKind::Patch { object: object("cm", "settings"), patch };
    let plan = plan(vec![vec![step("patch cm settings", kind), pause()]]);
    let ran = run_with(&target, journal.path(), plan, async |_: &run::Handle| {
        let now = target.get("v1", "ConfigMap", "settings").await.unwrap();
        assert_eq!(now["data"], json!({"key": "new", "other": "mine"}));
        assert_eq!(now.pointer("/metadata/annotations/kept"), None);
        let file = std::fs::read_dir(journal.path()).unwrap().next().unwrap().unwrap().path();
        let lines = run::journal::read(&file).unwrap();
        let intent = lines.iter().any(|line| {
            matches!(line, run::journal::Line::Intent { action: run::journal::Action::Patch, before: Some(b), .. }
                if b["data"]["key"] == "old")
        });
        assert!(intent, "{lines:?}");
    })
    .await;
    assert_eq!(ran.failures(), Vec::<String>::new());
    assert_eq!(ran.undo_failures(), Vec::<String>::new());
    let mut after = target.get("v1", "ConfigMap", "settings").await.unwrap();
    after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
    assert_eq!(after, before);
    assert_eq!(left(journal.path()), 0);
}

#[tokio::test]
async fn a_patch_that_changes_nothing_leaves_the_object_untouched() {
    let target = Target::start().await;
    let before = target.kubectl_create(&config_map("settings", "old")).await;
    let kind = StepKind::Patch { object: object("cm", "settings"), patch: json!({"data": {"key": "old"}}) };
    let ran = run_plan(&target, plan(vec![vec![step("patch cm settings", kind)]])).await;
    assert_eq!(ran.objects(), [(Some(0), ObjectAction::Unchanged, "ConfigMap/settings".into())]);
    assert_eq!(target.get("v1", "ConfigMap", "settings").await, Some(before), "to the byte, managed fields too");
}

#[tokio::test]
async fn a_refusal_that_is_expected_is_no_failure() {
    let target = Target::start().await;
    let wrong = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "nowhere"}});
    let rejected = |words: &str| expect(Expectation::Rejected { containing: Some(Text::literal(words)) });
    let ran = run_plan(&target, plan(vec![vec![apply(std::slice::from_ref(&wrong)), rejected("nowhere")]])).await;
    assert_eq!(ran.failures(), Vec::<String>::new());
    assert_eq!((ran.counts.passed, ran.counts.checked), (1, 1));
    let ran = run_plan(&target, plan(vec![vec![apply(std::slice::from_ref(&wrong)), rejected("other words")]])).await;
    assert_eq!(ran.failures(), ["E0439 expected a rejection containing \"other words\", got another"]);
    let ran = run_plan(&target, plan(vec![vec![apply(&[config_map("x", "y")]), rejected("")]])).await;
    assert_eq!(ran.failures(), ["E0439 expected the change to be rejected, it was made"]);
    assert_eq!(target.get("v1", "ConfigMap", "x").await, None, "undone all the same");
}

#[tokio::test]
async fn cleanup_runs_behind_a_failure_to_its_end() {
    let target = Target::start().await;
    let cleanup = |kind| Step { phase: Phase::Cleanup, ..step("cleanup", kind) };
    let gone = |name: &str| StepKind::Delete(vec![object("cm", name)]);
    target.kubectl_create(&config_map("one", "x")).await;
    let steps = vec![
        step("delete cm nothing", gone("nothing")),
        step("delete cm never", gone("one")),
        cleanup(gone("nothing too")),
        cleanup(StepKind::Note("the end".into())),
    ];
    let ran = run_plan(&target, plan(vec![steps])).await;
    let ended = ran.events.iter().filter_map(|e| match e {
        Event::StepFinished { index, verdict, .. } => Some((*index, *verdict)),
        _ => None,
    });
    let ended: Vec<_> = ended.collect();
    assert_eq!(ended, [(0, Verdict::Failed), (2, Verdict::Failed), (3, Verdict::Passed)]);
    assert_eq!(ran.counts.failed, 1);
}

#[tokio::test]
async fn waiting_ends_with_the_event_and_fails_at_the_limit() {
    let target = Target::start().await;
    let wait = |name: &str, condition, within| {
        let within = Some(Duration::from_millis(within));
        let wait = Wait { object: object("cm", name), condition, within, because: None };
        step("wait …", StepKind::Wait(wait))
    };
    let journal = tempfile::tempdir().unwrap();
    target.kubectl_create(&config_map("short-lived", "x")).await;
    let steps = vec![pause(), wait("short-lived", Condition::Gone, 60_000), wait("short-lived", Condition::Ready, 50)];
    let ran = run_with(&target, journal.path(), plan(vec![steps]), async |_: &run::Handle| {
        // While the run waits the object goes.
        let kind = target.cluster.kind("v1", "ConfigMap").await.unwrap();
        let cluster = target.cluster.clone();
        tokio::spawn(async move {
            cluster.delete(&kind, Some("test"), "short-lived", None, Duration::from_secs(5)).await.unwrap();
        });
    })
    .await;
    let failed = ran.failures();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].contains("is not ready after 0.05 s: there is none"), "{failed:?}");
}

#[tokio::test]
async fn what_is_deleted_is_created_again() {
    let target = Target::start().await;
    let before = target.kubectl_create(&config_map("settings", "old")).await;
    let journal = tempfile::tempdir().unwrap();
    let object = ObjectRef { api_version: None, kind: "cm".into(), namespace: None, name: "settings".into() };
    let plan = plan(vec![vec![step("delete cm settings", StepKind::Delete(vec![object])), pause()]]);
    let ran = run_with(&target, journal.path(), plan, async |_: &run::Handle| {
        assert_eq!(target.get("v1", "ConfigMap", "settings").await, None);
    })
    .await;
    assert_eq!(ran.failures(), Vec::<String>::new());
    let after = target.get("v1", "ConfigMap", "settings").await.expect("created again");
    assert_eq!(after["data"], before["data"]);
    assert_eq!(after["metadata"]["annotations"], before["metadata"]["annotations"]);
    assert_eq!(after["metadata"]["managedFields"], before["metadata"]["managedFields"]);
    let told = ran.events.iter().any(|e| matches!(e, Event::Undo { text, .. } if text.contains("creationTimestamp")));
    assert!(told, "a new creationTimestamp can change which object wins");
}

#[tokio::test]
async fn another_hands_change_is_not_overwritten_and_the_journal_stays() {
    let target = Target::start().await;
    target.kubectl_create(&config_map("settings", "old")).await;
    let journal = tempfile::tempdir().unwrap();
    let change =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"key": "new"}});
    let plan = plan(vec![vec![apply(&[change]), pause()]]);
    let ran = run_with(&target, journal.path(), plan, async |_: &run::Handle| {
        target.kubectl_replace(&config_map("settings", "theirs")).await;
    })
    .await;
    assert!(ran.undo_failures()[0].contains("another hand"), "{:?}", ran.undo_failures());
    assert_eq!(target.get("v1", "ConfigMap", "settings").await.unwrap()["data"]["key"], "theirs");
    assert_eq!((ran.counts.failed, run::exit_code(&ran.counts)), (1, 1));
    let file = std::fs::read_dir(journal.path()).unwrap().next().expect("the journal is kept").unwrap().path();
    assert!(std::fs::read_to_string(file).unwrap().contains("\"old\""));
}

#[tokio::test]
async fn an_interrupt_undoes_what_was_done() {
    let target = Target::start().await;
    let journal = tempfile::tempdir().unwrap();
    let endless = exec(&["sh", "-c", "while :; do read x < /dev/zero; done"], false);
    let plan = plan(vec![vec![apply(&[gateway(443)]), pause(), endless], vec![exec(&["true"], false)]]);
    let ran = run_with(&target, journal.path(), plan, async |handle: &run::Handle| {
        assert!(target.get(ISTIO, "Gateway", "egress").await.is_some());
        // The command after the pause never ends by itself.
        handle.interrupt();
    })
    .await;
    assert!(ran.counts.interrupted);
    assert_eq!(run::exit_code(&ran.counts), 130);
    assert_eq!(target.get(ISTIO, "Gateway", "egress").await, None);
    assert_eq!(left(journal.path()), 0);
    let started = ran.events.iter().filter(|e| matches!(e, Event::ScenarioStarted { .. })).count();
    assert_eq!(started, 1, "nothing is begun after an interrupt");
}

#[tokio::test]
async fn a_refused_object_fails_the_step_and_what_came_before_is_undone() {
    let target = Target::start().await;
    let nowhere = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "nowhere"}});
    let ran = run_plan(&target, plan(vec![vec![apply(&[config_map("first", "1"), nowhere])]])).await;
    assert_eq!(ran.counts.failed, 1);
    assert!(ran.failures()[0].contains("nowhere"), "{:?}", ran.failures());
    assert_eq!(target.get("v1", "ConfigMap", "first").await, None);
}

#[tokio::test]
async fn a_kind_that_is_not_installed_is_named() {
    let target = Target::start().await;
    let unknown = json!({"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": {"name": "x"}});
    let ran = run_plan(&target, plan(vec![vec![apply(&[unknown])]])).await;
    assert_eq!(ran.failures(), ["E0504 the target has no kind Sidecar in networking.istio.io/v1"]);
}

#[tokio::test]
async fn an_exec_is_judged_by_what_follows_or_must_exit_0() {
    let target = Target::start().await;
    let failing = ["sh", "-c", "echo out; echo err >&2; exit 3"];
    let good = vec![exec(&failing, true), expect(Expectation::Exit(vec![3]))];
    let out = vec![exec(&failing, true), expect(Expectation::Stdout(TextMatch::Contains(Text::literal("out"))))];
    let wrong = vec![exec(&failing, true), expect(Expectation::Exit(vec![0]))];
    let bare = vec![exec(&failing, false)];
    let ran = run_plan(&target, plan(vec![good, out, wrong, bare])).await;
    assert_eq!((ran.counts.passed, ran.counts.failed, ran.counts.checked), (2, 2, 3));
    assert!(ran.failures()[1].starts_with("E0505 the command exited 3"), "{:?}", ran.failures());
    let mut outputs = ran.events.iter().filter_map(|e| match e {
        Event::Output { stdout, stderr, exit, .. } => Some((stdout.clone(), stderr.clone(), *exit)),
        _ => None,
    });
    assert_eq!(outputs.next_back(), Some((b"out\n".to_vec(), b"err\n".to_vec(), 3)));
}

#[tokio::test]
async fn a_workload_that_is_not_there_and_a_program_that_is_not_there_are_told_apart() {
    let target = Target::start().await;
    let mut nobody = exec(&["true"], false);
    if let StepKind::Exec(exec) = &mut nobody.kind {
        exec.workload = Some(Workload { name: "nobody".into(), namespace: "test".into() });
    }
    let ran = run_plan(&target, plan(vec![vec![nobody], vec![exec(&["/no/such/program"], false)]])).await;
    let failures = ran.failures();
    assert_eq!(failures[0], "E0504 there is no deployment and no pod nobody in namespace test");
    assert!(failures[1].contains("/no/such/program"), "{failures:?}");
    assert_eq!(ran.counts.broken, 0);
}

#[tokio::test]
async fn a_target_that_goes_away_is_broken_and_the_journal_stays() {
    let target = Target::start().await;
    let journal = tempfile::tempdir().unwrap();
    let plan = plan(vec![vec![apply(&[gateway(443)]), pause(), exec(&["true"], false)], vec![exec(&["true"], false)]]);
    let ran = run_with(&target, journal.path(), plan, async |_: &run::Handle| target.stop()).await;
    assert_eq!((ran.counts.broken, ran.counts.skipped, run::exit_code(&ran.counts)), (1, 1, 3));
    assert!(!ran.undo_failures().is_empty());
    assert_eq!(left(journal.path()), 1);
}

#[tokio::test]
async fn a_command_runs_in_the_successor_of_a_pod_that_went() {
    let target = Target::start().await;
    let journal = tempfile::tempdir().unwrap();
    let echo = || vec![exec(&["echo", "here"], true), expect(Expectation::Exit(vec![0]))];
    let plan = plan(vec![[echo(), vec![pause()], echo()].concat()]);
    let ran = run_with(&target, journal.path(), plan, async |_: &run::Handle| target.replace_pod().await).await;
    assert_eq!((ran.counts.passed, ran.counts.checked), (1, 2), "{:?}", ran.failures());
}

#[tokio::test]
async fn a_run_that_checked_nothing_is_not_a_pass() {
    let target = Target::start().await;
    let ran = run_plan(&target, plan(vec![vec![exec(&["true"], false)]])).await;
    assert_eq!((ran.counts.passed, run::exit_code(&ran.counts)), (1, 1));
    let finished = ran.events.iter().any(|e| matches!(e, Event::ScenarioFinished { verdict: Verdict::Passed, .. }));
    assert!(finished);
}

#[tokio::test]
async fn only_a_curl_that_gets_is_repeated() {
    let target = Target::start().await;
    // Nothing listens there: each try fails.
    let get = vec![exec(&["curl", "-s", "http://127.0.0.1:1/"], true), expect(Expectation::Exit(vec![0]))];
    let ran = run_plan(&target, plan(vec![get])).await;
    let attempts = |ran: &Ran| ran.events.iter().filter(|e| matches!(e, Event::Attempt { .. })).count();
    assert!(attempts(&ran) > 1, "{:?}", ran.events);
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let counting = format!("echo x >> {}; exit 1", count.display());
    run_plan(&target, plan(vec![vec![exec(&["sh", "-c", &counting], true), expect(Expectation::Exit(vec![0]))]])).await;
    assert_eq!(std::fs::read_to_string(count).unwrap(), "x\n", "run once");
}

#[tokio::test]
async fn a_preview_changes_nothing_and_says_what_would_change() {
    let target = Target::start().await;
    let same = target.kubectl_create(&config_map("same", "1")).await;
    target.kubectl_create(&config_map("other", "1")).await;
    let steps = vec![
        apply(&[config_map("same", "1"), config_map("other", "2"), gateway(443)]),
        apply(&[json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "nowhere"}})]),
    ];
    let preview = run::preview(&plan(vec![steps]), &target.cluster).await.unwrap();
    assert_eq!(preview.identical, ["ConfigMap test/same"]);
    assert_eq!(preview.differing[0].object, "ConfigMap test/other");
    assert_eq!(preview.differing[0].lines, ["-   key: '1'", "+   key: '2'"]);
    assert_eq!(preview.new, ["Gateway test/egress", "ConfigMap nowhere/x"]);
    assert!(preview.lacks.iter().any(|l| l.what == "namespace nowhere"), "{:?}", preview.lacks);
    assert_eq!(target.get("v1", "ConfigMap", "same").await, Some(same));
    assert_eq!(target.get(ISTIO, "Gateway", "egress").await, None);
}

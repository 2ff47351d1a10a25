//! The reports as text: what a reader sees of a run, line by line.

#![allow(clippy::unwrap_used)]

use egress_scn::diag::Diagnostic;
use egress_scn::report::{Reporter, markdown, plain};
use egress_scn::run::event::{Counts, Event, EvidenceKind, Manifest, ObjectAction, Verdict};
use std::io::{self, Write};
use std::time::Duration;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn started(index: usize, name: &str) -> Event {
    Event::ScenarioStarted {
        index,
        file: "scenarios/cnn-mtls.egress".into(),
        file_title: Some("20 — Egress gateway".into()),
        name: name.into(),
        tags: vec!["seed".into(), "mtls".into()],
        texts: vec!["앱의 HTTPS는 끝까지 유지된다.".into()],
        criteria: vec!["등록 외부: egress gateway 경유 + 200".into()],
        see: vec!["gw__note-eastwest-gateway-sni".into()],
        traps: vec![],
    }
}

fn finished(index: usize, line: usize, text: &str, verdict: Verdict, failure: Option<Diagnostic>) -> Event {
    let took = millis(12 + index as u64);
    Event::StepFinished { index, line, text: text.into(), verdict, took, failure: failure.map(Box::new) }
}

fn step(index: usize, line: usize, text: &str) -> Event {
    Event::StepStarted { index, line, text: text.into() }
}

fn object(action: ObjectAction, name: &str) -> Event {
    let manifest =
        Manifest { path: "manifests/se.yaml".into(), text: "kind: ServiceEntry\n# ``` in a comment\n".into() };
    Event::Object {
        step: Some(0),
        action,
        kind: "ServiceEntry".into(),
        namespace: Some("mesh-test".into()),
        name: name.into(),
        manifest: Some(manifest),
    }
}

/// A run of two scenarios: one passes, one fails.
fn events() -> Vec<Event> {
    let failure =
        Diagnostic::error("E0410", "expected status 200, got no response (curl exit 35: TLS handshake reset)")
            .evidence("path  sleep ✓ → istio-egressgateway:15443 ✗ no listener → edition.cnn.com")
            .help("kubectl -n istio-system logs deploy/istiod | grep omitting");
    let apply = "apply *cnn*.yaml";
    let exec = "exec sleep curl -sI https://edition.cnn.com/";
    vec![
        Event::Target { name: "the embedded lab".into(), reason: "--lab".into() },
        Event::Version { component: "Envoy".into(), version: "1.40.0".into() },
        Event::RunStarted { scenarios: 2, steps: 5 },
        started(0, "edition.cnn.com: HTTPS 그대로"),
        step(0, 3, apply),
        object(ObjectAction::Created, "cnn-ext"),
        object(ObjectAction::Unchanged, "other"),
        finished(0, 3, apply, Verdict::Passed, None),
        step(1, 5, exec),
        Event::Attempt { step: 1, number: 1 },
        Event::Output {
            step: 1,
            command: "curl -sI https://edition.cnn.com/".into(),
            stdout: b"HTTP/2 200 \r\nserver: \x1b[31mred\r\n".to_vec(),
            stderr: vec![],
            exit: 0,
        },
        finished(1, 5, exec, Verdict::Passed, None),
        Event::Evidence {
            step: 2,
            kind: EvidenceKind::Path,
            lines: vec!["path  sleep ✓ → istio-egressgateway:443 (bound 8443) ✓ → httpbin.org:443 ✓".into()],
        },
        finished(2, 6, "expect via istio-egressgateway:443", Verdict::Passed, None),
        Event::Undo { text: "deleted ServiceEntry mesh-test/cnn-ext".into(), failed: None },
        Event::ScenarioFinished {
            index: 0,
            name: "edition.cnn.com: HTTPS 그대로".into(),
            verdict: Verdict::Passed,
            took: millis(210),
            reason: None,
        },
        started(1, "leg-2 as `tls` | broken"),
        step(0, 12, exec),
        finished(0, 12, exec, Verdict::Passed, None),
        finished(1, 13, "expect status 200", Verdict::Failed, Some(failure)),
        Event::ScenarioFinished {
            index: 1,
            name: "leg-2 as `tls` | broken".into(),
            verdict: Verdict::Failed,
            took: millis(10_300),
            reason: None,
        },
        Event::RunFinished {
            counts: Counts { passed: 1, failed: 1, checked: 2, ..Counts::default() },
            took: millis(10_600),
        },
    ]
}

fn folded(mut reporter: impl Reporter, events: &[Event]) -> io::Result<()> {
    for event in events {
        reporter.event(event)?;
    }
    reporter.finish()
}

fn terminal_text(events: &[Event], verbose: bool) -> String {
    let mut reporter = plain(vec![], verbose);
    for event in events {
        reporter.event(event).unwrap();
    }
    reporter.finish().unwrap();
    String::from_utf8(reporter.into_inner()).unwrap()
}

/// Compares with a recorded text; `UPDATE_GOLDEN=1` records.
fn same_as(path: &str, text: &str) {
    let path = format!("{}/tests/report/{path}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(expected == text, "differs from {path}:\n{text}");
}

#[test]
fn a_run_as_plain_lines() {
    let text = terminal_text(&events(), false);
    assert!(!text.contains('\x1b'), "no escapes without a terminal");
    same_as("plain.txt", &text);
}

#[test]
fn verbose_lines_show_versions_objects_and_outputs_without_their_escapes() {
    let text = terminal_text(&events(), true);
    assert!(text.contains("version Envoy 1.40.0"), "{text}");
    assert!(text.contains("created ServiceEntry mesh-test/cnn-ext"), "{text}");
    assert!(text.contains("server: ␛[31mred") && !text.contains('\x1b'), "{text}");
}

#[test]
fn times_stand_in_one_column_with_wide_characters() {
    let narrow = [finished(0, 1, "note \"abc\"", Verdict::Passed, None)];
    let wide = [finished(0, 1, "note \"가나다\"", Verdict::Passed, None)];
    let column = |text: &str| {
        let line = text.lines().next().unwrap();
        unicode_width::UnicodeWidthStr::width(&line[..line.find("12 ms").unwrap()])
    };
    assert_eq!(column(&terminal_text(&narrow, false)), column(&terminal_text(&wide, false)));
}

#[test]
fn the_last_line_counts_every_verdict() {
    let counts = Counts { passed: 1, failed: 2, not_shown: 3, skipped: 4, broken: 5, checked: 1, interrupted: true };
    let text = terminal_text(&[Event::RunFinished { counts, took: millis(5) }], false);
    assert_eq!(
        text.lines().last().unwrap(),
        "interrupted: 1 passed, 2 failed, 3 not shown, 4 skipped, 5 broken; 1 expectation checked in 5 ms"
    );
    let nothing = Event::RunFinished { counts: Counts::default(), took: millis(5) };
    assert!(terminal_text(&[nothing], false).contains("nothing was checked"));
}

#[test]
fn a_run_that_breaks_off_says_so() {
    assert_eq!(terminal_text(&[], false), "\nthe run broke off\n");
}

#[test]
fn a_closed_pipe_ends_the_writing_not_the_run() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    folded(plain(Closed, false), &events()).unwrap();
}

#[test]
fn a_run_as_markdown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.md");
    folded(markdown(&path), &events()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let dated: String = text
        .lines()
        .map(|line| if line.starts_with("- date: ") { "- date: TODAY" } else { line }.to_string() + "\n")
        .collect();
    same_as("report.md", &dated);
}

#[test]
fn a_markdown_report_of_a_run_that_broke_off_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.md");
    folded(markdown(&path), &events()[..8]).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("**the run broke off**") && text.contains("| broke off |"), "{text}");
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent").join("report.md");
    assert!(folded(markdown(&path), &events()).is_err());
}

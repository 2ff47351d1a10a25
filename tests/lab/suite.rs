//! The scenarios are green.

use crate::program::{can_run, program, scenarios, text};

#[test]
fn every_scenario_is_green_and_reported() {
    if !can_run("every_scenario_is_green_and_reported") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.md");
    let output = program().args(["run", "--lab", "-v", "--report"]).arg(&report).args(scenarios()).output().unwrap();
    let seen = text(&output);
    assert_eq!(output.status.code(), Some(0), "{seen}");
    assert!(seen.starts_with("target  the embedded lab"), "the first line says which target and why\n{seen}");
    let last = seen.lines().last().unwrap();
    assert!(last.contains(" passed, 0 failed, 0 not shown, 0 skipped, 0 broken"), "{last}");
    for expected in [
        "path  sleep ✓ → istio-egressgateway:443 (bound 8443) ✓ → httpbin.org:443 ✓",
        "path  sleep ✓ → istio-egressgateway:15443 ✓ → edition.cnn.com:443 ✓",
        "peer  spiffe://cluster.local/ns/mesh-test/sa/sleep",
        "path  sleep ✗ not registered (BlackHoleCluster) → example.org:443",
        "path  sleep ✗ not registered (block_all) → example.org:80",
        "- outbound|8000||httpbin.other.svc.cluster.local",
        "1.40.0",
    ] {
        assert!(seen.contains(expected), "missing {expected:?}\n{seen}");
    }
    let report = std::fs::read_to_string(report).unwrap();
    for expected in ["HTTP/2 200", "kind: Gateway", "edition.cnn.com: HTTPS 그대로", "expect ssl_verify 0"] {
        assert!(report.contains(expected), "the report misses {expected:?}\n{report}");
    }
}

#[test]
fn every_lesson_shows_its_failure_and_its_mend() {
    if !can_run("every_lesson_shows_its_failure_and_its_mend") {
        return;
    }
    let output = program().args(["run", "--lab", "scenarios/lessons"]).output().unwrap();
    let seen = text(&output);
    assert_eq!(output.status.code(), Some(0), "{seen}");
    for expected in [
        "expect listener 443 chains 2",
        "path  sleep ✓ → istio-egressgateway:443 (bound 8443) ✗ no filter chain → edition.cnn.com",
        "expect no listener 15443",
        "path  sleep ✓ → istio-egressgateway:15443 ✓ → edition.cnn.com:443 ✗ not httpbin.org",
    ] {
        assert!(seen.contains(expected), "missing {expected:?}\n{seen}");
    }
}

//! What `new` writes is green on a lab, all patterns in one run, for a host that nothing of ours names.

use crate::program::{can_run, program, text};

#[test]
fn every_new_scenario_is_green() {
    if !can_run("every_new_scenario_is_green") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for pattern in ["passthrough", "mutual", "origination", "block", "scope"] {
        let made = program().current_dir(folder.path()).args(["new", pattern, "api.weather.example"]).output().unwrap();
        assert!(made.status.success(), "{}", text(&made));
    }
    let korean = program().current_dir(folder.path()).args(["new", "passthrough", "한글.kr"]).output().unwrap();
    assert!(korean.status.success(), "{}", text(&korean));
    let run = program().current_dir(folder.path()).args(["run", "--lab", "."]).output().unwrap();
    let seen = text(&run);
    assert_eq!(run.status.code(), Some(0), "{seen}");
    let last = seen.lines().last().unwrap();
    assert!(last.starts_with("6 passed, 0 failed, 0 not shown, 0 skipped, 0 broken"), "{last}");
    for expected in [
        "path  sleep ✓ → istio-egressgateway:443 (bound 8443) ✓ → api.weather.example:443 ✓",
        "path  sleep ✓ → istio-egressgateway:15443 ✓ → api.weather.example:443 ✓",
        "path  sleep ✗ not registered (BlackHoleCluster) → api.weather.example:443",
        "→ xn--bj0bj06e.kr:443 ✓",
    ] {
        assert!(seen.contains(expected), "missing {expected:?}\n{seen}");
    }
}

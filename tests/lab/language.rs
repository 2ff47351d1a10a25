//! Every construct of the language on the lab: green where it holds, red for the right reason where it does
//! not. Both in one run, which so shows too that every change is undone.

use crate::program::{can_run, program, text};

/// Scenarios of `red.egress`, and what each must say.
const RED: &[(&str, &[&str])] = &[
    ("named steps", &["expected status 200, got 404", "steps.egress:8:3", "done from here"]),
    ("json", &["expected json $.url == \"https://example.org/get\", got \"https://httpbin.org/get\""]),
    ("time", &["expected time > 60.00 s, it took"]),
    ("tls", &["expected tls 1.2, got 1.3"]),
    ("site", &["expected status 200, got 503"]),
    ("cut", &["expected status 200, got no response"]),
    ("kill", &["status.killed: expected 7, got 1"]),
    ("patch", &["spec.location: expected \"MESH_EXTERNAL\", got \"MESH_INTERNAL\""]),
    ("wait", &["Deployment mesh-test/sleep is not Available=False after 1 s: Available is True"]),
    ("scale", &["there is no Deployment mesh-test/nobody to patch"]),
    ("rejected", &["expected the change to be rejected, it was made"]),
    ("another rejection", &["expected a rejection containing \"no such words\", got another", "spec.hosts"]),
    ("analysis", &["expected analysis clean, got 2 messages", "[IST0101] (VirtualService mesh-test/to-nowhere)"]),
    (
        "only",
        &["expected only cluster httpbin.org:443 of sleep.mesh-test to have changed, it did not", "edition.cnn.com"],
    ),
    ("config", &["clusters[0].type: expected \"STATIC\", got \"STRICT_DNS\""]),
    ("endpoint", &["expected endpoint httpbin.org:443 count 7, got 1 on sleep.mesh-test"]),
    ("secret", &["expected secret nothing, but sleep.mesh-test", "active   "]),
    ("route", &["expected route httpbin.other.svc.cluster.local:8000 to example.org, but it leads elsewhere"]),
    ("version", &["this scenario needs Istio >= 99, and the target has 1.30"]),
    ("crd", &["the target has no CustomResourceDefinition nothing.example.org"]),
    (
        "cleanup runs, and fails",
        &[
            "the command exited 1",
            "note \"cleaned up\"",
            "the command exited 3",
            "to the end",
            "trap  it fails: on purpose",
        ],
    ),
];

#[test]
fn every_construct_is_green_and_can_be_red() {
    if !can_run("every_construct_is_green_and_can_be_red") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.md");
    let files = ["tests/lab/language/red.egress", "tests/lab/language/green.egress"];
    let output = program().args(["run", "--lab", "--report"]).arg(&report).args(files).output().unwrap();
    let seen = text(&output);
    assert_eq!(output.status.code(), Some(1), "{seen}");
    let (red, green) = seen.split_once("\ntests/lab/language/green.egress").expect(&seen);
    let mut wrong = vec![];
    for (name, says) in RED {
        let start = red.find(&format!("\n  {name}\n")).unwrap_or_else(|| panic!("{name} did not run\n{seen}"));
        let section = &red[start + 1..];
        let end = section.find("\n\n  ").unwrap_or(section.len());
        let section = &section[..end];
        wrong.extend(
            says.iter().filter(|words| !section.contains(**words)).map(|w| format!("{name} misses {w:?}\n{section}")),
        );
    }
    assert!(wrong.is_empty(), "{}\n\n{seen}", wrong.join("\n"));
    assert!(!red.contains("never said"), "a step behind a failure ran\n{red}");
    assert!(!green.contains("✗") && !green.contains("error["), "{green}");
    for expected in [
        "runs on a cluster only",
        "needs its load balancer",
        "the target has version >= 1.30",
        "the target does not have crd nothing.example.org",
        "21 failed, 0 not shown, 3 skipped, 0 broken",
    ] {
        assert!(green.contains(expected), "missing {expected:?}\n{green}");
    }
    let report = std::fs::read_to_string(report).unwrap();
    for expected in
        ["| 000 for a registered host | the Sidecar hides it |", "rejected  ", "+   \"connect_timeout\": \"3s\""]
    {
        assert!(report.contains(expected), "the report misses {expected:?}\n{report}");
    }
}

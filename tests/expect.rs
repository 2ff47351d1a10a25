//! Judgements on recorded evidence: each failure signature of real Envoys and real curl, and each expectation
//! passing and failing, with the exact text.

#![allow(clippy::unwrap_used)]

#[path = "expect/recorded.rs"]
mod recorded;

use egress_scn::plan::{Expectation, StatusPattern};
use recorded::{gateway, run, run_with, told};

/// Compares with a recorded text; `UPDATE_GOLDEN=1` records.
fn same_as(name: &str, text: &str) {
    let path = format!("{}/tests/expect/told/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "differs from {path}:\n{text}");
}

/// What every curl of a run tells of its status, of a way by the gateway, of none, and of a block.
fn tell(name: &str, case: &str) {
    let mut text = String::new();
    for recorded in run_with(name, case) {
        let asked = [
            ("expect status 200", Expectation::Status(vec![StatusPattern::Code(200)])),
            ("expect via istio-egressgateway", Expectation::Via { gateway: gateway(), port: None }),
            ("expect direct", Expectation::Direct),
            ("expect blocked", Expectation::Blocked(None)),
        ];
        text.push_str(&format!("# curl {}\n", recorded.url));
        for (words, what) in asked {
            text.push_str(&format!("{words}\n{}\n\n", told(&what, false, &recorded.evidence)));
        }
    }
    same_as(name, &text);
}

macro_rules! signatures {
    ($($name:ident: $run:literal, $case:literal;)*) => { $(#[test] fn $name() { tell($run, $case); })* };
}

signatures! {
    seed: "seed", "seed";
    allow_any: "allow-any", "allow-any";
    authorization_denied: "authz-deny", "authz-deny";
    selector_fits_no_pod: "bad-selector", "bad-selector";
    tls_in_tls: "double-tls", "double-tls";
    destination_rule_in_a_third_namespace: "dr-third-ns", "dr-third-ns";
    no_service_entry_for_the_route: "gw-to-missing-cluster", "gw-to-missing-cluster";
    http_by_the_gateway: "http-gw", "http-gw";
    one_server_two_hosts: "mutual-two-hosts", "mutual-two-hosts";
    mutual_leg_to_passthrough: "mutual-vs-passthrough", "mutual-vs-passthrough";
    virtual_service_without_mesh: "no-mesh-gw", "no-mesh-gw";
    unregistered: "no-se", "no-se";
    service_without_the_port: "no15443", "no15443";
    destination_rule_without_sni: "nosni", "nosni";
    plain_leg_to_mutual: "notls-to-mutual", "notls-to-mutual";
    mutual_and_passthrough_share_a_port: "shared443", "shared443";
    server_of_protocol_https: "shared443-https", "shared443-https";
    shared_port_with_a_tls_leg: "shared443-leg2tls", "shared443-leg2tls";
    sidecar_scope: "sidecar-only-system", "sidecar-only-system";
    origination_at_the_gateway: "tls-orig-gw", "tls-orig-gw";
    origination_at_the_sidecar: "tls-orig-sidecar", "tls-orig-sidecar";
    tls_leg_behind_a_terminating_server: "trap2", "trap2";
    subset_that_no_rule_defines: "unknown-subset", "unknown-subset";
    site_down: "upstream-down", "seed";
}

#[test]
fn every_run_has_its_case() {
    assert_eq!(run("seed").len(), 5);
}

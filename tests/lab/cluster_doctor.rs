//! `doctor --context`, on the lab as on any cluster: what it finds, and what it finds when something is broken.

use crate::life::{Down, place};
use crate::program::{can_run, program, text};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

fn doctor(config: &Path, more: &[&str]) -> Output {
    let mut command = program();
    command.args(["doctor", "--context", "egress-scn-lab", "--kubeconfig"]).arg(config).args(more).output().unwrap()
}

fn states(output: &Output) -> Vec<(String, String, String)> {
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(output)));
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_string();
    findings.iter().map(|f| (word(f, "about"), word(f, "state"), word(f, "seen"))).collect()
}

/// Merges into an object of the lab.
fn patch(config: &Path, path: &str, change: Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(config).unwrap();
    runtime.block_on(async {
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let request = http::Request::patch(path).header("content-type", "application/merge-patch+json");
        client.request::<Value>(request.body(change.to_string().into_bytes()).unwrap()).await.unwrap();
    });
}

#[test]
fn the_doctor_sees_what_a_cluster_has_and_what_it_lacks() {
    if !can_run("the_doctor_sees_what_a_cluster_has_and_what_it_lacks") {
        return;
    }
    let place = place();
    let _down = Down(place.path());
    let config = place.path().join("config");
    let lab = |arguments: &[&str]| {
        let mut command: Command = program();
        let done = command.env("XDG_RUNTIME_DIR", place.path()).arg("lab").args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", text(&done));
    };
    lab(&["up", "-d", "--kubeconfig", config.to_str().unwrap()]);

    // No ServiceEntry names the site: under REGISTRY_ONLY that is lacking, and all else is good.
    let seen = doctor(&config, &["-o", "json", "--site", "httpbin.org"]);
    let found = states(&seen);
    assert_eq!(seen.status.code(), Some(1), "{found:#?}");
    for (about, state, said) in &found {
        assert_eq!(state, if about == "outside sites" { "lacking" } else { "good" }, "{about}: {said}");
    }
    for (about, words) in [
        ("permissions", "all "),
        ("Istio", "1.30.3, revision default (istiod-"),
        ("injection", "mesh-test: istio-injection=enabled"),
        ("sidecar", "sleep-"),
        ("curl", "container sleep of sleep-"),
        ("outbound policy", "REGISTRY_ONLY"),
        ("egress gateway", "Envoy 1."),
        ("gateway's ports", "15443"),
        ("access log", "with the peer's identity"),
    ] {
        assert!(found.iter().any(|(a, _, said)| a == about && said.contains(words)), "{about} {words}: {found:#?}");
    }
    // Every proxy that is followed is asked: the sidecar and the gateway.
    assert_eq!(found.iter().filter(|(about, _, _)| about == "access log").count(), 2, "{found:#?}");

    patch(
        &config,
        "/api/v1/namespaces/istio-system/services/istio-egressgateway",
        json!({ "spec": { "ports": [
        { "name": "http2", "port": 80, "targetPort": 8080 }, { "name": "https", "port": 443, "targetPort": 8443 } ] } }),
    );
    let seen = text(&doctor(&config, &[]));
    assert!(
        seen.contains("! gateway's ports  Service istio-system/istio-egressgateway has 80, 443, not 15443"),
        "{seen}"
    );
    assert!(seen.contains("kubectl -n istio-system patch service istio-egressgateway --type json -p '[{"), "{seen}");

    patch(
        &config,
        "/api/v1/namespaces/mesh-test",
        json!({ "metadata": { "labels": {
        "istio.io/dataplane-mode": "ambient", "istio-injection": null } } }),
    );
    let refused = doctor(&config, &[]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(text(&refused).contains("✗ injection        namespace mesh-test is ambient: "), "{}", text(&refused));

    let nobody = doctor(&config, &["--from", "nobody.mesh-test"]);
    assert_eq!(nobody.status.code(), Some(3), "{}", text(&nobody));
    assert!(text(&nobody).contains("there is no deployment and no pod nobody"), "{}", text(&nobody));
    lab(&["down"]);
}

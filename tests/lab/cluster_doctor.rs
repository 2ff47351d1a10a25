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

/// Sends a request to the lab's API as its administrator.
fn send(config: &Path, request: http::request::Builder, body: &Value) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(config).unwrap();
    runtime.block_on(async {
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        client.request(request.body(body.to_string().into_bytes()).unwrap()).await.unwrap()
    })
}

/// Merges into an object of the lab.
fn patch(config: &Path, path: &str, change: Value) {
    send(config, http::Request::patch(path).header("content-type", "application/merge-patch+json"), &change);
}

fn create(config: &Path, path: &str, object: &Value) -> Value {
    send(config, http::Request::post(path).header("content-type", "application/json"), object)
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// An account that may only look is told what it lacks, and the Roles that are printed are enough.
fn rights(config: &Path, place: &Path) {
    let account = json!({ "metadata": { "name": "tester" } });
    create(config, "/api/v1/namespaces/mesh-test/serviceaccounts", &account);
    let token = create(
        config,
        "/api/v1/namespaces/mesh-test/serviceaccounts/tester/token",
        &json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} }),
    );
    let mut document: Value = serde_yaml::from_str(&std::fs::read_to_string(config).unwrap()).unwrap();
    document["users"][0]["user"] = json!({ "token": token["status"]["token"] });
    let limited = place.join("limited");
    std::fs::write(&limited, document.to_string()).unwrap();
    let bind = |namespace: &str, kind: &str, role: &str| {
        let object = json!({ "metadata": { "name": format!("tester-{role}") },
            "subjects": [{ "kind": "ServiceAccount", "name": "tester", "namespace": "mesh-test" }],
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role } });
        let plural = if namespace.is_empty() { "clusterrolebindings" } else { "rolebindings" };
        let place = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
        create(config, &format!("{RBAC}{place}/{plural}"), &object);
    };
    for namespace in ["mesh-test", "istio-system"] {
        bind(namespace, "ClusterRole", "view");
    }
    let permissions = |seen: &Output| {
        let found = states(seen);
        found.into_iter().find(|(about, _, _)| about == "permissions").unwrap_or_else(|| panic!("{}", text(seen)))
    };
    let (_, state, said) = permissions(&doctor(&limited, &["-o", "json"]));
    assert_eq!(state, "lacking", "{said}");
    assert!(said.contains("create pods/exec in mesh-test") && !said.contains("get pods in mesh-test"), "{said}");

    let printed = text(&doctor(&limited, &[]));
    let printed: String = printed.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let (_, rest) = printed.split_once("kubectl apply -f - <<'EOF'\n").unwrap_or_else(|| panic!("{printed}"));
    let (roles, _) = rest.split_once("EOF\n").unwrap();
    let mut namespaces = vec![];
    for role in serde_yaml::Deserializer::from_str(roles) {
        let role = <Value as serde::Deserialize>::deserialize(role).unwrap();
        let namespace = role["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
        let plural = if namespace.is_empty() { "clusterroles".into() } else { format!("namespaces/{namespace}/roles") };
        create(config, &format!("{RBAC}/{plural}"), &role);
        bind(&namespace, role["kind"].as_str().unwrap(), "egress-scn");
        namespaces.push(namespace);
    }
    assert!(namespaces.contains(&"mesh-test".to_string()), "{roles}");
    let (_, state, said) = permissions(&doctor(&limited, &["-o", "json"]));
    assert_eq!(state, "good", "{said}");
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

    rights(&config, place.path());

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

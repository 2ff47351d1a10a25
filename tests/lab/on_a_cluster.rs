//! `--provide` and `--disruptive`: what a run may do on a cluster only when it is told so. The lab stands for the cluster:
//! the tool meets it by its context, as any other.

use crate::clients::{Up, run_on};
use crate::program::{can_run, text};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;

const FILE: &str = "tests/lab/language/needs.egress";

#[test]
fn what_is_required_is_provided_when_told_and_undone() {
    if !can_run("what_is_required_is_provided_when_told_and_undone") {
        return;
    }
    let lab = Up::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ports = || {
        runtime.block_on(async {
            let services: Api<Service> = Api::namespaced(lab.client().await, "istio-system");
            let service = services.get("istio-egressgateway").await.unwrap();
            service.spec.unwrap().ports.unwrap().iter().map(|p| p.port).collect::<Vec<_>>()
        })
    };
    runtime.block_on(async {
        let services: Api<Service> = Api::namespaced(lab.client().await, "istio-system");
        let two = json!({ "spec": { "ports": [
            { "name": "http2", "port": 80, "targetPort": 8080 }, { "name": "https", "port": 443, "targetPort": 8443 },
        ] } });
        services.patch("istio-egressgateway", &PatchParams::default(), &Patch::Merge(two)).await.unwrap();
    });

    // Not told so: each lack fails its scenario, with the way to mend it, and nothing is changed.
    let demanded = run_on(&lab, &["--tag", "needs", FILE]);
    let seen = text(&demanded);
    assert_eq!(demanded.status.code(), Some(1), "{seen}");
    for expected in ["3 failed", "15443", "outbound traffic policy is REGISTRY_ONLY", "site-cert", "--provide"] {
        assert!(seen.contains(expected), "missing {expected:?}\n{seen}");
    }
    assert_eq!(ports(), [80, 443]);

    // Told so: there for as long as the scenario runs, and put back.
    let provided = run_on(&lab, &["--provide", "--tag", "needs", FILE]);
    let seen = text(&provided);
    assert_eq!(provided.status.code(), Some(0), "{seen}");
    assert!(seen.contains("3 passed"), "{seen}");
    assert_eq!(ports(), [80, 443]);
    runtime.block_on(async {
        let client = lab.client().await;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), "mesh-test");
        assert!(secrets.get_opt("site-cert").await.unwrap().is_none());
        let kind = kube::core::GroupVersionKind::gvk("networking.istio.io", "v1", "Sidecar");
        let resource = kube::discovery::ApiResource::from_gvk(&kind);
        let sidecars: Api<DynamicObject> = Api::namespaced_with(client, "mesh-test", &resource);
        assert!(sidecars.list(&Default::default()).await.unwrap().items.is_empty());
    });
}

#[test]
fn what_others_depend_on_is_changed_only_when_told() {
    if !can_run("what_others_depend_on_is_changed_only_when_told") {
        return;
    }
    let lab = Up::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let generation = || {
        runtime.block_on(async {
            let api: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(lab.client().await, "istio-system");
            api.get("istio-egressgateway").await.unwrap().metadata.generation
        })
    };
    let before = generation();
    let refused = run_on(&lab, &["--tag", "shakes", FILE]);
    let seen = text(&refused);
    assert_eq!(refused.status.code(), Some(2), "{seen}");
    assert!(seen.contains("the gateway is everybody's") && seen.contains("--disruptive"), "{seen}");
    assert_eq!(generation(), before, "nothing ran");
    // Without the scenario that is so marked no leave is needed.
    let others = run_on(&lab, &["--scenario", "a port of the gateway", FILE]);
    assert_eq!(others.status.code(), Some(0), "{}", text(&others));

    let told = run_on(&lab, &["--disruptive", "--tag", "shakes", FILE]);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told));
    assert!(generation() > before, "the gateway was restarted");
}

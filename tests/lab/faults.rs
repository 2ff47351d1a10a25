//! Much at once, and parts that fail: nothing is lost and nothing hangs.

use crate::pods::{PATIENCE, Place};
use crate::program::{can_run, program, text};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1 as core;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use std::process::{Command, Output};

/// Objects made, and commands run, at once.
const OBJECTS: usize = 1000;
const COMMANDS: usize = 200;

#[test]
fn much_at_once_and_parts_that_fail_lose_nothing() {
    if !can_run("much_at_once_and_parts_that_fail_lose_nothing") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::start().await;
        a_thousand_objects(&place).await;
        two_hundred_commands(&place).await;
        istiod_ends(&place).await;
        a_port_is_taken(&place).await;
    });
}

/// How many clusters of `*.many.example` the pod's Envoy has.
async fn clusters(place: &Place) -> usize {
    let sleep = place.pod("mesh-test", "sleep").await;
    let script =
        "curl -s localhost:15000/clusters | grep -c '\\.many\\.example::default_priority::max_connections' || true";
    place.sh(&sleep, "istio-proxy", script).await.1.parse().unwrap()
}

async fn a_thousand_objects(place: &Place) {
    let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "ServiceEntry");
    let resource = ApiResource::from_gvk_with_plural(&kind, "serviceentries");
    let entries: Api<DynamicObject> = Api::namespaced_with(place.cluster.client().clone(), "mesh-test", &resource);
    let entry = |number: usize| -> DynamicObject {
        serde_json::from_value(json!({ "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": { "name": format!("many-{number}"), "labels": { "many": "yes" } },
            "spec": { "hosts": [format!("h{number}.many.example")], "resolution": "NONE", "location": "MESH_EXTERNAL",
                "ports": [{ "number": 443, "name": "tls", "protocol": "TLS" }] } }))
        .unwrap()
    };
    let objects: Vec<DynamicObject> = (0..OBJECTS).map(entry).collect();
    let params = PostParams::default();
    let made = futures::stream::iter(&objects).map(|object| entries.create(&params, object));
    let made: Vec<_> = made.buffer_unordered(OBJECTS).collect().await;
    assert_eq!(
        made.iter().filter(|made| made.is_ok()).count(),
        OBJECTS,
        "{:?}",
        made.iter().find(|made| made.is_err())
    );
    place.settle().await;
    let many = ListParams::default().labels("many=yes");
    assert_eq!(entries.list(&many).await.unwrap().items.len(), OBJECTS);
    assert_eq!(clusters(place).await, OBJECTS);
    entries.delete_collection(&DeleteParams::default(), &many).await.unwrap();
    place.settle().await;
    assert_eq!((entries.list(&many).await.unwrap().items.len(), clusters(place).await), (0, 0));
}

async fn two_hundred_commands(place: &Place) {
    let sleep = place.pod("mesh-test", "sleep").await;
    let runs = (0..COMMANDS).map(|number| {
        let (place, sleep) = (&place, &sleep);
        async move { place.sh(sleep, "sleep", &format!("echo said {number}; exit {}", number % 100)).await }
    });
    for (number, (exit, said)) in futures::future::join_all(runs).await.into_iter().enumerate() {
        assert_eq!((usize::try_from(exit).unwrap(), said), (number % 100, format!("said {number}")));
    }
}

/// A new pod of istiod takes over: what is changed then arrives, and the proxies have served all the while.
async fn istiod_ends(place: &Place) {
    let client = place.cluster.client();
    let pods: Api<core::Pod> = Api::namespaced(client.clone(), "istio-system");
    let old = pods.list(&ListParams::default().labels("app=istiod")).await.unwrap().items.remove(0);
    let (name, uid) = (old.metadata.name.unwrap(), old.metadata.uid.unwrap());
    pods.delete(&name, &DeleteParams::default()).await.unwrap();
    tokio::time::timeout(PATIENCE, await_condition(pods.clone(), &name, is_deleted(&uid))).await.unwrap().unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "istio-system");
    let ready = |deployment: Option<&Deployment>| {
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        status.is_some_and(|status| status.available_replicas == Some(1) && status.replicas == Some(1))
    };
    tokio::time::timeout(PATIENCE, await_condition(deployments, "istiod", ready)).await.unwrap().unwrap();
    // Who asks the control plane asks the pod that is there now.
    let after = egress_scn::cluster::Propagation::new(place.cluster.clone());
    let entry = "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: after, namespace: mesh-test},
        spec: {hosts: [example.org], resolution: DNS, location: MESH_EXTERNAL, ports: [{number: 443, name: tls, protocol: TLS}]}}";
    place.put_unsettled(entry).await;
    let settled = after.settle(&[], None, PATIENCE).await;
    assert!(settled.proven && settled.rejections.is_empty(), "{settled:?}");
    let sleep = place.pod("mesh-test", "sleep").await;
    let code = "curl -s -o /dev/null -w '%{http_code}' https://example.org/";
    assert_eq!(place.sh(&sleep, "sleep", code).await, (0, "200".into()));
}

/// Of two containers of a pod that want the same port the second says why it has none.
async fn a_port_is_taken(place: &Place) {
    place
        .put_unsettled(
            "{apiVersion: v1, kind: Pod, metadata: {name: twice, namespace: legacy}, spec: {containers: [
              {name: a, image: hashicorp/http-echo, ports: [{containerPort: 5678}]},
              {name: b, image: hashicorp/http-echo, ports: [{containerPort: 5678}]}]}}",
        )
        .await;
    let failed = |status: &Value| {
        let containers = status["containerStatuses"].as_array();
        containers.into_iter().flatten().any(|c| c["state"]["waiting"]["reason"] == "CrashLoopBackOff")
    };
    let status = place.status("legacy", "twice", failed).await;
    let all = status["containerStatuses"].as_array().unwrap();
    let lost = all.iter().find(|c| c["state"]["waiting"].is_object()).unwrap();
    let pods: Api<core::Pod> = Api::namespaced(place.cluster.client().clone(), "legacy");
    let container = lost["name"].as_str().map(String::from);
    let log = pods.logs("twice", &kube::api::LogParams { container, ..Default::default() }).await.unwrap();
    assert!(log.contains("Address") && log.contains("in use"), "{log}");
    let events: Api<core::Event> = Api::namespaced(place.cluster.client().clone(), "legacy");
    let told = |events: &[core::Event]| events.iter().any(|event| event.reason.as_deref() == Some("BackOff"));
    let of_pod = kube::runtime::watcher::Config::default().fields("involvedObject.name=twice,reason=BackOff");
    let mut seen = kube::runtime::watcher(events, of_pod).boxed();
    let backed_off = async {
        loop {
            use kube::runtime::watcher::Event::{Apply, InitApply};
            if let Some(Ok(Apply(event) | InitApply(event))) = seen.next().await
                && told(&[event])
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, backed_off).await.unwrap();
}

/// `lab up` with its folder on a disk of that size, in namespaces of its own.
fn up_on_a_disk_of(kilobytes: usize) -> Output {
    let place = crate::life::place();
    let lab = env!("CARGO_BIN_EXE_egress-scn");
    let script = format!(
        "mount -t tmpfs -o size={kilobytes}k tmpfs {0} && XDG_RUNTIME_DIR={0} exec {lab} lab up --wait 15",
        place.path().display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "--user", "sh", "-c", &script]);
    command.envs(program().get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(std::process::Stdio::null()).output().unwrap()
}

#[test]
fn a_full_disk_is_named() {
    if !can_run("a_full_disk_is_named") {
        return;
    }
    // Too small for the lab's own files; for its Envoys' configuration.
    for kilobytes in [8, 32] {
        let output = up_on_a_disk_of(kilobytes);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(3), "{kilobytes} KiB: {said}");
        assert!(said.contains("No space left on device"), "{kilobytes} KiB: {said}");
    }
}

//! The controllers beside the server and a node that makes every pod ready at once.

use crate::lab::{Lab, start};
use egress_scn::lab::controllers;
use egress_scn::lab::events::Recorder;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::runtime::{WatchStreamExt, watcher::Event};
use serde_json::{Value, json};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long anything here may take; only a fault comes near it.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Running {
    pub lab: Lab,
    /// Ends with the test.
    _tasks: JoinSet<()>,
}

pub fn running() -> Running {
    let lab = start();
    let mut tasks = JoinSet::new();
    tasks.spawn(controllers::run(controllers::Config {
        client: lab.client.clone(),
        // Other writers' namespaces end while it writes.
        events: Recorder::start(lab.client.clone(), "kubelet", "lab", Arc::new(|_: &str| {})),
        node: "lab".into(),
        api_root_pem: lab.ca.clone(),
        mesh_root_pem: Some("mesh".into()),
        kubelet_port: None,
        log: Arc::new(|line: &str| panic!("{line}")),
    }));
    tasks.spawn(node(lab.client.clone()));
    Running { lab, _tasks: tasks }
}

/// Makes each pod on the node run, and ends those being deleted. Pods labelled `never=ready` stay unready.
async fn node(client: kube::Client) {
    let mut next = 10;
    let mut events = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default().fields("spec.nodeName=lab"))
        .applied_objects()
        .boxed();
    while let Ok(Some(pod)) = events.try_next().await {
        let api: Api<Pod> = Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap());
        let name = pod.metadata.name.clone().unwrap();
        if pod.metadata.deletion_timestamp.is_some() {
            let _ = api.delete(&name, &DeleteParams::default().grace_period(0)).await;
        } else if pod.status.as_ref().and_then(|s| s.pod_ip.as_ref()).is_none() {
            next += 1;
            let ready = pod.metadata.labels.as_ref().is_none_or(|l| !l.contains_key("never"));
            let status = |c: &str| {
                json!({ "name": c, "ready": ready, "started": true, "restartCount": 0, "image": "i",
                "imageID": "", "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } } })
            };
            let spec = pod.spec.as_ref().unwrap();
            let statuses: Vec<Value> = spec.containers.iter().map(|c| status(&c.name)).collect();
            let inits: Vec<Value> = spec
                .init_containers
                .iter()
                .flatten()
                .map(|c| match c.restart_policy.as_deref() {
                    Some("Always") => status(&c.name),
                    _ => json!({ "name": c.name, "ready": true, "restartCount": 0, "image": "i", "imageID": "",
                        "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } }),
                })
                .collect();
            let patch = json!({ "status": { "phase": "Running", "podIP": format!("10.244.0.{next}"),
                "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
                "containerStatuses": statuses, "initContainerStatuses": inits } });
            let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        }
    }
}

/// Waits, by watch, until an object of a kind fits.
async fn until<K>(api: Api<K>, what: &str, fits: impl Fn(&K) -> bool) -> K
where
    K: Resource + Clone + serde::de::DeserializeOwned + Debug + Send + 'static,
{
    let mut events = watcher(api, watcher::Config::default()).boxed();
    let search = async {
        while let Some(event) = events.try_next().await.unwrap() {
            if let Event::Apply(object) | Event::InitApply(object) = event
                && fits(&object)
            {
                return object;
            }
        }
        panic!("the watch ended before {what}");
    };
    tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Waits until no object of a kind is left.
async fn until_none<K>(api: Api<K>, what: &str)
where
    K: Resource + Clone + serde::de::DeserializeOwned + Debug + Send + 'static,
{
    let mut events = watcher(api.clone(), watcher::Config::default()).boxed();
    let search = async {
        while events.try_next().await.unwrap().is_some() {
            if api.list(&ListParams::default()).await.unwrap().items.is_empty() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("never gone: {what}"));
}

async fn namespace(lab: &Lab, name: &str, labels: Value) {
    let namespaces: Api<Namespace> = Api::all(lab.client.clone());
    let body = json!({ "metadata": { "name": name, "labels": labels } });
    namespaces.create(&PostParams::default(), &serde_json::from_value(body).unwrap()).await.unwrap();
}

fn sleep(replicas: i32) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "sleep" },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": "sleep" } },
            "template": { "metadata": { "labels": { "app": "sleep" } },
                "spec": { "containers": [{ "name": "sleep", "image": "curlimages/curl",
                    "ports": [{ "name": "web", "containerPort": 8080 }] }] } } } })
}

fn is_done(d: &Deployment, replicas: i32) -> bool {
    let Some(status) = &d.status else { return false };
    status.observed_generation == d.metadata.generation
        && status.available_replicas.unwrap_or(0) == replicas
        && status.replicas.unwrap_or(0) == replicas
        && status.updated_replicas.unwrap_or(0) == replicas
}

async fn apply(api: &Api<Deployment>, body: Value) {
    api.patch("sleep", &PatchParams::apply("test").force(), &Patch::Apply(body)).await.unwrap();
}

fn names(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(|p| p.metadata.name.clone().unwrap()).collect()
}

#[tokio::test]
async fn a_deployment_grows_rolls_over_shrinks_and_goes() {
    let running = running();
    let client = &running.lab.client;
    namespace(&running.lab, "mesh-test", json!({ "istio-injection": "enabled" })).await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "mesh-test");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "mesh-test");
    apply(&deployments, sleep(1)).await;
    until(deployments.clone(), "one pod available", |d| is_done(d, 1)).await;
    let all = pods.list(&ListParams::default()).await.unwrap().items;
    let name = names(&all)[0].clone();
    let parts: Vec<&str> = name.split('-').collect();
    assert_eq!((parts.len(), parts[0], parts[2].len()), (3, "sleep", 5), "{name}");
    let pod = json!(all[0]);
    assert_eq!(pod["metadata"]["labels"]["pod-template-hash"], parts[1]);
    assert_eq!(pod["metadata"]["labels"]["security.istio.io/tlsMode"], "istio");
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet");
    assert_eq!(pod["spec"]["nodeName"], "lab");
    assert_eq!(pod["spec"]["initContainers"][1]["name"], "istio-proxy");

    apply(&deployments, sleep(3)).await;
    until(deployments.clone(), "three pods", |d| is_done(d, 3)).await;
    let mut changed = sleep(3);
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("curlimages/curl:8");
    apply(&deployments, changed).await;
    until(deployments.clone(), "three new pods", |d| is_done(d, 3)).await;
    let after = pods.list(&ListParams::default()).await.unwrap().items;
    let living: Vec<Pod> = after.into_iter().filter(|p| p.metadata.deletion_timestamp.is_none()).collect();
    assert!(living.iter().all(|p| json!(p)["spec"]["containers"][0]["image"] == "curlimages/curl:8"));
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), "mesh-test");
    assert_eq!(sets.list(&ListParams::default()).await.unwrap().items.len(), 2, "the old set is kept for history");

    deployments.delete("sleep", &DeleteParams::default()).await.unwrap();
    until_none(pods, "the pods").await;
    assert!(sets.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_lost_pod_is_replaced() {
    let running = running();
    let client = &running.lab.client;
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    apply(&deployments, sleep(1)).await;
    until(deployments.clone(), "one pod available", |d| is_done(d, 1)).await;
    let first = names(&pods.list(&ListParams::default()).await.unwrap().items)[0].clone();
    pods.delete(&first, &DeleteParams::default()).await.unwrap();
    let other = until(pods, "another pod", |p| {
        p.metadata.name.as_deref() != Some(&first) && p.status.as_ref().is_some_and(|s| s.pod_ip.is_some())
    });
    other.await;
}

#[tokio::test]
async fn a_namespace_gets_its_account_and_roots_back() {
    let running = running();
    let client = &running.lab.client;
    namespace(&running.lab, "other", json!({})).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "other");
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "other");
    until(accounts, "the default account", |a| a.metadata.name.as_deref() == Some("default")).await;
    let is_root = |m: &ConfigMap| m.metadata.name.as_deref() == Some("istio-ca-root-cert");
    let first = until(maps.clone(), "the mesh's root", is_root).await;
    assert_eq!(json!(first.data), json!({ "root-cert.pem": "mesh" }));
    maps.delete("istio-ca-root-cert", &DeleteParams::default()).await.unwrap();
    until(maps, "the mesh's root again", |m| is_root(m) && m.metadata.uid != first.metadata.uid).await;
    // An ending namespace is not filled again.
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.delete("other", &DeleteParams::default()).await.unwrap();
    assert!(namespaces.get_opt("other").await.unwrap().is_none());
}

#[tokio::test]
async fn endpoints_follow_ready_pods() {
    let running = running();
    let client = &running.lab.client;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    let service = json!({ "metadata": { "name": "sleep", "labels": { "team": "a" } }, "spec": { "selector": { "app": "sleep" },
        "ports": [{ "name": "http", "port": 80, "targetPort": "web" }] } });
    services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    apply(&deployments, sleep(2)).await;
    let ready = |slice: &EndpointSlice| {
        let ends = slice.endpoints.iter();
        ends.filter(|e| e.conditions.as_ref().is_some_and(|c| c.ready == Some(true))).count()
    };
    let slice = until(slices.clone(), "two endpoints", |s| ready(s) == 2).await;
    let value = json!(slice);
    assert!(value["metadata"]["name"].as_str().unwrap().starts_with("sleep-"));
    assert_eq!(value["metadata"]["labels"]["kubernetes.io/service-name"], "sleep");
    assert_eq!(value["metadata"]["labels"]["team"], "a");
    assert_eq!(value["ports"], json!([{ "name": "http", "port": 8080, "protocol": "TCP" }]));
    assert_eq!(value["endpoints"][0]["targetRef"]["kind"], "Pod");
    apply(&deployments, sleep(1)).await;
    until(slices.clone(), "one endpoint", |s| ready(s) == 1 && s.endpoints.len() == 1).await;
    services.delete("sleep", &DeleteParams::default()).await.unwrap();
    assert!(slices.list(&ListParams::default()).await.unwrap().items.is_empty(), "slices go with their Service");
}

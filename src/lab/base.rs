//! What a lab starts with: the objects of `manifests/base/`, built into the binary.

use super::authority::Authority;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DynamicObject, LogParams, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{ApiResource, Scope};
use kube::runtime::watcher;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Namespaces first; then the order does not matter.
const MANIFESTS: &[&str] = &[
    include_str!("../../manifests/base/namespaces.yaml"),
    include_str!("../../manifests/base/mesh-config.yaml"),
    include_str!("../../manifests/base/istiod.yaml"),
    include_str!("../../manifests/base/egressgateway.yaml"),
    include_str!("../../manifests/base/sleep.yaml"),
    include_str!("../../manifests/base/legacy.yaml"),
    include_str!("../../manifests/base/other.yaml"),
];

/// What comes to them when connections from outside are wanted.
const INGRESS: &[&str] = &[include_str!("../../manifests/base/ingressgateway.yaml"), include_str!("outside.yaml")];

const FIELD_MANAGER: &str = "egress-scn-lab";

/// The common name of the outside's authority, whose certificate and key stand in the Secret `kube-system/outside-ca`.
pub const OUTSIDE_CA: &str = "outside CA";

/// Applies the base objects; with `ingress` an ingress gateway and an outside client too, and `more`.
pub async fn apply(
    client: &kube::Client,
    outside_ca: &Authority,
    ingress: bool,
    more: Vec<Value>,
) -> Result<(), String> {
    let mut objects = vec![secret_of(outside_ca).map_err(|error| format!("the outside authority's Secret: {error}"))?];
    for object in more {
        objects.push(serde_json::from_value(object).map_err(|error| format!("base objects: {error}"))?);
    }
    for manifest in MANIFESTS.iter().chain(INGRESS.iter().filter(|_| ingress)) {
        for document in serde_yaml::Deserializer::from_str(manifest) {
            objects.push(DynamicObject::deserialize(document).map_err(|error| format!("base manifests: {error}"))?);
        }
    }
    let (namespaces, others): (Vec<_>, Vec<_>) = objects.into_iter().partition(|object| kind(object) == "Namespace");
    for group in [namespaces, others] {
        futures::future::try_join_all(group.iter().map(|object| apply_one(client, object))).await?;
    }
    Ok(())
}

/// Whoever needs a certificate that the outside trusts, for an ingress gateway say, signs it with this.
fn secret_of(outside_ca: &Authority) -> Result<DynamicObject, serde_json::Error> {
    serde_json::from_value(json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"namespace": "kube-system", "name": "outside-ca"},
        "stringData": {"tls.crt": outside_ca.root_pem(), "tls.key": outside_ca.key_pem()}}))
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| types.kind.as_str())
}

async fn apply_one(client: &kube::Client, object: &DynamicObject) -> Result<(), String> {
    let Some(TypeMeta { api_version, kind }) = object.types.clone() else {
        return Err("base object without a kind".into());
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let (resource, scope) = resource(&GroupVersionKind::gvk(group, version, &kind));
    let api: Api<DynamicObject> = match (&object.metadata.namespace, scope) {
        (Some(namespace), Scope::Namespaced) => Api::namespaced_with(client.clone(), namespace, &resource),
        _ => Api::all_with(client.clone(), &resource),
    };
    let name = object.metadata.name.clone().unwrap_or_default();
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(&name, &params, &Patch::Apply(object))
        .await
        .map_err(|error| format!("applying {kind} {name}: {error}"))?;
    Ok(())
}

fn resource(gvk: &GroupVersionKind) -> (ApiResource, Scope) {
    let scope = if gvk.kind == "Namespace" { Scope::Cluster } else { Scope::Namespaced };
    (ApiResource::from_gvk(gvk), scope)
}

/// Waits until every Deployment has its replicas, by watch.
///
/// # Errors
/// The reason when a pod cannot start, or when nothing happens for `patience`; with the state of each pod that is not
/// ready and the last that its containers said.
pub async fn wait_ready(client: &kube::Client, patience: Duration) -> Result<(), String> {
    let config = || watcher::Config::default().disable_bookmarks();
    let deployments = watcher(Api::<Deployment>::all(client.clone()), config()).map(|e| e.map(Seen::Deployment));
    let pods = watcher(Api::<Pod>::all(client.clone()), config()).map(|e| e.map(Seen::Pod));
    let mut events = futures::stream::select(deployments.boxed(), pods.boxed());
    let mut waiting: HashMap<String, bool> = HashMap::new();
    let mut pods: BTreeMap<String, Pod> = BTreeMap::new();
    let mut listed = false;
    loop {
        // Each change of a pod starts the patience anew: a slow machine is not a broken one.
        let event = match tokio::time::timeout(patience, events.next()).await {
            Ok(Some(event)) => event.map_err(|error| format!("watching Deployments and pods: {error}"))?,
            Ok(None) => return Err("the API ended while pods were starting".into()),
            Err(_) => {
                let what = format!("pods are not ready, and nothing has changed for {} s", patience.as_secs());
                return Err(what + &standing(client, pods.values()).await);
            }
        };
        match event {
            Seen::Deployment(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                waiting.insert(key(&object.metadata), !is_available(&object));
            }
            Seen::Deployment(watcher::Event::InitDone) => listed = true,
            Seen::Pod(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                if let Some(reason) = cannot_start(&pod) {
                    let what = format!("pod {} cannot start: {reason}", key(&pod.metadata));
                    return Err(what + &standing(client, [&pod]).await);
                }
                pods.insert(key(&pod.metadata), pod);
            }
            Seen::Pod(watcher::Event::Delete(pod)) => drop(pods.remove(&key(&pod.metadata))),
            _ => {}
        }
        if listed && !waiting.values().any(|waiting| *waiting) {
            return Ok(());
        }
    }
}

// One lives a moment at a time: its size does not matter.
#[allow(clippy::large_enum_variant)]
enum Seen {
    Deployment(watcher::Event<Deployment>),
    Pod(watcher::Event<Pod>),
}

fn key(metadata: &ObjectMeta) -> String {
    format!("{}.{}", metadata.name.as_deref().unwrap_or_default(), metadata.namespace.as_deref().unwrap_or_default())
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|s| s.init_container_statuses.iter().flatten().chain(s.container_statuses.iter().flatten()))
}

/// Why a pod of a lab's own never will be ready: such a reason mends itself on a cluster, perhaps, but not here.
fn cannot_start(pod: &Pod) -> Option<String> {
    const FOR_GOOD: [&str; 4] = ["ErrImagePull", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"];
    containers(pod).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().filter(|reason| FOR_GOOD.contains(reason))?;
        Some(format!("container {}: {reason}: {}", container.name, waiting.message.as_deref().unwrap_or_default()))
    })
}

/// How many lines of a container's log an error shows.
const LAST_LINES: i64 = 8;

/// How the pods that are not ready stand: a line for each container that is not, and the last it said.
async fn standing(client: &kube::Client, pods: impl IntoIterator<Item = &Pod>) -> String {
    let mut text = String::new();
    for pod in pods {
        let settled = |c: &&ContainerStatus| c.ready || c.state.as_ref().is_some_and(|s| s.terminated.is_some());
        let known: Vec<_> = containers(pod).collect();
        let mut unready: Vec<(String, String)> =
            known.iter().filter(|c| !settled(c)).map(|c| (c.name.clone(), state(c))).collect();
        if known.is_empty() {
            // The node tells of a pod when all of it stands, or something of it cannot.
            let spec = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
            unready = spec.map(|c| (c.name.clone(), "starting".to_string())).collect();
        }
        if unready.is_empty() {
            continue;
        }
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
        text += &format!("\n  pod {}: {phase}", key(&pod.metadata));
        let api: Api<Pod> = Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
        for (container, state) in unready {
            text += &format!("\n    container {container}: {state}");
            let params = LogParams { container: Some(container), tail_lines: Some(LAST_LINES), ..LogParams::default() };
            let log = api.logs(pod.metadata.name.as_deref().unwrap_or_default(), &params).await.unwrap_or_default();
            log.lines().for_each(|line| text += &format!("\n      {line}"));
        }
    }
    text
}

fn state(container: &ContainerStatus) -> String {
    let state = container.state.clone().unwrap_or_default();
    match (state.waiting, state.running) {
        (Some(waiting), _) => {
            format!("{} {}", waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())
        }
        (_, Some(_)) => "started, but not ready".to_string(),
        _ => "no state yet".to_string(),
    }
}

fn is_available(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation) >= deployment.metadata.generation;
    observed && status.and_then(|status| status.available_replicas).unwrap_or(0) >= wanted
}

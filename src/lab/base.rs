//! What a lab starts with: the objects of `manifests/base/`, built into the binary.

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{ApiResource, Scope};
use kube::runtime::watcher;
use serde::Deserialize;
use std::collections::HashMap;

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

const FIELD_MANAGER: &str = "egress-scn-lab";

/// Applies the base objects.
pub async fn apply(client: &kube::Client) -> Result<(), String> {
    let mut objects = vec![];
    for manifest in MANIFESTS {
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

/// Waits until every Deployment has its replicas, by watch. Ends with the reason when a pod cannot start.
pub async fn wait_ready(client: &kube::Client) -> Result<(), String> {
    let mut events = watcher(Api::<Deployment>::all(client.clone()), watcher::Config::default()).boxed();
    let mut waiting: HashMap<String, bool> = HashMap::new();
    let mut listed = false;
    while let Some(event) = events.next().await {
        match event.map_err(|error| format!("watching Deployments: {error}"))? {
            watcher::Event::Apply(deployment) | watcher::Event::InitApply(deployment) => {
                let ready = is_available(&deployment);
                waiting.insert(
                    deployment.metadata.name.unwrap_or_default()
                        + "."
                        + &deployment.metadata.namespace.unwrap_or_default(),
                    !ready,
                );
            }
            watcher::Event::InitDone => listed = true,
            watcher::Event::Delete(_) | watcher::Event::Init => {}
        }
        if listed && !waiting.values().any(|waiting| *waiting) {
            return Ok(());
        }
    }
    Err("the API ended while pods were starting".into())
}

fn is_available(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation) >= deployment.metadata.generation;
    observed && status.and_then(|status| status.available_replicas).unwrap_or(0) >= wanted
}

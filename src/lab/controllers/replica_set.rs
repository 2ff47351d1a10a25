//! ReplicaSet → Pods.

use super::mirror::{Mirror, Name, controller, events, name_of};
use super::reconcile::{self, Reconciler};
use super::{Config, MANAGER, is_overtaken};
use futures::StreamExt;
use futures::stream::select;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::watcher::{Config as Watch, Event};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

enum News {
    Set(Event<ReplicaSet>),
    Pod(Event<Pod>),
    Trouble(String),
}

/// Who tells.
const COMPONENT: &str = "replicaset-controller";

struct Controller {
    config: Config,
    sets: Mirror<ReplicaSet>,
    pods: Mirror<Pod>,
}

pub async fn run(config: Config) {
    let client = config.client.clone();
    let trouble = |error: kube::runtime::watcher::Error| News::Trouble(error.to_string());
    let sets = events(Api::<ReplicaSet>::all(client.clone()), Watch::default())
        .map(move |e| e.map_or_else(trouble, News::Set))
        .boxed();
    let pods =
        events(Api::<Pod>::all(client), Watch::default()).map(move |e| e.map_or_else(trouble, News::Pod)).boxed();
    let this = Controller { config, sets: Mirror::default(), pods: Mirror::default() };
    reconcile::run(this, select(sets, pods)).await;
}

impl Reconciler for Controller {
    type News = News;

    fn see(&mut self, event: News, todo: &mut BTreeSet<Name>) {
        match event {
            News::Set(event) => todo.extend(self.sets.see(event).iter().map(|s| name_of(s.as_ref()))),
            News::Pod(event) => {
                for pod in self.pods.see(event) {
                    let owner = controller(pod.as_ref()).filter(|o| o.kind == "ReplicaSet");
                    todo.extend(owner.map(|o| (name_of(pod.as_ref()).0, o.name.clone())));
                }
            }
            News::Trouble(error) => self.config.complain("watching ReplicaSets", &error),
        }
    }

    /// False if pods could not be made: to be tried again.
    async fn reconcile(&mut self, name: &Name) -> bool {
        let Some(set) = self.sets.get(name).filter(|s| s.metadata.deletion_timestamp.is_none()) else { return true };
        let uid = set.metadata.uid.clone().unwrap_or_default();
        let pods: Vec<Arc<Pod>> = self.pods.controlled(&name.0, &uid).filter(|p| is_active(p)).cloned().collect();
        let wanted = usize::try_from(set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)).unwrap_or(0);
        let mut failure = None;
        if pods.len() < wanted {
            failure = self.create(name, &set, wanted - pods.len()).await;
        } else if pods.len() > wanted {
            self.delete(name, &set, &pods, pods.len() - wanted).await;
        }
        let made = failure.is_none();
        self.write_status(name, &set, &uid, failure).await;
        made
    }
}

impl Controller {
    async fn create(&mut self, name: &Name, set: &ReplicaSet, count: usize) -> Option<String> {
        let api: Api<Pod> = Api::namespaced(self.config.client.clone(), &name.0);
        let pod = pod_of(set)?;
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let made = futures::future::join_all((0..count).map(|_| api.create(&params, &pod))).await;
        let mut failure = None;
        let events = self.config.events.of(COMPONENT);
        for result in made {
            match result {
                Ok(pod) => {
                    events.normal(set, "SuccessfulCreate", format!("Created pod: {}", name_of(&pod).1));
                    self.pods.learn(pod);
                }
                Err(error) if is_overtaken(&error) => {}
                Err(kube::Error::Api(refusal)) if refusal.code == 403 => failure = Some(refusal.message),
                Err(error) => {
                    self.config.complain(&format!("creating a pod of {}/{}", name.0, name.1), &error);
                    failure = Some(error.to_string());
                }
            }
        }
        if let Some(why) = &failure {
            events.warning(set, "FailedCreate", format!("Error creating: {why}"));
        }
        failure
    }

    async fn delete(&mut self, name: &Name, set: &ReplicaSet, pods: &[Arc<Pod>], count: usize) {
        let api: Api<Pod> = Api::namespaced(self.config.client.clone(), &name.0);
        let mut order: Vec<&Arc<Pod>> = pods.iter().collect();
        // Those that are not ready go first, then the youngest.
        order.sort_by_key(|p| (is_ready(p), std::cmp::Reverse(p.metadata.creation_timestamp.as_ref().map(|t| t.0))));
        let chosen: Vec<(Name, Option<String>)> =
            order.into_iter().take(count).map(|p| (name_of(p.as_ref()), p.metadata.uid.clone())).collect();
        let deletions = chosen.iter().map(|(pod, uid)| {
            let only_this = Preconditions { uid: uid.clone(), resource_version: None };
            let params = DeleteParams { preconditions: Some(only_this), ..DeleteParams::background() };
            let api = &api;
            async move { api.delete(&pod.1, &params).await }
        });
        let done = futures::future::join_all(deletions).await;
        let events = self.config.events.of(COMPONENT);
        for ((pod, _), result) in chosen.iter().zip(done) {
            match result {
                Ok(either) => {
                    events.normal(set, "SuccessfulDelete", format!("Deleted pod: {}", pod.1));
                    match either.left() {
                        Some(ending) if ending.metadata.deletion_timestamp.is_some() => {
                            self.pods.learn(ending);
                        }
                        _ => self.pods.forget(pod),
                    }
                }
                Err(error) if is_overtaken(&error) => self.pods.forget(pod),
                Err(error) => self.config.complain(&format!("deleting pod {}/{}", pod.0, pod.1), &error),
            }
        }
    }

    async fn write_status(&mut self, name: &Name, set: &ReplicaSet, uid: &str, failure: Option<String>) {
        let pods: Vec<&Arc<Pod>> = self.pods.controlled(&name.0, uid).filter(|p| is_active(p)).collect();
        let ready = pods.iter().filter(|p| is_ready(p)).count();
        let old = json!(set.status);
        let mut status = json!({
            "replicas": pods.len(),
            "fullyLabeledReplicas": pods.len(),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": set.metadata.generation,
            "conditions": Value::Null,
        });
        if let Some(message) = failure {
            let before = old["conditions"][0].clone();
            let same = before["message"] == json!(message);
            let since = if same { before["lastTransitionTime"].clone() } else { json!(now()) };
            status["conditions"] = json!([{ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                "message": message, "lastTransitionTime": since }]);
        }
        if unchanged(&old, &status) {
            return;
        }
        let api: Api<ReplicaSet> = Api::namespaced(self.config.client.clone(), &name.0);
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        match api.patch_status(&name.1, &params, &Patch::Merge(json!({ "status": status }))).await {
            Ok(set) => {
                self.sets.learn(set);
            }
            Err(error) if is_overtaken(&error) => {}
            Err(error) => self.config.complain(&format!("status of ReplicaSet {}/{}", name.0, name.1), &error),
        }
    }
}

pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Whether a status patch would change nothing; zero, null and absent are the same.
pub fn unchanged(old: &Value, patch: &Value) -> bool {
    let plain = |v: &Value| if v.is_null() || *v == json!(0) || *v == json!([]) { Value::Null } else { v.clone() };
    patch.as_object().into_iter().flatten().all(|(key, value)| plain(&old[key]) == plain(value))
}

/// A pod that counts: neither ending nor over.
pub fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// A pod of the set's template.
fn pod_of(set: &ReplicaSet) -> Option<Pod> {
    let spec = set.spec.as_ref()?;
    let template = spec.template.clone()?;
    let name = set.metadata.name.as_deref()?;
    let mut pod = Pod { metadata: template.metadata.unwrap_or_default(), spec: template.spec, status: None };
    pod.metadata.name = None;
    pod.metadata.namespace = set.metadata.namespace.clone();
    pod.metadata.generate_name = Some(format!("{name}-"));
    let owner = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": set.metadata.uid,
        "controller": true, "blockOwnerDeletion": true });
    pod.metadata.owner_references = Some(vec![serde_json::from_value(owner).ok()?]);
    Some(pod)
}

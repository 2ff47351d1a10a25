//! Deployment → ReplicaSets: one for each template, rolled over as the strategy says.

use super::mirror::{Mirror, Name, controller, events, name_of};
use super::reconcile::{self, Reconciler};
use super::replica_set::{now, unchanged};
use super::{Config, MANAGER, is_overtaken};
use futures::StreamExt;
use futures::stream::select;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{Config as Watch, Event};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";

enum News {
    Deployment(Event<Deployment>),
    Set(Event<ReplicaSet>),
    Trouble(String),
}

struct Controller {
    config: Config,
    deployments: Mirror<Deployment>,
    sets: Mirror<ReplicaSet>,
}

pub async fn run(config: Config) {
    let client = config.client.clone();
    let trouble = |error: kube::runtime::watcher::Error| News::Trouble(error.to_string());
    let deployments = events(Api::<Deployment>::all(client.clone()), Watch::default())
        .map(move |e| e.map_or_else(trouble, News::Deployment))
        .boxed();
    let sets = events(Api::<ReplicaSet>::all(client), Watch::default())
        .map(move |e| e.map_or_else(trouble, News::Set))
        .boxed();
    let this = Controller { config, deployments: Mirror::default(), sets: Mirror::default() };
    reconcile::run(this, select(deployments, sets)).await;
}

impl Reconciler for Controller {
    type News = News;

    fn see(&mut self, event: News, todo: &mut BTreeSet<Name>) {
        match event {
            News::Deployment(event) => todo.extend(self.deployments.see(event).iter().map(|d| name_of(d.as_ref()))),
            News::Set(event) => {
                for set in self.sets.see(event) {
                    let owner = controller(set.as_ref()).filter(|o| o.kind == "Deployment");
                    todo.extend(owner.map(|o| (name_of(set.as_ref()).0, o.name.clone())));
                }
            }
            News::Trouble(error) => self.config.complain("watching Deployments", &error),
        }
    }

    async fn reconcile(&mut self, name: &Name) -> bool {
        self.make_so(name).await;
        true
    }
}

impl Controller {
    async fn make_so(&mut self, name: &Name) {
        let Some(deployment) = self.deployments.get(name).filter(|d| d.metadata.deletion_timestamp.is_none()) else {
            return;
        };
        let uid = deployment.metadata.uid.clone().unwrap_or_default();
        let Some(hash) = template_hash(&deployment) else { return };
        let own = |this: &Controller| -> Vec<Arc<ReplicaSet>> {
            this.sets.controlled(&name.0, &uid).filter(|s| s.metadata.deletion_timestamp.is_none()).cloned().collect()
        };
        let sets = own(self);
        let paused = deployment.spec.as_ref().and_then(|s| s.paused) == Some(true);
        if !sets.iter().any(|s| hash_of(s) == Some(&hash)) && !paused {
            let revision = sets.iter().map(|s| revision(s)).max().unwrap_or(0) + 1;
            self.create(name, &deployment, &hash, &sets, revision).await;
        }
        for (set, replicas) in plan(&deployment, &hash, &own(self)) {
            self.scale(&deployment, &set, replicas).await;
        }
        let sets = own(self);
        self.forget_old(&deployment, &hash, &sets).await;
        self.write_status(name, &deployment, &hash, &sets).await;
    }

    async fn create(&mut self, name: &Name, d: &Deployment, hash: &str, sets: &[Arc<ReplicaSet>], revision: i64) {
        let Some(spec) = &d.spec else { return };
        let total: i32 = sets.iter().map(|s| replicas(s)).sum();
        let wanted = spec.replicas.unwrap_or(1);
        let room = if is_recreate(d) && sets.iter().any(|s| created(s) > 0) { 0 } else { wanted + surge(d) - total };
        let first = wanted.min(room.max(0));
        let mut template = json!(spec.template);
        template["metadata"]["labels"][HASH] = json!(hash);
        let mut selector = json!(spec.selector);
        selector["matchLabels"][HASH] = json!(hash);
        let set = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", name.1),
                "namespace": name.0,
                "labels": template["metadata"]["labels"],
                "annotations": { REVISION: revision.to_string(),
                    "deployment.kubernetes.io/desired-replicas": wanted.to_string(),
                    "deployment.kubernetes.io/max-replicas": (wanted + surge(d)).to_string() },
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": name.1, "uid": d.metadata.uid,
                    "controller": true, "blockOwnerDeletion": true }],
            },
            "spec": { "replicas": first, "selector": selector, "template": template },
        });
        let Ok(set) = serde_json::from_value::<ReplicaSet>(set) else { return };
        let api: Api<ReplicaSet> = Api::namespaced(self.config.client.clone(), &name.0);
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        match api.create(&params, &set).await {
            Ok(set) => {
                if first > 0 {
                    self.tell(d, &name_of(&set).1, 0, first);
                }
                self.sets.learn(set);
                let note = json!({ "metadata": { "annotations": { REVISION: revision.to_string() } } });
                let api: Api<Deployment> = Api::namespaced(self.config.client.clone(), &name.0);
                let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
                match api.patch(&name.1, &params, &Patch::Merge(note)).await {
                    Ok(deployment) => {
                        self.deployments.learn(deployment);
                    }
                    Err(error) if is_overtaken(&error) => {}
                    Err(error) => {
                        self.config.complain(&format!("revision of Deployment {}/{}", name.0, name.1), &error)
                    }
                }
            }
            Err(error) if is_overtaken(&error) => {}
            // The namespace is ending.
            Err(kube::Error::Api(refusal)) if refusal.code == 403 => {}
            Err(error) => self.config.complain(&format!("creating a ReplicaSet of {}/{}", name.0, name.1), &error),
        }
    }

    fn tell(&self, d: &Deployment, set: &str, before: i32, after: i32) {
        let way = if after > before { "up" } else { "down" };
        let message = format!("Scaled {way} replica set {set} from {before} to {after}");
        self.config.events.of("deployment-controller").normal(d, "ScalingReplicaSet", message);
    }

    async fn scale(&mut self, d: &Deployment, set: &ReplicaSet, count: i32) {
        let name = name_of(set);
        let api: Api<ReplicaSet> = Api::namespaced(self.config.client.clone(), &name.0);
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        match api.patch(&name.1, &params, &Patch::Merge(json!({ "spec": { "replicas": count } }))).await {
            Ok(scaled) => {
                self.tell(d, &name.1, replicas(set), count);
                self.sets.learn(scaled);
            }
            Err(error) if is_overtaken(&error) => {}
            Err(error) => self.config.complain(&format!("scaling ReplicaSet {}/{}", name.0, name.1), &error),
        }
    }

    /// Deletes the oldest empty sets beyond the history limit.
    async fn forget_old(&mut self, d: &Deployment, hash: &str, sets: &[Arc<ReplicaSet>]) {
        let limit = d.spec.as_ref().and_then(|s| s.revision_history_limit).unwrap_or(10);
        let mut old: Vec<&Arc<ReplicaSet>> =
            sets.iter().filter(|s| hash_of(s) != Some(hash) && replicas(s) == 0 && created(s) == 0).collect();
        old.sort_by_key(|s| revision(s));
        let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        for set in old.into_iter().take(surplus) {
            let name = name_of(set.as_ref());
            let api: Api<ReplicaSet> = Api::namespaced(self.config.client.clone(), &name.0);
            match api.delete(&name.1, &DeleteParams::background()).await {
                Ok(_) => self.sets.forget(&name),
                Err(error) if is_overtaken(&error) => self.sets.forget(&name),
                Err(error) => self.config.complain(&format!("deleting ReplicaSet {}/{}", name.0, name.1), &error),
            }
        }
    }

    async fn write_status(&mut self, name: &Name, d: &Deployment, hash: &str, sets: &[Arc<ReplicaSet>]) {
        let status = status(d, hash, sets);
        if unchanged(&json!(d.status), &status) {
            return;
        }
        let api: Api<Deployment> = Api::namespaced(self.config.client.clone(), &name.0);
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        match api.patch_status(&name.1, &params, &Patch::Merge(json!({ "status": status }))).await {
            Ok(deployment) => {
                self.deployments.learn(deployment);
            }
            Err(error) if is_overtaken(&error) => {}
            Err(error) => self.config.complain(&format!("status of Deployment {}/{}", name.0, name.1), &error),
        }
    }
}

/// Which sets to scale to what, now.
fn plan(d: &Deployment, hash: &str, sets: &[Arc<ReplicaSet>]) -> Vec<(Arc<ReplicaSet>, i32)> {
    let wanted = d.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    let Some(new) = sets.iter().find(|s| hash_of(s) == Some(hash)) else { return Vec::new() };
    let mut old: Vec<&Arc<ReplicaSet>> =
        sets.iter().filter(|s| hash_of(s) != Some(hash) && (replicas(s) > 0 || created(s) > 0)).collect();
    old.sort_by_key(|s| revision(s));
    let mut steps = Vec::new();
    let mut step = |set: &Arc<ReplicaSet>, count: i32| {
        if replicas(set) != count {
            steps.push((set.clone(), count));
        }
    };
    if old.is_empty() {
        step(new, wanted);
        return steps;
    }
    if is_recreate(d) {
        for set in &old {
            step(set, 0);
        }
        if old.iter().all(|s| created(s) == 0) {
            step(new, wanted);
        }
        return steps;
    }
    let total: i32 = sets.iter().map(|s| replicas(s)).sum();
    let room = (wanted + surge(d) - total).max(0);
    let grown = if replicas(new) > wanted { wanted } else { wanted.min(replicas(new) + room) };
    step(new, grown);
    // The old ones shrink by what is available above the minimum; pods that are not ready go freely.
    let minimum = wanted - unavailable(d);
    let mut spare =
        available(new).min(grown) + old.iter().map(|s| available(s).min(replicas(s))).sum::<i32>() - minimum;
    for set in old {
        let ready = available(set).min(replicas(set));
        let less = spare.clamp(0, ready);
        spare -= less;
        step(set, ready - less);
    }
    steps
}

fn status(d: &Deployment, hash: &str, sets: &[Arc<ReplicaSet>]) -> Value {
    let wanted = d.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    let new = sets.iter().find(|s| hash_of(s) == Some(hash));
    let total: i32 = sets.iter().map(|s| created(s)).sum();
    let ready: i32 = sets.iter().map(|s| s.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0)).sum();
    let usable: i32 = sets.iter().map(|s| available(s)).sum();
    let updated = new.map_or(0, |s| created(s));
    let old = json!(d.status);
    let condition = |kind: &str, holds: bool, reason: &str, message: String| {
        let list = old["conditions"].as_array().cloned().unwrap_or_default();
        let before = list.iter().find(|c| c["type"] == json!(kind)).cloned().unwrap_or(Value::Null);
        let text = if holds { "True" } else { "False" };
        let same = before["status"] == json!(text);
        let equal = same && before["reason"] == json!(reason) && before["message"] == json!(message);
        let keep = |kept: bool, field: &str| if kept { before[field].clone() } else { json!(now()) };
        json!({ "type": kind, "status": text, "reason": reason, "message": message,
            "lastUpdateTime": keep(equal, "lastUpdateTime"), "lastTransitionTime": keep(same, "lastTransitionTime") })
    };
    let enough = usable >= wanted - unavailable(d);
    let complete = updated == wanted && total == wanted && usable >= wanted;
    let set_name = new.and_then(|s| s.metadata.name.clone()).unwrap_or_default();
    let available_condition = if enough {
        condition("Available", true, "MinimumReplicasAvailable", "Deployment has minimum availability.".into())
    } else {
        let message = "Deployment does not have minimum availability.".into();
        condition("Available", false, "MinimumReplicasUnavailable", message)
    };
    let progressing = if complete {
        let message = format!("ReplicaSet \"{set_name}\" has successfully progressed.");
        condition("Progressing", true, "NewReplicaSetAvailable", message)
    } else {
        condition("Progressing", true, "ReplicaSetUpdated", format!("ReplicaSet \"{set_name}\" is progressing."))
    };
    // As in Go's `omitempty`.
    let count = |n: i32| if n == 0 { Value::Null } else { json!(n) };
    json!({
        "observedGeneration": d.metadata.generation,
        "replicas": count(total),
        "updatedReplicas": count(updated),
        "readyReplicas": count(ready),
        "availableReplicas": count(usable),
        "unavailableReplicas": count((wanted.max(total) - usable).max(0)),
        "conditions": [available_condition, progressing],
    })
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

/// Pods that exist.
fn created(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |s| s.replicas)
}

fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0)
}

fn hash_of(set: &ReplicaSet) -> Option<&str> {
    set.metadata.labels.as_ref()?.get(HASH).map(String::as_str)
}

fn revision(set: &ReplicaSet) -> i64 {
    set.metadata.annotations.as_ref().and_then(|a| a.get(REVISION)).and_then(|r| r.parse().ok()).unwrap_or(0)
}

fn is_recreate(d: &Deployment) -> bool {
    let strategy = d.spec.as_ref().and_then(|s| s.strategy.as_ref());
    strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate")
}

/// How many pods above the wanted number there may be; percentages are rounded up.
fn surge(d: &Deployment) -> i32 {
    bound(d, |r| r.max_surge.as_ref(), true)
}

/// How many of the wanted pods may be missing; percentages are rounded down. Both bounds at zero would
/// stop everything, so then one may be missing.
fn unavailable(d: &Deployment) -> i32 {
    if is_recreate(d) {
        return 0;
    }
    let count = bound(d, |r| r.max_unavailable.as_ref(), false);
    if count == 0 && surge(d) == 0 { 1 } else { count }
}

fn bound(
    d: &Deployment,
    field: impl Fn(&k8s_openapi::api::apps::v1::RollingUpdateDeployment) -> Option<&IntOrString>,
    up: bool,
) -> i32 {
    let wanted = d.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    let rolling = d.spec.as_ref().and_then(|s| s.strategy.as_ref()).and_then(|s| s.rolling_update.as_ref());
    if is_recreate(d) {
        return 0;
    }
    let percent = |p: i32| if up { (wanted * p + 99) / 100 } else { wanted * p / 100 };
    match rolling.and_then(field) {
        Some(IntOrString::Int(n)) => (*n).max(0),
        Some(IntOrString::String(text)) => percent(text.trim_end_matches('%').parse().unwrap_or(25).clamp(0, 100)),
        None => percent(25),
    }
}

/// A name for the template: the same for equal templates, in the alphabet of generated names.
fn template_hash(d: &Deployment) -> Option<String> {
    let text = serde_json::to_string(&d.spec.as_ref()?.template).ok()?;
    // FNV-1a, 32 bits, as in a cluster; the text hashed is not the same there, so neither are the names.
    let hash = text.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    Some(hash.to_string().bytes().map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(replicas: i32) -> Deployment {
        serde_json::from_value(json!({ "metadata": { "name": "d" }, "spec": { "replicas": replicas, "selector": {},
            "template": {}, "strategy": { "type": "RollingUpdate",
                "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } } } }))
        .unwrap()
    }

    fn set(hash: &str, revision: i32, replicas: i32, available: i32) -> Arc<ReplicaSet> {
        Arc::new(
            serde_json::from_value(json!({ "metadata": { "name": hash, "labels": { HASH: hash },
                "annotations": { REVISION: revision.to_string() } }, "spec": { "replicas": replicas, "selector": {} },
                "status": { "replicas": replicas, "readyReplicas": available, "availableReplicas": available } }))
            .unwrap(),
        )
    }

    fn steps(d: &Deployment, sets: &[Arc<ReplicaSet>]) -> Vec<(String, i32)> {
        plan(d, "new", sets).into_iter().map(|(s, n)| (s.metadata.name.clone().unwrap(), n)).collect()
    }

    #[test]
    fn a_roll_over_never_falls_below_the_minimum() {
        let d = deployment(4);
        assert_eq!((surge(&d), unavailable(&d)), (1, 1));
        // One more may exist and one may be missing.
        let sets = [set("new", 2, 0, 0), set("old", 1, 4, 4)];
        assert_eq!(steps(&d, &sets), [("new".into(), 1), ("old".into(), 3)]);
        let sets = [set("new", 2, 2, 0), set("old", 1, 3, 3)];
        assert!(steps(&d, &sets).is_empty(), "the new pods are not ready yet");
        let sets = [set("new", 2, 2, 2), set("old", 1, 3, 3)];
        assert_eq!(steps(&d, &sets), [("old".into(), 1)]);
    }

    #[test]
    fn one_replica_is_replaced_after_its_successor_is_ready() {
        let d = deployment(1);
        assert_eq!((surge(&d), unavailable(&d)), (1, 0));
        assert_eq!(steps(&d, &[set("new", 2, 0, 0), set("old", 1, 1, 1)]), [("new".into(), 1)]);
        assert_eq!(steps(&d, &[set("new", 2, 1, 1), set("old", 1, 1, 1)]), [("old".into(), 0)]);
    }
}

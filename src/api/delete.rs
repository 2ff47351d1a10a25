//! Deleting objects: preconditions, grace, finalizers, owner garbage collection and the end of a
//! namespace. What a cluster's garbage collector and namespace controller do later happens here at
//! once, inside the write.

use super::context::{Context, Operation, Review};
use super::crd;
use super::failure::Failure;
use super::object;
use super::request::{Query, Target};
use super::store::{Key, State};
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    #[default]
    Background,
    Foreground,
    Orphan,
}

/// `DeleteOptions`, from the body and the query.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    pub dry_run: bool,
    pub propagation: Propagation,
    pub grace_period: Option<i64>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    pub fn parse(body: Option<&Value>, query: &Query) -> Result<DeleteOptions, Failure> {
        let body = body.unwrap_or(&Value::Null);
        let from_body = object::text(body, &["propagationPolicy"]);
        let propagation = match query.get("propagationPolicy").unwrap_or(from_body) {
            "" | "Background" => Propagation::Background,
            "Foreground" => Propagation::Foreground,
            "Orphan" => Propagation::Orphan,
            other => return Err(Failure::bad_request(format!("invalid propagationPolicy: {other}"))),
        };
        let grace = match query.number("gracePeriodSeconds")? {
            Some(seconds) => i64::try_from(seconds).ok(),
            None => object::number(body, &["gracePeriodSeconds"]),
        };
        let given = |path: &[&str]| Some(object::text(body, path).to_string()).filter(|s| !s.is_empty());
        let dry_run = query.get("dryRun") == Some("All") || object::list(body, &["dryRun"]).contains(&json!("All"));
        Ok(DeleteOptions {
            dry_run,
            propagation,
            grace_period: grace,
            uid: given(&["preconditions", "uid"]),
            resource_version: given(&["preconditions", "resourceVersion"]),
        })
    }
}

/// The outcome of a delete: the object while it still ends, or its last state when it is gone.
pub struct Deleted {
    pub object: Arc<Value>,
    pub gone: bool,
}

/// DELETE of one object.
pub fn delete(ctx: &Context, target: &Target, options: &DeleteOptions) -> Result<Deleted, Failure> {
    let mut state = ctx.store.lock();
    let live = super::write::live(&state, target)?;
    let key = Key {
        resource: target.resource.id.clone(),
        namespace: target.namespace.clone().unwrap_or_default(),
        name: object::name(&live).to_string(),
    };
    delete_key(ctx, &mut state, &key, options)
}

/// Deletes the object at `key`.
pub fn delete_key(ctx: &Context, state: &mut State, key: &Key, options: &DeleteOptions) -> Result<Deleted, Failure> {
    let Some(resource) = ctx.registry().by_id(&key.resource) else { return Err(Failure::no_such_resource()) };
    let Some(live) = state.find(key) else { return Err(resource.not_found(&key.name)) };
    if let Some(uid) = options.uid.as_deref().filter(|u| *u != object::uid(&live)) {
        let live_uid = object::uid(&live);
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {live_uid}");
        return Err(Failure::conflict(&resource.group, &resource.plural, &key.name, &why));
    }
    let revision = object::text(&live, &["metadata", "resourceVersion"]);
    if let Some(wanted) = options.resource_version.as_deref().filter(|r| *r != revision) {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {revision}"
        );
        return Err(Failure::conflict(&resource.group, &resource.plural, &key.name, &why));
    }
    let review = Review {
        operation: Operation::Delete,
        resource: &resource,
        version: resource.storage_version(),
        namespace: &key.namespace,
        namespace_object: None,
        old: Some(&live),
        dry_run: options.dry_run,
    };
    let mut copy = (*live).clone();
    for admission in &ctx.admission {
        admission.admit(&review, &mut copy)?;
    }
    if options.dry_run {
        return Ok(Deleted { object: live, gone: true });
    }
    if &*key.resource == "namespaces" {
        return Ok(delete_namespace(ctx, state, key, &live));
    }
    let has_dependents = !state.dependents(object::uid(&live)).is_empty();
    let mut finalizers: Vec<Value> = object::list(&live, &["metadata", "finalizers"]).to_vec();
    if options.propagation == Propagation::Foreground && has_dependents {
        finalizers.push(json!("foregroundDeletion"));
    }
    if options.propagation == Propagation::Orphan {
        orphan_dependents(state, object::uid(&live));
    }
    let grace = grace_seconds(&key.resource, &live, options);
    if finalizers.is_empty() && grace == 0 {
        let last = purge(ctx, state, key);
        return Ok(Deleted { object: last.unwrap_or(live), gone: true });
    }
    let mut ending = (*live).clone();
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(grace);
    let metadata = object::metadata(&mut ending);
    if metadata.get("deletionTimestamp").is_none() {
        metadata.insert("deletionTimestamp".into(), json!(until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()));
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".into(), json!(generation + 1));
        }
    }
    metadata.insert("deletionGracePeriodSeconds".into(), json!(grace));
    if !finalizers.is_empty() {
        finalizers.dedup();
        metadata.insert("finalizers".into(), Value::Array(finalizers));
    }
    let stored = if ending == *live { live } else { state.put(key, ending) };
    if options.propagation == Propagation::Foreground {
        for dependent in state.dependents(object::uid(&stored)) {
            let _ = delete_key(
                ctx,
                state,
                &dependent,
                &DeleteOptions { propagation: options.propagation, ..DeleteOptions::default() },
            );
        }
        finish_foreground(ctx, state, object::uid(&stored));
    }
    let object = state.find(key).unwrap_or(stored);
    Ok(Deleted { gone: state.find(key).is_none(), object })
}

/// Only a pod that runs on a node ends with grace: its node agent finishes the deletion.
fn grace_seconds(resource: &str, live: &Value, options: &DeleteOptions) -> i64 {
    let unscheduled = object::text(live, &["spec", "nodeName"]).is_empty();
    let over = ["Succeeded", "Failed"].contains(&object::text(live, &["status", "phase"]));
    if resource != "pods" || unscheduled || over {
        return 0;
    }
    let own = object::number(live, &["spec", "terminationGracePeriodSeconds"]).unwrap_or(30);
    options.grace_period.unwrap_or(own).max(0)
}

/// Removes an object for good, and with it what only it owned.
fn purge(ctx: &Context, state: &mut State, key: &Key) -> Option<Arc<Value>> {
    let last = state.remove(key)?;
    if &*key.resource == "customresourcedefinitions.apiextensions.k8s.io" {
        crd::removed(ctx, state, &last);
    }
    let uid = object::uid(&last).to_string();
    for dependent in state.dependents(&uid) {
        release(ctx, state, &dependent, &uid);
    }
    for owner in object::list(&last, &["metadata", "ownerReferences"]) {
        finish_foreground(ctx, state, object::text(owner, &["uid"]));
    }
    if !key.namespace.is_empty() {
        finish_namespace(ctx, state, &key.namespace);
    }
    Some(last)
}

/// An owner of `key` is gone: the object goes too, unless another owner still lives.
fn release(ctx: &Context, state: &mut State, key: &Key, gone: &str) {
    let Some(live) = state.find(key) else { return };
    let others: Vec<Value> = object::list(&live, &["metadata", "ownerReferences"])
        .iter()
        .filter(|r| object::text(r, &["uid"]) != gone)
        .cloned()
        .collect();
    if others.iter().any(|r| state.by_uid(object::text(r, &["uid"])).is_some()) {
        let mut copy = (*live).clone();
        object::metadata(&mut copy).insert("ownerReferences".into(), Value::Array(others));
        state.put(key, copy);
        return;
    }
    let _ = delete_key(ctx, state, key, &DeleteOptions::default());
}

fn orphan_dependents(state: &mut State, uid: &str) {
    for key in state.dependents(uid) {
        let Some(live) = state.find(&key) else { continue };
        let mut copy = (*live).clone();
        let metadata = object::metadata(&mut copy);
        if let Some(Value::Array(list)) = metadata.get_mut("ownerReferences") {
            list.retain(|r| object::text(r, &["uid"]) != uid);
            if list.is_empty() {
                metadata.shift_remove("ownerReferences");
            }
        }
        state.put(&key, copy);
    }
}

/// A new object all of whose owners are already gone is collected at once.
pub fn collect_if_orphan(ctx: &Context, state: &mut State, key: &Key, object: &Value) {
    let owners = object::list(object, &["metadata", "ownerReferences"]);
    if !owners.is_empty() && owners.iter().all(|o| state.by_uid(object::text(o, &["uid"])).is_none()) {
        let _ = delete_key(ctx, state, key, &DeleteOptions::default());
    }
}

/// After an update: an ending object without finalizers and grace is removed.
pub fn finish_if_ready(ctx: &Context, state: &mut State, key: &Key, object: &Value) {
    if !object::is_terminating(object) || !object::list(object, &["metadata", "finalizers"]).is_empty() {
        return;
    }
    if &*key.resource == "namespaces" {
        finish_namespace(ctx, state, &key.name);
    } else if object::number(object, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0) == 0 {
        purge(ctx, state, key);
    }
}

/// An owner that waits for its dependents goes when the last of them is gone.
fn finish_foreground(ctx: &Context, state: &mut State, uid: &str) {
    let Some(key) = state.by_uid(uid).cloned() else { return };
    let Some(owner) = state.find(&key).filter(|o| object::is_terminating(o)) else { return };
    let waiting = json!("foregroundDeletion");
    if !object::list(&owner, &["metadata", "finalizers"]).contains(&waiting) || !state.dependents(uid).is_empty() {
        return;
    }
    let mut copy = (*owner).clone();
    let metadata = object::metadata(&mut copy);
    if let Some(Value::Array(list)) = metadata.get_mut("finalizers") {
        list.retain(|f| *f != waiting);
        if list.is_empty() {
            metadata.shift_remove("finalizers");
        }
    }
    let stored = state.put(&key, copy);
    finish_if_ready(ctx, state, &key, &stored);
}

fn delete_namespace(ctx: &Context, state: &mut State, key: &Key, live: &Arc<Value>) -> Deleted {
    if !object::is_terminating(live) {
        let mut ending = (**live).clone();
        object::metadata(&mut ending).insert("deletionTimestamp".into(), json!(object::now()));
        ending["status"] = json!({ "phase": "Terminating" });
        state.put(key, ending);
        for inside in state.keys_in(&key.name) {
            // Owners take their dependents along, so some are gone by now.
            let _ = delete_key(ctx, state, &inside, &DeleteOptions::default());
        }
    }
    finish_namespace(ctx, state, &key.name);
    let object = state.find(key);
    Deleted { gone: object.is_none(), object: object.unwrap_or_else(|| live.clone()) }
}

/// Removes an ending namespace when it is empty and nothing else holds it.
fn finish_namespace(ctx: &Context, state: &mut State, name: &str) {
    let key = Key { resource: "namespaces".into(), namespace: String::new(), name: name.into() };
    let Some(namespace) = state.find(&key).filter(|n| object::is_terminating(n)) else { return };
    let held = !object::list(&namespace, &["metadata", "finalizers"]).is_empty()
        || object::list(&namespace, &["spec", "finalizers"]).iter().any(|f| f != "kubernetes");
    if !held && state.keys_in(name).is_empty() {
        purge(ctx, state, &key);
    }
}

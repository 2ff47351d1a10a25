//! Creating and updating objects: one pipeline for POST, PUT, every patch and every seed.

use super::context::{Context, Operation, Review};
use super::crd;
use super::defaults;
use super::delete;
use super::failure::{Cause, Failure};
use super::managed::{self, Writer};
use super::object;
use super::request::{Query, Target};
use super::resource::Resource;
use super::store::{Key, State};
use super::structural;
use super::validate;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The parameters of a write that come from the query.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub manager: String,
    /// `Strict`, `Warn` or `Ignore`.
    pub validation: String,
    pub force: bool,
}

impl WriteOptions {
    pub fn parse(query: &Query, user_agent: &str) -> Result<WriteOptions, Failure> {
        let dry_run = match query.get("dryRun") {
            None => false,
            Some("All") => true,
            Some(other) => {
                let cause = Cause::unsupported("dryRun", &json!(other), &["All"]);
                return Err(Failure::invalid("meta.k8s.io", "CreateOptions", "", &[cause]));
            }
        };
        // Without a fieldManager the user agent's first word is the manager, as in a cluster.
        let fallback = user_agent.split('/').next().unwrap_or("");
        let manager = query.get("fieldManager").unwrap_or(if fallback.is_empty() { "unknown" } else { fallback });
        let validation = query.get("fieldValidation").unwrap_or("Warn");
        if !["Strict", "Warn", "Ignore"].contains(&validation) {
            let cause = Cause::unsupported("fieldValidation", &json!(validation), &["Ignore", "Strict", "Warn"]);
            return Err(Failure::invalid("meta.k8s.io", "CreateOptions", "", &[cause]));
        }
        let (manager, validation) = (manager.to_string(), validation.to_string());
        Ok(WriteOptions { dry_run, manager, validation, force: query.flag("force") })
    }

    pub fn writer(&self, target: &Target) -> Writer {
        Writer {
            manager: self.manager.clone(),
            api_version: target.resource.api_version(&target.version),
            subresource: target.subresource().to_string(),
        }
    }
}

/// The outcome of a write.
#[derive(Debug, Clone)]
pub struct Written {
    pub object: Arc<Value>,
    pub warnings: Vec<String>,
    pub created: bool,
}

/// Creates an object (POST, and applies and seeds of absent ones).
pub fn create(ctx: &Context, target: &Target, options: &WriteOptions, body: Value) -> Result<Written, Failure> {
    let mut state = ctx.store.lock();
    create_locked(ctx, &mut state, target, options, body, true)
}

/// Creates an object. `record` says whether the field manager is recorded as an update (an apply
/// has written its own record).
pub fn create_locked(
    ctx: &Context,
    state: &mut State,
    target: &Target,
    options: &WriteOptions,
    mut body: Value,
    record: bool,
) -> Result<Written, Failure> {
    let resource = &target.resource;
    check_type(target, &mut body)?;
    let mut warnings = strict(ctx, target, options, &mut body)?;
    let namespace = namespace_of(target, &mut body)?;
    let generated = generate_name(&mut body);
    let name = object::name(&body).to_string();
    if let Some(wanted) = &target.name
        && *wanted != name
    {
        let what = format!("the name of the object ({name}) does not match the name on the URL ({wanted})");
        return Err(Failure::bad_request(what));
    }
    if name.is_empty() {
        let cause = Cause::required("metadata.name", "name or generateName is required");
        return Err(Failure::invalid(&resource.group, &resource.kind, "", &[cause]));
    }
    let namespace_object = existing_namespace(state, resource, &namespace, &name)?;
    let key = Key { resource: resource.id.clone(), namespace: namespace.clone(), name: name.clone() };
    if state.find(&key).is_some() {
        if generated {
            // A clash of generated names: one of 14 million, so the next try ends it.
            object::metadata(&mut body).insert("name".into(), json!(format!("{name}{}", object::random_suffix())));
            return create_locked(ctx, state, target, options, body, record);
        }
        return Err(Failure::already_exists(&resource.group, &resource.plural, &name));
    }
    if !object::text(&body, &["metadata", "resourceVersion"]).is_empty() {
        return Err(Failure::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let metadata = object::metadata(&mut body);
    for field in ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        metadata.shift_remove(field);
    }
    if record {
        metadata.shift_remove("managedFields");
    }
    metadata.insert("uid".into(), json!(object::new_uid()));
    metadata.insert("creationTimestamp".into(), json!(object::now()));
    if resource.has_generation() {
        metadata.insert("generation".into(), json!(1));
    }
    if resource.has("status")
        && let Some(map) = body.as_object_mut()
        && resource.kind != "Node"
    {
        map.shift_remove("status");
    }
    defaults::apply(state, resource, None, &mut body)?;
    warnings.extend(admit(ctx, target, &namespace, namespace_object.as_deref(), None, &mut body, options)?);
    defaults::apply(state, resource, None, &mut body)?;
    let causes = refused(target, None, &body);
    if !causes.is_empty() {
        return Err(Failure::invalid(&resource.group, &resource.kind, &name, &causes));
    }
    if record {
        let ty = ctx.schema.kind(&resource.group, &target.version, &resource.kind);
        managed::record_update(ctx.schema, &ty, None, &mut body, &options.writer(target));
    }
    store_version(resource, &mut body);
    if options.dry_run {
        return Ok(Written { object: Arc::new(body), warnings, created: true });
    }
    let stored = state.put(&key, body);
    if resource.kind == "CustomResourceDefinition" {
        crd::changed(ctx, state, &stored);
    }
    delete::collect_if_orphan(ctx, state, &key, &stored);
    Ok(Written { object: stored, warnings, created: true })
}

/// Replaces `live` by `new` (PUT and patches). `record` as in [`create_locked`].
#[allow(clippy::too_many_arguments)]
pub fn update_locked(
    ctx: &Context,
    state: &mut State,
    target: &Target,
    options: &WriteOptions,
    live: &Arc<Value>,
    mut new: Value,
    record: bool,
) -> Result<Written, Failure> {
    let resource = &target.resource;
    let name = object::name(live).to_string();
    check_type(target, &mut new)?;
    let mut warnings = strict(ctx, target, options, &mut new)?;
    let namespace = namespace_of(target, &mut new)?;
    if object::name(&new) != name {
        let given = object::name(&new);
        let what = format!("the name of the object ({given}) does not match the name on the URL ({name})");
        return Err(Failure::bad_request(what));
    }
    let (given_uid, live_uid) = (object::uid(&new), object::uid(live));
    if !given_uid.is_empty() && given_uid != live_uid {
        let why = format!("Precondition failed: UID in precondition: {given_uid}, UID in object meta: {live_uid}");
        return Err(Failure::conflict(&resource.group, &resource.plural, &name, &why));
    }
    let given_revision = object::text(&new, &["metadata", "resourceVersion"]);
    if !given_revision.is_empty() && given_revision != object::text(live, &["metadata", "resourceVersion"]) {
        return Err(Failure::modified(&resource.group, &resource.plural, &name));
    }
    keep_server_fields(live, &mut new);
    if target.subresource() == "status" {
        new = status_only(resource, live, new);
    } else if resource.has("status") && target.subresource.is_none() {
        carry(live, &mut new, "status");
    }
    let key = Key { resource: resource.id.clone(), namespace: namespace.clone(), name: name.clone() };
    defaults::apply(state, resource, Some(live), &mut new)?;
    if target.subresource() != "status" {
        let namespace_object = state.get("namespaces", "", &namespace);
        warnings.extend(admit(ctx, target, &namespace, namespace_object.as_deref(), Some(live), &mut new, options)?);
    }
    let causes = refused(target, Some(live), &new);
    if !causes.is_empty() {
        return Err(Failure::invalid(&resource.group, &resource.kind, &name, &causes));
    }
    // A Deployment's annotations count too: `apps/deployment.Strategy.PrepareForUpdate`.
    let annotations = |o: &Value| object::at(o, &["metadata", "annotations"]).clone();
    let annotated = resource.kind == "Deployment" && !resource.is_custom() && annotations(live) != annotations(&new);
    if resource.has_generation() && (annotated || specification_changed(live, &new)) {
        let next = object::number(live, &["metadata", "generation"]).unwrap_or(0) + 1;
        object::metadata(&mut new).insert("generation".into(), json!(next));
    }
    let ty = ctx.schema.kind(&resource.group, &target.version, &resource.kind);
    if record {
        managed::record_update(ctx.schema, &ty, Some(live), &mut new, &options.writer(target));
    }
    store_version(resource, &mut new);
    object::metadata(&mut new)
        .insert("resourceVersion".into(), object::at(live, &["metadata", "resourceVersion"]).clone());
    if new == **live {
        return Ok(Written { object: live.clone(), warnings, created: false });
    }
    if options.dry_run {
        return Ok(Written { object: Arc::new(new), warnings, created: false });
    }
    let stored = state.put(&key, new);
    if resource.kind == "CustomResourceDefinition" {
        crd::changed(ctx, state, &stored);
    }
    delete::finish_if_ready(ctx, state, &key, &stored);
    Ok(Written { object: stored, warnings, created: false })
}

/// A PUT: the object must exist, or is created for the kinds that allow it (leases do).
pub fn replace(ctx: &Context, target: &Target, options: &WriteOptions, body: Value) -> Result<Written, Failure> {
    let mut state = ctx.store.lock();
    let live = live(&state, target)?;
    let missing = object::text(&body, &["metadata", "resourceVersion"]).is_empty();
    if target.resource.is_custom() && missing {
        let cause = Cause {
            field: "metadata.resourceVersion".into(),
            reason: "FieldValueInvalid",
            message: "Invalid value: 0x0: must be specified for an update".into(),
        };
        return Err(Failure::invalid(&target.resource.group, &target.resource.plural, object::name(&body), &[cause]));
    }
    update_locked(ctx, &mut state, target, options, &live, body, true)
}

/// The object a target names.
pub fn live(state: &State, target: &Target) -> Result<Arc<Value>, Failure> {
    let name = target.name.as_deref().unwrap_or("");
    let namespace = target.namespace.as_deref().unwrap_or("");
    state.get(&target.resource.id, namespace, name).ok_or_else(|| target.resource.not_found(name))
}

/// apiVersion and kind must be those of the path; absent ones are filled in.
fn check_type(target: &Target, body: &mut Value) -> Result<(), Failure> {
    let resource = &target.resource;
    let wanted = resource.api_version(&target.version);
    let kind = object::text(body, &["kind"]).to_string();
    let version = object::text(body, &["apiVersion"]).to_string();
    if !kind.is_empty() && kind != resource.kind {
        let what = format!("the kind in the data ({kind}) does not match the expected kind ({})", resource.kind);
        return Err(Failure::bad_request(what));
    }
    // A stored object under patch carries the storage version.
    let stored = resource.api_version(resource.storage_version());
    if !version.is_empty() && version != wanted && version != stored {
        let what =
            format!("the API version in the data ({version}) does not match the expected API version ({wanted})");
        return Err(Failure::bad_request(what));
    }
    if let Some(map) = body.as_object_mut() {
        map.insert("apiVersion".into(), json!(wanted));
        map.insert("kind".into(), json!(resource.kind));
    }
    Ok(())
}

/// Sets the stored apiVersion and puts the fields in the usual order.
fn store_version(resource: &Resource, body: &mut Value) {
    let Some(map) = body.as_object_mut() else { return };
    let mut ordered = Map::new();
    ordered.insert("apiVersion".into(), json!(resource.api_version(resource.storage_version())));
    ordered.insert("kind".into(), json!(resource.kind));
    for key in ["metadata", "spec", "data"] {
        if let Some(value) = map.shift_remove(key) {
            ordered.insert(key.into(), value);
        }
    }
    let status = map.shift_remove("status");
    for (key, value) in std::mem::take(map) {
        ordered.entry(key).or_insert(value);
    }
    if let Some(status) = status {
        ordered.insert("status".into(), status);
    }
    *map = ordered;
}

/// Holds a body against its kind's fields: wrong types and, if the client wants it strict, unknown fields are
/// refused. A custom resource's unknown fields go, its defaults come.
fn strict(ctx: &Context, target: &Target, options: &WriteOptions, body: &mut Value) -> Result<Vec<String>, Failure> {
    let resource = &target.resource;
    let ty = ctx.schema.kind(&resource.group, &target.version, &resource.kind);
    let found = validate::types(ctx.schema, &ty, body);
    if let Some(wrong) = found.wrong.first() {
        let what = format!(
            "{} in version \"{}\" cannot be handled as a {}: {wrong}",
            resource.kind, target.version, resource.kind
        );
        return Err(Failure::bad_request(what));
    }
    let mut unknown: Vec<String> = found.unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    if let Some(schema) = resource.schemas.of(&target.version) {
        let pruned = structural::prune(schema, body);
        structural::fill(schema, body);
        unknown.extend(pruned.iter().map(|path| format!("unknown field \"{path}\"")));
    }
    match options.validation.as_str() {
        "Strict" if !unknown.is_empty() => {
            let what = format!(
                "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                resource.kind,
                target.version,
                resource.kind,
                unknown.join(", ")
            );
            Err(Failure::bad_request(what))
        }
        "Ignore" => Ok(Vec::new()),
        _ => Ok(unknown),
    }
}

/// What the kind's own rules and, of a custom resource, its schema refuse.
fn refused(target: &Target, live: Option<&Value>, new: &Value) -> Vec<Cause> {
    let mut causes = validate::object(&target.resource, live, new);
    let schemas = &target.resource.schemas;
    if let Some(schema) = schemas.of(&target.version).filter(|_| schemas.checked) {
        causes.extend(structural::check(schema, new));
    }
    causes
}

fn namespace_of(target: &Target, body: &mut Value) -> Result<String, Failure> {
    let given = object::namespace(body).to_string();
    if !target.resource.namespaced {
        if !given.is_empty() {
            object::metadata(body).shift_remove("namespace");
        }
        return Ok(String::new());
    }
    let wanted =
        target.namespace.clone().unwrap_or_else(|| if given.is_empty() { "default".into() } else { given.clone() });
    if !given.is_empty() && given != wanted {
        return Err(Failure::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    object::metadata(body).insert("namespace".into(), json!(wanted));
    Ok(wanted)
}

fn generate_name(body: &mut Value) -> bool {
    let prefix = object::text(body, &["metadata", "generateName"]).to_string();
    if prefix.is_empty() || !object::name(body).is_empty() {
        return false;
    }
    let kept: String = prefix.chars().take(58).collect();
    object::metadata(body).insert("name".into(), json!(format!("{kept}{}", object::random_suffix())));
    true
}

/// The namespace object a new object goes into: it must exist and must not be ending.
fn existing_namespace(
    state: &State,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<Option<Arc<Value>>, Failure> {
    if !resource.namespaced {
        return Ok(None);
    }
    let Some(found) = state.get("namespaces", "", namespace) else {
        return Err(Failure::not_found("", "namespaces", namespace));
    };
    if object::is_terminating(&found) {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut failure = Failure::forbidden(&resource.group, &resource.plural, name, &why);
        let message = format!("namespace {namespace} is being terminated");
        failure.details["causes"] =
            json!([{ "reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace" }]);
        return Err(failure);
    }
    Ok(Some(found))
}

fn admit(
    ctx: &Context,
    target: &Target,
    namespace: &str,
    namespace_object: Option<&Value>,
    old: Option<&Value>,
    object: &mut Value,
    options: &WriteOptions,
) -> Result<Vec<String>, Failure> {
    let operation = if old.is_some() { Operation::Update } else { Operation::Create };
    let review = Review {
        operation,
        resource: &target.resource,
        version: &target.version,
        namespace,
        namespace_object,
        old,
        dry_run: options.dry_run,
    };
    let mut warnings = Vec::new();
    for admission in &ctx.admission {
        warnings.extend(admission.admit(&review, object)?);
    }
    Ok(warnings)
}

/// What only the server sets stays as it was.
fn keep_server_fields(live: &Value, new: &mut Value) {
    let old = object::at(live, &["metadata"]);
    let metadata = object::metadata(new);
    for field in
        ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName"]
    {
        match old.get(field) {
            Some(value) => metadata.insert(field.into(), value.clone()),
            None => metadata.shift_remove(field),
        };
    }
    metadata.shift_remove("selfLink");
}

/// A write to `status`: everything else stays (built-in kinds take metadata too, except what matters).
fn status_only(resource: &Resource, live: &Value, new: Value) -> Value {
    let mut result = live.clone();
    let Some(map) = result.as_object_mut() else { return new };
    match new.get("status") {
        Some(status) => map.insert("status".into(), status.clone()),
        None => map.shift_remove("status"),
    };
    let managed = object::at(&new, &["metadata", "managedFields"]).clone();
    if !managed.is_null() {
        object::metadata(&mut result).insert("managedFields".into(), managed);
    }
    if resource.kind == "Pod" || resource.kind == "Node" {
        // Node agents annotate pods and nodes through this door too.
        for field in ["annotations", "labels"] {
            if let Some(value) = new.get("metadata").and_then(|m| m.get(field)) {
                object::metadata(&mut result).insert(field.into(), value.clone());
            }
        }
    }
    result
}

fn carry(live: &Value, new: &mut Value, field: &str) {
    let Some(map) = new.as_object_mut() else { return };
    match live.get(field) {
        Some(value) => map.insert(field.into(), value.clone()),
        None => map.shift_remove(field),
    };
}

/// Whether anything besides metadata and status differs.
fn specification_changed(live: &Value, new: &Value) -> bool {
    let relevant = |key: &&String| !["metadata", "status", "apiVersion", "kind"].contains(&key.as_str());
    let (Some(a), Some(b)) = (live.as_object(), new.as_object()) else { return true };
    a.keys().chain(b.keys()).filter(relevant).any(|key| a.get(key) != b.get(key))
}

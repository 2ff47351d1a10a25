//! PATCH: JSON patch, merge patch, strategic merge patch and server-side apply, on objects, their
//! status and their scale.

use super::context::Context;
use super::failure::Failure;
use super::managed;
use super::merge::{json_merge, strategic_merge};
use super::object;
use super::request::{Request, Target, decode};
use super::scale;
use super::store::State;
use super::write::{self, WriteOptions, Written};
use serde_json::{Value, json};
use std::sync::Arc;

/// What a JSON patch may hold at most.
const MAX_OPERATIONS: usize = 10_000;

pub fn patch(ctx: &Context, target: &Target, options: &WriteOptions, request: &Request) -> Result<Written, Failure> {
    let kind = request.media_type().to_string();
    if kind == "application/apply-patch+yaml" {
        return apply(ctx, target, options, decode(&request.body)?);
    }
    let custom = target.resource.is_custom() && target.subresource() != "scale";
    let known =
        ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];
    if !known.contains(&kind.as_str()) || (custom && kind == known[2]) {
        let accepted = if custom { &known[..2] } else { &known[..] };
        let what = format!(
            "the body of the request was in an unknown format - accepted media types include: {}, \
             application/apply-patch+yaml",
            accepted.join(", ")
        );
        return Err(Failure::new(415, "UnsupportedMediaType", what));
    }
    let body = request.json()?;
    let mut state = ctx.store.lock();
    let live = write::live(&state, target)?;
    let mut new = match target.subresource() {
        "scale" => scale::of(&target.resource, &live),
        _ => (*live).clone(),
    };
    match kind.as_str() {
        "application/json-patch+json" => json_patch(&mut new, &body)?,
        "application/merge-patch+json" => json_merge(&mut new, &body),
        _ => {
            let resource = &target.resource;
            let ty = ctx.schema.kind(&resource.group, &target.version, &resource.kind);
            strategic_merge(ctx.schema, &ty, &mut new, &body)?;
        }
    }
    revision_of_patch(&live, &body, &mut new);
    finish(ctx, &mut state, target, options, &live, new)
}

/// A patch that names no resourceVersion applies to whatever is there; one that does is a precondition.
fn revision_of_patch(live: &Value, body: &Value, new: &mut Value) {
    let named = !object::text(body, &["metadata", "resourceVersion"]).is_empty() || body.is_array();
    if !named && let Some(revision) = live["metadata"].get("resourceVersion") {
        object::metadata(new).insert("resourceVersion".into(), revision.clone());
    }
}

fn finish(
    ctx: &Context,
    state: &mut State,
    target: &Target,
    options: &WriteOptions,
    live: &Arc<Value>,
    new: Value,
) -> Result<Written, Failure> {
    if target.subresource() == "scale" {
        return scale::update(ctx, state, target, options, live, &new);
    }
    write::update_locked(ctx, state, target, options, live, new, true)
}

fn json_patch(new: &mut Value, body: &Value) -> Result<(), Failure> {
    let patch: json_patch::Patch =
        serde_json::from_value(body.clone()).map_err(|e| Failure::bad_request(format!("error decoding patch: {e}")))?;
    if patch.0.len() > MAX_OPERATIONS {
        let what = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}", patch.0.len());
        return Err(Failure::new(413, "RequestEntityTooLarge", what));
    }
    // kube-apiserver says no more than this either.
    json_patch::patch(new, &patch)
        .map_err(|_| Failure::new(422, "Invalid", "the server rejected our request due to an error in our request"))
}

/// Server-side apply.
pub fn apply(ctx: &Context, target: &Target, options: &WriteOptions, mut config: Value) -> Result<Written, Failure> {
    let resource = &target.resource;
    let name = target.name.clone().unwrap_or_default();
    for field in ["apiVersion", "kind"] {
        if object::text(&config, &[field]).is_empty() {
            let what = format!("Incorrect {field} used - it must be set and match the request");
            return Err(Failure::bad_request(what));
        }
    }
    if object::name(&config).is_empty() {
        object::metadata(&mut config).insert("name".into(), json!(name));
    } else if object::name(&config) != name {
        let what =
            format!("the name of the object ({}) does not match the name on the URL ({name})", object::name(&config));
        return Err(Failure::bad_request(what));
    }
    let given = object::namespace(&config);
    if !given.is_empty() && target.namespace.as_deref().is_some_and(|ns| ns != given) {
        return Err(Failure::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if object::at(&config, &["metadata", "managedFields"]).as_array().is_some_and(|l| !l.is_empty()) {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    let wanted = resource.api_version(&target.version);
    if object::text(&config, &["apiVersion"]) != wanted {
        let what = format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {wanted}",
            object::text(&config, &["apiVersion"])
        );
        return Err(Failure::bad_request(what));
    }
    let ty = ctx.schema.kind(&resource.group, &target.version, &resource.kind);
    let writer = options.writer(target);
    let mut state = ctx.store.lock();
    match write::live(&state, target) {
        Err(missing) => {
            if target.subresource.is_some() {
                return Err(missing);
            }
            if !object::text(&config, &["metadata", "uid"]).is_empty() {
                return Err(Failure::conflict(
                    &resource.group,
                    &resource.plural,
                    &name,
                    "uid mismatch: the provided object specified uid, and no existing object was found",
                ));
            }
            let new = managed::apply(ctx.schema, &ty, None, &config, &writer, options.force)?;
            write::create_locked(ctx, &mut state, target, options, new, false)
        }
        Ok(live) => {
            let given = object::text(&config, &["metadata", "resourceVersion"]);
            if !given.is_empty() && given != object::text(&live, &["metadata", "resourceVersion"]) {
                return Err(Failure::modified(&resource.group, &resource.plural, &name));
            }
            let mut base = (*live).clone();
            // The record speaks the request's version, the store its own.
            base["apiVersion"] = json!(wanted);
            if target.subresource() == "status" {
                let keep =
                    |key: &String, _: &mut Value| ["apiVersion", "kind", "metadata", "status"].contains(&key.as_str());
                if let Some(map) = config.as_object_mut() {
                    map.retain(keep);
                }
            } else if resource.has("status")
                && let Some(map) = config.as_object_mut()
            {
                map.shift_remove("status");
            }
            let new = managed::apply(ctx.schema, &ty, Some(&base), &config, &writer, options.force)?;
            write::update_locked(ctx, &mut state, target, options, &live, new, false)
        }
    }
}

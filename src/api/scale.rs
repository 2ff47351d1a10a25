//! The `scale` subresource of workloads.

use super::context::Context;
use super::failure::{Cause, Failure};
use super::object;
use super::request::Target;
use super::resource::Resource;
use super::store::State;
use super::write::{self, WriteOptions, Written};
use serde_json::{Value, json};
use std::sync::Arc;

/// The `autoscaling/v1` Scale of a workload.
pub fn of(_resource: &Resource, live: &Value) -> Value {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = live["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": { "replicas": object::number(live, &["spec", "replicas"]).unwrap_or(0) },
        "status": {
            "replicas": object::number(live, &["status", "replicas"]).unwrap_or(0),
            "selector": selector_text(object::at(live, &["spec", "selector"])),
        },
    })
}

/// `app=sleep,tier in (a,b)`
fn selector_text(selector: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    let labels = selector.get("matchLabels").or(Some(selector)).and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        if let Some(value) = value.as_str() {
            parts.push(format!("{key}={value}"));
        }
    }
    parts.sort();
    parts.join(",")
}

/// Takes a changed Scale over into the workload; answers with the new Scale.
pub fn update(
    ctx: &Context,
    state: &mut State,
    target: &Target,
    options: &WriteOptions,
    live: &Arc<Value>,
    scale: &Value,
) -> Result<Written, Failure> {
    let replicas = object::number(scale, &["spec", "replicas"]).unwrap_or(0);
    if replicas < 0 {
        let cause = Cause::invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
        return Err(Failure::invalid("autoscaling", "Scale", object::name(live), &[cause]));
    }
    let given = object::at(scale, &["metadata", "resourceVersion"]);
    let mut new = (**live).clone();
    new["spec"]["replicas"] = json!(replicas);
    if !given.is_null() {
        object::metadata(&mut new).insert("resourceVersion".into(), given.clone());
    }
    let whole = Target { subresource: None, ..target.clone() };
    let mut written = write::update_locked(ctx, state, &whole, options, live, new, true)?;
    written.object = Arc::new(of(&target.resource, &written.object));
    Ok(written)
}

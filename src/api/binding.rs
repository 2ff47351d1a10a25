//! The `binding` and `eviction` subresources of pods.

use super::answer::{self, Answer};
use super::context::Context;
use super::delete::{self, DeleteOptions};
use super::failure::Failure;
use super::object;
use super::request::{Query, Target};
use super::write::{self, WriteOptions};
use serde_json::{Value, json};

fn success() -> Answer {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    answer::json_answer(201, &status)
}

/// Puts a pod on a node: what a scheduler does.
pub fn bind(ctx: &Context, target: &Target, options: &WriteOptions, body: &Value) -> Result<Answer, Failure> {
    let resource = &target.resource;
    let node = object::text(body, &["target", "name"]);
    let mut state = ctx.store.lock();
    let live = write::live(&state, target)?;
    let name = object::name(&live).to_string();
    let present = object::text(&live, &["spec", "nodeName"]);
    if object::is_terminating(&live) {
        let why = format!("pod {name} is being deleted, cannot be assigned to a host");
        return Err(Failure::conflict("", "pods/binding", &name, &why));
    }
    if !present.is_empty() {
        let why = format!("pod {name} is already assigned to node \"{present}\"");
        return Err(Failure::conflict("", "pods/binding", &name, &why));
    }
    if node.is_empty() {
        return Err(Failure::bad_request("target.name: Required value"));
    }
    let mut new = (*live).clone();
    new["spec"]["nodeName"] = json!(node);
    let condition = json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": object::now() });
    if let Some(status) = object::child(&mut new, "status") {
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        if let Some(list) = conditions.as_array_mut() {
            list.retain(|c| object::text(c, &["type"]) != "PodScheduled");
            list.push(condition);
        }
    }
    if options.dry_run {
        return Ok(success());
    }
    let key = super::store::Key {
        resource: resource.id.clone(),
        namespace: object::namespace(&live).into(),
        name: name.clone(),
    };
    state.put(&key, new);
    Ok(success())
}

/// Deletes a pod; there are no disruption budgets to ask.
pub fn evict(ctx: &Context, target: &Target, body: &Value) -> Result<Answer, Failure> {
    let options = DeleteOptions::parse(body.get("deleteOptions"), &Query::default())?;
    let whole = Target { subresource: None, ..target.clone() };
    delete::delete(ctx, &whole, &options)?;
    Ok(success())
}

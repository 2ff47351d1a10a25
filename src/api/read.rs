//! GET of one object and of lists.

use super::answer::{self, Answer, Form};
use super::context::Context;
use super::failure::Failure;
use super::object;
use super::request::{Query, Target};
use super::selector::{FieldSelector, LabelSelector};
use super::table;
use super::{scale, write};
use base64::Engine;
use serde_json::{Value, json};
use std::sync::Arc;

/// Which objects of a resource a request is about.
#[derive(Debug, Clone)]
pub struct Scope {
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub labels: LabelSelector,
    pub fields: FieldSelector,
}

impl Scope {
    pub fn parse(target: &Target, query: &Query) -> Result<Scope, Failure> {
        Ok(Scope {
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            labels: LabelSelector::parse(query.get("labelSelector").unwrap_or(""))?,
            fields: FieldSelector::parse(
                query.get("fieldSelector").unwrap_or(""),
                &target.resource.kind,
                target.resource.is_custom(),
            )?,
        })
    }

    pub fn holds(&self, object: &Value) -> bool {
        self.namespace.as_deref().is_none_or(|ns| ns == object::namespace(object))
            && self.name.as_deref().is_none_or(|n| n == object::name(object))
            && self.labels.matches(object::labels(object))
            && self.fields.matches(object)
    }
}

pub fn get(ctx: &Context, target: &Target, query: &Query, form: Form) -> Result<Answer, Failure> {
    let live = write::live(&ctx.store.lock(), target)?;
    if target.subresource() == "scale" {
        return Ok(answer::json_answer(200, &scale::of(&target.resource, &live)));
    }
    let shown = answer::in_version(&target.resource, &target.version, &live);
    Ok(answer::json_answer(
        200,
        &match form {
            Form::Object => return Ok(answer::json_answer(200, &shown)),
            Form::Metadata => answer::metadata_only(&shown),
            Form::Table => {
                let revision = object::at(&live, &["metadata", "resourceVersion"]).clone();
                table::of(&target.resource, &[&shown], json!({ "resourceVersion": revision }), query, true)
            }
        },
    ))
}

pub fn list(ctx: &Context, target: &Target, query: &Query, form: Form) -> Result<Answer, Failure> {
    let scope = Scope::parse(target, query)?;
    if let Some(revision) = query.get("resourceVersion") {
        super::watch::parse_revision(revision)?;
    }
    let limit = query.number("limit")?.unwrap_or(0);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let after = query.get("continue").map(decode_continue).transpose()?;
    let (revision, items) = {
        let state = ctx.store.lock();
        let all: Vec<Arc<Value>> = state
            .objects(&target.resource.id, scope.namespace.as_deref())
            .filter(|o| after.as_ref().is_none_or(|a| (object::namespace(o), object::name(o)) > (&a.0, &a.1)))
            .filter(|o| scope.holds(o))
            .cloned()
            .collect();
        (state.revision(), all)
    };
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    let remaining = if limit == 0 { 0 } else { items.len().saturating_sub(limit) };
    let page = &items[..items.len() - remaining];
    if remaining > 0
        && let Some(last) = page.last()
    {
        metadata["continue"] = json!(encode_continue(object::namespace(last), object::name(last)));
        if scope.labels.is_empty() && scope.fields.is_empty() {
            metadata["remainingItemCount"] = json!(remaining);
        }
    }
    let resource = &target.resource;
    let shown: Vec<_> = page.iter().map(|o| answer::in_version(resource, &target.version, o)).collect();
    let value = match form {
        Form::Object => json!({
            "kind": format!("{}List", resource.kind),
            "apiVersion": resource.api_version(&target.version),
            "metadata": metadata,
            "items": shown,
        }),
        Form::Metadata => {
            let items: Vec<Value> = shown.iter().map(|o| answer::metadata_only(o)).collect();
            json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items })
        }
        Form::Table => {
            let rows: Vec<&Value> = shown.iter().map(AsRef::as_ref).collect();
            table::of(resource, &rows, metadata, query, true)
        }
    };
    Ok(answer::json_answer(200, &value))
}

/// Continuing lists the present objects after the last one sent, not a snapshot.
fn encode_continue(namespace: &str, name: &str) -> String {
    let token = json!({ "v": "meta.k8s.io/v1", "start": [namespace, name] }).to_string();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token)
}

fn decode_continue(token: &str) -> Result<(String, String), Failure> {
    let invalid = || Failure::bad_request(format!("continue key is not valid: {token}"));
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    match object::list(&value, &["start"]) {
        [Value::String(namespace), Value::String(name)] => Ok((namespace.clone(), name.clone())),
        _ => Err(invalid()),
    }
}

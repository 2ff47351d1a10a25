//! OpenAPI documents: the schemas of the built-in kinds from their field types, those of custom resources from their
//! definitions. There are no descriptions and no paths beyond what clients look up by kind.

use super::answer::{self, Answer};
use super::context::Context;
use super::failure::Failure;
use super::request::Request;
use super::schema::{Schema, Struct, Type};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// As a kube-apiserver names the same: an `@` may not stand in an answer's type.
const V2_ANSWERED: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// A `gnostic.openapi.v2.Document` that knows no kind: `swagger` 2.0 and `info` with title and version.
const EMPTY_V2: &[u8] = b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.34.0";

/// Answers `/openapi/...`; `None` for other paths.
pub fn answer(ctx: &Context, request: &Request) -> Result<Option<Answer>, Failure> {
    let parts: Vec<&str> = request.path.split('/').filter(|p| !p.is_empty()).collect();
    let registry = ctx.registry();
    let value = match parts.as_slice() {
        ["openapi", "v3"] => {
            let mut paths = Map::new();
            paths.insert("api/v1".into(), json!({ "serverRelativeURL": "/openapi/v3/api/v1" }));
            for group in registry.groups() {
                for version in registry.versions(group) {
                    let path = format!("apis/{group}/{version}");
                    let url = format!("/openapi/v3/{path}");
                    paths.insert(path, json!({ "serverRelativeURL": url }));
                }
            }
            json!({ "paths": paths })
        }
        ["openapi", "v3", "api", version] => document(ctx, "", version)?,
        ["openapi", "v3", "apis", group, version] => document(ctx, group, version)?,
        ["openapi", "v2"] if request.header(http::header::ACCEPT).contains(V2_PROTOBUF) => {
            return Ok(Some(answer::with_type(200, V2_ANSWERED, answer::full(EMPTY_V2))));
        }
        // Clients look kinds up in v3, and here only those that v3 does not have.
        ["openapi", "v2"] => {
            json!({ "swagger": "2.0", "info": { "title": "Kubernetes", "version": "v1.34.0" }, "paths": {} })
        }
        _ => return Ok(None),
    };
    Ok(Some(answer::json_answer(200, &value)))
}

fn document(ctx: &Context, group: &str, version: &str) -> Result<Value, Failure> {
    let registry = ctx.registry();
    let resources = registry.in_version(group, version);
    if resources.is_empty() {
        return Err(Failure::no_such_resource());
    }
    let mut wanted = BTreeSet::new();
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for resource in &resources {
        let name = component(ctx.schema, group, version, &resource.kind, &mut wanted);
        let kind = json!([{ "group": group, "version": version, "kind": resource.kind }]);
        let schema = resource.schemas.of(version);
        schemas.entry(name.clone()).or_insert_with(|| custom_object(schema, &mut wanted))["x-kubernetes-group-version-kind"] =
            kind.clone();
        let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
        let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation"]
            .iter()
            .map(|p| json!({ "name": p, "in": "query", "schema": { "type": "string", "uniqueItems": true } }))
            .collect();
        let operation = |action: &str| {
            json!({ "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind[0], "parameters": parameters,
                "responses": { "200": { "description": "OK", "content": { "application/json":
                    { "schema": { "$ref": format!("#/components/schemas/{name}") } } } } } })
        };
        let collection = format!("{root}{scope}/{}", resource.plural);
        paths.insert(
            format!("{collection}/{{name}}"),
            json!({ "get": operation("get"), "put": operation("put"),
            "patch": operation("patch"), "delete": operation("delete") }),
        );
        paths.insert(collection, json!({ "get": operation("list"), "post": operation("post") }));
    }
    let mut done: BTreeSet<String> = BTreeSet::new();
    while let Some(name) = wanted.pop_first() {
        if !done.insert(name.clone()) {
            continue;
        }
        let Some(s) = ctx.schema.named(&name) else { continue };
        let body = struct_schema(s, &mut wanted);
        let entry = schemas.entry(full_name(&name)).or_insert(Value::Null);
        let kind = entry.get("x-kubernetes-group-version-kind").cloned();
        *entry = body;
        if let Some(kind) = kind {
            entry["x-kubernetes-group-version-kind"] = kind;
        }
    }
    Ok(json!({ "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "v1.34.0" }, "paths": paths,
        "components": { "schemas": schemas } }))
}

/// The component's name of a kind; a built-in kind's type is queued.
fn component(schema: &Schema, group: &str, version: &str, kind: &str, wanted: &mut BTreeSet<String>) -> String {
    if let Type::Named(name) = schema.kind(group, version, kind)
        && name != "custom"
    {
        let full = full_name(&name);
        wanted.insert(name);
        return full;
    }
    let reversed: Vec<&str> = group.split('.').rev().collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}

/// `core.v1.Pod` is `io.k8s.api.core.v1.Pod`.
fn full_name(name: &str) -> String {
    if name.starts_with("apis.") { format!("io.k8s.apimachinery.pkg.{name}") } else { format!("io.k8s.api.{name}") }
}

/// A custom resource: its own schema, and what every object has.
fn custom_object(schema: Option<&Value>, wanted: &mut BTreeSet<String>) -> Value {
    let Some(schema) = schema else { return open_object(wanted) };
    let mut whole = schema.clone();
    let mut properties = Map::new();
    for name in ["apiVersion", "kind"] {
        properties.insert(name.into(), json!({ "type": "string" }));
    }
    properties.insert("metadata".into(), type_schema(&Type::Named("apis.meta.v1.ObjectMeta".into()), wanted));
    for (name, value) in schema["properties"].as_object().into_iter().flatten() {
        properties.entry(name).or_insert_with(|| value.clone());
    }
    whole["properties"] = properties.into();
    whole
}

fn open_object(wanted: &mut BTreeSet<String>) -> Value {
    json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
        "apiVersion": { "type": "string" }, "kind": { "type": "string" },
        "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        "metadata": type_schema(&Type::Named("apis.meta.v1.ObjectMeta".into()), wanted) } })
}

fn struct_schema(s: &Struct, wanted: &mut BTreeSet<String>) -> Value {
    let properties: Map<String, Value> =
        s.fields.iter().map(|(name, ty)| (name.clone(), type_schema(ty, wanted))).collect();
    let mut body = json!({ "type": "object", "properties": properties });
    if s.atomic {
        body["x-kubernetes-map-type"] = json!("atomic");
    }
    body
}

fn type_schema(ty: &Type, wanted: &mut BTreeSet<String>) -> Value {
    match ty {
        Type::Text => json!({ "type": "string" }),
        Type::Bytes => json!({ "type": "string", "format": "byte" }),
        Type::Quantity => json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
        Type::IntOrText => json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] }),
        Type::Time | Type::MicroTime => json!({ "type": "string", "format": "date-time" }),
        Type::Number => json!({ "type": "integer" }),
        Type::Boolean => json!({ "type": "boolean" }),
        Type::Any => json!({ "x-kubernetes-preserve-unknown-fields": true }),
        Type::Named(name) => {
            wanted.insert(name.clone());
            json!({ "allOf": [{ "$ref": format!("#/components/schemas/{}", full_name(name)) }] })
        }
        Type::Atomic(item) => {
            json!({ "type": "array", "items": type_schema(item, wanted), "x-kubernetes-list-type": "atomic" })
        }
        Type::Set(item) => {
            json!({ "type": "array", "items": type_schema(item, wanted), "x-kubernetes-list-type": "set",
            "x-kubernetes-patch-strategy": "merge" })
        }
        Type::Keyed(keys, item) => {
            json!({ "type": "array", "items": type_schema(item, wanted), "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": keys, "x-kubernetes-patch-merge-key": keys[0], "x-kubernetes-patch-strategy": "merge" })
        }
        Type::Map(item) => json!({ "type": "object", "additionalProperties": type_schema(item, wanted) }),
        Type::AtomicMap(item) => json!({ "type": "object", "additionalProperties": type_schema(item, wanted),
            "x-kubernetes-map-type": "atomic" }),
    }
}

//! The schemas of custom resources, as their definitions give them (`openAPIV3Schema`): which fields there are, what
//! is filled in, what is refused. In apiextensions-apiserver's words.

use super::failure::Cause;
use super::object;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A custom resource's schemas.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schemas {
    /// By version.
    pub versions: BTreeMap<String, Arc<Value>>,
    /// Whether values are checked here. Those of a declared resource may be the business of an `Admission`.
    pub checked: bool,
}

impl Schemas {
    pub fn of(&self, version: &str) -> Option<&Value> {
        self.versions.get(version).map(Arc::as_ref)
    }
}

/// Deeper schemas are not walked: a definition's own depth is bounded by its size.
const DEEPEST: usize = 64;

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

/// Takes the fields out that the schema does not know; gives their paths back, sorted.
pub fn prune(schema: &Value, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_object(schema, object, "", true, &mut unknown, 0);
    unknown.sort();
    unknown
}

fn prune_object(schema: &Value, value: &mut Value, path: &str, root: bool, unknown: &mut Vec<String>, depth: usize) {
    if depth > DEEPEST {
        return;
    }
    match value {
        Value::Object(fields) => {
            let preserve = schema[PRESERVE] == json!(true);
            let root = root || schema["x-kubernetes-embedded-resource"] == json!(true);
            let names: Vec<String> = fields.keys().cloned().collect();
            for name in names {
                if root && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
                    continue;
                }
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let known = schema["properties"].get(&name).or_else(|| additional(schema));
                match (known, fields.get_mut(&name)) {
                    (Some(known), Some(value)) => prune_object(known, value, &below, false, unknown, depth + 1),
                    _ if preserve || open(schema) => {}
                    _ => {
                        unknown.push(below);
                        fields.shift_remove(&name);
                    }
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                prune_object(&schema["items"], item, &format!("{path}[{i}]"), false, unknown, depth + 1);
            }
        }
        _ => {}
    }
}

/// The schema of a map's values.
fn additional(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|s| s.is_object())
}

/// A map of anything.
fn open(schema: &Value) -> bool {
    schema["additionalProperties"] == json!(true)
}

/// Fills the schema's defaults in.
pub fn fill(schema: &Value, value: &mut Value) {
    fill_below(schema, value, 0);
}

fn fill_below(schema: &Value, value: &mut Value, depth: usize) {
    if depth > DEEPEST {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, known) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = known.get("default")
                    && fields.get(name).is_none_or(|given| given.is_null() && known["nullable"] != json!(true))
                {
                    fields.insert(name.clone(), default.clone());
                }
                if let Some(value) = fields.get_mut(name) {
                    fill_below(known, value, depth + 1);
                }
            }
            if let Some(known) = additional(schema) {
                fields.values_mut().for_each(|value| fill_below(known, value, depth + 1));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill_below(&schema["items"], item, depth + 1)),
        _ => {}
    }
}

/// What the schema refuses of an object.
pub fn check(schema: &Value, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    check_value(schema, object, "", true, &mut causes, 0);
    if has_rules(schema) {
        causes.extend(rules_left_out(&causes));
    }
    causes
}

/// Whether the schema has CEL rules somewhere.
fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| name == "x-kubernetes-validations" || has_rules(value))
        }
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

/// What is said in place of the CEL rules, which are not tried on an object whose form is wrong.
pub fn rules_left_out(causes: &[Cause]) -> Option<Cause> {
    const BLOCKING: [&str; 5] = [
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    ];
    causes.iter().any(|cause| BLOCKING.contains(&cause.reason)).then(|| Cause {
        field: "<nil>".into(),
        reason: "FieldValueInvalid",
        message: "Invalid value: null: some validation rules were not checked because the object was invalid; correct \
                  the existing errors to complete validation"
            .into(),
    })
}

fn check_value(schema: &Value, value: &Value, path: &str, root: bool, causes: &mut Vec<Cause>, depth: usize) {
    if depth > DEEPEST || (value.is_null() && (schema["nullable"] == json!(true) || !schema.is_object())) {
        return;
    }
    let wanted = schema["type"].as_str().unwrap_or_default();
    if !has_type(schema, wanted, value) {
        let given = type_name(value);
        let detail = format!("{path} in body must be of type {wanted}: \"{given}\"");
        causes.push(Cause {
            field: path.into(),
            reason: "FieldValueTypeInvalid",
            message: format!("Invalid value: \"{given}\": {detail}"),
        });
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let words: Vec<String> =
            allowed.iter().map(|a| a.as_str().map_or_else(|| a.to_string(), str::to_string)).collect();
        causes.push(Cause::unsupported(path, value, &words.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    match value {
        Value::Object(fields) => check_fields(schema, fields, path, root, causes, depth),
        Value::Array(items) => {
            let length = items.len() as u64;
            if let Some(most) = schema["maxItems"].as_u64().filter(|most| length > *most) {
                let message = format!("Too many: {length}: must have at most {most} items");
                causes.push(Cause { field: path.into(), reason: "FieldValueTooMany", message });
            }
            if let Some(least) = schema["minItems"].as_u64().filter(|least| length < *least) {
                let detail = format!("{path} in body should have at least {least} items");
                causes.push(Cause::invalid(path, &json!(length), &detail));
            }
            for (i, item) in items.iter().enumerate() {
                check_value(&schema["items"], item, &format!("{path}[{i}]"), false, causes, depth + 1);
            }
        }
        Value::String(text) => check_text(schema, text, path, causes),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            for (key, words, wrong) in [
                ("minimum", "greater than or equal to", (|n, limit| n < limit) as fn(f64, f64) -> bool),
                ("maximum", "less than or equal to", |n, limit| n > limit),
            ] {
                if let Some(limit) = schema[key].as_f64().filter(|limit| wrong(number, *limit)) {
                    let detail = format!("{path} in body should be {words} {limit}");
                    causes.push(Cause::invalid(path, value, &detail));
                }
            }
        }
        _ => {}
    }
}

fn check_fields(
    schema: &Value,
    fields: &Map<String, Value>,
    path: &str,
    root: bool,
    causes: &mut Vec<Cause>,
    depth: usize,
) {
    let below = |name: &str| if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
    for (name, value) in fields {
        if root && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
            continue;
        }
        if let Some(known) = schema["properties"].get(name).or_else(|| additional(schema)) {
            check_value(known, value, &below(name), false, causes, depth + 1);
        }
    }
    for name in object::list(schema, &["required"]).iter().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            causes.push(Cause::required(&below(name), ""));
        }
    }
}

fn check_text(schema: &Value, text: &str, path: &str, causes: &mut Vec<Cause>) {
    let length = text.chars().count() as u64;
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
        let message = format!("Too long: may not be more than {most} bytes");
        causes.push(Cause { field: path.into(), reason: "FieldValueTooLong", message });
    }
    if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
        let detail = format!("{path} in body should be at least {least} chars long");
        causes.push(Cause::invalid(path, &json!(text), &detail));
    }
    // A pattern that this engine cannot read refuses nothing.
    if let Some(pattern) = schema["pattern"].as_str()
        && regex::Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text))
    {
        let detail = format!("{path} in body should match '{pattern}'");
        causes.push(Cause::invalid(path, &json!(text), &detail));
    }
}

fn has_type(schema: &Value, wanted: &str, value: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == json!(true) {
        return value.is_i64() || value.is_u64() || value.is_string();
    }
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        _ => true,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({ "type": "object", "required": ["spec"], "properties": { "spec": { "type": "object", "required": ["size"],
            "properties": {
                "size": { "type": "integer", "minimum": 1, "maximum": 9 },
                "mode": { "type": "string", "enum": ["A", "B"], "default": "A" },
                "name": { "type": "string", "pattern": "^[a-z]+$", "maxLength": 3 },
                "tags": { "type": "object", "additionalProperties": { "type": "string" } },
                "any": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                "list": { "type": "array", "items": { "type": "object", "properties": { "a": { "type": "string" } } } },
            } } } })
    }

    #[test]
    fn unknown_fields_go_and_are_named() {
        let mut object = json!({ "apiVersion": "v1", "kind": "K", "metadata": { "name": "x" }, "extra": 1,
            "spec": { "size": 1, "szie": 2, "tags": { "x": "y" }, "any": { "b": {} }, "list": [{ "a": "1", "b": 2 }] } });
        assert_eq!(prune(&schema(), &mut object), ["extra", "spec.list[0].b", "spec.szie"]);
        assert_eq!(
            object["spec"],
            json!({ "size": 1, "tags": { "x": "y" }, "any": { "b": {} }, "list": [{ "a": "1" }] })
        );
        assert_eq!(object["metadata"]["name"], "x");
    }

    #[test]
    fn refusals_are_in_the_servers_words() {
        let told = |spec: Value| -> Vec<String> {
            let causes = check(&schema(), &json!({ "spec": spec }));
            causes.into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
        };
        assert_eq!(told(json!({})), ["spec.size: Required value"]);
        assert_eq!(
            told(json!({ "size": "1" })),
            ["spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\""]
        );
        assert_eq!(
            told(json!({ "size": 0 })),
            ["spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"]
        );
        assert_eq!(
            told(json!({ "size": 1, "mode": "C" })),
            ["spec.mode: Unsupported value: \"C\": supported values: \"A\", \"B\""]
        );
        assert_eq!(
            told(json!({ "size": 1, "name": "A" })),
            ["spec.name: Invalid value: \"A\": spec.name in body should match '^[a-z]+$'"]
        );
        assert!(told(json!({ "size": 9, "mode": "B", "name": "abc", "list": [] })).is_empty());
    }

    #[test]
    fn defaults_are_filled_in() {
        let mut object = json!({ "spec": { "size": 1 } });
        fill(&schema(), &mut object);
        assert_eq!(object["spec"]["mode"], "A");
    }
}

//! Schema errors of a resource definition, as the API server words them: types, required fields, sizes,
//! ranges, patterns, enumerations, exclusive fields, and unique keys of lists.

use super::cel;
use crate::istio::go;
use crate::istio::schema::{Constraints, Field, Kind, Message, OneOf, Schema, Shape, Type, schema};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Display;

/// Errors of an object of `kind`, sorted: of the schema, and of the CEL rules when the object has the right
/// form for them.
pub fn schema_errors(object: &Value, kind: &Kind) -> Vec<String> {
    let schema = schema();
    let mut checker = Checker { schema, errors: vec![], blocking: false };
    let spec = object.get("spec");
    match spec {
        Some(spec) => checker.message(spec, &schema.messages[kind.spec], "spec"),
        None if kind.spec_required => checker.required("spec"),
        None => {}
    }
    if let Some(status) = object.get("status") {
        checker.message(status, &schema.messages[schema.status], "status");
    }
    if let (Some(spec), false) = (spec, checker.blocking) {
        cel::check(spec, &schema.messages[kind.spec], "spec", &mut checker.errors);
    }
    let mut errors = checker.errors;
    errors.sort();
    errors.dedup();
    errors
}

struct Checker<'a> {
    schema: &'a Schema,
    errors: Vec<String>,
    /// Whether an error forbids the evaluation of rules.
    blocking: bool,
}

impl Checker<'_> {
    fn invalid(&mut self, path: &str, value: impl Display, why: impl Display) {
        self.errors.push(format!("{path}: Invalid value: {value}: {why}"));
    }

    fn required(&mut self, path: &str) {
        self.blocking = true;
        self.errors.push(format!("{path}: Required value"));
    }

    fn wrong_type(&mut self, path: &str, value: &Value, wanted: &str) {
        self.blocking = true;
        let found = json_type(value);
        self.invalid(
            path,
            format_args!("\"{found}\""),
            format_args!("{path} in body must be of type {wanted}: \"{found}\""),
        );
    }

    fn message(&mut self, value: &Value, message: &Message, path: &str) {
        let Some(fields) = value.as_object() else {
            self.wrong_type(path, value, "object");
            // Of what is neither object nor null, all alternatives hold at once.
            return self.exclusive(message, path, |_| !value.is_null());
        };
        for field in message.fields.iter().filter(|field| field.required && !fields.contains_key(field.name)) {
            self.required(&format!("{path}.{}", field.name));
        }
        self.exclusive(message, path, |name| fields.contains_key(name));
        for (name, value) in fields {
            if let Some(field) = message.field(name) {
                self.field(value, field, &format!("{path}.{name}"));
            }
        }
    }

    /// Groups of fields of which one may be set.
    fn exclusive(&mut self, message: &Message, path: &str, set: impl Fn(&str) -> bool) {
        let count = |group: &OneOf| group.fields.iter().filter(|index| set(message.fields[**index].name)).count();
        let clashes: Vec<usize> = message.oneofs.iter().map(count).filter(|set| *set > 1).collect();
        for set in &clashes {
            self.errors.push(format!(
                "<nil>: Invalid value: \"\": \"{path}\" must validate one and only one schema (oneOf). Found {set} valid alternatives"
            ));
        }
        if message.oneofs.len() > 1 && !clashes.is_empty() {
            let none = if clashes.len() == message.oneofs.len() { ". None validated" } else { "" };
            self.errors
                .push(format!("<nil>: Invalid value: \"\": \"{path}\" must validate all the schemas (allOf){none}"));
        }
    }

    fn field(&mut self, value: &Value, field: &Field, path: &str) {
        match field.shape {
            Shape::One => self.value(value, field, path),
            Shape::List => {
                let Some(items) = value.as_array() else { return self.wrong_type(path, value, "array") };
                self.count(items.len(), field, path, "items");
                for (index, item) in items.iter().enumerate() {
                    self.value(item, field, &format!("{path}[{index}]"));
                }
                if let Some(key) = field.key {
                    self.unique(items, key, field, path);
                }
            }
            Shape::Map { .. } => {
                let Some(entries) = value.as_object() else { return self.wrong_type(path, value, "object") };
                self.count(entries.len(), field, path, "properties");
                for (key, value) in entries {
                    self.value(value, field, &format!("{path}.{key}"));
                }
            }
        }
    }

    fn count(&mut self, count: usize, field: &Field, path: &str, what: &str) {
        let Some(allowed) = &field.count else { return };
        if count > *allowed.end() {
            self.blocking = true;
            self.errors.push(format!("{path}: Too many: {count}: must have at most {} items", allowed.end()));
        } else if count < *allowed.start() {
            self.invalid(path, count, format_args!("{path} in body should have at least {} {what}", allowed.start()));
        }
    }

    /// Items of a list that is a map by its key must differ in it.
    fn unique(&mut self, items: &[Value], key: &str, field: &Field, path: &str) {
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let Some(fields) = item.as_object() else {
                if !item.is_null() {
                    let bare = self.schema.message_of(field).map(|_| strip_unknown(item)).unwrap_or_default();
                    self.invalid(&format!("{path}[{index}]"), bare, "must be an object for an array of list-type map");
                }
                continue;
            };
            let shown = match fields.get(key) {
                Some(value) => format!("{{\"{key}\":{value}}}"),
                None => "{}".to_string(),
            };
            if !seen.insert(shown.clone()) {
                self.errors.push(format!("{path}[{index}]: Duplicate value: {shown}"));
            }
        }
    }

    fn value(&mut self, value: &Value, field: &Field, path: &str) {
        if value.is_null() && matches!(field.ty, Type::Nullable(_)) {
            return;
        }
        let constraints = &field.value;
        match field.ty.bare() {
            Type::Message(id) => self.message(value, &self.schema.messages[*id], path),
            Type::Struct if !value.is_object() => self.wrong_type(path, value, "object"),
            Type::Bool if !value.is_boolean() => self.wrong_type(path, value, "boolean"),
            Type::Enum(id) => {
                let known = &self.schema.enums[*id].values;
                if !value.is_string() {
                    self.wrong_type(path, value, "string");
                }
                if !value.as_str().is_some_and(|text| known.contains(&text)) {
                    self.blocking = true;
                    let known: Vec<String> = known.iter().map(|value| format!("\"{value}\"")).collect();
                    self.errors.push(format!(
                        "{path}: Unsupported value: {}: supported values: {}",
                        if value.is_string() || value.is_number() { show(value) } else { strip_unknown(value) },
                        known.join(", ")
                    ));
                }
            }
            Type::String | Type::Duration | Type::Bytes => match value.as_str() {
                Some(text) => self.text(text, field, path),
                None => self.wrong_type(path, value, "string"),
            },
            Type::Int32 | Type::Uint32 | Type::Int64 | Type::Uint64 => self.integer(value, constraints, path),
            Type::Double => match value.as_f64() {
                Some(number) => self.range(number, value, constraints, path),
                None => self.wrong_type(path, value, "number"),
            },
            Type::IntOrString if !value.is_string() && !is_integer(value) => {
                self.wrong_type(path, value, "integer,string");
            }
            Type::Struct | Type::Bool | Type::IntOrString | Type::Any | Type::Value | Type::Nullable(_) => {}
        }
    }

    fn text(&mut self, text: &str, field: &Field, path: &str) {
        let quoted = go::quote(text);
        if let Some(allowed) = &field.value.length {
            let length = text.chars().count();
            if length > *allowed.end() {
                self.blocking = true;
                self.errors.push(format!("{path}: Too long: may not be more than {} bytes", allowed.end()));
            }
            if length < *allowed.start() {
                let why = format!("{path} in body should be at least {} chars long", allowed.start());
                return self.invalid(path, &quoted, why);
            }
        }
        if let Some(pattern) = field.value.pattern.as_ref().filter(|pattern| !pattern.regex.is_match(text)) {
            self.invalid(path, &quoted, format_args!("{path} in body should match '{}'", pattern.text));
        }
        if field.ty == Type::Bytes && super::decode::base64(text).is_err() {
            self.blocking = true;
            self.invalid(path, &quoted, format_args!("{path} in body must be of type byte: {quoted}"));
        }
    }

    fn integer(&mut self, value: &Value, constraints: &Constraints, path: &str) {
        let Some(number) = value.as_f64() else {
            return self.wrong_type(path, value, "integer");
        };
        if !is_integer(value) {
            self.errors.push(format!(
                "<nil>: Invalid value: \"\": Checked value must be of type integer (default format) in {path}"
            ));
            self.wrong_type(path, value, "integer");
        }
        self.range(number, value, constraints, path);
    }

    fn range(&mut self, number: f64, value: &Value, constraints: &Constraints, path: &str) {
        let bound = |bound: f64| if is_integer(value) { format!("{bound}") } else { large(bound) };
        if let Some(minimum) = constraints.minimum.filter(|minimum| number < *minimum) {
            let why = format!("{path} in body should be greater than or equal to {}", bound(minimum));
            self.invalid(path, show(value), why);
        }
        if let Some(maximum) = constraints.maximum.filter(|maximum| number > *maximum) {
            let why = format!("{path} in body should be less than or equal to {}", bound(maximum));
            self.invalid(path, show(value), why);
        }
    }
}

/// A bound beside a fractional number: `%v` of a Go float, which turns to an exponent from 1e21 on, or
/// where that is shorter.
fn large(bound: f64) -> String {
    if bound == f64::from(u32::MAX) { "4.294967295e+09".into() } else { go::float(bound) }
}

/// A value as it is shown in an error.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => go::quote(text),
        Value::Number(number) => go::json::number(number),
        other => other.to_string(),
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|float| float.fract() == 0.0 && float.abs() < 1e15)
}

/// The JSON type by the API server's name.
fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A list where an object should be, as it looks once unknown fields are gone.
fn strip_unknown(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(strip_unknown).collect::<Vec<_>>().join(",")),
        Value::Object(_) => "{}".into(),
        other => other.to_string(),
    }
}

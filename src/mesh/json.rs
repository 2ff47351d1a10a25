//! Lenient reading of JSON: objects may hold anything, so every reader has an answer for a wrong type.
//! Nothing here may fail or panic.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// An object of the given fields. Unlike `serde_json::json!` it takes values over instead of copying them, and makes
/// its table once: for what is built for every cluster and chain.
macro_rules! message {
    ($($key:literal: $value:expr),+ $(,)?) => {{
        let mut fields = serde_json::Map::with_capacity([$($key),+].len());
        $(fields.insert($key.to_owned(), serde_json::Value::from($value));)+
        serde_json::Value::Object(fields)
    }};
}
pub(in crate::mesh) use message;

/// The string, or "" when it is something else.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// The array's elements, or none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The strings of an array; other elements are left out.
pub fn strings(value: &Value) -> Vec<String> {
    list(value).iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// A whole number written as a number or as a decimal string (protobuf JSON accepts both), else 0.
pub fn integer(value: &Value) -> i64 {
    match value {
        Value::Number(n) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)).unwrap_or(0),
        Value::String(s) => s.parse().unwrap_or(0),
        _ => 0,
    }
}

/// A port or another unsigned 32-bit number, else 0.
pub fn unsigned(value: &Value) -> u32 {
    u32::try_from(integer(value)).unwrap_or(0)
}

/// A floating-point number, else 0.
pub fn float(value: &Value) -> f64 {
    match value {
        Value::Number(n) => n.as_f64().unwrap_or(0.0),
        Value::String(s) => s.parse().unwrap_or(0.0),
        _ => 0.0,
    }
}

/// A number as protobuf JSON prints a double: whole numbers without a fraction.
pub fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { Value::from(value as i64) } else { Value::from(value) }
}

/// `true` only for the boolean true.
pub fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or(false)
}

/// Whether a message field is set: anything but absent and null.
pub fn present(value: &Value) -> bool {
    !value.is_null()
}

/// The fields of an object in their order; none for something else.
pub fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// The keys of an object, sorted: maps have no order in protobuf.
pub fn sorted_fields(value: &Value) -> Vec<(&String, &Value)> {
    let mut all: Vec<_> = fields(value).collect();
    all.sort_by(|a, b| a.0.cmp(b.0));
    all
}

/// A map of strings, such as labels.
pub fn labels(value: &Value) -> BTreeMap<String, String> {
    fields(value).filter_map(|(k, v)| v.as_str().map(|s| (k.clone(), s.to_owned()))).collect()
}

/// Whether each of `wanted` is among `labels`.
pub fn labels_match(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(k, v)| labels.get(k) == Some(v))
}

/// Sets a field unless the value is null, an empty string, an empty list, zero or false: proto3 defaults are not printed.
pub fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    let default = match &value {
        Value::Null | Value::Bool(false) => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Number(n) => n.as_f64() == Some(0.0),
        _ => false,
    };
    if !default {
        map.insert(key.to_owned(), value);
    }
}

/// An object as a map; an empty one for something else.
pub fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A map entry that is an object, made when absent or of another type.
pub fn object_in<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = map.entry(key.to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(inner) => inner,
        _ => unreachable!("made an object just above"),
    }
}

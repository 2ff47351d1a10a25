//! Envoy's messages as patches need them: reading a patch's value as protobuf JSON (either spelling of names,
//! defaults dropped, unknown fields ignored) and merging messages as protobuf merges them. A message of an unknown
//! type is handled by the shape of its JSON.

use crate::mesh::duration;
use crate::mesh::json::{fields, float, integer};
use crate::message::descriptors;
use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

fn message(name: &str) -> Option<MessageDescriptor> {
    descriptors::pool().ok()?.get_message_by_name(name)
}

/// The type inside an `Any`.
fn inside(any: &Value) -> Option<MessageDescriptor> {
    message(any["@type"].as_str()?.rsplit('/').next()?)
}

/// A message in canonical protobuf JSON.
pub fn read(name: &str, value: &Value) -> Value {
    read_message(message(name).as_ref(), value)
}

fn read_message(kind: Option<&MessageDescriptor>, value: &Value) -> Value {
    let any = value.get("@type").is_some();
    let of_any = if any { inside(value) } else { None };
    let kind = if any { of_any.as_ref() } else { kind };
    let mut out = Map::new();
    for (key, value) in fields(value) {
        if key == "@type" {
            out.insert(key.clone(), value.clone());
            continue;
        }
        if value.is_null() {
            continue;
        }
        let Some(kind) = kind else {
            out.insert(camel(key), read_untyped(value));
            continue;
        };
        let Some(field) = kind.get_field_by_name(key).or_else(|| kind.get_field_by_json_name(key)) else { continue };
        if let Some(read) = read_field(&field, value) {
            out.insert(field.json_name().to_owned(), read);
        }
    }
    Value::Object(out)
}

fn read_untyped(value: &Value) -> Value {
    match value {
        Value::Object(_) => read_message(None, value),
        Value::Array(list) => list.iter().map(read_untyped).collect(),
        other => other.clone(),
    }
}

/// The field's value, `None` for a default that is not written.
fn read_field(field: &FieldDescriptor, value: &Value) -> Option<Value> {
    let kind = field.kind();
    if field.is_map() {
        let Kind::Message(entry) = kind else { return None };
        let of = entry.map_entry_value_field().kind();
        let map: Map<String, Value> = fields(value).map(|(k, v)| (k.clone(), read_value(&of, v))).collect();
        return (!map.is_empty()).then_some(Value::Object(map));
    }
    if field.cardinality() == Cardinality::Repeated {
        let list: Vec<Value> = value.as_array()?.iter().map(|v| read_value(&kind, v)).collect();
        return (!list.is_empty()).then_some(Value::Array(list));
    }
    let read = read_value(&kind, value);
    (field.supports_presence() || !is_default(&kind, &read)).then_some(read)
}

fn read_value(kind: &Kind, value: &Value) -> Value {
    match kind {
        Kind::Message(message) => read_known(message, value),
        Kind::Enum(names) => enum_name(names, value),
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => match value {
            Value::Number(number) => Value::from(number.to_string()),
            other => other.clone(),
        },
        Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 | Kind::Sfixed32 => match value {
            Value::Number(_) | Value::String(_) => Value::from(integer(value)),
            other => other.clone(),
        },
        Kind::Double | Kind::Float => crate::mesh::json::number(float(value)),
        _ => value.clone(),
    }
}

/// Messages that protobuf JSON writes in a form of their own.
fn read_known(kind: &MessageDescriptor, value: &Value) -> Value {
    match kind.full_name() {
        "google.protobuf.Duration" => match duration::canonical(value) {
            Value::Null => value.clone(),
            known => known,
        },
        "google.protobuf.UInt32Value" | "google.protobuf.Int32Value" => match value {
            Value::Number(_) | Value::String(_) => Value::from(integer(value)),
            other => other.clone(),
        },
        "google.protobuf.UInt64Value" | "google.protobuf.Int64Value" => match value {
            Value::Number(number) => Value::from(number.to_string()),
            other => other.clone(),
        },
        "google.protobuf.DoubleValue" | "google.protobuf.FloatValue" => crate::mesh::json::number(float(value)),
        "google.protobuf.Struct" | "google.protobuf.Value" | "google.protobuf.ListValue" => value.clone(),
        _ if value.is_object() => read_message(Some(kind), value),
        _ => value.clone(),
    }
}

fn enum_name(names: &EnumDescriptor, value: &Value) -> Value {
    let number = value.as_i64().and_then(|n| i32::try_from(n).ok());
    number.and_then(|n| names.get_value(n)).map_or_else(|| value.clone(), |v| Value::from(v.name()))
}

fn is_default(kind: &Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Enum(names), Value::String(name)) => names.get_value_by_name(name).is_some_and(|v| v.number() == 0),
        (_, Value::Bool(value)) => !value,
        (_, Value::String(text)) => text.is_empty() || text == "0" && !matches!(kind, Kind::String | Kind::Bytes),
        (_, Value::Number(number)) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                out.extend(c.to_uppercase());
                upper = false;
            }
            c => out.push(c),
        }
    }
    out
}

/// Merges a canonical message into another: lists are appended, map entries and an `Any` replaced, messages merged,
/// a member of a oneof takes the place of the others.
pub fn merge(name: &str, target: &mut Value, from: &Value) {
    merge_message(message(name).as_ref(), target, from);
}

fn merge_message(kind: Option<&MessageDescriptor>, target: &mut Value, from: &Value) {
    let Value::Object(target) = target else { return };
    for (key, value) in fields(from) {
        let field = kind.and_then(|k| k.get_field_by_json_name(key));
        if let Some(oneof) = field.as_ref().and_then(FieldDescriptor::containing_oneof) {
            for other in oneof.fields().filter(|f| f.json_name() != key) {
                target.shift_remove(other.json_name());
            }
        }
        let Some(old) = target.get_mut(key) else {
            target.insert(key.clone(), value.clone());
            continue;
        };
        let of = field.as_ref().map(FieldDescriptor::kind);
        let of = of.as_ref().and_then(Kind::as_message);
        match (&mut *old, value) {
            (Value::Array(old), Value::Array(new)) => old.extend(new.iter().cloned()),
            (Value::Object(entries), Value::Object(new))
                if field.as_ref().is_some_and(FieldDescriptor::is_map)
                    || of.is_some_and(|k| k.full_name() == "google.protobuf.Struct") =>
            {
                entries.extend(new.iter().map(|(k, v)| (k.clone(), v.clone())));
            }
            (Value::Object(_), Value::Object(new)) if !new.contains_key("@type") => merge_message(of, old, value),
            _ if of.is_some_and(is_wrapper) && is_zero(value) => {}
            _ => *old = value.clone(),
        }
    }
}

fn is_wrapper(kind: &MessageDescriptor) -> bool {
    kind.full_name().starts_with("google.protobuf.") && kind.full_name().ends_with("Value")
}

/// What a wrapper message holds when it is empty, so that merging it changes nothing.
fn is_zero(value: &Value) -> bool {
    matches!(value, Value::Bool(false)) || value.as_f64() == Some(0.0) || value.as_str().is_some_and(str::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_read_in_either_spelling_without_defaults() {
        let cluster = "envoy.config.cluster.v3.Cluster";
        let given = json!({"connect_timeout": "1.50s", "type": "STATIC", "lbPolicy": 3, "nonsense": 1,
            "per_connection_buffer_limit_bytes": 0, "max_requests_per_connection": null});
        assert_eq!(
            read(cluster, &given),
            json!({"connectTimeout": "1.500s", "type": "STATIC", "lbPolicy": "RANDOM",
                "perConnectionBufferLimitBytes": 0})
        );
        assert_eq!(read("no.such.Message", &given)["connectTimeout"], json!("1.50s"));
    }

    #[test]
    fn merging_follows_protobuf() {
        let mut route = json!({"name": "a", "route": {"cluster": "c"}, "requestHeadersToRemove": ["x"]});
        merge(
            "envoy.config.route.v3.Route",
            &mut route,
            &json!({"directResponse": {"status": 403}, "requestHeadersToRemove": ["y"]}),
        );
        assert_eq!(
            route,
            json!({"name": "a", "requestHeadersToRemove": ["x", "y"], "directResponse": {"status": 403}})
        );
    }
}

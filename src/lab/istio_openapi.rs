//! The schemas of Istio's resource definitions (`openAPIV3Schema`), made of the one description of their fields in
//! `istio::schema`: for `kubectl explain`, strict decoding and pruning. What values are refused is `istio_admission`'s.

use crate::istio::schema::{Field, Kind, Message, Shape, Type, schema};
use serde_json::{Map, Value, json};

/// The schema of a kind; all its versions share it.
pub fn of(kind: &Kind) -> Value {
    let mut root = json!({ "type": "object", "properties": {
        "spec": message(&schema().messages[kind.spec], 0),
        "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
    } });
    if kind.spec_required {
        root["required"] = json!(["spec"]);
    }
    root
}

/// Definitions cannot recurse, so neither do their messages; this only bounds a mistake.
const DEEPEST: usize = 32;

fn message(message: &Message, depth: usize) -> Value {
    let mut properties = Map::new();
    for field in &message.fields {
        let value = of_field(field, depth);
        if field.listed_twice {
            properties.insert(field.snake.clone(), value.clone());
        }
        properties.insert(field.name.to_string(), value);
    }
    let required: Vec<&str> = message.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut object = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn of_field(field: &Field, depth: usize) -> Value {
    let value = of_value(field, depth);
    let mut whole = match field.shape {
        Shape::One => return value,
        Shape::List => json!({ "type": "array", "items": value }),
        Shape::Map { .. } => json!({ "type": "object", "additionalProperties": value }),
    };
    if let Some(count) = &field.count {
        let (least, most) = match field.shape {
            Shape::List => ("minItems", "maxItems"),
            _ => ("minProperties", "maxProperties"),
        };
        if *count.start() > 0 {
            whole[least] = json!(count.start());
        }
        if *count.end() < usize::MAX {
            whole[most] = json!(count.end());
        }
    }
    if let Some(key) = field.key {
        whole["x-kubernetes-list-type"] = json!("map");
        whole["x-kubernetes-list-map-keys"] = json!([key]);
    }
    whole
}

fn of_value(field: &Field, depth: usize) -> Value {
    let mut value = match field.ty.bare() {
        Type::String | Type::Duration => json!({ "type": "string" }),
        Type::Bytes => json!({ "type": "string", "format": "binary" }),
        Type::Bool => json!({ "type": "boolean" }),
        Type::Int32 => json!({ "type": "integer", "format": "int32" }),
        Type::Uint32 | Type::Uint64 => json!({ "type": "integer" }),
        Type::Int64 => json!({ "type": "integer", "format": "int64" }),
        Type::Double => json!({ "type": "number", "format": "double" }),
        Type::IntOrString => json!({ "x-kubernetes-int-or-string": true }),
        Type::Struct | Type::Any => json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
        Type::Value => json!({ "x-kubernetes-preserve-unknown-fields": true }),
        Type::Enum(id) => json!({ "type": "string", "enum": schema().enums[*id].values }),
        Type::Message(id) if depth < DEEPEST => message(&schema().messages[*id], depth + 1),
        Type::Message(_) | Type::Nullable(_) => {
            json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
        }
    };
    if matches!(field.ty, Type::Nullable(_)) {
        value["nullable"] = json!(true);
    }
    let limits = &field.value;
    for (key, limit) in [("minimum", limits.minimum), ("maximum", limits.maximum)] {
        if let Some(limit) = limit {
            // Limits of whole numbers are written as such.
            value[key] = if limit.fract() == 0.0 && limit.abs() < 9e15 { json!(limit as i64) } else { json!(limit) };
        }
    }
    if let Some(length) = &limits.length {
        if *length.start() > 0 {
            value["minLength"] = json!(length.start());
        }
        if *length.end() < usize::MAX {
            value["maxLength"] = json!(length.end());
        }
    }
    if let Some(pattern) = &limits.pattern {
        value["pattern"] = json!(pattern.text);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateways_server_has_its_fields_types_and_words() {
        let gateway = of(schema().kind_named("Gateway").unwrap());
        let server = &gateway["properties"]["spec"]["properties"]["servers"]["items"];
        assert_eq!(server["required"], json!(["port", "hosts"]));
        assert_eq!(server["properties"]["port"]["properties"]["number"]["type"], "integer");
        let modes = server["properties"]["tls"]["properties"]["mode"]["enum"].as_array().unwrap();
        assert!(modes.contains(&json!("ISTIO_MUTUAL")), "{modes:?}");
        let entry = of(schema().kind_named("ServiceEntry").unwrap());
        assert_eq!(entry["required"], json!(["spec"]));
        assert_eq!(entry["properties"]["spec"]["properties"]["hosts"]["maxItems"], 256);
    }

    #[test]
    fn every_kind_has_a_schema_of_bounded_size() {
        for kind in &schema().kinds {
            let size = of(kind).to_string().len();
            assert!((200..2_000_000).contains(&size), "{}: {size} bytes", kind.name);
        }
    }
}

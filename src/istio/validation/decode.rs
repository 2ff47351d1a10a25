//! Reads a `spec` as istiod's decoder does: both spellings of a field, numbers in quotes, the last of exclusive
//! fields, unknown fields passed over. What comes out holds camelCase names in the definition's order, maps
//! sorted, durations in nanoseconds, and nothing that is at its default.

use crate::istio::go::{duration, json, quote};
use crate::istio::schema::envoy::envoy;
use crate::istio::schema::{Enum, Field, Message, Schema, Shape, Type, schema};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Decodes a spec of Istio; `null` is an empty one.
///
/// # Errors
/// The decoder's words for the first value that it cannot read.
pub fn decode(spec: &Value, message: &Message) -> Result<Value, String> {
    Decoder { schema: schema(), strict: false }.message(spec, message)
}

/// Reads messages of one schema.
#[derive(Clone, Copy)]
pub(super) struct Decoder {
    pub schema: &'static Schema,
    /// Whether unknown fields are errors.
    pub strict: bool,
}

impl Decoder {
    /// Decodes a message; `null` is an empty one.
    pub fn message(self, raw: &Value, message: &Message) -> Result<Value, String> {
        if raw.is_null() {
            return Ok(Value::Object(Map::new()));
        }
        let fields = raw.as_object().ok_or_else(|| json::cannot(raw, "map[string]json.RawMessage"))?;
        let mut decoded = Map::new();
        for field in &message.fields {
            let raw = fields.get(field.name).or_else(|| fields.get(&field.snake)).filter(|raw| !raw.is_null());
            let Some(raw) = raw else { continue };
            let value = self.field(raw, field)?;
            if let Some(group) = field.oneof {
                for other in &message.oneofs[group].fields {
                    decoded.remove(message.fields[*other].name);
                }
            } else if self.is_default(&value, field) {
                continue;
            }
            decoded.insert(field.name.to_string(), value);
        }
        if self.strict {
            let known = |name: &str| message.fields.iter().any(|field| field.name == name || field.snake == name);
            if let Some(name) = fields.keys().filter(|name| !known(name)).min() {
                return Err(format!("unknown field {} in {}", quote(name), message.name));
            }
        }
        Ok(Value::Object(decoded))
    }

    /// Whether a decoder that keeps no presence would not tell the value from an absent one.
    fn is_default(self, value: &Value, field: &Field) -> bool {
        match (field.shape, &field.ty) {
            (Shape::List, _) => value.as_array().is_some_and(Vec::is_empty),
            (Shape::Map { .. }, _)
            | (_, Type::Message(_) | Type::Nullable(_) | Type::Duration | Type::Struct | Type::Any | Type::Value) => {
                false
            }
            (_, Type::Enum(id)) => value.as_str() == self.schema.enums[*id].values.first().copied(),
            _ => match value {
                Value::Bool(value) => !value,
                Value::Number(number) => number.as_f64() == Some(0.0),
                Value::String(text) => text.is_empty(),
                _ => false,
            },
        }
    }

    fn field(self, raw: &Value, field: &Field) -> Result<Value, String> {
        match field.shape {
            Shape::One => self.value(raw, &field.ty),
            Shape::List => {
                let items = raw.as_array().ok_or_else(|| json::cannot(raw, "[]json.RawMessage"))?;
                Ok(Value::Array(items.iter().map(|item| self.value(item, &field.ty)).collect::<Result<_, _>>()?))
            }
            Shape::Map { numeric_keys } => {
                let entries = raw.as_object().ok_or_else(|| json::cannot(raw, "map[string]json.RawMessage"))?;
                let mut sorted = BTreeMap::new();
                for (key, value) in entries {
                    if numeric_keys {
                        number(&Value::String(key.clone()), 0, i128::from(u32::MAX), "uint32")?;
                    }
                    sorted.insert(key.clone(), self.value(value, &field.ty)?);
                }
                Ok(Value::Object(sorted.into_iter().collect()))
            }
        }
    }

    fn value(self, raw: &Value, ty: &Type) -> Result<Value, String> {
        match ty {
            Type::String => match raw {
                Value::String(_) => Ok(raw.clone()),
                Value::Null => Ok("".into()),
                other => Err(json::cannot(other, "string")),
            },
            Type::Bytes => match raw {
                Value::String(text) => base64(text).map(|_| raw.clone()),
                Value::Null => Ok("".into()),
                other => Err(json::cannot(other, "[]uint8")),
            },
            Type::Bool => match raw {
                Value::Bool(_) => Ok(raw.clone()),
                Value::Null => Ok(false.into()),
                other => Err(json::cannot(other, "bool")),
            },
            Type::Int32 => number(raw, i32::MIN.into(), i32::MAX.into(), "int32"),
            Type::Uint32 => number(raw, 0, u32::MAX.into(), "uint32"),
            Type::Int64 => number(raw, i64::MIN.into(), i64::MAX.into(), "int64"),
            Type::Uint64 => number(raw, 0, u64::MAX.into(), "uint64"),
            Type::Double => double(raw),
            Type::Duration => match raw {
                Value::String(text) => {
                    duration::parse(text).map(Value::from).map_err(|error| format!("bad Duration: {error}"))
                }
                Value::Null => Ok(0.into()),
                other => Err(json::cannot(other, "string")),
            },
            Type::Struct => match raw {
                Value::Object(_) => Ok(raw.clone()),
                Value::Null => Ok(Value::Object(Map::new())),
                other => Err(format!("bad StructValue: {}", json::cannot(other, "map[string]json.RawMessage"))),
            },
            Type::IntOrString | Type::Value => Ok(raw.clone()),
            Type::Any => self.any(raw),
            Type::Enum(id) => choice(raw, &self.schema.enums[*id]),
            Type::Message(id) => self.message(raw, &self.schema.messages[*id]),
            Type::Nullable(inner) => self.value(raw, inner),
        }
    }

    /// A message that names its type by `@type`. What is not described may hold anything.
    fn any(self, raw: &Value) -> Result<Value, String> {
        let fields = raw.as_object().ok_or_else(|| json::cannot(raw, "map[string]json.RawMessage"))?;
        let url = fields.get("@type").ok_or("Any JSON doesn't have '@type'")?;
        let Some(url) = url.as_str() else {
            return Err(format!("can't unmarshal Any's '@type': {}", quote(&url.to_string())));
        };
        let name = url.rsplit('/').next().unwrap_or_default();
        if !envoy().knows(name) {
            return Err(format!("could not resolve Any message type: {url}"));
        }
        if let Some(message) = envoy().message(name) {
            let mut rest = fields.clone();
            rest.shift_remove("@type");
            self.message(&Value::Object(rest), message)
                .map_err(|error| format!("can't unmarshal Any nested proto {url}: {error}"))?;
        }
        Ok(raw.clone())
    }
}

/// A whole number, in quotes or not.
fn number(raw: &Value, low: i128, high: i128, go_type: &str) -> Result<Value, String> {
    let value = match raw {
        Value::Null => 0,
        Value::Number(number) => json::integer(&json::number(number), low, high, go_type)?,
        Value::String(text) => match json::bare(text)? {
            json::Bare::Null => 0,
            json::Bare::Number(digits) => json::integer(digits, low, high, go_type)?,
            json::Bare::Other(kind) => {
                return Err(format!("json: cannot unmarshal {kind} into Go value of type {go_type}"));
            }
        },
        other => return Err(json::cannot(other, go_type)),
    };
    Ok(i64::try_from(value).map_or_else(|_| Value::from(value as u64), Value::from))
}

fn double(raw: &Value) -> Result<Value, String> {
    match raw {
        Value::Number(_) => Ok(raw.clone()),
        Value::Null => Ok(0.into()),
        // Not a number and the infinities have no JSON form: the checks see the nearest thing.
        Value::String(text) if text == "NaN" => Ok(0.into()),
        Value::String(text) if text == "Infinity" => Ok(f64::MAX.into()),
        Value::String(text) if text == "-Infinity" => Ok(f64::MIN.into()),
        Value::String(text) => match json::bare(text)? {
            json::Bare::Null => Ok(0.into()),
            json::Bare::Number(digits) => Ok(digits.parse::<f64>().unwrap_or_default().into()),
            json::Bare::Other(kind) => Err(format!("json: cannot unmarshal {kind} into Go value of type float64")),
        },
        other => Err(json::cannot(other, "float64")),
    }
}

/// An enumeration's value by name; a number that has a name by that name.
fn choice(raw: &Value, known: &Enum) -> Result<Value, String> {
    match raw {
        Value::String(text) if known.values.contains(&text.as_str()) => Ok(raw.clone()),
        Value::String(_) => Err(format!("unknown value {} for enum {}", quote(&raw.to_string()), known.full_name)),
        Value::Number(number) => {
            let go_type = "protoreflect.EnumNumber";
            let index = json::integer(&json::number(number), i32::MIN.into(), i32::MAX.into(), go_type)?;
            let name = usize::try_from(index).ok().and_then(|index| known.values.get(index));
            Ok(name.map_or_else(|| raw.clone(), |name| Value::from(*name)))
        }
        Value::Null => Ok(known.values.first().copied().unwrap_or_default().into()),
        other => Err(json::cannot(other, "protoreflect.EnumNumber")),
    }
}

/// Bytes of a base64 text, or Go's error.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, String> {
    use base64::DecodeError::{InvalidByte, InvalidLastSymbol, InvalidLength, InvalidPadding};
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    STANDARD.decode(&text).map_err(|error| {
        let at = match error {
            InvalidByte(at, _) | InvalidLastSymbol(at, _) => at,
            InvalidLength(_) | InvalidPadding => text.len(),
        };
        format!("illegal base64 data at input byte {at}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(kind: &str, spec: Value) -> Result<Value, String> {
        let schema = schema();
        decode(&spec, &schema.messages[schema.kind_named(kind).unwrap().spec])
    }

    #[test]
    fn both_spellings_and_quoted_numbers_are_read() {
        let spec = json!({"hosts": ["a.b"], "workload_selector": {"labels": {"b": "1", "a": "2"}},
                          "ports": [{"number": "443", "name": "tls", "target_port": 8443}]});
        let wanted = json!({"hosts": ["a.b"], "ports": [{"number": 443, "name": "tls", "targetPort": 8443}],
                            "workloadSelector": {"labels": {"a": "2", "b": "1"}}});
        assert_eq!(read("ServiceEntry", spec), Ok(wanted));
    }

    #[test]
    fn the_last_of_exclusive_fields_wins() {
        let spec = json!({"host": "a", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM", "consistentHash": {}}}});
        let decoded = read("DestinationRule", spec).unwrap();
        assert_eq!(decoded.pointer("/trafficPolicy/loadBalancer"), Some(&json!({"consistentHash": {}})));
    }

    #[test]
    fn values_are_refused_in_the_decoders_words() {
        let error = |spec| read("ServiceEntry", spec).unwrap_err();
        assert_eq!(
            error(json!({"resolution": "dns"})),
            "unknown value \"\\\"dns\\\"\" for enum istio.networking.v1alpha3.ServiceEntry.Resolution"
        );
        assert_eq!(
            error(json!({"ports": [{"number": 443.5}]})),
            "json: cannot unmarshal number 443.5 into Go value of type uint32"
        );
        assert_eq!(
            error(json!({"ports": {}})),
            "json: cannot unmarshal object into Go value of type []json.RawMessage"
        );
    }
}

//! Resources between their two forms: proto3 JSON, in which this program builds, compares and prints
//! them, and the protobuf bytes that Envoy reads. Driven by the descriptors compiled from `proto/`;
//! nothing is encoded by hand. May not know what a resource means.

use crate::message::descriptors;
use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::de::DeserializeSeed as _;
use serde_json::Value;

/// `google.protobuf.Any`: a type URL and the encoded message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// Why a resource has no protobuf form: an unknown type or field, or a value of the wrong kind.
/// The text is the protobuf library's and names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{type_name}: {cause}")]
pub struct WireError {
    pub type_name: String,
    pub cause: String,
}

/// Encodes proto3 JSON with an `@type` at its top. Unknown fields and types are errors.
pub fn encode(body: &Value) -> Result<Any, WireError> {
    let type_url = body.get("@type").and_then(Value::as_str).unwrap_or_default();
    let type_name = type_url.rsplit('/').next().unwrap_or_default();
    let failed = |cause: String| WireError { type_name: type_name.to_string(), cause };
    let message = DynamicMessage::deserialize(descriptor("google.protobuf.Any")?, body)
        .map_err(|error| failed(error.to_string()))?;
    // The dynamic Any has exactly these two fields; encoding it and reading it back moves them out.
    Any::decode(message.encode_to_vec().as_slice()).map_err(|error| failed(error.to_string()))
}

/// Encodes a body that may leave its `@type` out, since its place tells the type.
pub fn encode_as(type_url: &str, body: &Value) -> Result<Any, WireError> {
    if body.get("@type").is_some() {
        return encode(body);
    }
    let type_name = type_url.rsplit('/').next().unwrap_or_default();
    let message = descriptor(type_name)?
        .deserialize(body)
        .map_err(|error| WireError { type_name: type_name.to_string(), cause: error.to_string() })?;
    Ok(Any { type_url: type_url.to_string(), value: message.encode_to_vec().into() })
}

/// Decodes to proto3 JSON with an `@type`: lowerCamelCase names, default values left out.
pub fn decode(any: &Any) -> Result<Value, WireError> {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let mut body = decode_message(name, &any.value)?;
    if let Value::Object(fields) = &mut body {
        fields.shift_insert(0, "@type".to_string(), Value::String(any.type_url.clone()));
    }
    Ok(body)
}

/// Decodes a message of the type `name` (`envoy.config.core.v3.Node`) to proto3 JSON.
pub fn decode_message(name: &str, bytes: &[u8]) -> Result<Value, WireError> {
    let failed = |cause: String| WireError { type_name: name.to_string(), cause };
    let message = DynamicMessage::decode(descriptor(name)?, bytes).map_err(|error| failed(error.to_string()))?;
    message
        .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
        .map_err(|error| failed(error.to_string()))
}

/// Checks proto3 JSON of a message that is not wrapped in an Any against the descriptors.
pub fn check_message(name: &str, body: &Value) -> Result<(), WireError> {
    descriptor(name)?
        .deserialize(body)
        .map(|_| ())
        .map_err(|error| WireError { type_name: name.to_string(), cause: error.to_string() })
}

fn descriptor(name: &str) -> Result<MessageDescriptor, WireError> {
    let failed = |cause: &str| WireError { type_name: name.to_string(), cause: cause.to_string() };
    let pool = descriptors::pool().map_err(failed)?;
    pool.get_message_by_name(name).ok_or_else(|| failed("this program knows no such message (proto/roots.txt)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_and_types_are_refused_by_name() {
        let cluster = json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "a", "nmae": "b"});
        let error = encode(&cluster).unwrap_err();
        assert_eq!(error.type_name, "envoy.config.cluster.v3.Cluster");
        assert!(error.cause.contains("nmae"), "{error}");
        let absent = encode(&json!({"@type": "type.googleapis.com/envoy.Nothing"})).unwrap_err();
        assert!(absent.cause.contains("envoy.Nothing"), "{absent}");
        assert!(encode(&json!({"name": "no type"})).is_err());
    }

    #[test]
    fn field_numbers_are_envoys() {
        // Cluster.name = 1 (LEN), Cluster.connect_timeout = 4 (LEN) { seconds = 1 }.
        let body = json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "a",
            "connectTimeout": "10s"});
        let any = encode(&body).unwrap();
        assert_eq!(any.value.as_ref(), [0x0a, 1, b'a', 0x22, 2, 0x08, 10]);
        assert_eq!(decode(&any).unwrap(), body);
    }
}

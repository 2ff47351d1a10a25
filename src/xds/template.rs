//! Encoding: a template is encoded once, and each body that it is filled for is its bytes with another text in them.
//! A text stands in fields that hold it and in the messages around them, whose lengths it changes.

use super::references::References;
use super::resource::{Resource, ResourceType};
use super::wire::{self, Any, WireError};
use crate::message::{MARK, Template};
use std::collections::HashMap;
use std::sync::Arc;

/// What was encoded of one type of resource so far.
#[derive(Debug, Default)]
pub(super) struct Templates {
    /// By the template's address; it is held, so that no other gets the same.
    known: HashMap<usize, (Arc<Template>, Option<Encoded>)>,
}

#[derive(Debug)]
struct Encoded {
    type_url: String,
    parts: Vec<Part>,
    references: References,
}

impl Templates {
    /// A resource's bytes, and what it refers to.
    pub fn encode(&mut self, kind: ResourceType, resource: &Resource) -> Result<(Any, References), WireError> {
        if let Some((template, text)) = resource.body.template() {
            let address = Arc::as_ptr(template) as usize;
            let known = self.known.entry(address).or_insert_with(|| (template.clone(), encode(kind, template)));
            if let Some(encoded) = &known.1 {
                return Ok(encoded.fill(kind, resource, text));
            }
        }
        let encoded = wire::encode_as(kind.type_url(), &resource.body)?;
        Ok((encoded, References::of(kind, &resource.name, &resource.body)))
    }
}

/// `None` for a template that has no protobuf form, or one in which the marks are not found again.
fn encode(kind: ResourceType, template: &Template) -> Option<Encoded> {
    let any = wire::encode_as(kind.type_url(), template.value()).ok()?;
    let parts = split(&any.value, &template.marked())?;
    Some(Encoded { type_url: any.type_url, parts, references: References::of(kind, MARK, template.value()) })
}

impl Encoded {
    fn fill(&self, kind: ResourceType, resource: &Resource, text: &str) -> (Any, References) {
        let mut bytes = Vec::new();
        fill(&self.parts, text, &mut bytes);
        let mut references = self.references.fill(text);
        if references.endpoints.is_some() && kind == ResourceType::Cluster {
            // A cluster that gives no name of a service means its own.
            let named = resource.body.shape().pointer("/edsClusterConfig/serviceName").is_some();
            references.endpoints = references.endpoints.filter(|_| named).or_else(|| Some(resource.name.to_string()));
        }
        (Any { type_url: self.type_url.clone(), value: bytes.into() }, references)
    }
}

/// A run of a message's bytes.
#[derive(Debug)]
enum Part {
    Bytes(Vec<u8>),
    /// A string with marks: its tag, and what stands between the marks.
    Text(Vec<u8>, Vec<String>),
    /// A message with such strings in it.
    Message(Vec<u8>, Vec<Part>),
}

/// Cuts a message into parts; `marked` are the strings with marks. `None` when a mark is in none of them.
fn split(message: &[u8], marked: &[&str]) -> Option<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let (field, after) = field(rest)?;
        let whole = &rest[..rest.len() - after.len()];
        rest = after;
        let Some((tag, payload)) = field.filter(|(_, payload)| contains_mark(payload)) else {
            match parts.last_mut() {
                Some(Part::Bytes(bytes)) => bytes.extend_from_slice(whole),
                _ => parts.push(Part::Bytes(whole.to_vec())),
            }
            continue;
        };
        parts.push(match marked.iter().find(|text| text.as_bytes() == payload) {
            Some(text) => Part::Text(tag.to_vec(), text.split(MARK).map(str::to_owned).collect()),
            None => Part::Message(tag.to_vec(), split(payload, marked)?),
        });
    }
    Some(parts)
}

fn contains_mark(payload: &[u8]) -> bool {
    payload.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

type Delimited<'a> = Option<(&'a [u8], &'a [u8])>;

/// The first field: tag and payload if it has a length, and what follows it.
fn field(bytes: &[u8]) -> Option<(Delimited<'_>, &[u8])> {
    let (tag, after_tag) = varint(bytes)?;
    match tag & 7 {
        0 => Some((None, varint(after_tag)?.1)),
        1 => Some((None, after_tag.get(8..)?)),
        5 => Some((None, after_tag.get(4..)?)),
        2 => {
            let (length, payload) = varint(after_tag)?;
            let (payload, after) = payload.split_at_checked(usize::try_from(length).ok()?)?;
            Some((Some((&bytes[..bytes.len() - after_tag.len()], payload)), after))
        }
        _ => None,
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index as u32).min(63);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

fn put_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn fill(parts: &[Part], text: &str, out: &mut Vec<u8>) {
    for part in parts {
        match part {
            Part::Bytes(bytes) => out.extend_from_slice(bytes),
            Part::Text(tag, between) => {
                let filled = between.join(text);
                out.extend_from_slice(tag);
                put_length(filled.len(), out);
                out.extend_from_slice(filled.as_bytes());
            }
            Part::Message(tag, parts) => {
                let mut inner = Vec::new();
                fill(parts, text, &mut inner);
                out.extend_from_slice(tag);
                put_length(inner.len(), out);
                out.extend_from_slice(&inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Body;
    use serde_json::json;

    fn cluster(text: &str) -> serde_json::Value {
        json!({
            "name": format!("outbound|443|{text}|host"),
            "altStatName": format!("outbound|443|{text}|host;"),
            "type": "EDS",
            "edsClusterConfig": {"serviceName": format!("outbound|443|{text}|host"), "edsConfig": {"ads": {}}},
            "metadata": {"filterMetadata": {"istio": {"subset": text, "weight": 1.5}}},
            "transportSocket": {"name": "envoy.transport_sockets.tls", "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": format!("outbound_.443_.{text}_.host"),
                "commonTlsContext": {"tlsCertificateSdsSecretConfigs": [{"name": text, "sdsConfig": {"ads": {}}}]},
            }},
        })
    }

    #[test]
    fn a_filled_template_is_encoded_as_the_whole_body() {
        let template = Arc::new(Template::new(cluster(MARK)).unwrap());
        let mut templates = Templates::default();
        let long = "l".repeat(300);
        for text in ["v1", "", "é", &long] {
            let name: Arc<str> = format!("outbound|443|{text}|host").into();
            let filled = Resource { name: name.clone(), body: Body::filled(template.clone(), text) };
            let whole = Resource { name, body: cluster(text).into() };
            let got = templates.encode(ResourceType::Cluster, &filled).unwrap();
            let want = Templates::default().encode(ResourceType::Cluster, &whole).unwrap();
            assert_eq!(wire::decode(&got.0).unwrap(), wire::decode(&want.0).unwrap(), "{text}");
            assert_eq!(got.1, want.1, "{text}");
        }
        assert!(templates.known.values().all(|(_, encoded)| encoded.is_some()), "the template was of no use");
    }

    #[test]
    fn what_cannot_be_encoded_is_told_as_without_a_template() {
        let template = Arc::new(Template::new(json!({"name": MARK, "nmae": MARK})).unwrap());
        let resource = Resource { name: "a".into(), body: Body::filled(template, "a") };
        let error = Templates::default().encode(ResourceType::Cluster, &resource).unwrap_err();
        assert!(error.cause.contains("nmae"), "{error}");
    }
}

//! The fields of Istio's kinds: names, types, requirements, ranges, patterns and rules.
//!
//! One description (`kinds.txt`, `traffic.txt`, `policies.txt`) serves unknown-field detection, schema errors,
//! decoding, the lab's API and the suggestions for misspelt fields. It holds facts only; the wording of
//! errors is `validation`'s.

pub mod envoy;
mod parse;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

/// Index of a message in [`Schema::messages`].
pub type MessageId = usize;

/// Everything that the description files say.
#[derive(Debug)]
pub struct Schema {
    pub kinds: Vec<Kind>,
    pub messages: Vec<Message>,
    pub enums: Vec<Enum>,
    pub rules: Vec<Rule>,
    /// The message of every `status`.
    pub status: MessageId,
}

/// A kind that the API server serves.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    pub group: &'static str,
    /// Served versions, preferred first; all share one schema.
    pub versions: Vec<&'static str>,
    pub plural: &'static str,
    pub short_names: Vec<&'static str>,
    /// Whether an object without `spec` is refused.
    pub spec_required: bool,
    pub spec: MessageId,
}

/// An object type: the fields of a `spec` or of something beneath it.
#[derive(Debug)]
pub struct Message {
    pub name: &'static str,
    /// In the order in which a decoder reads them.
    pub fields: Vec<Field>,
    by_name: HashMap<&'static str, usize>,
    /// Rules on the object as a whole.
    pub rules: Vec<usize>,
    pub oneofs: Vec<OneOf>,
}

/// Fields of which at most one may be set.
#[derive(Debug)]
pub struct OneOf {
    pub name: &'static str,
    /// Indices into [`Message::fields`].
    pub fields: Vec<usize>,
}

/// One field of a message.
#[derive(Debug)]
pub struct Field {
    /// The camelCase name.
    pub name: &'static str,
    /// The snake_case name, which decoders accept too.
    pub snake: String,
    pub shape: Shape,
    pub ty: Type,
    pub required: bool,
    /// Allowed number of list items or map entries.
    pub count: Option<RangeInclusive<usize>>,
    /// Field that must differ between the items of a list.
    pub key: Option<&'static str>,
    /// Rules on the whole list or map.
    pub all_rules: Vec<usize>,
    /// Constraints of the value, or of each item or entry.
    pub value: Constraints,
    /// Whether the resource definition lists the snake_case name as a property of its own.
    pub listed_twice: bool,
    /// Group of [`Message::oneofs`] that the field belongs to.
    pub oneof: Option<usize>,
}

/// How often a field occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    One,
    List,
    /// A map from strings, or from numbers written as strings.
    Map {
        numeric_keys: bool,
    },
}

/// The type of a field's value (of each item for lists and maps).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    String,
    Bytes,
    Bool,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Double,
    /// Seconds as text: `1.5s`, `250ms`.
    Duration,
    /// Any object.
    Struct,
    /// A message that names its type (Envoy's only).
    Any,
    /// Whatever JSON can hold (Envoy's only).
    Value,
    IntOrString,
    Enum(usize),
    Message(MessageId),
    /// A scalar for which `null` is allowed and means unset.
    Nullable(Box<Type>),
}

impl Type {
    /// The type that a word of a schema file names by itself; `None` for a message or an enum.
    fn scalar(word: &str) -> Option<Type> {
        Some(match word {
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "bool" => Type::Bool,
            "int32" => Type::Int32,
            "uint32" => Type::Uint32,
            "int64" => Type::Int64,
            "uint64" => Type::Uint64,
            "double" => Type::Double,
            "duration" => Type::Duration,
            "struct" => Type::Struct,
            "int-or-string" => Type::IntOrString,
            "any" => Type::Any,
            _ => return None,
        })
    }
}

/// Constraints of one value.
#[derive(Debug, Default)]
pub struct Constraints {
    /// Length of a string in bytes.
    pub length: Option<RangeInclusive<usize>>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub pattern: Option<Pattern>,
    pub rules: Vec<usize>,
}

/// A regular expression that a string must match.
#[derive(Debug)]
pub struct Pattern {
    pub text: &'static str,
    pub regex: regex::Regex,
}

/// An enumeration; numbers are positions.
#[derive(Debug)]
pub struct Enum {
    pub name: &'static str,
    /// The full name, as decode errors show it.
    pub full_name: &'static str,
    pub values: Vec<&'static str>,
}

/// A rule in the Common Expression Language.
#[derive(Debug)]
pub struct Rule {
    pub name: &'static str,
    pub message: &'static str,
    pub expression: &'static str,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(parse::embedded);

/// The schema of Istio 1.30.
pub fn schema() -> &'static Schema {
    &SCHEMA
}

impl Schema {
    /// The kind of that name in that API group (`networking.istio.io`).
    pub fn kind(&self, group: &str, kind: &str) -> Option<&Kind> {
        self.kinds.iter().find(|k| k.name == kind && k.group == group)
    }

    /// The kind of that name; Istio's kinds differ in name.
    pub fn kind_named(&self, kind: &str) -> Option<&Kind> {
        self.kinds.iter().find(|k| k.name == kind)
    }

    /// The field at `path` beneath `spec` of `kind`. Steps are field names; indices and map keys are any text:
    /// `["servers", "0", "tls"]`.
    pub fn field(&self, kind: &str, path: &[&str]) -> Option<&Field> {
        let (last, above) = path.split_last()?;
        self.message_at(kind, above)?.field(last)
    }

    /// The message at `path` beneath `spec` of `kind`: what to offer for a misspelt field there.
    pub fn message_at(&self, kind: &str, path: &[&str]) -> Option<&Message> {
        let mut message = &self.messages[self.kind_named(kind)?.spec];
        let mut steps = path.iter();
        while let Some(step) = steps.next() {
            let field = message.field(step)?;
            if field.shape != Shape::One && steps.next().is_none() {
                return None;
            }
            message = self.message_of(field)?;
        }
        Some(message)
    }

    /// The message that a field's value (or each of its values) is.
    pub fn message_of(&self, field: &Field) -> Option<&Message> {
        match field.ty {
            Type::Message(id) => self.messages.get(id),
            _ => None,
        }
    }
}

impl Kind {
    /// Whether `apiVersion` is one of the served ones.
    pub fn serves(&self, api_version: &str) -> bool {
        api_version
            .split_once('/')
            .is_some_and(|(group, version)| group == self.group && self.versions.contains(&version))
    }
}

impl Message {
    /// The field that the resource definition lists under `name`.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.by_name.get(name).map(|index| &self.fields[*index])
    }

    /// Names of all fields.
    pub fn field_names(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|field| field.name)
    }
}

impl Type {
    /// The type without its nullable wrapper.
    pub fn bare(&self) -> &Type {
        match self {
            Type::Nullable(inner) => inner,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_kind_and_path_through_lists_and_maps() {
        let schema = schema();
        let mode = schema.field("Gateway", &["servers", "0", "tls", "mode"]).unwrap();
        assert!(matches!(mode.ty, Type::Enum(id) if schema.enums[id].values[4] == "ISTIO_MUTUAL"));
        let header = schema.field("VirtualService", &["http", "1", "match", "0", "headers", "x-env", "exact"]).unwrap();
        assert_eq!(header.ty, Type::String);
        assert!(schema.field("Gateway", &["servers", "tls"]).is_none());
        assert!(schema.field("Gateway", &["server"]).is_none());
    }

    #[test]
    fn every_message_is_reached_from_a_kind_or_a_status() {
        let schema = schema();
        let mut reached = vec![false; schema.messages.len()];
        let mut open: Vec<MessageId> = schema.kinds.iter().map(|kind| kind.spec).chain([schema.status]).collect();
        while let Some(id) = open.pop() {
            if !std::mem::replace(&mut reached[id], true) {
                open.extend(schema.messages[id].fields.iter().filter_map(|field| match field.ty {
                    Type::Message(next) => Some(next),
                    _ => None,
                }));
            }
        }
        let lost: Vec<_> =
            schema.messages.iter().zip(&reached).filter(|(_, hit)| !**hit).map(|(m, _)| m.name).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }

    #[test]
    fn a_kind_serves_its_versions_only() {
        let kind = schema().kind_named("ServiceEntry").unwrap();
        assert!(kind.serves("networking.istio.io/v1beta1"));
        assert!(!kind.serves("networking.istio.io/v2"));
        assert!(!kind.serves("security.istio.io/v1"));
    }
}

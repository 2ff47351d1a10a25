//! The field types of the built-in kinds: which lists are merged by which keys, which fields exist.
//! One table for server-side apply, strategic merge patches, strict decoding, protobuf and OpenAPI.
//! Custom resources are read without a schema: maps are merged, lists are replaced whole.

use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

/// The type of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Text,
    /// Base64 in JSON.
    Bytes,
    Number,
    Boolean,
    Quantity,
    IntOrText,
    Time,
    MicroTime,
    /// Anything: a scalar, a map merged by key, or a list replaced whole.
    Any,
    Named(String),
    /// A list replaced whole.
    Atomic(Box<Type>),
    /// A list of distinct scalars.
    Set(Box<Type>),
    /// A list merged by these keys of its elements.
    Keyed(Vec<String>, Box<Type>),
    Map(Box<Type>),
    /// A map replaced whole.
    AtomicMap(Box<Type>),
}

#[derive(Debug, Default)]
pub struct Struct {
    /// Replaced whole.
    pub atomic: bool,
    /// Fields that are not listed are allowed, and of type `Any`.
    pub open: bool,
    pub fields: BTreeMap<String, Type>,
    /// Defaults of fields, needed where a key of a list is left out (a port's protocol).
    pub defaults: BTreeMap<String, Value>,
    /// Fields by their number in protobuf; two numbers for a field inside an embedded message.
    pub numbers: HashMap<(u32, u32), String>,
}

pub struct Schema {
    types: HashMap<String, Struct>,
}

/// The name of the type of every object without a schema.
const CUSTOM: &str = "custom";

const ANY: &Type = &Type::Any;

/// How a value of some type is put together, for a walk.
pub enum Shape<'s> {
    /// Replaced whole: scalars, atomic lists and maps.
    Whole,
    Struct(&'s Struct),
    Map(&'s Type),
    Set,
    Keyed(&'s [String], &'s Type),
}

impl Schema {
    /// The schema of the built-in kinds.
    pub fn builtin() -> &'static Schema {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| Schema::parse(include_str!("schema/builtin.txt")))
    }

    fn parse(text: &str) -> Schema {
        let mut types: HashMap<String, Struct> = HashMap::new();
        let mut current = String::new();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            if let Some(field) = line.strip_prefix(' ') {
                let mut words = field.splitn(3, ' ');
                let (Some(name), Some(kind)) = (words.next(), words.next()) else { continue };
                let entry = types.entry(current.clone()).or_default();
                entry.fields.insert(name.into(), parse_type(kind));
                for word in words.next().unwrap_or("").split(' ') {
                    if let Some(number) = word.strip_prefix('#') {
                        let (outer, inner) = number.split_once('.').unwrap_or((number, "0"));
                        let path = (outer.parse().unwrap_or(0), inner.parse().unwrap_or(0));
                        entry.numbers.insert(path, name.into());
                    } else if let Ok(value) = serde_json::from_str(word) {
                        entry.defaults.insert(name.into(), value);
                    }
                }
            } else {
                let (name, atomic) = line.strip_suffix(" !").map_or((line, false), |n| (n, true));
                current = name.to_string();
                types.entry(current.clone()).or_default().atomic = atomic;
            }
        }
        let mut custom = Struct { open: true, ..Struct::default() };
        custom.fields.insert("apiVersion".into(), Type::Text);
        custom.fields.insert("kind".into(), Type::Text);
        custom.fields.insert("metadata".into(), Type::Named("apis.meta.v1.ObjectMeta".into()));
        types.insert(CUSTOM.into(), custom);
        Schema { types }
    }

    /// The type of the objects of a kind; a kind that is not built in has an open type.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Type {
        let name = format!("{}.{version}.{kind}", short_group(group));
        Type::Named(if self.types.contains_key(&name) { name } else { CUSTOM.into() })
    }

    pub fn named(&self, name: &str) -> Option<&Struct> {
        self.types.get(name)
    }

    pub fn shape<'s>(&'s self, ty: &'s Type, value: &Value) -> Shape<'s> {
        match (ty, value) {
            (Type::Named(name), Value::Object(_)) => match self.types.get(name) {
                Some(s) if !s.atomic => Shape::Struct(s),
                _ => Shape::Whole,
            },
            (Type::Map(item), Value::Object(_)) => Shape::Map(item),
            (Type::Any, Value::Object(_)) => Shape::Map(ANY),
            (Type::Set(_), Value::Array(_)) => Shape::Set,
            (Type::Keyed(keys, item), Value::Array(_)) => Shape::Keyed(keys, item),
            _ => Shape::Whole,
        }
    }

    /// The type of a struct's field; unknown fields are `Any`.
    pub fn field<'s>(&'s self, s: &'s Struct, name: &str) -> &'s Type {
        s.fields.get(name).unwrap_or(ANY)
    }

    /// The element type of a list or map type, seen through names.
    pub fn item<'s>(&'s self, ty: &'s Type) -> &'s Type {
        match ty {
            Type::Atomic(t) | Type::Set(t) | Type::Keyed(_, t) | Type::Map(t) | Type::AtomicMap(t) => t,
            _ => ANY,
        }
    }

    /// A list element's value of a key, its default when left out.
    pub fn key<'v>(&'v self, item: &Type, element: &'v Value, key: &str) -> &'v Value {
        if let Some(value) = element.get(key) {
            return value;
        }
        match item {
            Type::Named(name) => self.types.get(name).and_then(|s| s.defaults.get(key)).unwrap_or(&Value::Null),
            _ => &Value::Null,
        }
    }
}

fn parse_type(text: &str) -> Type {
    let (first, rest) = text.split_at(1.min(text.len()));
    match first {
        "s" => Type::Text,
        "y" => Type::Bytes,
        "n" => Type::Number,
        "q" => Type::Quantity,
        "i" => Type::IntOrText,
        "t" => Type::Time,
        "m" => Type::MicroTime,
        "b" => Type::Boolean,
        "@" => Type::Named(rest.into()),
        "<" => Type::Atomic(Box::new(parse_type(rest))),
        "=" => Type::Set(Box::new(parse_type(rest))),
        "{" => match rest.strip_prefix('!') {
            Some(item) => Type::AtomicMap(Box::new(parse_type(item))),
            None => Type::Map(Box::new(parse_type(rest))),
        },
        "(" => match rest.split_once(')') {
            Some((keys, item)) => {
                Type::Keyed(keys.split(',').map(str::to_string).collect(), Box::new(parse_type(item)))
            }
            None => Type::Any,
        },
        _ => Type::Any,
    }
}

/// How the table of types calls a group: `rbac.authorization.k8s.io` is `rbac`, the core group `core`.
fn short_group(group: &str) -> &str {
    if group.is_empty() { "core" } else { group.split('.').next().unwrap_or(group) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_merge_keys_of_a_pods_lists() {
        let schema = Schema::builtin();
        let pod = schema.named("core.v1.PodSpec").unwrap();
        assert!(matches!(&pod.fields["containers"], Type::Keyed(keys, _) if keys == &["name"]));
        let container = schema.named("core.v1.Container").unwrap();
        assert!(matches!(&container.fields["ports"], Type::Keyed(k, _) if k == &["containerPort", "protocol"]));
        let item = Type::Named("core.v1.ContainerPort".into());
        assert_eq!(schema.key(&item, &serde_json::json!({ "containerPort": 80 }), "protocol"), "TCP");
        assert!(matches!(schema.kind("apps", "v1", "Deployment"), Type::Named(n) if n == "apps.v1.Deployment"));
        assert!(matches!(schema.kind("example.com", "v1", "Thing"), Type::Named(n) if n == CUSTOM));
    }
}

//! What may stand at a place of a manifest: the fields that Kubernetes or Istio have there.

use crate::istio::schema::{Message, Shape, Type as IstioType, schema};
use crate::kubernetes::schema::{Schema, Struct, Type};
use crate::kubernetes::types;
use crate::plan::ManifestObject;
use serde_json::Value;

/// A map with named fields.
#[derive(Clone, Copy)]
pub enum Known {
    /// The top of an Istio object, whose spec is this.
    Top(&'static Message),
    Istio(&'static Message),
    Kubernetes(&'static Struct),
}

/// The type of every `metadata`.
pub fn metadata() -> Type {
    Type::Named("apis.meta.v1.ObjectMeta".into())
}

impl Known {
    /// What stands at a pointer of an object.
    pub fn at(object: &ManifestObject, pointer: &str) -> Option<Known> {
        let text = |name: &str| object.body.get(name).and_then(Value::as_str).unwrap_or("");
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if let Some(rest) = pointer.strip_prefix("/metadata") {
            return types::struct_at(Schema::builtin(), &metadata(), rest).map(Known::Kubernetes);
        }
        if api_version.contains(".istio.io/") {
            let steps: Vec<String> =
                pointer.split('/').skip(1).map(|s| s.replace("~1", "/").replace("~0", "~")).collect();
            let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
            return match steps.split_first() {
                None => schema().message_at(kind, &[]).map(Known::Top),
                Some((first, rest)) if *first == "spec" => schema().message_at(kind, rest).map(Known::Istio),
                _ => None,
            };
        }
        let ty = super::kind::type_of(api_version, kind);
        types::struct_at(Schema::builtin(), &ty, pointer).map(Known::Kubernetes)
    }

    pub fn fields(&self) -> Vec<&'static str> {
        match self {
            Known::Top(_) => vec!["apiVersion", "kind", "metadata", "spec", "status"],
            Known::Istio(message) => message.field_names().collect(),
            Known::Kubernetes(known) => known.fields.keys().map(String::as_str).collect(),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        match self {
            Known::Istio(message) => message.field(name).is_some(),
            Known::Kubernetes(known) => known.fields.contains_key(name),
            Known::Top(_) => self.fields().contains(&name),
        }
    }

    /// The map that a field is, or that each item of it is; and whether it is a list.
    pub fn below(&self, name: &str) -> Option<(Known, bool)> {
        match self {
            Known::Top(spec) => (name == "spec").then_some((Known::Istio(spec), false)),
            Known::Istio(message) => {
                let field = message.field(name)?;
                match field.ty {
                    IstioType::Message(_) if !matches!(field.shape, Shape::Map { .. }) => {
                        Some((Known::Istio(schema().message_of(field)?), field.shape == Shape::List))
                    }
                    _ => None,
                }
            }
            Known::Kubernetes(known) => {
                let (name, list) = match known.fields.get(name)? {
                    Type::Named(name) => (name, false),
                    Type::Atomic(item) | Type::Keyed(_, item) => match &**item {
                        Type::Named(name) => (name, true),
                        _ => return None,
                    },
                    _ => return None,
                };
                Some((Known::Kubernetes(Schema::builtin().named(name)?), list))
            }
        }
    }
}

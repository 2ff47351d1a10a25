//! The strict reading of an object against its type: fields that do not exist, values of a wrong type.

use super::schema::{Schema, Struct, Type};
use serde_json::Value;

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// As people write it: `spec.containers[0].image`.
    pub path: String,
    /// The same place as a JSON pointer.
    pub pointer: String,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The type has no such field.
    Unknown,
    /// `found` is a JSON type; `wanted` is Kubernetes' (Go's) name of the field's type, `owner` of the type it belongs to.
    Wrong { found: &'static str, wanted: String, owner: String },
}

impl Fault {
    /// A wrong value in the words of Kubernetes' decoder.
    pub fn decoder_error(&self) -> Option<String> {
        match &self.what {
            What::Unknown => None,
            What::Wrong { found, wanted, owner } => {
                let path = &self.path;
                Some(format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}"))
            }
        }
    }
}

/// Everything in which `value` does not fit `ty`, in the order of the object.
pub fn faults(schema: &Schema, ty: &Type, value: &Value) -> Vec<Fault> {
    let mut walk = Walk { schema, path: String::new(), pointer: String::new(), found: vec![] };
    walk.value(ty, value, "");
    walk.found
}

/// The struct that stands at the pointer of an object of type `ty`, through lists and maps.
pub fn struct_at<'s>(schema: &'s Schema, ty: &Type, pointer: &str) -> Option<&'s Struct> {
    let mut ty = ty;
    for step in pointer.split('/').skip(1) {
        ty = match ty {
            Type::Named(name) => schema.named(name)?.fields.get(&step.replace("~1", "/").replace("~0", "~"))?,
            Type::Atomic(item) | Type::Set(item) | Type::Keyed(_, item) | Type::Map(item) | Type::AtomicMap(item) => {
                item
            }
            _ => return None,
        };
    }
    match ty {
        Type::Named(name) => schema.named(name),
        _ => None,
    }
}

struct Walk<'s> {
    schema: &'s Schema,
    path: String,
    pointer: String,
    found: Vec<Fault>,
}

impl Walk<'_> {
    fn value(&mut self, ty: &Type, value: &Value, owner: &str) {
        if value.is_null() {
            return;
        }
        let wanted = match (ty, value) {
            (Type::Any, _)
            | (Type::Text | Type::Bytes | Type::Time | Type::MicroTime, Value::String(_))
            | (Type::Quantity | Type::IntOrText, Value::String(_) | Value::Number(_))
            | (Type::Number, Value::Number(_))
            | (Type::Boolean, Value::Bool(_)) => return,
            (Type::Text, _) => "string",
            (Type::Bytes, _) => "[]uint8",
            (Type::Quantity, _) => "resource.Quantity",
            (Type::IntOrText, _) => "intstr.IntOrString",
            (Type::Time | Type::MicroTime, _) => "time.Time",
            (Type::Number, _) => "int32",
            (Type::Boolean, _) => "bool",
            (Type::Named(name), Value::Object(map)) => {
                let Some(known) = self.schema.named(name) else { return };
                let short = name.rsplit('.').next().unwrap_or(name);
                for (key, item) in map {
                    self.below(key, |walk| match known.fields.get(key) {
                        Some(field) => walk.value(field, item, short),
                        None if known.open => {}
                        None => walk.fault(What::Unknown),
                    });
                }
                return;
            }
            (Type::Named(name), _) => name.rsplit('.').next().unwrap_or(name),
            (Type::Atomic(item) | Type::Set(item) | Type::Keyed(_, item), Value::Array(items)) => {
                for (index, element) in items.iter().enumerate() {
                    let (path, pointer) = (self.path.len(), self.pointer.len());
                    self.path.push_str(&format!("[{index}]"));
                    self.pointer.push_str(&format!("/{index}"));
                    self.value(item, element, owner);
                    self.path.truncate(path);
                    self.pointer.truncate(pointer);
                }
                return;
            }
            (Type::Atomic(_) | Type::Set(_) | Type::Keyed(..), _) => "[]",
            (Type::Map(item) | Type::AtomicMap(item), Value::Object(map)) => {
                for (key, element) in map {
                    self.below(key, |walk| walk.value(item, element, owner));
                }
                return;
            }
            (Type::Map(_) | Type::AtomicMap(_), _) => "map[string]string",
        };
        let found = match value {
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            Value::Array(_) => "array",
            _ => "object",
        };
        self.fault(What::Wrong { found, wanted: wanted.into(), owner: owner.into() });
    }

    /// Looks at a field or a map's entry.
    fn below(&mut self, key: &str, look: impl FnOnce(&mut Self)) {
        let (path, pointer) = (self.path.len(), self.pointer.len());
        if path > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        self.pointer.push('/');
        self.pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        look(self);
        self.path.truncate(path);
        self.pointer.truncate(pointer);
    }

    fn fault(&mut self, what: What) {
        self.found.push(Fault { path: self.path.clone(), pointer: self.pointer.clone(), what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fault_has_its_path_and_its_pointer() {
        let schema = Schema::builtin();
        let ty = schema.kind("apps", "v1", "Deployment");
        let body = json!({ "metadata": { "labels": { "a/b": 1 } },
            "spec": { "template": { "spec": { "containers": [{ "imagee": "x" }] } } } });
        let found = faults(schema, &ty, &body);
        let places: Vec<(&str, &str)> = found.iter().map(|f| (f.path.as_str(), f.pointer.as_str())).collect();
        let image = "spec.template.spec.containers[0].imagee";
        assert_eq!(
            places,
            [("metadata.labels.a/b", "/metadata/labels/a~1b"), (image, "/spec/template/spec/containers/0/imagee")]
        );
        let container = struct_at(schema, &ty, "/spec/template/spec/containers/0").unwrap();
        assert!(container.fields.contains_key("image"));
        assert!(struct_at(schema, &ty, "/spec/replicas").is_none());
    }
}

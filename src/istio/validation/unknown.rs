//! Unknown fields, as `kubectl` and the API server name them in strict decoding: `spec.servers[0].port.nmae`.

use crate::istio::schema::{Field, Kind, Message, Schema, Shape, Type, schema};
use serde_json::Value;

/// Fields of an object of `kind` that its definition does not list, sorted.
pub fn unknown_fields(object: &Value, kind: &Kind) -> Vec<String> {
    let schema = schema();
    let mut found = Found { schema, path: String::new(), unknown: vec![] };
    for (key, value) in object.as_object().into_iter().flatten() {
        let message = match key.as_str() {
            "apiVersion" | "kind" | "metadata" => continue,
            "spec" => &schema.messages[kind.spec],
            // A status keeps what it does not know.
            "status" => continue,
            _ => {
                found.unknown.push(key.clone());
                continue;
            }
        };
        found.path.push_str(key);
        found.message(value, Some(message));
        found.path.clear();
    }
    found.unknown.sort();
    found.unknown
}

struct Found<'a> {
    schema: &'a Schema,
    path: String,
    unknown: Vec<String>,
}

impl Found<'_> {
    /// A value that should be a message. `None`: nothing is known here, so every field is unknown.
    fn message(&mut self, value: &Value, message: Option<&Message>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let length = self.push_name(name);
                    match message.and_then(|message| message.field(name)) {
                        Some(field) => self.field(value, field),
                        None => self.unknown.push(self.path.clone()),
                    }
                    self.path.truncate(length);
                }
            }
            Value::Array(items) => self.items(items, |found, item| found.message(item, None)),
            _ => {}
        }
    }

    fn field(&mut self, value: &Value, field: &Field) {
        match (field.shape, value) {
            (Shape::One, _) => self.value(value, field),
            (Shape::List, Value::Array(items)) => self.items(items, |found, item| found.value(item, field)),
            (Shape::Map { .. }, Value::Object(entries)) => {
                for (key, value) in entries {
                    let length = self.push_name(key);
                    self.value(value, field);
                    self.path.truncate(length);
                }
            }
            _ => self.message(value, None),
        }
    }

    fn value(&mut self, value: &Value, field: &Field) {
        match field.ty {
            Type::Struct => {}
            Type::Message(id) => self.message(value, self.schema.messages.get(id)),
            _ => self.message(value, None),
        }
    }

    fn items(&mut self, items: &[Value], mut each: impl FnMut(&mut Self, &Value)) {
        let length = self.path.len();
        for (index, item) in items.iter().enumerate() {
            self.path.push_str(&format!("[{index}]"));
            each(self, item);
            self.path.truncate(length);
        }
    }

    /// Appends a step; returns the length to truncate to.
    fn push_name(&mut self, name: &str) -> usize {
        let length = self.path.len();
        self.path.push('.');
        self.path.push_str(name);
        length
    }
}

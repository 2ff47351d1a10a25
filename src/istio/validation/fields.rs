//! Reading of a decoded message: an absent field is its default.

use serde_json::{Map, Value};

/// Typed access to the fields of a decoded message.
pub(crate) trait Fields {
    fn has(&self, name: &str) -> bool;
    fn text(&self, name: &str) -> &str;
    fn number(&self, name: &str) -> i64;
    fn real(&self, name: &str) -> f64;
    fn truth(&self, name: &str) -> bool;
    fn items(&self, name: &str) -> &[Value];
    fn texts(&self, name: &str) -> Vec<&str>;
    fn message(&self, name: &str) -> Option<&Value>;
    fn entries(&self, name: &str) -> Vec<(&str, &Value)>;
    /// The value of an enumeration, `zero` being its first one.
    fn choice<'a>(&'a self, name: &str, zero: &'a str) -> &'a str;
}

impl Fields for Value {
    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        self.get(name).and_then(|value| value.as_i64().or(value.as_u64().map(|_| i64::MAX))).unwrap_or_default()
    }

    fn real(&self, name: &str) -> f64 {
        self.get(name).and_then(Value::as_f64).unwrap_or_default()
    }

    fn truth(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    fn items(&self, name: &str) -> &[Value] {
        self.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn texts(&self, name: &str) -> Vec<&str> {
        self.items(name).iter().map(|item| item.as_str().unwrap_or_default()).collect()
    }

    fn message(&self, name: &str) -> Option<&Value> {
        self.get(name).filter(|value| value.is_object())
    }

    fn entries(&self, name: &str) -> Vec<(&str, &Value)> {
        let entries = self.get(name).and_then(Value::as_object);
        entries.into_iter().flat_map(Map::iter).map(|(key, value)| (key.as_str(), value)).collect()
    }

    fn choice<'a>(&'a self, name: &str, zero: &'a str) -> &'a str {
        match self.get(name) {
            None => zero,
            Some(value) => value.as_str().unwrap_or_default(),
        }
    }
}

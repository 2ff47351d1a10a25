//! What Istio says while it generates: push status and log lines.

use serde_json::{Map, Value, json};
use std::cell::RefCell;

/// Collected during one compilation.
#[derive(Debug, Default)]
pub struct Report {
    metrics: RefCell<Map<String, Value>>,
    log: RefCell<Vec<String>>,
}

impl Report {
    /// An event of the push status; `proxy` and `message` may be empty.
    pub fn metric(&self, name: &str, key: &str, proxy: &str, message: &str) {
        let mut event = Map::new();
        super::json::put(&mut event, "proxy", Value::from(proxy));
        super::json::put(&mut event, "message", Value::from(message));
        let mut metrics = self.metrics.borrow_mut();
        let events = metrics.entry(name.to_owned()).or_insert_with(|| json!({}));
        events[key] = Value::Object(event);
    }

    pub fn warn(&self, message: String) {
        self.log.borrow_mut().push(format!("warn\t{message}"));
    }

    pub fn info(&self, message: String) {
        self.log.borrow_mut().push(format!("info\t{message}"));
    }

    /// Push status and log.
    pub fn take(&self) -> (Value, Vec<String>) {
        (Value::Object(self.metrics.take()), self.log.take())
    }
}

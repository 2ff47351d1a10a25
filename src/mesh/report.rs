//! What Istio says while it generates: push status and log lines.

use serde_json::{Map, Value, json};
use std::cell::RefCell;

/// One thing said.
#[derive(Debug, Clone)]
pub enum Event {
    /// Of the push status: metric, key, event.
    Metric(String, String, Value),
    Line(String),
}

/// Collected during one compilation.
#[derive(Debug, Default)]
pub struct Report {
    events: RefCell<Vec<Event>>,
}

impl Report {
    /// An event of the push status; `proxy` and `message` may be empty.
    pub fn metric(&self, name: &str, key: &str, proxy: &str, message: &str) {
        let mut event = Map::new();
        super::json::put(&mut event, "proxy", Value::from(proxy));
        super::json::put(&mut event, "message", Value::from(message));
        self.events.borrow_mut().push(Event::Metric(name.to_owned(), key.to_owned(), Value::Object(event)));
    }

    pub fn error(&self, message: String) {
        self.events.borrow_mut().push(Event::Line(format!("error\t{message}")));
    }

    pub fn warn(&self, message: String) {
        self.events.borrow_mut().push(Event::Line(format!("warn\t{message}")));
    }

    pub fn info(&self, message: String) {
        self.events.borrow_mut().push(Event::Line(format!("info\t{message}")));
    }

    /// A place in what was said so far.
    pub fn mark(&self) -> usize {
        self.events.borrow().len()
    }

    /// What was said since a place.
    pub fn since(&self, mark: usize) -> Vec<Event> {
        self.events.borrow().get(mark..).unwrap_or_default().to_vec()
    }

    /// Takes back what was said since a place; tells whether there was anything.
    pub fn retract(&self, mark: usize) -> bool {
        let mut events = self.events.borrow_mut();
        let some = events.len() > mark;
        events.truncate(mark);
        some
    }

    /// Says what was said when something was made that is now taken over.
    pub fn say_again(&self, events: &[Event]) {
        self.events.borrow_mut().extend_from_slice(events);
    }

    /// All that was said.
    pub fn take(&self) -> Vec<Event> {
        self.events.take()
    }
}

/// Push status and log.
pub fn read(events: Vec<Event>) -> (Value, Vec<String>) {
    let (mut status, mut log) = (Map::new(), Vec::new());
    for event in events {
        match event {
            Event::Line(line) => log.push(line),
            Event::Metric(name, key, event) => {
                status.entry(name).or_insert_with(|| json!({}))[key.as_str()] = event;
            }
        }
    }
    (Value::Object(status), log)
}

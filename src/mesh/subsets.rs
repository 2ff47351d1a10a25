//! What a service's subsets become: thousands may differ in their names alone, and then share a template.

use super::Origin;
use super::destination_rule::Rule;
use super::json::{fields, text};
use super::memo::What;
use super::node::Node;
use super::registry::service::{Port, Service};
use crate::message::{Body, Template};
use serde_json::Value;
use std::cell::OnceCell;
use std::sync::Arc;

/// The subsets of a service's rule, for all its ports.
pub struct Subsets {
    names: Vec<Arc<str>>,
    /// Of each subset's clusters, the same for every port.
    pub origins: Vec<OnceCell<Arc<[Origin]>>>,
}

impl Subsets {
    pub fn new(rule: Option<Rule>) -> Self {
        let subsets = rule.map_or(&[][..], Rule::subsets);
        Self {
            names: subsets.iter().map(|subset| text(&subset["name"]).into()).collect(),
            origins: vec![OnceCell::new(); subsets.len()],
        }
    }

    pub fn name(&self, place: usize) -> Arc<str> {
        self.names.get(place).cloned().unwrap_or_default()
    }
}

/// Subsets beyond this many kinds get no templates.
const KINDS: usize = 16;

/// Makes the bodies of the subsets of one port from templates.
pub struct Filler<'a> {
    node: &'a Node<'a>,
    service: &'a Arc<Service>,
    port: u32,
    what: What,
    /// Subsets that differ in more than their names, the first of each kind, and their template.
    kinds: Vec<(&'a Value, Option<Arc<Template>>)>,
}

impl<'a> Filler<'a> {
    pub fn new(node: &'a Node<'a>, service: &'a Arc<Service>, port: &Port, what: What) -> Self {
        Self { node, service, port: port.number, what, kinds: Vec::new() }
    }

    /// The body of a subset's piece. `make` is told a name to use; what it makes may depend on it only in strings that
    /// contain it. `None` where there is no template: for too many kinds of subsets, or when the making has something
    /// to say.
    pub fn fill(&mut self, subset: &'a Value, name: Arc<str>, make: impl FnOnce() -> Option<Value>) -> Option<Body> {
        let but_name = |of: &'a Value| fields(of).filter(|(key, _)| *key != "name");
        let template = match self.kinds.iter().find(|(kind, _)| but_name(kind).eq(but_name(subset))) {
            Some((_, template)) => template.clone(),
            None if self.kinds.len() == KINDS => return None,
            None => {
                let kind: serde_json::Map<String, Value> =
                    but_name(subset).map(|(key, value)| (key.clone(), value.clone())).collect();
                let key = (self.service.hostname.clone(), self.port, self.what, Value::Object(kind).to_string());
                let template = self.node.memo.pieces.templates.get(self.node, key, self.service.clone(), || {
                    let report = &self.node.push.report;
                    let mark = report.mark();
                    let made = make();
                    if report.retract(mark) { None } else { made.and_then(Template::new).map(Arc::new) }
                });
                self.kinds.push((subset, template.clone()));
                template
            }
        };
        Some(Body::filled(template?, name))
    }
}

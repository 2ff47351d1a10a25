//! The names by which one resource refers to others: what Envoy will ask for after it took it.

use super::resource::ResourceType;
use crate::message::MARK;
use serde_json::Value;
use std::collections::BTreeSet;

#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct References {
    /// Of an EDS cluster: its ClusterLoadAssignment.
    pub endpoints: Option<String>,
    /// Of a listener: the route configurations of its HTTP connection managers.
    pub routes: BTreeSet<String>,
    /// Of any: certificates and validation contexts.
    pub secrets: BTreeSet<String>,
}

impl References {
    pub fn of(kind: ResourceType, name: &str, body: &Value) -> References {
        let mut found = References::default();
        if kind == ResourceType::Cluster && body["type"] == "EDS" {
            let service = body.pointer("/edsClusterConfig/serviceName").and_then(Value::as_str);
            found.endpoints = Some(service.unwrap_or(name).to_string());
        }
        if matches!(kind, ResourceType::Cluster | ResourceType::Listener) {
            found.search(body);
        }
        found
    }

    /// Those of a template, for one of the bodies that it is filled for.
    pub fn fill(&self, text: &str) -> References {
        let fill = |name: &String| name.replace(MARK, text);
        References {
            endpoints: self.endpoints.as_ref().map(fill),
            routes: self.routes.iter().map(fill).collect(),
            secrets: self.secrets.iter().map(fill).collect(),
        }
    }

    fn search(&mut self, body: &Value) {
        match body {
            Value::Object(fields) => {
                if let (Some(name), true) = (text(body, "name"), fields.contains_key("sdsConfig")) {
                    self.secrets.insert(name);
                }
                if let (Some(name), true) = (text(body, "routeConfigName"), fields.contains_key("configSource")) {
                    self.routes.insert(name);
                }
                fields.values().for_each(|inner| self.search(inner));
            }
            Value::Array(items) => items.iter().for_each(|inner| self.search(inner)),
            _ => {}
        }
    }

    /// The names of `kind` among these.
    pub fn names(&self, kind: ResourceType) -> Vec<&String> {
        match kind {
            ResourceType::Endpoint => self.endpoints.iter().collect(),
            ResourceType::Route => self.routes.iter().collect(),
            ResourceType::Secret => self.secrets.iter().collect(),
            ResourceType::Cluster | ResourceType::Listener => Vec::new(),
        }
    }
}

fn text(body: &Value, key: &str) -> Option<String> {
    body.get(key).and_then(Value::as_str).map(str::to_string)
}

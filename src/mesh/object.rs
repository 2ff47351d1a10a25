//! A Kubernetes object with the metadata that config generation needs, and the order in which Istio reads them.

use super::Origin;
use super::json::{fields, labels, message, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

/// One object of the world. Cheap to clone, and to compare with its clones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object(Arc<Parts>);

#[derive(Debug, PartialEq, Eq)]
pub struct Parts {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// RFC 3339, so that text order is time order. Objects that were never stored have none.
    pub created: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub body: Arc<Value>,
    /// Which of the body's fields is the spec.
    spec: Option<usize>,
}

impl Deref for Object {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Object {
    /// The object's metadata; `None` when it has no kind or name.
    pub fn read(body: &Arc<Value>) -> Option<Self> {
        let kind = text(&body["kind"]);
        let (mut name, mut namespace, mut created) = ("", "", "");
        let (mut own_labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
        for (key, value) in fields(&body["metadata"]) {
            match key.as_str() {
                "name" => name = text(value),
                "namespace" => namespace = text(value),
                "creationTimestamp" => created = text(value),
                "labels" => own_labels = labels(value),
                "annotations" => annotations = labels(value),
                _ => {}
            }
        }
        if kind.is_empty() || name.is_empty() {
            return None;
        }
        let namespace = match namespace {
            "" if !matches!(kind, "Namespace" | "Node" | "IngressClass") => "default",
            namespace => namespace,
        };
        Some(Self(Arc::new(Parts {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            created: created.to_owned(),
            labels: own_labels,
            annotations,
            body: body.clone(),
            spec: fields(body).position(|(key, _)| key == "spec"),
        })))
    }

    /// Whether both are of one namespace and name.
    pub fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (&self.namespace, &self.name) == (&other.namespace, &other.name)
    }

    pub fn spec(&self) -> &Value {
        // By place: looking a field up by its name costs a hash, and the spec is asked for all the time.
        self.spec.and_then(|place| self.body.as_object()?.values().nth(place)).unwrap_or(&Value::Null)
    }

    pub fn origin(&self, pointer: impl Into<Arc<str>>) -> Origin {
        Origin { object: self.clone(), pointer: pointer.into(), at: Arc::default() }
    }

    /// Istio's order of configuration: creation time, then name, then namespace. An Istio object without a
    /// time is read as the newest, since Services (which may have none) come first.
    pub fn order(&self) -> (&str, &str, &str) {
        let created = if self.created.is_empty() { "9999" } else { &self.created };
        (created, &self.name, &self.namespace)
    }

    /// The value of the `config` metadata that Istio puts on chains, routes and clusters.
    pub fn config_path(&self, group: &str, kebab_kind: &str) -> String {
        format!("/apis/{group}/v1/namespaces/{}/{kebab_kind}/{}", self.namespace, self.name)
    }
}

/// Sorts into Istio's order of configuration.
pub fn sort(objects: &mut [Object]) {
    objects.sort_by(|a, b| a.order().cmp(&b.order()));
}

/// `{filterMetadata: {istio: {config: path}}}`.
pub fn config_metadata(path: &str) -> Value {
    message! {"filterMetadata": message! {"istio": message! {"config": path}}}
}

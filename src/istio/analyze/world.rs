//! The objects that are analyzed, decoded once.

use crate::istio::schema::{Kind, schema};
use crate::istio::validation::fields::Fields;
use crate::istio::validation::webhook::decode_spec;
use serde_json::Value;
use std::collections::HashMap;

/// Namespaces that istioctl never looks into.
const IGNORED_NAMESPACES: &[&str] = &["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// One object of one of Istio's kinds.
pub(super) struct Resource<'a> {
    pub index: usize,
    pub kind: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    /// The object as it was given.
    pub object: &'a Value,
    /// The decoded spec; of kinds that are not Istio's the spec as it was given.
    pub spec: Value,
}

impl Resource<'_> {
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        full_name(self.namespace, self.name)
    }
}

/// `namespace/name`, or the name alone of what is in no namespace.
pub(super) fn full_name(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_string() } else { format!("{namespace}/{name}") }
}

pub(super) struct World<'a> {
    resources: Vec<Resource<'a>>,
    pub mesh_config: &'a Value,
}

impl<'a> World<'a> {
    pub fn new(objects: &'a [Value], mesh_config: &'a Value) -> Self {
        let mut resources: Vec<Resource> = vec![];
        let mut places: HashMap<(&str, &str, &str), usize> = HashMap::new();
        for (index, object) in objects.iter().enumerate() {
            let Some(resource) = resource(index, object) else { continue };
            // A later object of the same name takes the place of an earlier one.
            let key = (resource.kind, resource.namespace, resource.name);
            match places.get(&key) {
                Some(place) => resources[*place] = resource,
                None => {
                    places.insert(key, resources.len());
                    resources.push(resource);
                }
            }
        }
        World { resources, mesh_config }
    }

    pub fn all(&self) -> impl Iterator<Item = &Resource<'a>> {
        self.resources.iter()
    }

    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Resource<'a>> {
        self.resources.iter().filter(move |resource| resource.kind == kind)
    }
}

/// Istio's kinds, and the others that analyzers read; nothing for objects that do not decode.
fn resource(index: usize, object: &Value) -> Option<Resource<'_>> {
    let (api_version, kind) = (object.text("apiVersion"), object.text("kind"));
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    let (namespace, name) = (metadata.text("namespace"), metadata.text("name"));
    if IGNORED_NAMESPACES.contains(&namespace) {
        return None;
    }
    let spec = match (api_version, kind) {
        ("apps/v1", "Deployment") | ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => {
            object.get("spec").cloned().unwrap_or_default()
        }
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration") => {
            Value::Null
        }
        _ => {
            let group = api_version.split_once('/')?.0;
            let known = schema().kind(group, kind).filter(|known| known.serves(api_version))?;
            decode_spec(object, known).ok()?
        }
    };
    Some(Resource { index, kind, namespace, name, object, spec })
}

/// The description of a resource's kind, if it is one of Istio's.
pub(super) fn kind_of(resource: &Resource) -> Option<&'static Kind> {
    schema().kind_named(resource.kind)
}

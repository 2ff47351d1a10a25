//! What the server serves: the built-in resources and those declared by data.

use super::builtin;
use super::failure::Failure;
use super::structural::Schemas;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A column of a table printed for a custom resource (`additionalPrinterColumns`).
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    /// `string`, `integer`, `date` ...
    pub kind: String,
    /// `.spec.hosts`
    pub json_path: String,
    pub description: String,
    /// Above 0 the column shows only in wide output.
    pub priority: i64,
}

impl Column {
    pub fn new(name: &str, kind: &str, json_path: &str, description: &str) -> Column {
        let [name, kind, json_path, description] = [name, kind, json_path, description].map(str::to_string);
        Column { name, kind, json_path, description, priority: 0 }
    }
}

/// A custom resource, declared by data.
#[derive(Debug, Clone, Default)]
pub struct CustomResource {
    pub group: String,
    /// Served versions; the first is the stored one.
    pub versions: Vec<String>,
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// Columns after NAME; without any, AGE is shown.
    pub columns: Vec<Column>,
    /// Whether `status` is a subresource.
    pub status: bool,
    /// Without any, its objects may hold anything.
    pub schemas: Schemas,
}

/// A served resource.
#[derive(Debug, Clone)]
pub struct Resource {
    /// `plural.group`, or `plural` in the core group: the store's key.
    pub id: Arc<str>,
    pub group: String,
    pub versions: Vec<String>,
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    pub subresources: Vec<String>,
    /// Columns of a custom resource; `None` for built-in kinds.
    pub columns: Option<Vec<Column>>,
    /// Only `create`: access reviews.
    pub create_only: bool,
    /// Of a custom resource.
    pub schemas: Schemas,
}

impl CustomResource {
    /// Its CustomResourceDefinition, without a schema.
    pub fn definition(&self) -> Value {
        super::crd::definition(self)
    }
}

impl Resource {
    pub fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|s| s == subresource)
    }

    /// `networking.istio.io/v1`, or `v1` in the core group.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_string() } else { format!("{}/{version}", self.group) }
    }

    /// The version objects are stored in.
    pub fn storage_version(&self) -> &str {
        self.versions.first().map_or("v1", String::as_str)
    }

    pub fn is_custom(&self) -> bool {
        self.columns.is_some()
    }

    pub fn not_found(&self, name: &str) -> Failure {
        Failure::not_found(&self.group, &self.plural, name)
    }

    pub fn verbs(&self) -> &'static [&'static str] {
        if self.create_only {
            return &["create"];
        }
        &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    }

    /// Whether writes to the specification count up `metadata.generation`.
    pub fn has_generation(&self) -> bool {
        self.is_custom()
            || matches!(
                self.kind.as_str(),
                "Deployment"
                    | "ReplicaSet"
                    | "StatefulSet"
                    | "DaemonSet"
                    | "Job"
                    | "EndpointSlice"
                    | "Pod"
                    | "NetworkPolicy"
                    | "Ingress"
                    | "CustomResourceDefinition"
                    | "MutatingWebhookConfiguration"
                    | "ValidatingWebhookConfiguration"
                    | "IngressClass"
            )
    }
}

impl From<&CustomResource> for Resource {
    fn from(c: &CustomResource) -> Resource {
        Resource {
            id: resource_id(&c.group, &c.plural),
            group: c.group.clone(),
            versions: c.versions.clone(),
            kind: c.kind.clone(),
            plural: c.plural.clone(),
            singular: c.singular.clone(),
            short_names: c.short_names.clone(),
            categories: c.categories.clone(),
            namespaced: c.namespaced,
            subresources: if c.status { vec!["status".into()] } else { Vec::new() },
            columns: Some(c.columns.clone()),
            create_only: false,
            schemas: c.schemas.clone(),
        }
    }
}

/// The store's name of a resource.
pub fn resource_id(group: &str, plural: &str) -> Arc<str> {
    if group.is_empty() { plural.into() } else { format!("{plural}.{group}").into() }
}

/// All served resources. Never changed in place: a new table replaces the old one.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    resources: BTreeMap<Arc<str>, Arc<Resource>>,
    /// Groups in the order they were declared: the order of discovery.
    groups: Vec<String>,
}

impl Registry {
    /// The built-in resources.
    pub fn builtin() -> Registry {
        let mut registry = Registry::default();
        for resource in builtin::resources() {
            registry.add(resource);
        }
        registry
    }

    pub fn add(&mut self, resource: Resource) {
        if !self.groups.contains(&resource.group) {
            self.groups.push(resource.group.clone());
        }
        self.resources.insert(resource.id.clone(), Arc::new(resource));
    }

    pub fn remove(&mut self, id: &str) {
        self.resources.remove(id);
        self.groups.retain(|g| self.resources.values().any(|r| r.group == *g));
    }

    /// The resource at a path, if it is served in that version.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let resource = self.resources.get(&resource_id(group, plural))?;
        resource.versions.iter().any(|v| v == version).then(|| resource.clone())
    }

    pub fn by_id(&self, id: &str) -> Option<Arc<Resource>> {
        self.resources.get(id).cloned()
    }

    /// The resource of an object, by its apiVersion and kind, and the version.
    pub fn of_object(&self, object: &Value) -> Option<(Arc<Resource>, String)> {
        let api_version = object.get("apiVersion")?.as_str()?;
        let kind = object.get("kind")?.as_str()?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let fits = |r: &&Arc<Resource>| r.group == group && r.kind == kind && r.versions.iter().any(|v| v == version);
        Some((self.resources.values().find(fits)?.clone(), version.to_string()))
    }

    /// Named groups (without the core group), in order.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().filter(|g| !g.is_empty()).map(String::as_str)
    }

    /// The versions of a group, preferred first.
    pub fn versions(&self, group: &str) -> Vec<String> {
        let mut versions: Vec<String> = Vec::new();
        for resource in self.resources.values().filter(|r| r.group == group) {
            for version in &resource.versions {
                if !versions.contains(version) {
                    versions.push(version.clone());
                }
            }
        }
        versions.sort_by_key(|v| version_rank(v));
        versions
    }

    /// The resources of a group and version, by plural.
    pub fn in_version(&self, group: &str, version: &str) -> Vec<Arc<Resource>> {
        let fits = |r: &&Arc<Resource>| r.group == group && r.versions.iter().any(|v| v == version);
        self.resources.values().filter(fits).cloned().collect()
    }
}

/// Kubernetes' order of versions: v2, v1, v1beta2, v1beta1, v1alpha1.
fn version_rank(version: &str) -> (u8, std::cmp::Reverse<u32>, std::cmp::Reverse<u32>) {
    let rest = version.strip_prefix('v').unwrap_or(version);
    let digits = |s: &str| s.parse::<u32>().unwrap_or(0);
    let (stage, major, minor) = if let Some((a, b)) = rest.split_once("beta") {
        (1, digits(a), digits(b))
    } else if let Some((a, b)) = rest.split_once("alpha") {
        (2, digits(a), digits(b))
    } else {
        (0, digits(rest), 0)
    };
    (stage, std::cmp::Reverse(major), std::cmp::Reverse(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_does() {
        let mut versions = ["v1alpha3", "v1beta1", "v2", "v1", "v1beta2"];
        versions.sort_by_key(|v| version_rank(v));
        assert_eq!(versions, ["v2", "v1", "v1beta2", "v1beta1", "v1alpha3"]);
    }
}

//! CustomResourceDefinitions: those declared by data are shown as objects, those created by clients
//! become served resources.

use super::context::Context;
use super::object;
use super::resource::{Column, CustomResource, Resource, resource_id};
use super::store::{Key, State};
use super::structural::Schemas;
use serde_json::{Value, json};
use std::sync::Arc;

/// The object that shows a declared resource.
pub fn definition(resource: &CustomResource) -> Value {
    let columns: Vec<Value> = resource
        .columns
        .iter()
        .map(|c| {
            let mut column = json!({ "name": c.name, "type": c.kind, "jsonPath": c.json_path });
            if !c.description.is_empty() {
                column["description"] = json!(c.description);
            }
            if c.priority != 0 {
                column["priority"] = json!(c.priority);
            }
            column
        })
        .collect();
    let versions: Vec<Value> = resource
        .versions
        .iter()
        .enumerate()
        .map(|(i, version)| {
            let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
            let schema = resource.schemas.of(version).unwrap_or(&open);
            let mut entry = json!({ "name": version, "served": true, "storage": i == 0,
                "schema": { "openAPIV3Schema": schema } });
            if !columns.is_empty() {
                entry["additionalPrinterColumns"] = json!(columns);
            }
            if resource.status {
                entry["subresources"] = json!({ "status": {} });
            }
            entry
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}.{}", resource.plural, resource.group) },
        "spec": {
            "group": resource.group,
            "names": names(resource),
            "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
            "versions": versions,
        },
    })
}

fn names(resource: &CustomResource) -> Value {
    let mut names = json!({ "kind": resource.kind, "listKind": format!("{}List", resource.kind),
        "plural": resource.plural, "singular": resource.singular });
    if !resource.short_names.is_empty() {
        names["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        names["categories"] = json!(resource.categories);
    }
    names
}

/// Reads a definition; `None` if it names no group, kind or served version.
fn read(object: &Value) -> Option<CustomResource> {
    let text = |path: &[&str]| Some(object::text(object, path).to_string()).filter(|s| !s.is_empty());
    let words = |path: &[&str]| -> Vec<String> {
        object::list(object, path).iter().filter_map(|v| v.as_str().map(str::to_string)).collect()
    };
    let served: Vec<&Value> =
        object::list(object, &["spec", "versions"]).iter().filter(|v| v["served"] == json!(true)).collect();
    let stored = served.iter().find(|v| v["storage"] == json!(true)).or(served.first())?;
    let first = object::text(stored, &["name"]).to_string();
    let mut versions = vec![first.clone()];
    versions.extend(served.iter().map(|v| object::text(v, &["name"]).to_string()).filter(|n| *n != first));
    let columns = object::list(stored, &["additionalPrinterColumns"]).iter().map(|c| Column {
        priority: object::number(c, &["priority"]).unwrap_or(0),
        ..Column::new(
            object::text(c, &["name"]),
            object::text(c, &["type"]),
            object::text(c, &["jsonPath"]),
            object::text(c, &["description"]),
        )
    });
    let columns = columns.collect();
    let schema = |version: &&Value| {
        let schema = object::at(version, &["schema", "openAPIV3Schema"]);
        (object::text(version, &["name"]).to_string(), Arc::new(schema.clone()))
    };
    let given = served.iter().filter(|v| object::at(v, &["schema", "openAPIV3Schema"]).is_object());
    let schemas = Schemas { versions: given.map(schema).collect(), checked: true };
    let kind = text(&["spec", "names", "kind"])?;
    Some(CustomResource {
        group: text(&["spec", "group"])?,
        singular: text(&["spec", "names", "singular"]).unwrap_or_else(|| kind.to_lowercase()),
        kind,
        plural: text(&["spec", "names", "plural"])?,
        short_names: words(&["spec", "names", "shortNames"]),
        categories: words(&["spec", "names", "categories"]),
        namespaced: object::text(object, &["spec", "scope"]) != "Cluster",
        status: !object::at(stored, &["subresources", "status"]).is_null(),
        versions,
        columns,
        schemas,
    })
}

/// Serves a created or changed definition and says so in its status.
pub fn changed(ctx: &Context, state: &mut State, stored: &Arc<Value>) {
    let Some(resource) = read(stored) else { return };
    ctx.change_registry(|registry| registry.add(Resource::from(&resource)));
    let now = object::now();
    let condition = |kind: &str, reason: &str, message: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message });
    let status = json!({
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": names(&resource),
        "storedVersions": [resource.versions[0]],
    });
    if !object::at(stored, &["status", "conditions"]).is_null() {
        return;
    }
    let mut copy = (**stored).clone();
    copy["status"] = status;
    let key = Key {
        resource: resource_id("apiextensions.k8s.io", "customresourcedefinitions"),
        namespace: String::new(),
        name: object::name(stored).to_string(),
    };
    state.put(&key, copy);
}

/// Ends serving a deleted definition; its objects go with it.
pub fn removed(ctx: &Context, state: &mut State, last: &Value) {
    let Some(resource) = read(last) else { return };
    let id = resource_id(&resource.group, &resource.plural);
    let keys: Vec<Key> = state
        .objects(&id, None)
        .map(|o| Key { resource: id.clone(), namespace: object::namespace(o).into(), name: object::name(o).into() })
        .collect();
    for key in keys {
        let _ = super::delete::delete_key(ctx, state, &key, &super::delete::DeleteOptions::default());
    }
    ctx.change_registry(|registry| registry.remove(&id));
}

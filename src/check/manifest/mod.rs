//! What an API server would refuse of one manifest, before anything is sent: fields that do not exist, values of a
//! wrong type, what the resource definitions' schemas and istiod's webhook say. Carets stand in the manifest.
//!
//! The stages come one after another, as on a cluster: the webhook never sees what the schema refuses.

mod field;
mod kind;
pub mod kinds;
mod known;
mod place;
mod schema;
mod webhook;
mod words;

use crate::diag::Diagnostic;
use crate::istio::schema::schema as istio_schema;
use crate::istio::validation;
use crate::kubernetes::schema::Schema;
use crate::kubernetes::types::{self, What};
use crate::plan::ManifestObject;
use known::Known;
use serde_json::Value;

/// Everything that is wrong with the object by itself. Kinds that are neither Kubernetes' own nor Istio's are known to
/// the cluster alone: of them only `metadata` is read.
pub fn check(object: &ManifestObject) -> Vec<Diagnostic> {
    let (api_version, name) = (object.identity.api_version.as_str(), object.identity.kind.as_str());
    let mut found = kind::check(object, api_version, name);
    if !found.is_empty() {
        return found;
    }
    names(object, api_version, &mut found);
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if group.ends_with(".istio.io") {
        metadata(object, &mut found);
        istio(object, name, &mut found);
    } else {
        builtin(object, "", &object.body, &kind::type_of(api_version, name), &mut found);
    }
    found
}

/// Names that an API server takes. Those of RBAC are freer, and Services are named as labels are.
fn names(object: &ManifestObject, api_version: &str, found: &mut Vec<Diagnostic>) {
    let text = |pointer: &str| object.body.pointer(pointer).and_then(Value::as_str);
    let label = crate::plan::is_label;
    if let Some(name) = text("/metadata/name").filter(|_| !api_version.starts_with("rbac.")) {
        let fits = name.len() <= 253 && name.split('.').all(label);
        if !fits {
            let meant: String =
                name.to_lowercase().chars().map(|c| if c == '_' || c == ' ' { '-' } else { c }).collect();
            let d = Diagnostic::error("E0313", format!("`{name}` cannot name an object"))
                .at(place::of_value(object, "/metadata/name"), "lower-case letters, digits, `-` and `.`");
            found.push(if meant.split('.').all(label) { d.help(format!("write {meant}")) } else { d });
        }
    }
    if let Some(namespace) = text("/metadata/namespace").filter(|n| !label(n)) {
        found.push(
            Diagnostic::error("E0313", format!("`{namespace}` cannot name a namespace"))
                .at(place::of_value(object, "/metadata/namespace"), "lower-case letters, digits and `-`"),
        );
    }
}

fn metadata(object: &ManifestObject, found: &mut Vec<Diagnostic>) {
    if let Some(metadata) = object.body.get("metadata") {
        builtin(object, "/metadata", metadata, &known::metadata(), found);
    }
}

/// Reads a part of an object as Kubernetes does.
fn builtin(
    object: &ManifestObject,
    at: &str,
    value: &Value,
    ty: &crate::kubernetes::schema::Type,
    found: &mut Vec<Diagnostic>,
) {
    for fault in types::faults(Schema::builtin(), ty, value) {
        let pointer = format!("{at}{}", fault.pointer);
        match &fault.what {
            What::Unknown => found.push(field::unknown(object, &pointer)),
            What::Wrong { wanted, .. } => found.push(words::wrong_type(object, &pointer, words::of_go(wanted))),
        }
    }
}

fn istio(object: &ManifestObject, kind: &str, found: &mut Vec<Diagnostic>) {
    if istio_schema().kind_named(kind).is_none() {
        return;
    }
    let verdict = validation::validate(&object.body);
    let unknown: Vec<String> = verdict.unknown.iter().map(|path| place::pointer(&object.body, path)).collect();
    let meant: Vec<String> = unknown.iter().filter_map(|pointer| field::meant(object, pointer)).collect();
    let typed = schema::check(object, &verdict.schema, &meant, found);
    // Beneath a value of a wrong type nothing fits.
    let beneath = |pointer: &String| typed.iter().any(|t| pointer.starts_with(&format!("{t}/")));
    found.extend(unknown.iter().filter(|pointer| !beneath(pointer)).map(|pointer| field::unknown(object, pointer)));
    if found.is_empty() {
        webhook::check(object, &verdict, found);
    }
}

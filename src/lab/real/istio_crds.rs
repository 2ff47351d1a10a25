//! The CustomResourceDefinitions of Istio's kinds and of the lab's own, made known to a real kube-apiserver.

use crate::api::CustomResource;
use crate::lab::istio_kinds::istio_kinds;
use crate::lab::lab_kinds::lab_kinds;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// Applies Istio's definitions from a file, or ones without schemas, and those of the lab's own kinds. Waits until all
/// are served.
pub async fn apply(client: &kube::Client, file: Option<&Path>) -> Result<(), String> {
    let mut definitions = match file {
        None => istio_kinds().iter().map(CustomResource::definition).collect(),
        Some(path) => read(path)?,
    };
    definitions.extend(lab_kinds().iter().map(CustomResource::definition));
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("egress-scn-lab").force();
    let all = definitions.iter().map(|definition| {
        let (api, params) = (api.clone(), &params);
        async move {
            let name = definition["metadata"]["name"].as_str().unwrap_or_default();
            let failed = |error: &dyn std::fmt::Display| format!("applying CustomResourceDefinition {name}: {error}");
            api.patch(name, params, &Patch::Apply(definition)).await.map_err(|error| failed(&error))?;
            let served = await_condition(api, name, conditions::is_crd_established());
            served.await.map(drop).map_err(|error| failed(&error))
        }
    });
    futures::future::try_join_all(all).await.map(drop)
}

fn read(path: &Path) -> Result<Vec<Value>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("reading {}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    let mut found = vec![];
    for document in serde_yaml::Deserializer::from_str(&text) {
        let value = Value::deserialize(document).map_err(|error| failed(&error))?;
        if value["kind"] == "CustomResourceDefinition" {
            found.push(value);
        }
    }
    if found.is_empty() {
        return Err(failed(&"no CustomResourceDefinition is in it"));
    }
    Ok(found)
}

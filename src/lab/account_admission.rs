//! What a cluster's API server adds to each pod: its ServiceAccount's token, the API's authority and the namespace, at
//! `/var/run/secrets/kubernetes.io/serviceaccount`.

use crate::api::{Admission, Failure, Operation, Review};
use serde_json::{Value, json};

const PLACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME: &str = "kube-api-access-";

/// Gives pods their tokens.
pub struct AccountAdmission;

impl Admission for AccountAdmission {
    fn admit(&self, review: &Review<'_>, object: &mut Value) -> Result<Vec<String>, Failure> {
        let resource = review.resource;
        if review.operation == Operation::Create && resource.kind == "Pod" && resource.group.is_empty() {
            mount(object);
        }
        Ok(Vec::new())
    }
}

/// Adds the volume, and mounts it in every container that has nothing there.
fn mount(pod: &mut Value) {
    let spec = &mut pod["spec"];
    if spec["automountServiceAccountToken"] == json!(false) {
        return;
    }
    let volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
    let known = volumes.iter().find_map(|volume| volume["name"].as_str().filter(|name| name.starts_with(VOLUME)));
    let name = match known {
        Some(name) => name.to_string(),
        None => format!("{VOLUME}{}", crate::api::random_suffix()),
    };
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            let mut mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
            if mounts.iter().all(|mount| mount["mountPath"] != json!(PLACE)) {
                mounts.push(json!({ "name": name, "readOnly": true, "mountPath": PLACE }));
                container["volumeMounts"] = json!(mounts);
                mounted = true;
            }
        }
    }
    if !mounted || known.is_some() {
        return;
    }
    let namespace =
        json!({ "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } });
    let root = json!({ "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] });
    let sources = json!([
        { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
        { "configMap": root },
        { "downwardAPI": { "items": [namespace] } },
    ]);
    let volume = json!({ "name": name, "projected": { "sources": sources, "defaultMode": 420 } });
    spec["volumes"] = json!([volumes, vec![volume]].concat());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_gets_the_token_and_who_says_no_gets_none() {
        let mut pod = json!({ "spec": { "initContainers": [{ "name": "a" }],
            "containers": [{ "name": "b" }, { "name": "c", "volumeMounts": [{ "name": "own", "mountPath": PLACE }] }] } });
        mount(&mut pod);
        let spec = &pod["spec"];
        assert_eq!(spec["initContainers"][0]["volumeMounts"][0]["mountPath"], PLACE);
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], spec["volumes"][0]["name"]);
        assert_eq!(spec["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
        assert_eq!(spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["path"], "token");
        let mut refused = json!({ "spec": { "automountServiceAccountToken": false, "containers": [{ "name": "b" }] } });
        mount(&mut refused);
        assert!(refused["spec"].get("volumes").is_none());
    }
}

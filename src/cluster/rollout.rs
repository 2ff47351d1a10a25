//! Objects changed in part and waited for: patches, and what a rollout or a condition has come to.

use super::{Cluster, Error, FIELD_MANAGER, Kind, describe};
use kube::api::{Patch, PatchParams, WatchParams};
use kube::core::request::Request;
use serde_json::Value;
use std::time::Duration;

impl Cluster {
    /// Patches an object: strategic merge for kinds of Kubernetes itself, merge (RFC 7386) for all others, as `kubectl patch`
    /// would have to be told. With `dry_run` nothing is kept.
    pub async fn patch(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        patch: &Value,
        dry_run: bool,
    ) -> Result<Value, Error> {
        let doing = format!("patching {}", describe(&kind.kind, namespace, name));
        let mut params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        params = params.validation_strict();
        if dry_run {
            params = params.dry_run();
        }
        let patch = match is_built_in(&kind.api_version) {
            true => Patch::Strategic(patch),
            false => Patch::Merge(patch),
        };
        self.send(doing, Request::new(kind.path(namespace)).patch(name, &params, &patch)).await
    }

    /// Waits, by watch, until `done` says so of the object (or of its absence); what it said last otherwise.
    ///
    /// # Errors
    /// [`Error::Absent`] at the limit: `wanted` and the last reason.
    pub async fn wait_for(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        wanted: &str,
        limit: Duration,
        done: &(dyn Fn(Option<&Value>) -> Result<(), String> + Sync),
    ) -> Result<Option<Value>, Error> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut reason = String::new();
        loop {
            let (objects, version) = self.list_named(kind, namespace, name).await?;
            let object = objects.into_iter().next();
            match done(object.as_ref()) {
                Ok(()) => return Ok(object),
                Err(why) => reason = if why.is_empty() { reason } else { why },
            }
            let params = WatchParams::default().fields(&format!("metadata.name={name}"));
            let changed = self.watch_until(kind, namespace, params, &version, &|_| true);
            match tokio::time::timeout_at(deadline, changed).await {
                Ok(watched) => watched.map(|_| ())?,
                Err(_) => {
                    let label = describe(&kind.kind, namespace, name);
                    let limit = limit.as_secs_f64();
                    return Err(Error::Absent {
                        message: format!("{label} is not {wanted} after {limit} s: {reason}"),
                        help: format!("see `kubectl describe {} {name}`", kind.plural),
                    });
                }
            }
        }
    }

    /// The object of that name as a list, so that it has a resourceVersion to watch from also where it is not there.
    async fn list_named(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<(Vec<Value>, String), Error> {
        let doing = format!("reading {}", describe(&kind.kind, namespace, name));
        let params = kube::api::ListParams::default().fields(&format!("metadata.name={name}"));
        let mut list = self.send(doing, Request::new(kind.path(namespace)).list(&params)).await?;
        let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
        let items = match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => vec![],
        };
        Ok((items, version))
    }
}

/// A group of Kubernetes itself: its types have merge keys, those of CustomResourceDefinitions have none.
fn is_built_in(api_version: &str) -> bool {
    match api_version.split_once('/') {
        None => true,
        Some((group, _)) => !group.contains('.') || group.ends_with(".k8s.io") && !group.contains("gateway."),
    }
}

/// Whether all replicas are of the newest template and available; the reason otherwise. As `kubectl rollout status`.
pub fn rolled_out(kind: &str, object: &Value) -> Result<(), String> {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    if number("/status/observedGeneration") < number("/metadata/generation") {
        return Err("its controller has not seen the change yet".into());
    }
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    match kind {
        "DaemonSet" => {
            let wanted = number("/status/desiredNumberScheduled");
            let (updated, ready) = (number("/status/updatedNumberScheduled"), number("/status/numberAvailable"));
            all(updated, ready, wanted, wanted)
        }
        "StatefulSet" => {
            let (updated, ready) = (number("/status/updatedReplicas"), number("/status/readyReplicas"));
            all(updated, ready, number("/status/replicas"), wanted)
        }
        _ => {
            let (updated, ready) = (number("/status/updatedReplicas"), number("/status/availableReplicas"));
            all(updated, ready, number("/status/replicas"), wanted)
        }
    }
}

fn all(updated: i64, ready: i64, total: i64, wanted: i64) -> Result<(), String> {
    match updated == wanted && ready == wanted && total == wanted {
        true => Ok(()),
        false => Err(format!("of {wanted} replicas {updated} are new and {ready} are available; there are {total}")),
    }
}

/// Whether a condition of the object has a status; what it has otherwise.
pub fn has_condition(object: &Value, condition: &str, status: &str) -> Result<(), String> {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    let found =
        all.into_iter().flatten().find(|c| c["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(condition)));
    match found {
        Some(found) if found["status"].as_str().is_some_and(|s| s.eq_ignore_ascii_case(status)) => Ok(()),
        Some(found) => {
            let message = found["message"].as_str().or_else(|| found["reason"].as_str()).unwrap_or_default();
            Err(format!("{condition} is {}: {message}", found["status"].as_str().unwrap_or("unset")))
        }
        None => Err(format!("it has no condition {condition}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rollout_is_done_when_all_replicas_are_new_and_available() {
        let deployment =
            |status: Value| json!({"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status});
        let done = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert_eq!(rolled_out("Deployment", &deployment(done.clone())), Ok(()));
        for (field, value) in
            [("observedGeneration", 1), ("replicas", 3), ("updatedReplicas", 1), ("availableReplicas", 1)]
        {
            let mut status = done.clone();
            status[field] = value.into();
            assert!(rolled_out("Deployment", &deployment(status)).is_err(), "{field}");
        }
        let none = json!({"metadata": {"generation": 1}, "spec": {"replicas": 0}, "status": {"observedGeneration": 1}});
        assert_eq!(rolled_out("Deployment", &none), Ok(()));
    }

    #[test]
    fn conditions_are_named_whatever_their_case() {
        let object = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "message": "no"}]}});
        assert_eq!(has_condition(&object, "ready", "False"), Ok(()));
        assert_eq!(has_condition(&object, "Ready", "True"), Err("Ready is False: no".into()));
        assert_eq!(has_condition(&object, "X", "True"), Err("it has no condition X".into()));
    }

    #[test]
    fn only_kinds_of_kubernetes_have_merge_keys() {
        assert!(is_built_in("v1") && is_built_in("apps/v1") && is_built_in("networking.k8s.io/v1"));
        assert!(!is_built_in("networking.istio.io/v1") && !is_built_in("gateway.networking.k8s.io/v1"));
    }
}

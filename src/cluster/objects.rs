//! Objects as JSON: read, server-side apply, put back, delete and wait until gone.
//!
//! Objects stay raw JSON from end to end: what is written back on undo is what was read, to the byte.

use super::{Cluster, Error, Kind};
use futures::TryStreamExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchParams};
use kube::core::request::Request;
use kube::core::{DynamicObject, WatchEvent};
use serde_json::Value;
use std::time::Duration;

/// The field manager of every change that a run makes. Undo leaves none of it behind.
pub const FIELD_MANAGER: &str = "egress-scn";

/// What applying an object would do, or did.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// There was none.
    Created,
    /// It differed.
    Changed,
    /// Applying it changes nothing, so it is left alone: not even a field manager is added.
    Unchanged,
}

/// Namespace (empty for cluster-wide kinds) and name of an object.
pub fn identity(object: &Value) -> (&str, &str) {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    (text("/metadata/namespace"), text("/metadata/name"))
}

/// `Gateway mesh-test/egress`.
pub fn describe(kind: &str, namespace: Option<&str>, name: &str) -> String {
    match namespace.filter(|n| !n.is_empty()) {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// What a person would call the object: without what the server keeps for itself and without
/// status. Two objects with equal content differ in nothing that an author wrote.
pub fn content(object: &Value) -> Value {
    let mut copy = object.clone();
    if let Some(map) = copy.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut) {
        for own in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"] {
            metadata.remove(own);
        }
        for empty in ["labels", "annotations"] {
            if metadata.get(empty).and_then(Value::as_object).is_some_and(|m| m.is_empty()) {
                metadata.remove(empty);
            }
        }
    }
    copy
}

impl Cluster {
    /// One object, or `None` where there is none.
    pub async fn get(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<Option<Value>, Error> {
        let doing = format!("reading {}", describe(&kind.kind, namespace, name));
        let request = Request::new(kind.path(namespace)).get(name, &Default::default());
        match self.send(doing, request).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Objects of a kind, and the resourceVersion of the list.
    pub async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<(Vec<Value>, String), Error> {
        let doing = format!("listing {}", kind.plural);
        let mut params = ListParams::default();
        if !labels.is_empty() {
            params = params.labels(labels);
        }
        let mut list = self.send(doing, Request::new(kind.path(namespace)).list(&params)).await?;
        let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut items = match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => vec![],
        };
        // Items of a list carry no kind of their own.
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.entry("apiVersion").or_insert_with(|| kind.api_version.clone().into());
            item.entry("kind").or_insert_with(|| kind.kind.clone().into());
        }
        Ok((items, version))
    }

    /// The object as server-side apply would leave it, without leaving it so.
    pub async fn apply_dry_run(&self, kind: &Kind, object: &Value) -> Result<Value, Error> {
        self.apply_with(kind, object, apply_params().dry_run(), None).await
    }

    /// Server-side apply. With `version`, only if the object is still at that resourceVersion
    /// (a 409 otherwise).
    pub async fn apply(&self, kind: &Kind, object: &Value, version: Option<&str>) -> Result<Value, Error> {
        self.apply_with(kind, object, apply_params(), version).await
    }

    async fn apply_with(
        &self,
        kind: &Kind,
        object: &Value,
        params: PatchParams,
        version: Option<&str>,
    ) -> Result<Value, Error> {
        let (namespace, name) = identity(object);
        let doing = format!("applying {}", describe(&kind.kind, Some(namespace), name));
        let mut body = object.clone();
        if let (Some(version), Some(metadata)) = (version, body.get_mut("metadata").and_then(Value::as_object_mut)) {
            metadata.insert("resourceVersion".into(), version.into());
        }
        let request = Request::new(kind.path(Some(namespace))).patch(name, &params, &Patch::Apply(&body));
        self.send(doing, request).await
    }

    /// What applying `object` over `live` would do, judged by the server itself (a dry run).
    pub async fn compare(&self, kind: &Kind, object: &Value, live: Option<&Value>) -> Result<Applied, Error> {
        let Some(live) = live else { return Ok(Applied::Created) };
        let merged = self.apply_dry_run(kind, object).await?;
        Ok(if content(&merged) == content(live) { Applied::Unchanged } else { Applied::Changed })
    }

    /// Creates an object (POST), keeping what its metadata says of managed fields.
    pub async fn create(&self, kind: &Kind, object: &Value) -> Result<Value, Error> {
        let (namespace, name) = identity(object);
        let doing = format!("creating {}", describe(&kind.kind, Some(namespace), name));
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let request = Request::new(kind.path(Some(namespace))).create(&params, body(object));
        self.send(doing, request).await
    }

    /// Replaces an object whole (PUT). Its `metadata.resourceVersion` is the precondition.
    pub async fn replace(&self, kind: &Kind, object: &Value) -> Result<Value, Error> {
        let (namespace, name) = identity(object);
        let doing = format!("putting back {}", describe(&kind.kind, Some(namespace), name));
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let request = Request::new(kind.path(Some(namespace))).replace(name, &params, body(object));
        self.send(doing, request).await
    }

    /// Deletes an object and waits until it is gone. `uid` guards against deleting a namesake.
    /// True if there was one.
    pub async fn delete(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        uid: Option<&str>,
        limit: Duration,
    ) -> Result<bool, Error> {
        let doing = format!("deleting {}", describe(&kind.kind, namespace, name));
        let mut params = DeleteParams::background();
        if let Some(uid) = uid {
            params = params.preconditions(Preconditions { uid: Some(uid.into()), resource_version: None });
        }
        let answer = match self.send(doing.clone(), Request::new(kind.path(namespace)).delete(name, &params)).await {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error),
        };
        // A Status means gone; an object with a deletionTimestamp goes later (finalizers, grace).
        if answer.pointer("/metadata/deletionTimestamp").is_some() {
            let uid = answer.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned();
            self.wait_gone(kind, namespace, name, &uid, limit).await?;
        }
        Ok(true)
    }

    /// Waits by watch until the object with this uid is gone.
    async fn wait_gone(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        uid: &str,
        limit: Duration,
    ) -> Result<(), Error> {
        let doing = format!("waiting until {} is gone", describe(&kind.kind, namespace, name));
        let wait = async {
            loop {
                let Some(live) = self.get(kind, namespace, name).await? else { return Ok(()) };
                if live.pointer("/metadata/uid").and_then(Value::as_str) != Some(uid) {
                    return Ok(());
                }
                let version = live.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
                let params = WatchParams::default().fields(&format!("metadata.name={name}"));
                if self.watch_until(kind, namespace, params, version, &|e| matches!(e, Change::Deleted)).await? {
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(limit, wait).await {
            Ok(result) => result,
            Err(_) => {
                Err(Error::says(doing, format!("still there after {} s: a finalizer may be waiting", limit.as_secs())))
            }
        }
    }

    /// Watches objects from `version` until `done` says so (true) or the watch ends (false).
    pub(super) async fn watch_until(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        params: WatchParams,
        version: &str,
        done: &(dyn Fn(Change) -> bool + Sync),
    ) -> Result<bool, Error> {
        let doing = format!("watching {}", kind.plural);
        let request =
            Request::new(kind.path(namespace)).watch(&params, version).map_err(|e| Error::broken(doing.clone(), &e))?;
        let events = self
            .client()
            .request_events::<DynamicObject>(request)
            .await
            .map_err(|e| Error::from_kube(doing.clone(), e))?;
        futures::pin_mut!(events);
        while let Some(event) = events.try_next().await.map_err(|e| Error::from_kube(doing.clone(), e))? {
            let finished = match &event {
                WatchEvent::Added(_) | WatchEvent::Modified(_) => done(Change::Now),
                WatchEvent::Deleted(_) => done(Change::Deleted),
                // 410: the caller reads again and watches from there.
                WatchEvent::Error(_) => return Ok(false),
                WatchEvent::Bookmark(_) => false,
            };
            if finished {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) async fn send(
        &self,
        doing: String,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Value, Error> {
        let request = request.map_err(|e| Error::broken(doing.clone(), &e))?;
        self.client().request::<Value>(request).await.map_err(|e| Error::from_kube(doing, e))
    }
}

/// What a watch saw of an object.
pub(super) enum Change {
    Now,
    Deleted,
}

fn apply_params() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force().validation_strict()
}

fn body(object: &Value) -> Vec<u8> {
    object.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn content_is_what_an_author_wrote() {
        let live = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "b", "uid": "1", "resourceVersion": "7", "generation": 2,
                "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"manager": "x"}], "annotations": {},
                "labels": {"app": "sleep"}},
            "data": {"k": "v"}, "status": {"x": 1}
        });
        let written = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "b", "labels": {"app": "sleep"}}, "data": {"k": "v"}
        });
        assert_eq!(content(&live), written);
        let mut other = live.clone();
        other["data"]["k"] = "w".into();
        assert_ne!(content(&other), written);
    }
}

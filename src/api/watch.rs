//! Watches: what happened after a revision, in order, as one JSON event a line.
//!
//! A watcher that takes bookmarks gets one as soon as a burst of writes to other kinds is over, so that a client with several watches can tell when all have reached a revision.

use super::answer::{self, Form};
use super::context::Context;
use super::failure::{Cause, Failure};
use super::object;
use super::read::Scope;
use super::request::{Query, Target};
use super::store::Change;
use super::table;
use bytes::Bytes;
use futures::stream::Stream;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a watch lasts if the client names no timeout.
const DEFAULT_SECONDS: u64 = 45 * 60;

struct Watcher {
    ctx: Arc<Context>,
    target: Target,
    scope: Scope,
    query: Query,
    form: Form,
    bookmarks: bool,
    cursor: u64,
    /// Other kinds changed up to the cursor, and no bookmark has said so.
    owed: bool,
    /// Whoever can run went first since the cursor moved: of many bursts in a row the last one's bookmark is enough.
    stood_back: bool,
    /// Events of the initial state, sent first.
    initial: Vec<u8>,
    revisions: watch::Receiver<u64>,
    bursts: watch::Receiver<u64>,
    deadline: Instant,
    ended: bool,
}

pub fn parse_revision(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| {
        let cause = Cause::invalid("resourceVersion", &json!(text), "strconv.ParseUint: invalid syntax");
        Failure::invalid("meta.k8s.io", "ListOptions", "", &[cause])
    })
}

/// Starts a watch; the stream ends at the timeout or after an `ERROR` event.
pub fn start(
    ctx: &Arc<Context>,
    target: &Target,
    query: &Query,
    form: Form,
) -> Result<impl Stream<Item = Bytes> + Send + use<>, Failure> {
    let scope = Scope::parse(target, query)?;
    let bookmarks = query.flag("allowWatchBookmarks");
    let send_initial = query.get("sendInitialEvents").map(|v| v == "true");
    let matching = query.get("resourceVersionMatch");
    if send_initial.is_some() && matching != Some("NotOlderThan") || send_initial.is_none() && matching.is_some() {
        let cause = Cause {
            field: "resourceVersionMatch".into(),
            reason: "FieldValueForbidden",
            message: if matching.is_some() {
                "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided".into()
            } else {
                "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan".into()
            },
        };
        return Err(Failure::invalid("meta.k8s.io", "ListOptions", "", &[cause]));
    }
    let given = query.get("resourceVersion").map(parse_revision).transpose()?.unwrap_or(0);
    let seconds = query.number("timeoutSeconds")?.unwrap_or(DEFAULT_SECONDS);
    let (revisions, bursts) = (ctx.store.revisions(), ctx.store.bursts());
    let mut watcher = Watcher {
        ctx: ctx.clone(),
        target: target.clone(),
        scope,
        query: query.clone(),
        form,
        bookmarks,
        cursor: given,
        owed: false,
        stood_back: false,
        initial: Vec::new(),
        revisions,
        bursts,
        deadline: Instant::now() + Duration::from_secs(seconds.min(24 * 3600)),
        ended: false,
    };
    if send_initial.unwrap_or(given == 0) {
        watcher.load(send_initial == Some(true));
    } else if given == 0 {
        watcher.cursor = ctx.store.revision();
    }
    Ok(futures::stream::unfold(watcher, |mut watcher| async move {
        let chunk = watcher.next().await?;
        Some((chunk, watcher))
    }))
}

impl Watcher {
    /// The present state as ADDED events, and the bookmark that ends it if asked for.
    fn load(&mut self, marked: bool) {
        let state = self.ctx.store.lock();
        let objects = state.objects(&self.target.resource.id, self.scope.namespace.as_deref());
        let objects: Vec<Arc<Value>> = objects.filter(|o| self.scope.holds(o)).cloned().collect();
        let revision = state.revision();
        drop(state);
        let mut out = Vec::new();
        for object in objects {
            self.event("ADDED", &object, &mut out);
        }
        self.cursor = revision;
        if marked && self.bookmarks {
            self.bookmark(true, &mut out);
        }
        self.initial = out;
    }

    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if !self.initial.is_empty() {
            return Some(std::mem::take(&mut self.initial).into());
        }
        loop {
            self.revisions.borrow_and_update();
            self.bursts.borrow_and_update();
            let mut out = self.take();
            if out.is_empty() && self.may_pay() {
                if !std::mem::replace(&mut self.stood_back, true) {
                    tokio::task::yield_now().await;
                    continue;
                }
                self.owed = false;
                self.bookmark(false, &mut out);
            }
            if !out.is_empty() {
                return Some(out.into());
            }
            tokio::select! {
                changed = self.revisions.changed() => if changed.is_err() { return None },
                changed = self.bursts.changed(), if self.owed => if changed.is_err() { return None },
                () = tokio::time::sleep_until(self.deadline) => return None,
            }
        }
    }

    /// The events since the cursor; moves it.
    fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let (changes, revision) = {
            let state = self.ctx.store.lock();
            let revision = state.revision();
            if revision <= self.cursor {
                return out;
            }
            match state.since(self.cursor) {
                Some(changes) => {
                    let own = changes.filter(|c| c.key.resource == self.target.resource.id);
                    (own.cloned().collect::<Vec<Change>>(), revision)
                }
                None => {
                    self.ended = true;
                    let failure = Failure::gone(format!("too old resource version: {} ({revision})", self.cursor));
                    return answer::bytes(&json!({ "type": "ERROR", "object": failure.status() }));
                }
            }
        };
        let mut sent = 0;
        for change in &changes {
            let before = change.before.as_ref().is_some_and(|o| self.scope.holds(o));
            let after = !change.deleted && self.scope.holds(&change.after);
            let kind = match (before, after) {
                (false, true) => "ADDED",
                (true, true) => "MODIFIED",
                (true, false) => "DELETED",
                (false, false) => continue,
            };
            self.event(kind, &change.after, &mut out);
            sent = change.revision;
        }
        self.cursor = revision;
        self.owed = self.bookmarks && sent < revision;
        self.stood_back = false;
        out
    }

    /// Whether a bookmark is owed, and nobody is writing.
    fn may_pay(&self) -> bool {
        self.owed && *self.bursts.borrow() >= self.cursor
    }

    fn event(&self, kind: &str, object: &Value, out: &mut Vec<u8>) {
        let resource = &self.target.resource;
        let shown = answer::in_version(resource, &self.target.version, object);
        let event = match self.form {
            Form::Object => json!({ "type": kind, "object": shown }),
            Form::Metadata => json!({ "type": kind, "object": answer::metadata_only(&shown) }),
            Form::Table => {
                let metadata = json!({ "resourceVersion": object::at(object, &["metadata", "resourceVersion"]) });
                json!({ "type": kind, "object": table::of(resource, &[&shown], metadata, &self.query, true) })
            }
        };
        out.extend(answer::bytes(&event));
    }

    fn bookmark(&self, ends_initial: bool, out: &mut Vec<u8>) {
        let resource = &self.target.resource;
        let mut metadata = json!({ "resourceVersion": self.cursor.to_string(), "creationTimestamp": null });
        if ends_initial {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = match self.form {
            Form::Object => {
                let mut object = json!({ "kind": resource.kind, "apiVersion": resource.api_version(&self.target.version), "metadata": metadata });
                // Typed clients decode a bookmark as the kind itself, and some fields have no default.
                match resource.kind.as_str() {
                    "Pod" => object["spec"] = json!({ "containers": [] }),
                    "EndpointSlice" => {
                        object["addressType"] = json!("");
                        object["endpoints"] = json!([]);
                    }
                    "Event" => object["involvedObject"] = json!({}),
                    _ => {}
                }
                object
            }
            Form::Metadata => {
                json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata })
            }
            Form::Table => table::of(resource, &[], metadata, &self.query, true),
        };
        out.extend(answer::bytes(&json!({ "type": "BOOKMARK", "object": object })));
    }
}

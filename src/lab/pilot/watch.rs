//! Follows one kind: list, then watch with bookmarks, for ever. Every event carries how far the kind
//! has been seen, so that the pilot can say "everything up to resourceVersion N is in".

use super::kinds::Kind;
use super::log::Log;
use futures::StreamExt;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use serde_json::Value;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::time::Instant;

/// What happened to a kind.
#[derive(Debug)]
pub enum What {
    /// The whole of it, at the start and after the API forgot our place.
    Listed(Vec<Value>),
    Applied(Value),
    Deleted(Value),
    /// Nothing, up to this resourceVersion.
    Seen,
    /// The API does not serve this kind: there are none of it, and nothing to wait for.
    Absent,
}

#[derive(Debug)]
pub struct Change {
    /// Index in the table of kinds.
    pub kind: usize,
    /// The resourceVersion up to which the kind is known with this change.
    pub version: u64,
    pub what: What,
}

/// After an error; doubles up to the second while it lasts.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const NOT_FOUND: u16 = 404;
const GONE: u16 = 410;

/// Follows `kinds[index]` until nobody listens any more. `wanted` is a resourceVersion that somebody waits
/// for and that no bookmark told of: a kind that is not there yet is listed anew.
pub async fn follow(
    client: kube::Client,
    kinds: &'static [Kind],
    index: usize,
    changes: UnboundedSender<Change>,
    mut wanted: watch::Receiver<u64>,
    log: Log,
) {
    let kind = &kinds[index];
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let before = Instant::now();
        match list_and_watch(&client, kind, index, &changes, &mut wanted).await {
            Ok(Ended::NobodyListens) => return,
            Ok(Ended::Outdated) => pause = FIRST_PAUSE,
            Err(error) => {
                if is_status(&error, NOT_FOUND) {
                    let absent = Change { kind: index, version: 0, what: What::Absent };
                    if changes.send(absent).is_err() {
                        return;
                    }
                } else if !told {
                    log.warn("kube", &format!("watch of {} failed, will be tried again: {error}", kind.plural));
                    told = true;
                }
                if before.elapsed() > LONGEST_PAUSE {
                    (pause, told) = (FIRST_PAUSE, false);
                }
                // The API is away or lacks the kind: neither tells when that changes.
                tokio::time::sleep_until(Instant::now() + pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

enum Ended {
    NobodyListens,
    /// The API no longer has the place where we were, or somebody waits for a later one: list anew.
    Outdated,
}

async fn list_and_watch(
    client: &kube::Client,
    kind: &Kind,
    index: usize,
    changes: &UnboundedSender<Change>,
    wanted: &mut watch::Receiver<u64>,
) -> Result<Ended, kube::Error> {
    let requests = Request::new(kind.path());
    // What is listed from here on is at least as new.
    let answered = *wanted.borrow_and_update();
    let selection = ListParams { field_selector: kind.field_selector(), ..ListParams::default() };
    let request = requests.list(&selection).map_err(kube::Error::BuildRequest)?;
    let mut list: Value = client.request(request).await?;
    let mut place = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_string();
    let items = match list["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    let items = items.into_iter().map(|item| kind.reduce(item)).collect();
    if changes.send(Change { kind: index, version: number(&place), what: What::Listed(items) }).is_err() {
        return Ok(Ended::NobodyListens);
    }
    loop {
        match watch(client, (kind, index), &requests, &mut place, changes, wanted, answered).await? {
            // The API ends watches now and then.
            None => {}
            Some(ended) => return Ok(ended),
        }
    }
}

async fn watch(
    client: &kube::Client,
    (kind, index): (&Kind, usize),
    requests: &Request,
    place: &mut String,
    changes: &UnboundedSender<Change>,
    wanted: &mut watch::Receiver<u64>,
    answered: u64,
) -> Result<Option<Ended>, kube::Error> {
    let selection = WatchParams { field_selector: kind.field_selector(), ..WatchParams::default() };
    let request = requests.watch(&selection, place).map_err(kube::Error::BuildRequest)?;
    let events = match client.request_events::<Value>(request).await {
        Err(error) if is_status(&error, GONE) => return Ok(Some(Ended::Outdated)),
        other => other?,
    };
    let mut events = pin!(events);
    loop {
        let here = number(place);
        let event = tokio::select! {
            event = events.next() => event,
            Ok(_) = wanted.wait_for(|wanted| *wanted > here.max(answered)) => return Ok(Some(Ended::Outdated)),
        };
        let Some(event) = event else { return Ok(None) };
        let (what, version): (fn(Value) -> What, Value) = match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (What::Applied, object),
            WatchEvent::Deleted(object) => (What::Deleted, object),
            WatchEvent::Bookmark(mark) => {
                *place = mark.metadata.resource_version;
                let seen = Change { kind: index, version: number(place), what: What::Seen };
                if changes.send(seen).is_err() {
                    return Ok(Some(Ended::NobodyListens));
                }
                continue;
            }
            WatchEvent::Error(status) if status.code == GONE => return Ok(Some(Ended::Outdated)),
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        };
        if let Some(at) = version["metadata"]["resourceVersion"].as_str() {
            *place = at.to_string();
        }
        let change = Change { kind: index, version: number(place), what: what(kind.reduce(version)) };
        if changes.send(change).is_err() {
            return Ok(Some(Ended::NobodyListens));
        }
    }
}

/// Resource versions are numbers that grow, in this lab's API as in etcd's.
fn number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}

fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

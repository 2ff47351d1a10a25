//! Events: what the lab's parts tell about an object, as `kubectl get events` and `kubectl describe` show it.
//! They are told in passing: who tells does not wait, and an event that cannot be written is a line of the lab's log.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::Resource;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many the lab keeps; the oldest go first. A cluster keeps an event for an hour, however many there are.
const KEPT: usize = 2000;
/// How many may wait to be written; more at once are not told.
const WAITING: usize = 8192;
/// How many are written at once: what a pod's start tells, in one burst of writes.
const AT_ONCE: usize = 32;

/// Told by a part of the lab. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    component: &'static str,
    host: String,
    field: Option<String>,
    queue: mpsc::Sender<Note>,
}

/// As the `type` of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tone {
    Normal,
    Warning,
}

/// What makes two events one that is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Note {
    component: &'static str,
    host: String,
    tone: Tone,
    reason: &'static str,
    message: String,
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    field: Option<String>,
}

type Log = Arc<dyn Fn(&str) + Send + Sync>;

impl Recorder {
    /// Starts writing, for the lab's life. `component` is who tells, `host` the node it is on, if any.
    pub fn start(client: kube::Client, component: &'static str, host: &str, log: Log) -> Recorder {
        let (queue, notes) = mpsc::channel(WAITING);
        tokio::spawn(write(client, notes, log));
        Recorder { component, host: host.to_string(), field: None, queue }
    }

    /// The same for another part, on no node.
    pub fn of(&self, component: &'static str) -> Recorder {
        Recorder { component, host: String::new(), field: None, queue: self.queue.clone() }
    }

    /// The same about a part of the object: `spec.containers{sleep}`.
    pub fn at(&self, field: String) -> Recorder {
        Recorder { field: Some(field), ..self.clone() }
    }

    pub fn normal<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &'static str, message: impl Into<String>) {
        self.tell(object, Tone::Normal, reason, message.into());
    }

    pub fn warning<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &'static str, message: impl Into<String>) {
        self.tell(object, Tone::Warning, reason, message.into());
    }

    fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, tone: Tone, reason: &'static str, message: String) {
        let meta = object.meta();
        let note = Note {
            component: self.component,
            host: self.host.clone(),
            tone,
            reason,
            message,
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespace: meta.namespace.clone().unwrap_or_else(|| "default".into()),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            field: self.field.clone(),
        };
        // Full only where thousands happen at once; then some are not told, as in a cluster.
        let _ = self.queue.try_send(note);
    }
}

/// What was written: the event's name, and how often it has happened.
#[derive(Default)]
struct Written {
    counts: HashMap<Note, (String, u32)>,
    order: VecDeque<Note>,
}

async fn write(client: kube::Client, mut notes: mpsc::Receiver<Note>, log: Log) {
    let mut written = Written::default();
    let mut waiting = Vec::new();
    while notes.recv_many(&mut waiting, AT_ONCE).await > 0 {
        // The same one again is counted: it waits for the one before.
        let mut round = Vec::new();
        let mut again = Vec::new();
        for note in waiting.drain(..) {
            if round.contains(&note) { again.push(note) } else { round.push(note) }
        }
        for round in std::iter::once(round).chain(again.into_iter().map(|note| vec![note])) {
            let told = round.iter().map(|note| tell(&client, note, written.counts.get(note)));
            let told = futures::future::join_all(told).await;
            for (note, result) in round.into_iter().zip(told) {
                match result {
                    Ok(times) => written.keep(note, times),
                    // Its namespace ends, or somebody has deleted it.
                    Err(kube::Error::Api(refusal)) if matches!(refusal.code, 403 | 404 | 409) => written.forget(&note),
                    Err(error) => log(&format!("an event of {}/{}: {error}", note.namespace, note.name)),
                }
            }
        }
        while written.order.len() > KEPT
            && let Some(oldest) = written.order.pop_front()
            && let Some((name, _)) = written.counts.remove(&oldest)
        {
            let api: Api<Event> = Api::namespaced(client.clone(), &oldest.namespace);
            // It may be gone with its namespace.
            let _ = api.delete(&name, &DeleteParams::default()).await;
        }
    }
}

impl Written {
    fn keep(&mut self, note: Note, times: (String, u32)) {
        if self.counts.insert(note.clone(), times).is_none() {
            self.order.push_back(note);
        }
    }

    fn forget(&mut self, note: &Note) {
        self.counts.remove(note);
        self.order.retain(|known| known != note);
    }
}

/// Writes that it has happened, for the first time or again. Gives the event's name and how often by now.
async fn tell(client: &kube::Client, note: &Note, before: Option<&(String, u32)>) -> kube::Result<(String, u32)> {
    let api: Api<Event> = Api::namespaced(client.clone(), &note.namespace);
    if let Some((name, count)) = before {
        let count = count + 1;
        let more = json!({ "count": count, "lastTimestamp": now() });
        return api.patch(name, &PatchParams::default(), &Patch::Merge(more)).await.map(|_| (name.clone(), count));
    }
    // As client-go names them: nobody's name is the same twice.
    let name = format!("{}.{:x}", note.name, Timestamp::now().as_nanosecond());
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": name, "namespace": note.namespace },
        "involvedObject": { "apiVersion": note.api_version, "kind": note.kind, "namespace": note.namespace,
            "name": note.name, "uid": note.uid, "fieldPath": note.field },
        "type": format!("{:?}", note.tone), "reason": note.reason, "message": note.message,
        "source": { "component": note.component, "host": note.host },
        "reportingComponent": note.component, "reportingInstance": note.host,
        "firstTimestamp": now(), "lastTimestamp": now(), "count": 1,
    });
    let event: Event = serde_json::from_value(event).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams::default(), &event).await?;
    Ok((name, 1))
}

/// Kubernetes' times have whole seconds.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

//! The objects, one revision for all of them, and the recent changes in order.
//! Pure bookkeeping: no rule of any kind lives here.

use super::object;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// How many changes a watcher may lie behind before it gets 410.
const HISTORY: usize = 20_000;

/// Where an object lies. `resource` is `plural.group`, or `plural` in the core group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub resource: Arc<str>,
    pub namespace: String,
    pub name: String,
}

/// One change. `before` and `after` tell an addition from a modification from a deletion.
#[derive(Debug, Clone)]
pub struct Change {
    pub revision: u64,
    pub key: Key,
    pub before: Option<Arc<Value>>,
    /// The object after the change; for a deletion its last state, with the revision of the deletion.
    pub after: Arc<Value>,
    pub deleted: bool,
}

type Objects = BTreeMap<(String, String), Arc<Value>>;

#[derive(Default)]
pub struct State {
    revision: u64,
    objects: HashMap<Arc<str>, Objects>,
    by_uid: HashMap<String, Key>,
    dependents: HashMap<String, BTreeSet<Key>>,
    history: VecDeque<Change>,
    /// Changes up to this revision are no longer in the history.
    forgotten: u64,
}

/// The store; clones share it.
#[derive(Clone)]
pub struct Store {
    state: Arc<Mutex<State>>,
    revision: Arc<watch::Sender<u64>>,
    quiet: Arc<Quiet>,
}

/// When nobody is writing.
struct Quiet {
    writers: AtomicUsize,
    /// The revision at which the last writer ended.
    revision: watch::Sender<u64>,
}

/// Somebody is writing as long as this lives.
pub struct Writing<'a> {
    store: &'a Store,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if self.store.quiet.writers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.store.quiet.tell(*self.store.revision.borrow());
        }
    }
}

impl Quiet {
    fn tell(&self, revision: u64) {
        self.revision.send_if_modified(|told| {
            let later = revision > *told;
            *told = revision.max(*told);
            later
        });
    }
}

/// The locked state. Dropping it tells the watchers.
pub struct Locked<'a> {
    state: MutexGuard<'a, State>,
    revision: &'a watch::Sender<u64>,
    quiet: &'a Quiet,
}

impl std::ops::Deref for Locked<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl std::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let now = self.state.revision;
        self.revision.send_if_modified(|seen| {
            let changed = *seen != now;
            *seen = now;
            changed
        });
        if self.quiet.writers.load(Ordering::Acquire) == 0 {
            self.quiet.tell(now);
        }
    }
}

impl Default for Store {
    fn default() -> Store {
        let state = State { revision: 1, forgotten: 1, ..State::default() };
        let quiet = Quiet { writers: AtomicUsize::new(0), revision: watch::Sender::new(1) };
        Store { state: Arc::new(Mutex::new(state)), revision: Arc::new(watch::Sender::new(1)), quiet: Arc::new(quiet) }
    }
}

impl Store {
    pub fn lock(&self) -> Locked<'_> {
        // A panic under the lock leaves whole objects behind (each change is one insertion), so the
        // state stays usable.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { state, revision: &self.revision, quiet: &self.quiet }
    }

    /// Changes whenever the revision does.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// A request that may write has begun: several at once are one burst.
    pub fn writing(&self) -> Writing<'_> {
        self.quiet.writers.fetch_add(1, Ordering::AcqRel);
        Writing { store: self }
    }

    /// Changes when a burst of writes is over, to its last revision.
    pub fn bursts(&self) -> watch::Receiver<u64> {
        self.quiet.revision.subscribe()
    }

    pub fn revision(&self) -> u64 {
        self.lock().state.revision
    }

    /// One object, if it exists: `store.get("pods", "default", "sleep")`.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.lock().get(resource, namespace, name)
    }

    /// All objects of a resource (`plural.group`), ordered by namespace and name.
    pub fn list(&self, resource: &str) -> Vec<Arc<Value>> {
        self.lock().objects(resource, None).cloned().collect()
    }
}

impl State {
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.objects.get(resource)?.get(&(namespace.to_string(), name.to_string())).cloned()
    }

    pub fn find(&self, key: &Key) -> Option<Arc<Value>> {
        self.get(&key.resource, &key.namespace, &key.name)
    }

    /// The objects of a resource, in one namespace or all, ordered by namespace and name.
    pub fn objects<'a>(
        &'a self,
        resource: &str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Value>> + 'a {
        let all = self.objects.get(resource).into_iter().flatten();
        all.filter(move |((ns, _), _)| namespace.is_none_or(|n| n == ns)).map(|(_, object)| object)
    }

    /// Every object's key in a namespace.
    pub fn keys_in(&self, namespace: &str) -> Vec<Key> {
        let mut keys = Vec::new();
        for (resource, objects) in &self.objects {
            for (ns, name) in objects.keys().filter(|(ns, _)| ns == namespace) {
                keys.push(Key { resource: resource.clone(), namespace: ns.clone(), name: name.clone() });
            }
        }
        keys.sort();
        keys
    }

    pub fn by_uid(&self, uid: &str) -> Option<&Key> {
        self.by_uid.get(uid)
    }

    /// The objects with an owner reference to `uid`.
    pub fn dependents(&self, uid: &str) -> Vec<Key> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Stores an object with a new revision and returns it as stored.
    pub fn put(&mut self, key: &Key, mut value: Value) -> Arc<Value> {
        self.revision += 1;
        object::metadata(&mut value).insert("resourceVersion".into(), json!(self.revision.to_string()));
        let value = Arc::new(value);
        let place = (key.namespace.clone(), key.name.clone());
        let before = self.objects.entry(key.resource.clone()).or_default().insert(place, value.clone());
        if let Some(old) = &before {
            self.unindex(key, old);
        }
        self.by_uid.insert(object::uid(&value).to_string(), key.clone());
        for owner in owner_uids(&value) {
            self.dependents.entry(owner).or_default().insert(key.clone());
        }
        self.record(key, before, value.clone(), false);
        value
    }

    /// Removes an object and returns its last state.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let place = (key.namespace.clone(), key.name.clone());
        let before = self.objects.get_mut(&key.resource)?.remove(&place)?;
        self.unindex(key, &before);
        self.revision += 1;
        let mut last = (*before).clone();
        object::metadata(&mut last).insert("resourceVersion".into(), json!(self.revision.to_string()));
        let last = Arc::new(last);
        self.record(key, Some(before), last.clone(), true);
        Some(last)
    }

    fn unindex(&mut self, key: &Key, old: &Value) {
        self.by_uid.remove(object::uid(old));
        for owner in owner_uids(old) {
            if let Some(set) = self.dependents.get_mut(&owner) {
                set.remove(key);
                if set.is_empty() {
                    self.dependents.remove(&owner);
                }
            }
        }
    }

    fn record(&mut self, key: &Key, before: Option<Arc<Value>>, after: Arc<Value>, deleted: bool) {
        self.history.push_back(Change { revision: self.revision, key: key.clone(), before, after, deleted });
        if self.history.len() > HISTORY
            && let Some(old) = self.history.pop_front()
        {
            self.forgotten = old.revision;
        }
    }

    /// The changes after `revision`, or `None` if some of them are forgotten.
    pub fn since(&self, revision: u64) -> Option<impl Iterator<Item = &Change>> {
        if revision < self.forgotten {
            return None;
        }
        let start = self.history.partition_point(|c| c.revision <= revision);
        Some(self.history.range(start..))
    }
}

fn owner_uids(value: &Value) -> Vec<String> {
    object::list(value, &["metadata", "ownerReferences"])
        .iter()
        .filter_map(|r| r.get("uid").and_then(Value::as_str))
        .map(str::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { resource: "pods".into(), namespace: "a".into(), name: name.into() }
    }

    #[test]
    fn changes_are_in_order_and_share_one_revision() {
        let store = Store::default();
        let start = store.revision();
        store.lock().put(&key("x"), json!({ "metadata": { "uid": "1" } }));
        store.lock().put(&key("x"), json!({ "metadata": { "uid": "1" }, "spec": 1 }));
        store.lock().remove(&key("x"));
        let state = store.lock();
        let seen: Vec<_> = state.since(start).unwrap().map(|c| (c.before.is_some(), c.deleted)).collect();
        assert_eq!(seen, [(false, false), (true, false), (true, true)]);
        assert_eq!(state.revision(), start + 3);
        assert!(state.since(0).is_none(), "changes before the first are not known");
    }

    #[test]
    fn dependents_follow_owner_references() {
        let store = Store::default();
        let owned = json!({ "metadata": { "uid": "2", "ownerReferences": [{ "uid": "1" }] } });
        store.lock().put(&key("child"), owned);
        assert_eq!(store.lock().dependents("1"), [key("child")]);
        store.lock().put(&key("child"), json!({ "metadata": { "uid": "2" } }));
        assert!(store.lock().dependents("1").is_empty());
    }
}

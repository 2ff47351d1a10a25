//! The objects of some kinds as the API has them, and how far each kind has been seen.

use super::kinds::Kind;
use super::watch::{Change, What};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// (namespace, name).
pub type Key = (String, String);

#[derive(Debug, Clone, Default)]
struct Known {
    objects: BTreeMap<Key, Arc<Value>>,
    /// `None` until it was listed, or found absent.
    seen: Option<u64>,
    absent: bool,
}

#[derive(Debug)]
pub struct Objects {
    kinds: &'static [Kind],
    known: Vec<Known>,
}

impl Objects {
    pub fn new(kinds: &'static [Kind]) -> Objects {
        Objects { kinds, known: vec![Known::default(); kinds.len()] }
    }

    /// Takes a change. True if anything is different now.
    pub fn take(&mut self, change: Change) -> bool {
        let known = &mut self.known[change.kind];
        known.absent = false;
        let mut differs = false;
        match change.what {
            What::Listed(items) => {
                let mut objects: BTreeMap<Key, Arc<Value>> =
                    items.into_iter().map(|item| (key(&item), Arc::new(item))).collect();
                differs = known.objects != objects;
                std::mem::swap(&mut known.objects, &mut objects);
                known.seen = Some(change.version);
            }
            What::Applied(object) => {
                let key = key(&object);
                if known.objects.get(&key).is_none_or(|old| **old != object) {
                    known.objects.insert(key, Arc::new(object));
                    differs = true;
                }
            }
            What::Deleted(object) => differs = known.objects.remove(&key(&object)).is_some(),
            What::Seen => {}
            What::Absent => {
                known.absent = true;
                differs = !known.objects.is_empty();
                known.objects.clear();
                known.seen.get_or_insert(0);
            }
        }
        if let Some(seen) = &mut known.seen {
            *seen = change.version.max(*seen);
        }
        differs
    }

    /// Whether every kind has been listed.
    pub fn is_complete(&self) -> bool {
        self.known.iter().all(|known| known.seen.is_some())
    }

    /// The resourceVersion up to which every kind is known; 0 before all are.
    pub fn seen(&self) -> u64 {
        let served = self.known.iter().filter(|known| !known.absent);
        served.map(|known| known.seen.unwrap_or(0)).min().unwrap_or(0)
    }

    /// Kinds not yet seen up to `version`, by their plural.
    pub fn behind(&self, version: u64) -> Vec<&'static str> {
        let behind = |known: &Known| !known.absent && known.seen.is_none_or(|seen| seen < version);
        self.kinds.iter().zip(&self.known).filter(|(_, known)| behind(known)).map(|(kind, _)| kind.plural).collect()
    }

    /// The objects of a kind, by namespace and name.
    pub fn of(&self, kind: &str) -> impl Iterator<Item = &Arc<Value>> {
        let index = self.kinds.iter().position(|known| known.kind == kind);
        index.into_iter().flat_map(|index| self.known[index].objects.values())
    }

    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        let index = self.kinds.iter().position(|known| known.kind == kind)?;
        self.known[index].objects.get(&(namespace.to_string(), name.to_string()))
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.known.iter().flat_map(|known| known.objects.values())
    }
}

fn key(object: &Value) -> Key {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_string();
    (text("namespace"), text("name"))
}

//! The objects the pilot knows, how far each kind has been seen, and the World made of them.

use super::kinds::{KINDS, MESH_CONFIG};
use super::watch::{Change, What};
use crate::mesh::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// (namespace, name).
type Key = (String, String);

#[derive(Debug, Clone, Default)]
struct Known {
    objects: BTreeMap<Key, Arc<Value>>,
    /// `None` until it was listed, or found absent.
    seen: Option<u64>,
    absent: bool,
}

#[derive(Debug)]
pub struct Store {
    kinds: Vec<Known>,
    mesh_config: Value,
}

impl Default for Store {
    fn default() -> Store {
        Store { kinds: vec![Known::default(); KINDS.len()], mesh_config: json!({}) }
    }
}

impl Store {
    /// Takes a change. True if anything that matters is different now. An `Err` is a mesh config that
    /// cannot be read; the one before stays.
    pub fn take(&mut self, change: Change) -> Result<bool, String> {
        let known = &mut self.kinds[change.kind];
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
        if differs && KINDS[change.kind].kind == MESH_CONFIG.kind {
            self.mesh_config = read_mesh_config(self.kinds[change.kind].objects.values().next())?;
        }
        Ok(differs)
    }

    /// Whether every kind has been listed: before that nothing can be told to a proxy.
    pub fn is_complete(&self) -> bool {
        self.kinds.iter().all(|known| known.seen.is_some())
    }

    /// The resourceVersion up to which every kind is known; 0 before all are.
    pub fn seen(&self) -> u64 {
        let served = self.kinds.iter().filter(|known| !known.absent);
        served.map(|known| known.seen.unwrap_or(0)).min().unwrap_or(0)
    }

    /// Kinds not yet seen up to `version`, by their plural.
    pub fn behind(&self, version: u64) -> Vec<&'static str> {
        let behind = |known: &Known| !known.absent && known.seen.is_none_or(|seen| seen < version);
        KINDS.iter().zip(&self.kinds).filter(|(_, known)| behind(known)).map(|(kind, _)| kind.plural).collect()
    }

    pub fn mesh_config(&self) -> &Value {
        &self.mesh_config
    }

    /// The objects of a kind.
    pub fn objects(&self, kind: &str) -> impl Iterator<Item = &Arc<Value>> {
        let index = KINDS.iter().position(|known| known.kind == kind);
        index.into_iter().flat_map(|index| self.kinds[index].objects.values())
    }

    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        let index = KINDS.iter().position(|known| known.kind == kind)?;
        self.kinds[index].objects.get(&(namespace.to_string(), name.to_string()))
    }

    /// All that the mesh compiler may know. Cheap: objects are shared.
    pub fn world(&self) -> World {
        let objects = self.kinds.iter().flat_map(|known| known.objects.values().cloned()).collect();
        World { objects, mesh_config: self.mesh_config.clone() }
    }
}

fn key(object: &Value) -> Key {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_string();
    (text("namespace"), text("name"))
}

fn read_mesh_config(map: Option<&Arc<Value>>) -> Result<Value, String> {
    let text = map.and_then(|map| map["data"]["mesh"].as_str()).unwrap_or_default();
    match serde_yaml::from_str(text) {
        Ok(Value::Null) => Ok(json!({})),
        Ok(config @ Value::Object(_)) => Ok(config),
        Ok(_) => Err("failed to read mesh configuration: it is not a YAML mapping".to_string()),
        Err(error) => Err(format!("failed to read mesh configuration: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: &str, version: u64, what: What) -> Change {
        Change { kind: KINDS.iter().position(|k| k.kind == kind).unwrap(), version, what }
    }

    #[test]
    fn all_kinds_must_have_been_seen() {
        let mut store = Store::default();
        assert!(!store.is_complete());
        for kind in KINDS {
            store.take(change(kind.kind, 5, What::Listed(vec![]))).unwrap();
        }
        assert!(store.is_complete());
        assert_eq!(store.seen(), 5);
        store.take(change("Pod", 9, What::Seen)).unwrap();
        assert_eq!(store.seen(), 5);
        assert_eq!(store.behind(6).len(), KINDS.len() - 1);
        // A kind that the API does not serve holds nobody up.
        for kind in KINDS.iter().filter(|kind| kind.kind != "Pod") {
            store.take(change(kind.kind, 0, What::Absent)).unwrap();
        }
        assert_eq!(store.seen(), 9);
    }

    #[test]
    fn the_same_object_again_is_no_change() {
        let mut store = Store::default();
        let service = json!({"metadata": {"namespace": "a", "name": "b"}});
        assert!(store.take(change("Service", 1, What::Applied(service.clone()))).unwrap());
        assert!(!store.take(change("Service", 2, What::Applied(service.clone()))).unwrap());
        assert!(store.take(change("Service", 3, What::Deleted(service))).unwrap());
    }

    #[test]
    fn a_bad_mesh_config_leaves_the_one_before() {
        let mut store = Store::default();
        let map =
            |mesh: &str| json!({"metadata": {"namespace": "istio-system", "name": "istio"}, "data": {"mesh": mesh}});
        store.take(change("ConfigMap", 1, What::Applied(map("trustDomain: lab")))).unwrap();
        assert!(store.take(change("ConfigMap", 2, What::Applied(map("trustDomain: [")))).is_err());
        assert_eq!(store.mesh_config()["trustDomain"], "lab");
    }
}

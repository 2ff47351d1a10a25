//! The objects the pilot knows, how far each kind has been seen, and the World made of them.

use super::kinds::{KINDS, MESH_CONFIG};
use super::objects::Objects;
use super::watch::Change;
use crate::mesh::World;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug)]
pub struct Store {
    objects: Objects,
    mesh_config: Value,
}

impl Default for Store {
    fn default() -> Store {
        Store { objects: Objects::new(KINDS), mesh_config: json!({}) }
    }
}

impl Store {
    /// Takes a change. True if anything that matters is different now. An `Err` is a mesh config that
    /// cannot be read; the one before stays.
    pub fn take(&mut self, change: Change) -> Result<bool, String> {
        let kind = change.kind;
        let differs = self.objects.take(change);
        if differs && KINDS[kind].kind == MESH_CONFIG.kind {
            self.mesh_config = read_mesh_config(self.objects.of(MESH_CONFIG.kind).next())?;
        }
        Ok(differs)
    }

    /// Whether every kind has been listed: before that nothing can be told to a proxy.
    pub fn is_complete(&self) -> bool {
        self.objects.is_complete()
    }

    /// The resourceVersion up to which every kind is known; 0 before all are.
    pub fn seen(&self) -> u64 {
        self.objects.seen()
    }

    /// Kinds not yet seen up to `version`, by their plural.
    pub fn behind(&self, version: u64) -> Vec<&'static str> {
        self.objects.behind(version)
    }

    pub fn mesh_config(&self) -> &Value {
        &self.mesh_config
    }

    /// The objects of a kind.
    pub fn objects(&self, kind: &str) -> impl Iterator<Item = &Arc<Value>> {
        self.objects.of(kind)
    }

    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(kind, namespace, name)
    }

    /// All that the mesh compiler may know. Cheap: objects are shared.
    pub fn world(&self) -> World {
        World { objects: self.objects.all().cloned().collect(), mesh_config: self.mesh_config.clone() }
    }
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
    use super::super::watch::What;
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

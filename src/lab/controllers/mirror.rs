//! A controller's view of one kind of object, kept by a watch.

use futures::stream::{BoxStream, StreamExt};
use kube::Resource;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

/// (namespace, name).
pub type Name = (String, String);

pub struct Mirror<K> {
    objects: BTreeMap<Name, Arc<K>>,
    /// During a new listing: the names seen so far.
    listing: Option<BTreeSet<Name>>,
}

impl<K> Default for Mirror<K> {
    fn default() -> Self {
        Mirror { objects: BTreeMap::new(), listing: None }
    }
}

/// The events of a kind. Bookmarks, which come with every burst of writes to any kind, are of no use here. Errors are watched over again, with a growing pause.
pub fn events<K>(api: Api<K>, config: watcher::Config) -> BoxStream<'static, Result<Event<K>, watcher::Error>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch(api, config.disable_bookmarks()).default_backoff().boxed()
}

pub fn name_of<K: Resource>(object: &K) -> Name {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn revision<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|r| r.parse().ok()).unwrap_or(0)
}

impl<K: Resource> Mirror<K> {
    /// Takes an event in; returns the objects it touched, as they were (deleted) or are.
    pub fn see(&mut self, event: Event<K>) -> Vec<Arc<K>> {
        match event {
            Event::Init => {
                self.listing = Some(BTreeSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some(listing) = &mut self.listing {
                    listing.insert(name_of(&object));
                }
                vec![self.learn(object)]
            }
            Event::InitDone => {
                let Some(seen) = self.listing.take() else { return Vec::new() };
                let gone: Vec<Name> = self.objects.keys().filter(|n| !seen.contains(*n)).cloned().collect();
                gone.iter().filter_map(|name| self.objects.remove(name)).collect()
            }
            Event::Apply(object) => vec![self.learn(object)],
            Event::Delete(object) => {
                let name = name_of(&object);
                let same = self.objects.get(&name).is_some_and(|known| known.meta().uid == object.meta().uid);
                if same {
                    self.objects.remove(&name);
                }
                vec![Arc::new(object)]
            }
        }
    }

    /// Takes in an object, from a watch or from the answer to an own write, unless a newer state is known.
    pub fn learn(&mut self, object: K) -> Arc<K> {
        let name = name_of(&object);
        if let Some(known) = self.objects.get(&name)
            && known.meta().uid == object.meta().uid
            && revision(known.as_ref()) > revision(&object)
        {
            return known.clone();
        }
        let object = Arc::new(object);
        self.objects.insert(name, object.clone());
        object
    }

    pub fn forget(&mut self, name: &Name) {
        self.objects.remove(name);
    }

    pub fn get(&self, name: &Name) -> Option<Arc<K>> {
        self.objects.get(name).cloned()
    }

    /// The objects of a namespace.
    pub fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<K>> {
        let start = (namespace.to_string(), String::new());
        self.objects.range(start..).take_while(move |((ns, _), _)| ns == namespace).map(|(_, object)| object)
    }

    /// The objects that `uid` controls.
    pub fn controlled<'a>(&'a self, namespace: &'a str, uid: &'a str) -> impl Iterator<Item = &'a Arc<K>> {
        self.in_namespace(namespace).filter(move |o| controller(o.as_ref()).is_some_and(|owner| owner.uid == uid))
    }
}

/// The owner reference that says who controls an object.
pub fn controller<K: Resource>(object: &K) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference> {
    object.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;

    fn pod(name: &str, revision: u64) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.into());
        pod.metadata.namespace = Some("a".into());
        pod.metadata.uid = Some("1".into());
        pod.metadata.resource_version = Some(revision.to_string());
        pod
    }

    #[test]
    fn an_older_state_does_not_replace_a_newer() {
        let mut mirror = Mirror::default();
        mirror.learn(pod("x", 7));
        mirror.see(Event::Apply(pod("x", 5)));
        let name = ("a".to_string(), "x".to_string());
        assert_eq!(mirror.get(&name).unwrap().metadata.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn a_new_listing_drops_what_is_gone() {
        let mut mirror = Mirror::default();
        mirror.learn(pod("x", 1));
        mirror.learn(pod("y", 2));
        mirror.see(Event::Init);
        mirror.see(Event::InitApply(pod("y", 2)));
        let gone = mirror.see(Event::InitDone);
        assert_eq!(gone.len(), 1);
        assert_eq!(mirror.in_namespace("a").count(), 1);
    }
}

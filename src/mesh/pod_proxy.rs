//! The proxy of a pod: node metadata as the agent beside it would send them.

use super::json::{fields, into_map, labels, labels_match, text};
use super::object::Object;
use super::{Proxy, ProxyType, World};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

impl Proxy {
    /// The proxy of a pod of the world, its proxy config merged in Istio's order: mesh default, ProxyConfig of the
    /// root namespace, of the pod's namespace, the pod's annotation, ProxyConfig with a selector. `None` when there
    /// is no such pod.
    pub fn of_pod(world: &World, kind: ProxyType, namespace: &str, name: &str) -> Option<Self> {
        let find = |kind: &str| {
            world.objects.iter().filter(|o| text(&o["kind"]) == kind).filter_map(Object::read).collect::<Vec<_>>()
        };
        let pod = find("Pod").into_iter().find(|p| p.namespace == namespace && p.name == name)?;
        let root = match text(&world.mesh_config["rootNamespace"]) {
            "" => "istio-system",
            given => given,
        };
        let configs = find("ProxyConfig");
        let selector = |c: &Object| labels(&c.spec()["selector"]["matchLabels"]);
        let plain = |ns: &str| configs.iter().find(|c| c.namespace == ns && selector(c).is_empty());
        let mut config = world.mesh_config["defaultConfig"].as_object().cloned().unwrap_or_default();
        let in_namespace = if namespace == root { None } else { plain(namespace) };
        for layer in [plain(root), in_namespace].into_iter().flatten() {
            merge(&mut config, &converted(layer.spec()));
        }
        if let Some(annotation) = pod.annotations.get("proxy.istio.io/config")
            && let Ok(given) = serde_yaml::from_str::<Value>(annotation)
        {
            merge(&mut config, &given);
        }
        let selected = configs
            .iter()
            .find(|c| c.namespace == namespace && !selector(c).is_empty() && labels_match(&selector(c), &pod.labels));
        if let Some(layer) = selected {
            merge(&mut config, &converted(layer.spec()));
        }
        let mut metadata: BTreeMap<String, Value> = BTreeMap::new();
        for (key, value) in fields(config.get("proxyMetadata").unwrap_or(&Value::Null)) {
            metadata.insert(key.strip_prefix("ISTIO_META_").unwrap_or(key).to_owned(), value.clone());
        }
        metadata.insert("NODE_NAME".to_owned(), pod.spec()["nodeName"].clone());
        metadata.insert("PROXY_CONFIG".to_owned(), Value::Object(config));
        let account = match text(&pod.spec()["serviceAccountName"]) {
            "" => "default",
            given => given,
        };
        Some(Self {
            kind,
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
            ip: text(&pod.body["status"]["podIP"]).to_owned(),
            labels: pod.labels.clone(),
            service_account: account.to_owned(),
            metadata,
        })
    }
}

/// A ProxyConfig object in the words of the mesh config's `defaultConfig`.
fn converted(spec: &Value) -> Value {
    let mut out = Map::new();
    if !spec["concurrency"].is_null() {
        out.insert("concurrency".to_owned(), spec["concurrency"].clone());
    }
    if !spec["environmentVariables"].is_null() {
        out.insert("proxyMetadata".to_owned(), spec["environmentVariables"].clone());
    }
    Value::Object(out)
}

/// Fields over fields; the maps of metadata are merged by key.
fn merge(config: &mut Map<String, Value>, layer: &Value) {
    for (key, value) in fields(layer) {
        match config.get_mut(key) {
            Some(Value::Object(existing)) if key == "proxyMetadata" => existing.extend(into_map(value.clone())),
            _ => {
                config.insert(key.clone(), value.clone());
            }
        }
    }
}

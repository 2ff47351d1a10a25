//! A connected Envoy as the mesh compiler wants it: from its node id and metadata, and the proxy
//! config that its agent would have been started with.

use super::store::Store;
use crate::mesh::{Proxy, ProxyType};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The prefix by which proxy metadata becomes node metadata.
const META: &str = "ISTIO_META_";

/// Reads `TYPE~IP~POD.NAMESPACE~DOMAIN` and the node's metadata. `None` for another form of id.
pub fn read(node: &Value, store: &Store) -> Option<Proxy> {
    let mut parts = node["id"].as_str()?.split('~');
    let kind = match parts.next()? {
        "sidecar" => ProxyType::Sidecar,
        "router" => ProxyType::Router,
        _ => return None,
    };
    let ip = parts.next()?.to_string();
    let (name, namespace) = parts.next()?.rsplit_once('.')?;
    let given = &node["metadata"];
    let labels = strings(&given["LABELS"]);
    let mut metadata: BTreeMap<String, Value> =
        given.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect();
    let config = proxy_config(store, namespace, &labels, &strings(&given["ANNOTATIONS"]));
    for (name, value) in config["proxyMetadata"].as_object().into_iter().flatten() {
        if let Some(name) = name.strip_prefix(META) {
            metadata.insert(name.to_string(), value.clone());
        }
    }
    metadata.insert("PROXY_CONFIG".to_string(), config);
    Some(Proxy {
        kind,
        name: name.to_string(),
        namespace: namespace.to_string(),
        ip,
        service_account: given["SERVICE_ACCOUNT"].as_str().unwrap_or("default").to_string(),
        labels,
        metadata,
    })
}

/// The proxy config in force, in Istio's order: the mesh's default < ProxyConfig of the root namespace <
/// of the namespace < the pod's annotation < ProxyConfig with a matching selector.
fn proxy_config(
    store: &Store,
    namespace: &str,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Value {
    let root = store.mesh_config()["rootNamespace"].as_str().unwrap_or("istio-system");
    let mut merged = match &store.mesh_config()["defaultConfig"] {
        Value::Null => json!({}),
        given => given.clone(),
    };
    let of = |wanted: &str, selected: bool| {
        let wanted = wanted.to_string();
        store.objects("ProxyConfig").filter(move |object| {
            let selector = object["spec"]["selector"]["matchLabels"].as_object();
            object["metadata"]["namespace"] == wanted.as_str() && selector.is_some_and(|s| !s.is_empty()) == selected
        })
    };
    let without_selector = [root, namespace];
    // In the root namespace both are the same object: once is enough.
    let namespaces = if root == namespace { &without_selector[..1] } else { &without_selector[..] };
    for wanted in namespaces {
        if let Some(object) = of(wanted, false).next() {
            merge(&mut merged, &as_config(&object["spec"]));
        }
    }
    let annotation = annotations.get("proxy.istio.io/config").map(|text| serde_yaml::from_str::<Value>(text));
    if let Some(Ok(given)) = annotation {
        merge(&mut merged, &given);
    }
    let matches = |object: &Value| {
        let wanted = strings(&object["spec"]["selector"]["matchLabels"]);
        wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
    };
    if let Some(object) = of(namespace, true).find(|object| matches(object)) {
        merge(&mut merged, &as_config(&object["spec"]));
    }
    merged
}

/// A ProxyConfig object's spec under the names of mesh config.
fn as_config(spec: &Value) -> Value {
    let mut config = Map::new();
    for (from, to) in [("concurrency", "concurrency"), ("environmentVariables", "proxyMetadata"), ("image", "image")] {
        if let Some(value) = spec.get(from) {
            config.insert(to.to_string(), value.clone());
        }
    }
    Value::Object(config)
}

/// Protobuf's merge: messages and maps field by field, anything else replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn strings(map: &Value) -> BTreeMap<String, String> {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::kinds::KINDS;
    use super::super::watch::{Change, What};
    use super::*;

    #[test]
    fn proxy_config_has_its_order() {
        let mut store = Store::default();
        let mut apply = |kind: &str, object: Value| {
            let kind = KINDS.iter().position(|k| k.kind == kind).unwrap();
            store.take(Change { kind, version: 1, what: What::Applied(object) }).unwrap();
        };
        let env = |namespace: &str, name: &str, selector: Value, vars: Value| {
            json!({"metadata": {"namespace": namespace, "name": name},
                "spec": {"selector": selector, "environmentVariables": vars}})
        };
        let mesh = "defaultConfig: {proxyMetadata: {ISTIO_META_A: mesh, ISTIO_META_B: mesh}, concurrency: 2}";
        apply("ConfigMap", json!({"metadata": {"namespace": "istio-system", "name": "istio"}, "data": {"mesh": mesh}}));
        apply(
            "ProxyConfig",
            env("istio-system", "root", Value::Null, json!({"ISTIO_META_B": "root", "ISTIO_META_C": "root"})),
        );
        apply("ProxyConfig", env("shop", "own", Value::Null, json!({"ISTIO_META_C": "own", "ISTIO_META_D": "own"})));
        let selector = json!({"matchLabels": {"app": "cart"}});
        apply("ProxyConfig", env("shop", "cart", selector, json!({"ISTIO_META_E": "selected"})));
        let annotation = "proxyMetadata: {ISTIO_META_D: pod, ISTIO_META_E: pod}";
        let node = json!({"id": "sidecar~10.0.0.1~cart-0.shop~shop.svc.cluster.local", "metadata": {
            "LABELS": {"app": "cart"}, "ANNOTATIONS": {"proxy.istio.io/config": annotation}, "SERVICE_ACCOUNT": "cart"}});
        let proxy = read(&node, &store).unwrap();
        let meta = |name: &str| proxy.metadata[name].as_str().unwrap();
        assert_eq!([meta("A"), meta("B"), meta("C"), meta("D"), meta("E")], ["mesh", "root", "own", "pod", "selected"]);
        assert_eq!(proxy.metadata["PROXY_CONFIG"]["concurrency"], 2);
        assert_eq!((proxy.name.as_str(), proxy.namespace.as_str(), proxy.kind), ("cart-0", "shop", ProxyType::Sidecar));
        assert!(read(&json!({"id": "ztunnel"}), &store).is_none());
    }
}

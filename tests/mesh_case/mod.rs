//! Reading a case: its inputs as a world, its expected dumps.
//!
//! A case folder holds either `case.json`, which names files of the folder `manifests` beside the cases, or
//! `input.yaml` and `mesh.yaml`. Expected dumps are `<proxy>.config_dump.json`.

use egress_scn::mesh::{Generated, Proxy, ProxyType, World};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// The proxies that dumps exist for: file name, kind, namespace, pod.
pub const PROXIES: [(&str, ProxyType, &str, &str); 3] = [
    ("sleep", ProxyType::Sidecar, "mesh-test", "sleep-0"),
    ("egressgateway", ProxyType::Router, "istio-system", "istio-egressgateway-0"),
    ("httpbin", ProxyType::Sidecar, "mesh-test", "httpbin-0"),
];

/// The documents of a YAML text.
fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .filter_map(|d| Value::deserialize(d).ok())
        .filter(|v| !v.is_null())
        .collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn build(objects: &[String], mesh: &str) -> World {
    World {
        objects: objects.iter().flat_map(|t| documents(t)).map(Arc::new).collect(),
        mesh_config: documents(mesh).into_iter().next().unwrap_or(Value::Null),
    }
}

/// The world of a case's inputs: `{k8s, config, mesh}` name files of `manifests`, `{objects, meshConfig}` are the
/// inputs themselves.
pub fn world_of(inputs: &Value, manifests: &Path) -> World {
    if let Some(objects) = inputs["objects"].as_array() {
        return World {
            objects: objects.iter().cloned().map(Arc::new).collect(),
            mesh_config: inputs["meshConfig"].clone(),
        };
    }
    let names = ["k8s", "config"].map(|k| inputs[k].as_array().cloned().unwrap_or_default()).concat();
    let objects: Vec<String> = names.iter().filter_map(Value::as_str).map(|n| read(&manifests.join(n))).collect();
    build(&objects, &read(&manifests.join(inputs["mesh"].as_str().expect("a mesh config"))))
}

/// The world of a case folder.
#[allow(dead_code)]
pub fn world(case: &Path, manifests: &Path) -> World {
    if case.join("case.json").exists() {
        let inputs: Value = serde_json::from_str(&read(&case.join("case.json"))).expect("case.json is JSON");
        return world_of(&inputs, manifests);
    }
    build(&[read(&case.join("input.yaml"))], &read(&case.join("mesh.yaml")))
}

/// A proxy of the case, if its pod exists.
pub fn proxy(world: &World, index: usize) -> Option<Proxy> {
    let (_, kind, namespace, pod) = PROXIES[index];
    Proxy::of_pod(world, kind, namespace, pod)
}

/// The dump as the expected files have it.
#[allow(dead_code)]
pub fn dump(generated: &Generated) -> Value {
    let typed = |body: &Value, kind: &str| {
        let mut body = body.clone();
        body["@type"] = json!(format!("type.googleapis.com/envoy.config.{kind}"));
        body
    };
    let clusters: Vec<Value> =
        generated.clusters.iter().map(|r| json!({"cluster": typed(&r.body, "cluster.v3.Cluster")})).collect();
    let listeners: Vec<Value> = generated
        .listeners
        .iter()
        .map(|r| json!({"name": &*r.name, "activeState": {"listener": typed(&r.body, "listener.v3.Listener")}}))
        .collect();
    let routes: Vec<Value> = generated
        .routes
        .iter()
        .map(|r| json!({"routeConfig": typed(&r.body, "route.v3.RouteConfiguration")}))
        .collect();
    let endpoints: Vec<Value> = generated.endpoints.iter().map(|r| json!({"endpointConfig": *r.body})).collect();
    json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "dynamicActiveClusters": clusters},
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamicListeners": listeners},
        {"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamicRouteConfigs": routes},
        {"@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump", "dynamicEndpointConfigs": endpoints},
    ]})
}

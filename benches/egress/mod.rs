//! A world of many outside hosts, each led through the egress gateway as `manifests/*-egress.yaml` do it: a
//! ServiceEntry, a Gateway with one PASSTHROUGH server, a VirtualService with both legs, and a DestinationRule that
//! adds a subset to the gateway's Service.

use egress_scn::mesh::{Proxy, ProxyType, World};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What is there without any Istio object: namespaces, the gateway's Service, pods, EndpointSlices.
const BASE: [&str; 4] = ["00-namespace-sleep", "01-egressgateway", "10-runtime-pods", "02-extra-services"];
const MESH_CONFIG: &str = "vanilla-mesh-registry-only";

fn documents(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/golden/manifests/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let read = serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
    read.filter(|value| !value.is_null()).collect()
}

/// A world with `hosts` outside hosts, four Istio objects each.
pub fn world(hosts: usize) -> World {
    let base = BASE.iter().flat_map(|name| documents(name));
    let objects = base.chain((0..hosts).flat_map(host)).map(Arc::new).collect();
    World { objects, mesh_config: documents(MESH_CONFIG).remove(0) }
}

/// The same without DestinationRules: the first leg goes to the gateway's Service itself.
pub fn without_subsets(world: &World) -> World {
    let mut world = world.clone();
    world.objects.retain(|object| object["kind"] != "DestinationRule");
    for object in world.objects.iter_mut().filter(|object| object["kind"] == "VirtualService") {
        let destination = Arc::make_mut(object).pointer_mut("/spec/tls/0/route/0/destination").unwrap();
        destination.as_object_mut().unwrap().remove("subset");
    }
    world
}

pub fn sidecar(world: &World) -> Proxy {
    Proxy::of_pod(world, ProxyType::Sidecar, "mesh-test", "sleep-0").unwrap()
}

pub fn gateway(world: &World) -> Proxy {
    Proxy::of_pod(world, ProxyType::Router, "istio-system", "istio-egressgateway-0").unwrap()
}

/// Many sidecars of one namespace, each of a pod of its own.
pub fn sidecars(world: &World, count: usize) -> Vec<Proxy> {
    let one = sidecar(world);
    (0..count).map(|n| Proxy { name: format!("sleep-{n}"), ip: format!("10.244.1.{n}"), ..one.clone() }).collect()
}

/// A kind, and what changes in one object of it (merged over its spec).
pub const CHANGES: [(&str, &str); 5] = [
    ("ServiceEntry", r#"{"resolution": "DNS_ROUND_ROBIN"}"#),
    ("VirtualService", r#"{"tls": []}"#),
    ("DestinationRule", r#"{"subsets": [{"name": "host-0007", "labels": {"app": "none"}}]}"#),
    ("Gateway", r#"{"servers": []}"#),
    ("Sidecar", r#"{"egress": [{"hosts": ["./*"]}]}"#),
];

/// The world with the eighth object of a kind changed. A kind that the world has none of gets one, in a namespace
/// that none of the proxies is in.
pub fn with_change(world: &World, kind: &str, spec: &str) -> World {
    let mut world = world.clone();
    let spec: Value = serde_json::from_str(spec).unwrap();
    match world.objects.iter_mut().filter(|object| object["kind"] == kind).nth(7) {
        Some(object) => {
            let object = Arc::make_mut(object);
            for (field, value) in spec.as_object().unwrap() {
                object["spec"][field] = value.clone();
            }
        }
        None => world.objects.push(Arc::new(json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": kind,
            "metadata": {"name": "elsewhere", "namespace": "elsewhere"},
            "spec": spec,
        }))),
    }
    world
}

fn host(number: usize) -> [Value; 4] {
    let name = format!("host-{number:04}");
    let host = format!("{name}.example.com");
    let gateway = "istio-egressgateway.istio-system.svc.cluster.local";
    let object = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "mesh-test", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": spec,
        })
    };
    let leg = |from: &str, to: Value| {
        json!({
            "match": [{"gateways": [from], "port": 443, "sniHosts": [host]}],
            "route": [{"destination": to, "weight": 100}],
        })
    };
    [
        object(
            "ServiceEntry",
            json!({
                "hosts": [host],
                "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}],
                "location": "MESH_EXTERNAL",
                "resolution": "DNS",
            }),
        ),
        object(
            "Gateway",
            json!({
                "selector": {"istio": "egressgateway"},
                "servers": [{
                    "port": {"number": 443, "name": "tls", "protocol": "TLS"},
                    "hosts": [host],
                    "tls": {"mode": "PASSTHROUGH"},
                }],
            }),
        ),
        object(
            "VirtualService",
            json!({
                "hosts": [host],
                "gateways": ["mesh", name],
                "tls": [
                    leg("mesh", json!({"host": gateway, "subset": name, "port": {"number": 443}})),
                    leg(&name, json!({"host": host, "port": {"number": 443}})),
                ],
            }),
        ),
        object("DestinationRule", json!({"host": gateway, "subsets": [{"name": name}]})),
    ]
}

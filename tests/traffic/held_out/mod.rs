//! Configurations that nobody has looked at while the compiler was written: a seed gives the same objects, mesh config and
//! probes for ever. Most are egress as people build it (a host goes direct, by the gateway, by mutual TLS, with TLS begun
//! on the way, through a proxy), often with a mistake in it; one in six has any field of any object (`tests/random_mesh`).

mod flows;
mod mistakes;
mod policies;
mod probes;
mod routes;
mod rules;

use crate::case::Case;
use crate::random_mesh::{self, Random};
use egress_scn::istio::validation::validate;
use serde_json::{Value, json};

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const EGRESS: &str = "istio-egressgateway.istio-system.svc.cluster.local";
const HOSTS: [&str; 7] = [
    "api.weather.example",
    "cdn.media.example",
    "auth.identity.example",
    "mq.events.example",
    "git.forge.example",
    "pay.bank.example",
    "img.photos.example",
];

fn service(namespace: &str, name: &str, labels: Value, ports: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"selector": labels, "ports": ports}})
}

fn services(random: &mut Random) -> Vec<Value> {
    let mut ports = vec![
        json!({"name": "http2", "port": 80, "targetPort": 8080}),
        json!({"name": "https", "port": 443, "targetPort": 8443}),
    ];
    if random.chance(85) {
        ports.push(json!({"name": "tls", "port": 15443, "targetPort": 15443}));
    }
    if random.chance(70) {
        ports.push(json!({"name": "tcp", "port": 9000, "targetPort": 9000}));
    }
    let egress = json!({"app": "istio-egressgateway", "istio": "egressgateway"});
    let mut all = vec![
        service("mesh-test", "sleep", json!({"app": "sleep"}), json!([{"name": "http", "port": 80, "targetPort": 80}])),
        service("istio-system", "istio-egressgateway", egress, json!(ports)),
    ];
    if random.chance(70) {
        let dns = json!([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]);
        all.push(service("kube-system", "kube-dns", json!({"k8s-app": "kube-dns"}), dns));
        let http = json!([{"name": "http", "port": 8000, "targetPort": 80}]);
        all.push(service("other", "httpbin", json!({"app": "httpbin"}), http));
        all.push(service("other", "redis", json!({"app": "redis"}), json!([{"name": "tcp-redis", "port": 6379}])));
    }
    all
}

fn mesh_config(random: &mut Random) -> Value {
    let mut mesh = random_mesh::Fields::default();
    mesh.set("rootNamespace", json!("istio-system"));
    mesh.set("trustDomain", json!("cluster.local"));
    if random.chance(80) {
        mesh.set("accessLogFile", json!("/dev/stdout"));
    }
    let policy = if random.chance(75) { "REGISTRY_ONLY" } else { "ALLOW_ANY" };
    mesh.set("outboundTrafficPolicy", json!({"mode": policy}));
    mesh.maybe(random, 8, "enableAutoMtls", |_| json!(false));
    mesh.maybe(random, 8, "connectTimeout", |_| json!("3s"));
    mesh.maybe(random, 8, "protocolDetectionTimeout", |_| json!("1s"));
    mesh.maybe(random, 8, "tcpKeepalive", |_| json!({"time": "30s", "interval": "10s", "probes": 3}));
    mesh.maybe(random, 6, "h2UpgradePolicy", |_| json!("UPGRADE"));
    mesh.maybe(random, 6, "verifyCertificateAtClient", |r| json!(r.chance(50)));
    mesh.maybe(random, 6, "defaultDestinationRuleExportTo", |_| json!(["."]));
    mesh.maybe(random, 6, "defaultServiceExportTo", |_| json!(["*"]));
    mesh.done()
}

/// Of `random_mesh` only what is Istio's; its workloads and their Services do not exist here.
fn any_objects(seed: u64) -> Vec<Value> {
    let world = random_mesh::world(seed);
    let of_istio = world.objects.iter().filter(|object| {
        let kind = object["kind"].as_str().unwrap_or_default();
        object["apiVersion"].as_str().is_some_and(|version| version.contains("istio.io"))
            && !matches!(kind, "EnvoyFilter" | "WasmPlugin" | "ProxyConfig")
    });
    of_istio.map(|object| Value::clone(object)).collect()
}

pub fn case(seed: u64) -> Case {
    // Other numbers than those of `random_mesh`'s own tests.
    let mut random = Random::new(seed + 70_000);
    let mut objects = services(&mut random);
    let mesh = mesh_config(&mut random);
    let mut hosts: Vec<String> = Vec::new();
    let made = if seed % 6 == 5 {
        any_objects(seed + 90_000)
    } else {
        let mut made = Vec::new();
        let first = random.below(HOSTS.len());
        for number in 0..random.number(1, 3) {
            let host = HOSTS[(first + number) % HOSTS.len()];
            hosts.push(host.to_owned());
            flows::some(&mut random, host, &mut made);
        }
        policies::some(&mut random, &hosts, &mut made);
        if random.chance(45) {
            for _ in 0..random.number(1, 2) {
                mistakes::one(&mut random, &mut made);
            }
        }
        made
    };
    for object in made {
        let verdict = validate(&object);
        let refused = !verdict.unknown.is_empty() || !verdict.schema.is_empty() || !verdict.errors.is_empty();
        let named = |other: &Value| {
            other["kind"] == object["kind"]
                && ["name", "namespace"].iter().all(|key| other["metadata"][key] == object["metadata"][key])
        };
        if !refused && !objects.iter().any(named) {
            objects.push(object);
        }
    }
    let probes = probes::of(&hosts, &objects);
    Case { name: format!("h{seed:03}"), mesh: mesh.to_string(), objects, probes, generated: true }
}

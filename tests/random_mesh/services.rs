//! ServiceEntries and the workloads behind them.

use super::{Fields, INSIDE, NAMESPACES, NETWORKING, OUTSIDE, Random, WILDCARDS, namespace, object};
use serde_json::{Value, json};

const PORTS: &[(&str, u32, &str)] = &[
    ("http", 80, "HTTP"),
    ("https", 443, "HTTPS"),
    ("tls", 443, "TLS"),
    ("tcp", 443, "TCP"),
    ("http2", 8080, "HTTP2"),
    ("grpc", 7070, "GRPC"),
    ("grpc-web", 7071, "GRPC-WEB"),
    ("tcp-raw", 9000, "TCP"),
    ("tls-raw", 9443, "TLS"),
    ("https-alt", 8443, "HTTPS"),
    ("mongo", 27017, "MONGO"),
    ("mysql", 3306, "MYSQL"),
    ("redis", 6379, "REDIS"),
    ("http-proxy", 3128, "HTTP_PROXY"),
    ("plain", 9100, ""),
];

pub fn export_to(random: &mut Random) -> Value {
    random.one(&[
        json!(["*"]),
        json!(["."]),
        json!(["mesh-test"]),
        json!(["other", "istio-system"]),
        json!([".", "other"]),
    ])
}

fn ports(random: &mut Random, resolution: &str) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for _ in 0..random.number(1, 3) {
        let (name, number, protocol) =
            PORTS[if random.chance(70) { random.below(4) } else { random.below(PORTS.len()) }];
        if out.iter().any(|p| p["number"] == number || p["name"] == name) {
            continue;
        }
        let mut port = Fields::default();
        port.set("number", json!(number));
        port.set("name", json!(name));
        if !protocol.is_empty() {
            port.set("protocol", json!(protocol));
        }
        let percent = if resolution == "DYNAMIC_DNS" { 0 } else { 15 };
        port.maybe(random, percent, "targetPort", |r| r.one(&[json!(443), json!(8443), json!(8080)]));
        out.push(port.done());
    }
    out
}

fn endpoint(random: &mut Random, ports: &[Value], by_name: bool, number: usize) -> Value {
    let mut out = Fields::default();
    let address = if by_name && random.chance(60) {
        format!("up{number}.upstream.example")
    } else {
        format!("203.0.113.{}", 10 + number)
    };
    out.set("address", json!(address));
    out.maybe(random, 30, "ports", |r| {
        let mut map = Fields::default();
        for port in ports {
            map.set(port["name"].as_str().unwrap_or(""), json!(8000 + r.below(500)));
        }
        map.done()
    });
    out.maybe(random, 30, "labels", |r| json!({"version": r.pick(&["v1", "v2"]), "app": "ext"}));
    out.maybe(random, 20, "weight", |r| json!(r.number(1, 50)));
    out.maybe(random, 25, "locality", |r| json!(r.pick(&["eu/eu-a/rack1", "eu/eu-b", "us/us-a", "us"])));
    out.maybe(random, 10, "serviceAccount", |_| json!("ext-sa"));
    out.done()
}

pub fn service_entry(random: &mut Random, number: usize) -> Value {
    let resolution = random.pick(&["DNS", "DNS", "DNS", "DNS_ROUND_ROBIN", "STATIC", "STATIC", "NONE", "DYNAMIC_DNS"]);
    let mut hosts: Vec<String> = Vec::new();
    for _ in 0..(if random.chance(25) { 2 } else { 1 }) {
        let host = match resolution {
            "DYNAMIC_DNS" => random.pick(WILDCARDS),
            "NONE" if random.chance(40) => random.pick(WILDCARDS),
            "STATIC" if random.chance(30) => "db.internal",
            _ => random.pick(OUTSIDE),
        };
        if !hosts.iter().any(|h| h == host) {
            hosts.push(host.to_owned());
        }
    }
    let ports = ports(random, resolution);
    let mut spec = Fields::default();
    spec.set("hosts", json!(hosts));
    spec.set("resolution", json!(resolution));
    let internal = resolution == "STATIC" && random.chance(40);
    if internal || random.chance(70) {
        spec.set("location", json!(if internal { "MESH_INTERNAL" } else { "MESH_EXTERNAL" }));
    }
    let by_name = resolution.starts_with("DNS");
    if resolution != "DYNAMIC_DNS" {
        spec.maybe(random, 20, "addresses", |r| {
            r.one(&[
                json!(["198.51.100.10"]),
                json!(["198.51.100.10", "198.51.100.11"]),
                json!(["198.51.100.0/24"]),
                json!(["203.0.113.0/28", "192.0.2.9"]),
            ])
        });
    }
    let selects = matches!(resolution, "STATIC" | "DNS") && random.chance(20);
    if selects {
        spec.set("workloadSelector", json!({"labels": {"app": random.pick(&["ext", "httpbin", "vm"])}}));
    } else if resolution == "STATIC" || (by_name && random.chance(35)) {
        let count = if resolution == "DNS_ROUND_ROBIN" { 1 } else { random.number(1, 3) };
        let endpoints: Vec<Value> = (0..count).map(|n| endpoint(random, &ports, by_name, n)).collect();
        spec.set("endpoints", json!(endpoints));
    }
    spec.set("ports", json!(ports));
    spec.maybe(random, 15, "subjectAltNames", |_| json!(["spiffe://cluster.local/ns/ext/sa/ext", "alt.example"]));
    spec.maybe(random, 25, "exportTo", export_to);
    let mut out = object(NETWORKING, "ServiceEntry", namespace(random), &format!("se-{number}"), spec.done());
    if random.chance(8) {
        out["metadata"]["annotations"] =
            json!({"networking.istio.io/traffic-distribution": random.pick(&["PreferClose", "PreferSameNode"])});
    }
    if random.chance(20) {
        let given: Vec<Value> = hosts
            .iter()
            .enumerate()
            .map(|(i, h)| json!({"host": h, "value": format!("240.240.0.{}", number * 10 + i + 1)}))
            .collect();
        out["status"] = json!({"addresses": given});
    }
    out
}

/// WorkloadEntries (and a group of them) that ServiceEntries or Services select.
pub fn workload_entries(random: &mut Random) -> Vec<Value> {
    let mut out = Vec::new();
    for number in 0..random.number(1, 3) {
        let mut spec = Fields::default();
        let address = if random.chance(80) { format!("203.0.113.{}", 100 + number) } else { "vm.example".to_owned() };
        spec.set("address", json!(address));
        spec.set("labels", json!({"app": random.pick(&["ext", "vm", "httpbin"]), "version": "v1"}));
        spec.maybe(random, 40, "serviceAccount", |_| json!("vm-sa"));
        spec.maybe(random, 30, "ports", |r| json!({"http": r.number(8000, 8100), "tcp-raw": 9009}));
        spec.maybe(random, 30, "locality", |_| json!("eu/eu-b/rack2"));
        spec.maybe(random, 30, "weight", |r| json!(r.number(1, 9)));
        out.push(object(NETWORKING, "WorkloadEntry", namespace(random), &format!("we-{number}"), spec.done()));
    }
    if random.chance(30) {
        let template = json!({"ports": {"http": 8000}, "serviceAccount": "vm-sa"});
        out.push(object(
            NETWORKING,
            "WorkloadGroup",
            random.pick(NAMESPACES),
            "wg",
            json!({"metadata": {"labels": {"app": "vm"}}, "template": template}),
        ));
    }
    out
}

/// A destination that a route may have, with a port that is likely there.
pub fn destination(random: &mut Random) -> Value {
    let mut out = Fields::default();
    let host = match random.below(10) {
        0..=4 => random.pick(OUTSIDE).to_owned(),
        5 => random.pick(&["httpbin", "sleep", "nowhere.example", "api.wild.example"]).to_owned(),
        6 | 7 => "istio-egressgateway.istio-system.svc.cluster.local".to_owned(),
        _ => random.pick(INSIDE).to_owned(),
    };
    out.set("host", json!(host));
    out.maybe(
        random,
        75,
        "port",
        |r| json!({"number": r.one(&[json!(80), json!(443), json!(443), json!(15443), json!(8000), json!(9000)])}),
    );
    out.maybe(random, 30, "subset", |r| json!(r.pick(&["v1", "v2", "cnn", "httpbin"])));
    out.done()
}

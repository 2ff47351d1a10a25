//! ServiceEntries and the policies of DestinationRules.

use crate::random_mesh::{Fields, Random};
use serde_json::{Value, json};

/// The spec of an entry with these ports; addresses are such as the outside answers at.
pub fn service_entry(random: &mut Random, hosts: &[&str], ports: Vec<Value>) -> Value {
    let mut spec = Fields::default();
    spec.set("hosts", json!(hosts));
    spec.maybe(random, 60, "location", |_| json!("MESH_EXTERNAL"));
    let resolution = random.pick(&["DNS", "DNS", "DNS", "DNS", "STATIC", "DNS_ROUND_ROBIN", "NONE"]);
    spec.set("resolution", json!(resolution));
    let endpoint = |random: &mut Random, by_name: bool| {
        let mut endpoint = Fields::default();
        let name = random.pick(&["eu.upstream.example", "us.upstream.example"]);
        endpoint
            .set("address", if by_name { json!(name) } else { json!(format!("203.0.113.{}", random.number(40, 99))) });
        endpoint.maybe(random, 20, "ports", |r| {
            let mut map = Fields::default();
            for port in &ports {
                let to = if port["protocol"] == "HTTP" { [80, 8080][r.below(2)] } else { [443, 8443][r.below(2)] };
                map.set(port["name"].as_str().unwrap(), json!(to));
            }
            map.done()
        });
        endpoint.maybe(random, 15, "labels", |_| json!({"zone": "a"}));
        endpoint.maybe(random, 10, "weight", |_| json!(10));
        endpoint.done()
    };
    match resolution {
        "STATIC" => spec.set("endpoints", json!([endpoint(random, false)])),
        "DNS" | "DNS_ROUND_ROBIN" => spec.maybe(random, 25, "endpoints", |r| json!([endpoint(r, true)])),
        _ => {}
    }
    let of_tcp = ports.iter().any(|port| matches!(port["protocol"].as_str(), Some("TCP" | "MYSQL")));
    let addresses = if of_tcp { 60 } else { 15 };
    spec.maybe(random, addresses, "addresses", |r| {
        r.one(&[json!(["10.100.3.7"]), json!(["10.117.0.0/24"]), json!(["240.11.0.5", "10.200.9.1"])])
    });
    spec.set("ports", json!(ports));
    spec.maybe(random, 8, "subjectAltNames", |r| json!([r.pick(&[hosts[0], "nobody.example"])]));
    spec.maybe(random, 15, "exportTo", |r| {
        r.one(&[json!(["."]), json!(["*"]), json!([".", "istio-system"]), json!(["istio-system"])])
    });
    spec.done()
}

fn tls(random: &mut Random, host: &str) -> Value {
    let mut tls = Fields::default();
    match random.below(10) {
        0 => {
            tls.set("mode", json!("MUTUAL"));
            tls.set("credentialName", json!("client-cert"));
        }
        1 => {
            tls.set("mode", json!("SIMPLE"));
            tls.set("insecureSkipVerify", json!(true));
        }
        2 => {
            tls.set("mode", json!("SIMPLE"));
            tls.set("caCertificates", json!("/etc/certs/ca.pem"));
        }
        3 => {
            tls.set("mode", json!("SIMPLE"));
            tls.set("credentialName", json!("client-cert"));
        }
        _ => tls.set("mode", json!("SIMPLE")),
    }
    tls.maybe(random, 60, "sni", |r| json!(r.pick(&[host, host, host, "other.example"])));
    tls.maybe(random, 15, "subjectAltNames", |r| json!([r.pick(&[host, host, "nobody.example"])]));
    tls.done()
}

/// A DestinationRule's policy for an outside host, with TLS on 443 or without.
pub fn policy(random: &mut Random, host: &str, origination: bool) -> Value {
    let mut policy = Fields::default();
    if origination {
        let tls = tls(random, host);
        if random.chance(70) {
            policy.set("portLevelSettings", json!([{"port": {"number": 443}, "tls": tls}]));
        } else {
            policy.set("tls", tls);
        }
    }
    let other = if origination { 20 } else { 50 };
    policy.maybe(random, other, "connectionPool", |r| {
        r.one(&[
            json!({"tcp": {"connectTimeout": "2s", "maxConnections": 10}}),
            json!({"http": {"maxRequestsPerConnection": 1}}),
            json!({"http": {"h2UpgradePolicy": "UPGRADE"}}),
            json!({"http": {"useClientProtocol": true}}),
        ])
    });
    policy.maybe(random, other, "loadBalancer", |r| {
        r.one(&[
            json!({"simple": "ROUND_ROBIN"}),
            json!({"simple": "RANDOM"}),
            json!({"simple": "PASSTHROUGH"}),
            json!({"consistentHash": {"useSourceIp": true}}),
            json!({"consistentHash": {"httpHeaderName": "x-user"}}),
        ])
    });
    policy.maybe(random, 15, "outlierDetection", |_| json!({"consecutive5xxErrors": 5, "interval": "30s"}));
    policy.maybe(random, 6, "proxyProtocol", |r| json!({"version": r.pick(&["V1", "V2"])}));
    policy.done()
}

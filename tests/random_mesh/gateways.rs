//! Gateways: every TLS mode and protocol, several servers, hosts with namespaces.

use super::{Fields, NETWORKING, OUTSIDE, Random, WILDCARDS, object};
use serde_json::{Value, json};

pub const NAMES: &[&str] = &["gw-0", "gw-1"];

fn tls(random: &mut Random) -> Value {
    let mode = random.pick(&[
        "PASSTHROUGH",
        "PASSTHROUGH",
        "SIMPLE",
        "MUTUAL",
        "ISTIO_MUTUAL",
        "ISTIO_MUTUAL",
        "OPTIONAL_MUTUAL",
        "AUTO_PASSTHROUGH",
    ]);
    let mut out = Fields::default();
    out.set("mode", json!(mode));
    if matches!(mode, "SIMPLE" | "MUTUAL" | "OPTIONAL_MUTUAL") {
        match random.below(10) {
            0..=4 => out.set("credentialName", json!("site-credential")),
            5 => out.set("credentialNames", json!(["rsa-credential", "ecdsa-credential"])),
            _ => {
                out.set("serverCertificate", json!("/etc/certs/cert.pem"));
                out.set("privateKey", json!("/etc/certs/key.pem"));
                if mode != "SIMPLE" {
                    out.set("caCertificates", json!("/etc/certs/ca.pem"));
                }
            }
        }
        out.maybe(random, 20, "minProtocolVersion", |r| json!(r.pick(&["TLSV1_2", "TLSV1_3", "TLSV1_0"])));
        out.maybe(random, 10, "maxProtocolVersion", |_| json!("TLSV1_3"));
        out.maybe(random, 15, "cipherSuites", |_| {
            json!(["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"])
        });
        out.maybe(random, 15, "subjectAltNames", |_| json!(["client.example"]));
        out.maybe(random, 10, "verifyCertificateHash", |_| {
            json!(["e0f3c8a1d1b2c3d4e5f60718293a4b5c6d7e8f901a2b3c4d5e6f708192a3b4c5"])
        });
    }
    out.done()
}

fn hosts(random: &mut Random) -> Value {
    let mut out: Vec<String> = Vec::new();
    for _ in 0..random.number(1, 2) {
        let host = match random.below(10) {
            0..=6 => random.pick(OUTSIDE),
            7 | 8 => random.pick(WILDCARDS),
            _ => "*",
        };
        let host = match random.below(10) {
            0 => format!("mesh-test/{host}"),
            1 => format!("./{host}"),
            2 => format!("*/{host}"),
            _ => host.to_owned(),
        };
        if !out.contains(&host) {
            out.push(host);
        }
    }
    json!(out)
}

fn server(random: &mut Random, index: usize) -> Value {
    let (number, protocol) = [
        (80, "HTTP"),
        (80, "HTTP2"),
        (443, "TLS"),
        (443, "TLS"),
        (443, "HTTPS"),
        (15443, "TLS"),
        (9000, "TCP"),
        (8080, "GRPC"),
        (15443, "HTTPS"),
    ][random.below(9)];
    let mut out = Fields::default();
    out.set(
        "port",
        json!({"number": number, "name": format!("p{index}-{}", protocol.to_lowercase()), "protocol": protocol}),
    );
    out.set("hosts", hosts(random));
    match protocol {
        "TLS" | "HTTPS" => out.set("tls", tls(random)),
        "HTTP" => out.maybe(random, 15, "tls", |_| json!({"httpsRedirect": true})),
        "TCP" => out.maybe(random, 25, "tls", tls),
        _ => {}
    }
    out.maybe(random, 10, "bind", |r| json!(r.pick(&["10.244.0.30", "0.0.0.0", "127.0.0.1"])));
    out.maybe(random, 15, "name", |r| json!(r.pick(&["first", "second"])));
    out.done()
}

pub fn gateway(random: &mut Random, number: usize) -> Value {
    let servers: Vec<Value> = (0..random.number(1, 3)).map(|index| server(random, index)).collect();
    let mut spec = Fields::default();
    spec.set("servers", json!(servers));
    if random.chance(92) {
        spec.set("selector", json!({"istio": random.pick(&["egressgateway", "egressgateway", "egressgateway", "egressgateway", "ingressgateway"])}));
    }
    let namespace = random.pick(&["mesh-test", "mesh-test", "istio-system"]);
    object(NETWORKING, "Gateway", namespace, NAMES[number.min(NAMES.len() - 1)], spec.done())
}

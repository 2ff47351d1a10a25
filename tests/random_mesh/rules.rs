//! DestinationRules and Sidecars.

use super::services::export_to;
use super::{Fields, NETWORKING, Random, host, namespace, object};
use serde_json::{Value, json};

fn tls(random: &mut Random) -> Value {
    let mode = random.pick(&["SIMPLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL", "ISTIO_MUTUAL", "DISABLE"]);
    let mut out = Fields::default();
    out.set("mode", json!(mode));
    out.maybe(random, 40, "sni", |r| json!(r.pick(&["edition.cnn.com", "httpbin.org"])));
    if mode == "MUTUAL" {
        if random.chance(40) {
            out.set("credentialName", json!("client-credential"));
        } else {
            out.set("clientCertificate", json!("/etc/certs/client.pem"));
            out.set("privateKey", json!("/etc/certs/key.pem"));
            out.maybe(random, 60, "caCertificates", |_| json!("/etc/certs/ca.pem"));
        }
    }
    if mode == "SIMPLE" {
        match random.below(6) {
            0 => out.set("caCertificates", json!("/etc/certs/ca.pem")),
            1 => out.set("credentialName", json!("ca-credential")),
            2 => out.set("caCertificates", json!("system")),
            3 => out.set("insecureSkipVerify", json!(true)),
            _ => {}
        }
    }
    if mode != "DISABLE" {
        out.maybe(random, 25, "subjectAltNames", |_| json!(["edition.cnn.com", "spiffe://x/y"]));
    }
    out.done()
}

fn connection_pool(random: &mut Random) -> Value {
    let mut out = Fields::default();
    out.maybe(random, 60, "tcp", |r| {
        let mut tcp = Fields::default();
        tcp.maybe(r, 50, "maxConnections", |r| json!(r.number(1, 100)));
        tcp.maybe(r, 40, "connectTimeout", |_| json!("3s"));
        tcp.maybe(r, 30, "tcpKeepalive", |r| {
            r.one(&[json!({"time": "7200s", "interval": "75s", "probes": 3}), json!({})])
        });
        tcp.maybe(r, 20, "maxConnectionDuration", |_| json!("30m"));
        tcp.maybe(r, 25, "idleTimeout", |r| json!(r.pick(&["10m", "0s"])));
        tcp.done()
    });
    out.maybe(random, 60, "http", |r| {
        let mut http = Fields::default();
        http.maybe(r, 30, "http1MaxPendingRequests", |_| json!(10));
        http.maybe(r, 30, "http2MaxRequests", |_| json!(20));
        http.maybe(r, 30, "maxRequestsPerConnection", |_| json!(5));
        http.maybe(r, 30, "maxRetries", |_| json!(4));
        http.maybe(r, 30, "idleTimeout", |_| json!("90s"));
        http.maybe(r, 40, "h2UpgradePolicy", |r| json!(r.pick(&["UPGRADE", "DO_NOT_UPGRADE", "DEFAULT"])));
        http.maybe(r, 20, "useClientProtocol", |r| json!(r.chance(70)));
        http.maybe(r, 20, "maxConcurrentStreams", |_| json!(50));
        http.done()
    });
    out.done()
}

fn load_balancer(random: &mut Random) -> Value {
    let mut out = Fields::default();
    match random.below(9) {
        0 => out.set("simple", json!(random.pick(&["ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN", "UNSPECIFIED"]))),
        1 => out.set("simple", json!(random.pick(&["RANDOM", "PASSTHROUGH"]))),
        2 | 3 => {
            let mut hash = random.one(&[
                json!({"httpHeaderName": "x-user"}),
                json!({"httpCookie": {"name": "session", "path": "/p", "ttl": "60s"}}),
                json!({"httpCookie": {"name": "session"}}),
                json!({"httpCookie": {"name": "session", "ttl": "0s"}}),
                json!({"useSourceIp": true}),
                json!({"httpQueryParameterName": "q"}),
            ]);
            match random.below(4) {
                0 => hash["ringHash"] = json!({"minimumRingSize": 256}),
                1 => hash["maglev"] = json!({"tableSize": 251}),
                2 => hash["minimumRingSize"] = json!(512),
                _ => {}
            }
            out.set("consistentHash", hash);
        }
        4 => out.set(
            "localityLbSetting",
            json!({"distribute": [{"from": "eu/eu-a/*", "to": {"eu/eu-a/*": 80, "us/*": 20}}]}),
        ),
        5 => out.set("localityLbSetting", json!({"failover": [{"from": "eu", "to": "us"}]})),
        6 => out.set(
            "localityLbSetting",
            json!({"failoverPriority": ["topology.kubernetes.io/region", "topology.istio.io/subzone"]}),
        ),
        7 => out.set("localityLbSetting", random.one(&[json!({"enabled": false}), json!({"enabled": true})])),
        _ => {}
    }
    out.maybe(random, 15, "warmup", |r| {
        r.one(&[json!({"duration": "60s"}), json!({"duration": "30s", "minimumPercent": 20, "aggression": 1.5})])
    });
    out.maybe(random, 8, "warmupDurationSecs", |_| json!("45s"));
    out.done()
}

fn outlier(random: &mut Random) -> Value {
    let mut out = Fields::default();
    out.maybe(random, 40, "consecutive5xxErrors", |r| json!(r.below(8)));
    out.maybe(random, 40, "consecutiveGatewayErrors", |r| json!(r.below(8)));
    out.maybe(random, 40, "interval", |_| json!("15s"));
    out.maybe(random, 40, "baseEjectionTime", |_| json!("45s"));
    out.maybe(random, 40, "maxEjectionPercent", |r| json!(r.number(1, 100)));
    out.maybe(random, 30, "minHealthPercent", |r| json!(r.below(60)));
    out.maybe(random, 20, "splitExternalLocalOriginErrors", |_| json!(true));
    out.maybe(random, 20, "consecutiveLocalOriginFailures", |_| json!(4));
    out.done()
}

fn policy_fields(random: &mut Random, out: &mut Fields) {
    out.maybe(random, 45, "tls", tls);
    out.maybe(random, 30, "connectionPool", connection_pool);
    out.maybe(random, 30, "loadBalancer", load_balancer);
    out.maybe(random, 25, "outlierDetection", outlier);
}

fn policy(random: &mut Random) -> Value {
    let mut out = Fields::default();
    policy_fields(random, &mut out);
    out.maybe(random, 25, "portLevelSettings", |r| {
        let mut all = Vec::new();
        for number in [80, 443, 8000] {
            if r.chance(50) {
                continue;
            }
            let mut level = Fields::default();
            level.set("port", json!({"number": number}));
            policy_fields(r, &mut level);
            all.push(level.done());
        }
        json!(all)
    });
    out.maybe(
        random,
        6,
        "tunnel",
        |r| json!({"protocol": r.pick(&["CONNECT", "POST"]), "targetHost": "proxied.example", "targetPort": 443}),
    );
    out.maybe(random, 6, "proxyProtocol", |r| json!({"version": r.pick(&["V1", "V2"])}));
    out.maybe(random, 6, "retryBudget", |r| r.one(&[json!({"percent": 25, "minRetryConcurrency": 5}), json!({})]));
    out.done()
}

pub fn destination_rule(random: &mut Random, number: usize) -> Value {
    let mut spec = Fields::default();
    spec.set("host", json!(host(random)));
    spec.maybe(random, 80, "trafficPolicy", policy);
    spec.maybe(random, 50, "subsets", |r| {
        let mut all = Vec::new();
        for name in r.some(&["v1", "v2", "cnn", "httpbin"], 45) {
            let mut subset = Fields::default();
            subset.set("name", json!(name));
            subset.maybe(r, 50, "labels", |r| json!({"version": r.pick(&["v1", "v2"])}));
            subset.maybe(r, 40, "trafficPolicy", policy);
            all.push(subset.done());
        }
        json!(all)
    });
    if random.chance(12) {
        spec.set(
            "workloadSelector",
            json!({"matchLabels": {"app": random.pick(&["sleep", "istio-egressgateway", "httpbin"])}}),
        );
    } else {
        spec.maybe(random, 20, "exportTo", export_to);
    }
    object(NETWORKING, "DestinationRule", namespace(random), &format!("dr-{number}"), spec.done())
}

fn egress(random: &mut Random, last: bool) -> Value {
    let mut out = Fields::default();
    let hosts = random.some(
        &[
            "./*",
            "istio-system/*",
            "*/*.example",
            "other/*",
            "*/httpbin.org",
            "./httpbin.mesh-test.svc.cluster.local",
            "~/*",
            "*/*",
        ],
        30,
    );
    out.set("hosts", if hosts.is_empty() { json!(["./*"]) } else { json!(hosts) });
    if !last {
        let (number, protocol) =
            [(80, "HTTP"), (443, "TLS"), (443, "HTTPS"), (9000, "TCP"), (3128, "HTTP_PROXY"), (8000, "HTTP")]
                [random.below(6)];
        out.set("port", json!({"number": number, "name": "egress", "protocol": protocol}));
        out.maybe(random, 25, "bind", |r| json!(r.pick(&["127.0.0.1", "0.0.0.0", "198.51.100.77"])));
        out.maybe(random, 20, "captureMode", |r| json!(r.pick(&["NONE", "IPTABLES", "DEFAULT"])));
    }
    out.done()
}

fn ingress(random: &mut Random, index: usize) -> Value {
    let (number, protocol) =
        [(8080, "HTTP"), (9000, "TCP"), (8443, "HTTPS"), (7070, "GRPC"), (9100, "")][(index * 2 + random.below(2)) % 5];
    let mut port = json!({"number": number, "name": format!("in-{number}")});
    if !protocol.is_empty() {
        port["protocol"] = json!(protocol);
    }
    let mut out = Fields::default();
    out.set("port", port);
    out.maybe(random, 80, "defaultEndpoint", |r| {
        json!(r.pick(&["127.0.0.1:8080", "0.0.0.0:8080", "unix:///tmp/app.sock"]))
    });
    out.maybe(random, 15, "bind", |r| json!(r.pick(&["0.0.0.0", "10.244.0.20"])));
    out.maybe(random, 15, "captureMode", |r| json!(r.pick(&["NONE", "IPTABLES"])));
    out.maybe(random, 15, "connectionPool", connection_pool);
    out.done()
}

pub fn sidecar(random: &mut Random) -> Value {
    let mut spec = Fields::default();
    let in_root = random.chance(20);
    if !in_root {
        spec.maybe(random, 45, "workloadSelector", |r| json!({"labels": {"app": r.pick(&["sleep", "httpbin"])}}));
    }
    spec.maybe(random, 75, "egress", |r| {
        let ports = r.below(3);
        let mut all: Vec<Value> = (0..ports).map(|_| egress(r, false)).collect();
        if all.is_empty() || r.chance(70) {
            all.push(egress(r, true));
        }
        json!(all)
    });
    if !in_root {
        spec.maybe(random, 35, "ingress", |r| {
            let all: Vec<Value> = (0..r.number(1, 2)).map(|index| ingress(r, index)).collect();
            json!(all)
        });
        spec.maybe(random, 15, "inboundConnectionPool", connection_pool);
    }
    spec.maybe(random, 35, "outboundTrafficPolicy", |r| {
        r.one(&[
            json!({"mode": "REGISTRY_ONLY"}),
            json!({"mode": "ALLOW_ANY"}),
            json!({}),
            json!({"mode": "ALLOW_ANY", "egressProxy": {"host": "istio-egressgateway.istio-system.svc.cluster.local", "port": {"number": 80}}}),
        ])
    });
    object(NETWORKING, "Sidecar", if in_root { "istio-system" } else { "mesh-test" }, "sidecar", spec.done())
}

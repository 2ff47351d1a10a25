//! Egress as guides tell it: for each outside host one flow, straight or through the egress gateway, made of objects that fit
//! together, and now and then with one thing in them that does not.

use super::{Fields, NETWORKING, Random, SECURITY, base, mesh_config, object};
use serde_json::{Value, json};

const HOSTS: &[&str] =
    &["news.flow.example", "pay.flow.example", "cdn.flow.example", "queue.flow.example", "auth.login.example"];
const GATEWAY: &str = "istio-egressgateway.istio-system.svc.cluster.local";

/// What a flow is about.
struct Flow {
    /// A short name, also the subset's.
    name: String,
    host: String,
    number: usize,
}

impl Flow {
    fn entry(&self, random: &mut Random, ports: Value) -> Value {
        let mut spec = Fields::default();
        let hosts =
            if random.chance(12) { json!([self.host, format!("alt.{}", self.host)]) } else { json!([self.host]) };
        spec.set("hosts", hosts);
        spec.set("location", json!(if random.chance(92) { "MESH_EXTERNAL" } else { "MESH_INTERNAL" }));
        let resolution = random.pick(&["DNS", "DNS", "DNS", "DNS_ROUND_ROBIN", "STATIC", "NONE"]);
        spec.set("resolution", json!(resolution));
        if resolution == "STATIC" || (resolution == "DNS" && random.chance(25)) {
            let count = random.number(1, 3);
            let endpoints: Vec<Value> = (0..count).map(|n| self.endpoint(random, &ports, n)).collect();
            spec.set("endpoints", json!(endpoints));
        }
        spec.maybe(random, 12, "addresses", |r| {
            r.one(&[json!([format!("192.0.2.{}", self.number + 1)]), json!([format!("198.18.{}.0/24", self.number)])])
        });
        spec.maybe(random, 15, "subjectAltNames", |_| json!([self.host, format!("spiffe://partner/{}", self.name)]));
        spec.maybe(random, 20, "exportTo", |r| {
            r.one(&[json!(["."]), json!(["*"]), json!([".", "istio-system"]), json!(["istio-system"]), json!(["~"])])
        });
        spec.set("ports", ports);
        let namespace = random.pick(&["mesh-test", "mesh-test", "mesh-test", "istio-system", "other"]);
        let mut out = object(NETWORKING, "ServiceEntry", namespace, &format!("{}-ext", self.name), spec.done());
        if random.chance(12) {
            out["metadata"]["labels"] = random.one(&[
                json!({"app": self.name, "team": "egress"}),
                json!({"networking.istio.io/enable-autoallocate-ip": "false"}),
                json!({"service.istio.io/canonical-name": format!("{}-canonical", self.name)}),
            ]);
        }
        if random.chance(10) {
            out["metadata"]["annotations"] = json!({"istio.io/connect-strategy": "RACE_FIRST_TCP_CONNECT"});
        }
        if random.chance(25) {
            let value = format!("240.240.7.{}", self.number + 1);
            out["status"] = json!({"addresses": [{"host": self.host, "value": value}]});
        }
        out
    }

    fn endpoint(&self, random: &mut Random, ports: &Value, number: usize) -> Value {
        let mut out = Fields::default();
        out.set("address", json!(format!("203.0.113.{}", self.number * 16 + number)));
        out.maybe(random, 25, "ports", |r| {
            let first = ports[0]["name"].as_str().unwrap_or_default().to_owned();
            json!({first: r.number(9000, 9100)})
        });
        out.maybe(
            random,
            40,
            "labels",
            |r| json!({"zone": r.pick(&["blue", "green"]), "version": r.pick(&["v1", "v2"])}),
        );
        out.maybe(random, 25, "weight", |r| json!(r.number(1, 100)));
        out.maybe(random, 25, "locality", |r| json!(r.pick(&["eu/eu-a/rack1", "eu/eu-b", "us/us-a"])));
        out.maybe(random, 8, "network", |_| json!("elsewhere"));
        out.done()
    }

    /// Straight from the sidecar, with rules of the port's own kind.
    fn direct(&self, random: &mut Random) -> Vec<Value> {
        let ports = random.one(&[
            json!([{"number": 443, "name": "tls", "protocol": "TLS"}]),
            json!([{"number": 443, "name": "https", "protocol": "HTTPS"}, {"number": 80, "name": "http", "protocol": "HTTP"}]),
            json!([{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 443}]),
            json!([{"number": 5671, "name": "tcp-queue", "protocol": "TCP"}]),
            json!([{"number": 8443, "name": "grpc-x", "protocol": "GRPC"}, {"number": 443, "name": "tls", "protocol": "TLS"}]),
            json!([{"number": 80, "name": "http2-x", "protocol": "HTTP2"}, {"number": 9999, "name": "any"}]),
        ]);
        let mut out = vec![self.entry(random, ports)];
        if random.chance(55) {
            let mut spec = Fields::default();
            spec.set("hosts", json!([self.host]));
            match random.below(4) {
                0 => spec.set("tls", json!([{"match": [{"port": 443, "sniHosts": [self.host]}], "route": [{"destination": {"host": self.host, "port": {"number": 443}}}]}])),
                1 => spec.set("tcp", json!([{"match": [{"port": 5671}], "route": [{"destination": {"host": self.host, "port": {"number": 5671}}}]}])),
                2 => spec.set("http", json!([self.rule(random, &json!({"host": self.host, "port": {"number": 80}}))])),
                _ => spec.set("http", json!([self.rule(random, &json!({"host": self.host}))])),
            }
            spec.maybe(random, 15, "exportTo", |r| r.one(&[json!(["."]), json!(["mesh-test", "other"])]));
            out.push(object(NETWORKING, "VirtualService", "mesh-test", &format!("{}-direct", self.name), spec.done()));
        }
        if random.chance(60) {
            out.push(self.origination(random, 80));
        }
        out
    }

    fn rule(&self, random: &mut Random, destination: &Value) -> Value {
        let mut out = Fields::default();
        out.set("route", json!([{"destination": destination}]));
        out.maybe(random, 40, "match", |r| {
            r.one(&[
                json!([{"uri": {"prefix": "/v1/"}}]),
                json!([{"port": 80}]),
                json!([{"headers": {"x-tenant": {"regex": "a|b"}}}, {"method": {"regex": "P.*"}}]),
            ])
        });
        out.maybe(random, 40, "timeout", |r| json!(r.pick(&["3s", "0.25s"])));
        out.maybe(random, 40, "retries", |r| {
            r.one(&[
                json!({"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx,reset"}),
                json!({"attempts": 0}),
                json!({"attempts": 1, "retryOn": "retriable-headers"}),
            ])
        });
        out.maybe(random, 25, "headers", |r| r.one(&[
            json!({"request": {"set": {"Host": self.host}, "remove": ["Cookie"]}}),
            json!({"request": {"add": {"X-Egress": "%REQ(:authority)%"}}, "response": {"remove": ["server"], "set": {"X-A": "b"}}}),
        ]));
        out.maybe(random, 20, "rewrite", |_| json!({"authority": self.host}));
        out.maybe(random, 10, "fault", |_| json!({"delay": {"fixedDelay": "2s", "percentage": {"value": 0.01}}}));
        out.done()
    }

    /// TLS made where the rule is applied.
    fn origination(&self, random: &mut Random, port: usize) -> Value {
        let mut tls = Fields::default();
        let mode = random.pick(&["SIMPLE", "SIMPLE", "SIMPLE", "MUTUAL", "DISABLE"]);
        tls.set("mode", json!(mode));
        if mode == "MUTUAL" {
            if random.chance(60) {
                tls.set("credentialName", json!(format!("{}-client", self.name)));
            } else {
                tls.set("clientCertificate", json!("/etc/c/tls.crt"));
                tls.set("privateKey", json!("/etc/c/tls.key"));
                tls.set("caCertificates", json!("/etc/c/ca.crt"));
            }
        }
        if mode != "DISABLE" {
            tls.maybe(random, 60, "sni", |_| json!(self.host));
            tls.maybe(random, 25, "subjectAltNames", |_| json!([self.host]));
        }
        if mode == "SIMPLE" {
            tls.maybe(random, 25, "insecureSkipVerify", |_| json!(true));
        }
        let tls = tls.done();
        let mut policy = Fields::default();
        if random.chance(50) {
            policy.set("portLevelSettings", json!([{"port": {"number": port}, "tls": tls}]));
        } else {
            policy.set("tls", tls);
        }
        policy.maybe(random, 30, "loadBalancer", |r| {
            r.one(&[
                json!({"simple": "ROUND_ROBIN"}),
                json!({"simple": "RANDOM"}),
                json!({"consistentHash": {"httpHeaderName": "x-user"}}),
                json!({"simple": "LEAST_REQUEST", "warmup": {"duration": "30s"}}),
            ])
        });
        policy.maybe(random, 30, "connectionPool", |r| {
            r.one(&[
                json!({"tcp": {"maxConnections": 7, "connectTimeout": "1.5s"}}),
                json!({"http": {"h2UpgradePolicy": "UPGRADE", "maxRequestsPerConnection": 1}}),
                json!({"tcp": {"tcpKeepalive": {"time": "60s"}}, "http": {"idleTimeout": "30s"}}),
            ])
        });
        policy.maybe(random, 25, "outlierDetection", |r| {
            r.one(&[json!({"consecutive5xxErrors": 2, "interval": "5s", "baseEjectionTime": "10s"}), json!({})])
        });
        policy.maybe(
            random,
            6,
            "tunnel",
            |_| json!({"protocol": "CONNECT", "targetHost": self.host, "targetPort": 443}),
        );
        let mut spec = Fields::default();
        spec.set("host", json!(self.host));
        spec.set("trafficPolicy", policy.done());
        spec.maybe(random, 25, "subsets", |_| json!([{"name": "blue", "labels": {"zone": "blue"}}, {"name": "v2", "labels": {"version": "v2"}, "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 3}}}}]));
        if random.chance(15) {
            spec.set(
                "workloadSelector",
                json!({"matchLabels": {"app": random.pick(&["sleep", "istio-egressgateway"])}}),
            );
        } else {
            spec.maybe(random, 20, "exportTo", |r| {
                r.one(&[json!(["."]), json!(["istio-system"]), json!(["mesh-test", "istio-system"])])
            });
        }
        let namespace = random.pick(&["mesh-test", "mesh-test", "istio-system", "other"]);
        object(NETWORKING, "DestinationRule", namespace, &format!("{}-tls", self.name), spec.done())
    }

    /// Through the gateway: the two legs, the server, the subset.
    fn through(&self, random: &mut Random) -> Vec<Value> {
        let mode = random.pick(&[
            "PASSTHROUGH",
            "PASSTHROUGH",
            "ISTIO_MUTUAL",
            "ISTIO_MUTUAL",
            "SIMPLE",
            "HTTP",
            "HTTPS_MUTUAL",
            "TCP",
        ]);
        let (number, protocol) = match mode {
            "HTTP" => (80, "HTTP"),
            "HTTPS_MUTUAL" => (if random.chance(50) { 80 } else { 443 }, "HTTPS"),
            "TCP" => (if random.chance(50) { 9000 } else { 15443 }, "TCP"),
            "ISTIO_MUTUAL" => (if random.chance(60) { 15443 } else { 443 }, "TLS"),
            _ => (443, if random.chance(80) { "TLS" } else { "HTTPS" }),
        };
        let entry_ports = match mode {
            "HTTP" | "HTTPS_MUTUAL" => {
                json!([{"number": 80, "name": "http", "protocol": "HTTP"}, {"number": 443, "name": "https", "protocol": "HTTPS"}])
            }
            "TCP" => json!([{"number": 5432, "name": "tcp-db", "protocol": "TCP"}]),
            _ => json!([{"number": 443, "name": "tls", "protocol": random.pick(&["TLS", "HTTPS"])}]),
        };
        let outside = if mode == "TCP" { 5432 } else { 443 };
        let mut out = vec![self.entry(random, entry_ports)];
        let hosts = match random.below(12) {
            0 => json!(["*"]),
            1 => json!([format!("mesh-test/{}", self.host)]),
            2 => json!([self.host, format!("alt.{}", self.host)]),
            3 => json!(["*.flow.example"]),
            _ => json!([self.host]),
        };
        let mut server = Fields::default();
        server.set("port", json!({"number": number, "name": format!("{}-{}", protocol.to_lowercase(), self.name), "protocol": protocol}));
        server.set("hosts", hosts);
        match mode {
            "HTTP" => {}
            "TCP" => server.maybe(random, 50, "tls", |_| json!({"mode": "ISTIO_MUTUAL"})),
            "HTTPS_MUTUAL" => server.set("tls", json!({"mode": "ISTIO_MUTUAL"})),
            "SIMPLE" => server.set("tls", json!({"mode": "SIMPLE", "credentialName": format!("{}-cert", self.name)})),
            _ => server.set("tls", json!({"mode": mode})),
        }
        let gateway = if random.chance(30) { "egress-shared".to_owned() } else { format!("egress-{}", self.name) };
        let namespace = random.pick(&["mesh-test", "mesh-test", "mesh-test", "istio-system"]);
        let selector = if random.chance(95) { "egressgateway" } else { "nowhere" };
        out.push(object(
            NETWORKING,
            "Gateway",
            namespace,
            &gateway,
            json!({"selector": {"istio": selector}, "servers": [server.done()]}),
        ));
        let reference = if namespace == "mesh-test" && random.chance(50) {
            gateway.clone()
        } else {
            format!("{namespace}/{gateway}")
        };
        out.push(self.legs(random, mode, number, outside, &reference));
        if random.chance(90) {
            let mut subset = Fields::default();
            subset.set("name", json!(self.name));
            let tls = match mode {
                "ISTIO_MUTUAL" | "HTTPS_MUTUAL" | "TCP" if random.chance(85) => {
                    let mut tls = Fields::default();
                    tls.set("mode", json!("ISTIO_MUTUAL"));
                    tls.maybe(random, 75, "sni", |_| json!(self.host));
                    Some(tls.done())
                }
                _ => None,
            };
            if let Some(tls) = tls {
                let level = json!({"portLevelSettings": [{"port": {"number": number}, "tls": tls}]});
                subset.set("trafficPolicy", if random.chance(70) { level } else { json!({"tls": tls}) });
            }
            let mut spec = json!({"host": GATEWAY, "subsets": [subset.done()]});
            if random.chance(20) {
                spec["trafficPolicy"] = json!({"connectionPool": {"tcp": {"maxConnections": 50}}, "tls": {"mode": random.pick(&["DISABLE", "ISTIO_MUTUAL"])}});
            }
            let namespace = random.pick(&["mesh-test", "mesh-test", "istio-system", "other"]);
            out.push(object(
                NETWORKING,
                "DestinationRule",
                namespace,
                &format!("egressgateway-for-{}", self.name),
                spec,
            ));
        }
        if random.chance(if matches!(mode, "HTTP" | "HTTPS_MUTUAL") { 80 } else { 15 }) {
            out.push(self.origination(random, outside));
        }
        out
    }

    fn legs(&self, random: &mut Random, mode: &str, number: usize, outside: usize, gateway: &str) -> Value {
        let subset = if random.chance(94) { self.name.clone() } else { "typo".to_owned() };
        let to_gateway = json!({"host": GATEWAY, "subset": subset, "port": {"number": number}});
        let to_outside = json!({"host": self.host, "port": {"number": outside}});
        let second = if random.chance(92) { number } else { 8443 };
        let mut spec = Fields::default();
        let names =
            if random.chance(15) { json!([self.host, format!("alt.{}", self.host)]) } else { json!([self.host]) };
        spec.set("hosts", names.clone());
        let gateways = match random.below(12) {
            0 => json!([gateway]),
            1 => json!([gateway, "mesh", "istio-system/egress-shared"]),
            _ => json!(["mesh", gateway]),
        };
        spec.set("gateways", gateways);
        let weighted = random.chance(12);
        let first_legs = |subset: &Value| {
            if weighted {
                json!([{"destination": subset, "weight": 75}, {"destination": to_outside, "weight": 25}])
            } else {
                json!([{"destination": subset}])
            }
        };
        let first_tls = json!({"match": [{"gateways": ["mesh"], "port": 443, "sniHosts": names}], "route": first_legs(&to_gateway)});
        match mode {
            "HTTP" | "HTTPS_MUTUAL" => {
                let mut back = self.rule(random, &to_outside);
                back["match"] = json!([{"gateways": [gateway], "port": second}]);
                let mut out = self.rule(random, &to_gateway);
                out["match"] = json!([{"gateways": ["mesh"], "port": 80}]);
                out["route"] = first_legs(&to_gateway);
                spec.set("http", json!([out, back]));
            }
            "TCP" => spec.set("tcp", json!([
                {"match": [{"gateways": ["mesh"], "port": 5432}], "route": first_legs(&to_gateway)},
                {"match": [{"gateways": [gateway], "port": second}], "route": [{"destination": to_outside}]},
            ])),
            "PASSTHROUGH" => spec.set("tls", json!([
                first_tls,
                {"match": [{"gateways": [gateway], "port": second, "sniHosts": names}], "route": [{"destination": to_outside}]},
            ])),
            _ => {
                spec.set("tls", json!([first_tls]));
                if random.chance(12) {
                    // The trap: SNI is no more, once the gateway has ended TLS.
                    spec.set("tls", json!([first_tls, {"match": [{"gateways": [gateway], "port": second, "sniHosts": names}], "route": [{"destination": to_outside}]}]));
                } else {
                    spec.set("tcp", json!([{"match": [{"gateways": [gateway], "port": second}], "route": [{"destination": to_outside}]}]));
                }
            }
        }
        spec.maybe(random, 12, "exportTo", |r| r.one(&[json!(["."]), json!(["istio-system", "mesh-test"])]));
        let namespace = if random.chance(90) { "mesh-test" } else { "istio-system" };
        object(NETWORKING, "VirtualService", namespace, &format!("{}-through-gateway", self.name), spec.done())
    }

    /// Any name of a domain, with or without the gateway.
    fn wildcard(&self, random: &mut Random) -> Vec<Value> {
        let host = format!("*.{}", self.host);
        let resolution = random.pick(&["NONE", "NONE", "DYNAMIC_DNS", "DNS"]);
        let mut spec = json!({
            "hosts": [host], "location": "MESH_EXTERNAL", "resolution": resolution,
            "ports": [{"number": 443, "name": "tls", "protocol": random.pick(&["TLS", "HTTPS"])}, {"number": 80, "name": "http", "protocol": "HTTP"}],
        });
        if resolution == "DNS" {
            spec["endpoints"] = json!([{"address": format!("www.{}", self.host)}]);
        }
        let mut out = vec![object(NETWORKING, "ServiceEntry", "mesh-test", &format!("{}-any", self.name), spec)];
        if random.chance(50) {
            let one = format!("www.{}", self.host);
            let sni = if random.chance(60) { host.clone() } else { one };
            out.push(object(NETWORKING, "VirtualService", "mesh-test", &format!("{}-any", self.name), json!({
                "hosts": [host],
                "tls": [{"match": [{"port": 443, "sniHosts": [sni]}], "route": [{"destination": {"host": random.pick(&[host.as_str(), GATEWAY]), "port": {"number": 443}}}]}],
            })));
        }
        out
    }
}

/// Who may, and what is logged.
fn around(random: &mut Random, flows: &[Flow]) -> Vec<Value> {
    let mut out = Vec::new();
    let host = flows[random.below(flows.len())].host.clone();
    if random.chance(35) {
        let rule = random.one(&[
            json!({"from": [{"source": {"principals": ["cluster.local/ns/mesh-test/sa/sleep"]}}], "when": [{"key": "connection.sni", "values": [host]}]}),
            json!({"to": [{"operation": {"hosts": [host], "methods": ["GET"]}}]}),
            json!({"from": [{"source": {"namespaces": ["mesh-test"]}}], "to": [{"operation": {"ports": ["8443", "15443"]}}]}),
            json!({"from": [{"source": {"serviceAccounts": ["mesh-test/sleep"]}}]}),
            json!({}),
        ]);
        let mut spec = json!({"selector": {"matchLabels": {"app": "istio-egressgateway"}}, "action": random.pick(&["ALLOW", "ALLOW", "DENY", "AUDIT"]), "rules": [rule]});
        if random.chance(10) {
            spec["rules"] = json!([]);
        }
        out.push(object(SECURITY, "AuthorizationPolicy", "istio-system", "egress", spec));
    }
    if random.chance(30) {
        let mode = random.pick(&["STRICT", "PERMISSIVE", "DISABLE"]);
        let namespace = random.pick(&["istio-system", "mesh-test", "other"]);
        out.push(object(SECURITY, "PeerAuthentication", namespace, "default", json!({"mtls": {"mode": mode}})));
    }
    if random.chance(35) {
        let mut egress = vec![
            json!({"hosts": random.one(&[json!(["./*", "istio-system/*"]), json!(["./*"]), json!([format!("./{}", host), "istio-system/*"]), json!(["*/*"])])}),
        ];
        if random.chance(25) {
            egress.insert(
                0,
                json!({"port": {"number": 443, "name": "tls", "protocol": "TLS"}, "hosts": [format!("*/{}", host)]}),
            );
        }
        let mut spec = json!({"egress": egress});
        if random.chance(50) {
            spec["workloadSelector"] = json!({"labels": {"app": "sleep"}});
        }
        if random.chance(40) {
            spec["outboundTrafficPolicy"] = json!({"mode": random.pick(&["ALLOW_ANY", "REGISTRY_ONLY"])});
        }
        out.push(object(NETWORKING, "Sidecar", "mesh-test", "scope", spec));
    }
    if random.chance(30) {
        let spec = random.one(&[
            json!({"accessLogging": [{"providers": [{"name": "envoy"}]}]}),
            json!({"accessLogging": [{"disabled": true}]}),
            json!({"accessLogging": [{"providers": [{"name": "envoy"}], "filter": {"expression": "response.code >= 400"}}]}),
            json!({"selector": {"matchLabels": {"istio": "egressgateway"}}, "accessLogging": [{"match": {"mode": "CLIENT"}, "providers": [{"name": "envoy"}]}]}),
        ]);
        let namespace = random.pick(&["istio-system", "mesh-test"]);
        out.push(object("telemetry.istio.io", "Telemetry", namespace, "logs", spec));
    }
    out
}

/// The objects of a seed and its mesh config.
pub fn made(random: &mut Random) -> (Vec<Value>, Vec<Value>, Value) {
    let base = base::objects(random);
    let count = random.number(1, 4);
    let flows: Vec<Flow> = HOSTS
        .iter()
        .skip(random.below(2))
        .take(count)
        .enumerate()
        .map(|(number, host)| Flow {
            name: host.split('.').next().unwrap_or_default().to_owned(),
            host: (*host).to_owned(),
            number,
        })
        .collect();
    let mut out = Vec::new();
    for flow in &flows {
        out.extend(match random.below(10) {
            0..=2 => flow.direct(random),
            3 => flow.wildcard(random),
            _ => flow.through(random),
        });
    }
    out.extend(around(random, &flows));
    if out.len() > 3 && random.chance(12) {
        out.remove(random.below(out.len()));
    }
    (base, out, mesh_config::mesh_config(random))
}

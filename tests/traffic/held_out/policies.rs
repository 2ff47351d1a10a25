//! Scope, authorization, peer authentication and telemetry over it all.

use super::{NETWORKING, SECURITY};
use crate::random_mesh::{Random, object};
use serde_json::{Value, json};

pub fn some(random: &mut Random, hosts: &[String], out: &mut Vec<Value>) {
    if random.chance(22) {
        out.push(sidecar(random, hosts));
    }
    if random.chance(25) {
        out.push(authorization(random, hosts));
    }
    if random.chance(12) {
        let mode = random.pick(&["STRICT", "PERMISSIVE", "DISABLE"]);
        let namespace = random.pick(&["istio-system", "mesh-test"]);
        out.push(object(SECURITY, "PeerAuthentication", namespace, "default", json!({"mtls": {"mode": mode}})));
    }
    if random.chance(10) {
        let logging = random.one(&[
            json!([{"disabled": true}]),
            json!([{"providers": [{"name": "envoy"}]}]),
            json!([{"providers": [{"name": "envoy"}], "filter": {"expression": "response.code >= 400"}}]),
        ]);
        let namespace = random.pick(&["istio-system", "mesh-test"]);
        out.push(object("telemetry.istio.io", "Telemetry", namespace, "logs", json!({"accessLogging": logging})));
    }
}

fn sidecar(random: &mut Random, hosts: &[String]) -> Value {
    let egress = random.one(&[
        json!([{"hosts": ["./*", "istio-system/*"]}]),
        json!([{"hosts": ["./*"]}]),
        json!([{"hosts": ["istio-system/*"]}]),
        json!([{"hosts": [format!("./{}", hosts[0]), "istio-system/*"]}]),
        json!([{"hosts": ["*/*"]}]),
        json!([{"port": {"number": 80, "protocol": "HTTP", "name": "http"}, "hosts": ["./*"]}, {"hosts": ["istio-system/*", "./*"]}]),
    ]);
    let mut spec = json!({"egress": egress});
    if random.chance(30) {
        spec["outboundTrafficPolicy"] = json!({"mode": random.pick(&["REGISTRY_ONLY", "ALLOW_ANY"])});
    }
    if random.chance(40) {
        spec["workloadSelector"] = json!({"labels": {"app": "sleep"}});
    }
    let namespace =
        if spec.get("workloadSelector").is_none() && random.chance(20) { "istio-system" } else { "mesh-test" };
    object(NETWORKING, "Sidecar", namespace, "scope", spec)
}

fn authorization(random: &mut Random, hosts: &[String]) -> Value {
    let selector = json!({"matchLabels": {"istio": "egressgateway"}});
    let sleep = "cluster.local/ns/mesh-test/sa/sleep";
    let spec = random.one(&[
        json!({"selector": selector, "action": "ALLOW", "rules": [{"from": [{"source": {"principals": [sleep]}}]}]}),
        json!({"selector": selector, "action": "ALLOW", "rules": [{"from": [{"source": {"principals": ["cluster.local/ns/other/sa/x"]}}]}]}),
        json!({"selector": selector, "action": "DENY", "rules": [{"from": [{"source": {"namespaces": ["mesh-test"]}}]}]}),
        json!({"selector": selector, "action": "ALLOW", "rules": [{"when": [{"key": "connection.sni", "values": [hosts[0]]}]}]}),
        json!({"selector": selector, "action": "DENY", "rules": [{"to": [{"operation": {"ports": ["8443"]}}]}]}),
        json!({"selector": selector, "action": "DENY", "rules": [{"to": [{"operation": {"hosts": [hosts[0]]}}]}]}),
        json!({"selector": selector, "action": "ALLOW", "rules": [{"to": [{"operation": {"methods": ["GET"], "paths": ["/get"]}}]}]}),
        json!({"selector": selector}),
        json!({"selector": selector, "action": "DENY", "rules": [{"from": [{"source": {"notPrincipals": [sleep]}}]}]}),
        json!({"selector": selector, "action": "ALLOW", "rules": [{"from": [{"source": {"ipBlocks": ["10.244.0.0/16"]}}]}]}),
    ]);
    object(SECURITY, "AuthorizationPolicy", "istio-system", "egress", spec)
}

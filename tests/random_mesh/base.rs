//! The cluster under it all: two workloads, the egress gateway, Services of other namespaces.

use super::{Fields, Random};
use serde_json::{Value, json};

fn pod(namespace: &str, name: &str, ip: &str, labels: Value, account: &str, node: &str, ports: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "serviceAccountName": account,
            "nodeName": node,
            "containers": [{"name": "main", "image": "x", "ports": ports}],
        },
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn service(namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": spec,
    })
}

fn port(name: &str, port: u32, target: Value) -> Value {
    json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"})
}

fn slice(namespace: &str, service: &str, ports: Value, endpoints: Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-x"),
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": endpoints,
    })
}

fn endpoint(ip: &str, ready: bool, pod: Option<(&str, &str)>) -> Value {
    let mut out = json!({"addresses": [ip], "conditions": {"ready": ready, "serving": ready, "terminating": false}});
    if let Some((namespace, name)) = pod {
        out["targetRef"] = json!({"kind": "Pod", "name": name, "namespace": namespace});
    }
    out
}

fn slice_port(name: &str, port: u32) -> Value {
    json!({"name": name, "port": port, "protocol": "TCP"})
}

pub fn objects(random: &mut Random) -> Vec<Value> {
    let mut out = Vec::new();
    for name in ["default", "kube-system", "mesh-test", "other", "istio-system"] {
        let metadata = json!({"name": name, "labels": {"kubernetes.io/metadata.name": name}});
        out.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}));
    }
    for (name, zone) in [("node1", "a"), ("node2", "b")] {
        let mut labels = json!({});
        if random.chance(60) {
            labels = json!({
                "topology.kubernetes.io/region": "eu",
                "topology.kubernetes.io/zone": format!("eu-{zone}"),
                "topology.istio.io/subzone": "rack1",
            });
        }
        out.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}));
    }
    workloads(random, &mut out);
    gateway(random, &mut out);
    others(random, &mut out);
    out
}

fn workloads(random: &mut Random, out: &mut Vec<Value>) {
    let tls = |random: &mut Random, labels: Value| {
        let mut labels = labels;
        if random.chance(85) {
            labels["security.istio.io/tlsMode"] = json!("istio");
        }
        labels
    };
    let labels = tls(random, json!({"app": "sleep", "version": "v1"}));
    let mut sleep = pod("mesh-test", "sleep-0", "10.244.0.10", labels, "sleep", "node1", json!([]));
    if random.chance(20) {
        sleep["metadata"]["annotations"] = json!({"proxy.istio.io/config": annotation(random)});
    }
    out.push(sleep);
    out.push(service(
        "mesh-test",
        "sleep",
        json!({"clusterIP": "10.96.0.20", "ports": [port("http", 80, json!(80))], "selector": {"app": "sleep"}}),
    ));
    let ready = Some(("mesh-test", "sleep-0"));
    out.push(slice(
        "mesh-test",
        "sleep",
        json!([slice_port("http", 80)]),
        json!([endpoint("10.244.0.10", true, ready)]),
    ));

    let version = random.pick(&["v1", "v2"]);
    let labels = tls(random, json!({"app": "httpbin", "version": version}));
    let containers = json!([{"name": "web", "containerPort": 8080, "protocol": "TCP"}, {"name": "raw", "containerPort": 9000, "protocol": "TCP"}]);
    out.push(pod("mesh-test", "httpbin-0", "10.244.0.20", labels, "httpbin", "node2", containers));
    let mut ports = vec![port("http", 8000, if random.chance(50) { json!("web") } else { json!(8080) })];
    let mut backed = vec![slice_port("http", 8080)];
    for (name, number, target) in [
        ("tcp-raw", 9000, json!("raw")),
        ("grpc", 7070, json!(7070)),
        ("https", 8443, json!(8443)),
        ("plain", 9100, json!(9100)),
    ] {
        if random.chance(40) {
            ports.push(port(name, number, target));
            backed.push(slice_port(name, number));
        }
    }
    if random.chance(20) {
        let protocol = random.pick(&["http", "kubernetes.io/h2c", "tcp", "tls", "grpc"]);
        ports[0]["appProtocol"] = json!(protocol);
    }
    let mut spec = Fields::default();
    spec.set("clusterIP", json!("10.96.0.21"));
    spec.set("ports", json!(ports));
    spec.set("selector", json!({"app": "httpbin"}));
    spec.maybe(random, 10, "internalTrafficPolicy", |_| json!("Local"));
    spec.maybe(random, 15, "trafficDistribution", |r| {
        json!(r.pick(&["PreferClose", "PreferSameZone", "PreferSameNode"]))
    });
    let mut httpbin = service("mesh-test", "httpbin", spec.done());
    if random.chance(10) {
        httpbin["metadata"]["annotations"] =
            json!({"networking.istio.io/exportTo": random.pick(&[".", "mesh-test", "other"])});
    }
    out.push(httpbin);
    let ready = Some(("mesh-test", "httpbin-0"));
    out.push(slice("mesh-test", "httpbin", json!(backed), json!([endpoint("10.244.0.20", true, ready)])));
}

/// A proxy config in a pod's annotation.
fn annotation(random: &mut Random) -> String {
    random
        .pick(&[
            "proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"true\"}\n",
            "proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"true\"}\nconcurrency: 4\n",
            "gatewayTopology: {numTrustedProxies: 2}\n",
            "proxyHeaders: {server: {value: lab}, requestId: {disabled: true}, attemptCount: {disabled: true}}\n",
            "proxyHeaders: {forwardedClientCert: APPEND_FORWARD, setCurrentClientCertDetails: {cert: true}}\n",
            "tracing: {sampling: 12.5, zipkin: {address: \"zipkin.istio-system:9411\"}}\n",
        ])
        .to_owned()
}

fn gateway(random: &mut Random, out: &mut Vec<Value>) {
    let labels = json!({"app": "istio-egressgateway", "istio": "egressgateway"});
    let mut gateway = pod(
        "istio-system",
        "istio-egressgateway-0",
        "10.244.0.30",
        labels.clone(),
        "istio-egressgateway-service-account",
        "node1",
        json!([]),
    );
    if random.chance(15) {
        gateway["metadata"]["annotations"] = json!({"proxy.istio.io/config": random.pick(&[
            "gatewayTopology: {numTrustedProxies: 1, forwardClientCertDetails: FORWARD_ONLY}\n",
            "gatewayTopology: {proxyProtocol: {}}\n",
            "gatewayTopology: {forwardClientCertDetails: SANITIZE}\n",
        ])});
    }
    out.push(gateway);
    let mut ports = vec![port("http2", 80, json!(8080)), port("https", 443, json!(8443))];
    let mut backed = vec![slice_port("http2", 8080), slice_port("https", 8443)];
    for (name, number, target) in [("tls", 15443, 15443), ("tcp", 9000, 9000)] {
        if random.chance(70) {
            ports.push(port(name, number, json!(target)));
            backed.push(slice_port(name, target));
        }
    }
    out.push(service(
        "istio-system",
        "istio-egressgateway",
        json!({"clusterIP": "10.96.0.30", "ports": ports, "selector": labels}),
    ));
    let ready = Some(("istio-system", "istio-egressgateway-0"));
    out.push(slice(
        "istio-system",
        "istio-egressgateway",
        json!(backed),
        json!([endpoint("10.244.0.30", true, ready)]),
    ));
}

fn others(random: &mut Random, out: &mut Vec<Value>) {
    out.push(service(
        "default",
        "kubernetes",
        json!({"clusterIP": "10.96.0.1", "ports": [port("https", 443, json!(6443))]}),
    ));
    if random.chance(60) {
        let mut dns = vec![port("dns-tcp", 53, json!(53))];
        dns.push(json!({"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"}));
        out.push(service(
            "kube-system",
            "kube-dns",
            json!({"clusterIP": "10.96.0.10", "ports": dns, "selector": {"k8s-app": "kube-dns"}}),
        ));
    }
    if random.chance(60) {
        for (number, version) in [(40, "v1"), (41, "v2"), (42, "v2")] {
            let name = format!("web-{number}");
            let labels = json!({"app": "web", "version": version, "security.istio.io/tlsMode": random.pick(&["istio", "disabled"])});
            let node = random.pick(&["node1", "node2"]);
            out.push(pod("other", &name, &format!("10.244.0.{number}"), labels, "web", node, json!([])));
        }
        out.push(service("other", "web", json!({"clusterIP": "10.96.0.40", "ports": [port("http", 80, json!(8080)), port("https-x", 443, json!(8443))], "selector": {"app": "web"}})));
        let endpoints: Vec<Value> = (40..43)
            .map(|n| endpoint(&format!("10.244.0.{n}"), !random.chance(15), Some(("other", &format!("web-{n}")))))
            .collect();
        out.push(slice(
            "other",
            "web",
            json!([slice_port("http", 8080), slice_port("https-x", 8443)]),
            json!(endpoints),
        ));
    }
    if random.chance(40) {
        let name = random.pick(&["tcp-redis", "redis", "unnamed-x"]);
        out.push(service(
            "other",
            "redis",
            json!({"clusterIP": "10.96.0.41", "ports": [port(name, 6379, json!(6379))], "selector": {"app": "redis"}}),
        ));
    }
    if random.chance(40) {
        let kinds = [("http", 80), ("tcp", 9000), ("plain", 9200)];
        let chosen: Vec<(&str, u32)> = kinds.into_iter().filter(|_| random.chance(60)).collect();
        let ports: Vec<Value> = chosen.iter().map(|(name, number)| port(name, *number, json!(number))).collect();
        if !ports.is_empty() {
            let backed: Vec<Value> = chosen.iter().map(|(name, number)| slice_port(name, *number)).collect();
            out.push(service(
                "other",
                "headless",
                json!({"clusterIP": "None", "ports": ports, "selector": {"app": "headless"}}),
            ));
            out.push(slice(
                "other",
                "headless",
                json!(backed),
                json!([endpoint("10.244.0.50", true, None), endpoint("10.244.0.51", true, None)]),
            ));
        }
    }
    if random.chance(25) {
        let to = random.pick(&["web.other.svc.cluster.local", "httpbin.org", "httpbin.mesh-test.svc.cluster.local"]);
        let mut spec = json!({"type": "ExternalName", "externalName": to});
        if random.chance(50) {
            spec["ports"] = json!([port("http", 80, json!(80))]);
        }
        out.push(service("other", "alias", spec));
    }
}

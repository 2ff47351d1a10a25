//! Policies, telemetry, proxy config and EnvoyFilters: each kind in some configurations.

use super::{Fields, NETWORKING, Random, SECURITY, object};
use serde_json::{Value, json};

fn selector(random: &mut Random) -> Value {
    json!({"matchLabels": {"app": random.pick(&["sleep", "httpbin", "istio-egressgateway"])}})
}

fn place(random: &mut Random) -> &'static str {
    random.pick(&["mesh-test", "mesh-test", "istio-system", "other"])
}

pub fn some(random: &mut Random) -> Vec<Value> {
    let mut out = Vec::new();
    for number in 0..(if random.chance(35) { random.number(1, 3) } else { 0 }) {
        out.push(authorization(random, number));
    }
    for number in 0..(if random.chance(30) { random.number(1, 2) } else { 0 }) {
        out.push(peer_authentication(random, number));
    }
    if random.chance(12) {
        out.push(request_authentication(random));
    }
    for number in 0..(if random.chance(25) { random.number(1, 2) } else { 0 }) {
        out.push(telemetry(random, number));
    }
    if random.chance(12) {
        let mut spec = Fields::default();
        spec.maybe(random, 40, "selector", selector);
        spec.set("environmentVariables", json!({"ISTIO_META_DNS_CAPTURE": "true"}));
        out.push(json!({"apiVersion": "networking.istio.io/v1beta1", "kind": "ProxyConfig", "metadata": {"name": "pc", "namespace": place(random)}, "spec": spec.done()}));
    }
    for number in 0..(if random.chance(20) { random.number(1, 2) } else { 0 }) {
        out.push(envoy_filter(random, number));
    }
    out
}

fn authorization(random: &mut Random, number: usize) -> Value {
    let mut spec = Fields::default();
    spec.maybe(random, 60, "selector", selector);
    let action = random.pick(&["ALLOW", "ALLOW", "DENY", "DENY", "AUDIT", "CUSTOM"]);
    spec.set("action", json!(action));
    if action == "CUSTOM" {
        spec.set("provider", json!({"name": random.pick(&["ext-authz-http", "ext-authz-grpc", "absent"])}));
    }
    spec.maybe(random, 85, "rules", |r| {
        let rules: Vec<Value> = (0..r.number(1, 2)).map(|_| rule(r, action == "CUSTOM")).collect();
        json!(rules)
    });
    object(SECURITY, "AuthorizationPolicy", place(random), &format!("ap-{number}"), spec.done())
}

fn rule(random: &mut Random, custom: bool) -> Value {
    let mut out = Fields::default();
    out.maybe(random, if custom { 0 } else { 60 }, "from", |r| {
        let mut source = Fields::default();
        source.maybe(r, 50, "principals", |r| {
            r.one(&[json!(["cluster.local/ns/mesh-test/sa/sleep"]), json!(["*"]), json!(["*/sa/sleep", "td/ns/*"])])
        });
        source.maybe(r, 30, "namespaces", |_| json!(["mesh-test", "other*"]));
        source.maybe(r, 25, "ipBlocks", |_| json!(["10.244.0.0/16", "192.0.2.7"]));
        source.maybe(r, 15, "remoteIpBlocks", |_| json!(["198.51.100.0/24"]));
        source.maybe(r, 20, "notPrincipals", |_| json!(["cluster.local/ns/other/sa/web"]));
        source.maybe(r, 15, "requestPrincipals", |_| json!(["https://issuer.example/*"]));
        source.maybe(r, 15, "notNamespaces", |_| json!(["kube-system"]));
        source.maybe(r, 15, "serviceAccounts", |_| json!(["mesh-test/sleep"]));
        json!([{"source": source.done()}])
    });
    out.maybe(random, 70, "to", |r| {
        let mut operation = Fields::default();
        operation.maybe(r, 40, "hosts", |_| json!(["httpbin.org", "*.example"]));
        operation.maybe(r, 40, "ports", |r| r.one(&[json!(["8080"]), json!(["443", "9000"])]));
        operation.maybe(r, 40, "methods", |_| json!(["GET", "HEAD"]));
        operation.maybe(r, 40, "paths", |r| {
            r.one(&[json!(["/api/*", "*/admin", "/exact"]), json!(["/a/{*}/b", "/x/{**}"])])
        });
        operation.maybe(r, 20, "notPaths", |_| json!(["/secret*"]));
        operation.maybe(r, 15, "notMethods", |_| json!(["DELETE"]));
        operation.maybe(r, 15, "notPorts", |_| json!(["9100"]));
        json!([{"operation": operation.done()}])
    });
    out.maybe(random, 40, "when", |r| {
        json!([r.one(&[
            json!({"key": "connection.sni", "values": ["httpbin.org", "*.example"]}),
            json!({"key": "source.ip", "values": ["10.0.0.0/8"]}),
            json!({"key": "source.namespace", "notValues": ["other"]}),
            json!({"key": "source.principal", "values": ["cluster.local/ns/mesh-test/sa/sleep"]}),
            json!({"key": "destination.port", "values": ["443"]}),
            json!({"key": "destination.ip", "values": ["10.244.0.20"]}),
            json!({"key": "request.headers[x-lab]", "values": ["yes", "no*"]}),
            json!({"key": "request.auth.claims[groups]", "values": ["admins"]}),
            json!({"key": "request.auth.claims[a][b]", "values": ["c"]}),
            json!({"key": "remote.ip", "values": ["192.0.2.0/24"]}),
            json!({"key": "experimental.envoy.filters.network.mysql_proxy[db.table]", "values": ["[update]"]}),
        ])])
    });
    out.done()
}

fn peer_authentication(random: &mut Random, number: usize) -> Value {
    let mut spec = Fields::default();
    let modes = ["STRICT", "PERMISSIVE", "DISABLE", "UNSET"];
    spec.maybe(random, 80, "mtls", |r| json!({"mode": r.pick(&modes)}));
    if random.chance(50) {
        spec.set("selector", selector(random));
        spec.maybe(
            random,
            50,
            "portLevelMtls",
            |r| json!({"8080": {"mode": r.pick(&modes)}, "9000": {"mode": r.pick(&modes)}}),
        );
    }
    object(SECURITY, "PeerAuthentication", place(random), &format!("pa-{number}"), spec.done())
}

fn request_authentication(random: &mut Random) -> Value {
    let mut spec = Fields::default();
    spec.maybe(random, 60, "selector", selector);
    let mut rule = Fields::default();
    rule.set("issuer", json!("https://issuer.example"));
    rule.set("jwks", json!("{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\",\"kid\":\"k\",\"n\":\"xAE7eB6qugXyCAG3yhh7pkDkT65pHymX-P7KfIupjf59vsdo91bSP9C8H07pSAGQO1MV_xFj9VswgsCg4R6otmg5PV2He95lZdHtOcU5DXIg_pbhLdKXbi66GlVeK6ABZOUW3WYtnNHD-91gVuoeJT_DwtGGcp4ignkgXfkiEm4sw-4sfb4qdt5oLbyVpmW6x9cfa7vs2WTfURiCrBoUqgBo_-4WTiULmmHSGZHOjzwa8WtrtOQGsAFjIbno85jp6MnGGGZPYZbDAa_b3y5u-YpW7ypZrvD8BgtKVjgtQgZhLAGezMt0ua3DRrWnKqTZ0BJ_EyxOGuHJrLsn00fnMQ\"}]}"));
    rule.maybe(random, 40, "audiences", |_| json!(["aud"]));
    rule.maybe(random, 40, "fromHeaders", |_| json!([{"name": "x-jwt", "prefix": "Bearer "}]));
    rule.maybe(random, 30, "fromParams", |_| json!(["token"]));
    rule.maybe(random, 30, "forwardOriginalToken", |_| json!(true));
    rule.maybe(random, 30, "outputPayloadToHeader", |_| json!("x-payload"));
    rule.maybe(random, 30, "outputClaimToHeaders", |_| json!([{"header": "x-sub", "claim": "sub"}]));
    spec.set("jwtRules", json!([rule.done()]));
    object(SECURITY, "RequestAuthentication", place(random), "ra", spec.done())
}

fn telemetry(random: &mut Random, number: usize) -> Value {
    let mut spec = Fields::default();
    spec.maybe(random, 40, "selector", selector);
    spec.maybe(random, 80, "accessLogging", |r| {
        let mut log = Fields::default();
        log.maybe(
            r,
            70,
            "providers",
            |r| json!([{"name": r.pick(&["envoy", "file-json", "als", "otel-log", "file-text"])}]),
        );
        log.maybe(r, 25, "disabled", |r| json!(r.chance(60)));
        log.maybe(r, 30, "filter", |r| json!({"expression": r.pick(&["response.code >= 400", "connection.mtls"])}));
        log.maybe(r, 30, "match", |r| json!({"mode": r.pick(&["CLIENT", "SERVER", "CLIENT_AND_SERVER"])}));
        json!([log.done()])
    });
    spec.maybe(random, 35, "tracing", |r| {
        let mut tracing = Fields::default();
        tracing.maybe(r, 70, "providers", |r| json!([{"name": r.pick(&["zipkin", "otel-trace"])}]));
        tracing.maybe(r, 50, "randomSamplingPercentage", |_| json!(12.5));
        tracing.maybe(r, 30, "disableSpanReporting", |_| json!(true));
        tracing.maybe(r, 40, "customTags", |_| json!({"a": {"literal": {"value": "b"}}, "h": {"header": {"name": "x-h", "defaultValue": "d"}}, "e": {"environment": {"name": "POD", "defaultValue": "p"}}}));
        json!([tracing.done()])
    });
    let mut out = object("telemetry.istio.io", "Telemetry", place(random), &format!("t-{number}"), spec.done());
    out["apiVersion"] = json!("telemetry.istio.io/v1");
    out
}

fn envoy_filter(random: &mut Random, number: usize) -> Value {
    let context = random.pick(&["SIDECAR_OUTBOUND", "SIDECAR_INBOUND", "GATEWAY", "ANY"]);
    let lua = json!({"name": "envoy.filters.http.lua", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "defaultSourceCode": {"inlineString": "function envoy_on_request(h) end"}}});
    let manager = json!({"context": context, "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager", "subFilter": {"name": "envoy.filters.http.router"}}}}});
    let patch = random.one(&[
        json!({"applyTo": "HTTP_FILTER", "match": manager, "patch": {"operation": "INSERT_BEFORE", "value": lua}}),
        json!({"applyTo": "NETWORK_FILTER", "match": {"context": context, "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}},
            "patch": {"operation": "MERGE", "value": {"typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "stream_idle_timeout": "7s"}}}}),
        json!({"applyTo": "NETWORK_FILTER", "match": {"context": context, "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.tcp_proxy"}}}},
            "patch": {"operation": "MERGE", "value": {"typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "idle_timeout": "9s"}}}}),
        json!({"applyTo": "CLUSTER", "match": {"context": context, "cluster": {"service": "httpbin.org"}}, "patch": {"operation": "MERGE", "value": {"connect_timeout": "1.5s", "dns_lookup_family": "V4_PREFERRED"}}}),
        json!({"applyTo": "CLUSTER", "match": {"context": context, "cluster": {"portNumber": 443}}, "patch": {"operation": "MERGE", "value": {"per_connection_buffer_limit_bytes": 1024}}}),
        json!({"applyTo": "CLUSTER", "match": {"context": context}, "patch": {"operation": "ADD", "value": {"name": "added", "type": "STATIC", "connect_timeout": "1s"}}}),
        json!({"applyTo": "CLUSTER", "match": {"context": context, "cluster": {"name": "PassthroughCluster"}}, "patch": {"operation": "REMOVE"}}),
        json!({"applyTo": "LISTENER", "match": {"context": context, "listener": {"portNumber": 443}}, "patch": {"operation": "MERGE", "value": {"per_connection_buffer_limit_bytes": 2048}}}),
        json!({"applyTo": "VIRTUAL_HOST", "match": {"context": context, "routeConfiguration": {"vhost": {"name": "httpbin.org:80"}}}, "patch": {"operation": "MERGE", "value": {"request_headers_to_remove": ["x-z"]}}}),
        json!({"applyTo": "HTTP_ROUTE", "match": {"context": context, "routeConfiguration": {"vhost": {"route": {"action": "ROUTE"}}}}, "patch": {"operation": "MERGE", "value": {"route": {"timeout": "21s"}}}}),
        json!({"applyTo": "ROUTE_CONFIGURATION", "match": {"context": context}, "patch": {"operation": "MERGE", "value": {"response_headers_to_remove": ["x-r"]}}}),
        json!({"applyTo": "FILTER_CHAIN", "match": {"context": context, "listener": {"filterChain": {"sni": "httpbin.org"}}}, "patch": {"operation": "MERGE", "value": {"transport_socket_connect_timeout": "3s"}}}),
        json!({"applyTo": "FILTER_CHAIN", "match": {"context": context, "listener": {"filterChain": {"sni": "edition.cnn.com"}}}, "patch": {"operation": "REMOVE"}}),
    ]);
    let mut spec = Fields::default();
    spec.maybe(
        random,
        40,
        "workloadSelector",
        |r| json!({"labels": {"app": r.pick(&["sleep", "istio-egressgateway"])}}),
    );
    spec.maybe(random, 20, "priority", |r| json!(r.number(0, 10)));
    spec.set("configPatches", json!([patch]));
    let mut out = object(NETWORKING, "EnvoyFilter", place(random), &format!("ef-{number}"), spec.done());
    out["apiVersion"] = json!("networking.istio.io/v1alpha3");
    out
}

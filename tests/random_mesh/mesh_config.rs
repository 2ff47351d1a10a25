//! Mesh config: most often the lab's own, sometimes with one thing or several otherwise.

use super::{Fields, Random};
use serde_json::{Value, json};

fn providers() -> Value {
    json!([
        {"name": "file-json", "envoyFileAccessLog": {"path": "/dev/stdout", "logFormat": {"labels": {"code": "%RESPONSE_CODE%", "peer": "%DOWNSTREAM_PEER_URI_SAN%"}}}},
        {"name": "file-text", "envoyFileAccessLog": {"path": "/dev/stderr", "logFormat": {"text": "%PROTOCOL% %RESPONSE_FLAGS%"}}},
        {"name": "als", "envoyHttpAls": {"service": "als.istio-system.svc.cluster.local", "port": 9811}},
        {"name": "otel-log", "envoyOtelAls": {"service": "otel.istio-system.svc.cluster.local", "port": 4317}},
        {"name": "zipkin", "zipkin": {"service": "zipkin.istio-system.svc.cluster.local", "port": 9411}},
        {"name": "otel-trace", "opentelemetry": {"service": "otel.istio-system.svc.cluster.local", "port": 4317}},
        {"name": "ext-authz-http", "envoyExtAuthzHttp": {"service": "authz.istio-system.svc.cluster.local", "port": 8000, "includeRequestHeadersInCheck": ["x-a"], "headersToUpstreamOnAllow": ["x-b"]}},
        {"name": "ext-authz-grpc", "envoyExtAuthzGrpc": {"service": "authz.istio-system.svc.cluster.local", "port": 9000, "failOpen": true}},
    ])
}

pub fn mesh_config(random: &mut Random) -> Value {
    let mut out = Fields::default();
    out.set("rootNamespace", json!("istio-system"));
    out.set("trustDomain", json!("cluster.local"));
    out.maybe(random, 70, "accessLogFile", |_| json!("/dev/stdout"));
    out.maybe(
        random,
        80,
        "outboundTrafficPolicy",
        |r| json!({"mode": r.pick(&["REGISTRY_ONLY", "REGISTRY_ONLY", "ALLOW_ANY"])}),
    );
    out.maybe(random, 40, "extensionProviders", |_| providers());
    if random.chance(55) {
        return out.done();
    }
    let rare = 6;
    out.maybe(random, rare, "accessLogEncoding", |_| json!("JSON"));
    out.maybe(random, rare, "accessLogFormat", |_| json!("[%START_TIME%] %REQ(:PATH)% %UPSTREAM_CLUSTER%\n"));
    out.maybe(random, rare, "enableAutoMtls", |_| json!(false));
    out.maybe(random, rare, "trustDomainAliases", |_| json!(["old.domain", "older.domain"]));
    out.maybe(random, rare, "defaultServiceExportTo", |r| r.one(&[json!(["."]), json!(["*"]), json!(["mesh-test"])]));
    out.maybe(random, rare, "defaultVirtualServiceExportTo", |_| json!(["."]));
    out.maybe(random, rare, "defaultDestinationRuleExportTo", |_| json!(["."]));
    out.maybe(random, rare, "connectTimeout", |_| json!("3s"));
    out.maybe(random, rare, "protocolDetectionTimeout", |_| json!("5s"));
    out.maybe(random, rare, "dnsRefreshRate", |_| json!("30s"));
    out.maybe(random, rare, "tcpKeepalive", |_| json!({"time": "600s", "probes": 4}));
    out.maybe(random, rare, "localityLbSetting", |r| {
        r.one(&[
            json!({"enabled": false}),
            json!({"failover": [{"from": "eu", "to": "us"}]}),
            json!({"distribute": [{"from": "eu/eu-a/*", "to": {"eu/eu-b/*": 100}}]}),
        ])
    });
    out.maybe(random, rare, "h2UpgradePolicy", |_| json!("UPGRADE"));
    out.maybe(random, rare, "outboundClusterStatName", |_| json!("%SERVICE%_%SERVICE_PORT%_%SUBSET_NAME%"));
    out.maybe(random, rare, "inboundClusterStatName", |_| json!("%SERVICE_FQDN%_%SERVICE_PORT_NAME%_%TARGET_PORT%"));
    out.maybe(random, rare, "defaultHttpRetryPolicy", |r| {
        r.one(&[json!({"attempts": 1, "retryOn": "5xx"}), json!({"attempts": 0})])
    });
    out.maybe(
        random,
        rare,
        "pathNormalization",
        |r| json!({"normalization": r.pick(&["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"])}),
    );
    out.maybe(random, rare, "meshMTLS", |r| {
        r.one(&[json!({"minProtocolVersion": "TLSV1_3"}), json!({"cipherSuites": ["ECDHE-RSA-AES256-GCM-SHA384"]})])
    });
    out.maybe(random, rare, "tlsDefaults", |r| {
        r.one(&[
            json!({"minProtocolVersion": "TLSV1_3"}),
            json!({"ecdhCurves": ["P-256"], "cipherSuites": ["ECDHE-RSA-AES256-GCM-SHA384"]}),
        ])
    });
    out.maybe(random, rare, "defaultProviders", |r| {
        r.one(&[
            json!({"accessLogging": ["file-json"]}),
            json!({"accessLogging": ["als", "file-text"]}),
            json!({"tracing": ["zipkin"]}),
        ])
    });
    out.maybe(random, rare, "proxyHttpPort", |_| json!(15999));
    out.maybe(random, rare, "enableTracing", |_| json!(true));
    out.maybe(random, rare, "verifyCertificateAtClient", |r| json!(r.chance(50)));
    out.maybe(random, rare, "inboundTrafficPolicy", |r| json!({"mode": r.pick(&["PASSTHROUGH", "LOCALHOST"])}));
    out.maybe(random, rare, "disableEnvoyListenerLog", |_| json!(true));
    out.maybe(random, rare, "discoverySelectors", |_| json!([{"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["mesh-test", "istio-system", "default"]}]}]));
    out.maybe(
        random,
        rare,
        "serviceSettings",
        |_| json!([{"settings": {"clusterLocal": true}, "hosts": ["*.mesh-test.svc.cluster.local"]}]),
    );
    out.maybe(random, 3 * rare, "defaultConfig", |r| {
        let mut config = Fields::default();
        config.maybe(r, 25, "proxyMetadata", |_| json!({"ISTIO_META_DNS_CAPTURE": "true"}));
        config.maybe(
            r,
            20,
            "gatewayTopology",
            |r| json!({"numTrustedProxies": r.number(1, 3), "forwardClientCertDetails": "APPEND_FORWARD"}),
        );
        config.maybe(r, 20, "tracing", |_| json!({"sampling": 50, "zipkin": {"address": "zipkin.istio-system:9411"}}));
        config.maybe(r, 20, "proxyHeaders", |r| {
            r.one(&[
                json!({"server": {"disabled": true}, "envoyDebugHeaders": {"disabled": true}}),
                json!({"metadataExchangeHeaders": {"mode": "IN_MESH"}, "preserveHttp1HeaderCase": true}),
                json!({"forwardedClientCert": "SANITIZE", "xForwardedHost": {"enabled": true}}),
            ])
        });
        config.maybe(r, 15, "interceptionMode", |r| json!(r.pick(&["TPROXY", "NONE", "REDIRECT"])));
        config.maybe(r, 15, "terminationDrainDuration", |_| json!("7s"));
        config.maybe(r, 15, "privateKeyProvider", |_| json!({"cryptomb": {"pollDelay": "10ms"}}));
        config.done()
    });
    out.done()
}

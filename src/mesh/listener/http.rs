//! HTTP connection managers.

use super::Class;
use crate::mesh::duration::canonical;
use crate::mesh::json::{flag, into_map, put, text};
use crate::mesh::node::Node;
use crate::mesh::policy::{authorization, request_authentication};
use crate::mesh::protocol::Protocol;
use crate::mesh::sidecar::forward_proxy;
use crate::mesh::{metrics, telemetry, tracing};
use serde_json::{Map, Value, json};

/// What one connection manager needs to know.
#[derive(Debug, Clone)]
pub struct HttpChain {
    pub class: Class,
    pub protocol: Protocol,
    /// The name of its route configuration, unless `inline` holds one.
    pub route_config: String,
    pub inline: Value,
    /// Empty: after the listener.
    pub stat_prefix: String,
    pub use_remote_address: bool,
    /// Further fields of the connection manager.
    pub fields: Map<String, Value>,
    /// The host of a wildcard that is resolved on demand.
    pub dynamic_host: Option<String>,
}

/// What the proxy config says about headers that the proxy adds.
pub struct ProxyHeaders {
    pub server_name: String,
    pub pass_server_header: bool,
    pub forward_client_cert: String,
    pub attempt_count: bool,
    pub request_id: bool,
    pub debug: bool,
    pub forwarded_port: bool,
    pub forwarded_host: bool,
    pub client_cert_details: Value,
}

impl ProxyHeaders {
    pub fn read(node: &Node, class: Class) -> Self {
        let headers = &node.proxy_config()["proxyHeaders"];
        let disabled = |key: &str| flag(&headers[key]["disabled"]);
        let default_name = if class == Class::SidecarOutbound { "" } else { "istio-envoy" };
        let pass_server_header = disabled("server");
        Self {
            server_name: match text(&headers["server"]["value"]) {
                _ if pass_server_header => String::new(),
                "" => default_name.to_owned(),
                given => given.to_owned(),
            },
            pass_server_header,
            forward_client_cert: match text(&headers["forwardedClientCert"]) {
                "" | "UNDEFINED" => "APPEND_FORWARD".to_owned(),
                given => given.to_owned(),
            },
            attempt_count: !disabled("attemptCount"),
            request_id: !disabled("requestId"),
            debug: !disabled("envoyDebugHeaders"),
            forwarded_port: flag(&headers["xForwardedPort"]["enabled"]),
            forwarded_host: flag(&headers["xForwardedHost"]["enabled"]),
            client_cert_details: headers["setCurrentClientCertDetails"].clone(),
        }
    }

    /// The fields that follow from them in every connection manager.
    pub fn apply(&self, fields: &mut Map<String, Value>) {
        put(fields, "serverName", Value::from(self.server_name.as_str()));
        if self.pass_server_header {
            fields.insert("serverHeaderTransformation".to_owned(), Value::from("PASS_THROUGH"));
        }
        if !self.request_id {
            fields.insert("generateRequestId".to_owned(), json!(false));
        }
    }
}

/// The filter `envoy.filters.network.http_connection_manager` of a chain.
pub fn connection_manager(node: &Node, chain: &HttpChain, listener: &str) -> Value {
    let headers = ProxyHeaders::read(node, chain.class);
    let mut out = chain.fields.clone();
    out.insert(
        "@type".to_owned(),
        Value::from(
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        ),
    );
    if flag(&node.proxy_config()["proxyHeaders"]["preserveHttp1HeaderCase"]) {
        let options = crate::mesh::json::object_in(&mut out, "httpProtocolOptions");
        options.insert(
            "headerKeyFormat".to_owned(),
            json!({"statefulFormatter": {
                "name": "preserve_case",
                "typedConfig": {
                    "@type": "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig",
                },
            }}),
        );
    }
    put(&mut out, "accessLog", Value::Array(telemetry::connection_logs(node, chain.class)));
    let stat_prefix = match chain.stat_prefix.as_str() {
        "" => format!("outbound_{listener};"),
        given => given.to_owned(),
    };
    out.insert("statPrefix".to_owned(), Value::from(stat_prefix));
    put(&mut out, "appendXForwardedPort", json!(headers.forwarded_port));
    apply_path_normalization(node, &mut out);
    out.insert("useRemoteAddress".to_owned(), json!(chain.use_remote_address));
    out.insert("upgradeConfigs".to_owned(), json!([{"upgradeType": "websocket"}]));
    out.insert("streamIdleTimeout".to_owned(), Value::from("0s"));
    out.insert("proxy100Continue".to_owned(), json!(true));
    if let idle @ Value::String(_) = canonical(&Value::from(node.metadata("IDLE_TIMEOUT"))) {
        out.insert("commonHttpProtocolOptions".to_owned(), json!({"idleTimeout": idle}));
    }
    if chain.route_config.is_empty() {
        out.insert("routeConfig".to_owned(), chain.inline.clone());
    } else {
        out.insert(
            "rds".to_owned(),
            json!({
                "configSource": {"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"},
                "routeConfigName": chain.route_config,
            }),
        );
    }
    let tracing = tracing::of(node, chain.class);
    put(&mut out, "tracing", tracing.config);
    let mut request_id = into_map(json!({
        "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
    }));
    request_id.insert("useRequestIdForTraceSampling".to_owned(), json!(tracing.sample_by_request_id));
    out.insert("requestIdExtension".to_owned(), json!({"typedConfig": request_id}));
    out.insert("httpFilters".to_owned(), Value::Array(http_filters(node, chain, &headers)));
    json!({"name": "envoy.filters.network.http_connection_manager", "typedConfig": out})
}

fn apply_path_normalization(node: &Node, out: &mut Map<String, Value>) {
    let mode = text(&node.push.mesh.raw["pathNormalization"]["normalization"]);
    out.insert("normalizePath".to_owned(), json!(mode != "NONE"));
    put(out, "mergeSlashes", json!(matches!(mode, "MERGE_SLASHES" | "DECODE_AND_MERGE_SLASHES")));
    let escaped = if mode == "DECODE_AND_MERGE_SLASHES" { "UNESCAPE_AND_FORWARD" } else { "KEEP_UNCHANGED" };
    out.insert("pathWithEscapedSlashesAction".to_owned(), Value::from(escaped));
}

/// A filter that needs no configuration but its type.
fn plain(name: &str, kind: &str) -> Value {
    json!({
        "name": format!("envoy.filters.http.{name}"),
        "typedConfig": {"@type": format!("type.googleapis.com/envoy.extensions.filters.http.{kind}")},
    })
}

fn http_filters(node: &Node, chain: &HttpChain, headers: &ProxyHeaders) -> Vec<Value> {
    let mut filters = authorization::custom_http_filters(node, chain.class);
    filters.extend(request_authentication::http_filters(node, chain.class));
    filters.extend(authorization::http_filters(node, chain.class));
    if chain.protocol == Protocol::GrpcWeb {
        filters.push(plain("grpc_web", "grpc_web.v3.GrpcWeb"));
    }
    filters.push(json!({
        "name": "envoy.filters.http.grpc_stats",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
            "emitFilterState": true,
            "statsForAllMethods": false,
        },
    }));
    filters.push(plain("fault", "fault.v3.HTTPFault"));
    filters.push(plain("cors", "cors.v3.Cors"));
    filters.extend(metrics::filters(node, chain.class));
    if let Some(host) = &chain.dynamic_host {
        filters.push(forward_proxy::http_filter(host));
    }
    let mut router = plain("router", "router.v3.Router");
    if !headers.debug {
        router["typedConfig"]["suppressEnvoyHeaders"] = json!(true);
    }
    filters.push(router);
    filters
}

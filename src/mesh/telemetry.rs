//! Access logging as Telemetry objects and the mesh config ask for it.

use super::access_log::{
    file, from_mesh_config, json_format, no_route_filter, of_connections, of_listeners, text_format,
};
use super::json::{flag, into_map, list, present, put, sorted_fields, strings, text, unsigned};
use super::listener::Class;
use super::node::Node;
use super::object::{Object, sort};
use super::policy::external::lookup;
use super::policy::selects;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The Telemetry objects that apply to a workload: mesh-wide, namespace-wide, then by selector.
pub fn applicable(objects: &[Object], root: &str, namespace: &str, workload: &BTreeMap<String, String>) -> Vec<Object> {
    let mut sorted = objects.to_vec();
    sort(&mut sorted);
    let plain = |o: &Object| {
        let spec = o.spec();
        spec["selector"]["matchLabels"].as_object().is_none_or(Map::is_empty)
            && list(&spec["targetRefs"]).is_empty()
            && !present(&spec["targetRef"])
    };
    let wide = |place: &str| sorted.iter().find(|o| o.namespace == place && plain(o)).cloned();
    let mut out: Vec<Object> = wide(root).into_iter().collect();
    if namespace != root {
        out.extend(wide(namespace));
    }
    out.extend(sorted.iter().filter(|o| o.namespace == namespace && !plain(o) && selects(o, workload)).cloned());
    out
}

/// A log that a provider writes.
#[derive(Debug, Clone, Default)]
struct Log {
    disabled: bool,
    /// A CEL expression, or null.
    filter: Value,
}

/// The logs of TCP proxies and HTTP connection managers.
pub fn connection_logs(node: &Node, class: Class) -> Vec<Value> {
    match logs(node, class) {
        None => of_connections(&node.push.mesh),
        Some(logs) => write(logs, None),
    }
}

/// The logs of listeners: only connections that no chain took.
pub fn listener_logs(node: &Node, class: Class) -> Vec<Value> {
    if flag(&node.push.mesh.raw["disableEnvoyListenerLog"]) {
        return Vec::new();
    }
    match logs(node, class) {
        None => of_listeners(&node.push.mesh),
        Some(logs) => write(logs, Some(no_route_filter())),
    }
}

fn write(logs: Vec<(Value, Log)>, base: Option<Value>) -> Vec<Value> {
    logs.into_iter()
        .filter(|(_, log)| !log.disabled)
        .map(|(written, log)| {
            let mut filters: Vec<Value> = base.clone().into_iter().collect();
            if !log.filter.is_null() {
                let mut expression = into_map(json!({
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                }));
                put(&mut expression, "expression", log.filter["expression"].clone());
                filters.push(json!({"extensionFilter": {
                    "name": "envoy.access_loggers.extension_filters.cel",
                    "typedConfig": expression,
                }}));
            }
            let mut written = into_map(written);
            match filters.len() {
                0 => {}
                1 => {
                    written.insert("filter".to_owned(), filters.remove(0));
                }
                _ => {
                    written.insert("filter".to_owned(), json!({"andFilter": {"filters": filters}}));
                }
            }
            Value::Object(written)
        })
        .collect()
}

/// The logs by provider, in order of name; `None` when only `accessLogFile` decides. An empty list means that
/// Telemetry is there but no provider of it is: the mesh config decides then too.
fn logs(node: &Node, class: Class) -> Option<Vec<(Value, Log)>> {
    let defaults = strings(&node.push.mesh.raw["defaultProviders"]["accessLogging"]);
    let layers: Vec<&[Value]> =
        node.telemetry.iter().map(|t| list(&t.spec()["accessLogging"])).filter(|l| !l.is_empty()).collect();
    if layers.is_empty() && defaults.is_empty() {
        return None;
    }
    let mode = if class == Class::SidecarInbound { "SERVER" } else { "CLIENT" };
    let mut found: Vec<(String, Value, Log)> = merged(&layers, &defaults, mode)
        .into_iter()
        .filter_map(|(name, log)| {
            let provider = provider(node, &name)?;
            Some((text(&provider["name"]).to_owned(), access_log(node, &provider)?, log))
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    if found.is_empty() {
        return None;
    }
    Some(found.into_iter().map(|(_, written, log)| (written, log)).collect())
}

fn matches_mode(logging: &Value, mode: &str) -> bool {
    let found = &logging["match"];
    !present(found) || matches!(text(&found["mode"]), "" | "CLIENT_AND_SERVER") || text(&found["mode"]) == mode
}

fn names(logging: &Value) -> Vec<String> {
    list(&logging["providers"]).iter().map(|p| text(&p["name"]).to_owned()).collect()
}

/// Providers and how they log: later layers decide which are in use.
fn merged(layers: &[&[Value]], defaults: &[String], mode: &str) -> BTreeMap<String, Log> {
    if layers.is_empty() {
        return defaults.iter().map(|d| (d.clone(), Log::default())).collect();
    }
    let mut in_use: BTreeSet<String> = defaults.iter().cloned().collect();
    let mut filters: BTreeMap<String, Value> = BTreeMap::new();
    for layer in layers {
        let mut of_layer = BTreeSet::new();
        for logging in layer.iter().filter(|l| matches_mode(l, mode)) {
            for name in names(logging) {
                filters.insert(name.clone(), logging["filter"].clone());
                of_layer.insert(name);
            }
        }
        if !of_layer.is_empty() {
            in_use = of_layer;
        }
    }
    let mut parents: Vec<String> = defaults.to_vec();
    let mut out = BTreeMap::new();
    for logging in layers.iter().copied().flatten() {
        let own = names(logging);
        if !own.is_empty() {
            parents = own;
        }
        for name in parents.iter().filter(|n| in_use.contains(*n)) {
            if !matches_mode(logging, mode) {
                continue;
            }
            let log = if flag(&logging["disabled"]) {
                Log { disabled: true, filter: Value::Null }
            } else {
                Log { disabled: false, filter: filters.get(name).cloned().unwrap_or_default() }
            };
            out.insert(name.clone(), log);
        }
    }
    out
}

/// A provider of the mesh config, or the built-in `envoy` that logs to standard output.
pub fn provider(node: &Node, name: &str) -> Option<Value> {
    let given = list(&node.push.mesh.raw["extensionProviders"]);
    if let Some(found) = given.iter().find(|p| text(&p["name"]).eq_ignore_ascii_case(name)) {
        return Some(found.clone());
    }
    name.eq_ignore_ascii_case("envoy").then(|| json!({"name": "envoy", "envoyFileAccessLog": {"path": "/dev/stdout"}}))
}

fn access_log(node: &Node, provider: &Value) -> Option<Value> {
    let config = &provider["envoyFileAccessLog"];
    if present(config) {
        let builtin =
            text(&provider["name"]) == "envoy" && !present(&config["logFormat"]) && !flag(&config["omitEmptyValues"]);
        if builtin {
            return Some(from_mesh_config(&node.push.mesh, text(&config["path"])));
        }
        return Some(file_log(config));
    }
    for (field, kind) in [("envoyHttpAls", "http"), ("envoyTcpAls", "tcp")] {
        if present(&provider[field]) {
            return grpc_log(node, &provider[field], kind);
        }
    }
    if present(&provider["envoyOtelAls"]) {
        return open_telemetry_log(node, &provider["envoyOtelAls"]);
    }
    None
}

fn file_log(config: &Value) -> Value {
    let path = match text(&config["path"]) {
        "" => "/dev/stdout",
        given => given,
    };
    let mut format = Map::new();
    let given = &config["logFormat"];
    if present(&given["labels"]) {
        let labels = &given["labels"];
        let labels = if labels.as_object().is_some_and(|l| !l.is_empty()) { labels.clone() } else { json_format() };
        format.insert("jsonFormat".to_owned(), labels);
        format.insert("jsonFormatOptions".to_owned(), json!({}));
    } else {
        format.insert("textFormatSource".to_owned(), json!({"inlineString": text_format(text(&given["text"]))}));
    }
    put(&mut format, "omitEmptyValues", json!(flag(&config["omitEmptyValues"])));
    file(path, format)
}

fn common(node: &Node, config: &Value, name: &str, objects: &[&str]) -> Option<Map<String, Value>> {
    let (host, cluster) = lookup(node, text(&config["service"]), unsigned(&config["port"]))?;
    let log_name = match text(&config["logName"]) {
        "" => name,
        given => given,
    };
    let given = strings(&config["filterStateObjectsToLog"]);
    let objects = if given.is_empty() { objects.iter().map(|o| (*o).to_owned()).collect() } else { given };
    Some(into_map(json!({
        "logName": log_name,
        "grpcService": {"envoyGrpc": {"clusterName": cluster, "authority": host}},
        "transportApiVersion": "V3",
        "filterStateObjectsToLog": objects,
    })))
}

fn grpc_log(node: &Node, config: &Value, kind: &str) -> Option<Value> {
    let (friendly, name, message) = match kind {
        "http" => ("http_envoy_accesslog", "envoy.access_loggers.http_grpc", "HttpGrpcAccessLogConfig"),
        _ => ("tcp_envoy_accesslog", "envoy.tcp_grpc_access_log", "TcpGrpcAccessLogConfig"),
    };
    let mut out = into_map(json!({
        "@type": format!("type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.{message}"),
        "commonConfig": common(node, config, friendly, &["upstream_peer", "downstream_peer"])?,
    }));
    if kind == "http" {
        for field in
            ["additionalRequestHeadersToLog", "additionalResponseHeadersToLog", "additionalResponseTrailersToLog"]
        {
            put(&mut out, field, json!(strings(&config[field])));
        }
    }
    Some(json!({"name": name, "typedConfig": out}))
}

const WASM_OBJECTS: &[&str] = &[
    "upstream_peer",
    "downstream_peer",
    "wasm.upstream_peer",
    "wasm.upstream_peer_id",
    "wasm.downstream_peer",
    "wasm.downstream_peer_id",
];

fn open_telemetry_log(node: &Node, config: &Value) -> Option<Value> {
    let format = match text(&config["logFormat"]["text"]) {
        "" => text_format(""),
        given => given.to_owned(),
    };
    let labels = &config["logFormat"]["labels"];
    let mut out = into_map(json!({
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        "commonConfig": common(node, config, "otel_envoy_accesslog", WASM_OBJECTS)?,
        "disableBuiltinLabels": true,
        "body": {"stringValue": format},
    }));
    let attributes: Vec<Value> = sorted_fields(labels)
        .into_iter()
        .map(|(key, value)| json!({"key": key, "value": {"stringValue": text(value)}}))
        .collect();
    if !attributes.is_empty() {
        out.insert("attributes".to_owned(), json!({"values": attributes}));
    }
    Some(json!({"name": "envoy.access_loggers.open_telemetry", "typedConfig": out}))
}

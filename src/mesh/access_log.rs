//! Access logs from the mesh config.

use super::json::{fields, message, put, text};
use super::mesh_config::MeshConfig;
use serde_json::{Map, Value, json};

const TEXT_FORMAT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
    "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ",
    "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% ",
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% ",
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n",
);

const JSON_FORMAT: &[(&str, &str)] = &[
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
];

/// A text format as Istio writes it: the default when empty, always ended by a newline.
pub fn text_format(given: &str) -> String {
    match given {
        "" => TEXT_FORMAT.to_owned(),
        given if given.ends_with('\n') => given.to_owned(),
        given => format!("{given}\n"),
    }
}

/// The default JSON format.
pub fn json_format() -> Value {
    Value::Object(JSON_FORMAT.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect())
}

/// A file log as Envoy configures it. `format` is `{textFormatSource}` or `{jsonFormat}`.
pub fn file(path: &str, mut format: Map<String, Value>) -> Value {
    let inline = text(&format.get("textFormatSource").unwrap_or(&Value::Null)["inlineString"]).to_owned();
    let in_json =
        format.get("jsonFormat").is_some_and(|f| fields(f).any(|(_, v)| text(v).contains("%REQ_WITHOUT_QUERY")));
    if inline.contains("%REQ_WITHOUT_QUERY") || in_json {
        format.insert(
            "formatters".to_owned(),
            json!([{
                "name": "envoy.formatter.req_without_query",
                "typedConfig": {"@type": "type.googleapis.com/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery"},
            }]),
        );
    }
    message! {
        "name": "envoy.access_loggers.file",
        "typedConfig": message! {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "logFormat": format,
        },
    }
}

/// The log that `accessLogFile`, `accessLogFormat` and `accessLogEncoding` describe, to a path.
pub fn from_mesh_config(mesh: &MeshConfig, path: &str) -> Value {
    let given = text(&mesh.raw["accessLogFormat"]);
    let mut format = Map::new();
    if text(&mesh.raw["accessLogEncoding"]) == "JSON" {
        let parsed = serde_json::from_str::<Value>(given).ok().filter(Value::is_object);
        format.insert("jsonFormat".to_owned(), parsed.unwrap_or_else(json_format));
        format.insert("jsonFormatOptions".to_owned(), json!({"sortProperties": false}));
        if let Some(options) = format.get_mut("jsonFormatOptions").and_then(Value::as_object_mut) {
            // A proto3 default: present as a message, empty inside.
            options.clear();
        }
    } else {
        format.insert("textFormatSource".to_owned(), message! {"inlineString": text_format(given)});
    }
    file(path, format)
}

/// Limits a listener's log to connections that no chain takes.
pub fn no_route_filter() -> Value {
    json!({"responseFlagFilter": {"flags": ["NR"]}})
}

/// The logs of HTTP connection managers and TCP proxies.
pub fn of_connections(mesh: &MeshConfig) -> Vec<Value> {
    match text(&mesh.raw["accessLogFile"]) {
        "" => Vec::new(),
        path => vec![from_mesh_config(mesh, path)],
    }
}

/// The logs of listeners.
pub fn of_listeners(mesh: &MeshConfig) -> Vec<Value> {
    if super::json::flag(&mesh.raw["disableEnvoyListenerLog"]) {
        return Vec::new();
    }
    let mut logs = of_connections(mesh);
    for log in &mut logs {
        if let Some(map) = log.as_object_mut() {
            put(map, "filter", no_route_filter());
        }
    }
    logs
}

//! The typed view of dumps and logs: both spellings of proto fields, and each kind of log format.

#![allow(clippy::unwrap_used)]

use egress_scn::envoy::{Dump, LogFormats, TlsMode};
use serde_json::{Map, Value, json};

fn case(name: &str, proxy: &str) -> Value {
    let path = format!("{}/tests/expect/cases/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let case: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    case[proxy].clone()
}

/// As the admin endpoint writes it: proto names, map keys as they are.
fn snake(value: &Value) -> Value {
    let name = |key: &str| {
        let lower =
            |c: char| if c.is_ascii_uppercase() { format!("_{}", c.to_ascii_lowercase()) } else { c.to_string() };
        if key.starts_with('@') { key.to_string() } else { key.chars().map(lower).collect() }
    };
    match value {
        Value::Object(object) => Value::Object(
            object
                .iter()
                .map(|(key, value)| match key.as_str() {
                    "filterMetadata" | "jsonFormat" => (name(key), value.clone()),
                    "match" if value.get("tlsMode").is_some() => (name(key), value.clone()),
                    _ => (name(key), snake(value)),
                })
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => items.iter().map(snake).collect(),
        other => other.clone(),
    }
}

#[test]
fn both_spellings_give_the_same_view() {
    for name in ["seed", "shared443", "tls-orig-gw", "http-gw"] {
        for proxy in ["sleep", "egressgateway"] {
            let camel = case(name, proxy);
            let raw = snake(&camel);
            assert!(raw.to_string().contains("\"dynamic_listeners\""));
            let (one, other) = (Dump::read(&camel), Dump::read(&raw));
            assert!(!one.listeners.is_empty());
            assert_eq!(format!("{:?}", one.listeners), format!("{:?}", other.listeners), "{name} {proxy}");
            assert_eq!(format!("{:?}", one.clusters), format!("{:?}", other.clusters), "{name} {proxy}");
            assert_eq!(format!("{:?}", one.routes), format!("{:?}", other.routes), "{name} {proxy}");
            assert_eq!(one.endpoints, other.endpoints, "{name} {proxy}");
            assert_eq!(one.is_sidecar, other.is_sidecar);
            assert_eq!(one.is_sidecar, proxy == "sleep");
        }
    }
}

#[test]
fn chains_clusters_and_routes_of_the_seed() {
    let gateway = Dump::read(&case("seed", "egressgateway"));
    let chain = &gateway.listeners_on(15443).next().unwrap().chains[0];
    assert_eq!(
        (chain.tls.mode, chain.mode(), chain.tls.require_client_certificate),
        (TlsMode::IstioMutual, "ISTIO_MUTUAL", true)
    );
    assert_eq!(chain.tls.alpn, ["istio-peer-exchange", "h2", "http/1.1"]);
    assert_eq!(chain.target.clusters(), ["outbound|443||edition.cnn.com"]);
    let sleep = Dump::read(&case("seed", "sleep"));
    let host = sleep.route("80").unwrap().host_for("example.org").unwrap();
    assert_eq!(host.name, "block_all");
    let default = sleep.listeners_on(443).find(|listener| listener.name == "0.0.0.0_443").unwrap();
    assert_eq!(default.default_chain.as_ref().unwrap().target.clusters(), ["BlackHoleCluster"]);
    let origin = default.chains[0].origin.as_deref().unwrap();
    assert!(origin.ends_with("/virtual-service/direct-cnn-through-egress-gateway"), "{origin}");
}

fn formats(log_format: Value) -> LogFormats {
    let kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
    LogFormats::read(&json!({"access_log": [{"typed_config": {"@type": kind, "log_format": log_format}}]}))
}

#[test]
fn json_lines_are_read_by_the_formats_keys() {
    let formats = formats(json!({"json_format": {
        "code": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "to": {"cluster": "%UPSTREAM_CLUSTER%", "from": "%UPSTREAM_LOCAL_ADDRESS%"},
        "mixed": "%REQ(:METHOD)% %REQ(:AUTHORITY)%",
        "peer": "%DOWNSTREAM_PEER_URI_SAN%",
        "note": "fixed",
    }}));
    assert!(formats.writes() && formats.has("DOWNSTREAM_PEER_URI_SAN") && !formats.has("ROUTE_NAME"));
    let line = r#"{"peer":null,"code":503,"flags":"URX,UF","mixed":"GET a.example","note":"fixed",
        "to":{"cluster":"outbound|443||a.example;","from":"10.0.0.1:5"}}"#;
    let entry = formats.parse(line).unwrap();
    assert_eq!((entry.code(), entry.cluster()), (503, Some("outbound|443||a.example")));
    assert_eq!(entry.flags().into_iter().collect::<Vec<_>>(), ["UF", "URX"]);
    assert_eq!((entry.authority(), entry.upstream_local().as_deref()), (Some("a.example"), Some("10.0.0.1:5")));
    assert_eq!(entry.peer(), None);
    assert!(formats.parse("[warning] not JSON").is_none());
}

#[test]
fn addresses_may_be_logged_in_two_fields() {
    let format = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT% %RESPONSE_FLAGS%\n";
    let formats = formats(json!({"text_format_source": {"inline_string": format}}));
    let entry = formats.parse("10.0.0.9 41234 -").unwrap();
    assert_eq!(entry.downstream().as_deref(), Some("10.0.0.9:41234"));
    assert!(entry.flags().is_empty());
}

#[test]
fn a_logger_with_a_filter_writes_no_ordinary_traffic() {
    let kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
    let filtered = json!({"access_log": [{"filter": {"response_flag_filter": {"flags": ["NR"]}}, "typed_config": {"@type": kind}}]});
    assert!(!LogFormats::read(&filtered).writes());
    let kind = "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig";
    let remote = LogFormats::read(&json!({"access_log": [{"typed_config": {"@type": kind}}]}));
    assert!(!remote.writes() && remote.is_remote());
}

#[test]
fn every_recorded_line_is_read() {
    let default = LogFormats::istio_default();
    let folder = format!("{}/tests/expect/runs", env!("CARGO_MANIFEST_DIR"));
    let mut read = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| line.starts_with('[') && line.len() > 20) {
            let entry = default.parse(line).unwrap_or_else(|| panic!("{line}"));
            assert!(entry.downstream().is_some(), "{line}");
            read += 1;
        }
    }
    assert!(read > 50, "{read}");
}

#[test]
fn hostile_dumps_and_lines_are_read_without_a_panic() {
    for dump in
        [json!(null), json!([]), json!({"configs": [{"@type": 3, "dynamic_listeners": [null, {"active_state": []}]}]})]
    {
        assert!(Dump::read(&dump).listeners.is_empty());
    }
    let unclosed = formats(json!({"text_format_source": {"inline_string": "%REQ(:PATH% %START_TIME(% 100% %"}}));
    let _ = unclosed.parse("anything");
    let long = format!("{} end", "a \"b\" ".repeat(20_000));
    assert!(LogFormats::istio_default().parse(&long).is_none());
}

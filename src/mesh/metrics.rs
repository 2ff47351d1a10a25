//! Statistics filters, for metrics providers that the mesh config or a Telemetry names.

use super::duration::canonical;
use super::json::{fields, flag, list, present, put, strings, text};
use super::listener::Class;
use super::node::Node;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The filters of a connection manager or a network chain, by provider.
pub fn filters(node: &Node, class: Class) -> Vec<Value> {
    let merged = merge(node);
    merged
        .iter()
        .filter(|(name, _)| is_prometheus(node, name))
        .filter_map(|(_, config)| filter(config, class))
        .collect()
}

/// The providers of the mesh config, or the built-in `prometheus`.
fn is_prometheus(node: &Node, name: &str) -> bool {
    let given = list(&node.push.mesh.raw["extensionProviders"]);
    match given.iter().find(|p| text(&p["name"]).eq_ignore_ascii_case(name)) {
        Some(provider) => present(&provider["prometheus"]),
        None => name.eq_ignore_ascii_case("prometheus"),
    }
}

#[derive(Debug, Default)]
struct Override {
    disabled: bool,
    tags: BTreeMap<String, Value>,
}

#[derive(Debug, Default)]
struct Side {
    disabled: bool,
    overrides: BTreeMap<String, Override>,
}

#[derive(Debug, Default)]
struct Config {
    client: Side,
    server: Side,
    interval: Value,
}

const METRICS: &[(&str, &str)] = &[
    ("GRPC_REQUEST_MESSAGES", "request_messages_total"),
    ("GRPC_RESPONSE_MESSAGES", "response_messages_total"),
    ("REQUEST_COUNT", "requests_total"),
    ("REQUEST_DURATION", "request_duration_milliseconds"),
    ("REQUEST_SIZE", "request_bytes"),
    ("RESPONSE_SIZE", "response_bytes"),
    ("TCP_CLOSED_CONNECTIONS", "tcp_connections_closed_total"),
    ("TCP_OPENED_CONNECTIONS", "tcp_connections_opened_total"),
    ("TCP_RECEIVED_BYTES", "tcp_received_bytes_total"),
    ("TCP_SENT_BYTES", "tcp_sent_bytes_total"),
];

fn names(metrics: &Value) -> Vec<String> {
    list(&metrics["providers"]).iter().map(|p| text(&p["name"]).to_owned()).collect()
}

/// What all applicable `metrics` together say, by provider.
fn merge(node: &Node) -> BTreeMap<String, Config> {
    let defaults = strings(&node.push.mesh.raw["defaultProviders"]["metrics"]);
    let all: Vec<&Value> = node.telemetry.iter().flat_map(|t| list(&t.spec()["metrics"])).collect();
    if all.is_empty() {
        return defaults.into_iter().map(|d| (d, Config::default())).collect();
    }
    let last = all.iter().map(|m| names(m)).rfind(|n| !n.is_empty()).unwrap_or_else(|| defaults.clone());
    let in_use: BTreeSet<String> = last.into_iter().collect();
    let mut parents = defaults;
    let mut out: BTreeMap<String, Config> = BTreeMap::new();
    for metrics in all {
        let own = names(metrics);
        if !own.is_empty() {
            parents = own;
        }
        for name in parents.iter().filter(|n| in_use.contains(*n)) {
            let config = out.entry(name.clone()).or_default();
            if present(&metrics["reportingInterval"]) {
                config.interval = canonical(&metrics["reportingInterval"]);
            }
            for one in list(&metrics["overrides"]) {
                apply(config, one);
            }
        }
    }
    out
}

fn apply(config: &mut Config, given: &Value) {
    let found = &given["match"];
    let metric = text(&found["metric"]);
    let custom = text(&found["customMetric"]);
    let all = custom.is_empty() && matches!(metric, "" | "ALL_METRICS");
    let mode = text(&found["mode"]);
    let sides = [("CLIENT", &mut config.client), ("SERVER", &mut config.server)];
    for (_, side) in sides.into_iter().filter(|(name, _)| !matches!(mode, "CLIENT" | "SERVER") || mode == *name) {
        if all && flag(&given["disabled"]) {
            side.disabled = true;
            continue;
        }
        side.disabled = false;
        let names: Vec<&str> = match (custom, all) {
            ("", true) => METRICS.iter().map(|(name, _)| *name).collect(),
            ("", false) => vec![metric],
            (custom, _) => vec![custom],
        };
        for name in names {
            let entry = side.overrides.entry(name.to_owned()).or_default();
            if present(&given["disabled"]) {
                entry.disabled = flag(&given["disabled"]);
            }
            entry.tags.extend(fields(&given["tagOverrides"]).map(|(k, v)| (k.clone(), v.clone())));
        }
    }
}

fn filter(config: &Config, class: Class) -> Option<Value> {
    let side = if class == Class::SidecarInbound { &config.server } else { &config.client };
    if side.disabled {
        return None;
    }
    let mut out = Map::new();
    out.insert("@type".to_owned(), Value::from("type.googleapis.com/stats.PluginConfig"));
    put(&mut out, "disableHostHeaderFallback", json!(class != Class::SidecarOutbound));
    put(&mut out, "tcpReportingDuration", config.interval.clone());
    let metrics: Vec<Value> = side.overrides.iter().map(|(name, given)| metric(name, given)).collect();
    put(&mut out, "metrics", Value::Array(metrics));
    Some(json!({"name": "istio.stats", "typedConfig": out}))
}

fn metric(name: &str, given: &Override) -> Value {
    let known = METRICS.iter().find(|(metric, _)| *metric == name).map_or(name, |(_, prometheus)| prometheus);
    let mut out = Map::new();
    out.insert("name".to_owned(), Value::from(known));
    put(&mut out, "drop", json!(given.disabled));
    let (mut dimensions, mut removed) = (Map::new(), Vec::new());
    for (tag, value) in &given.tags {
        if text(&value["operation"]) == "REMOVE" {
            removed.push(Value::from(tag.as_str()));
        } else {
            dimensions.insert(tag.clone(), Value::from(text(&value["value"])));
        }
    }
    if !dimensions.is_empty() {
        out.insert("dimensions".to_owned(), Value::Object(dimensions));
    }
    put(&mut out, "tagsToRemove", Value::Array(removed));
    Value::Object(out)
}

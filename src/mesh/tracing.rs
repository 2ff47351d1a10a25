//! Tracing of connection managers: sampling, tags, and the provider that a Telemetry names.

use super::duration::canonical;
use super::json::{flag, float, into_map, list, number, present, put, sorted_fields, strings, text, unsigned};
use super::listener::Class;
use super::node::Node;
use super::policy::external::lookup;
use super::registry::kubernetes::CLUSTER;
use serde_json::{Map, Value, json};

/// What applies to a connection manager, and whether request IDs decide about sampling.
pub struct Tracing {
    /// Null when there is none.
    pub config: Value,
    pub sample_by_request_id: bool,
}

/// What Telemetry objects and default providers say for one side.
struct Spec {
    provider: String,
    disabled: bool,
    sampling: Option<f64>,
    tags: Value,
    sample_by_request_id: bool,
    istio_tags: bool,
    no_propagation: bool,
}

/// The tracing of a connection manager.
pub fn of(node: &Node, class: Class) -> Tracing {
    let none = |sample_by_request_id| Tracing { config: Value::Null, sample_by_request_id };
    let Some(spec) = spec(node, class) else {
        if node.push.mesh.raw["enableTracing"] == json!(false) {
            return none(true);
        }
        let config = &node.proxy_config()["tracing"];
        let istio_tags = config["enableIstioTags"].as_bool().unwrap_or(true);
        let mut out = sampled(default_sampling(node));
        put(&mut out, "customTags", tags(node, istio_tags, &config["customTags"]));
        put(&mut out, "maxPathTagLength", Value::from(unsigned(&config["maxPathTagLength"])));
        return Tracing { config: Value::Object(out), sample_by_request_id: true };
    };
    if spec.disabled {
        return none(true);
    }
    let Some(provider) = super::telemetry::provider(node, &spec.provider) else { return none(true) };
    let Some((name, config)) = provider_config(node, &provider) else { return none(true) };
    let mut out = sampled(spec.sampling.unwrap_or_else(|| default_sampling(node)));
    out.insert("provider".to_owned(), json!({"name": name, "typedConfig": config}));
    let own = if spec.tags.is_null() { &node.proxy_config()["tracing"]["customTags"] } else { &spec.tags };
    put(&mut out, "customTags", tags(node, spec.istio_tags, own));
    let kind = ["zipkin", "opentelemetry", "datadog"].iter().find(|k| present(&provider[**k])).copied().unwrap_or("");
    let length = match unsigned(&provider[kind]["maxTagLength"]) {
        0 => unsigned(&node.proxy_config()["tracing"]["maxPathTagLength"]),
        given => given,
    };
    put(&mut out, "maxPathTagLength", Value::from(length));
    put(&mut out, "noContextPropagation", json!(spec.no_propagation));
    Tracing { config: Value::Object(out), sample_by_request_id: spec.sample_by_request_id }
}

/// `None` when only the proxy config decides.
fn spec(node: &Node, class: Class) -> Option<Spec> {
    let defaults = strings(&node.push.mesh.raw["defaultProviders"]["tracing"]);
    let layers: Vec<&Value> = node.telemetry.iter().flat_map(|t| list(&t.spec()["tracing"])).collect();
    if layers.is_empty() && defaults.is_empty() {
        return None;
    }
    let side = if class == Class::SidecarInbound { "SERVER" } else { "CLIENT" };
    let mut out = Spec {
        provider: defaults.first().cloned().unwrap_or_default(),
        disabled: false,
        sampling: None,
        tags: Value::Null,
        sample_by_request_id: true,
        istio_tags: true,
        no_propagation: false,
    };
    for layer in layers {
        let mode = text(&layer["match"]["mode"]);
        if matches!(mode, "CLIENT" | "SERVER") && mode != side {
            continue;
        }
        if let Some(name) = list(&layer["providers"]).first() {
            out.provider = text(&name["name"]).to_owned();
        }
        if let Some(disabled) = layer["disableSpanReporting"].as_bool() {
            out.disabled = disabled;
        }
        if present(&layer["customTags"]) {
            out.tags = layer["customTags"].clone();
        }
        if present(&layer["randomSamplingPercentage"]) {
            out.sampling = Some(float(&layer["randomSamplingPercentage"]));
        }
        if let Some(by_id) = layer["useRequestIdForTraceSampling"].as_bool() {
            out.sample_by_request_id = by_id;
        }
        if let Some(with) = layer["enableIstioTags"].as_bool() {
            out.istio_tags = with;
        }
        if let Some(without) = layer["disableContextPropagation"].as_bool() {
            out.no_propagation = without;
        }
    }
    out.disabled |= super::telemetry::provider(node, &out.provider).is_none();
    Some(out)
}

fn default_sampling(node: &Node) -> f64 {
    match float(&node.proxy_config()["tracing"]["sampling"]) {
        0.0 => 1.0,
        given if given > 100.0 => 1.0,
        given => given,
    }
}

fn sampled(percent: f64) -> Map<String, Value> {
    let value = |percent: f64| {
        let mut out = Map::new();
        put(&mut out, "value", number(percent));
        out
    };
    into_map(json!({
        "clientSampling": value(100.0),
        "randomSampling": value(percent),
        "overallSampling": value(100.0),
    }))
}

fn tags(node: &Node, istio: bool, own: &Value) -> Value {
    let mut all = if istio { istio_tags(node) } else { Vec::new() };
    for (tag, given) in sorted_fields(own) {
        let mut out = Map::new();
        out.insert("tag".to_owned(), Value::from(tag.as_str()));
        let named = |value: &Value| {
            let mut named = Map::new();
            put(&mut named, "name", value["name"].clone());
            put(&mut named, "defaultValue", value["defaultValue"].clone());
            Value::Object(named)
        };
        if present(&given["literal"]) {
            out.insert("literal".to_owned(), json!({"value": text(&given["literal"]["value"])}));
        } else if present(&given["header"]) {
            out.insert("requestHeader".to_owned(), named(&given["header"]));
        } else if present(&given["environment"]) {
            out.insert("environment".to_owned(), named(&given["environment"]));
        } else if present(&given["formatter"]) {
            out.insert("value".to_owned(), given["formatter"]["value"].clone());
        }
        all.push(Value::Object(out));
    }
    all.sort_by(|a, b| text(&a["tag"]).cmp(text(&b["tag"])));
    Value::Array(all)
}

fn istio_tags(node: &Node) -> Vec<Value> {
    let label = |key: &str, default: &str| {
        node.proxy.labels.get(key).filter(|v| !v.is_empty()).cloned().unwrap_or_else(|| default.to_owned())
    };
    let rbac = |tag: &str, key: &str| {
        json!({
            "tag": format!("istio.authorization.dry_run.{tag}"),
            "metadata": {
                "kind": {"request": {}},
                "metadataKey": {"key": "envoy.filters.http.rbac", "path": [{"key": key}]},
            },
        })
    };
    let literal = |tag: &str, value: &str| json!({"tag": format!("istio.{tag}"), "literal": {"value": value}});
    let mesh_id = match text(&node.proxy_config()["meshId"]) {
        "" => node.push.mesh.trust_domain.as_str(),
        given => given,
    };
    vec![
        rbac("allow_policy.name", "istio_dry_run_allow_shadow_effective_policy_id"),
        rbac("allow_policy.result", "istio_dry_run_allow_shadow_engine_result"),
        rbac("deny_policy.name", "istio_dry_run_deny_shadow_effective_policy_id"),
        rbac("deny_policy.result", "istio_dry_run_deny_shadow_engine_result"),
        literal("canonical_revision", &label("service.istio.io/canonical-revision", "latest")),
        literal("canonical_service", &label("service.istio.io/canonical-name", "unknown")),
        literal("cluster_id", CLUSTER),
        literal("mesh_id", mesh_id),
        literal("namespace", &node.proxy.namespace),
    ]
}

/// Envoy's tracer and its configuration; `None` when the provider is of another kind or has no service.
fn provider_config(node: &Node, provider: &Value) -> Option<(&'static str, Value)> {
    if present(&provider["zipkin"]) {
        return Some(("envoy.tracers.zipkin", zipkin(node, &provider["zipkin"])?));
    }
    if present(&provider["opentelemetry"]) {
        return Some(("envoy.tracers.opentelemetry", open_telemetry(node, &provider["opentelemetry"])?));
    }
    None
}

fn headers(given: &Value) -> Value {
    let all: Vec<Value> = list(given)
        .iter()
        .map(|h| {
            json!({
                "header": {"key": text(&h["name"]), "value": text(&h["value"])},
                "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD",
            })
        })
        .collect();
    Value::Array(all)
}

fn zipkin(node: &Node, config: &Value) -> Option<Value> {
    let (host, cluster) = lookup(node, text(&config["service"]), unsigned(&config["port"]))?;
    let path = match text(&config["path"]) {
        "" => "/api/v2/spans",
        given => given,
    };
    let timeout = match canonical(&config["timeout"]) {
        Value::Null => Value::from("5s"),
        given => given,
    };
    let mut service = into_map(json!({
        "httpUri": {"uri": format!("http://{host}{path}"), "cluster": cluster, "timeout": timeout},
    }));
    put(&mut service, "requestHeadersToAdd", headers(&config["headers"]));
    let mut out = into_map(json!({
        "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
        "collectorEndpointVersion": "HTTP_JSON",
        "collectorService": service,
        "sharedSpanContext": false,
    }));
    put(&mut out, "traceId128bit", json!(!flag(&config["enable64bitTraceId"])));
    if text(&config["traceContextOption"]) == "USE_B3_WITH_W3C_PROPAGATION" {
        out.insert("traceContextOption".to_owned(), Value::from("USE_B3_WITH_W3C_PROPAGATION"));
    }
    Some(Value::Object(out))
}

fn open_telemetry(node: &Node, config: &Value) -> Option<Value> {
    let (host, cluster) = lookup(node, text(&config["service"]), unsigned(&config["port"]))?;
    let mut out = into_map(json!({"@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig"}));
    if present(&config["http"]) {
        let http = &config["http"];
        let uri = format!("{}/{}", host.trim_end_matches('/'), text(&http["path"]).trim_start_matches('/'));
        let mut target = into_map(json!({"uri": uri, "cluster": cluster}));
        put(&mut target, "timeout", canonical(&http["timeout"]));
        let mut service = into_map(json!({"httpUri": target}));
        put(&mut service, "requestHeadersToAdd", headers(&http["headers"]));
        out.insert("httpService".to_owned(), Value::Object(service));
    } else {
        let mut service = into_map(json!({"envoyGrpc": {"clusterName": cluster, "authority": host}}));
        put(&mut service, "timeout", canonical(&config["grpc"]["timeout"]));
        out.insert("grpcService".to_owned(), Value::Object(service));
    }
    let canonical_name = node.proxy.labels.get("service.istio.io/canonical-name").map_or("", String::as_str);
    let service_name = match node.metadata("SERVICE_CLUSTER") {
        "" if canonical_name.is_empty() => String::new(),
        "" => format!("{canonical_name}.{}", node.proxy.namespace),
        given => given.to_owned(),
    };
    put(&mut out, "serviceName", Value::from(service_name));
    Some(Value::Object(out))
}

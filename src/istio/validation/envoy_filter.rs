//! EnvoyFilter: whether a patch, its place and its match go together, and whether Envoy knows its fields.

use super::fields::Fields;
use super::findings::Findings;
use super::selectors;
use crate::istio::go::{quote, regexp};
use serde_json::Value;

const EXPOSES: &str = "EnvoyFilter exposes internal implementation details that may change at any time. \
                       Prefer other APIs if possible, and exercise extreme caution, especially around upgrades.";
const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// Names that filters had once, and have now.
const RENAMED: &[(&str, &str)] = &[
    ("envoy.buffer", "envoy.filters.http.buffer"),
    ("envoy.cors", "envoy.filters.http.cors"),
    ("envoy.csrf", "envoy.filters.http.csrf"),
    ("envoy.http_dynamo_filter", "envoy.filters.http.dynamo"),
    ("envoy.ext_authz", "envoy.filters.http.ext_authz"),
    ("envoy.fault", "envoy.filters.http.fault"),
    ("envoy.grpc_http1_bridge", "envoy.filters.http.grpc_http1_bridge"),
    ("envoy.grpc_json_transcoder", "envoy.filters.http.grpc_json_transcoder"),
    ("envoy.grpc_web", "envoy.filters.http.grpc_web"),
    ("envoy.gzip", "envoy.filters.http.gzip"),
    ("envoy.health_check", "envoy.filters.http.health_check"),
    ("envoy.ip_tagging", "envoy.filters.http.ip_tagging"),
    ("envoy.lua", "envoy.filters.http.lua"),
    ("envoy.rate_limit", "envoy.filters.http.ratelimit"),
    ("envoy.router", "envoy.filters.http.router"),
    ("envoy.squash", "envoy.filters.http.squash"),
    ("envoy.listener.http_inspector", "envoy.filters.listener.http_inspector"),
    ("envoy.listener.original_dst", "envoy.filters.listener.original_dst"),
    ("envoy.listener.original_src", "envoy.filters.listener.original_src"),
    ("envoy.listener.proxy_protocol", "envoy.filters.listener.proxy_protocol"),
    ("envoy.listener.tls_inspector", "envoy.filters.listener.tls_inspector"),
    ("envoy.client_ssl_auth", "envoy.filters.network.client_ssl_auth"),
    ("envoy.http_connection_manager", CONNECTION_MANAGER),
    ("envoy.mongo_proxy", "envoy.filters.network.mongo_proxy"),
    ("envoy.ratelimit", "envoy.filters.network.ratelimit"),
    ("envoy.redis_proxy", "envoy.filters.network.redis_proxy"),
    ("envoy.tcp_proxy", "envoy.filters.network.tcp_proxy"),
];

pub(super) fn check(spec: &Value) -> Findings {
    let selector = selectors::check_labels(spec.message("workloadSelector"));
    if !selector.errors.is_empty() {
        return selector.errors.into();
    }
    let mut found = Findings::default();
    found.warn(EXPOSES);
    if !selector.warnings.is_empty() {
        found.warn(format!("Envoy filter: {}, will be applied to all services in namespace", selector.warnings.text()));
    }
    for patch in spec.items("configPatches") {
        check_patch(patch, &mut found);
    }
    found
}

fn check_patch(config: &Value, found: &mut Findings) {
    let condition = config.message("match");
    if condition.is_some_and(|condition| condition.choice("context", "ANY") == "WAYPOINT") {
        return;
    }
    let apply_to = config.choice("applyTo", "INVALID");
    if apply_to == "INVALID" {
        return found.error("Envoy filter: missing applyTo");
    }
    let Some(patch) = config.message("patch") else {
        return found.error("Envoy filter: missing patch");
    };
    let operation = patch.choice("operation", "INVALID");
    if operation == "INVALID" {
        return found.error("Envoy filter: missing patch operation");
    }
    let value = patch.message("value");
    if operation != "REMOVE" && value.is_none() {
        return found.error("Envoy filter: missing patch value for non-remove operation");
    }
    let version = condition.and_then(|condition| condition.message("proxy")).map(|proxy| proxy.text("proxyVersion"));
    match version {
        Some(version) if version.len() > 1024 => {
            found.warn("Envoy filter: proxyVersion match exceeds 1024 characters and will be ignored");
        }
        Some(version) => {
            if let Err(error) = regexp::check(version) {
                return found.error(format!("Envoy filter: invalid regex for proxy version, [{error}]"));
            }
        }
        None => {}
    }
    if let Some(condition) = condition
        && !check_match(condition, apply_to, found)
    {
        return;
    }
    if let Some(value) = value {
        found.join(super::envoy_value::check(apply_to, value));
    }
}

/// Whether the match is of the patch's class; false where nothing more is to be checked.
fn check_match(condition: &Value, apply_to: &str, found: &mut Findings) -> bool {
    let object = ["listener", "routeConfiguration", "cluster", "waypoint"].into_iter().find(|name| condition.has(name));
    let Some(object) = object else { return true };
    match apply_to {
        "LISTENER" | "FILTER_CHAIN" | "NETWORK_FILTER" | "HTTP_FILTER" => {
            if object != "listener" {
                found.error("Envoy filter: applyTo for listener class objects cannot have non listener match");
                return false;
            }
            let filter = condition.pointer("/listener/filterChain/filter");
            filter.is_none_or(|filter| check_filter_match(filter, apply_to, found))
        }
        "ROUTE_CONFIGURATION" | "VIRTUAL_HOST" | "HTTP_ROUTE" if object != "routeConfiguration" => {
            found.error("Envoy filter: applyTo for http route class objects cannot have non route configuration match");
            true
        }
        "CLUSTER" if object != "cluster" => {
            found.error("Envoy filter: applyTo for cluster class objects cannot have non cluster match");
            true
        }
        _ => true,
    }
}

fn check_filter_match(filter: &Value, apply_to: &str, found: &mut Findings) -> bool {
    if apply_to == "LISTENER" || apply_to == "FILTER_CHAIN" {
        found.warn(format!("Envoy filter: filter match has no effect when used with {apply_to}"));
    }
    let name = filter.text("name");
    let sub_filter = filter.message("subFilter");
    let wrong = match sub_filter {
        _ if name.is_empty() => Some("filter match has no name to match on".to_string()),
        Some(_) if apply_to != "HTTP_FILTER" => {
            Some("subfilter match can be used with applyTo HTTP_FILTER only".to_string())
        }
        Some(_) if name != CONNECTION_MANAGER && name != "envoy.http_connection_manager" => {
            Some(format!("subfilter match requires filter match with {CONNECTION_MANAGER}"))
        }
        Some(sub_filter) if sub_filter.text("name").is_empty() => {
            Some("subfilter match has no name to match on".to_string())
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        found.error(format!("Envoy filter: {wrong}"));
        return false;
    }
    for name in [name, sub_filter.map(|sub_filter| sub_filter.text("name")).unwrap_or_default()] {
        if let Some((old, new)) = RENAMED.iter().find(|(old, _)| *old == name) {
            found.warn(format!("using deprecated filter name {}; use {} instead", quote(old), quote(new)));
        }
    }
    true
}

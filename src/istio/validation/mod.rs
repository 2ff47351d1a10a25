//! What is refused, by whom and in which words, in three stages that know nothing of each other: unknown fields
//! (strict decoding), the resource definition's schema and CEL rules (the API server), and istiod's webhook.

mod authorization_policy;
mod cel;
mod cors;
mod decode;
mod destination_rule;
mod envoy_filter;
mod envoy_value;
pub(crate) mod fields;
pub(crate) mod findings;
mod gateway;
mod headers;
mod http_route;
mod load_balancer;
pub(crate) mod names;
mod peer_authentication;
mod protocol;
mod request_authentication;
mod selectors;
mod service_entry;
mod sidecar;
mod structural;
mod telemetry;
mod tls;
mod traffic_policy;
mod unknown;
pub(crate) mod unreachable;
mod virtual_service;
mod visibility;
mod wasm_plugin;
pub(crate) mod webhook;
mod workload;

use super::schema::schema;
use serde_json::Value;

/// What each stage says of one object. All empty: it is admitted silently.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Fields that the kind does not have, as paths.
    pub unknown: Vec<String>,
    /// Errors of the resource definition, as the API server words them.
    pub schema: Vec<String>,
    /// Errors of istiod's webhook.
    pub errors: Vec<String>,
    /// Warnings of istiod's webhook; a refused object has none.
    pub warnings: Vec<String>,
    /// The webhook's refusal as one text; empty when it admits the object.
    pub message: String,
}

/// Validates one object of any kind. Objects of groups that are not Istio's are not looked at.
pub fn validate(object: &Value) -> Verdict {
    let (api_version, kind) = (text(object, "apiVersion"), text(object, "kind"));
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if !group.ends_with(".istio.io") {
        return Verdict::default();
    }
    let known = schema().kind(group, kind);
    let mut verdict = Verdict::default();
    match known.filter(|known| known.serves(api_version)) {
        Some(known) => {
            verdict.unknown = unknown::unknown_fields(object, known);
            verdict.schema = structural::schema_errors(object, known);
        }
        None => verdict.schema.push(format!("no matches for kind \"{kind}\" in version \"{api_version}\"")),
    }
    let ruling = webhook::rule(object, known);
    verdict.message = ruling.message;
    verdict.errors = ruling.errors;
    if verdict.errors.is_empty() {
        verdict.warnings = ruling.warnings;
    }
    verdict
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

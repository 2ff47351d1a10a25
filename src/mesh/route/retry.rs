//! Retry policies.

use crate::mesh::duration::canonical;
use crate::mesh::json::{flag, integer, into_map, present, put, text};
use serde_json::{Value, json};

const RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

fn other_hosts() -> Value {
    json!([{
        "name": "envoy.retry_host_predicates.previous_hosts",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
        },
    }])
}

/// The policy of a rule's `retries`; Istio's default when null, null when retries are off. With consistent
/// hashing a retry may go to the same host.
pub fn policy(retries: &Value, hashed: bool) -> Value {
    let mut out = into_map(json!({
        "numRetries": 2,
        "retryOn": RETRY_ON,
        "hostSelectionRetryMaxAttempts": "5",
    }));
    if !hashed {
        out.insert("retryHostPredicate".to_owned(), other_hosts());
    }
    if !present(retries) {
        return Value::Object(out);
    }
    let attempts = integer(&retries["attempts"]);
    if attempts <= 0 {
        return Value::Null;
    }
    out.insert("numRetries".to_owned(), Value::from(attempts));
    let conditions = text(&retries["retryOn"]);
    if !conditions.is_empty() {
        let (named, codes) = split_conditions(conditions);
        let mut named = named.join(",");
        if !codes.is_empty() && !named.contains("retriable-status-codes") {
            named.push_str(",retriable-status-codes");
        }
        out.insert("retryOn".to_owned(), Value::from(named));
        put(&mut out, "retriableStatusCodes", json!(codes));
    }
    put(&mut out, "perTryTimeout", canonical(&retries["perTryTimeout"]));
    if let Some(ignore) = retries["retryIgnorePreviousHosts"].as_bool() {
        out.remove("retryHostPredicate");
        if ignore {
            out.insert("retryHostPredicate".to_owned(), other_hosts());
        }
    }
    if flag(&retries["retryRemoteLocalities"]) {
        out.insert(
            "retryPriority".to_owned(),
            json!({
                "name": "envoy.retry_priorities.previous_priorities",
                "typedConfig": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                    "updateFrequency": 2,
                },
            }),
        );
    }
    if let base @ Value::String(_) = canonical(&retries["backoff"]) {
        out.insert("retryBackOff".to_owned(), json!({"baseInterval": base}));
    }
    Value::Object(out)
}

/// Named conditions and HTTP status codes.
fn split_conditions(conditions: &str) -> (Vec<&str>, Vec<u32>) {
    let (mut named, mut codes) = (Vec::new(), Vec::new());
    for part in conditions.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        match part.parse::<u16>().ok().filter(|c| http_status(*c)) {
            Some(code) => codes.push(u32::from(code)),
            None => named.push(part),
        }
    }
    (named, codes)
}

/// Whether HTTP has a name for the code.
fn http_status(code: u16) -> bool {
    http::StatusCode::from_u16(code).is_ok_and(|c| c.canonical_reason().is_some())
}

//! CORS policies of routes.

use super::fields::Fields;
use super::findings::Messages;
use super::headers::check_cors_name;
use super::http_route::check_regex_match;
use super::traffic_policy::duration_of;
use crate::istio::go::quote;
use serde_json::Value;

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

pub(super) fn check(policy: &Value) -> Messages {
    let mut errors = Messages::default();
    for origin in policy.items("allowOrigins") {
        if ["exact", "prefix", "regex"].iter().all(|name| origin.text(name).is_empty()) {
            errors.add("'' is not a valid match type for CORS allow origins");
        } else {
            errors.join(check_regex_match(Some(origin), "corsPolicy.allowOrigins").into());
        }
    }
    for method in policy.texts("allowMethods") {
        if !METHODS.contains(&method) {
            errors.add(format!("{} is not a supported HTTP method", quote(method)));
        }
    }
    for name in policy.texts("allowHeaders").into_iter().chain(policy.texts("exposeHeaders")) {
        errors.join(check_cors_name(name).into());
    }
    errors.join(duration_of(policy, "maxAge"));
    if policy.number("maxAge") % 1_000_000_000 > 0 {
        errors.list("max_age duration is accurate only to seconds precision");
    }
    errors
}

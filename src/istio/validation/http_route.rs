//! HTTP routes of a VirtualService.

use super::destination_rule::check_subset_name;
use super::fields::Fields;
use super::findings::{Findings, Messages};
use super::names::{check_duration, check_labels, check_port, check_wildcard_domain, is_dns_label};
use super::traffic_policy::duration_of;
use super::virtual_service::check_gateway_names;
use super::{cors, headers};
use crate::istio::go::{float, quote, regexp};
use serde_json::Value;

/// A route; `delegate`: of a VirtualService without hosts.
pub(super) fn check(route: &Value, delegate: bool, gateway_api: bool) -> Findings {
    let mut found = Findings::from(check_conflicts(route, delegate));
    found.join(check_matches(route.items("match")));
    found.join(headers::check_operations(route.message("headers")));
    found.join(route.message("corsPolicy").map(cors::check).unwrap_or_default());
    found.join(route.message("fault").map(check_fault).unwrap_or_default());
    if route.has("mirrorPercent") {
        let percent = route.number("mirrorPercent");
        if percent > 100 {
            found.error(format!("mirror_percent must have a max value of 100 (it has {percent})"));
        }
        found.warn("using deprecated setting \"mirrorPercent\", use \"mirrorPercentage\" instead");
    }
    if let Some(percentage) = route.message("mirrorPercentage") {
        check_mirror_percentage(percentage, "mirror_percentage", &mut found);
    }
    found.join(check_destination(route.message("mirror")));
    for mirror in route.items("mirrors") {
        let Some(destination) = mirror.message("destination") else {
            found.error("destination is required for mirrors");
            continue;
        };
        found.join(check_destination(Some(destination)));
        if let Some(percentage) = mirror.message("percentage") {
            check_mirror_percentage(percentage, "mirror percentage", &mut found);
        }
    }
    found.check(route.message("redirect").map_or(Ok(()), check_redirect));
    found.join(route.message("directResponse").map(check_direct_response).unwrap_or_default());
    found.join(route.message("retries").map(check_retries).unwrap_or_default());
    found.check(route.message("rewrite").map_or(Ok(()), check_rewrite));
    found.check(headers::check_authority_rewrite(route.message("rewrite"), route.message("headers")));
    found.join(check_destinations(route.items("route"), gateway_api));
    found.check(route.get("timeout").and_then(Value::as_i64).map_or(Ok(()), check_duration));
    found
}

fn check_conflicts(route: &Value, delegate: bool) -> Messages {
    let mut errors = Messages::default();
    let has = |name: &str| route.has(name);
    if !delegate && has("delegate") {
        for name in ["redirect", "route"] {
            if has(name) {
                errors.add(format!("root HTTP route {} must not specify {name}", route.text("name")));
            }
        }
        return errors;
    }
    if has("delegate") {
        errors.add("delegate HTTP route cannot contain delegate");
    }
    let answer =
        [("redirect", "redirect"), ("directResponse", "direct_response")].into_iter().find(|(name, _)| has(name));
    if let Some((name, shown)) = answer {
        for (other, what) in [("route", "HTTP route"), ("fault", "HTTP route"), ("rewrite", "HTTP route rule")] {
            if has(other) {
                errors.add(format!("{what} cannot contain both {other} and {shown}"));
            }
        }
        if name == "redirect" && has("directResponse") {
            errors.add("HTTP route rule cannot contain both direct_response and redirect");
        }
    } else if !has("route") {
        errors.add("HTTP route, redirect or direct_response is required");
    }
    if has("mirror") && has("mirrors") {
        errors.add("HTTP route cannot contain both mirror and mirrors");
    }
    errors
}

fn check_matches(matches: &[Value]) -> Messages {
    let mut errors = Messages::default();
    for condition in matches {
        for (name, value) in condition.entries("headers") {
            errors.join(headers::check_match_name(name).into());
            errors.join(check_string_match(Some(value), "headers").into());
        }
        for (name, value) in condition.entries("withoutHeaders") {
            errors.join(headers::check_match_name(name).into());
            // `*` is no expression here: it asks for the header's presence.
            if value.text("regex") != "*" {
                errors.join(check_string_match(Some(value), "withoutHeaders").into());
            }
        }
        // An empty prefix is allowed for paths only.
        errors.join(check_regex_match(condition.message("uri"), "uri").into());
        for name in ["scheme", "method", "authority"] {
            errors.join(check_string_match(condition.message(name), name).into());
        }
        for (_, value) in condition.entries("queryParams") {
            errors.join(check_string_match(Some(value), "queryParams").into());
        }
    }
    for condition in matches {
        if condition.has("port") {
            errors.join(check_port(condition.number("port")).into());
        }
        errors.join(check_labels(&condition.entries("sourceLabels")));
        errors.join(check_gateway_names(&condition.texts("gateways"), false).errors);
        let namespace = condition.text("sourceNamespace");
        if !namespace.is_empty() && !is_dns_label(namespace) {
            errors.add(format!("sourceNamespace match {namespace} is invalid"));
        }
    }
    errors
}

fn check_string_match(value: Option<&Value>, place: &str) -> Result<(), String> {
    let Some(value) = value else { return Ok(()) };
    if value.has("prefix") && value.text("prefix").is_empty() {
        return Err(format!("{}: prefix string match should not be empty", quote(place)));
    }
    check_regex_match(Some(value), place)
}

/// The expression of a match, if it is one by expression.
pub(super) fn check_regex_match(value: Option<&Value>, place: &str) -> Result<(), String> {
    match value {
        Some(value) if value.has("regex") && value.text("regex").is_empty() => {
            Err(format!("{}: regex string match should not be empty", quote(place)))
        }
        Some(value) if value.has("regex") => check_regex(value.text("regex"), place),
        _ => Ok(()),
    }
}

fn check_regex(expression: &str, place: &str) -> Result<(), String> {
    let place = quote(place);
    if expression.len() > 1024 {
        return Err(format!("{place}: regex is too large, max length allowed is 1024"));
    }
    regexp::check(expression).map_err(|error| {
        format!("{place}: {error}; Istio uses RE2 style regex-based match (https://github.com/google/re2/wiki/Syntax)")
    })
}

fn check_mirror_percentage(percentage: &Value, what: &str, found: &mut Findings) {
    let value = percentage.real("value");
    if value > 100.0 {
        found.error(format!("{what} must have a max value of 100 (it has {value:.6})"));
    }
    if value < 0.0 {
        found.error(format!("{what} must have a min value of 0 (it has {value:.6})"));
    }
}

fn check_percentage(fault: &Value) -> Result<(), String> {
    let value = fault.message("percentage").map_or(0.0, |percentage| percentage.real("value"));
    if !(0.0..=100.0).contains(&value) || (value > 0.0 && value < 0.0001) {
        return Err(format!("percentage {} is neither 0.0, nor in range [0.0001, 100.0]", float(value)));
    }
    Ok(())
}

fn check_fault(fault: &Value) -> Messages {
    const GRPC_STATUS: &[&str] = &[
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let mut errors = Messages::default();
    let (abort, delay) = (fault.message("abort"), fault.message("delay"));
    if abort.is_none() && delay.is_none() {
        errors.list("HTTP fault injection must have an abort and/or a delay");
    }
    if let Some(abort) = abort {
        errors.join(check_percentage(abort).into());
        if abort.has("grpcStatus") {
            let status = abort.text("grpcStatus");
            if !GRPC_STATUS.contains(&status) {
                errors.add(format!(
                    "gRPC status {} is not supported. See https://github.com/grpc/grpc/blob/master/doc/statuscodes.md \
                     for a list of supported codes, for example 'NOT_FOUND'",
                    quote(status)
                ));
            }
        } else if abort.has("http2Error") {
            errors.add("HTTP/2 abort fault injection not supported yet");
        } else if abort.has("httpStatus") {
            errors.join(check_status(abort.number("httpStatus")).into());
        }
    }
    if let Some(delay) = delay {
        errors.join(check_percentage(delay).into());
        errors.join(duration_of(delay, "fixedDelay"));
        if delay.has("exponentialDelay") {
            errors.join(duration_of(delay, "exponentialDelay"));
            errors.list("exponentialDelay not supported yet");
        }
    }
    errors
}

fn check_status(status: i64) -> Result<(), String> {
    if (200..=600).contains(&status) { Ok(()) } else { Err(format!("HTTP status {status} is not in range 200-599")) }
}

fn check_redirect(redirect: &Value) -> Result<(), String> {
    if !["uri", "authority", "port", "derivePort", "scheme"].iter().any(|name| redirect.has(name)) {
        return Err("redirect must specify URI, authority, scheme, or port".into());
    }
    let code = redirect.number("redirectCode");
    if code != 0 && !(300..=399).contains(&code) {
        return Err(format!("{code} is not a valid redirect code, must be 3xx"));
    }
    if !["", "http", "https"].contains(&redirect.text("scheme")) {
        return Err("invalid redirect scheme, must be \"http\" or \"https\"".into());
    }
    match redirect.number("port") {
        0 => Ok(()),
        port => check_port(port),
    }
}

fn check_direct_response(response: &Value) -> Findings {
    const KIB: usize = 1024;
    let mut found = Findings::default();
    if let Some(body) = response.message("body") {
        let size = match body.get("bytes").and_then(Value::as_str) {
            Some(encoded) => super::decode::base64(encoded).map_or(0, |bytes| bytes.len()),
            None => body.text("string").len(),
        };
        if size > KIB * KIB {
            found.error("large direct_responses may impact control plane performance, must be less than 1MB");
        } else if size > 100 * KIB {
            found.warn("large direct_responses may impact control plane performance");
        }
    }
    // The status is read as a signed 32-bit number.
    found.check(check_status(i64::from(response.number("status") as u32 as i32)));
    found
}

fn check_retries(retries: &Value) -> Messages {
    const POLICIES: &[&str] = &[
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "envoy-ratelimited",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    ];
    let mut errors = Messages::default();
    let attempts = retries.number("attempts");
    if attempts < 0 {
        errors.list("attempts cannot be negative");
    }
    if attempts == 0 && ["perTryTimeout", "retryOn", "retryRemoteLocalities"].iter().any(|name| retries.has(name)) {
        errors.add("http retry policy configured when attempts are set to 0 (disabled)");
    }
    errors.join(duration_of(retries, "perTryTimeout"));
    if retries.has("retryOn") {
        for policy in retries.text("retryOn").split(',') {
            let known_status = policy.parse().is_ok_and(is_known_status);
            if !known_status && !POLICIES.contains(&policy) {
                errors.add(format!("{} is not a valid retryOn policy", quote(policy)));
            }
        }
    }
    errors.join(duration_of(retries, "backoff"));
    errors
}

/// Status codes that Go has a text for.
fn is_known_status(code: i64) -> bool {
    matches!(
        code,
        100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451
            | 500..=508 | 510 | 511
    )
}

fn check_rewrite(rewrite: &Value) -> Result<(), String> {
    let regex = rewrite.message("uriRegexRewrite");
    if rewrite.has("uri") && regex.is_some() {
        return Err("rewrite may only contain one of URI or UriRegexRewrite".into());
    }
    let Some(regex) = regex else {
        if rewrite.has("uri") || rewrite.has("authority") {
            return Ok(());
        }
        return Err(
            "rewrite must specify at least one of URI, UriRegexRewrite, or authority. Only one of URI or UriRegexRewrite may be specified"
                .into(),
        );
    };
    let checked = if regex.has("match") && regex.has("rewrite") {
        check_regex(regex.text("match"), "HTTPRewrite.UriRegexRewrite.Match")
    } else {
        Err("UriRegexRewrite requires both Rewrite and Match fields to be specified".into())
    };
    checked.map_err(|error| format!("UriRegexRewrite has errors\n{error}"))
}

/// Destinations with weights, of any protocol.
pub(super) fn check_destinations(destinations: &[Value], gateway_api: bool) -> Messages {
    let mut errors = Messages::default();
    let mut total = 0i32;
    for weighted in destinations {
        let destination = weighted.message("destination");
        if destination.is_none() {
            errors.list("destination is required");
        }
        errors.join(headers::check_operations(weighted.message("headers")));
        if !gateway_api {
            errors.join(check_destination(destination));
        }
        let weight = weighted.number("weight");
        if weight < 0 {
            errors.add(format!("weight {weight} < 0"));
        }
        total = total.wrapping_add(i32::try_from(weight).unwrap_or_default());
    }
    if destinations.len() > 1 && total == 0 {
        errors.add("total destination weight = 0");
    }
    errors
}

/// A destination: host, subset and port.
pub(super) fn check_destination(destination: Option<&Value>) -> Messages {
    let mut errors = Messages::default();
    let Some(destination) = destination else { return errors };
    match destination.text("host") {
        "*" => errors.add("invalid destination host *"),
        host => errors.join(check_wildcard_domain(host).into()),
    }
    if destination.has("subset") {
        errors.join(check_subset_name(destination.text("subset")).into());
    }
    if let Some(port) = destination.message("port") {
        errors.join(check_port(port.number("number")).into());
    }
    errors
}

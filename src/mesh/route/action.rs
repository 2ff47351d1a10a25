//! What a route does: destinations, redirects, direct responses, headers, faults, CORS.

use super::http::Context;
use super::matching::string_matcher;
use super::retry;
use crate::mesh::destination_rule::Rule;
use crate::mesh::duration::{canonical, nanoseconds, whole_seconds};
use crate::mesh::json::{flag, float, integer, into_map, list, present, put, sorted_fields, strings, text, unsigned};
use crate::mesh::listener::network::destination_cluster;
use serde_json::{Map, Value, json};

fn is_internal(header: &str) -> bool {
    header.starts_with(':') || header.eq_ignore_ascii_case("host")
}

fn is_authority(header: &str) -> bool {
    header.eq_ignore_ascii_case(":authority") || header.eq_ignore_ascii_case("host")
}

/// Header options in order of name, and the value given for the authority.
fn header_options(headers: &Value, append: bool) -> (Vec<Value>, String) {
    let mut authority = String::new();
    let mut out = Vec::new();
    for (key, value) in sorted_fields(headers) {
        if is_authority(key) {
            authority = text(value).to_owned();
        }
        if is_internal(key) {
            continue;
        }
        let mut header = into_map(json!({"key": key}));
        put(&mut header, "value", Value::from(text(value)));
        let mut option = into_map(json!({"header": header}));
        if !append {
            option.insert("appendAction".to_owned(), Value::from("OVERWRITE_IF_EXISTS_OR_ADD"));
        }
        out.push(Value::Object(option));
    }
    (out, authority)
}

fn extend(out: &mut Map<String, Value>, key: &str, values: Vec<Value>) {
    if values.is_empty() {
        return;
    }
    let slot = out.entry(key.to_owned()).or_insert_with(|| json!([]));
    if let Some(all) = slot.as_array_mut() {
        all.extend(values);
    }
}

/// Adds header operations; answers the authority that they set, or "".
pub fn apply_headers(out: &mut Map<String, Value>, headers: &Value) -> String {
    let (mut request, set) = header_options(&headers["request"]["set"], false);
    let (added, add) = header_options(&headers["request"]["add"], true);
    request.extend(added);
    let (mut response, _) = header_options(&headers["response"]["set"], false);
    response.extend(header_options(&headers["response"]["add"], true).0);
    let removed = |side: &str| -> Vec<Value> {
        strings(&headers[side]["remove"]).into_iter().filter(|h| !is_internal(h)).map(Value::from).collect()
    };
    extend(out, "requestHeadersToAdd", request);
    extend(out, "requestHeadersToRemove", removed("request"));
    extend(out, "responseHeadersToAdd", response);
    extend(out, "responseHeadersToRemove", removed("response"));
    if set.is_empty() { add } else { set }
}

pub fn apply_redirect(out: &mut Map<String, Value>, redirect: &Value, context: &Context) {
    let mut action = Map::new();
    put(&mut action, "hostRedirect", redirect["authority"].clone());
    // A set member of a oneof is printed even when it is empty.
    action.insert("pathRedirect".to_owned(), Value::from(text(&redirect["uri"])));
    put(&mut action, "schemeRedirect", redirect["scheme"].clone());
    let derive = text(&redirect["derivePort"]);
    let mut port = match () {
        () if derive == "FROM_REQUEST_PORT" => context.port,
        () => unsigned(&redirect["port"]),
    };
    let scheme = match text(&redirect["scheme"]) {
        "" if context.tls => "https",
        "" => "http",
        given => given,
    };
    if (port == 80 && scheme == "http") || (port == 443 && scheme == "https") {
        port = 0;
    }
    put(&mut action, "portRedirect", Value::from(port));
    let code = match integer(&redirect["redirectCode"]) {
        0 | 301 => Value::Null,
        302 => Value::from("FOUND"),
        303 => Value::from("SEE_OTHER"),
        307 => Value::from("TEMPORARY_REDIRECT"),
        308 => Value::from("PERMANENT_REDIRECT"),
        _ => return,
    };
    put(&mut action, "responseCode", code);
    out.insert("redirect".to_owned(), Value::Object(action));
}

pub fn apply_direct_response(out: &mut Map<String, Value>, response: &Value) {
    let mut action = Map::new();
    put(&mut action, "status", Value::from(unsigned(&response["status"])));
    let body = &response["body"];
    if present(&body["string"]) {
        action.insert("body".to_owned(), json!({"inlineString": text(&body["string"])}));
    } else if present(&body["bytes"]) {
        action.insert("body".to_owned(), json!({"inlineBytes": text(&body["bytes"])}));
    }
    out.insert("directResponse".to_owned(), Value::Object(action));
}

pub fn apply_destinations(out: &mut Map<String, Value>, rule: &Value, authority: String, context: &Context) {
    let mut action = Map::new();
    let timeout = match canonical(&rule["timeout"]) {
        Value::Null => Value::from("0s"),
        given => given,
    };
    let zero = timeout.as_str().and_then(nanoseconds).is_none_or(|n| n == 0);
    action.insert("maxGrpcTimeout".to_owned(), if zero { Value::from("0s") } else { timeout.clone() });
    action.insert("timeout".to_owned(), timeout);
    let mut authority = authority;
    if present(&rule["rewrite"]) {
        apply_rewrite(&mut action, &rule["rewrite"], context);
        if !text(&rule["rewrite"]["authority"]).is_empty() {
            authority = text(&rule["rewrite"]["authority"]).to_owned();
        }
    }
    put(&mut action, "hostRewriteLiteral", Value::from(authority));
    put(&mut action, "requestMirrorPolicies", Value::Array(mirrors(rule, context)));
    let routes = list(&rule["route"]);
    let mut hashed = false;
    if let [only] = routes {
        action.insert("cluster".to_owned(), Value::from(cluster(&only["destination"], context)));
        let authority = apply_headers(out, &only["headers"]);
        if !authority.is_empty() && !action.contains_key("hostRewriteLiteral") {
            action.insert("hostRewriteLiteral".to_owned(), Value::from(authority));
        }
        let hash = hash_of(&only["destination"], context);
        hashed = present(&hash);
        extend(&mut action, "hashPolicy", hash_policy(&hash).into_iter().collect());
    } else {
        let mut weighted = Vec::new();
        for destination in routes.iter().filter(|r| integer(&r["weight"]) != 0) {
            let mut one = into_map(json!({
                "name": cluster(&destination["destination"], context),
                "weight": unsigned(&destination["weight"]),
            }));
            let authority = apply_headers(&mut one, &destination["headers"]);
            put(&mut one, "hostRewriteLiteral", Value::from(authority));
            let hash = hash_of(&destination["destination"], context);
            extend(&mut action, "hashPolicy", hash_policy(&hash).into_iter().collect());
            weighted.push(Value::Object(one));
        }
        let mut clusters = Map::new();
        put(&mut clusters, "clusters", Value::Array(weighted));
        action.insert("weightedClusters".to_owned(), Value::Object(clusters));
    }
    let retries = if present(&rule["retries"]) {
        &rule["retries"]
    } else {
        &context.node.push.mesh.raw["defaultHttpRetryPolicy"]
    };
    put(&mut action, "retryPolicy", retry::policy(retries, hashed));
    out.insert("route".to_owned(), Value::Object(action));
}

fn cluster(destination: &Value, context: &Context) -> String {
    let service = (context.service)(text(&destination["host"]));
    destination_cluster(destination, service.as_deref(), context.port)
}

fn apply_rewrite(action: &mut Map<String, Value>, rewrite: &Value, context: &Context) {
    let headers =
        crate::mesh::listener::http::ProxyHeaders::read(context.node, crate::mesh::listener::Class::SidecarOutbound);
    put(action, "appendXForwardedHost", json!(headers.forwarded_host));
    let regex = &rewrite["uriRegexRewrite"];
    if present(regex) {
        let mut substitute = into_map(json!({"pattern": {"regex": text(&regex["match"])}}));
        put(&mut substitute, "substitution", regex["rewrite"].clone());
        action.insert("regexRewrite".to_owned(), Value::Object(substitute));
    } else {
        put(action, "prefixRewrite", Value::from(text(&rewrite["uri"])));
    }
}

/// Hundredths, ten-thousandths or millionths: whole percents keep the coarse denominator.
fn fraction(percentage: &Value) -> Value {
    let mut out = into_map(json!({"denominator": "MILLION"}));
    put(&mut out, "numerator", Value::from((float(&percentage["value"]) * 10_000.0) as u32));
    Value::Object(out)
}

fn whole_percent(value: i64) -> Value {
    let mut out = Map::new();
    put(&mut out, "numerator", Value::from(value));
    Value::Object(out)
}

fn mirrors(rule: &Value, context: &Context) -> Vec<Value> {
    let policy = |destination: &Value, percent: Value| {
        json!({
            "cluster": cluster(destination, context),
            "runtimeFraction": {"defaultValue": percent},
            "traceSampled": false,
            "disableShadowHostSuffixAppend": true,
        })
    };
    let mut out = Vec::new();
    if present(&rule["mirror"]) {
        let legacy = if present(&rule["mirrorPercent"]) { &rule["mirrorPercent"] } else { &rule["mirror_percent"] };
        let percent = if present(&rule["mirrorPercentage"]) {
            (float(&rule["mirrorPercentage"]["value"]) > 0.0).then(|| fraction(&rule["mirrorPercentage"]))
        } else if present(legacy) {
            (integer(legacy) > 0).then(|| whole_percent(integer(legacy)))
        } else {
            Some(whole_percent(100))
        };
        out.extend(percent.map(|p| policy(&rule["mirror"], p)));
    }
    for mirror in list(&rule["mirrors"]).iter().filter(|m| present(&m["destination"])) {
        let percent = match present(&mirror["percentage"]) {
            true => (float(&mirror["percentage"]["value"]) > 0.0).then(|| fraction(&mirror["percentage"])),
            false => Some(whole_percent(100)),
        };
        out.extend(percent.map(|p| policy(&mirror["destination"], p)));
    }
    out
}

/// The consistent hash of a destination: its subset's, its port's or its rule's.
fn hash_of(destination: &Value, context: &Context) -> Value {
    let host = text(&destination["host"]);
    let Some(rule) = context.node.scope.rule(context.node.proxy, host, true) else { return Value::Null };
    let of_port = |policy: &Value| -> Value {
        if !present(&destination["port"]) {
            return Value::Null;
        }
        let wanted = unsigned(&destination["port"]["number"]);
        list(&policy["portLevelSettings"])
            .iter()
            .find(|p| unsigned(&p["port"]["number"]) == wanted)
            .map_or(Value::Null, |p| p["loadBalancer"]["consistentHash"].clone())
    };
    let subset = rule.subset(text(&destination["subset"])).map_or(&Value::Null, |s| &s["trafficPolicy"]);
    let candidates = [
        of_port(subset),
        subset["loadBalancer"]["consistentHash"].clone(),
        of_port(rule.policy()),
        rule.policy()["loadBalancer"]["consistentHash"].clone(),
    ];
    candidates.into_iter().find(present).unwrap_or(Value::Null)
}

/// The consistent hash of a service's port that no rule routes to.
pub fn hash_of_port(rule: Rule, port: u32) -> Value {
    let level = list(&rule.policy()["portLevelSettings"])
        .iter()
        .find(|p| unsigned(&p["port"]["number"]) == port)
        .map_or(&Value::Null, |p| &p["loadBalancer"]["consistentHash"]);
    if present(level) { level.clone() } else { rule.policy()["loadBalancer"]["consistentHash"].clone() }
}

/// Envoy's hash policy; `None` when the hash has no key.
pub fn hash_policy(hash: &Value) -> Option<Value> {
    if present(&hash["httpHeaderName"]) {
        return Some(json!({"header": {"headerName": text(&hash["httpHeaderName"])}}));
    }
    if present(&hash["httpCookie"]) {
        let cookie = &hash["httpCookie"];
        let mut out = into_map(json!({"name": text(&cookie["name"])}));
        put(&mut out, "ttl", canonical(&cookie["ttl"]));
        put(&mut out, "path", cookie["path"].clone());
        let attributes = list(&cookie["attributes"])
            .iter()
            .map(|a| json!({"name": text(&a["name"]), "value": text(&a["value"])}))
            .collect();
        put(&mut out, "attributes", Value::Array(attributes));
        return Some(json!({"cookie": out}));
    }
    if present(&hash["useSourceIp"]) {
        let mut out = Map::new();
        put(&mut out, "sourceIp", json!(flag(&hash["useSourceIp"])));
        return Some(json!({"connectionProperties": out}));
    }
    present(&hash["httpQueryParameterName"])
        .then(|| json!({"queryParameter": {"name": text(&hash["httpQueryParameterName"])}}))
}

/// The fault filter's configuration; null for none.
pub fn fault(fault: &Value) -> Value {
    if !present(fault) {
        return Value::Null;
    }
    let mut out = into_map(json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"}));
    let delay = &fault["delay"];
    if let fixed @ Value::String(_) = canonical(&delay["fixedDelay"]) {
        let percentage = if present(&delay["percentage"]) {
            fraction(&delay["percentage"])
        } else {
            whole_percent(integer(&delay["percent"]))
        };
        out.insert("delay".to_owned(), json!({"fixedDelay": fixed, "percentage": percentage}));
    }
    let abort = &fault["abort"];
    let mut stop = Map::new();
    if present(&abort["httpStatus"]) {
        stop.insert("httpStatus".to_owned(), Value::from(unsigned(&abort["httpStatus"])));
    } else if let Some(code) = grpc_status(text(&abort["grpcStatus"])) {
        stop.insert("grpcStatus".to_owned(), Value::from(code));
    }
    if !stop.is_empty() {
        if present(&abort["percentage"]) {
            stop.insert("percentage".to_owned(), fraction(&abort["percentage"]));
        }
        out.insert("abort".to_owned(), Value::Object(stop));
    }
    Value::Object(out)
}

fn grpc_status(name: &str) -> Option<u32> {
    const NAMES: [&str; 17] = [
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
    NAMES.iter().position(|n| *n == name).map(|i| i as u32)
}

/// The CORS filter's configuration; null for none.
pub fn cors(policy: &Value) -> Value {
    if !present(policy) {
        return Value::Null;
    }
    let mut out = into_map(json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "forwardNotMatchingPreflights": text(&policy["unmatchedPreflights"]) != "IGNORE",
        "filterEnabled": {"defaultValue": {"numerator": 100}},
    }));
    let origins: Vec<Value> = if present(&policy["allowOrigins"]) {
        list(&policy["allowOrigins"]).iter().filter_map(string_matcher).collect()
    } else {
        strings(&policy["allowOrigin"]).into_iter().map(|o| json!({"exact": o})).collect()
    };
    put(&mut out, "allowOriginStringMatch", Value::Array(origins));
    if let Some(allow) = policy["allowCredentials"].as_bool() {
        out.insert("allowCredentials".to_owned(), json!(allow));
    }
    for field in ["allowHeaders", "allowMethods", "exposeHeaders"] {
        put(&mut out, field, Value::from(strings(&policy[field]).join(",")));
    }
    if let Some(seconds) = whole_seconds(&policy["maxAge"]) {
        out.insert("maxAge".to_owned(), Value::from(seconds.to_string()));
    }
    Value::Object(out)
}

//! Envoy matchers of authorization rules.

use crate::mesh::json::put;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Escapes what is special in a regular expression.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

pub fn regex(regex: &str) -> Value {
    json!({"safeRegex": {"regex": regex}})
}

/// `*`, `*suffix`, `prefix*` or an exact value; `lead` stands before what was given.
pub fn string(value: &str, lead: &str) -> Value {
    if value == "*" {
        return regex(".+");
    }
    if let Some(suffix) = value.strip_prefix('*') {
        if lead.is_empty() {
            return json!({"suffix": suffix});
        }
        return regex(&format!("{lead}.*{}", quote(suffix)));
    }
    match value.strip_suffix('*') {
        Some(prefix) => json!({"prefix": format!("{lead}{prefix}")}),
        None => json!({"exact": format!("{lead}{value}")}),
    }
}

/// A header with a value, `*` for any.
pub fn header(name: &str, value: &str, ignore_case: bool) -> Value {
    if value == "*" {
        return json!({"name": name, "presentMatch": true});
    }
    let mut matcher = Map::new();
    put(&mut matcher, "ignoreCase", json!(ignore_case));
    let (key, given) = match (value.strip_prefix('*'), value.strip_suffix('*')) {
        (Some(suffix), _) => ("suffix", suffix),
        (None, Some(prefix)) => ("prefix", prefix),
        (None, None) => ("exact", value),
    };
    matcher.insert(key.to_owned(), Value::from(given));
    json!({"name": name, "stringMatch": matcher})
}

/// An address or CIDR; `None` when it is neither.
pub fn address(value: &str) -> Option<Value> {
    let (ip, bits) = match value.split_once('/') {
        Some((ip, bits)) => (ip.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?),
        None => {
            let ip = value.parse::<IpAddr>().ok()?;
            (ip, if ip.is_ipv4() { 32 } else { 128 })
        }
    };
    (bits <= if ip.is_ipv4() { 32 } else { 128 }).then(|| json!({"addressPrefix": ip.to_string(), "prefixLen": bits}))
}

/// Any of several value matchers.
pub fn any_value(matchers: Vec<Value>) -> Value {
    match <[Value; 1]>::try_from(matchers) {
        Ok([only]) => only,
        Err(several) => json!({"orMatch": {"valueMatchers": several}}),
    }
}

/// Any of several strings.
pub fn any_string(values: &[String]) -> Value {
    any_value(values.iter().map(|v| json!({"stringMatch": string(v, "")})).collect())
}

/// A JWT claim that is a value, or a list with it.
pub fn claim(path: &[String], value: &Value) -> Value {
    let segments: Vec<Value> =
        std::iter::once("payload").chain(path.iter().map(String::as_str)).map(|key| json!({"key": key})).collect();
    json!({
        "filter": "envoy.filters.http.jwt_authn",
        "path": segments,
        "value": {"orMatch": {"valueMatchers": [{"listMatch": {"oneOf": value}}, value]}},
    })
}

/// A JWT claim that is a string.
pub fn string_claim(name: &str, matcher: &Value) -> Value {
    json!({
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "payload"}, {"key": name}],
        "value": {"stringMatch": matcher},
    })
}

//! Route matches.

use crate::mesh::json::{flag, into_map, list, present, put, sorted_fields, text};
use serde_json::{Map, Value, json};

/// Envoy's string matcher for `exact`, `prefix` or `regex`; `None` when none is set.
pub fn string_matcher(found: &Value) -> Option<Value> {
    if present(&found["exact"]) {
        return Some(json!({"exact": text(&found["exact"])}));
    }
    if present(&found["prefix"]) {
        return Some(json!({"prefix": text(&found["prefix"])}));
    }
    present(&found["regex"]).then(|| json!({"safeRegex": {"regex": text(&found["regex"])}}))
}

/// A match that only asks whether something is there.
fn is_presence(found: &Value) -> bool {
    let set = ["exact", "prefix", "regex"].iter().any(|k| present(&found[*k]));
    !set || text(&found["regex"]) == "*"
}

fn named_matcher(name: &str, found: &Value) -> Map<String, Value> {
    let mut out = into_map(json!({"name": name}));
    if is_presence(found) {
        out.insert("presentMatch".to_owned(), json!(true));
    } else if let Some(matcher) = string_matcher(found) {
        out.insert("stringMatch".to_owned(), matcher);
    }
    out
}

/// Claims of a JWT, as `@request.auth.claims.a.b` or `@request.auth.claims[a][b]` name them.
fn claims(name: &str) -> Option<Vec<String>> {
    let lower = name.to_ascii_lowercase();
    let prefix = "@request.auth.claims";
    if !lower.starts_with(prefix) {
        return None;
    }
    let rest = name.get(prefix.len()..)?;
    if let Some(dotted) = rest.strip_prefix('.') {
        return Some(dotted.split('.').map(str::to_owned).collect());
    }
    let inner = rest.strip_prefix('[')?.strip_suffix(']')?;
    Some(inner.split("][").map(str::to_owned).collect())
}

fn claims_matcher(path: &[String], found: &Value) -> Map<String, Value> {
    let segments: Vec<Value> =
        std::iter::once("payload".to_owned()).chain(path.iter().cloned()).map(|key| json!({"key": key})).collect();
    let matcher = string_matcher(found).unwrap_or_else(|| json!({}));
    let value = json!({"orMatch": {"valueMatchers": [
        {"stringMatch": matcher},
        {"listMatch": {"oneOf": {"stringMatch": matcher}}},
    ]}});
    into_map(json!({"filter": "envoy.filters.http.jwt_authn", "path": segments, "value": value}))
}

/// The match of a rule; null matches everything.
pub fn route_match(found: &Value) -> Value {
    let mut out = into_map(json!({"prefix": "/"}));
    if !present(found) {
        return Value::Object(out);
    }
    let mut headers: Vec<Map<String, Value>> = Vec::new();
    let mut metadata: Vec<Map<String, Value>> = Vec::new();
    for (field, inverted) in [("headers", false), ("withoutHeaders", true)] {
        for (name, wanted) in sorted_fields(&found[field]) {
            if let Some(path) = claims(name) {
                let mut matcher = claims_matcher(&path, wanted);
                put(&mut matcher, "invert", json!(inverted));
                metadata.push(matcher);
                continue;
            }
            let mut matcher = named_matcher(name, wanted);
            if inverted {
                matcher.insert("invertMatch".to_owned(), json!(true));
                put(&mut matcher, "treatMissingHeaderAsEmpty", json!(!is_presence(wanted)));
            }
            headers.push(matcher);
        }
    }
    let name = |matcher: &Map<String, Value>| matcher.get("name").map_or("", |n| text(n)).to_owned();
    headers.sort_by_key(name);
    for (field, header) in [("method", ":method"), ("authority", ":authority"), ("scheme", ":scheme")] {
        if present(&found[field]) {
            headers.push(named_matcher(header, &found[field]));
        }
    }
    apply_path(&mut out, &found["uri"]);
    out.insert("caseSensitive".to_owned(), json!(!flag(&found["ignoreUriCase"])));
    let queries: Vec<Map<String, Value>> =
        sorted_fields(&found["queryParams"]).into_iter().map(|(n, v)| named_matcher(n, v)).collect();
    put(&mut out, "headers", json!(headers));
    put(&mut out, "queryParameters", json!(queries));
    put(&mut out, "dynamicMetadata", json!(metadata));
    Value::Object(out)
}

fn apply_path(out: &mut Map<String, Value>, uri: &Value) {
    let path = if present(&uri["exact"]) {
        ("path", Value::from(text(&uri["exact"])))
    } else if present(&uri["prefix"]) {
        ("prefix", Value::from(text(&uri["prefix"])))
    } else if present(&uri["regex"]) {
        ("safeRegex", json!({"regex": text(&uri["regex"])}))
    } else {
        return;
    };
    out.remove("prefix");
    out.insert(path.0.to_owned(), path.1);
}

/// Whether every request matches.
pub fn is_catch_all(route: &Value) -> bool {
    let found = &route["match"];
    let path = text(&found["prefix"]) == "/" || text(&found["safeRegex"]["regex"]) == ".*";
    path && ["headers", "queryParameters", "dynamicMetadata"].iter().all(|f| list(&found[*f]).is_empty())
}

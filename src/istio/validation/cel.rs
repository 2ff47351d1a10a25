//! The CEL rules of the resource definitions, each as a function of its name, with the errors that an
//! evaluation gives. The expressions themselves stand in `schema/kinds.txt`.

use super::structural::show;
use crate::istio::go::{duration, url};
use crate::istio::schema::{Field, Message, Shape, Type, schema};
use serde_json::{Map, Value};

/// Evaluates the rules of a message and of all beneath it. The value must have the right form.
pub(super) fn check(value: &Value, message: &Message, path: &str, errors: &mut Vec<String>) {
    let Some(fields) = value.as_object() else { return };
    evaluate(&message.rules, value, "object", path, errors);
    for (name, value) in fields {
        let Some(field) = message.field(name) else { continue };
        check_field(value, field, &format!("{path}.{name}"), errors);
    }
}

fn check_field(value: &Value, field: &Field, path: &str, errors: &mut Vec<String>) {
    match (field.shape, value) {
        (Shape::One, _) => check_value(value, field, path, errors),
        (Shape::List, Value::Array(items)) => {
            evaluate(&field.all_rules, value, "array", path, errors);
            for (index, item) in items.iter().enumerate() {
                check_value(item, field, &format!("{path}[{index}]"), errors);
            }
        }
        (Shape::Map { .. }, Value::Object(entries)) => {
            evaluate(&field.all_rules, value, "object", path, errors);
            for (key, value) in entries {
                check_value(value, field, &format!("{path}[{key}]"), errors);
            }
        }
        _ => {}
    }
}

fn check_value(value: &Value, field: &Field, path: &str, errors: &mut Vec<String>) {
    let schema = schema();
    match field.ty.bare() {
        Type::Message(id) => check(value, &schema.messages[*id], path, errors),
        Type::Uint32 | Type::Int32 => evaluate(&field.value.rules, value, "integer", path, errors),
        _ => evaluate(&field.value.rules, value, "string", path, errors),
    }
}

fn evaluate(rules: &[usize], value: &Value, type_name: &str, path: &str, errors: &mut Vec<String>) {
    for rule in rules {
        let rule = &schema().rules[*rule];
        match holds(rule.name, value) {
            Ok(true) => {}
            Ok(false) if value.is_object() || value.is_array() => {
                errors.push(format!("{path}: Invalid value: {}", rule.message));
            }
            Ok(false) => errors.push(format!("{path}: Invalid value: {}: {}", show(value), rule.message)),
            Err(error) => errors
                .push(format!("{path}: Invalid value: \"{type_name}\": {error} evaluating rule: {}", rule.message)),
        }
    }
}

/// Whether the rule of that name holds of the value; an error where its evaluation fails.
fn holds(rule: &str, value: &Value) -> Result<bool, String> {
    let empty = Map::new();
    let map = value.as_object().unwrap_or(&empty);
    let text = value.as_str().unwrap_or_default();
    let has = |name: &str| map.contains_key(name);
    let field = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default();
    let at_most_one = |names: &[&str]| names.iter().filter(|name| has(name)).count() <= 1;
    let port = |number: i64| 0 < number && number <= 65535;
    Ok(match rule {
        "one-target" => at_most_one(&["selector", "targetRef", "targetRefs"]),
        "one-target-or-workload" => at_most_one(&["workloadSelector", "targetRefs"]),
        "names-or-certificates" | "name-or-certificates" => at_most_one(&["tlsCertificates", "credentialNames"]),
        "name-or-names" => at_most_one(&["credentialName", "credentialNames"]),
        "selector-or-endpoints" => at_most_one(&["workloadSelector", "endpoints"]),
        "one-jwks" => at_most_one(&["jwksUri", "jwks_uri", "jwks"]),
        "no-star-in-key" => map.keys().all(|key| !key.contains('*')),
        "no-empty-key" => map.keys().all(|key| !key.is_empty()),
        "no-star-in-label" | "no-star-in-selector" => !text.contains('*'),
        "empty" => text.is_empty(),
        "not-star" => text != "*",
        "duration" => {
            let nanoseconds = duration::parse(text)
                .map_err(|_| "type conversion error from 'string' to 'google.protobuf.Duration'".to_string())?;
            nanoseconds >= 1_000_000
        }
        "port" => value.as_i64().is_some_and(port),
        "port-keys" => {
            for key in map.keys() {
                let number: i64 =
                    key.parse().map_err(|_| "type conversion error from 'string' to 'int'".to_string())?;
                if !port(number) {
                    return Ok(false);
                }
            }
            true
        }
        "port-mtls-selector" => {
            !has("portLevelMtls")
                || value
                    .pointer("/selector/matchLabels")
                    .and_then(Value::as_object)
                    .is_some_and(|labels| !labels.is_empty())
        }
        "port-names" => map.keys().all(|key| key.chars().count() < 63 && super::names::is_dns_label(key)),
        "unique-port-numbers" => {
            let numbers: Vec<_> = value.as_array().into_iter().flatten().map(|port| port.get("number")).collect();
            numbers.iter().enumerate().all(|(index, number)| !numbers[..index].contains(number))
        }
        "cidr-resolution" => {
            let addresses = map.get("addresses").and_then(Value::as_array);
            let cidr = addresses.into_iter().flatten().any(|address| address.as_str().is_some_and(|a| a.contains('/')));
            !cidr || !has("resolution") || ["STATIC", "NONE"].contains(&field("resolution"))
        }
        "none-no-endpoints" => (has("resolution") && field("resolution") != "NONE") || !has("endpoints"),
        "round-robin-one-endpoint" => {
            let endpoints = map.get("endpoints").and_then(Value::as_array).map_or(0, Vec::len);
            field("resolution") != "DNS_ROUND_ROBIN" || endpoints <= 1
        }
        "address-or-network" => has("address") || has("network"),
        "uds-no-ports" => !field("address").starts_with("unix://") || !has("ports"),
        "uds-absolute" => match text.strip_prefix("unix://") {
            None => true,
            Some("") => return Err("index out of range: 8".into()),
            Some(path) => path.starts_with(['/', '@']),
        },
        "uds-no-dir" => !text.starts_with("unix://") || !text.ends_with('/'),
        "probe-scheme" => ["", "HTTP", "HTTPS"].contains(&text),
        "accounts-or-principals" => {
            let accounts = has("serviceAccounts") || has("notServiceAccounts");
            !accounts || !["principals", "notPrincipals", "namespaces", "notNamespaces"].iter().any(|name| has(name))
        }
        "url-http" => {
            let url = url::parse_request_uri(text)
                .map_err(|error| format!("URL parse error during conversion from string: {error}"))?;
            ["http", "https"].contains(&url.scheme.as_str())
        }
        "plugin-url" => {
            let url = url::parse_request_uri(text).or_else(|_| url::parse_request_uri(&format!("http://{text}")));
            url.is_ok_and(|url| ["", "http", "https", "oci", "file"].contains(&url.scheme.as_str()))
        }
        "upsert-value" => match (field("operation"), map.get("value")) {
            ("UPSERT", None) => return Err("no such key: value".into()),
            ("UPSERT", Some(value)) => value.as_str() != Some(""),
            _ => true,
        },
        "remove-no-value" => field("operation") != "REMOVE" || !has("value"),
        "value-only-inline" => field("valueFrom") != "HOST" || !has("value"),
        "waypoint-context" => (field("context") == "WAYPOINT") == has("waypoint"),
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules that hold of an empty object, list or text and are known: each must fail somewhere, which the
    /// fixtures in `tests/validation` show; here only that none is missing from the table above.
    #[test]
    fn every_rule_of_the_schema_has_a_function() {
        let source = include_str!("cel.rs");
        let table = source.split("#[cfg(test)]").next().unwrap();
        for rule in &schema().rules {
            assert!(table.contains(&format!("\"{}\"", rule.name)), "{}", rule.name);
        }
    }
}

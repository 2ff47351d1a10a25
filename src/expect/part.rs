//! Whether a document holds another as a part: maps by their fields, lists by elements in any order. What is
//! `null` in the part must be absent.

use serde_json::Value;

/// Differences told, at most.
const TOLD: usize = 12;

/// How names of fields are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// As Kubernetes: letter for letter.
    Exact,
    /// As Envoy's dumps and istioctl write them: `filter_chains` is `filterChains`.
    Proto,
}

/// What of `part` is not in `whole`, a line each; empty: all of it is.
pub(super) fn missing(part: &Value, whole: &Value, names: Names) -> Vec<String> {
    let mut out = vec![];
    compare(part, Some(whole), "", names, &mut out);
    if out.len() > TOLD {
        let more = out.len() - TOLD;
        out.truncate(TOLD);
        out.push(format!("… and {more} more"));
    }
    out
}

fn compare(part: &Value, whole: Option<&Value>, path: &str, names: Names, out: &mut Vec<String>) {
    let place = if path.is_empty() { "the object" } else { path };
    let whole = whole.filter(|w| !w.is_null());
    match (part, whole) {
        (Value::Null, None) => {}
        // Nothing but absences: they hold where all of it is absent.
        (Value::Object(fields), None) if !fields.is_empty() && fields.values().all(only_absences) => {}
        (Value::Null, Some(seen)) => out.push(format!("{place}: expected nothing, got {}", short(seen))),
        (_, None) => out.push(format!("{place}: expected {}, there is nothing", short(part))),
        (Value::Object(fields), Some(Value::Object(seen))) => {
            for (name, value) in fields {
                let found = seen.get(name).or_else(|| match names {
                    Names::Exact => None,
                    Names::Proto => seen.iter().find(|(n, _)| same_name(n, name)).map(|(_, v)| v),
                });
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(value, found, &path, names, out);
            }
        }
        (Value::Array(items), Some(Value::Array(seen))) => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                let mut nearest: Option<Vec<String>> = None;
                // One of the same name, if there is one, is the one that is meant.
                let name = item.get("name").filter(|n| seen.iter().any(|s| s.get("name") == Some(n)));
                for candidate in seen.iter().filter(|s| name.is_none() || s.get("name") == name) {
                    let mut differences = vec![];
                    compare(item, Some(candidate), &path, names, &mut differences);
                    if nearest.as_ref().is_none_or(|n| differences.len() < n.len()) {
                        nearest = Some(differences);
                    }
                    if nearest.as_ref().is_some_and(Vec::is_empty) {
                        break;
                    }
                }
                match nearest {
                    Some(differences) if name.is_some() => out.extend(differences),
                    Some(differences) if differences.is_empty() => {}
                    _ => out.push(format!("{path}: expected {}, no element is so", short(item))),
                }
            }
        }
        (part, Some(seen)) if same_scalar(part, seen) => {}
        (part, Some(seen)) => out.push(format!("{place}: expected {}, got {}", short(part), short(seen))),
    }
}

fn only_absences(part: &Value) -> bool {
    match part {
        Value::Null => true,
        Value::Object(fields) => !fields.is_empty() && fields.values().all(only_absences),
        _ => false,
    }
}

fn same_name(a: &str, b: &str) -> bool {
    let plain = |c: &char| *c != '_';
    a.chars().filter(plain).map(|c| c.to_ascii_lowercase()).eq(b.chars().filter(plain).map(|c| c.to_ascii_lowercase()))
}

/// Numbers of protobuf's 64 bits are strings in JSON; a person writes them without quotes.
fn same_scalar(part: &Value, seen: &Value) -> bool {
    let text = |v: &Value| match v {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    };
    part == seen || text(part).is_some() && text(part) == text(seen)
}

fn short(value: &Value) -> String {
    super::text::excerpt(&value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_part_is_found_whatever_stands_beside_it() {
        let whole = json!({"a": {"b": 1, "c": [{"name": "x", "v": 1}, {"name": "y", "v": 2}]}, "d": "5"});
        assert!(missing(&json!({"a": {"c": [{"name": "y"}]}, "d": 5, "e": null}), &whole, Names::Exact).is_empty());
        assert!(missing(&json!({}), &whole, Names::Exact).is_empty());
        assert!(missing(&json!({"x": {"y": null}}), &whole, Names::Exact).is_empty());
        assert!(!missing(&json!({"a": {"b": {"y": 1}}}), &whole, Names::Exact).is_empty());
    }

    #[test]
    fn what_differs_is_told_with_its_path() {
        let whole = json!({"a": {"b": 1, "c": [{"name": "x", "v": 1}]}});
        assert_eq!(missing(&json!({"a": {"b": 2}}), &whole, Names::Exact), ["a.b: expected 2, got 1"]);
        assert_eq!(missing(&json!({"a": {"z": 2}}), &whole, Names::Exact), ["a.z: expected 2, there is nothing"]);
        assert_eq!(
            missing(&json!({"a": {"c": [{"name": "x", "v": 3}]}}), &whole, Names::Exact),
            ["a.c[0].v: expected 3, got 1"]
        );
        assert_eq!(missing(&json!({"a": {"b": null}}), &whole, Names::Exact), ["a.b: expected nothing, got 1"]);
        assert_eq!(
            missing(&json!({"a": [1]}), &json!({"a": []}), Names::Exact),
            ["a[0]: expected 1, no element is so"]
        );
    }

    #[test]
    fn names_of_protobuf_have_two_spellings() {
        let whole = json!({"filter_chains": [{"require_client_certificate": true}]});
        let part = json!({"filterChains": [{"requireClientCertificate": true}]});
        assert!(missing(&part, &whole, Names::Proto).is_empty());
        assert!(!missing(&part, &whole, Names::Exact).is_empty());
    }
}

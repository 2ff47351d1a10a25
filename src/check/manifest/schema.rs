//! The errors of a resource definition's schema, which come in the API server's words, as diagnostics with a place.

use super::place;
use super::words::{self, Wanted};
use crate::diag::Diagnostic;
use crate::diag::suggest::nearest;
use crate::plan::ManifestObject;
use serde_json::Value;

/// `meant` are fields that an unknown one most likely stands for: that they are missing is the same mistake.
/// Gives back where values of a wrong type stand.
pub fn check(object: &ManifestObject, errors: &[String], meant: &[String], found: &mut Vec<Diagnostic>) -> Vec<String> {
    let mut typed: Vec<String> = vec![];
    for error in errors.iter().filter(|e| e.contains(" in body must be of type ")) {
        let Some((pointer, wanted)) = type_error(object, error) else { continue };
        if !typed.contains(&pointer) {
            found.push(words::wrong_type(object, &pointer, wanted));
            typed.push(pointer);
        }
    }
    for error in errors {
        if error.contains(" in body must be of type ") || error.starts_with("<nil>: Invalid value: \"\": Checked value")
        {
            continue;
        }
        // One value breaks several rules at once: the first says it.
        if let Some(d) = one(object, error, meant, &typed)
            && !found.iter().any(|f| f.code == d.code && f.labels[0].place == d.labels[0].place && !required(error))
        {
            found.push(d);
        }
    }
    typed
}

fn required(error: &str) -> bool {
    error.ends_with(": Required value")
}

fn type_error(object: &ManifestObject, error: &str) -> Option<(String, Wanted)> {
    let (before, after) = error.split_once(" in body must be of type ")?;
    let path = before.rsplit(": ").next()?;
    let wanted = after.split(':').next()?;
    if wanted == "byte" {
        return None;
    }
    Some((place::pointer(&object.body, path), words::of_openapi(wanted)))
}

fn one(object: &ManifestObject, error: &str, meant: &[String], typed: &[String]) -> Option<Diagnostic> {
    if let Some(rest) = error.strip_prefix("<nil>: Invalid value: \"\": \"") {
        let (path, why) = rest.split_once('"')?;
        return why.contains("oneOf").then(|| exclusive(object, path));
    }
    let (path, why) = error.split_once(": ")?;
    let pointer = place::pointer(&object.body, path);
    if typed.contains(&pointer) {
        return None;
    }
    if why.starts_with("Required value") {
        if meant.contains(&pointer) {
            return None;
        }
        let (above, name) = place::split(&pointer);
        // In a map that is none, or that was told already, nothing can be required.
        if typed.iter().any(|t| above.starts_with(t.as_str())) {
            return None;
        }
        let whose = match place::path(above) {
            path if path.is_empty() => "the object".to_string(),
            path => format!("`{path}`"),
        };
        let d = Diagnostic::error("E0313", format!("{whose} has no `{name}`"));
        return Some(d.at(place::of_value(object, above), format!("needs a `{name}`")));
    }
    if let Some(rest) = why.strip_prefix("Unsupported value: ") {
        return Some(unsupported(object, &pointer, rest));
    }
    let why = why.strip_prefix("Invalid value: ").map_or(why, |rest| reason(rest, path));
    let d = Diagnostic::error("E0313", format!("`{path}`: {}", why.trim()));
    Some(d.at(place::of_value(object, &pointer), "the resource definition refuses this"))
}

/// What stands behind the value: `"x": spec.a in body should …`.
fn reason<'e>(rest: &'e str, path: &str) -> &'e str {
    let why = match rest.strip_prefix('"') {
        Some(quoted) => {
            let mut end = None;
            let mut escaped = false;
            for (index, c) in quoted.char_indices() {
                match c {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    '"' => {
                        end = Some(index);
                        break;
                    }
                    _ => {}
                }
            }
            end.and_then(|i| quoted[i + 1..].strip_prefix(": ")).unwrap_or(rest)
        }
        None => match rest.split_once(": ") {
            Some((value, why)) if value.parse::<f64>().is_ok() => why,
            _ => rest,
        },
    };
    let why = why.split_once(" evaluating rule: ").map_or(why, |(_, rule)| rule);
    why.strip_prefix(path).map_or(why, |w| w.strip_prefix(" in body").unwrap_or(w)).trim_start()
}

fn unsupported(object: &ManifestObject, pointer: &str, rest: &str) -> Diagnostic {
    let (_, supported) = rest.split_once(": supported values: ").unwrap_or(("", rest));
    let values: Vec<&str> = supported.split(", ").map(|v| v.trim_matches('"')).collect();
    let path = place::path(pointer);
    let value = match object.body.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let label = match nearest(&value, values.iter().copied()).or_else(|| guessed(&value, &values)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "not one of its values".to_string(),
    };
    Diagnostic::error("E0313", format!("`{value}` is no value of `{path}`"))
        .at(place::of_value(object, pointer), label)
        .help(format!("one of {}", values.join(", ")))
}

/// Words that people write for a value.
fn guessed<'v>(value: &str, values: &[&'v str]) -> Option<&'v str> {
    let meant = match value.to_lowercase().replace(['-', ' '], "_").as_str() {
        "mtls" | "mutual_tls" | "istio" => "ISTIO_MUTUAL",
        "tls" | "terminate" | "https" => "SIMPLE",
        "pass_through" | "passthru" | "sni" => "PASSTHROUGH",
        "none" | "off" | "false" | "disabled" => "DISABLE",
        "external" => "MESH_EXTERNAL",
        "internal" => "MESH_INTERNAL",
        "dns_rr" | "logical_dns" => "DNS_ROUND_ROBIN",
        "strict_dns" => "DNS",
        "registry" => "REGISTRY_ONLY",
        "any" | "allow" => "ALLOW_ANY",
        "round_robin_lb" | "rr" => "ROUND_ROBIN",
        _ => return None,
    };
    values.iter().copied().find(|v| *v == meant)
}

/// Of a group of fields one may be set; two are.
fn exclusive(object: &ManifestObject, path: &str) -> Diagnostic {
    let pointer = place::pointer(&object.body, path);
    let set: Vec<&'static str> = match super::Known::at(object, &pointer) {
        Some(super::Known::Istio(message)) => message
            .oneofs
            .iter()
            .map(|group| {
                let names = group.fields.iter().map(|index| message.fields[*index].name);
                names.filter(|n| object.body.pointer(&format!("{pointer}/{n}")).is_some()).collect::<Vec<_>>()
            })
            .find(|set| set.len() > 1)
            .unwrap_or_default(),
        _ => vec![],
    };
    let names = set.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" and ");
    let mut d = Diagnostic::error("E0313", format!("{names} exclude each other in `{path}`"));
    if set.is_empty() {
        d = Diagnostic::error("E0313", format!("fields of `{path}` exclude each other"))
            .at(place::of_value(object, &pointer), "only one of its alternatives may be given");
    }
    for (index, name) in set.iter().enumerate() {
        let label = if index == 0 { "keep one of them" } else { "the other" };
        d = d.at(place::of_key(object, &format!("{pointer}/{name}")), label);
    }
    d
}

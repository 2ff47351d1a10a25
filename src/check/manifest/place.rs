//! Field paths, as API servers write them, and where they stand in a manifest.

use super::super::links::place as value_place;
use crate::diag::Place;
use crate::plan::ManifestObject;
use serde_json::Value;

/// `spec.servers[0].port` → `/spec/servers/0/port`, as far as the object has it and one step more. Keys of maps may
/// hold dots (`metadata.labels.app.kubernetes.io/name`): the object tells where they end.
pub fn pointer(object: &Value, path: &str) -> String {
    let mut out = String::new();
    let mut here = Some(object);
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(inside) = rest.strip_prefix('[') {
            let Some((index, after)) = inside.split_once(']') else { break };
            out.push('/');
            out.push_str(&escaped(index));
            here = here.and_then(|v| match v {
                Value::Array(items) => items.get(index.parse::<usize>().ok()?),
                other => other.get(index),
            });
            rest = after;
            continue;
        }
        let ends = |key: &&String| {
            rest.strip_prefix(key.as_str()).is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']))
        };
        let known = here.and_then(Value::as_object).and_then(|m| m.keys().filter(ends).max_by_key(|k| k.len()));
        let length = known.map_or_else(|| rest.find(['.', '[']).unwrap_or(rest.len()), String::len);
        let (key, after) = rest.split_at(length);
        if key.is_empty() {
            break;
        }
        out.push('/');
        out.push_str(&escaped(key));
        here = here.and_then(|v| v.get(key));
        rest = after;
    }
    out
}

/// `/spec/servers/0/port` → `spec.servers[0].port`.
pub fn path(pointer: &str) -> String {
    let mut out = String::new();
    for step in pointer.split('/').skip(1) {
        if !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit()) {
            out.push_str(&format!("[{step}]"));
        } else {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&step.replace("~1", "/").replace("~0", "~"));
        }
    }
    out
}

/// The pointer of what holds this one, and its last step.
pub fn split(pointer: &str) -> (&str, String) {
    let (above, last) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    (above, last.replace("~1", "/").replace("~0", "~"))
}

fn escaped(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

/// Where a value stands; of a map or list, its key.
pub fn of_value(object: &ManifestObject, pointer: &str) -> Place {
    value_place(object, pointer)
}

/// Where a field's name stands: before its value.
pub fn of_key(object: &ManifestObject, pointer: &str) -> Place {
    let place = value_place(object, pointer);
    let (_, name) = split(pointer);
    let text = &place.source.text;
    if name.is_empty() || text.get(place.span.clone()) == Some(name.as_str()) && text[place.span.end..].starts_with(':')
    {
        return place;
    }
    let Some(before) = text.get(..place.span.start) else { return place };
    let key = before.rmatch_indices(name.as_str()).take(4).find(|(at, _)| {
        let after = before[at + name.len()..].trim_start_matches(['"', '\'']);
        let ends =
            after.trim_start().strip_prefix(':').is_some_and(|gap| gap.trim_matches(['"', '\'']).trim().is_empty());
        let starts = before[..*at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '-');
        ends && starts
    });
    match key {
        Some((at, _)) => Place { source: place.source.clone(), span: at..at + name.len() },
        None => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dots_in_keys_are_found_in_the_object() {
        let object =
            json!({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}, "spec": {"servers": [{"prt": 1}]}});
        assert_eq!(
            pointer(&object, "metadata.labels.app.kubernetes.io/name"),
            "/metadata/labels/app.kubernetes.io~1name"
        );
        assert_eq!(pointer(&object, "spec.servers[0].prt"), "/spec/servers/0/prt");
        assert_eq!(pointer(&object, "spec.servers[0].tls.mode"), "/spec/servers/0/tls/mode");
        assert_eq!(path("/spec/servers/0/prt"), "spec.servers[0].prt");
    }
}

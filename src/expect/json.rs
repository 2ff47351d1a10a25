//! `json PATH`: values of a JSON body, found by a JSONPath (RFC 9535).

use super::explain::explained;
use super::finding::Finding;
use super::output::body_of;
use super::text::{Matcher, excerpt, quoted};
use super::{Evidence, Failure, code};
use crate::plan::TextMatch;
use jsonpath_rust::JsonPath;
use serde_json::Value;

/// Values shown in a failure, at most.
const SHOWN: usize = 8;

/// What a path finds in a value, as texts: a string as it is, everything else as JSON.
///
/// # Errors
/// A sentence, when the path cannot be read.
pub fn json_values(value: &Value, path: &str) -> Result<Vec<String>, String> {
    let found = value.query(path).map_err(|error| format!("`{path}` is not a JSONPath: {error}"))?;
    Ok(found.into_iter().map(text_of).collect())
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn json(path: &str, matches: Option<&TextMatch>, evidence: &Evidence) -> Finding {
    let body = match body_of(evidence) {
        Ok(body) => body,
        Err(finding) => return finding,
    };
    let matcher = match matches.map(|m| Matcher::new(m, evidence)).transpose() {
        Ok(matcher) => matcher,
        Err(reason) => return Finding::not_shown(reason, "capture it before this line"),
    };
    let wanted = matcher.as_ref().map(|m| format!(" {m}")).unwrap_or_default();
    let fails = |seen: String| {
        let failure = Failure::new(code::JSON, format!("expected json {path}{wanted}, {seen}"));
        Finding::no(explained(failure, evidence))
    };
    let value: Value = match serde_json::from_str(body.trim()) {
        Ok(value) => value,
        Err(_) if body.trim().is_empty() => return fails("got no body".into()),
        Err(error) => return fails(format!("the body is not JSON ({error}): {}", quoted(&body))),
    };
    let found = match json_values(&value, path) {
        Ok(found) => found,
        Err(reason) => return Finding::not_shown(reason, "see RFC 9535"),
    };
    let holds = found.iter().any(|text| matcher.as_ref().is_none_or(|m| m.fits(text)));
    match (holds, found.as_slice()) {
        (true, _) => Finding::yes(),
        (false, []) => fails(format!("nothing is there; the body is {}", excerpt(&value.to_string()))),
        (false, found) => {
            let shown: Vec<String> = found.iter().take(SHOWN).map(|text| quoted(text)).collect();
            let more = found.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            fails(format!("got {}{more}", shown.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_texts() {
        let value = json!({"a": "x", "b": [1, true, null, {"c": "d"}]});
        assert_eq!(json_values(&value, "$.a"), Ok(vec!["x".to_string()]));
        assert_eq!(json_values(&value, "$.b[*]").unwrap(), ["1", "true", "null", "{\"c\":\"d\"}"]);
        assert_eq!(json_values(&value, "$.none"), Ok(vec![]));
        assert!(json_values(&value, "$[").is_err());
    }
}

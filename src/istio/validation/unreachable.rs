//! Routes of a VirtualService that an earlier one leaves nothing to.

use super::fields::Fields;
use crate::istio::go::quote;
use serde_json::{Map, Value};

/// A warning about a rule; `analyze` shows the parts in words of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// A whole rule that is never used.
    Rule { rule: String, reason: String },
    /// A match that an earlier rule has already.
    Match { rule: String, condition: String, earlier: String },
}

impl Unreachable {
    /// In the webhook's words.
    pub fn text(&self) -> String {
        match self {
            Unreachable::Rule { rule, reason } => format!("virtualService rule {rule} not used ({reason})"),
            Unreachable::Match { rule, condition, earlier } => {
                format!(
                    "virtualService rule {rule} match {condition} is not used (duplicate/overlapping match in rule {earlier})"
                )
            }
        }
    }
}

/// Warnings about the rules of a decoded VirtualService.
pub(crate) fn warnings(spec: &Value) -> Vec<Unreachable> {
    let mut found = vec![];
    let prefixes = repeated(spec.items("http"), &mut found);
    covered(&prefixes, &mut found);
    repeated(spec.items("tcp"), &mut found);
    repeated(spec.items("tls"), &mut found);
    found
}

fn shown(message: &Value, index: usize) -> String {
    match message.text("name") {
        "" => format!("#{index}"),
        name => quote(name),
    }
}

/// A match without its name.
fn nameless(condition: &Value) -> Map<String, Value> {
    let mut fields = condition.as_object().cloned().unwrap_or_default();
    fields.remove("name");
    fields
}

/// A match by path prefix, with where it stands.
struct Prefix<'a> {
    rule: String,
    condition: String,
    prefix: &'a str,
    fields: &'a Value,
}

/// Rules without matches before the last, and matches that stand twice. Returns the matches by prefix.
fn repeated<'a>(routes: &'a [Value], found: &mut Vec<Unreachable>) -> Vec<Prefix<'a>> {
    let mut seen: Vec<(Map<String, Value>, usize)> = vec![];
    let mut matches_all = false;
    let mut prefixes = vec![];
    for (index, route) in routes.iter().enumerate() {
        let rule = shown(route, index);
        let unused = |reason: &str| Unreachable::Rule { rule: rule.clone(), reason: reason.into() };
        let conditions = route.items("match");
        if conditions.is_empty() {
            if matches_all {
                found.push(unused("only the last rule can have no matches"));
            }
            matches_all = true;
            continue;
        }
        let mut duplicates = 0;
        for (number, condition) in conditions.iter().enumerate() {
            if matches_all {
                found.push(unused("route without matches defined before"));
                continue;
            }
            let fields = nameless(condition);
            if let Some((_, earlier)) = seen.iter().find(|(other, _)| *other == fields) {
                found.push(Unreachable::Match {
                    rule: rule.clone(),
                    condition: shown(condition, number),
                    earlier: shown(&routes[*earlier], *earlier),
                });
                duplicates += 1;
                continue;
            }
            seen.push((fields, index));
            let prefix = condition.message("uri").map(|uri| uri.text("prefix")).unwrap_or_default();
            if !prefix.is_empty() {
                let condition_name = shown(condition, number);
                prefixes.push(Prefix { rule: rule.clone(), condition: condition_name, prefix, fields: condition });
            }
        }
        if duplicates == conditions.len() {
            found.push(unused("all matches used by prior rules"));
        }
    }
    prefixes
}

/// Matches by prefix that a wider one before them covers.
fn covered(prefixes: &[Prefix], found: &mut Vec<Unreachable>) {
    for (index, wide) in prefixes.iter().enumerate() {
        for narrow in prefixes[index + 1..].iter().filter(|narrow| narrow.prefix != wide.prefix) {
            if covers(wide, narrow) {
                found.push(Unreachable::Match {
                    rule: narrow.rule.clone(),
                    condition: format!("{} of prefix {}", narrow.condition, narrow.prefix),
                    earlier: format!("{} of prefix {} on {}", wide.condition, wide.prefix, wide.rule),
                });
            }
        }
    }
}

fn covers(wide: &Prefix, narrow: &Prefix) -> bool {
    let (a, b) = (wide.fields, narrow.fields);
    let method = |condition: &Value| match string_match(condition.get("method")) {
        text if text.is_empty() => "exact:GET".to_string(),
        text => text,
    };
    narrow.prefix.starts_with(wide.prefix)
        && a.number("port") == b.number("port")
        && method(a).starts_with(&method(b))
        && string_match(a.get("authority")).starts_with(&string_match(b.get("authority")))
        && ["headers", "queryParams", "withoutHeaders"].iter().all(|name| {
            let (a, b) = (a.entries(name), b.entries(name));
            a.len() == b.len()
                && a.iter().all(|(key, value)| {
                    let other = b.iter().find(|(name, _)| name == key);
                    other.is_some_and(|(_, other)| string_match(Some(value)).starts_with(&string_match(Some(other))))
                })
        })
}

/// An exact or prefix match as text; empty for expressions and for none.
fn string_match(value: Option<&Value>) -> String {
    match value {
        Some(value) if !value.text("exact").is_empty() => format!("exact:{}", value.text("exact")),
        Some(value) if !value.text("prefix").is_empty() => format!("prefix:{}", value.text("prefix")),
        _ => String::new(),
    }
}

//! istiod's webhook: its words name no place, so the place is found by what they quote.

use super::place;
use crate::diag::{Diagnostic, Place};
use crate::istio::validation::Verdict;
use crate::plan::ManifestObject;
use serde_json::Value;

pub fn check(object: &ManifestObject, verdict: &Verdict, found: &mut Vec<Diagnostic>) {
    for error in &verdict.errors {
        let place = about(object, error);
        // One value breaks several rules at once: the first says it.
        if found.iter().any(|f| f.code == "E0314" && f.labels[0].place == place) {
            continue;
        }
        let d = Diagnostic::error("E0314", clean(error)).at(place, "istiod's webhook refuses this");
        let odd = error.chars().find(|c| matches!(c, '“' | '”' | '‘' | '’' | '\u{ff01}'..='\u{ff5e}' | '\u{3000}'));
        found.push(match odd {
            Some(c) => d.help(format!("`{c}` is not the character that it looks like: type an ordinary one")),
            None => d,
        });
    }
    for warning in &verdict.warnings {
        let d = Diagnostic::warning("W0342", clean(warning));
        found.push(d.at(about(object, warning), "istiod's webhook warns of this"));
    }
}

fn clean(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The value that the message names: a path at its start, else the longest value of the spec that stands in it as a
/// word of its own, else the last field of the spec that does.
fn about(object: &ManifestObject, message: &str) -> Place {
    let first = message.split([' ', ':']).next().unwrap_or("");
    let pointer = place::pointer(&object.body, first);
    if first.contains(['.', '[']) && object.body.pointer(&pointer).is_some() {
        return place::of_value(object, &pointer);
    }
    let in_spec = || object.spans.iter().filter(|(p, _)| p.starts_with("/spec/"));
    let value = in_spec()
        .filter_map(|(pointer, _)| {
            let text = match object.body.pointer(pointer)? {
                Value::String(text) if text.len() > 1 => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            let at = stands_in(message, &text)?;
            let quoted = message[..at].ends_with('"');
            // What is quoted first is what it is about; of bare words the longest.
            Some((quoted, if quoted { usize::MAX - at } else { text.len() }, pointer))
        })
        .max_by_key(|(quoted, rank, pointer)| (*quoted, *rank, std::cmp::Reverse(pointer.len())))
        .map(|(_, _, pointer)| pointer);
    if let Some(pointer) = value {
        return place::of_value(object, pointer);
    }
    let lower = message.to_lowercase();
    let field = in_spec()
        .filter(|(pointer, _)| {
            let (_, name) = place::split(pointer);
            name.len() > 2 && !name.bytes().all(|b| b.is_ascii_digit()) && stands_in(&lower, &words_of(&name)).is_some()
        })
        .max_by_key(|(pointer, _)| pointer.len());
    match field {
        Some((pointer, _)) => place::of_key(object, pointer),
        None => place::of_value(object, "/spec"),
    }
}

/// `connectTimeout` → `connect timeout`.
fn words_of(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// Where a text stands in a message as a word of its own.
fn stands_in(message: &str, text: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '*' | '/');
    let word = message.match_indices(text).find(|(at, _)| {
        let at = *at;
        let before = message[..at].chars().next_back();
        let mut after = message[at + text.len()..].chars();
        let next = after.next();
        let ends = match next {
            Some('.') => !after.next().is_some_and(char::is_alphanumeric),
            next => !next.is_some_and(is_part),
        };
        !before.is_some_and(is_part) && ends
    });
    word.map(|(at, _)| at)
}

//! The rules, in the order in which they are tried, and those that hold for several verbs.

use super::expect::*;
use super::steps::*;
use super::{Rewrite, Words};
use crate::syntax::habit;
use crate::syntax::vocabulary::find_verb;

pub(super) type RuleOf = fn(Words<'_>) -> Option<Rewrite>;

pub(super) const ALL: &[RuleOf] = &[
    ordinary_characters,
    modifier_in_front,
    modifier_by_option,
    modifier_by_word,
    unit_apart,
    lists_proxy,
    modifiers_last,
    sign_behind_expectation,
    several_values,
    blocked_by,
    arrows,
    port_apart,
    colon_behind_header,
    operator,
    regex_without_slashes,
    certificate_field,
    rejected_and_analysis,
    filler,
    text_without_quotes,
    fewer_than,
    namespace_option,
    kind_and_name,
    wait_forms,
    replicas,
    restart_kind,
    exec_options,
    capture_forms,
    name_and_value,
    assignment,
    parentheses,
    for_forms,
    end_of_what,
    scenario_tags,
    only_on,
    require_forms,
];

pub(super) fn is_expect(words: Words<'_>) -> bool {
    words.first().is_some_and(|w| w == "expect")
}

/// Where the expectation's own word stands, behind `expect` and `no`.
pub(super) fn what(words: Words<'_>) -> Option<(usize, &str)> {
    if !is_expect(words) {
        return None;
    }
    let at = if words.get(1).is_some_and(|w| w == "no") { 2 } else { 1 };
    words.get(at).map(|w| (at, w.as_str()))
}

/// Letters, digits and signs that are twice as wide, and dashes of a word processor.
fn ordinary_characters(words: Words<'_>) -> Option<Rewrite> {
    let at = words.iter().position(|w| habit::ordinary(w).is_some())?;
    let mut new = words.to_vec();
    for word in &mut new {
        if let Some(ordinary) = habit::ordinary(word) {
            *word = ordinary;
        }
    }
    let why = match words[at].chars().any(habit::is_full_width) {
        true => "full-width characters",
        false => "dashes or quotes of a word processor",
    };
    Some(Rewrite { blamed: at..at + 1, why: why.into(), words: new })
}

/// `kind/name` where the two stand apart.
fn kind_and_name(words: Words<'_>) -> Option<Rewrite> {
    let first = match words.first()?.as_str() {
        "wait" | "patch" | "delete" => 1,
        "expect" if what(words).is_some_and(|(_, w)| w == "resource") => what(words)?.0 + 1,
        "capture" => words.iter().position(|w| w == "=")? + 1,
        _ => return None,
    };
    let (kind, name) = words.get(first)?.split_once('/')?;
    let plain = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    (plain(kind) && plain(name))
        .then(|| Rewrite::replace(words, first..first + 1, &[kind, name], "kind and name are two words"))
}

/// kubectl's `-n NAMESPACE`, or `namespace NAMESPACE`.
fn namespace_option(words: Words<'_>) -> Option<Rewrite> {
    let takes_in = matches!(words.first()?.as_str(), "wait" | "patch" | "delete")
        || what(words).is_some_and(|(_, w)| w == "resource")
        || words.first()? == "require";
    let at = words.iter().skip(1).position(|w| {
        matches!(w.as_str(), "-n" | "--namespace" | "namespace" | "ns")
            || w.starts_with("--namespace=")
            || w.starts_with("-n=")
    })? + 1;
    let (value, end) = match words[at].split_once('=') {
        Some((_, value)) => (value.to_string(), at + 1),
        None => (words.get(at + 1)?.clone(), at + 2),
    };
    if takes_in {
        // `KIND NAME in NAMESPACE`, before a condition.
        let mut new = words.to_vec();
        new.drain(at..end);
        let object = match words.first()?.as_str() {
            "expect" => what(words)?.0 + 1,
            "require" => 2,
            _ => 1,
        };
        let width = if words.first()? == "require" || new.get(object)?.contains('/') { 1 } else { 2 };
        let behind = (object + width).min(new.len());
        new.splice(behind..behind, ["in".to_string(), value]);
        return Some(Rewrite { blamed: at..end, why: "a namespace stands behind `in`".into(), words: new });
    }
    if matches!(words.first()?.as_str(), "exec" | "restart" | "scale" | "kill") {
        let mut new = words.to_vec();
        new.drain(at..end);
        let workload = new.get_mut(1)?;
        if workload.contains('.') || workload.starts_with('-') {
            return None;
        }
        *workload = format!("{workload}.{value}");
        return Some(Rewrite { blamed: at..end, why: "a workload is NAME or NAME.NAMESPACE".into(), words: new });
    }
    None
}

/// `status=503` where two words stand.
fn name_and_value(words: Words<'_>) -> Option<Rewrite> {
    let verb = words.first()?.as_str();
    find_verb(verb)?;
    if matches!(verb, "exec" | "set" | "let" | "wait" | "apply" | "for") {
        return None;
    }
    let pair = |w: &String| {
        let (name, value) = w.split_once(['=', ':'])?;
        let name_fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic() || "-_".contains(c));
        (name_fits && !value.starts_with(['/', '=', '/']))
            .then(|| (name.trim_start_matches('-').to_string(), value.to_string()))
    };
    let mut at = None;
    let mut new = vec![];
    for (index, word) in words.iter().enumerate() {
        match pair(word).filter(|_| index > 0) {
            // `via gateway:443` is one word; names of options are the language's own.
            Some((name, value)) if !value.chars().all(|c| c.is_ascii_digit()) || is_named(&name) => {
                at.get_or_insert(index);
                new.push(name);
                new.extend(Some(value).filter(|v| !v.is_empty()));
            }
            _ => new.push(word.clone()),
        }
    }
    let at = at?;
    Some(Rewrite { blamed: at..at + 1, why: "blanks stand between words".into(), words: new })
}

fn is_named(word: &str) -> bool {
    let known = ["status", "delay", "tls", "body", "count", "bound", "chains", "port", "exit", "listener", "outbound"];
    known.contains(&word)
}

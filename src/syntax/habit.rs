//! What people bring along: other tools' words and characters that look right. Asked before anything is said of a line.

use super::vocabulary::find_verb;
use crate::diag::{Diagnostic, Place};
use std::ops::Range;
use unicode_normalization::UnicodeNormalization;

/// The ordinary form of a word in full-width letters: `ａｐｐｌｙ`.
pub fn narrow(word: &str) -> Option<String> {
    let wide = word.chars().any(is_full_width);
    wide.then(|| word.nfkc().collect())
}

/// A letter, digit or sign that is twice as wide: `２`, `：`.
pub fn is_full_width(c: char) -> bool {
    matches!(c, '\u{ff01}'..='\u{ff5e}')
}

/// A word as an ordinary keyboard writes it, when it holds full-width characters, or dashes and quotes of a word processor.
/// What stands in quotes is a text, and may hold them.
pub fn ordinary(word: &str) -> Option<String> {
    if word.starts_with(['"', '\'', '/']) {
        return None;
    }
    let plain = |c: char| match c {
        c if is_full_width(c) => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '–' | '—' | '−' | '‐' | '‑' => '-',
        '“' | '”' | '„' => '"',
        '‘' | '’' => '\'',
        c => c,
    };
    let out: String = word.chars().map(plain).collect();
    (out != word).then_some(out)
}

/// `for x in [a, b]:`, `for x in a b; do`, `for x in a b {`: the words alone, and where the first sign stands.
pub fn for_signs(words: &[(&str, Range<usize>)]) -> Option<(Range<usize>, String)> {
    signs(words, "in")
}

/// `set x = [a, b]`.
pub fn set_signs(words: &[(&str, Range<usize>)]) -> Option<(Range<usize>, String)> {
    signs(words, "=")
}

fn signs(words: &[(&str, Range<usize>)], wanted: &str) -> Option<(Range<usize>, String)> {
    let [(verb, _), (name, _), (between, _), values @ ..] = words else { return None };
    if *between != wanted || values.is_empty() {
        return None;
    }
    let bracketed = values[0].0.starts_with(['[', '(']) && values.iter().any(|(w, _)| w.contains([']', ')']));
    let last = values.len() - 1;
    let mut sign = None;
    let mut plain = vec![];
    for (index, (word, span)) in values.iter().enumerate() {
        if word.starts_with(['"', '\'']) {
            plain.push(word.to_string());
            continue;
        }
        let mut bare = word.trim_end_matches([',', ';']);
        if bracketed {
            bare = bare.trim_start_matches(['[', '(']).trim_end_matches([':', '{']).trim_end_matches([']', ')', ',']);
        }
        if index == last && wanted == "in" {
            bare = match bare {
                "{" | "do" | ":" => "",
                other => other.trim_end_matches('{').trim_end_matches(':'),
            };
        }
        if bare != *word {
            sign.get_or_insert(span.clone());
        }
        plain.extend(bare.split(',').filter(|w| !w.is_empty()).map(str::to_string));
    }
    Some((sign?, format!("{verb} {name} {wanted} {}", plain.join(" "))))
}

/// A line of YAML where a step should be: `kind: Gateway`, `- port: 443`, `---`.
pub fn is_yaml(first: &str) -> bool {
    let key = first
        .strip_suffix(':')
        .is_some_and(|k| !k.is_empty() && k.chars().all(|c| c.is_alphanumeric() || "._-/\"'".contains(c)));
    key && !first.eq_ignore_ascii_case("scenario:") || matches!(first, "-" | "---")
}

/// A verb in full-width letters.
pub fn wide_verb(verb: &str, place: Place) -> Option<Diagnostic> {
    let meant = narrow(verb).map(|w| w.to_lowercase()).filter(|w| find_verb(w).is_some())?;
    Some(
        Diagnostic::error("E0108", "a verb in full-width letters")
            .at(place, format!("write `{meant}`"))
            .help("switch the keyboard to half-width letters"),
    )
}

/// `host = x`: a name where its verb is left out.
pub fn is_assignment(words: &[(&str, Range<usize>)]) -> bool {
    matches!(words, [_, (equals, _), _, ..] if matches!(*equals, "=" | ":="))
}

/// The typographic quote in a text that lacks ordinary ones.
pub fn typographic(text: &str) -> Option<(usize, char)> {
    text.char_indices().find(|(_, c)| matches!(c, '“' | '”' | '„' | '‘' | '’' | '＂' | '＇' | '«' | '»'))
}

/// Words of a shell in a command that none reads.
pub fn is_shell(word: &str) -> bool {
    word.len() > 1 && word.ends_with(';')
        || matches!(
            word,
            "|" | "||" | "&&" | "&" | ";" | ">" | ">>" | "<" | "2>&1" | "2>/dev/null" | ">/dev/null" | "&>"
        )
}

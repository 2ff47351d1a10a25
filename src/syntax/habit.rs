//! What people bring along: other tools' words and characters that look right. Asked before anything is said of a line.

use super::vocabulary::find_verb;
use crate::diag::{Diagnostic, Place};
use std::ops::Range;
use unicode_normalization::UnicodeNormalization;

/// The ordinary form of a word in full-width letters: `ａｐｐｌｙ`.
pub fn narrow(word: &str) -> Option<String> {
    let wide = word.chars().any(|c| matches!(c, '\u{ff01}'..='\u{ff5e}'));
    wide.then(|| word.nfkc().collect())
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
    matches!(word, "|" | "||" | "&&" | "&" | ";" | ">" | ">>" | "<" | "2>&1" | "2>/dev/null" | ">/dev/null" | "&>")
}

//! Texts with captures, text matches, and text that is safe to show.

use super::{Captured, Evidence};
use crate::plan::{Part, Text, TextMatch};

/// The longest excerpt of an output in a message, in characters.
const EXCERPT: usize = 240;

/// Replaces the captures of a text; an unknown one is named in the error.
pub(super) fn resolve(text: &Text, evidence: &Evidence) -> Result<String, String> {
    let mut out = String::new();
    for part in &text.0 {
        match part {
            Part::Literal(literal) => out.push_str(literal),
            Part::Capture(name) => match evidence.captures.get(name) {
                Some(Captured::Text(value)) => out.push_str(value),
                Some(Captured::List(names)) => out.push_str(&names.join(" ")),
                None => return Err(name.clone()),
            },
        }
    }
    Ok(out)
}

/// A text match with its captures replaced and its regex compiled.
pub(super) enum Matcher {
    Equals(String),
    Contains(String),
    Matches(Box<regex::Regex>),
}

impl Matcher {
    /// The error is a sentence: an unknown capture, or a regex that does not compile.
    pub fn new(matches: &TextMatch, evidence: &Evidence) -> Result<Matcher, String> {
        let unknown = |name| format!("the capture `{name}` has no value yet");
        match matches {
            TextMatch::Equals(text) => resolve(text, evidence).map(Matcher::Equals).map_err(unknown),
            TextMatch::Contains(text) => resolve(text, evidence).map(Matcher::Contains).map_err(unknown),
            TextMatch::Matches(pattern) => regex::Regex::new(pattern)
                .map(|regex| Matcher::Matches(Box::new(regex)))
                .map_err(|error| format!("`/{pattern}/` is not a regular expression: {error}")),
        }
    }

    pub fn fits(&self, text: &str) -> bool {
        match self {
            Matcher::Equals(wanted) => text == wanted,
            Matcher::Contains(wanted) => text.contains(wanted.as_str()),
            Matcher::Matches(regex) => regex.is_match(text),
        }
    }

    /// As [`Matcher::fits`], but one newline at the end of an output does not matter to `==`.
    pub fn fits_output(&self, text: &str) -> bool {
        self.fits(text) || self.fits(text.strip_suffix('\n').unwrap_or(text))
    }
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Matcher::Equals(text) => write!(f, "== {}", quoted(text)),
            Matcher::Contains(text) => write!(f, "contains {}", quoted(text)),
            Matcher::Matches(regex) => write!(f, "matches /{}/", printable(regex.as_str())),
        }
    }
}

/// In double quotes, made printable, cut after [`EXCERPT`] characters.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", excerpt(text).replace('\n', "\\n"))
}

/// At most [`EXCERPT`] printable characters of a text, with `…` where it was cut.
pub(super) fn excerpt(text: &str) -> String {
    let text = printable(text.trim_end_matches('\n'));
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Text from outside made safe to print: control characters become visible, and those that reorder what a
/// reader sees are replaced.
pub fn printable(text: &str) -> String {
    crate::diag::render::visible(text)
}

/// Bytes from outside as printable text.
pub fn printable_bytes(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes))
}

/// The candidate that a mistyped word most likely means.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    similar::get_close_matches(word, &candidates, 1, 0.75).into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(printable("a\x1b[31mred\x07\r\n한글\u{202e}x"), "a␛[31mred␇\n한글\u{fffd}x");
    }

    #[test]
    fn excerpts_are_cut_between_characters() {
        let long = "가".repeat(300);
        assert_eq!(excerpt(&long).chars().count(), EXCERPT + 1);
    }
}

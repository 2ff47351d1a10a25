//! Words and their quotes: from pest's pairs to [`Word`]s.

use super::ast::{Name, Piece, Span, Word};
use super::grammar::Rule;
use super::habit;
use super::tree::Pair;
use crate::diag::{Diagnostic, Place};
use smallvec::SmallVec;
use unicode_normalization::UnicodeNormalization;

/// Turns pairs into words; knows where in the file the statement stands.
pub(super) struct Words<'a> {
    pub offset: usize,
    pub place: &'a dyn Fn(Span) -> Place,
    pub errors: Vec<Diagnostic>,
}

impl Words<'_> {
    pub fn span(&self, pair: &Pair<'_>) -> Span {
        self.offset + pair.span().start..self.offset + pair.span().end
    }

    pub fn name(&self, pair: &Pair<'_>) -> Name {
        Name { span: self.span(pair), text: pair.as_str().nfc().collect() }
    }

    /// A `word` or `cell`.
    pub fn word(&mut self, pair: Pair<'_>) -> Word {
        let mut word = Word { span: self.span(&pair), pieces: SmallVec::new(), quoted: false };
        self.pieces(pair, &mut word);
        word
    }

    fn pieces(&mut self, pair: Pair<'_>, word: &mut Word) {
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::double_quoted => {
                    word.quoted = true;
                    push(word, "");
                    self.pieces(part, word);
                }
                Rule::single_quoted => {
                    word.quoted = true;
                    push(word, "");
                    self.pieces(part, word);
                }
                Rule::bare | Rule::cell_text => {
                    // A cell may hold any text.
                    if part.as_rule() == Rule::cell_text || !self.foreign_characters(&part, word) {
                        self.odd_characters(&part);
                    }
                    push(word, part.as_str());
                }
                Rule::double_text | Rule::single_text => {
                    self.control_characters(&part);
                    push(word, part.as_str());
                }
                Rule::literal_dollar => push(word, "${"),
                Rule::variable => {
                    let span = self.span(&part);
                    if let Some(name) = part.into_inner().next() {
                        word.pieces.push(Piece::Variable(Box::new(Name { span, text: name.as_str().nfc().collect() })));
                    }
                }
                Rule::bad_variable => {
                    let span = self.span(&part);
                    let inner = part.as_str().trim_start_matches("${").trim_end_matches('}').trim();
                    let meant = match inner.split(|c: char| !(c.is_alphanumeric() || "_-".contains(c))).next() {
                        Some(name) if name.starts_with(char::is_alphabetic) => format!("${{{name}}}"),
                        _ => "${name}".to_string(),
                    };
                    let d = Diagnostic::error("E0110", format!("`{}` names no variable", part.as_str()))
                        .at((self.place)(span), "a name is letters, digits, `_` and `-`, and starts with a letter")
                        .help(format!("write `{meant}`, or `$${{` where the characters `${{` themselves are meant"));
                    self.errors.push(d);
                }
                Rule::escape => {
                    let c = part.as_str().chars().nth(1);
                    match c {
                        Some('n') => push(word, "\n"),
                        Some('t') => push(word, "\t"),
                        Some('r') => push(word, "\r"),
                        Some('"') => push(word, "\""),
                        Some('\\') => push(word, "\\"),
                        Some('$') => push(word, "$"),
                        _ => {
                            let span = self.span(&part);
                            let d = Diagnostic::error("E0109", format!("unknown escape `{}`", part.as_str()))
                                .at((self.place)(span), "known are \\n \\t \\r \\\" \\\\ \\$")
                                .help(format!(
                                    "for a backslash write `\\\\`, or use single quotes, in which nothing is special: '…{}…'",
                                    part.as_str()
                                ));
                            self.errors.push(d);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Full-width letters and signs, dashes of a word processor: told with what an ordinary keyboard would write.
    fn foreign_characters(&mut self, part: &Pair<'_>, word: &Word) -> bool {
        let text = part.as_str();
        let dash = word.pieces.is_empty() && text.starts_with(['–', '—', '−']);
        if !dash && !text.chars().any(habit::is_full_width) {
            return false;
        }
        let Some(meant) = habit::ordinary(text) else { return false };
        let d = Diagnostic::error("E0108", format!("`{text}` is not written in ordinary characters"))
            .at((self.place)(self.span(part)), format!("write `{meant}`"))
            .help(match dash {
                true => "an option starts with an ordinary `-`; in quotes it stands as it is",
                false => "switch the keyboard to half-width letters; what is meant so stands in quotes",
            });
        self.errors.push(d);
        true
    }

    /// Characters that look like a blank or a quote and are neither.
    fn odd_characters(&mut self, part: &Pair<'_>) {
        // Nearly all words: nothing to look for.
        if part.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return;
        }
        self.control_characters(part);
        let start = self.offset + part.span().start;
        for (at, c) in part.as_str().char_indices() {
            let (what, help) = match c {
                '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{3000}' => {
                    ("looks like a blank but is none", "type an ordinary blank here, or put the word in quotes")
                }
                '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => ("cannot be seen", "delete it"),
                '“' | '”' | '„' | '‘' | '’' if at == 0 || part.as_str()[at + c.len_utf8()..].is_empty() => {
                    ("is a typographic quote", "type \" or ' instead")
                }
                _ => continue,
            };
            let d = Diagnostic::error("E0108", format!("the character U+{:04X} {what}", c as u32))
                .at((self.place)(start + at..start + at + c.len_utf8()), "here")
                .help(help);
            self.errors.push(d);
            return;
        }
        if part.as_str() == "\\" {
            let d = Diagnostic::error("E0111", "a `\\` continues a line only as its very last character")
                .at((self.place)(start..start + 1), "something stands between it and the line's end")
                .help("remove what follows the `\\` (a blank, a comment), or write '\\' for the character itself");
            self.errors.push(d);
        }
    }

    fn control_characters(&mut self, part: &Pair<'_>) {
        let start = self.offset + part.span().start;
        let control = |c: char| c.is_control() && c != '\t';
        if let Some((at, c)) = part.as_str().char_indices().find(|(_, c)| control(*c)) {
            let d = Diagnostic::error("E0108", format!("the control character U+{:04X} cannot stand here", c as u32))
                .at((self.place)(start + at..start + at + c.len_utf8()), "here")
                .help(match c {
                    '\r' => "lines end with \\n or \\r\\n: save the file with such line ends",
                    _ => "delete it; in double quotes \\n, \\t and \\r can be written",
                });
            self.errors.push(d);
        }
    }
}

/// Adds text to a word, joined to text that stands before it.
fn push(word: &mut Word, text: &str) {
    match word.pieces.last_mut() {
        Some(Piece::Text(t)) => t.push_str(text),
        _ => word.pieces.push(Piece::Text(text.to_string())),
    }
}

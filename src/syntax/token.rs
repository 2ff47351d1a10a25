//! Lossless tokens: every byte of a text belongs to exactly one. For the formatter and for editors.

use super::ast::Span;
use super::grammar::{Egress, Rule};
use pest::Parser;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    ByteOrderMark,
    Blank,
    Newline,
    /// `\` and the line end behind it.
    Continuation,
    /// From `#` to the line's end.
    Comment,
    Word,
    /// `/…/` behind `matches`.
    Regex,
    /// From `<<TAG` to the closing word.
    Heredoc,
    /// `"""…"""`.
    Text,
    /// A quote, heredoc or text that is never closed.
    Unclosed,
}

/// The tokens of a text, in order and without a hole.
pub fn tokens(text: &str) -> Vec<Token> {
    cut(text, true)
}

/// The tokens of a line; only a file's first starts with a byte order mark, in others it is a part of a word.
pub(super) fn tokens_of_line(text: &str, is_first: bool) -> Vec<Token> {
    cut(text, is_first)
}

fn cut(text: &str, marked: bool) -> Vec<Token> {
    let mut out = vec![];
    for line in super::cut::lines(text) {
        let mut from = line.whole.start;
        if marked && from == 0 && text.starts_with('\u{feff}') {
            from = '\u{feff}'.len_utf8();
            out.push(Token { kind: TokenKind::ByteOrderMark, span: 0..from });
        }
        let piece = &text[from..line.whole.end];
        // The cut of a whole line is the line again, so this cannot fail where `lines` did not.
        let Ok(pairs) = Egress::parse(Rule::cut, piece) else {
            out.push(Token { kind: TokenKind::Word, span: from..line.whole.end });
            continue;
        };
        for token in pairs.flat_map(|p| p.into_inner()) {
            let kind = match token.as_rule() {
                Rule::blank => TokenKind::Blank,
                Rule::newline => TokenKind::Newline,
                Rule::continuation => TokenKind::Continuation,
                Rule::comment => TokenKind::Comment,
                Rule::regex => TokenKind::Regex,
                Rule::heredoc => TokenKind::Heredoc,
                Rule::text => TokenKind::Text,
                Rule::unclosed | Rule::unclosed_heredoc | Rule::unclosed_text => TokenKind::Unclosed,
                Rule::EOI => continue,
                _ => TokenKind::Word,
            };
            out.push(Token { kind, span: from + token.as_span().start()..from + token.as_span().end() });
        }
    }
    out
}

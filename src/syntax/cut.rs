//! Cuts a text into logical lines: what `\` continues, what quotes, regexes, texts and heredocs hold.
//! Any text can be cut: a line that leaves something open is a line all the same.

use super::ast::Span;
use super::grammar::{Egress, Rule};
use pest::Parser;

/// One logical line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// All its bytes, line end included.
    pub whole: Span,
    /// Its statement: from the first word to the last, without indent and trailing comment.
    pub span: Span,
    pub kind: LineKind,
}

impl Line {
    pub fn text<'a>(&self, text: &'a str) -> &'a str {
        &text[self.span.clone()]
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineKind {
    /// Blank, or a comment alone.
    Empty,
    Statement,
    Unclosed(Unclosed),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unclosed {
    /// Where the quote opens.
    Quote(Span),
    /// The `<<TAG`, and the tag.
    Heredoc(Span, String),
    Text(Span),
}

/// The logical lines of a text, in order; together they cover every byte. A byte order mark at the
/// start belongs to the first line, before its statement.
pub fn lines(text: &str) -> impl Iterator<Item = Line> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= text.len() {
            return None;
        }
        let skip = if at == 0 && text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let line = line(text, at, at + skip);
        at = line.whole.end;
        Some(line)
    })
}

fn line(text: &str, start: usize, from: usize) -> Line {
    let empty = |end| Line { whole: start..end, span: end..end, kind: LineKind::Empty };
    let Some(pair) = Egress::parse(Rule::cut, &text[from..]).ok().and_then(|mut pairs| pairs.next()) else {
        // The rule matches any input (held by a test); should it not, the line is handed on as it is,
        // and the statement rule says what is wrong with it.
        let end = text[from..].find('\n').map_or(text.len(), |i| from + i + 1);
        return Line { whole: start..end, span: from..end, kind: LineKind::Statement };
    };
    let end = from + pair.as_span().end();
    let mut span: Option<Span> = None;
    let mut kind = LineKind::Statement;
    for token in pair.into_inner() {
        let here = from + token.as_span().start()..from + token.as_span().end();
        match token.as_rule() {
            Rule::blank | Rule::continuation | Rule::comment | Rule::newline | Rule::EOI => continue,
            Rule::unclosed if kind == LineKind::Statement => kind = LineKind::Unclosed(Unclosed::Quote(here.clone())),
            Rule::unclosed_heredoc => {
                let open = token.into_inner().find(|t| t.as_rule() == Rule::open_tag);
                if let (Some(open), LineKind::Statement) = (open, &kind) {
                    let span = from + open.as_span().start()..from + open.as_span().end();
                    let tag = open.as_str().trim_start_matches("<<").trim_matches('\'').to_string();
                    kind = LineKind::Unclosed(Unclosed::Heredoc(span, tag));
                }
            }
            Rule::unclosed_text => {
                kind = LineKind::Unclosed(Unclosed::Text(here.start..here.start + 3));
            }
            _ => {}
        }
        span = Some(span.map_or(here.start, |s| s.start)..here.end);
    }
    match span {
        Some(span) => Line { whole: start..end, span, kind },
        None => empty(end),
    }
}

/// The first word of a statement, as far as a verb goes: up to a blank, a line's end or a continuation.
pub(super) fn first_word(text: &str) -> &str {
    let end = text.find([' ', '\t', '\r', '\n']).unwrap_or(text.len());
    let continued = text[end..].starts_with(['\r', '\n']);
    text[..end].strip_suffix('\\').filter(|_| continued).unwrap_or(&text[..end])
}

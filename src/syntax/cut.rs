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
    plain(text, start, from).unwrap_or_else(|| by_grammar(text, start, from))
}

/// A line of nothing but words, closed quotes and a comment, as the grammar would cut it: nearly all are. `None` where the
/// grammar has to look: a continuation, an escape, a heredoc, a text, a regex, something left open.
fn plain(text: &str, start: usize, from: usize) -> Option<Line> {
    let bytes = text.as_bytes();
    let (mut first, mut last) = (None, from);
    let (mut after_blank, mut comment) = (true, false);
    let mut at = from;
    // Nowhere else does a regex stand.
    let mut expects = false;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => {
                at += 1;
                break;
            }
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => {}
            b' ' | b'\t' => after_blank = true,
            _ if comment => {}
            b'#' if after_blank => comment = true,
            b'\\' => return None,
            b'<' if bytes.get(at + 1) == Some(&b'<') => return None,
            b'/' if after_blank && expects => return None,
            byte => {
                if first.is_none() {
                    first = Some(at);
                    expects = bytes[at..].starts_with(b"expect");
                }
                if let b'"' | b'\'' = byte {
                    let rest = &bytes[at + 1..];
                    let close = rest.iter().position(|b| b == byte || matches!(b, b'\\' | b'\n'))?;
                    // Three of them may open a text.
                    if rest[close] != *byte || (close == 0 && rest.get(1) == Some(byte)) {
                        return None;
                    }
                    at += 1 + close;
                }
                last = at + 1;
                after_blank = false;
            }
        }
        at += 1;
    }
    Some(match first {
        Some(first) => Line { whole: start..at, span: first..last, kind: LineKind::Statement },
        None => Line { whole: start..at, span: at..at, kind: LineKind::Empty },
    })
}

fn by_grammar(text: &str, start: usize, from: usize) -> Line {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways of cutting say the same, wherever the short one says anything.
    #[test]
    fn plain_lines_are_cut_as_the_grammar_cuts_them() {
        let signs = [
            "a", "b=", "한", " ", "  ", "\t", "#", "# c", "\"", "\"x y\"", "'", "'z'", "\\", "<", "<<A", "/", "/r/",
            "$", "${v}", "$${", "\r", "\r\n", "\n", "|", "expect", "matches", "\"\"\"", "-", "\u{a0}", "\u{feff}",
        ];
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        let mut short = 0;
        for _ in 0..60_000 {
            let text: String = (0..next(9)).map(|_| signs[next(signs.len())]).collect();
            if let Some(line) = plain(&text, 0, 0) {
                assert_eq!(line, by_grammar(&text, 0, 0), "{text:?}");
                short += 1;
            }
        }
        assert!(short > 20_000, "{short}");
    }
}

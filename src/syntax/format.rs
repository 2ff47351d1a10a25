//! Lays a scenario out: indents, blanks, tables, headers. Says what it said before, byte for byte in
//! every word, comment, text and heredoc; laying out twice changes nothing more.

use super::ast::Span;
use super::cut::{Line, LineKind, first_word, lines};
use super::grammar::{Egress, Rule};
use super::token::{Token, TokenKind, tokens_of_line};
use super::vocabulary::find_verb;
use pest::Parser;
use unicode_width::UnicodeWidthStr;

const INDENT: &str = "  ";
const BLANKS: &[char] = &[' ', '\t', '\r'];
/// Headers whose words are put in one column where they stand below one another.
const COLUMN: &[&str] = &["title", "namespace", "gateway", "require", "within", "include", "only", "skip"];

/// The text, laid out. Line ends stay what they are (`\r\n` where the first one is).
pub fn format(text: &str) -> String {
    let newline = match text.find('\n') {
        Some(i) if text[..i].ends_with('\r') => "\r\n",
        _ => "\n",
    };
    let lines: Vec<Line> = lines(text).collect();
    let first_words: Vec<&str> = lines.iter().map(|l| first_word(l.text(text))).collect();
    let mut out = Layout { text, newline, out: String::new(), scenario: false, open: 0 };
    let mut index = 0;
    let mut blank = false;
    while index < lines.len() {
        let line = &lines[index];
        let comment = comment_of(text, line);
        if line.kind == LineKind::Empty && comment.is_none() {
            blank = !out.out.is_empty();
            index += 1;
            continue;
        }
        if std::mem::take(&mut blank) {
            out.out.push_str(newline);
        }
        let word = first_words[index];
        let same = |group: &dyn Fn(&str) -> bool| {
            lines[index..]
                .iter()
                .zip(&first_words[index..])
                .take_while(|(l, w)| l.kind == LineKind::Statement && group(w))
                .count()
        };
        if word.starts_with('|') && line.kind == LineKind::Statement {
            let count = same(&|w| w.starts_with('|'));
            out.table(&lines[index..index + count]);
            index += count;
        } else if COLUMN.contains(&word) && line.kind == LineKind::Statement {
            let count = same(&|w| COLUMN.contains(&w));
            let width = first_words[index..index + count].iter().map(|w| w.len()).max().unwrap_or(0);
            for line in &lines[index..index + count] {
                out.statement(line, width);
            }
            index += count;
        } else {
            out.statement(line, 0);
            index += 1;
        }
    }
    if out.out.starts_with('\u{feff}') {
        // The first mark of a file is none of its characters: one that was an error elsewhere stays one.
        out.out.insert(0, '\u{feff}');
    }
    out.out
}

struct Layout<'t> {
    text: &'t str,
    newline: &'static str,
    out: String,
    /// Below a `scenario` line.
    scenario: bool,
    open: usize,
}

impl Layout<'_> {
    fn indent(&self) -> String {
        INDENT.repeat(self.open + usize::from(self.scenario))
    }

    /// One line that is not blank; its first word is filled up to `column`.
    fn statement(&mut self, line: &Line, column: usize) {
        if let LineKind::Unclosed(_) = line.kind {
            // What was meant cannot be known: left as it is.
            let whole = &self.text[line.whole.clone()];
            let mark = if line.whole.start == 0 { whole.strip_prefix('\u{feff}') } else { None };
            self.out.push_str(mark.unwrap_or(whole));
            return;
        }
        let word = first_word(line.text(self.text));
        match word {
            "scenario" => (self.scenario, self.open) = (true, 0),
            "end" => self.open = self.open.saturating_sub(1),
            _ => {}
        }
        let indent = match word {
            "scenario" => String::new(),
            _ => self.indent(),
        };
        self.out.push_str(&indent);
        let start = self.out.len();
        let has_comment = comment_of(self.text, line).is_some();
        for (index, piece) in pieces(self.text, line).into_iter().enumerate() {
            match piece {
                Piece::Gap { continued } if index == 1 && column > word.len() && !continued => {
                    self.out.push_str(&" ".repeat(column - word.len() + 1));
                }
                Piece::Gap { continued: false } => self.out.push(' '),
                Piece::Gap { continued: true } => {
                    self.out.push_str(" \\");
                    self.out.push_str(self.newline);
                    self.out.push_str(&indent);
                    self.out.push_str("    ");
                }
                Piece::Comment(text) => {
                    if self.out.len() > start {
                        self.out.push_str("  ");
                    }
                    self.out.push_str(text.trim_end_matches(BLANKS));
                }
                Piece::Word(text) => self.out.push_str(text),
                Piece::Heredoc(text) => self.block(text, &indent, true),
                Piece::Text(text) => self.block(text, &indent, false),
            }
        }
        if self.out.len() > start && self.out.ends_with('\\') && !has_comment {
            // A `\` with blanks behind it continues nothing, which is an error; without them it would.
            self.out.push(' ');
        }
        // A lone `\r` that ends a word (which is an error) must not become a part of the line's end.
        self.out.push_str(if self.out.ends_with('\r') { "\r\n" } else { self.newline });
        if find_verb(word).is_some_and(|v| v.opens) {
            self.open += 1;
        }
    }

    /// A heredoc or a text: its lines keep their indents to one another.
    fn block(&mut self, text: &str, indent: &str, heredoc: bool) {
        let mut all: Vec<&str> = text.split_inclusive('\n').collect();
        let head = all.first().copied().unwrap_or("");
        if all.len() < 2 {
            self.out.push_str(text);
            return;
        }
        all.remove(0);
        let blanks: &[char] = if heredoc { &[' '] } else { &[' ', '\t'] };
        let depth = |l: &str| l.len() - l.trim_start_matches(blanks).len();
        // The last line closes: it has no indent of its own.
        let last = all.pop().unwrap_or("");
        let closes_alone = heredoc || last.trim() == "\"\"\"";
        let judged = all.iter().copied().chain((!closes_alone).then_some(last));
        let common = judged.filter(|l| !l.trim().is_empty()).map(depth).min().unwrap_or(0);
        self.out.push_str(head.trim_end_matches(['\r', '\n']).trim_end_matches([' ', '\t']));
        self.out.push_str(self.newline);
        for line in all {
            let rest = &line[common.min(depth(line))..];
            let bare = rest.trim_end_matches(['\r', '\n']);
            if !bare.is_empty() && (heredoc || !bare.trim().is_empty()) {
                self.out.push_str(indent);
                self.out.push_str(bare);
            }
            self.out.push_str(&rest[bare.len()..]);
        }
        self.out.push_str(indent);
        self.out.push_str(if closes_alone { last.trim() } else { &last[common.min(depth(last))..] });
    }

    /// Rows below one another, their columns in line.
    fn table(&mut self, rows: &[Line]) {
        let cells: Vec<Option<Vec<&str>>> = rows.iter().map(|r| cells(r.text(self.text))).collect();
        let columns = cells.iter().flatten().map(Vec::len).max().unwrap_or(0);
        let width = |i: usize| cells.iter().flatten().filter_map(|r| r.get(i)).map(|c| c.width()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (line, cells) in rows.iter().zip(&cells) {
            self.out.push_str(&self.indent());
            match cells {
                Some(cells) => {
                    for (cell, width) in cells.iter().zip(&widths) {
                        // Behind a blank a `#` would begin a comment.
                        let (before, after) = if cell.starts_with('#') { ("", "  ") } else { (" ", " ") };
                        let blanks = " ".repeat(width - cell.width());
                        self.out.push_str(&format!("|{before}{cell}{blanks}{after}"));
                    }
                    self.out.push('|');
                }
                None => self.out.push_str(line.text(self.text).trim_end_matches(BLANKS)),
            }
            if let Some(comment) = comment_of(self.text, line) {
                self.out.push_str("  ");
                self.out.push_str(self.text[comment].trim_end_matches(BLANKS));
            }
            self.out.push_str(self.newline);
        }
    }
}

enum Piece<'t> {
    Gap { continued: bool },
    Word(&'t str),
    Comment(&'t str),
    Heredoc(&'t str),
    Text(&'t str),
}

/// What a line holds, the blanks between folded into gaps; none at either end or before a comment.
fn pieces<'t>(text: &'t str, line: &Line) -> Vec<Piece<'t>> {
    let mut out = vec![];
    let mut gap: Option<bool> = None;
    for Token { kind, span } in line_tokens(text, line) {
        let word = &text[span];
        let piece = match kind {
            TokenKind::ByteOrderMark | TokenKind::Newline => continue,
            TokenKind::Blank => {
                gap.get_or_insert(false);
                continue;
            }
            TokenKind::Continuation => {
                gap = Some(true);
                continue;
            }
            TokenKind::Comment => {
                gap = None;
                Piece::Comment(word)
            }
            TokenKind::Heredoc => Piece::Heredoc(word),
            TokenKind::Text => Piece::Text(word),
            TokenKind::Word | TokenKind::Regex | TokenKind::Unclosed => Piece::Word(word),
        };
        if let Some(continued) = gap.take().filter(|_| !out.is_empty()) {
            out.push(Piece::Gap { continued });
        }
        out.push(piece);
    }
    out
}

fn line_tokens(text: &str, line: &Line) -> Vec<Token> {
    let from = line.whole.start;
    let shift = |t: Token| Token { kind: t.kind, span: t.span.start + from..t.span.end + from };
    tokens_of_line(&text[line.whole.clone()], line.whole.start == 0).into_iter().map(shift).collect()
}

fn comment_of(text: &str, line: &Line) -> Option<Span> {
    line_tokens(text, line).into_iter().find(|t| t.kind == TokenKind::Comment).map(|t| t.span)
}

/// The cells of a row, trimmed, as written.
fn cells(text: &str) -> Option<Vec<&str>> {
    let pairs = Egress::parse(Rule::statement, text).ok()?;
    let row = pairs.flat_map(|p| p.into_inner()).find(|p| p.as_rule() == Rule::row)?;
    Some(row.into_inner().filter(|p| p.as_rule() == Rule::cell).map(|p| p.as_str().trim_matches([' ', '\t'])).collect())
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn lays_out() {
        let text = "title \"a\"   # why\r\nnamespace   x\r\n\r\n\r\n scenario \"s\" [a,  b]\r\nexec sleep \\\r\n curl  x\r\n# note\r\nfor\r\n|a|한글 |\r\n| bb | 'c | d'|\r\nexpect exit 0   \r\nend\r\n";
        let want = "title     \"a\"  # why\r\nnamespace x\r\n\r\nscenario \"s\" [a, b]\r\n  exec sleep \\\r\n      curl x\r\n  # note\r\n  for\r\n    | a  | 한글    |\r\n    | bb | 'c | d' |\r\n    expect exit 0\r\n  end\r\n";
        assert_eq!(format(text), want);
        assert_eq!(format(want), want);
    }

    #[test]
    fn heredocs_and_texts_move_as_a_whole() {
        let text = "scenario s\napply <<YAML  # c\na:\n  - b\n\n  - |\n    x\n   YAML\n\"\"\"\n      one\n        two\n\"\"\"\n";
        let want = "scenario s\n  apply <<YAML  # c\n  a:\n    - b\n\n    - |\n      x\n  YAML\n  \"\"\"\n  one\n    two\n  \"\"\"\n";
        assert_eq!(format(text), want);
        assert_eq!(format(want), want);
    }

    /// A `#` that was a cell's first character stays that.
    #[test]
    fn a_cell_may_begin_with_a_number_sign() {
        let text = "for\n  | a |#b | c |\n  | 1 | 2 |# |\n  note ${a}\nend\n";
        let once = format(text);
        assert!(once.contains("|#b ") && once.contains("|# "), "{once}");
        assert_eq!(format(&once), once);
    }

    /// An odd blank behind a row is not lost.
    #[test]
    fn a_row_that_cannot_be_read_stays_as_it_is() {
        assert!(format("for\n  | a |\u{3000}\n  | 1 |\nend\n").contains("| a |\u{3000}\n"));
    }
}

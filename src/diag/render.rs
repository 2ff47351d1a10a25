//! Draws a [`Diagnostic`]: header, carets into scenario and manifest, evidence, what to do next.
//!
//! Nothing that came from outside reaches the terminal as a control sequence: source lines are
//! shown with control characters replaced, and so is every text of the diagnostic itself.

use super::{Diagnostic, Label, Severity, Source, line_at};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};
use std::ops::Range;
use std::sync::Arc;
use unicode_width::UnicodeWidthStr;

/// The widest source line that is shown whole; longer ones are cut around their caret.
const WIDTH: usize = 200;

/// Marks that are farther from each other than this (bytes) are shown apart.
const FAR: usize = 16 << 10;

/// Lines are broken before this column where a label is longer.
const LABEL_WIDTH: usize = 110;
/// Stands before a label until it is wrapped; input never holds it (see [`visible`]).
const MARK: char = '\u{e000}';

/// The diagnostic as text, without a trailing newline. With `color`, ANSI styles are added (ours
/// only: escapes in the input never get through).
pub fn render(diagnostic: &Diagnostic, color: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = visible(&diagnostic.title);
    let mut group =
        level.primary_title(title.as_str()).id(diagnostic.code).elements(Vec::<Snippet<'_, Annotation<'_>>>::new());
    let excerpts: Vec<Excerpt> = excerpts(&diagnostic.labels);
    for excerpt in &excerpts {
        let mut snippet = Snippet::source(excerpt.text.as_str())
            .path(Some(excerpt.path.as_str()))
            .line_start(excerpt.first_line)
            .fold(true);
        for (index, (span, text)) in excerpt.marks.iter().enumerate() {
            let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let label = (!text.is_empty()).then(|| format!("{MARK}{text}"));
            snippet = snippet.annotation(kind.span(span.clone()).label(label));
        }
        group = group.element(snippet);
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = renderer.decor_style(DecorStyle::Unicode).term_width(WIDTH).render(&[group]);
    while out.ends_with('\n') {
        out.pop();
    }
    let mut out = wrapped(&out);
    for line in &diagnostic.evidence {
        for line in visible(line).lines() {
            out.push_str("\n   ");
            out.push_str(&evidence(line, color));
        }
    }
    for help in &diagnostic.help {
        for (index, line) in visible(help).lines().enumerate() {
            out.push_str("\n   ");
            match (index, color) {
                (0, true) => out.push_str("\u{1b}[1;96mtry\u{1b}[0m  "),
                (0, false) => out.push_str("try  "),
                _ => out.push_str("     "),
            }
            out.push_str(line);
        }
    }
    out
}

/// All of them, a blank line between, and a newline at the end.
pub fn render_all(diagnostics: &[Diagnostic], color: bool) -> String {
    diagnostics.iter().map(|d| format!("{}\n", render(d, color))).collect::<Vec<_>>().join("\n")
}

/// Breaks long labels between words; the lines that follow start below the first one's text.
fn wrapped(drawn: &str) -> String {
    let mut out = String::with_capacity(drawn.len());
    for line in drawn.split('\n') {
        if !out.is_empty() {
            out.push('\n');
        }
        let Some((before, label)) = line.split_once(MARK) else {
            out.push_str(line);
            continue;
        };
        out.push_str(before);
        let indent = columns(before);
        let width = LABEL_WIDTH.saturating_sub(indent).max(40);
        let mut at = 0;
        for (index, word) in label.split(' ').enumerate() {
            let wide = columns(word);
            if index > 0 && at + 1 + wide > width {
                out.push('\n');
                out.push_str(&gutter(before, indent));
                at = 0;
            } else if index > 0 {
                out.push(' ');
                at += 1;
            }
            out.push_str(word);
            at += wide;
        }
    }
    out
}

/// What stands left of a label's further lines: the rule goes on where the excerpt does.
fn gutter(before: &str, indent: usize) -> String {
    match before.find('│') {
        Some(at) if !before[..at].contains('╰') => {
            let column = columns(&before[..at]);
            format!("{}│{}", " ".repeat(column), " ".repeat(indent.saturating_sub(column + 1)))
        }
        _ => " ".repeat(indent),
    }
}

/// Terminal columns of a text, ANSI styles not counted.
fn columns(text: &str) -> usize {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, r)| r);
    }
    plain.push_str(rest);
    plain.width()
}

fn evidence(line: &str, color: bool) -> String {
    let style = match line.trim_start().chars().next() {
        Some('+') if color => "\u{1b}[32m",
        Some('-') if color => "\u{1b}[31m",
        _ => return line.to_string(),
    };
    format!("{style}{line}\u{1b}[0m")
}

/// Control characters as visible stand-ins (`␛` for ESC); newline stays, tab becomes a blank.
/// Bidirectional overrides are made visible too: they would reorder what a reader sees.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push('\n'),
            '\t' => out.push(' '),
            '\r' => {}
            '\u{7f}' => out.push('␡'),
            c if (c as u32) < 0x20 => out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
            | MARK => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The lines of one source that are shown together.
struct Excerpt {
    source: Arc<Source>,
    path: String,
    text: String,
    first_line: usize,
    /// Spans within `text`.
    marks: Vec<(Range<usize>, String)>,
}

/// One excerpt a source, in the order of the labels; the lines from its first to its last mark.
fn excerpts(labels: &[Label]) -> Vec<Excerpt> {
    let mut sources: Vec<(Arc<Source>, Vec<&Label>)> = vec![];
    for label in labels {
        let same = |s: &Arc<Source>| Arc::ptr_eq(s, &label.place.source) || s.name == label.place.source.name;
        // What is far from the first mark is shown by itself, not with everything between.
        let near = |list: &[&Label]| list[0].place.span.start.abs_diff(label.place.span.start) < FAR;
        match sources.iter_mut().find(|(s, list)| same(s) && near(list)) {
            Some((_, list)) => list.push(label),
            None => sources.push((label.place.source.clone(), vec![label])),
        }
    }
    sources.into_iter().map(|(source, labels)| excerpt(source, &labels)).collect()
}

fn excerpt(source: Arc<Source>, labels: &[&Label]) -> Excerpt {
    let text = source.text.as_str();
    let spans: Vec<Range<usize>> = labels.iter().map(|l| within(text, &l.place.span)).collect();
    let first = spans.iter().map(|s| s.start).min().unwrap_or(0);
    let last = spans.iter().map(|s| s.end.max(s.start)).max().unwrap_or(0);
    let mut from = text[..first].rfind('\n').map_or(0, |i| i + 1);
    // A byte order mark takes no column.
    if from == 0 && text.starts_with('\u{feff}') && first >= 3 {
        from = 3;
    }
    let to = text[last..].find('\n').map_or(text.len(), |i| last + i);
    let first_line = line_at(&source, from);
    let (shown, map) = shown(&text[from..to]);
    let marks = spans
        .iter()
        .zip(labels)
        .map(|(span, label)| (map(span.start - from)..map(span.end - from), visible(&label.text).replace('\n', " ")))
        .collect();
    Excerpt { path: visible(&source.name), text: shown, first_line, marks, source }
}

/// The span, moved onto character boundaries of the text.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let floor = |mut i: usize| {
        i = i.min(text.len());
        while !text.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let start = floor(span.start);
    start..floor(span.end).max(start)
}

/// The lines as they are shown, and where an offset of the original lies in them.
fn shown(lines: &str) -> (String, impl Fn(usize) -> usize + use<>) {
    let mut out = String::with_capacity(lines.len());
    let mut moved: Vec<(usize, usize)> = vec![(0, 0)];
    for (offset, c) in lines.char_indices() {
        if out.len() != offset || moved.len() > 1 {
            moved.push((offset, out.len()));
        }
        match c {
            // annotate-snippets expands a tab to four columns and counts it so.
            '\t' | '\n' => out.push(c),
            '\r' => {}
            c => out.push_str(&visible(c.encode_utf8(&mut [0; 4]))),
        }
    }
    moved.push((lines.len(), out.len()));
    let map = move |offset: usize| match moved.binary_search_by_key(&offset, |(from, _)| *from) {
        Ok(i) => moved[i].1,
        Err(i) => {
            let (from, to) = moved[i.saturating_sub(1)];
            to + (offset - from)
        }
    };
    (out, map)
}

impl std::fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Excerpt").field("path", &self.path).field("source", &self.source.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Place;

    fn source(name: &str, text: &str) -> Arc<Source> {
        Arc::new(Source { name: name.into(), text: text.into() })
    }

    #[test]
    fn carets_into_scenario_and_manifest() {
        let scenario = source("scenarios/cnn.egress", "apply x.yaml\n  expect status 200\n");
        let manifest = source("manifests/vs.yaml", "spec:\n  tls:\n  - match: []\n");
        let d = Diagnostic::error("E0410", "expected status 200, got no response")
            .at(Place { source: scenario, span: 15..32 }, "")
            .at(Place { source: manifest, span: 8..11 }, "the server on 15443 terminates TLS, so a `tls` route yields no filter chain and istiod omits the listener (0 chains).")
            .evidence("path  sleep ✓ → gw ✗")
            .help("kubectl logs deploy/istiod");
        insta_eq(
            &render(&d, false),
            "error[E0410]: expected status 200, got no response
  ╭▸ scenarios/cnn.egress:2:3
  │
2 │   expect status 200
  │   ━━━━━━━━━━━━━━━━━
  │
  ⸬  manifests/vs.yaml:2:3
  │
2 │   tls:
  ╰╴  ━━━ the server on 15443 terminates TLS, so a `tls` route yields no filter chain and istiod omits the
          listener (0 chains).
   path  sleep ✓ → gw ✗
   try  kubectl logs deploy/istiod",
        );
    }

    fn insta_eq(got: &str, want: &str) {
        assert_eq!(got, want, "\n--- got\n{got}\n--- want\n{want}");
    }

    #[test]
    fn escapes_of_the_input_are_shown_not_sent() {
        let s = source("a\u{1b}[31m.egress", "note \"\u{1b}[2J한글\" x\r\n");
        let d = Diagnostic::error("E0101", "bad \u{1b}]0;x\u{7}").at(Place { source: s, span: 20..21 }, "here");
        let out = render(&d, false);
        assert!(!out.contains('\u{1b}') && !out.contains('\u{7}') && !out.contains('\r'), "{out}");
    }

    #[test]
    fn a_span_past_the_end_or_inside_a_character_is_moved() {
        let s = source("a", "한글");
        for span in [0..1, 1..2, 5..90, 90..99] {
            let d = Diagnostic::error("E0101", "x").at(Place { source: s.clone(), span }, "y");
            assert!(render(&d, false).contains("한글"));
        }
    }
}

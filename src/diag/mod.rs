//! One located error type for parse, check and run: what was expected, what was seen, where, and
//! what to do next. Rendered with carets into the scenario and into manifests.

pub mod codes;
pub mod render;
pub mod suggest;

pub use render::{render, render_all};

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// A text that diagnostics can point into: a scenario or a manifest.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as the user wrote it (or as found beneath `manifests/`), for display.
    pub name: String,
    pub text: String,
}

/// A place in a source: byte offsets into [`Source::text`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub source: Arc<Source>,
    pub span: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// One caret line: a place and what to say beneath it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub place: Place,
    pub text: String,
}

/// A located error. `code` is stable (`E0410`): parse and check E01xx–E03xx, run E04xx–E05xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: &'static str,
    pub severity: Severity,
    pub title: String,
    /// The first label is the primary one.
    pub labels: Vec<Label>,
    /// Lines of evidence printed as they are (a path line, an expected/actual diff).
    pub evidence: Vec<String>,
    /// What to do next: commands or a sentence.
    pub help: Vec<String>,
}

impl Place {
    /// 1-based line of the place's start.
    pub fn line(&self) -> usize {
        line_at(&self.source, self.span.start)
    }

    /// 1-based column of the place's start, in characters; a byte order mark takes none.
    pub fn column(&self) -> usize {
        let text = &self.source.text;
        let mut end = self.span.start.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let line = text[..end].rfind('\n').map_or(0, |at| at + 1);
        text[line..end].trim_start_matches('\u{feff}').chars().count() + 1
    }
}

/// 1-based line of an offset. The line starts of the source that was asked about last are kept, so that the places of a
/// large file do not read it again and again.
fn line_at(source: &Arc<Source>, offset: usize) -> usize {
    thread_local! {
        static LAST: RefCell<(Weak<Source>, Vec<usize>)> = const { RefCell::new((Weak::new(), vec![])) };
    }
    let text = source.text.as_bytes();
    LAST.with_borrow_mut(|last| {
        if last.0.as_ptr() != Arc::as_ptr(source) {
            let ends = text.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at);
            *last = (Arc::downgrade(source), ends.collect());
        }
        last.1.partition_point(|end| *end < offset) + 1
    })
}

impl Diagnostic {
    pub fn error(code: &'static str, title: impl Into<String>) -> Self {
        Diagnostic {
            code,
            severity: Severity::Error,
            title: title.into(),
            labels: vec![],
            evidence: vec![],
            help: vec![],
        }
    }

    pub fn warning(code: &'static str, title: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, title) }
    }

    /// Stands for something that was told already; never shown.
    pub(crate) fn told() -> Self {
        Diagnostic::error("", "")
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// `file:line`, for sorting and for one-line output.
    pub fn position(&self) -> Option<(&str, usize)> {
        self.labels.first().map(|l| (l.place.source.name.as_str(), l.place.line()))
    }

    pub fn at(mut self, place: Place, text: impl Into<String>) -> Self {
        self.labels.push(Label { place, text: text.into() });
        self
    }

    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    pub fn evidence(mut self, line: impl Into<String>) -> Self {
        self.evidence.push(line.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_forwards_and_backwards() {
        let source = |text: &str| Arc::new(Source { name: "a".into(), text: text.into() });
        let (a, b) = (source("1\n2\n\n4"), source("\n\n\n\n"));
        let line = |source: &Arc<Source>, at: usize| Place { source: source.clone(), span: at..at }.line();
        assert_eq!([0, 2, 5, 99, 1, 4, 0].map(|at| line(&a, at)), [1, 2, 4, 4, 1, 3, 1]);
        assert_eq!((line(&b, 3), line(&a, 2), line(&b, 4)), (4, 2, 5));
    }
}

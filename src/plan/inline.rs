//! A heredoc's text after dedenting and replacement, and where each part of it stands in the scenario.

use crate::diag::Source;
use std::ops::Range;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Inline {
    pub source: Arc<Source>,
    pub text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone)]
struct Segment {
    /// Where it starts in `text`.
    at: usize,
    /// Where it stands in the source.
    source: Range<usize>,
    /// The same bytes in both; otherwise a value that replaced a variable.
    verbatim: bool,
}

impl Inline {
    pub fn new(source: Arc<Source>) -> Self {
        Inline { source, text: String::new(), segments: vec![] }
    }

    pub fn verbatim(&mut self, text: &str, at: usize) {
        if !text.is_empty() {
            self.segments.push(Segment { at: self.text.len(), source: at..at + text.len(), verbatim: true });
            self.text.push_str(text);
        }
    }

    pub fn replaced(&mut self, text: &str, source: Range<usize>) {
        self.segments.push(Segment { at: self.text.len(), source, verbatim: false });
        self.text.push_str(text);
    }

    /// Where a range of `text` stands in the source.
    pub fn in_source(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.offset(range.start, false);
        start..self.offset(range.end, true).max(start)
    }

    fn offset(&self, at: usize, end: bool) -> usize {
        // The end of a range belongs to the segment that its last byte is in.
        let probe = if end { at.saturating_sub(1) } else { at };
        let index = self.segments.partition_point(|s| s.at <= probe);
        let Some(segment) = index.checked_sub(1).and_then(|i| self.segments.get(i)) else {
            return self.segments.first().map_or(0, |s| s.source.start);
        };
        match (segment.verbatim, end) {
            (true, _) => (segment.source.start + (at - segment.at)).min(segment.source.end),
            (false, true) => segment.source.end,
            (false, false) => segment.source.start,
        }
    }
}

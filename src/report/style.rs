//! Marks, colours, and columns that hold with wide characters.

use crate::run::event::{ObjectAction, Verdict};
use unicode_width::UnicodeWidthStr;

/// ✓ passed, – skipped, ? not shown, ✗ failed, ! broken.
pub(super) fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "✓",
        Verdict::Skipped => "–",
        Verdict::NotShown => "?",
        Verdict::Failed => "✗",
        Verdict::Broken => "!",
    }
}

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Skipped => "skipped",
        Verdict::NotShown => "not shown",
        Verdict::Failed => "failed",
        Verdict::Broken => "broken",
    }
}

pub(super) fn action(action: ObjectAction) -> &'static str {
    match action {
        ObjectAction::Created => "created",
        ObjectAction::Changed => "changed",
        ObjectAction::Unchanged => "unchanged",
        ObjectAction::Deleted => "deleted",
        ObjectAction::Restored => "restored",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    Green,
    Red,
    Yellow,
    Dim,
    Bold,
}

pub(super) fn of_verdict(verdict: Verdict) -> Color {
    match verdict {
        Verdict::Passed => Color::Green,
        Verdict::Skipped => Color::Dim,
        Verdict::NotShown => Color::Yellow,
        Verdict::Failed | Verdict::Broken => Color::Red,
    }
}

/// The text in a colour, or as it is.
pub(super) fn paint(text: &str, color: Color, on: bool) -> String {
    if !on {
        return text.to_string();
    }
    let code = match color {
        Color::Green => "32",
        Color::Red => "31",
        Color::Yellow => "33",
        Color::Dim => "2",
        Color::Bold => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Blanks that bring a text to a column; at least two.
pub(super) fn gap(text: &str, column: usize) -> String {
    " ".repeat(column.saturating_sub(text.width()).max(2))
}

pub(super) use crate::diag::render::visible;

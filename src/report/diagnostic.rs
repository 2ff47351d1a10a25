//! Diagnostics within a report.

use crate::diag::{Diagnostic, Severity};

/// The diagnostic as lines of text.
pub(super) fn render(diagnostic: &Diagnostic, _color: bool) -> String {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut lines = vec![format!("{severity}[{}]: {}", diagnostic.code, diagnostic.title)];
    for label in &diagnostic.labels {
        lines.push(format!("  {}:{}  {}", label.place.source.name, label.place.line(), label.text));
    }
    lines.extend(diagnostic.evidence.iter().map(|line| format!("   {line}")));
    lines.extend(diagnostic.help.iter().map(|line| format!("   try  {line}")));
    visible(&lines.join("\n"))
}

pub(super) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => {}
            '\0'..='\x1f' => out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\x7f'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{fffd}');
            }
            c => out.push(c),
        }
    }
    out
}

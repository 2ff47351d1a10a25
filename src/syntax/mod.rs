//! The text of a scenario → lossless tokens → statements with spans. No I/O, no meaning: what a
//! word stands for is settled in `plan`, after variables are replaced.
//!
//! [`parse`] never stops at the first mistake: a line that cannot be read becomes
//! [`Verb::Broken`] with a diagnostic, and the lines after it are still read.

pub mod ast;
mod build;
mod cut;
mod escape;
mod expectation;
mod first;
mod format;
mod grammar;
pub mod habit;
mod keyboard;
mod mistake;
mod repair;
mod shape;
pub mod token;
mod tree;
pub mod vocabulary;

pub use ast::*;
pub use cut::{Line, LineKind, lines};
pub use format::format;
pub use token::{Token, TokenKind, tokens};

use crate::diag::{Diagnostic, Place, Source};
use std::sync::Arc;

/// The statements of a file and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Parsed {
    pub source: Arc<Source>,
    pub statements: Vec<Statement>,
    pub errors: Vec<Diagnostic>,
}

/// Reads a whole file.
pub fn parse(source: &Arc<Source>) -> Parsed {
    let mut parsed = Parsed { source: source.clone(), statements: vec![], errors: vec![] };
    // A manifest that stands among the steps is told once, not line by line.
    let mut yaml = false;
    for line in lines(&source.text) {
        let place = |span| Place { source: source.clone(), span };
        match &line.kind {
            LineKind::Empty => {}
            LineKind::Statement => {
                let (statement, errors) = build::statement(source, &line);
                parsed.statements.push(statement);
                let first = line.text(&source.text).split_whitespace().next().unwrap_or("");
                let unknown = errors.iter().any(|e| e.code == "E0104");
                let closes = yaml && matches!(first, "EOF" | "YAML" | "EOT" | "END");
                let told = unknown && yaml && (habit::is_yaml(first) || closes);
                // A block that was not opened: what was to stand in it is told with the line that fails to open it.
                let unopened =
                    errors.iter().any(|e| e.title.ends_with("opens no block") || e.title == "`apply` is not finished");
                yaml = unopened || unknown && habit::is_yaml(first) || told;
                parsed.errors.extend(errors.into_iter().filter(|_| !told));
            }
            LineKind::Unclosed(what) => {
                parsed.errors.push(mistake::unclosed(what.clone(), &source.text, &line, &place));
                let verb = Verb::Broken(mistake::remains(line.text(&source.text), line.span.start));
                parsed.statements.push(Statement { span: line.span.clone(), verb });
            }
        }
    }
    called_without_do(&mut parsed);
    one_of_each_line_end(&mut parsed);
    parsed
}

/// A verb that is none, but the name of steps: `do` is missing.
fn called_without_do(parsed: &mut Parsed) {
    let names = parsed.statements.iter().filter_map(|s| match &s.verb {
        Verb::Steps { name, .. } => Some(name.text.clone()),
        _ => None,
    });
    let names: Vec<String> = names.collect();
    for error in parsed.errors.iter_mut().filter(|e| e.code == "E0104") {
        let Some(label) = error.labels.first_mut() else { continue };
        let verb = &parsed.source.text[label.place.span.clone()];
        if names.iter().any(|name| name == verb) {
            error.help = vec![format!("write do {verb} …")];
            label.text = "names steps; a line starts with a verb".into();
        }
    }
}

/// A file whose lines end with a carriage return alone is one line: that is told once.
fn one_of_each_line_end(parsed: &mut Parsed) {
    let mut seen = false;
    parsed.errors.retain(|e| !e.title.contains("U+000D") || !std::mem::replace(&mut seen, true));
}

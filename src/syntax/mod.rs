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
mod format;
mod grammar;
pub mod habit;
mod mistake;
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
                yaml = unknown && habit::is_yaml(first);
                parsed.errors.extend(errors.into_iter().filter(|_| !told));
            }
            LineKind::Unclosed(what) => {
                parsed.errors.push(mistake::unclosed(what.clone(), &source.text, &line, &place));
                let verb = Verb::Broken(mistake::remains(line.text(&source.text), line.span.start));
                parsed.statements.push(Statement { span: line.span.clone(), verb });
            }
        }
    }
    parsed
}

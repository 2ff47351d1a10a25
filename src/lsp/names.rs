//! The names that a file gives, and where they are known.

use crate::syntax::{Name, Parsed, Span, Verb};

/// A name as it is known at some place.
#[derive(Debug, Clone)]
pub struct Known<'p> {
    pub name: &'p Name,
    /// The statement that gives it.
    pub statement: Span,
    /// A capture: known in commands and comparisons.
    pub capture: bool,
}

/// The names known at a byte offset, the nearest last.
pub fn at(parsed: &Parsed, offset: usize) -> Vec<Known<'_>> {
    let mut out: Vec<Known<'_>> = vec![];
    // How many names belong to the file, once its first scenario has begun; how many stood before each open block.
    let mut file: Option<usize> = None;
    let mut blocks: Vec<usize> = vec![];
    for statement in parsed.statements.iter().take_while(|s| s.span.start < offset) {
        let mut give = |name, capture| out.push(Known { name, statement: statement.span.clone(), capture });
        match &statement.verb {
            Verb::Set { name, .. } | Verb::Let { name, .. } => give(name, false),
            Verb::Capture { name, .. } => give(name, true),
            Verb::Scenario { .. } => {
                let count = *file.get_or_insert(out.len());
                out.truncate(count);
                blocks.clear();
            }
            Verb::For { name, .. } => {
                blocks.push(out.len());
                out.push(Known { name, statement: statement.span.clone(), capture: false });
            }
            Verb::ForTable | Verb::Setup | Verb::Cleanup => blocks.push(out.len()),
            Verb::Steps { parameters, .. } => {
                blocks.push(out.len());
                let statement = statement.span.clone();
                out.extend(parameters.iter().map(|name| Known { name, statement: statement.clone(), capture: false }));
            }
            Verb::End => {
                // Captures made inside stay known behind the block.
                if let Some(count) = blocks.pop() {
                    let captures = out.split_off(count.min(out.len())).into_iter().filter(|known| known.capture);
                    out.extend(captures);
                }
            }
            Verb::Broken(broken) => broken.names.iter().for_each(|name| give(name, false)),
            _ => {}
        }
    }
    out
}

/// Named steps of a file, each with its statement.
pub fn steps(parsed: &Parsed) -> impl Iterator<Item = (&Name, &[Name], &Span)> {
    parsed.statements.iter().filter_map(|statement| match &statement.verb {
        Verb::Steps { name, parameters } => Some((name, parameters.as_slice(), &statement.span)),
        _ => None,
    })
}

/// The variables that a table's first row names, with their places.
pub fn table_names(parsed: &Parsed, offset: usize) -> Vec<(String, Span)> {
    let mut out = vec![];
    let mut heading = false;
    let mut depth = 0_usize;
    for statement in parsed.statements.iter().take_while(|s| s.span.start < offset) {
        match &statement.verb {
            Verb::ForTable => (heading, depth) = (true, depth + 1),
            Verb::For { .. } | Verb::Steps { .. } | Verb::Setup | Verb::Cleanup => depth += 1,
            Verb::Row(cells) if std::mem::take(&mut heading) => {
                out.extend(cells.iter().filter_map(|cell| Some((cell.literal()?, cell.span.clone()))));
            }
            Verb::End => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    out.clear();
                }
            }
            Verb::Scenario { .. } => (depth, heading) = (0, false),
            _ => {}
        }
    }
    out
}

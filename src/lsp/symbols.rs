//! The outline of a file: its headers, its scenarios with their steps.

use super::position::Encoding;
use crate::syntax::{Parsed, Span, Verb, lines};
use lsp_types::{DocumentSymbol, SymbolKind};

pub fn symbols(parsed: &Parsed, encoding: Encoding) -> Vec<DocumentSymbol> {
    let text = &parsed.source.text;
    let mut out: Vec<DocumentSymbol> = vec![];
    let mut in_scenario = false;
    for statement in &parsed.statements {
        let span = &statement.span;
        let first = text[span.clone()].lines().next().unwrap_or("").trim_end_matches('\\').trim_end();
        let (name, kind) = match &statement.verb {
            Verb::Scenario { title, .. } => {
                (title.literal().unwrap_or_else(|| first.to_owned()), SymbolKind::NAMESPACE)
            }
            Verb::Set { name, .. } | Verb::Let { name, .. } | Verb::Capture { name, .. } => {
                (name.text.clone(), SymbolKind::VARIABLE)
            }
            Verb::End | Verb::Row(_) | Verb::Broken(_) | Verb::Text(_) => continue,
            _ => (first.to_owned(), SymbolKind::EVENT),
        };
        let symbol = symbol(text, name, kind, span, encoding);
        if let Verb::Scenario { .. } = statement.verb {
            in_scenario = true;
            out.push(symbol);
            continue;
        }
        match out.last_mut().filter(|_| in_scenario) {
            Some(scenario) => {
                // A scenario reaches to its last step.
                scenario.range.end = symbol.range.end;
                scenario.children.get_or_insert_default().push(symbol);
            }
            None => out.push(symbol),
        }
    }
    out
}

#[allow(deprecated)] // The field has no other way to be left empty.
fn symbol(text: &str, name: String, kind: SymbolKind, span: &Span, encoding: Encoding) -> DocumentSymbol {
    let range = encoding.range(text, span);
    let first = lines(&text[span.clone()]).next().map_or(span.end, |line| span.start + line.span.end);
    DocumentSymbol {
        name: if name.is_empty() { "…".into() } else { name },
        detail: None,
        kind,
        tags: None,
        deprecated: None,
        range,
        selection_range: encoding.range(text, &(span.start..first)),
        children: None,
    }
}

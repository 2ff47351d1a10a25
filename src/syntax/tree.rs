//! What the grammar found in one statement: rules and their places, flat, in the order of the text.

use super::ast::Span;
use super::grammar::Rule;

/// A rule that matched. What stands below it follows it in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub rule: Rule,
    pub start: u32,
    pub end: u32,
    /// How many of the nodes behind it are below it.
    pub below: u32,
}

/// The nodes of what pest found, without the end of input.
pub(super) fn flat(pairs: pest::iterators::Pairs<'_, Rule>) -> Vec<Node> {
    let mut nodes = vec![];
    add(pairs, &mut nodes);
    nodes
}

fn add(pairs: pest::iterators::Pairs<'_, Rule>, nodes: &mut Vec<Node>) {
    for pair in pairs.filter(|p| p.as_rule() != Rule::EOI) {
        let (index, span) = (nodes.len(), pair.as_span());
        nodes.push(Node { rule: pair.as_rule(), start: span.start() as u32, end: span.end() as u32, below: 0 });
        add(pair.into_inner(), nodes);
        nodes[index].below = (nodes.len() - index - 1) as u32;
    }
}

/// One node with what is below it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'t> {
    text: &'t str,
    nodes: &'t [Node],
}

impl<'t> Pair<'t> {
    pub fn as_rule(&self) -> Rule {
        self.nodes[0].rule
    }

    pub fn as_str(&self) -> &'t str {
        &self.text[self.span()]
    }

    /// Where it stands in the statement.
    pub fn span(&self) -> Span {
        self.nodes[0].start as usize..self.nodes[0].end as usize
    }

    pub fn into_inner(self) -> Pairs<'t> {
        Pairs { text: self.text, nodes: &self.nodes[1..] }
    }
}

/// Nodes side by side.
#[derive(Debug, Clone)]
pub(super) struct Pairs<'t> {
    text: &'t str,
    nodes: &'t [Node],
}

impl<'t> Pairs<'t> {
    pub fn new(text: &'t str, nodes: &'t [Node]) -> Pairs<'t> {
        Pairs { text, nodes }
    }

    pub fn peek(&self) -> Option<Pair<'t>> {
        let below = self.nodes.first()?.below as usize;
        Some(Pair { text: self.text, nodes: &self.nodes[..=below] })
    }
}

impl<'t> Iterator for Pairs<'t> {
    type Item = Pair<'t>;

    fn next(&mut self) -> Option<Pair<'t>> {
        let pair = self.peek()?;
        self.nodes = &self.nodes[pair.nodes.len()..];
        Some(pair)
    }
}

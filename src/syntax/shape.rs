//! Statements of one shape are parsed once. `expect status 200` and `expect status 404` differ in a word that the grammar
//! does not look into: its tree of one is the tree of the other, with the places of other words.
//!
//! A word is *open* when the grammar cannot tell it from others of its class: made of letters, digits and signs that
//! mean nothing to it, and none of its keywords, or quoted and without escapes and variables. All other words are a part of the shape as
//! they are. Only statements that can be read have a shape; what is wrong is always read by the grammar.

use super::tree::Node;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// More shapes than this are not kept: a file of mere curiosities must not fill the memory.
const MOST_SHAPES: usize = 4096;
/// Statements with more words have no shape.
const MOST_WORDS: usize = 64;

thread_local! {
    static SHAPES: RefCell<Shapes> = RefCell::default();
}

/// The tree of a statement: of its shape when that is known, otherwise as `parse` reads it.
///
/// # Errors
/// Those of `parse`.
pub(super) fn tree<E>(text: &str, parse: impl FnOnce() -> Result<Vec<Node>, E>) -> Result<Vec<Node>, E> {
    SHAPES.with_borrow_mut(|shapes| {
        if !shapes.look(text) {
            return parse();
        }
        if let Some(shape) = shapes.known.get(&shapes.key) {
            return Ok(shape.iter().map(|bound| bound.at(&shapes.words)).collect());
        }
        let nodes = parse()?;
        if shapes.known.len() < MOST_SHAPES
            && let Some(shape) = nodes.iter().map(|node| Bounds::of(node, &shapes.words)).collect()
        {
            shapes.known.insert(shapes.key.clone(), shape);
        }
        Ok(nodes)
    })
}

#[derive(Default)]
struct Shapes {
    known: HashMap<Vec<u8>, Vec<Bounds>>,
    /// Of the statement that is looked at.
    key: Vec<u8>,
    words: Vec<Word>,
}

#[derive(Debug, Clone, Copy)]
struct Word {
    start: u32,
    end: u32,
    class: Class,
}

/// What the grammar can tell of a word. The numbers stand for open words in a key, where no text has such bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Class {
    /// It is a part of the shape as it is.
    Literal = 0,
    /// The `name` of the grammar would match it whole.
    Name = 1,
    /// It begins like a name, and goes on otherwise: a host, an address of a site.
    Named = 2,
    /// It begins with a digit.
    Number = 3,
    DoubleQuoted = 4,
    SingleQuoted = 5,
    /// It begins with `/`, and is no regex.
    Path = 6,
}

/// A node with its ends told from the words' ends.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    node: Node,
    start: End,
    end: End,
}

#[derive(Debug, Clone, Copy)]
struct End {
    word: u8,
    /// Counted from the word's end, not from its start.
    back: bool,
    /// Bytes from there.
    by: u32,
}

impl Bounds {
    fn of(node: &Node, words: &[Word]) -> Option<Bounds> {
        Some(Bounds { node: *node, start: End::of(node.start, words)?, end: End::of(node.end, words)? })
    }

    fn at(&self, words: &[Word]) -> Node {
        Node { start: self.start.at(words), end: self.end.at(words), ..self.node }
    }
}

impl End {
    /// `None` where it lies inside an open word: then the grammar did look into it.
    fn of(place: u32, words: &[Word]) -> Option<End> {
        let index = words.iter().position(|w| (w.start..=w.end).contains(&place))?;
        let word = &words[index];
        let (after, before) = (place - word.start, word.end - place);
        let most = match word.class {
            Class::Literal => u32::MAX,
            Class::DoubleQuoted | Class::SingleQuoted => 1,
            _ => 0,
        };
        let word = index as u8;
        match (after <= most, before <= most) {
            (true, _) => Some(End { word, back: false, by: after }),
            (_, true) => Some(End { word, back: true, by: before }),
            _ => None,
        }
    }

    fn at(&self, words: &[Word]) -> u32 {
        let word = words[usize::from(self.word)];
        if self.back { word.end - self.by } else { word.start + self.by }
    }
}

impl Shapes {
    /// Makes out the words of a statement and their key; false when it has no shape.
    fn look(&mut self, text: &str) -> bool {
        self.key.clear();
        self.words.clear();
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if matches!(bytes[at], b' ' | b'\t') {
                at += 1;
                continue;
            }
            let Some((end, class)) = word(text, at) else { return false };
            let matches = self.words.last().is_some_and(|w| &bytes[w.start as usize..w.end as usize] == b"matches");
            if self.words.len() == MOST_WORDS || (class == Class::Path && matches) {
                return false;
            }
            self.words.push(Word { start: at as u32, end: end as u32, class });
            match class {
                Class::Literal => self.key.extend(&bytes[at..end]),
                class => self.key.push(class as u8),
            }
            self.key.push(b' ');
            at = end;
        }
        true
    }
}

/// The end of the word that starts at `at`, and its class. `None` where the grammar alone can tell: escapes, joined
/// quotes, heredocs, regexes, rows, comments, control characters.
fn word(text: &str, at: usize) -> Option<(usize, Class)> {
    let bytes = text.as_bytes();
    let first = bytes[at];
    if let b'"' | b'\'' = first {
        let length = bytes[at + 1..].iter().position(|b| *b == first || *b == b'\\' || *b < b' ')?;
        let end = at + 1 + length;
        let alone = matches!(bytes.get(end + 1), None | Some(b' ' | b'\t'));
        if bytes[end] != first || !alone {
            return None;
        }
        let class = match first {
            _ if length == 0 => Class::Literal,
            b'"' if bytes[at..end].contains(&b'$') => Class::Literal,
            b'"' => Class::DoubleQuoted,
            _ => Class::SingleQuoted,
        };
        return Some((end + 1, class));
    }
    if matches!(first, b'|' | b'#') {
        return None;
    }
    // What was seen of it so far: whether a name goes on, and whether a sign of the grammar's own was met.
    let (mut is_name, mut literal) = (true, !matches!(first, b'/' | b'_') && !first.is_ascii_alphanumeric());
    let mut end = at;
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => {}
            b'.' | b':' | b'/' | b'?' | b'&' | b'%' | b'+' | b'@' | b'~' | b'*' => is_name = false,
            // Behind a name it gives it a value.
            b'=' => literal |= is_name,
            b' ' | b'\t' => break,
            b'"' | b'\'' | b'\\' | 0..b' ' | 0x7f => return None,
            b'<' if bytes.get(end + 1) == Some(&b'<') => return None,
            _ => literal = true,
        }
        end += 1;
    }
    let class = match first {
        _ if literal => Class::Literal,
        b'0'..=b'9' => Class::Number,
        b'/' => Class::Path,
        _ if !is_name => Class::Named,
        _ if KEYWORDS.contains(&text[at..end]) => Class::Literal,
        _ => Class::Name,
    };
    Some((end, class))
}

/// Every word that the grammar knows: whatever stands in quotes in it.
static KEYWORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let grammar = include_str!("../../grammar/egress.pest");
    let lines = grammar.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
});

#[cfg(test)]
mod tests {
    use super::super::grammar::{Egress, Rule};
    use super::super::{LineKind, lines, tree};
    use super::*;
    use pest::Parser;

    /// Whatever word of its class stands in its place: the tree of the shape is the tree of the grammar.
    #[test]
    fn trees_of_a_shape_are_those_of_the_grammar() {
        let texts =
            glob::glob("tests/language/*/input.egress").unwrap().chain(glob::glob("scenarios/**/*.egress").unwrap());
        let others = [
            (Class::Name, ["x", "httpbin-ext", "in_", "Within", "e2"]),
            (Class::Named, ["a.b", "https://x.y/z?n=1&m=2", "sleep.mesh-test:80", "_.*", "x@y"]),
            (Class::Number, ["0", "200", "2xx", "10s", "1.2.3.4/32"]),
            (Class::DoubleQuoted, ["\"x\"", "\"가 나\"", "\" \"", "\"it's [a] # b\"", "\"end\""]),
            (Class::Path, ["/", "/dev/null", "/a/b.c", "/x-y", "/0?a=b"]),
            (Class::SingleQuoted, ["'x'", "'${가} 나'", "' '", "'\"q\"'", "'end'"]),
        ];
        let (mut seen, mut known) = (0, 0);
        for text in texts.filter_map(|path| std::fs::read_to_string(path.unwrap()).ok()) {
            for line in lines(&text).filter(|l| l.kind == LineKind::Statement) {
                let statement = line.text(&text);
                let mut shapes = Shapes::default();
                if !shapes.look(statement) {
                    continue;
                }
                let words = shapes.words.clone();
                for turn in 0..5 {
                    let mut other = String::new();
                    for word in &words {
                        let own = &statement[word.start as usize..word.end as usize];
                        let class = others.iter().find(|(class, _)| *class == word.class);
                        other += class.map_or(own, |(_, words)| words[(turn + word.start as usize) % 5]);
                        other += if turn % 2 == 0 { " " } else { " \t " };
                    }
                    let other = other.trim_end();
                    let by_grammar = Egress::parse(Rule::statement, other).ok().map(tree::flat);
                    let by_shape = super::tree(other, || by_grammar.clone().ok_or(()));
                    assert_eq!(by_shape.ok(), by_grammar, "{statement:?} {other:?}");
                    seen += 1;
                }
                known += 1;
            }
        }
        assert!(seen > 2000 && known > 400, "{seen} {known}");
    }
}

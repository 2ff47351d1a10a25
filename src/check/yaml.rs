//! Reads manifests as kubectl does, and keeps where each value stands.
//!
//! kubectl's reading: YAML 1.1 booleans (`on`, `yes`, `y`), octal `010`, merge keys, duplicate keys
//! are errors. Bounded: nesting, and the number of values after aliases are replaced.

use super::scalar;
use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span as YamlSpan};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;

/// Kubernetes objects are a dozen levels deep; more than this is an attack or an accident.
const MAX_DEPTH: usize = 100;
/// Values in one file, each alias counted with all that it stands for.
const MAX_VALUES: usize = 200_000;
/// Mistakes of one file that are told.
const MAX_ERRORS: usize = 100;

/// One document: its value and where each JSON pointer stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub value: Value,
    pub span: Range<usize>,
    /// Sorted by pointer. A scalar's own place; of a map or list the key before it.
    pub spans: Vec<(String, Range<usize>)>,
}

/// What cannot be read, where.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlError {
    pub code: &'static str,
    pub title: String,
    pub span: Range<usize>,
    pub label: String,
    /// A second place: the first of two equal keys.
    pub other: Option<(Range<usize>, String)>,
    pub help: Option<String>,
}

impl YamlError {
    fn new(code: &'static str, title: impl Into<String>, span: Range<usize>, label: impl Into<String>) -> Box<Self> {
        Box::new(YamlError { code, title: title.into(), span, label: label.into(), other: None, help: None })
    }
}

#[derive(Debug, Clone)]
enum Node {
    Scalar(Value, Range<usize>),
    List(Vec<Rc<Node>>, Range<usize>),
    Map(Vec<Entry>, Range<usize>),
}

#[derive(Debug, Clone)]
struct Entry {
    key: String,
    key_span: Range<usize>,
    value: Rc<Node>,
}

impl Node {
    fn span(&self) -> &Range<usize> {
        match self {
            Node::Scalar(_, s) | Node::List(_, s) | Node::Map(_, s) => s,
        }
    }
}

/// The documents of a text that are not empty.
///
/// # Errors
/// Everything that cannot be read: after a mistake reading goes on, if need be at the next document.
pub fn read(text: &str) -> Result<Vec<Document>, Vec<YamlError>> {
    let mut documents = vec![];
    let mut errors = vec![];
    let mut values = 0;
    let mut base = 0;
    while base < text.len() {
        let rest = &text[base..];
        let parser = Parser::new_from_str(rest);
        let mut reader = Reader {
            parser,
            text,
            base,
            anchors: HashMap::new(),
            depth: 0,
            values,
            errors: vec![],
            second_object: false,
        };
        let outcome = reader.documents(&mut documents);
        values = reader.values;
        errors.append(&mut reader.errors);
        let Err(error) = outcome else { break };
        let after = error.span.start;
        let bounded = error.code == "E0308";
        errors.push(*error);
        // What is too large as a whole is not read on in parts.
        match text[after..].find("\n---").map(|at| after + at + 1) {
            Some(next) if !bounded && errors.len() < MAX_ERRORS => base = next,
            _ => break,
        }
    }
    if errors.is_empty() { Ok(documents) } else { Err(errors) }
}

struct Reader<'t> {
    parser: Parser<'t, serde_saphyr::granit_parser::StrInput<'t>>,
    /// The whole text; the parser reads it from `base` on.
    text: &'t str,
    base: usize,
    anchors: HashMap<usize, Rc<Node>>,
    depth: usize,
    values: usize,
    /// Mistakes that reading goes on behind.
    errors: Vec<YamlError>,
    /// An object began where one stands already: only that is told.
    second_object: bool,
}

type Read<T> = Result<T, Box<YamlError>>;

impl<'t> Reader<'t> {
    fn documents(&mut self, documents: &mut Vec<Document>) -> Read<()> {
        while let Some((event, _)) = self.next()? {
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(..) => {
                    self.anchors.clear();
                    self.second_object = false;
                    if let Some(root) = self.root()? {
                        documents.extend(self.document(root)?);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Read<Option<(Event<'t>, Range<usize>)>> {
        loop {
            match self.parser.next_event() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok(Some((event, self.bytes(&span)))),
                Some(Err(error)) => {
                    let at = (self.base + error.marker().byte_offset().unwrap_or(0)).min(self.text.len());
                    return Err(self.syntax(&error.info(), at));
                }
            }
        }
    }

    fn bytes(&self, span: &YamlSpan) -> Range<usize> {
        let range = span.byte_range().unwrap_or(0..0);
        self.base + range.start..self.base + range.end
    }

    fn syntax(&self, info: &str, at: usize) -> Box<YamlError> {
        if info.contains("recursion limit") {
            let at = at.min(self.text.len());
            return YamlError::new("E0308", format!("nested more than {MAX_DEPTH} deep"), at..at, "too deep");
        }
        let info = info.lines().next().unwrap_or("").to_string();
        let mut at = at;
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let mut end = (at + 1).min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        let (help, moved) = hint(self.text, at, &info);
        let mut e = YamlError::new("E0305", "the manifest is not YAML", moved.unwrap_or(at..end), info);
        e.help = help;
        e
    }

    /// The document's root; `None` when it is empty.
    fn root(&mut self) -> Read<Option<Rc<Node>>> {
        match self.next()? {
            None | Some((Event::DocumentEnd | Event::StreamEnd, _)) => Ok(None),
            Some((event, span)) => self.node(event, span).map(Some),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Range<usize>) -> Read<Rc<Node>> {
        self.depth += 1;
        self.values += 1;
        if self.depth > MAX_DEPTH {
            return Err(YamlError::new("E0308", format!("nested more than {MAX_DEPTH} deep"), span, "too deep"));
        }
        if self.values > MAX_VALUES {
            return Err(YamlError::new("E0308", format!("more than {MAX_VALUES} values"), span, "too many"));
        }
        let (node, anchor) = match event {
            Event::Alias(id) => {
                // An alias inside its own anchor finds nothing: the anchor is known when its node ends.
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(YamlError::new("E0308", "an alias inside what it stands for", span, "would never end"));
                };
                self.depth -= 1;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|t| t.core_suffix().map_or_else(|| t.original(), |s| format!("!!{s}")));
                let plain = style == ScalarStyle::Plain;
                let value = scalar::read(&text, plain, tag.as_deref()).unwrap_or_else(|why| {
                    let title = format!("`{}` cannot be a value here", first_line(&text));
                    self.errors.push(*YamlError::new("E0309", title, span.clone(), why));
                    Value::Null
                });
                (Node::Scalar(value, span), anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = vec![];
                let mut end = span.end;
                while let Some((event, span)) = self.next()? {
                    if event == Event::SequenceEnd {
                        end = end.max(span.start);
                        break;
                    }
                    let item = self.node(event, span)?;
                    end = end.max(item.span().end);
                    items.push(item);
                }
                (Node::List(items, span.start..end), anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let (entries, end) = self.entries(span.end)?;
                (Node::Map(entries, span.start..end), anchor)
            }
            _ => return Err(self.syntax("a value is missing", span.start)),
        };
        self.depth -= 1;
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn entries(&mut self, start: usize) -> Read<(Vec<Entry>, usize)> {
        let mut own: Vec<Entry> = vec![];
        let mut seen: HashMap<String, Range<usize>> = HashMap::new();
        let mut merged: Vec<(Rc<Node>, Range<usize>)> = vec![];
        let mut end = start;
        while let Some((event, key_span)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let merge = matches!(&event, Event::Scalar(t, ScalarStyle::Plain, ..) if t == "<<");
            let node = self.node(event, key_span.clone())?;
            let Node::Scalar(key, _) = &*node else {
                let template = self.text[..key_span.start].ends_with('{');
                let mut e = YamlError::new("E0305", "a key is a word, not a map or a list", key_span, "used as a key");
                if template {
                    e.help = Some("no templates here: write the value itself, or `${name}` in a `<<YAML`".into());
                }
                return Err(e);
            };
            let key = scalar::key(key);
            let Some((event, span)) = self.next()? else {
                return Err(self.syntax("a value is missing", key_span.end));
            };
            let value = self.node(event, span)?;
            end = end.max(value.span().end).max(key_span.end);
            if merge {
                merged.push((value, key_span));
                continue;
            }
            if let Some(first) = seen.insert(key.clone(), key_span.clone()) {
                // A second object: what follows belongs to it.
                if self.second_object {
                    continue;
                }
                self.second_object = key == "apiVersion" && self.text[..key_span.start].ends_with('\n');
                let mut e = YamlError::new(
                    "E0306",
                    format!("the key `{}` is given twice", first_line(&key)),
                    key_span,
                    "again",
                );
                e.other = Some((first, "first here".into()));
                if self.second_object {
                    e.help = Some("a second object starts here: put a line `---` above it".into());
                }
                self.errors.push(*e);
                continue;
            }
            own.push(Entry { key, key_span, value });
        }
        for (node, span) in merged {
            self.merge(&node, &span, &mut own)?;
        }
        Ok((own, end))
    }

    /// `<<: *base` adds the keys that the map does not give itself.
    fn merge(&mut self, node: &Node, span: &Range<usize>, own: &mut Vec<Entry>) -> Read<()> {
        match node {
            Node::Map(entries, _) => {
                self.values += entries.len();
                let known: std::collections::HashSet<String> = own.iter().map(|e| e.key.clone()).collect();
                own.extend(entries.iter().filter(|e| !known.contains(&e.key)).cloned());
                Ok(())
            }
            Node::List(items, _) if items.iter().all(|i| matches!(**i, Node::Map(..))) => {
                items.iter().try_for_each(|item| self.merge(item, span, own))
            }
            _ => Err(YamlError::new("E0305", "`<<` merges a map, or a list of maps", span.clone(), "not a map")),
        }
    }

    /// The value with every alias replaced, within the bounds.
    fn document(&mut self, root: Rc<Node>) -> Read<Option<Document>> {
        if matches!(&*root, Node::Scalar(Value::Null, _)) {
            return Ok(None);
        }
        let span = root.span().clone();
        let mut spans = BTreeMap::new();
        let mut left = MAX_VALUES;
        let value = value(&root, &mut String::new(), None, &mut spans, &mut left, MAX_DEPTH).ok_or_else(|| {
            YamlError::new("E0308", "its aliases stand for too much", span.clone(), "more than can be read")
        })?;
        Ok(Some(Document { value, span, spans: spans.into_iter().collect() }))
    }
}

/// `None`: too large or too deep.
fn value(
    node: &Node,
    pointer: &mut String,
    key: Option<&Range<usize>>,
    spans: &mut BTreeMap<String, Range<usize>>,
    left: &mut usize,
    depth: usize,
) -> Option<Value> {
    *left = left.checked_sub(1)?;
    let depth = depth.checked_sub(1)?;
    let place = match (node, key) {
        (Node::Scalar(Value::Null, span), Some(key)) if span.is_empty() => key.clone(),
        (Node::Scalar(_, span), _) => span.clone(),
        (_, Some(key)) => key.clone(),
        (Node::Map(entries, span), None) => entries.first().map_or(span.clone(), |e| e.key_span.clone()),
        (Node::List(_, span), None) => span.start..span.start + 1,
    };
    spans.insert(pointer.clone(), place);
    let length = pointer.len();
    Some(match node {
        Node::Scalar(value, _) => value.clone(),
        Node::List(items, _) => {
            let mut out = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                out.push(value(item, pointer, None, spans, left, depth)?);
                pointer.truncate(length);
            }
            Value::Array(out)
        }
        Node::Map(entries, _) => {
            let mut out = Map::new();
            for entry in entries {
                pointer.push('/');
                pointer.push_str(&entry.key.replace('~', "~0").replace('/', "~1"));
                let inner = value(&entry.value, pointer, Some(&entry.key_span), spans, left, depth)?;
                pointer.truncate(length);
                out.insert(entry.key.clone(), inner);
            }
            Value::Object(out)
        }
    })
}

/// What was most likely meant where the parser gave up; and the place of the mistake when it is another.
fn hint(text: &str, at: usize, info: &str) -> (Option<String>, Option<Range<usize>>) {
    let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let line = |start: usize| text[start..].lines().next().unwrap_or("");
    let indent = |line: &str| line.len() - line.trim_start().len();
    let next = text[at..].find('\n').map_or(text.len(), |i| at + i + 1);
    for start in [start, next] {
        let line = line(start);
        if let Some(tab) = line[..indent(line)].find('\t') {
            let help = "indent with blanks: a tab is no indent in YAML".to_string();
            return (Some(help), Some(start + tab..start + tab + 1));
        }
    }
    let here = line(start);
    let word = text[at..].split(|c: char| c.is_whitespace() || c == ',').next().unwrap_or("");
    if let Some((offset, c)) = here.char_indices().find(|(_, c)| matches!(c, '：' | '\u{3000}' | '，' | '\u{a0}')) {
        let at = start + offset;
        let help = match c {
            '：' => "`：` is a full-width colon: type `:` and a blank".to_string(),
            '，' => "`，` is a full-width comma: type `,`".to_string(),
            _ => format!("U+{:04X} looks like a blank but is none: type an ordinary one", c as u32),
        };
        return (Some(help), Some(at..at + c.len_utf8()));
    }
    let help = if word.starts_with('*') {
        format!("a text that starts with `*` needs quotes: \"{}\"", word.trim_matches(['"', '\'']))
    } else if word.starts_with(['%', '@', '`']) {
        format!("a text that starts with `{}` needs quotes", &word[..1])
    } else if here.contains("{{") {
        "no templates here: write the value itself, or `${name}` in a `<<YAML` of a scenario".to_string()
    } else if let Some(help) = depth(text, start, info) {
        help
    } else if here.trim() == "---" && indent(here) > 0 {
        "`---` stands at the start of its line".to_string()
    } else if info.contains("<document start>") && start > 0 {
        "`---` on a line of its own stands between documents".to_string()
    } else if text[..at].trim_end().ends_with(',') && text[at..].starts_with([',', ']', '}']) {
        "nothing stands before this `,`: remove it".to_string()
    } else if info.contains("did not find expected ',' or") {
        "a `,` is missing at the end of what stands before".to_string()
    } else if info.contains("implicit flow mapping") {
        "a `,` too many, or a `:` too few, between the brackets".to_string()
    } else if info.contains("mapping values are not allowed") {
        "a text with `: ` in it needs quotes".to_string()
    } else if info.contains("simple key expected") {
        "a field is written `name: value`, with a blank behind the `:`".to_string()
    } else if info.contains("illegal placement of ':'") {
        "a `[` or `{` above is not closed".to_string()
    } else if info.contains("did not find expected key") || info.contains("block collection") {
        "fields of one map stand below each other, indented alike".to_string()
    } else {
        return (None, None);
    };
    (Some(help), None)
}

/// A field that is indented deeper than the one above, which has its value already.
fn depth(text: &str, start: usize, info: &str) -> Option<String> {
    if !info.contains("mapping values are not allowed") {
        return None;
    }
    let here = text[start..].lines().next()?;
    let above = text[..start].lines().rev().find(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#'))?;
    let column = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let (_, value) = above.split_once(": ")?;
    let key = here.trim_start_matches([' ', '-']).split(':').next()?;
    (column(here) > column(above) && !value.trim().is_empty())
        .then(|| format!("`{key}` is indented deeper than the field above it, which has a value: indent both alike"))
}

fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or("");
    line.char_indices().nth(40).map_or(line, |(i, _)| &line[..i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(text: &str) -> Document {
        read(text).unwrap().remove(0)
    }

    #[test]
    fn reads_as_kubectl_does() {
        let d = one(
            "a: on\nb: 'on'\nc: 010\nd: ~\ne: 1.5\nf: 2001-01-01\ng: \"1\"\non: y\n1: x\nh: .5\ni: 0x1F\nj: 1_000\n",
        );
        let want = json!({"a": true, "b": "on", "c": 8, "d": null, "e": 1.5, "f": "2001-01-01", "g": "1",
            "true": true, "1": "x", "h": 0.5, "i": 31, "j": 1000});
        assert_eq!(d.value, want);
    }

    #[test]
    fn spans_point_at_keys_of_maps_and_at_scalars() {
        let text = "spec:\n  tls:\n  - match: [x, 한글]\n    port: 443\n";
        let d = one(text);
        let at = |p: &str| d.spans.iter().find(|(q, _)| q == p).map(|(_, s)| &text[s.clone()]);
        assert_eq!(at("/spec/tls"), Some("tls"));
        assert_eq!(at("/spec/tls/0"), Some("match"));
        assert_eq!(at("/spec/tls/0/match/1"), Some("한글"));
        assert_eq!(at("/spec/tls/0/port"), Some("443"));
    }

    #[test]
    fn merges_and_aliases() {
        let d = one("base: &b {x: 1, z: 2}\none: {<<: *b, z: 3}\ntwo: *b\n");
        assert_eq!(d.value, json!({"base": {"x": 1, "z": 2}, "one": {"z": 3, "x": 1}, "two": {"x": 1, "z": 2}}));
    }

    #[test]
    fn several_documents_and_empty_ones() {
        let all = read("---\n# nothing\n---\na: 1\n---\n---\nb: 2\n").unwrap();
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn every_mistake_is_told() {
        let text = "a: 1\na: 2\nb: .inf\nb: 3\n---\nc: [1\n---\nd: 1\nd: 2\n";
        let found = read(text).unwrap_err();
        let told: Vec<(&str, &str)> = found.iter().map(|e| (e.code, &text[e.span.clone()])).collect();
        assert_eq!(told[..3], [("E0306", "a"), ("E0309", ".inf"), ("E0306", "b")]);
        assert_eq!(told.last(), Some(&("E0306", "d")));
        assert!(found.iter().any(|e| e.code == "E0305"), "{told:?}");
    }

    #[test]
    fn what_is_refused() {
        let code = |t: &str| read(t).map_err(|e| e[0].code).err();
        assert_eq!(code("a: 1\na: 2\n"), Some("E0306"));
        assert_eq!(code("a: [1\nb: 2"), Some("E0305"));
        assert_eq!(code("a:\n\t- b"), Some("E0305"));
        assert_eq!(code(&format!("{}{}", "[".repeat(150), "]".repeat(150))), Some("E0308"));
        assert!(code(&"[".repeat(100_000)).is_some());
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            let r = vec![format!("*a{}", i - 1); 9].join(",");
            bomb.push_str(&format!("a{i}: &a{i} [{r}]\n"));
        }
        assert_eq!(code(&bomb), Some("E0308"));
        assert_eq!(code("a: !!binary aGk="), Some("E0309"));
        assert_eq!(code("a: &x [*x]"), Some("E0308"));
    }
}

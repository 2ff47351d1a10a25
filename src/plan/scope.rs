//! Names and what stands for them: `set`, `let`, `for` variables, captures.

use super::inline::Inline;
use super::step::{Part, Text};
use crate::diag::suggest::nearest;
use crate::diag::{Diagnostic, Place, Source};
use crate::syntax::{Heredoc, Name, Piece, Span, Word};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;

/// How a name came to be; its value, if the file alone tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `set`: words that stand side by side.
    Set(Vec<String>),
    /// `let`, or a variable of `for`.
    One(String),
    /// Known only when the run reaches it.
    Capture,
    /// A parameter of named steps that was given a capture, or text with one in it.
    Late(Text),
    /// The line that gives it is wrong: told there, so nothing is said where it is used.
    Broken,
}

#[derive(Debug, Clone)]
pub struct Binding {
    pub name: String,
    pub value: Value,
    /// Where the name is given.
    pub place: Place,
    /// Shared by the copies that scenarios make of a file's names.
    used: Rc<Cell<bool>>,
}

impl Binding {
    pub fn new(name: &Name, value: Value, source: &Arc<Source>) -> Self {
        let place = Place { source: source.clone(), span: name.span.clone() };
        Binding { name: name.text.clone(), value, place, used: Rc::default() }
    }

    /// A name whose line is wrong: known, so that nothing is said where it is used.
    pub fn broken(name: &Name, source: &Arc<Source>) -> Self {
        let binding = Binding::new(name, Value::Broken, source);
        binding.touch();
        binding
    }

    /// Counts as used.
    pub fn touch(&self) {
        self.used.set(true);
    }

    pub fn is_used(&self) -> bool {
        self.used.get()
    }
}

/// The names that can be seen at a statement; inner ones last.
#[derive(Debug, Clone)]
pub struct Scope {
    pub source: Arc<Source>,
    pub bindings: Vec<Binding>,
    /// Every name that the file gives somewhere, with its place: a name that is used too early is known.
    pub later: Rc<Vec<(String, Place)>>,
    /// A value the run itself gives: `${ingress}` in `exec local`.
    pub given: Vec<&'static str>,
}

/// One word after replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    pub text: String,
    pub span: Span,
    /// Written in quotes: never a glob.
    pub quoted: bool,
}

type Found<T> = Result<T, Box<Diagnostic>>;

impl Scope {
    pub fn place(&self, span: &Span) -> Place {
        Place { source: self.source.clone(), span: span.clone() }
    }

    pub fn find(&self, name: &str) -> Option<&Binding> {
        self.bindings.iter().rev().find(|b| b.name == name)
    }

    fn lookup(&self, name: &Name) -> Found<&Binding> {
        if let Some(found) = self.find(&name.text) {
            found.used.set(true);
            return match found.value {
                Value::Broken => Err(Box::new(Diagnostic::told())),
                _ => Ok(found),
            };
        }
        if let Some((_, given)) = self.later.iter().find(|(later, place)| {
            *later == name.text && Arc::ptr_eq(&place.source, &self.source) && place.span.start > name.span.start
        }) {
            return Err(Box::new(
                Diagnostic::error("E0201", format!("`{}` has no value yet", name.text))
                    .at(self.place(&name.span), "used before it is given")
                    .at(given.clone(), "given only here")
                    .help("move that line above this one"),
            ));
        }
        let d = Diagnostic::error("E0201", format!("nothing is named `{}` here", name.text));
        let known = self.bindings.iter().map(|b| b.name.as_str());
        Err(Box::new(match nearest(&name.text, known) {
            Some(near) => d.at(self.place(&name.span), format!("did you mean `${{{near}}}`?")),
            None if self.bindings.is_empty() => d
                .at(self.place(&name.span), "no `set`, `let`, `for` or `capture` gives this name")
                .help("for the characters `${…}` themselves write `$${…}`, or use single quotes"),
            None => {
                let mut names: Vec<&str> = self.bindings.iter().map(|b| b.name.as_str()).collect();
                names.dedup();
                d.at(self.place(&name.span), "no `set`, `let`, `for` or `capture` gives this name")
                    .help(format!("known here: {}", names.join(" ")))
            }
        }))
    }

    /// A name that other tools would replace, and nothing here does: `$host`, `$(host)`, `{{host}}`, `%host%`; the text, and
    /// the name.
    pub fn unreplaced(&self, text: &str) -> Option<(String, String)> {
        let known = |name: &str| self.find(name).is_some();
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        for (at, sign) in text.match_indices(['$', '{', '%', '<']) {
            let rest = &text[at + sign.len()..];
            let (open, close) = match sign {
                "$" if rest.starts_with('(') => ("(", ")"),
                "$" if rest.starts_with('{') => ("{", "}"),
                "$" => ("", ""),
                "{" if rest.starts_with('{') => ("{", "}}"),
                "%" => ("", "%"),
                "<" => ("", ">"),
                _ => continue,
            };
            let inner = rest[open.len()..].trim_start();
            let mut name: &str = &inner[..inner.find(|c| !is_name(c)).unwrap_or(inner.len())];
            // `$host-a`: the longest known name.
            while sign == "$" && open.is_empty() && !name.is_empty() && !known(name) {
                name = &name[..name.char_indices().next_back().map_or(0, |(i, _)| i)];
            }
            let closed = inner.get(name.len()..).is_some_and(|after| after.trim_start().starts_with(close));
            if !name.is_empty() && known(name) && closed {
                let end = at + sign.len() + open.len() + (rest[open.len()..].len() - inner.len()) + name.len();
                let written = format!("{}{}", &text[at..end], close);
                return Some((written, name.to_string()));
            }
        }
        None
    }

    fn no_capture(&self, name: &Name) -> Box<Diagnostic> {
        Box::new(
            Diagnostic::error("E0203", format!("the capture `{}` has no value before the run", name.text))
                .at(self.place(&name.span), "this must be known when the file is read")
                .help("captures can stand in an exec's command, in texts to compare with, behind `fewer than` and `same as`, and in `diff`"),
        )
    }

    fn no_set(&self, name: &Name, words: &[String]) -> Box<Diagnostic> {
        Box::new(
            Diagnostic::error(
                "E0202",
                format!("`{}` is a set of {} words, and one word stands here", name.text, words.len()),
            )
            .at(self.place(&name.span), "a set can only be a whole word where several may stand")
            .help(format!("use `for x in ${{{}}} … end`, or name one word with `let`", name.text)),
        )
    }

    /// The word as text; captures stay references.
    pub fn text(&self, word: &Word) -> Found<Text> {
        let mut parts: Vec<Part> = vec![];
        for piece in &word.pieces {
            match piece {
                Piece::Text(t) => push(&mut parts, t),
                Piece::Variable(name) if self.is_given(name) => parts.push(Part::Capture(name.text.clone())),
                Piece::Variable(name) => match &self.lookup(name)?.value {
                    Value::One(t) => push(&mut parts, t),
                    Value::Set(words) => match words.as_slice() {
                        [one] => push(&mut parts, one),
                        _ => return Err(self.no_set(name, words)),
                    },
                    Value::Late(text) => text.0.iter().for_each(|part| match part {
                        Part::Literal(t) => push(&mut parts, t),
                        late => parts.push(late.clone()),
                    }),
                    Value::Capture | Value::Broken => parts.push(Part::Capture(name.text.clone())),
                },
            }
        }
        Ok(Text(parts))
    }

    fn is_given(&self, name: &Name) -> bool {
        self.given.contains(&name.text.as_str()) && self.find(&name.text).is_none()
    }

    /// The word as text that is known now.
    pub fn fixed(&self, word: &Word) -> Found<String> {
        let text = self.text(word)?;
        let mut out = String::new();
        for part in text.0 {
            match part {
                Part::Literal(l) => out.push_str(&l),
                Part::Capture(c) => {
                    let name = word.pieces.iter().find_map(|p| match p {
                        Piece::Variable(n) if n.text == c => Some(Name::clone(n)),
                        _ => None,
                    });
                    return Err(self.no_capture(&name.unwrap_or(Name { span: word.span.clone(), text: c })));
                }
            }
        }
        Ok(out)
    }

    /// Several words, sets replaced by theirs; every error of them.
    pub fn words(&self, words: &[Word], errors: &mut Vec<Diagnostic>) -> Vec<Expanded> {
        let mut out = vec![];
        for word in words {
            let set = word.only_variable().filter(|_| !word.quoted).map(|n| self.lookup(n));
            match set {
                Some(Ok(Binding { value: Value::Set(items), .. })) => out.extend(items.iter().map(|item| Expanded {
                    text: item.clone(),
                    span: word.span.clone(),
                    quoted: false,
                })),
                Some(Err(d)) => errors.push(*d),
                _ => match self.fixed(word) {
                    Ok(text) => out.push(Expanded { text, span: word.span.clone(), quoted: word.quoted }),
                    Err(d) => errors.push(*d),
                },
            }
        }
        out
    }

    /// Like [`Scope::words`], captures left as references.
    pub fn texts(&self, words: &[Word], errors: &mut Vec<Diagnostic>) -> Vec<Text> {
        let mut out = vec![];
        for word in words {
            let set = word.only_variable().filter(|n| !word.quoted && !self.is_given(n));
            match set.map(|n| self.lookup(n)) {
                Some(Ok(Binding { value: Value::Set(items), .. })) => out.extend(items.iter().map(Text::literal)),
                Some(Err(d)) => errors.push(*d),
                _ => match self.text(word) {
                    Ok(text) => out.push(text),
                    Err(d) => errors.push(*d),
                },
            }
        }
        out
    }

    /// A regex: `${name}` in it stands for the value's characters, escaped.
    pub fn regex(&self, text: &str, span: &Span) -> Found<String> {
        replace(text, |name| {
            let name = Name { span: span.clone(), text: name };
            match &self.lookup(&name)?.value {
                Value::One(t) => Ok(regex::escape(t)),
                Value::Set(words) => match words.as_slice() {
                    [one] => Ok(regex::escape(one)),
                    _ => Err(self.no_set(&name, words)),
                },
                Value::Capture | Value::Late(_) | Value::Broken => Err(self.no_capture(&name)),
            }
        })
    }

    /// A heredoc's body, dedented, variables replaced; remembers where each part came from.
    pub fn heredoc(&self, heredoc: &Heredoc) -> Found<Inline> {
        let mut inline = Inline::new(self.source.clone());
        let body = &self.source.text[heredoc.body.clone()];
        let indent = |l: &&str| l.len() - l.trim_start_matches(' ').len();
        let common = body.lines().filter(|l| !l.trim().is_empty()).map(|l| indent(&l)).min().unwrap_or(0);
        let mut at = heredoc.body.start;
        for line in body.split_inclusive('\n') {
            let skip = common.min(indent(&line));
            self.heredoc_line(&line[skip..], at + skip, heredoc.raw, &mut inline)?;
            at += line.len();
        }
        Ok(inline)
    }

    fn heredoc_line(&self, line: &str, at: usize, raw: bool, inline: &mut Inline) -> Found<()> {
        let mut from = 0;
        while let Some(dollar) = line[from..].find('$').map(|i| i + from).filter(|_| !raw) {
            let rest = &line[dollar..];
            if rest.starts_with("$${") {
                inline.verbatim(&line[from..dollar], at + from);
                inline.replaced("${", at + dollar..at + dollar + 3);
                from = dollar + 3;
            } else if let Some(end) = rest.strip_prefix("${").and_then(|r| r.find('}')) {
                inline.verbatim(&line[from..dollar], at + from);
                let span = at + dollar..at + dollar + end + 3;
                let name = Name { span: span.clone(), text: rest[2..end + 2].nfc().collect() };
                match &self.lookup(&name)?.value {
                    Value::One(t) => inline.replaced(t, span),
                    Value::Set(words) => match words.as_slice() {
                        [one] => inline.replaced(one, span),
                        _ => return Err(self.no_set(&name, words)),
                    },
                    Value::Capture | Value::Late(_) | Value::Broken => return Err(self.no_capture(&name)),
                }
                from = dollar + end + 3;
            } else {
                inline.verbatim(&line[from..=dollar], at + from);
                from = dollar + 1;
            }
        }
        inline.verbatim(&line[from..], at + from);
        Ok(())
    }

    /// The statement on one line, its variables replaced where their values are known: for reports.
    pub fn shown(&self, span: &Span) -> String {
        let raw = &self.source.text[span.clone()];
        let head = raw.find("<<").and_then(|i| raw[i..].find('\n').map(|n| i + n)).unwrap_or(raw.len());
        let line = raw[..head].replace("\\\r\n", " ").replace("\\\n", " ");
        // Single quotes keep their `${…}`; elsewhere indents of continued lines fold into one blank.
        let mut out = String::new();
        let mut quote = None;
        let mut rest = line.trim();
        while let Some(c) = rest.chars().next() {
            let name = rest.strip_prefix("${").and_then(|r| r.split_once('}')).filter(|_| quote != Some('\''));
            if let Some((name, after)) = name {
                let name: String = name.nfc().collect();
                match self.find(&name).map(|b| &b.value) {
                    Some(Value::One(text)) => out.push_str(text),
                    Some(Value::Set(words)) => out.push_str(&words.join(" ")),
                    _ => out.push_str(&format!("${{{name}}}")),
                }
                rest = after;
                continue;
            }
            rest = &rest[c.len_utf8()..];
            match quote {
                Some(q) if c == q => quote = None,
                None if c == '"' || c == '\'' => quote = Some(c),
                _ => {}
            }
            if c == '$' && rest.starts_with("${") && quote != Some('\'') {
                out.push_str("${");
                rest = &rest[2..];
            } else if quote.is_none() && matches!(c, ' ' | '\t' | '\r' | '\n') {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            } else {
                out.push(c);
            }
        }
        out
    }
}

/// Replaces each `${name}` of a text; `$${` is the literal `${`.
fn replace(text: &str, value: impl Fn(String) -> Found<String>) -> Found<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find("${") {
        let literal = rest[..dollar].ends_with('$');
        let end = rest[dollar..].find('}').map(|i| dollar + i);
        match (literal, end) {
            (true, _) => {
                out.push_str(&rest[..dollar - 1]);
                out.push_str("${");
                rest = &rest[dollar + 2..];
            }
            (false, Some(end)) => {
                out.push_str(&rest[..dollar]);
                out.push_str(&value(rest[dollar + 2..end].nfc().collect())?);
                rest = &rest[end + 1..];
            }
            (false, None) => break,
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Adds text, joined to text that stands before it.
fn push(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Literal(l)) => l.push_str(text),
        _ => parts.push(Part::Literal(text.to_string())),
    }
}

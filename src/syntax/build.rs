//! One cut line → one [`Statement`]: parses it with the `statement` rule and turns pest's pairs into
//! the AST. What does not parse goes to `mistake`, which says what was meant.

use super::ast::*;
use super::cut::Line;
use super::escape::Words;
use super::expectation::{expect, modifier};
use super::first;
use super::grammar::{Egress, Rule};
use super::mistake;
use super::shape;
use super::tree::{self, Pair, Pairs};
use crate::diag::{Diagnostic, Place, Source};
use pest::Parser;
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;

pub(super) fn statement(source: &Arc<Source>, line: &Line) -> (Statement, Vec<Diagnostic>) {
    let place = |span: Span| Place { source: source.clone(), span };
    let text = line.text(&source.text);
    let mut words = Words { offset: line.span.start, place: &place, errors: vec![] };
    let broken = |errors| {
        let verb = Verb::Broken(mistake::remains(text, line.span.start));
        (Statement { span: line.span.clone(), verb }, errors)
    };
    // Signs of other languages look like words to the grammar, whatever was read before.
    if let Some(d) = first::signs(text, line.span.start, &place) {
        return broken(vec![d]);
    }
    let nodes = shape::tree(text, || {
        if let Some(d) = first::known(text, line.span.start, &place) {
            return Err(d);
        }
        match Egress::parse(Rule::statement, text) {
            Ok(pairs) => Ok(tree::flat(pairs)),
            Err(error) => Err(mistake::explain(text, line.span.start, &error, &place)),
        }
    });
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(d) => return broken(vec![d]),
    };
    let verb = Pairs::new(text, &nodes).flat_map(Pair::into_inner).find_map(|p| verb(&mut words, p));
    match verb {
        Some(verb) if words.errors.is_empty() => (Statement { span: line.span.clone(), verb }, vec![]),
        _ => broken(words.errors),
    }
}

fn tag(w: &mut Words<'_>, pair: &Pair<'_>) -> Name {
    if let Some(meant) = super::habit::ordinary(pair.as_str()) {
        let d = Diagnostic::error("E0108", format!("`{}` is not written in ordinary characters", pair.as_str()))
            .at((w.place)(w.span(pair)), format!("write `{meant}`"))
            .help("tags stand in brackets, with commas between them: [seed, mtls]");
        w.errors.push(d);
    }
    w.name(pair)
}

fn verb(w: &mut Words<'_>, pair: Pair<'_>) -> Option<Verb> {
    let rule = pair.as_rule();
    let mut inner = pair.into_inner();
    Some(match rule {
        Rule::title => Verb::Title(first_word(w, inner)?),
        Rule::namespace => Verb::Namespace(first_word(w, inner)?),
        Rule::gateway => Verb::Gateway(first_word(w, inner)?),
        Rule::within_header => Verb::Within(first_word(w, inner)?),
        Rule::set => {
            let name = w.name(&inner.next()?);
            Verb::Set { name, words: all_words(w, inner) }
        }
        Rule::let_ => {
            let name = w.name(&inner.next()?);
            Verb::Let { name, word: boxed(w, inner)? }
        }
        Rule::require => Verb::Require(Box::new(requirement(w, inner.next()?)?)),
        Rule::include => Verb::Include(first_word(w, inner)?),
        Rule::only_on => Verb::OnlyOn { because: because(w, inner.clone()), target: boxed(w, inner)? },
        Rule::skip_if => {
            let negated = inner.clone().any(|p| p.as_rule() == Rule::no);
            let because = because(w, inner.clone());
            Verb::SkipIf { negated, requirement: Box::new(inner.find_map(|p| requirement(w, p))?), because }
        }
        Rule::disruptive => Verb::Disruptive { because: because(w, inner) },
        Rule::text => Verb::Text(dedent(inner.find(|p| p.as_rule() == Rule::text_body)?.as_str())),
        Rule::criteria => Verb::Criteria(first_word(w, inner)?),
        Rule::see => Verb::See(all_words(w, inner)),
        Rule::note => Verb::Note(first_word(w, inner)?),
        Rule::pause => Verb::Pause(first_word(w, inner)?),
        Rule::trap => {
            let mut words = all_words(w, inner).into_iter().map(Box::new);
            Verb::Trap { symptom: words.next()?, cause: words.next()?, mend: words.next()? }
        }
        Rule::scenario => {
            let title = w.word(inner.next()?);
            let tags = inner.flat_map(|p| p.into_inner()).filter(|p| p.as_rule() == Rule::tag);
            Verb::Scenario { title, tags: tags.map(|p| tag(w, &p)).collect() }
        }
        Rule::for_in => {
            let name = w.name(&inner.next()?);
            Verb::For { name, words: all_words(w, inner) }
        }
        Rule::for_table => Verb::ForTable,
        Rule::row => Verb::Row(inner.filter(|p| p.as_rule() == Rule::cell).map(|p| trimmed(w.word(p))).collect()),
        Rule::steps => {
            let mut names = inner.filter(|p| p.as_rule() == Rule::name).map(|p| w.name(&p));
            Verb::Steps { name: names.next()?, parameters: names.collect() }
        }
        Rule::setup => Verb::Setup,
        Rule::cleanup => Verb::Cleanup,
        Rule::end => Verb::End,
        Rule::apply => Verb::Apply(match inner.peek()?.as_rule() {
            Rule::heredoc => Manifests::Heredoc(heredoc(w, inner.next()?)?),
            _ => Manifests::Words(all_words(w, inner)),
        }),
        Rule::delete => Verb::Delete(all_words(w, inner)),
        Rule::patch => {
            let object = Box::new(object(w, inner.next()?)?);
            Verb::Patch { object, patch: Box::new(heredoc(w, inner.find(|p| p.as_rule() == Rule::heredoc)?)?) }
        }
        Rule::restart => Verb::Restart(first_word(w, inner)?),
        Rule::scale => {
            let mut words = all_words(w, inner).into_iter().map(Box::new);
            Verb::Scale { workload: words.next()?, replicas: words.next()? }
        }
        Rule::wait => wait(w, inner)?,
        Rule::exec => Verb::Exec(Box::new(exec(w, inner)?)),
        Rule::do_ => {
            let name = w.name(&inner.next()?);
            Verb::Do { name, words: all_words(w, inner) }
        }
        Rule::site => {
            let host = Box::new(w.word(inner.next()?));
            Verb::Site { host, behaviour: inner.filter_map(|p| behaviour(w, p)).collect() }
        }
        Rule::cut_traffic => {
            let refuse = inner.clone().any(|p| p.as_rule() == Rule::refuse);
            let mut words = all_words(w, inner).into_iter().map(Box::new);
            Verb::Cut { from: words.next()?, to: words.next()?, refuse }
        }
        Rule::kill => {
            let proxy = Box::new(w.word(inner.next()?));
            let container = inner.find(|p| p.as_rule() == Rule::container);
            Verb::Kill { proxy, container: container.and_then(|p| boxed(w, p.into_inner())) }
        }
        Rule::capture => {
            let name = w.name(&inner.next()?);
            let what = inner.next()?;
            Verb::Capture {
                name,
                source: Box::new(match what.as_rule() {
                    Rule::list => CaptureSource::List(list(w, what)?),
                    Rule::capture_stdout => CaptureSource::Stdout,
                    Rule::capture_json => CaptureSource::Json(first_word(w, what.into_inner())?),
                    Rule::capture_object => {
                        let mut inner = what.into_inner();
                        let object = object(w, inner.next()?)?;
                        CaptureSource::Object { object, path: first_word(w, inner)? }
                    }
                    _ => CaptureSource::Header(first_word(w, what.into_inner())?),
                }),
            }
        }
        Rule::diff => {
            let mut operands = inner.filter(|p| p.as_rule() == Rule::operand);
            let mut next = || operand(w, operands.next()?).map(Box::new);
            Verb::Diff { left: next()?, right: next()? }
        }
        Rule::expect => Verb::Expect(Box::new(expect(w, inner)?)),
        _ => return None,
    })
}

pub(super) fn first_word(w: &mut Words<'_>, mut pairs: Pairs<'_>) -> Option<Word> {
    pairs.find(|p| p.as_rule() == Rule::word).map(|p| w.word(p))
}

pub(super) fn boxed(w: &mut Words<'_>, pairs: Pairs<'_>) -> Option<Box<Word>> {
    first_word(w, pairs).map(Box::new)
}

pub(super) fn all_words(w: &mut Words<'_>, pairs: Pairs<'_>) -> Vec<Word> {
    let words = pairs.filter(|p| p.as_rule() == Rule::word);
    let mut all = Vec::with_capacity(words.clone().count());
    all.extend(words.map(|p| w.word(p)));
    all
}

/// A table cell without the blanks around it.
fn trimmed(mut word: Word) -> Word {
    if !word.quoted {
        if let Some(Piece::Text(t)) = word.pieces.first_mut() {
            word.span.start += t.len() - t.trim_start().len();
            *t = t.trim_start().to_string();
        }
        if let Some(Piece::Text(t)) = word.pieces.last_mut() {
            word.span.end = (word.span.end - (t.len() - t.trim_end().len())).max(word.span.start);
            *t = t.trim_end().to_string();
        }
    } else {
        // Blanks outside the quotes only: the pieces of quoted parts are joined to what is around
        // them, so the cell is trimmed as a whole unless its own edge is the quote.
        let last = word.pieces.len().saturating_sub(1);
        for (index, piece) in word.pieces.iter_mut().enumerate() {
            if let Piece::Text(t) = piece {
                if index == 0 {
                    *t = t.trim_start_matches([' ', '\t']).to_string();
                }
                if index == last {
                    *t = t.trim_end_matches([' ', '\t']).to_string();
                }
            }
        }
    }
    word.pieces.retain(|p| !matches!(p, Piece::Text(t) if t.is_empty()));
    word
}

pub(super) fn heredoc(w: &mut Words<'_>, pair: Pair<'_>) -> Option<Heredoc> {
    let mut heredoc = Heredoc { tag: String::new(), raw: false, body: 0..0 };
    for part in pair.into_inner() {
        match part.as_rule() {
            Rule::raw_mark => heredoc.raw = true,
            Rule::heredoc_tag => heredoc.tag = part.as_str().to_string(),
            Rule::heredoc_body => heredoc.body = w.span(&part),
            _ => {}
        }
    }
    Some(heredoc)
}

fn exec(w: &mut Words<'_>, inner: Pairs<'_>) -> Option<Exec> {
    let mut exec = Exec { target: None, container: None, command: vec![] };
    for part in inner {
        match part.as_rule() {
            Rule::target => exec.target = first_word(w, part.into_inner()),
            Rule::container => exec.container = first_word(w, part.into_inner()),
            Rule::command => exec.command = all_words(w, part.into_inner()),
            _ => {}
        }
    }
    Some(exec)
}

pub(super) fn list(w: &mut Words<'_>, pair: Pair<'_>) -> Option<List> {
    let span = w.span(&pair);
    let mut list = List { span, kind: ListKind::Clusters, on: None };
    for part in pair.into_inner() {
        match part.as_rule() {
            Rule::list_kind => {
                list.kind = match part.as_str() {
                    "clusters" => ListKind::Clusters,
                    "listeners" => ListKind::Listeners,
                    _ => ListKind::Routes,
                }
            }
            Rule::on => list.on = first_word(w, part.into_inner()),
            _ => {}
        }
    }
    Some(list)
}

pub(super) fn operand(w: &mut Words<'_>, pair: Pair<'_>) -> Option<Operand> {
    let what = pair.into_inner().next()?;
    Some(match what.as_rule() {
        Rule::list => Operand::List(list(w, what)?),
        _ => Operand::Word(w.word(what)),
    })
}

fn requirement(w: &mut Words<'_>, pair: Pair<'_>) -> Option<Require> {
    let rule = pair.as_rule();
    let mut inner = pair.into_inner();
    Some(match rule {
        Rule::require_outbound => Require::Outbound(first_word(w, inner)?),
        Rule::require_gateway => Require::GatewayPort(first_word(w, inner)?),
        Rule::require_log => Require::AccessLog { peer: inner.next().is_some() },
        Rule::require_secret => {
            let name = w.word(inner.next()?);
            Require::Secret { name, namespace: in_namespace(w, inner) }
        }
        Rule::require_version => {
            let comparison = comparison(inner.next()?.as_str());
            Require::Version { comparison, version: first_word(w, inner)? }
        }
        Rule::require_crd => Require::Crd(first_word(w, inner)?),
        _ => return None,
    })
}

pub(super) fn comparison(text: &str) -> Comparison {
    match text {
        "<" => Comparison::Less,
        "<=" => Comparison::AtMost,
        ">" => Comparison::More,
        ">=" => Comparison::AtLeast,
        _ => Comparison::Equal,
    }
}

fn because(w: &mut Words<'_>, mut pairs: Pairs<'_>) -> Option<Box<Word>> {
    pairs.find(|p| p.as_rule() == Rule::because).and_then(|p| boxed(w, p.into_inner()))
}

fn in_namespace(w: &mut Words<'_>, mut pairs: Pairs<'_>) -> Option<Word> {
    pairs.find(|p| p.as_rule() == Rule::in_namespace).and_then(|p| first_word(w, p.into_inner()))
}

/// `KIND NAME [in NAMESPACE]`.
pub(super) fn object(w: &mut Words<'_>, pair: Pair<'_>) -> Option<Object> {
    let span = w.span(&pair);
    let mut inner = pair.into_inner();
    let kind = w.word(inner.next()?);
    let name = w.word(inner.next()?);
    let namespace = inner.find(|p| p.as_rule() == Rule::in_namespace);
    Some(Object { span, kind, name, namespace: namespace.and_then(|p| first_word(w, p.into_inner())) })
}

fn wait(w: &mut Words<'_>, mut inner: Pairs<'_>) -> Option<Verb> {
    let object = Box::new(object(w, inner.next()?)?);
    let mut found = None;
    let mut modifiers = vec![];
    for part in inner {
        match part.as_rule() {
            Rule::condition => {
                found = Some(match part.as_str() {
                    "ready" => Condition::Ready,
                    "available" => Condition::Available,
                    _ => Condition::Gone,
                })
            }
            Rule::condition_is => found = boxed(w, part.into_inner()).map(Condition::Is),
            Rule::within | Rule::every | Rule::stable | Rule::because => modifiers.extend(modifier(w, part)),
            _ => {}
        }
    }
    Some(Verb::Wait { object, condition: found?, modifiers })
}

fn behaviour(w: &mut Words<'_>, pair: Pair<'_>) -> Option<Behaviour> {
    let span = w.span(&pair);
    match pair.as_rule() {
        Rule::behaviour_flag => Some(Behaviour { span, name: pair.as_str().to_string(), value: None }),
        Rule::behaviour_value => {
            let mut inner = pair.into_inner();
            let name = inner.next()?.as_str().to_string();
            Some(Behaviour { span, name, value: Some(first_word(w, inner)?) })
        }
        _ => None,
    }
}

/// A text's lines without their common indent and without blank lines at both ends, in NFC.
fn dedent(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |l: &&&str| l.len() - l.trim_start_matches([' ', '\t']).len();
    let blank = |l: &&str| l.trim().is_empty();
    // The first line stands behind the opening mark: it has no indent of its own.
    let common = lines.iter().skip(1).filter(|l| !blank(l)).map(|l| indent(&l)).min().unwrap_or(0);
    let mut out: Vec<&str> = vec![];
    for (index, line) in lines.iter().enumerate() {
        out.push(if index == 0 { line.trim() } else { line.get(common..).unwrap_or("").trim_end() });
    }
    let start = out.iter().position(|l| !l.is_empty()).unwrap_or(out.len());
    let end = out.iter().rposition(|l| !l.is_empty()).map_or(start, |i| i + 1);
    out[start..end].join("\n").nfc().collect()
}

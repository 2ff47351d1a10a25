//! One cut line → one [`Statement`]: parses it with the `statement` rule and turns pest's pairs into
//! the AST. What does not parse goes to `mistake`, which says what was meant.

use super::ast::*;
use super::cut::Line;
use super::escape::Words;
use super::grammar::{Egress, Rule};
use super::mistake;
use crate::diag::{Diagnostic, Place, Source};
use pest::Parser;
use pest::iterators::{Pair, Pairs};
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;

type P<'i> = Pair<'i, Rule>;

pub(super) fn statement(source: &Arc<Source>, line: &Line) -> (Statement, Vec<Diagnostic>) {
    let place = |span: Span| Place { source: source.clone(), span };
    let text = line.text(&source.text);
    let mut words = Words { offset: line.span.start, place: &place, errors: vec![] };
    let broken = |errors| {
        let verb = Verb::Broken(mistake::remains(text, line.span.start));
        (Statement { span: line.span.clone(), verb }, errors)
    };
    if let Some(d) = mistake::known(text, line.span.start, &place) {
        return broken(vec![d]);
    }
    let verb = match Egress::parse(Rule::statement, text) {
        Ok(pairs) => pairs.flat_map(|p| p.into_inner()).find_map(|p| verb(&mut words, p)),
        Err(error) => return broken(vec![mistake::explain(text, line.span.start, &error, &place)]),
    };
    match verb {
        Some(verb) if words.errors.is_empty() => (Statement { span: line.span.clone(), verb }, vec![]),
        _ => broken(words.errors),
    }
}

fn verb(w: &mut Words<'_>, pair: P<'_>) -> Option<Verb> {
    let rule = pair.as_rule();
    let mut inner = pair.clone().into_inner();
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
            Verb::Let { name, word: first_word(w, inner)? }
        }
        Rule::require => {
            let what = inner.next()?;
            let rule = what.as_rule();
            let mut inner = what.into_inner();
            Verb::Require(match rule {
                Rule::require_outbound => Require::Outbound(first_word(w, inner)?),
                Rule::require_gateway => Require::GatewayPort(first_word(w, inner)?),
                _ => Require::AccessLog { peer: inner.next().is_some() },
            })
        }
        Rule::text => Verb::Text(dedent(inner.find(|p| p.as_rule() == Rule::text_body)?.as_str())),
        Rule::criteria => Verb::Criteria(first_word(w, inner)?),
        Rule::see => Verb::See(all_words(w, inner)),
        Rule::note => Verb::Note(first_word(w, inner)?),
        Rule::pause => Verb::Pause(first_word(w, inner)?),
        Rule::scenario => {
            let title = w.word(inner.next()?);
            let tags = inner.flat_map(|p| p.into_inner()).filter(|p| p.as_rule() == Rule::tag);
            Verb::Scenario { title, tags: tags.map(|p| w.name(&p)).collect() }
        }
        Rule::for_in => {
            let name = w.name(&inner.next()?);
            Verb::For { name, words: all_words(w, inner) }
        }
        Rule::for_table => Verb::ForTable,
        Rule::row => Verb::Row(inner.filter(|p| p.as_rule() == Rule::cell).map(|p| trimmed(w.word(p))).collect()),
        Rule::end => Verb::End,
        Rule::apply => Verb::Apply(match inner.peek()?.as_rule() {
            Rule::heredoc => Manifests::Heredoc(heredoc(w, inner.next()?)?),
            _ => Manifests::Words(all_words(w, inner)),
        }),
        Rule::delete => Verb::Delete(all_words(w, inner)),
        Rule::exec => Verb::Exec(exec(w, inner)?),
        Rule::capture => {
            let name = w.name(&inner.next()?);
            let what = inner.find(|p| !trivia(p))?;
            Verb::Capture {
                name,
                source: match what.as_rule() {
                    Rule::list => CaptureSource::List(list(w, what)?),
                    Rule::capture_stdout => CaptureSource::Stdout,
                    _ => CaptureSource::Header(first_word(w, what.into_inner())?),
                },
            }
        }
        Rule::diff => {
            let mut operands = inner.filter(|p| p.as_rule() == Rule::operand);
            Verb::Diff { left: operand(w, operands.next()?)?, right: operand(w, operands.next()?)? }
        }
        Rule::expect => Verb::Expect(Box::new(expect(w, inner)?)),
        _ => return None,
    })
}

fn trivia(pair: &P<'_>) -> bool {
    matches!(pair.as_rule(), Rule::EOI)
}

fn first_word(w: &mut Words<'_>, mut pairs: Pairs<'_, Rule>) -> Option<Word> {
    pairs.find(|p| p.as_rule() == Rule::word).map(|p| w.word(p))
}

fn all_words(w: &mut Words<'_>, pairs: Pairs<'_, Rule>) -> Vec<Word> {
    pairs.filter(|p| p.as_rule() == Rule::word).map(|p| w.word(p)).collect()
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

fn heredoc(w: &mut Words<'_>, pair: P<'_>) -> Option<Heredoc> {
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

fn exec(w: &mut Words<'_>, inner: Pairs<'_, Rule>) -> Option<Exec> {
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

fn list(w: &mut Words<'_>, pair: P<'_>) -> Option<List> {
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

fn operand(w: &mut Words<'_>, pair: P<'_>) -> Option<Operand> {
    let what = pair.into_inner().find(|p| !trivia(p))?;
    Some(match what.as_rule() {
        Rule::list => Operand::List(list(w, what)?),
        _ => Operand::Word(w.word(what)),
    })
}

fn expect(w: &mut Words<'_>, inner: Pairs<'_, Rule>) -> Option<Expect> {
    let mut negated = false;
    let mut modifiers = vec![];
    let mut found = None;
    for part in inner {
        match part.as_rule() {
            Rule::no => negated = true,
            Rule::within | Rule::every | Rule::stable | Rule::because => modifiers.extend(modifier(w, part)),
            _ if trivia(&part) => {}
            _ => {
                let span = w.span(&part);
                found = Some((span, expectation(w, part, &mut modifiers)?));
            }
        }
    }
    let (span, what) = found?;
    Some(Expect { negated, what, span, modifiers })
}

fn modifier(w: &mut Words<'_>, pair: P<'_>) -> Option<Modifier> {
    let span = w.span(&pair);
    let kind = match pair.as_rule() {
        Rule::within => ModifierKind::Within,
        Rule::every => ModifierKind::Every,
        Rule::stable => ModifierKind::Stable,
        Rule::because => ModifierKind::Because,
        _ => ModifierKind::On,
    };
    Some(Modifier { span, kind, word: first_word(w, pair.into_inner())? })
}

fn expectation(w: &mut Words<'_>, pair: P<'_>, modifiers: &mut Vec<Modifier>) -> Option<Expectation> {
    let rule = pair.as_rule();
    let mut inner = pair.into_inner();
    Some(match rule {
        Rule::expect_status => Expectation::Status(all_words(w, inner)),
        Rule::expect_exit => Expectation::Exit(all_words(w, inner)),
        Rule::expect_ssl_verify => Expectation::SslVerify(first_word(w, inner)?),
        Rule::expect_header => {
            let name = w.word(inner.find(|p| p.as_rule() == Rule::word)?);
            Expectation::Header { name, matches: inner.find_map(|p| text_match(w, p)) }
        }
        Rule::expect_body => {
            let kind = match inner.find(|p| p.as_rule() == Rule::body_kind)?.as_str() {
                "body" => OutputKind::Body,
                "stdout" => OutputKind::Stdout,
                _ => OutputKind::Stderr,
            };
            Expectation::Output { kind, matches: inner.find_map(|p| text_match(w, p))? }
        }
        Rule::expect_certificate => {
            let field = match inner.find(|p| p.as_rule() == Rule::certificate_field)?.as_str() {
                "san" => CertificateField::San,
                "subject" => CertificateField::Subject,
                _ => CertificateField::Issuer,
            };
            Expectation::Certificate { field, matches: inner.find_map(|p| text_match(w, p))? }
        }
        Rule::expect_blocked => Expectation::Blocked(first_word(w, inner)),
        Rule::expect_direct => Expectation::Direct,
        Rule::expect_via => Expectation::Via(first_word(w, inner)?),
        Rule::expect_path => Expectation::Path(all_words(w, inner)),
        Rule::expect_peer => Expectation::Peer(first_word(w, inner)?),
        Rule::expect_log => {
            let proxy = w.word(inner.find(|p| p.as_rule() == Rule::word)?);
            Expectation::Log { proxy, matches: inner.find_map(|p| text_match(w, p))? }
        }
        Rule::expect_listener | Rule::expect_cluster | Rule::expect_route => {
            let head = w.word(inner.find(|p| p.as_rule() == Rule::word)?);
            let mut subset = None;
            let mut facts = vec![];
            for part in inner {
                match part.as_rule() {
                    Rule::subset => subset = first_word(w, part.into_inner()),
                    Rule::on | Rule::within | Rule::every | Rule::stable | Rule::because => {
                        modifiers.extend(modifier(w, part))
                    }
                    Rule::fact_client_certificate => {
                        facts.push(Fact { span: w.span(&part), kind: FactKind::RequireClientCertificate })
                    }
                    Rule::fact_value | Rule::fact_to => facts.extend(fact(w, part)),
                    _ => {}
                }
            }
            match rule {
                Rule::expect_listener => Expectation::Listener { port: head, facts },
                Rule::expect_cluster => Expectation::Cluster { host: head, subset, facts },
                _ => Expectation::Route { name: head },
            }
        }
        Rule::expect_list => {
            let list = list(w, inner.find(|p| p.as_rule() == Rule::list)?)?;
            let what = inner.find(|p| !trivia(p))?;
            let rule = what.as_rule();
            let mut inner = what.into_inner();
            let compare = match rule {
                Rule::count => Compare::Count(first_word(w, inner)?),
                Rule::fewer => Compare::FewerThan(operand(w, inner.find(|p| p.as_rule() == Rule::operand)?)?),
                _ => Compare::SameAs(operand(w, inner.find(|p| p.as_rule() == Rule::operand)?)?),
            };
            Expectation::List { list, compare }
        }
        _ => return None,
    })
}

fn fact(w: &mut Words<'_>, pair: P<'_>) -> Option<Fact> {
    let span = w.span(&pair);
    let rule = pair.as_rule();
    let mut inner = pair.into_inner();
    let kind = if rule == Rule::fact_to {
        let host = w.word(inner.find(|p| p.as_rule() == Rule::word)?);
        let subset = inner.find(|p| p.as_rule() == Rule::subset);
        FactKind::To { host, subset: subset.and_then(|p| first_word(w, p.into_inner())) }
    } else {
        let name = inner.find(|p| p.as_rule() == Rule::fact_name)?.as_str().to_string();
        FactKind::Value { name, word: first_word(w, inner)? }
    };
    Some(Fact { span, kind })
}

fn text_match(w: &mut Words<'_>, pair: P<'_>) -> Option<TextMatch> {
    let rule = pair.as_rule();
    Some(match rule {
        Rule::word => TextMatch::Plain(w.word(pair)),
        Rule::equals => TextMatch::Equals(first_word(w, pair.into_inner())?),
        Rule::contains => TextMatch::Contains(first_word(w, pair.into_inner())?),
        Rule::matches => {
            let regex = pair.into_inner().find(|p| p.as_rule() == Rule::regex)?;
            let span = w.span(&regex);
            let text = regex.into_inner().next()?.as_str().replace("\\/", "/");
            TextMatch::Matches(Regex { span, text })
        }
        _ => return None,
    })
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

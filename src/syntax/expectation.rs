//! `expect …` lines: from pest's pairs to the AST.

use super::ast::*;
use super::build::{all_words, boxed, comparison, first_word, heredoc, list, object, operand};
use super::escape::Words;
use super::grammar::Rule;
use super::tree::{Pair, Pairs};

pub(super) fn expect(w: &mut Words<'_>, inner: Pairs<'_>) -> Option<Expect> {
    let mut negated = false;
    let mut modifiers = vec![];
    let mut found = None;
    for part in inner {
        match part.as_rule() {
            Rule::no => negated = true,
            Rule::within | Rule::every | Rule::stable | Rule::because => modifiers.extend(modifier(w, part)),
            _ => {
                let span = w.span(&part);
                found = Some((span, expectation(w, part, &mut modifiers)?));
            }
        }
    }
    let (span, what) = found?;
    Some(Expect { negated, what, span, modifiers })
}

pub(super) fn modifier(w: &mut Words<'_>, pair: Pair<'_>) -> Option<Modifier> {
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

fn expectation(w: &mut Words<'_>, pair: Pair<'_>, modifiers: &mut Vec<Modifier>) -> Option<Expectation> {
    let rule = pair.as_rule();
    let mut inner = pair.into_inner();
    Some(match rule {
        Rule::expect_status => Expectation::Status(all_words(w, inner)),
        Rule::expect_exit => Expectation::Exit(all_words(w, inner)),
        Rule::expect_ssl_verify => Expectation::SslVerify(first_word(w, inner)?),
        Rule::expect_header => {
            let name = w.word(inner.find(|p| p.as_rule() == Rule::word)?);
            Expectation::Header { name, matches: inner.find_map(|p| text_match(w, p)).map(Box::new) }
        }
        Rule::expect_body => {
            let kind = match inner.find(|p| p.as_rule() == Rule::body_kind)?.as_str() {
                "body" => OutputKind::Body,
                "stdout" => OutputKind::Stdout,
                _ => OutputKind::Stderr,
            };
            Expectation::Output { kind, matches: Box::new(inner.find_map(|p| text_match(w, p))?) }
        }
        Rule::expect_certificate => {
            let field = match inner.find(|p| p.as_rule() == Rule::certificate_field)?.as_str() {
                "san" => CertificateField::San,
                "subject" => CertificateField::Subject,
                _ => CertificateField::Issuer,
            };
            Expectation::Certificate { field, matches: Box::new(inner.find_map(|p| text_match(w, p))?) }
        }
        Rule::expect_blocked => Expectation::Blocked(first_word(w, inner)),
        Rule::expect_direct => Expectation::Direct,
        Rule::expect_via => Expectation::Via(first_word(w, inner)?),
        Rule::expect_path => Expectation::Path(all_words(w, inner)),
        Rule::expect_peer => Expectation::Peer(first_word(w, inner)?),
        Rule::expect_log => {
            let proxy = w.word(inner.find(|p| p.as_rule() == Rule::word)?);
            Expectation::Log { proxy, matches: Box::new(inner.find_map(|p| text_match(w, p))?) }
        }
        Rule::expect_json => {
            let path = w.word(inner.find(|p| p.as_rule() == Rule::word)?);
            Expectation::Json { path, matches: inner.find_map(|p| text_match(w, p)).map(Box::new) }
        }
        Rule::expect_time => {
            let comparison = comparison(inner.find(|p| p.as_rule() == Rule::comparison)?.as_str());
            Expectation::Time { comparison, limit: first_word(w, inner)? }
        }
        Rule::expect_tls => Expectation::Tls { version: first_word(w, inner)? },
        Rule::expect_only => {
            let kind = match inner.find(|p| p.as_rule() == Rule::resource_kind)?.as_str() {
                "cluster" => ListKind::Clusters,
                "listener" => ListKind::Listeners,
                _ => ListKind::Routes,
            };
            let name = w.word(inner.find(|p| p.as_rule() == Rule::word)?);
            modifiers.extend(inner.filter(|p| p.as_rule() == Rule::on).filter_map(|p| modifier(w, p)));
            Expectation::Only { kind, name }
        }
        Rule::expect_config | Rule::expect_resource => {
            let mut found = None;
            let mut matches = None;
            for part in inner {
                match part.as_rule() {
                    Rule::object => found = object(w, part).map(Box::new),
                    Rule::matches_document => matches = document(w, part),
                    Rule::on | Rule::within | Rule::every | Rule::stable | Rule::because => {
                        modifiers.extend(modifier(w, part))
                    }
                    _ => {}
                }
            }
            match rule {
                Rule::expect_config => Expectation::Config { document: matches? },
                _ => Expectation::Resource { object: found?, document: matches.map(Box::new) },
            }
        }
        Rule::expect_rejected => Expectation::Rejected { containing: first_word(w, inner) },
        Rule::expect_analysis => {
            let contains = inner.find(|p| p.as_rule() == Rule::contains);
            Expectation::Analysis { contains: contains.and_then(|p| first_word(w, p.into_inner())) }
        }
        Rule::expect_listener
        | Rule::expect_cluster
        | Rule::expect_route
        | Rule::expect_endpoint
        | Rule::expect_secret => {
            let head = w.word(inner.find(|p| p.as_rule() == Rule::word)?);
            let mut subset = None;
            let mut facts = vec![];
            for part in inner {
                match part.as_rule() {
                    Rule::subset => subset = boxed(w, part.into_inner()),
                    Rule::on | Rule::within | Rule::every | Rule::stable | Rule::because => {
                        modifiers.extend(modifier(w, part))
                    }
                    Rule::fact_client_certificate => {
                        facts.push(Fact { span: w.span(&part), kind: FactKind::RequireClientCertificate })
                    }
                    Rule::fact_healthy => facts.push(Fact { span: w.span(&part), kind: FactKind::Healthy }),
                    Rule::fact_value | Rule::fact_to => facts.extend(fact(w, part)),
                    _ => {}
                }
            }
            match rule {
                Rule::expect_listener => Expectation::Listener { port: head, facts },
                Rule::expect_cluster => Expectation::Cluster { host: head, subset, facts },
                Rule::expect_endpoint => Expectation::Endpoint { host: head, subset, facts },
                Rule::expect_secret => Expectation::Secret { name: head },
                _ => Expectation::Route { name: head, facts },
            }
        }
        Rule::expect_list => {
            let list = list(w, inner.find(|p| p.as_rule() == Rule::list)?)?;
            let what = inner.next()?;
            let rule = what.as_rule();
            let mut inner = what.into_inner();
            let compare = match rule {
                Rule::count => Compare::Count(first_word(w, inner)?),
                Rule::fewer => Compare::FewerThan(operand(w, inner.find(|p| p.as_rule() == Rule::operand)?)?),
                _ => Compare::SameAs(operand(w, inner.find(|p| p.as_rule() == Rule::operand)?)?),
            };
            Expectation::List { list, compare: Box::new(compare) }
        }
        _ => return None,
    })
}

fn fact(w: &mut Words<'_>, pair: Pair<'_>) -> Option<Fact> {
    let span = w.span(&pair);
    let rule = pair.as_rule();
    let mut inner = pair.into_inner();
    let kind = if rule == Rule::fact_to {
        let host = w.word(inner.find(|p| p.as_rule() == Rule::word)?);
        let subset = inner.find(|p| p.as_rule() == Rule::subset);
        FactKind::To { host, subset: subset.and_then(|p| boxed(w, p.into_inner())) }
    } else {
        let name = inner.find(|p| p.as_rule() == Rule::fact_name)?.as_str().to_string();
        FactKind::Value { name, word: first_word(w, inner)? }
    };
    Some(Fact { span, kind })
}

fn text_match(w: &mut Words<'_>, pair: Pair<'_>) -> Option<TextMatch> {
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

fn document(w: &mut Words<'_>, pair: Pair<'_>) -> Option<Heredoc> {
    pair.into_inner().find(|p| p.as_rule() == Rule::heredoc).and_then(|p| heredoc(w, p))
}

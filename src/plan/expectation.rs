//! `expect …` lines → typed expectations.

use super::build::Builder;
use super::expected::*;
use super::step::*;
use super::value::{self, Unfit};
use crate::diag::Diagnostic;
use crate::syntax::{self, Compare, FactKind, ModifierKind, Span, Statement, Word};

pub(super) fn build(b: &mut Builder<'_>, expect: &syntax::Expect, statement: &Statement) -> Option<Expect> {
    let mut out =
        Expect { negated: expect.negated, what: Expectation::Direct, within: None, stable: None, because: None };
    let mut every = None;
    let mut on = None;
    let mut seen: Vec<(ModifierKind, Span)> = vec![];
    let mut failed = false;
    for modifier in &expect.modifiers {
        if let Some((_, first)) = seen.iter().find(|(k, _)| *k == modifier.kind) {
            let d = Diagnostic::error("E0117", "the same modifier twice")
                .at(b.place(&modifier.span), "again")
                .at(b.place(first), "first here");
            b.error(d);
            failed = true;
            continue;
        }
        seen.push((modifier.kind, modifier.span.clone()));
        let word = &modifier.word;
        let read = match modifier.kind {
            ModifierKind::Within => b.value(word, value::duration).map(|d| out.within = Some(d)),
            ModifierKind::Every => b.value(word, value::duration).map(|d| every = Some(d)),
            ModifierKind::Stable => b.value(word, value::stable).map(|s| out.stable = Some(s)),
            ModifierKind::Because => b.fixed(word).map(|t| out.because = Some(t)),
            ModifierKind::On => {
                on = Some(word);
                Some(())
            }
        };
        failed |= read.is_none();
    }
    let what = expectation(b, expect, on, statement);
    if is_about_exec(&expect.what) {
        // Marked even when this line is wrong: the exec is judged by its expects all the same.
        let step = b.probe(statement)?;
        needs_curl(b, step, &expect.what, &expect.span);
        if let Some(exec) = b.exec_step(step) {
            exec.has_expects = true;
            exec.every = match (exec.every, every) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    } else if every.is_some() {
        let span = seen.iter().find(|(k, _)| *k == ModifierKind::Every).map_or(expect.span.clone(), |(_, s)| s.clone());
        let d = Diagnostic::error("E0210", "`every` repeats a command, and this expectation reads state")
            .at(b.place(&span), "state is watched; nothing is repeated")
            .help("remove `every …`; `within …` says how long to wait");
        b.error(d);
        failed = true;
    }
    out.what = what?;
    (!failed).then_some(out)
}

/// What only curl's own account of a transfer tells.
fn needs_curl(b: &mut Builder<'_>, step: usize, what: &syntax::Expectation, span: &Span) {
    use syntax::Expectation as E;
    let named = match what {
        E::Status(_) => "status",
        E::SslVerify(_) => "ssl_verify",
        E::Header { .. } => "header",
        E::Time { .. } => "time",
        E::Certificate { .. } => "certificate",
        _ => return,
    };
    let Some(exec) = b.exec_step(step) else { return };
    let Some(Part::Literal(program)) = exec.command.first().and_then(|t| t.0.first()).cloned() else { return };
    if super::curl::is_curl(std::slice::from_ref(&program)) {
        return;
    }
    let shell = matches!(program.rsplit('/').next(), Some("sh" | "bash" | "ash"));
    let near = crate::diag::suggest::nearest(&program, ["curl"]).is_some();
    let d =
        Diagnostic::error("E0217", format!("`{}` gives no account of a {named}", program.lines().next().unwrap_or("")))
            .at(b.place(span), "known of curl alone");
    let d = match (near, shell) {
        (true, _) => d.help("did you mean `curl`?"),
        (_, true) => {
            d.help("run curl itself: exec WORKLOAD curl …; a shell is asked by `expect exit` and `expect stdout`")
        }
        _ => d.help("use curl, or judge by `expect exit` and `expect stdout`"),
    };
    b.error(d);
}

/// Whether the expectation is about what the last exec did.
fn is_about_exec(what: &syntax::Expectation) -> bool {
    use syntax::Expectation as E;
    !matches!(
        what,
        E::Listener { .. }
            | E::Cluster { .. }
            | E::Route { .. }
            | E::Endpoint { .. }
            | E::Secret { .. }
            | E::List { .. }
            | E::Only { .. }
            | E::Config { .. }
            | E::Resource { .. }
            | E::Rejected { .. }
            | E::Analysis { .. }
    )
}

fn expectation(
    b: &mut Builder<'_>,
    expect: &syntax::Expect,
    on: Option<&Word>,
    statement: &Statement,
) -> Option<Expectation> {
    use syntax::Expectation as E;
    Some(match &expect.what {
        E::Status(words) => Expectation::Status(values(b, words, value::status)?),
        E::Exit(words) => Expectation::Exit(values(b, words, value::exit)?),
        E::SslVerify(word) => Expectation::SslVerify(b.value(word, value::integer)?),
        E::Header { name, matches } => {
            let name = b.value(name, header_name)?;
            let matches = match matches {
                Some(m) => Some(text_match(b, m)?),
                None => None,
            };
            Expectation::Header { name, matches }
        }
        E::Output { kind, matches } => {
            let matches = text_match(b, matches)?;
            match kind {
                syntax::OutputKind::Body => Expectation::Body(matches),
                syntax::OutputKind::Stdout => Expectation::Stdout(matches),
                syntax::OutputKind::Stderr => Expectation::Stderr(matches),
            }
        }
        E::Certificate { field, matches } => {
            let (field, whole) = match field {
                syntax::CertificateField::San => (CertificateField::San, true),
                syntax::CertificateField::Subject => (CertificateField::Subject, false),
                syntax::CertificateField::Issuer => (CertificateField::Issuer, false),
            };
            let matches = match &**matches {
                // A name is a whole subject alternative name, but only a part of a distinguished name.
                syntax::TextMatch::Plain(word) if whole => TextMatch::Equals(b.text(word)?),
                syntax::TextMatch::Plain(word) => TextMatch::Contains(b.text(word)?),
                other => text_match(b, other)?,
            };
            Expectation::Certificate { field, matches }
        }
        E::Blocked(word) => Expectation::Blocked(match word {
            Some(word) => Some(b.value(word, value::blocked_by)?),
            None => None,
        }),
        E::Direct => Expectation::Direct,
        E::Via(word) => {
            let text = b.fixed(word)?;
            let (name, port) = b.read(&text, &word.span, value::host_port)?;
            let gateway = b.gateway.clone();
            let gateway = b.read(&name, &word.span, |w| value::workload(w, &gateway.namespace, Some(&gateway)))?;
            Expectation::Via { gateway, port }
        }
        E::Path(words) => {
            let mut hops = vec![];
            for word in words {
                let text = b.fixed(word)?;
                if text.contains("->") && text != "->" {
                    let d = Diagnostic::error("E0205", format!("`{text}`: blanks stand around `->`"))
                        .at(b.place(&word.span), "one word")
                        .help(format!("write {}", text.replace("->", " -> ")));
                    b.error(d);
                    return None;
                }
                let (name, port) = b.read(&text, &word.span, value::host_port)?;
                hops.push(Hop { name, port });
            }
            path_shape(b, &hops, words)?;
            Expectation::Path(hops)
        }
        E::Peer(word) => {
            let text = b.text(word)?;
            if let [Part::Literal(id)] = text.0.as_slice() {
                let id = id.clone();
                b.read(&id, &word.span, spiffe)?;
            }
            Expectation::Peer(text)
        }
        E::Log { proxy, matches } => {
            let proxy = b.workload(proxy)?;
            Expectation::Log { proxy, matches: text_match(b, matches)? }
        }
        E::Listener { port, facts } => {
            let port = b.value(port, value::port)?;
            let on = match on {
                Some(word) => b.workload(word)?,
                None => b.gateway.clone(),
            };
            Expectation::Listener { port, on: Some(on), facts: all_facts(b, facts, true)? }
        }
        E::Cluster { host, subset, facts } => {
            let text = b.fixed(host)?;
            let (name, port) = b.read(&text, &host.span, value::host_port)?;
            let subset = b.subset(subset.as_deref())?;
            let on = b.proxy(on, &expect.span)?;
            Expectation::Cluster { host: name, port, subset, on: Some(on), facts: all_facts(b, facts, false)? }
        }
        E::Route { name, facts } => {
            let name = b.fixed(name)?;
            b.route(name.clone(), &statement.span);
            let to = super::state::route_targets(b, facts)?;
            Expectation::Route { name, on: Some(b.proxy(on, &expect.span)?), to }
        }
        E::Json { path, matches } => {
            let path = b.value(path, value::json_path)?;
            let matches = match matches {
                Some(m) => Some(text_match(b, m)?),
                None => None,
            };
            Expectation::Json { path, matches }
        }
        E::Time { comparison, limit } => {
            Expectation::Time { comparison: *comparison, limit: b.value(limit, value::duration)? }
        }
        E::Tls { version } => {
            let version = b.value(version, value::tls_version)?;
            super::state::says_tls(b, statement)?;
            Expectation::Tls(version)
        }
        E::Endpoint { .. }
        | E::Secret { .. }
        | E::Only { .. }
        | E::Config { .. }
        | E::Resource { .. }
        | E::Rejected { .. }
        | E::Analysis { .. } => super::state::build(b, expect, on, statement)?,
        E::List { list, compare } => {
            let (kind, on) = b.list(list)?;
            let compare = match &**compare {
                Compare::Count(word) => ListCompare::Count(b.value(word, value::count)?),
                Compare::FewerThan(operand) => ListCompare::FewerThan(b.operand(operand)?),
                Compare::SameAs(operand) => ListCompare::SameAs(b.operand(operand)?),
            };
            Expectation::List { list: kind, on, compare }
        }
    })
}

fn values<T>(b: &mut Builder<'_>, words: &[Word], read: impl Fn(&str) -> Result<T, Unfit>) -> Option<Vec<T>> {
    let words = b.several(words)?;
    let read: Vec<Option<T>> = words.iter().map(|w| b.read(&w.text, &w.span, &read)).collect();
    read.into_iter().collect()
}

fn text_match(b: &mut Builder<'_>, matches: &syntax::TextMatch) -> Option<TextMatch> {
    Some(match matches {
        syntax::TextMatch::Plain(word) | syntax::TextMatch::Equals(word) => TextMatch::Equals(b.text(word)?),
        syntax::TextMatch::Contains(word) => TextMatch::Contains(b.text(word)?),
        syntax::TextMatch::Matches(regex) => TextMatch::Matches(b.regex(regex)?),
    })
}

fn header_name(word: &str) -> Result<String, Unfit> {
    let name = word.strip_suffix(':').unwrap_or(word);
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    match !name.is_empty() && name.chars().all(token) {
        true => Ok(name.to_string()),
        false => {
            Err(Unfit { why: "not a header's name".into(), help: Some("write expect header NAME == TEXT".into()) })
        }
    }
}

fn spiffe(id: &str) -> Result<(), Unfit> {
    let rest = id.strip_prefix("spiffe://");
    match rest.map(|r| r.split('/').collect::<Vec<_>>()).as_deref() {
        Some([domain, "ns", namespace, "sa", account])
            if ![domain, namespace, account].iter().any(|p| p.is_empty()) =>
        {
            Ok(())
        }
        _ => Err(Unfit {
            why: "not a workload's SPIFFE id".into(),
            help: Some("write spiffe://cluster.local/ns/NAMESPACE/sa/ACCOUNT".into()),
        }),
    }
}

/// A path starts at a client, which has no port; every later stop may name one.
fn path_shape(b: &mut Builder<'_>, hops: &[Hop], words: &[Word]) -> Option<()> {
    if let (Some(Hop { port: Some(port), name }), Some(word)) = (hops.first(), words.first()) {
        let d = Diagnostic::error("E0205", "a path starts at the client, which has no port")
            .at(b.place(&word.span), "")
            .help(format!("write {name}, without :{port}"));
        b.error(d);
        return None;
    }
    Some(())
}

fn all_facts(b: &mut Builder<'_>, facts: &[syntax::Fact], listener: bool) -> Option<Vec<Fact>> {
    let read: Vec<Option<Fact>> = facts.iter().map(|f| fact(b, f, listener)).collect();
    read.into_iter().collect()
}

fn fact(b: &mut Builder<'_>, fact: &syntax::Fact, listener: bool) -> Option<Fact> {
    let misplaced = |b: &mut Builder<'_>, name: &str| {
        let is = if listener { "listener" } else { "cluster" };
        let other = match name {
            "healthy" | "count" | "address" => "endpoint",
            _ if listener => "cluster",
            _ => "listener",
        };
        let d = Diagnostic::error(
            "E0119",
            format!("`{name}` is a fact of {} {other}, not of a {is}", if other == "endpoint" { "an" } else { "a" }),
        )
        .at(b.place(&fact.span), "")
        .help(format!("write expect {other} … {name} …"));
        b.error(d);
        None
    };
    Some(match &fact.kind {
        FactKind::RequireClientCertificate if listener => Fact::RequireClientCertificate,
        FactKind::RequireClientCertificate => return misplaced(b, "requireClientCertificate"),
        FactKind::To { host, subset } if listener => {
            let host = b.fixed(host)?;
            let subset = b.subset(subset.as_deref())?;
            Fact::To { host, subset }
        }
        FactKind::To { .. } => return misplaced(b, "to"),
        FactKind::Healthy => return misplaced(b, "healthy"),
        FactKind::Value { name, word } => match (name.as_str(), listener) {
            ("mode", true) => Fact::Mode(b.value(word, |w| {
                one_of(w, &["PASSTHROUGH", "ISTIO_MUTUAL", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH"])
            })?),
            ("chains", true) => Fact::Chains(b.value(word, value::count)?),
            ("bound", true) => Fact::Bound(b.value(word, value::port)?),
            ("type", false) => Fact::Type(
                b.value(word, |w| one_of(w, &["STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST", "STATIC"]))?,
            ),
            ("tls", false) => Fact::Tls(b.value(word, |w| one_of(w, &["none", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]))?),
            ("sni", _) => Fact::Sni(b.fixed(word)?),
            ("san", _) => Fact::San(b.fixed(word)?),
            ("alpn", _) => Fact::Alpn(b.fixed(word)?),
            _ => return misplaced(b, name),
        },
    })
}

/// The known word that is meant, whatever its case, `-` as good as `_`.
fn one_of(word: &str, known: &[&str]) -> Result<String, Unfit> {
    let plain = |w: &str| w.to_lowercase().replace('-', "_");
    match known.iter().find(|k| plain(k) == plain(word)) {
        Some(k) => Ok(k.to_string()),
        None => Err(match guess(word, known).or_else(|| crate::diag::suggest::nearest(word, known.iter().copied())) {
            Some(near) => {
                Unfit { why: format!("did you mean `{near}`?"), help: Some(format!("known are: {}", known.join(" "))) }
            }
            None => Unfit { why: "unknown".into(), help: Some(format!("known are: {}", known.join(" "))) },
        }),
    }
}

/// `mtls` is what people say; Istio names it ISTIO_MUTUAL.
fn guess<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let meant = match word.to_lowercase().as_str() {
        "mtls" | "istio" => "ISTIO_MUTUAL",
        "off" | "disable" | "plain" => "none",
        "dns" => "STRICT_DNS",
        _ => return None,
    };
    known.iter().copied().find(|k| *k == meant)
}

//! Expectations about state beside listeners and clusters: endpoints, secrets, what changed, objects of the
//! API, refusals, Istio's analysis.

use super::build::Builder;
use super::expected::*;
use super::step::*;
use super::value;
use crate::diag::Diagnostic;
use crate::syntax::{self, FactKind, ListKind, Span, Statement, Word};

pub(super) fn build(
    b: &mut Builder<'_>,
    expect: &syntax::Expect,
    on: Option<&Word>,
    statement: &Statement,
) -> Option<Expectation> {
    use syntax::Expectation as E;
    Some(match &expect.what {
        E::Endpoint { host, subset, facts } => {
            let text = b.fixed(host)?;
            let (name, port) = b.read(&text, &host.span, value::host_port)?;
            let subset = b.subset(subset.as_deref())?;
            let on = b.proxy(on, &expect.span)?;
            let facts: Vec<Option<EndpointFact>> = facts.iter().map(|f| endpoint_fact(b, f)).collect();
            let facts = facts.into_iter().collect::<Option<Vec<_>>>()?;
            Expectation::Endpoint { host: name, port, subset, on: Some(on), facts }
        }
        E::Secret { name } => {
            let name = b.fixed(name)?;
            Expectation::Secret { name, on: Some(b.proxy(on, &expect.span)?) }
        }
        E::Only { kind, name } => {
            let list = match kind {
                ListKind::Clusters => ProxyList::Clusters,
                ListKind::Listeners => ProxyList::Listeners,
                ListKind::Routes => ProxyList::Routes,
            };
            let name = b.fixed(name)?;
            let on = b.proxy(on, &expect.span)?;
            if !b.snapshots.contains(&on) {
                let d = Diagnostic::error("E0214", "changed since when?")
                    .at(b.place(&expect.span), format!("no list of {on} was captured before this"))
                    .help(format!("before the change, write capture before = clusters on {}", on.name));
                b.error(d);
                return None;
            }
            Expectation::Only { list, name, on }
        }
        E::Config { document } => {
            let on = match on {
                Some(word) => b.workload(word),
                None => b.proxy(None, &expect.span),
            };
            let body = b.document(document)?;
            let known = ["listeners", "clusters", "routes"];
            if let Some(key) =
                body.as_object().into_iter().flatten().map(|(k, _)| k).find(|k| !known.contains(&k.as_str()))
            {
                let d = Diagnostic::error("E0205", format!("`{key}` is no list of a proxy's configuration"))
                    .at(b.place(&document.body), "its lists are listeners, clusters and routes")
                    .help("write listeners: and below it - name: 0.0.0.0_443, with the fields that matter");
                b.error(d);
                return None;
            }
            Expectation::Config { on: on?, document: body }
        }
        E::Resource { object, document } => {
            let object = b.object(object);
            let document = match document {
                Some(heredoc) => Some(b.document(heredoc)?),
                None => None,
            };
            Expectation::Resource { object: object?, document }
        }
        E::Rejected { containing } => {
            let containing = match containing {
                Some(word) => Some(b.text(word)?),
                None => None,
            };
            behind_change(b, statement)?;
            Expectation::Rejected { containing }
        }
        E::Analysis { contains } => Expectation::Analysis(match contains {
            Some(word) => Analysis::Contains(b.value(word, value::analysis_code)?),
            None => Analysis::Clean,
        }),
        _ => return None,
    })
}

/// `to HOST [subset S]` of a route; no other fact is one.
pub(super) fn route_targets(b: &mut Builder<'_>, facts: &[syntax::Fact]) -> Option<Vec<RouteTarget>> {
    let mut out = vec![];
    for fact in facts {
        let FactKind::To { host, subset } = &fact.kind else {
            misplaced(b, &fact.span, "route", "to HOST [subset NAME]");
            return None;
        };
        let host = b.fixed(host)?;
        let subset = b.subset(subset.as_deref())?;
        out.push(RouteTarget { host, subset });
    }
    Some(out)
}

fn endpoint_fact(b: &mut Builder<'_>, fact: &syntax::Fact) -> Option<EndpointFact> {
    Some(match &fact.kind {
        FactKind::Healthy => EndpointFact::Healthy,
        FactKind::Value { name, word } if name == "count" => EndpointFact::Count(b.value(word, value::count)?),
        FactKind::Value { name, word } if name == "address" => {
            let text = b.fixed(word)?;
            let (address, port) = b.read(&text, &word.span, value::host_port)?;
            EndpointFact::Address { address, port }
        }
        _ => {
            misplaced(b, &fact.span, "endpoint", "count N, address ADDRESS[:PORT], healthy");
            return None;
        }
    })
}

fn misplaced(b: &mut Builder<'_>, span: &Span, what: &str, known: &str) {
    let d = Diagnostic::error(
        "E0119",
        format!("not a fact of {}", if what == "endpoint" { "an endpoint" } else { "a route" }),
    )
    .at(b.place(span), "")
    .help(format!("facts of {what}s are: {known}"));
    b.error(d);
}

/// `expect rejected` is about the change right before it.
fn behind_change(b: &mut Builder<'_>, statement: &Statement) -> Option<()> {
    let is_rejected =
        |s: &&Step| matches!(&s.kind, StepKind::Expect(e) if matches!(e.what, Expectation::Rejected { .. }));
    let before = b.steps.iter().rev().find(|s| !is_rejected(s));
    let is_change = before.is_none_or(|s| {
        matches!(
            s.kind,
            StepKind::Apply(_)
                | StepKind::Delete(_)
                | StepKind::Patch { .. }
                | StepKind::Scale { .. }
                | StepKind::Restart(_)
        )
    });
    // A change that is wrong itself was told, and is not among the steps.
    let told = b.errors.iter().any(|d| d.is_error());
    if (before.is_some() && is_change) || told {
        return Some(());
    }
    let d = Diagnostic::error("E0215", "no change stands right before this")
        .at(b.place(&statement.span), "it is about an `apply`, `patch`, `scale` or `delete` that is refused")
        .help("put it on the line below the `apply` that is to be refused");
    b.error(d);
    None
}

/// Only `curl -v` says which TLS version was agreed on.
pub(super) fn says_tls(b: &mut Builder<'_>, statement: &Statement) -> Option<()> {
    let Some(index) = b.last_exec.as_ref().and_then(|l| l.step) else { return Some(()) };
    let exec = b.exec_step(index)?;
    let word = |text: &Text| match text.0.as_slice() {
        [Part::Literal(word)] => word.clone(),
        _ => String::new(),
    };
    let words: Vec<String> = exec.command.iter().map(word).collect();
    let short = |w: &String| w.starts_with('-') && !w.starts_with("--") && w.contains('v');
    if words.iter().any(|w| w == "--verbose" || short(w)) {
        return Some(());
    }
    let d = Diagnostic::error("E0216", "the command does not say which TLS version was agreed on")
        .at(b.place(&statement.span), "curl tells it with -v only")
        .help("add -v to the curl command above");
    b.error(d);
    None
}

//! Expectations about objects of the API: `resource`, `rejected`, `analysis`.

use super::finding::Finding;
use super::part::{Names, missing};
use super::text::{quoted, resolve};
use super::{Evidence, Failure, code};
use crate::plan::{Analysis, ObjectRef, Text};
use serde_json::Value;

/// Messages shown in a failure, at most.
const SHOWN: usize = 12;

/// One finding of Istio's analysis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub code: String,
    /// An error or a warning, and not a hint.
    pub is_serious: bool,
    /// `Warning [IST0145] (Gateway a/b) …`.
    pub line: String,
}

pub(super) fn words(object: &ObjectRef) -> String {
    let namespace = object.namespace.as_ref().map(|n| format!(" in {n}")).unwrap_or_default();
    format!("resource {} {}{namespace}", object.kind, object.name)
}

pub(super) fn resource(object: &ObjectRef, document: Option<&Value>, evidence: &Evidence) -> Finding {
    let Some((_, found)) = evidence.objects.iter().find(|(known, _)| known == object) else {
        return Finding::not_shown("the object was not asked for", "");
    };
    let Some(found) = found else {
        let failure = Failure::new(code::RESOURCE, format!("expected {}, there is none", words(object)));
        return Finding::no(failure.advise(format!("see `kubectl get {} -A`", object.kind)));
    };
    let differences = document.map(|d| missing(d, found, Names::Exact)).unwrap_or_default();
    if differences.is_empty() {
        return Finding::yes();
    }
    let title = format!("expected {} to hold the document, it does not", words(object));
    Finding::no(Failure::new(code::RESOURCE, title).seen_all(differences))
}

pub(super) fn rejected(containing: Option<&Text>, evidence: &Evidence) -> Finding {
    let Some(refusal) = &evidence.refusal else {
        return Finding::no(Failure::new(code::REJECTED, "expected the change to be rejected, it was made"));
    };
    let wanted = match containing.map(|text| resolve(text, evidence)).transpose() {
        Ok(wanted) => wanted,
        Err(name) => return Finding::not_shown(format!("the capture `{name}` has no value yet"), "capture it before"),
    };
    match wanted.filter(|wanted| !refusal.contains(wanted.as_str())) {
        None => Finding::show(format!("rejected  {}", super::printable(refusal))),
        Some(wanted) => Finding::no(
            Failure::new(code::REJECTED, format!("expected a rejection containing {}, got another", quoted(&wanted)))
                .seen(format!("rejected  {}", super::printable(refusal))),
        ),
    }
}

pub(super) fn analysis(wanted: &Analysis, evidence: &Evidence) -> Finding {
    let Some(said) = &evidence.analysis else {
        return Finding::not_shown("nothing was analyzed", "");
    };
    let lines = |all: &[&Said]| -> Vec<String> { all.iter().take(SHOWN).map(|s| s.line.clone()).collect() };
    match wanted {
        Analysis::Clean => {
            let serious: Vec<&Said> = said.iter().filter(|s| s.is_serious).collect();
            if serious.is_empty() {
                return Finding::yes();
            }
            let title = format!("expected analysis clean, got {}", count(serious.len()));
            Finding::no(Failure::new(code::ANALYSIS, title).seen_all(lines(&serious)))
        }
        Analysis::Contains(code) => {
            let found: Vec<&Said> = said.iter().filter(|s| s.code == *code).collect();
            if !found.is_empty() {
                return Finding::Yes { show: lines(&found) };
            }
            let title = format!("expected analysis to contain {code}, got {}", count(said.len()));
            Finding::no(Failure::new(code::ANALYSIS, title).seen_all(lines(&said.iter().collect::<Vec<_>>())))
        }
    }
}

fn count(messages: usize) -> String {
    match messages {
        0 => "no message".into(),
        1 => "1 message".into(),
        more => format!("{more} messages"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn gateway() -> ObjectRef {
        ObjectRef { api_version: None, kind: "gateway".into(), namespace: None, name: "x".into() }
    }

    #[test]
    fn an_object_is_there_and_holds_a_part() {
        let with = |object: Option<Value>| Evidence { objects: vec![(gateway(), object)], ..Evidence::default() };
        let there = with(Some(json!({"spec": {"a": 1}})));
        assert!(matches!(resource(&gateway(), None, &there), Finding::Yes { .. }));
        assert!(matches!(resource(&gateway(), Some(&json!({"spec": {"a": 1}})), &there), Finding::Yes { .. }));
        assert!(matches!(resource(&gateway(), Some(&json!({"spec": {"a": 2}})), &there), Finding::No(_)));
        assert!(matches!(resource(&gateway(), None, &with(None)), Finding::No(_)));
    }

    #[test]
    fn a_rejection_is_judged_by_its_words() {
        let refused = Evidence { refusal: Some("spec.servers: required".into()), ..Evidence::default() };
        assert!(matches!(rejected(None, &refused), Finding::Yes { .. }));
        assert!(matches!(rejected(Some(&Text::literal("servers")), &refused), Finding::Yes { .. }));
        assert!(matches!(rejected(Some(&Text::literal("hosts")), &refused), Finding::No(_)));
        assert!(matches!(rejected(None, &Evidence::default()), Finding::No(_)));
    }

    #[test]
    fn hints_do_not_spoil_a_clean_analysis() {
        let said = |code: &str, is_serious| Said { code: code.into(), is_serious, line: code.into() };
        let with = |said: Vec<Said>| Evidence { analysis: Some(said), ..Evidence::default() };
        assert!(matches!(analysis(&Analysis::Clean, &with(vec![said("IST0102", false)])), Finding::Yes { .. }));
        assert!(matches!(analysis(&Analysis::Clean, &with(vec![said("IST0101", true)])), Finding::No(_)));
        let contains = Analysis::Contains("IST0101".into());
        assert!(matches!(analysis(&contains, &with(vec![said("IST0101", true)])), Finding::Yes { .. }));
        assert!(matches!(analysis(&contains, &with(vec![])), Finding::No(_)));
    }
}

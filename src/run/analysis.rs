//! Failure analysis: what failed, tied to the line of the scenario and to the lines of the manifests that
//! explain it.

use crate::check;
use crate::cluster::{Cluster, Error, content, describe, identity};
use crate::diag::{Diagnostic, Label, Place, Source};
use crate::expect::Evidence;
use crate::plan::{Expect, ManifestObject, Scenario, Step};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The caret under an expectation that failed.
pub(super) fn label(step: &Step, expect: &Expect) -> Label {
    Label { place: step.place.clone(), text: expect.because.clone().unwrap_or_default() }
}

/// How many findings about manifests are shown with one failure.
const FINDINGS: usize = 3;

/// Adds what the applied manifests have to say: a link between them that cannot hold is the likeliest
/// cause of a probe that fails. `ambient` is what else the target has.
pub(super) fn attach(
    failure: &mut Diagnostic,
    scenario: &Scenario,
    applied: &[ManifestObject],
    ambient: &[ManifestObject],
) {
    for finding in check::manifests_beside(applied, ambient, &scenario.namespace).into_iter().take(FINDINGS) {
        let mut labels = finding.labels.into_iter();
        if let Some(first) = labels.next() {
            let text = match first.text.is_empty() {
                true => finding.title,
                false => format!("{}: {}", finding.title, first.text),
            };
            failure.labels.push(Label { text, ..first });
        }
        failure.labels.extend(labels);
        failure.help.extend(finding.help);
    }
}

/// What the target has beside the applied objects, with its own text to point into.
pub(super) fn ambient(evidence: &Evidence, applied: &[ManifestObject]) -> Vec<ManifestObject> {
    let id = |o: &Value| (o["kind"].clone(), o["metadata"]["namespace"].clone(), o["metadata"]["name"].clone());
    let is_applied = |o: &Value| {
        let (kind, namespace, name) = id(o);
        applied.iter().any(|a| {
            let theirs = id(&a.body);
            theirs.0 == kind && theirs.2 == name && (theirs.1.is_null() || theirs.1 == namespace)
        })
    };
    let others = evidence.services.iter().chain(&evidence.istio).filter(|o| !is_applied(o));
    others.map(live).collect()
}

/// An object of the target as a manifest: its content as YAML stands for the file.
fn live(object: &Value) -> ManifestObject {
    let body = content(object);
    let (namespace, name) = identity(object);
    let kind = object["kind"].as_str().unwrap_or_default();
    let text = serde_yaml::to_string(&body).unwrap_or_default();
    let span = 0..text.lines().next().map_or(0, str::len);
    let source = Source { name: format!("{} on the target", describe(kind, Some(namespace), name)), text };
    ManifestObject::new(body, Place { source: Arc::new(source), span }, vec![])
}

/// How many of the control plane's lines are worth showing.
const LINES: usize = 5;

/// istiod's own words about configuration that it dropped, since a time; none where its log cannot be
/// read.
pub(super) async fn control_plane_log(cluster: &Cluster, since: jiff::Timestamp) -> Vec<String> {
    let Ok(pods) = cluster.pods("istio-system", "istiod", Duration::from_millis(1)).await else { return vec![] };
    let seconds = jiff::Timestamp::now().duration_since(since).as_secs() + 1;
    let mut said: Vec<String> = vec![];
    for pod in pods {
        let Ok(lines) = cluster.log_since(&pod, &pod.default_container, seconds).await else { continue };
        for line in lines.iter().filter_map(|line| dropped(line, since)) {
            if !said.contains(&line) {
                said.push(line);
            }
        }
    }
    said.split_off(said.len().saturating_sub(LINES))
}

/// The message of a log line (`TIME\tLEVEL\tSCOPE\tMESSAGE`) that tells of dropped configuration.
fn dropped(line: &str, since: jiff::Timestamp) -> Option<String> {
    let mut fields = line.split('\t');
    let at: jiff::Timestamp = fields.next()?.parse().ok()?;
    let level = fields.next()?;
    let message = fields.next_back()?;
    let tells = matches!(level, "warn" | "error")
        || ["omitting", "skipping", "conflict"].iter().any(|word| message.contains(word));
    (at >= since && tells).then(|| message.trim().to_owned())
}

/// A step that could not be done. `refused` is the object that the API would not take.
pub(super) fn of_error(error: &Error, step: &Step, refused: Option<&ManifestObject>) -> Diagnostic {
    let (code, title, help) = match error {
        Error::Absent { message, help } => ("E0504", message.clone(), help.clone()),
        Error::Refused { message, .. } if refused.is_some() => ("E0502", message.clone(), String::new()),
        Error::Refused { .. } => ("E0501", error.to_string(), String::new()),
        Error::Broken { .. } => ("E0503", error.to_string(), "is the target still there?".to_owned()),
    };
    let mut failure = Diagnostic::error(code, title).at(step.place.clone(), "");
    if let Some(object) = refused {
        failure.labels.push(Label { place: object.place.clone(), text: "the API server refused this object".into() });
    }
    if !help.is_empty() {
        failure.help.push(help);
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_about_dropped_configuration_count() {
        let since: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let line = "2026-01-01T00:00:01.5Z\tinfo\tmodel\tgateway omitting listener \"0.0.0.0_15443\" due to: x";
        assert_eq!(dropped(line, since).as_deref(), Some("gateway omitting listener \"0.0.0.0_15443\" due to: x"));
        assert_eq!(dropped("2026-01-01T00:00:01Z\tinfo\tads\tPush debounce stable", since), None);
        assert_eq!(dropped("2025-12-31T23:59:59Z\twarn\tads\told", since), None);
        assert_eq!(dropped("no time here", since), None);
    }

    #[test]
    fn what_was_applied_is_not_ambient() {
        let object =
            |kind: &str, name: &str| serde_json::json!({"kind": kind, "metadata": {"name": name, "namespace": "a"}});
        let evidence = Evidence {
            services: vec![object("Service", "s")],
            istio: vec![object("Gateway", "g")],
            ..Evidence::default()
        };
        let applied = live(&serde_json::json!({"kind": "Gateway", "metadata": {"name": "g"}}));
        let found = ambient(&evidence, &[applied]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place.source.name, "Service a/s on the target");
    }
}

//! Selectors that match no pod. Judged only where pods with such a label are known: others may be there already.

use super::index::{Index, Object};
use crate::diag::Diagnostic;
use serde_json::{Map, Value};

/// The root namespace: a policy there selects in all of them.
const ROOT: &str = "istio-system";

pub fn check(index: &Index<'_>, found: &mut Vec<Diagnostic>) {
    for gateway in index.gateways.iter().filter(|o| !o.ambient) {
        // A gateway's selector looks at every namespace.
        if let Some((known, pointer)) = nothing(index, gateway, "/spec/selector", |_| true) {
            found.push(
                Diagnostic::warning("W0335", format!("the Gateway {} selects no workload", gateway.name))
                    .at(gateway.at(pointer), "no pod has these labels, so no proxy gets these servers")
                    .help(format!("labels that are there: {known}")),
            );
        }
    }
    for object in index.selecting.iter().chain(&index.services).filter(|o| !o.ambient) {
        let kind = object.kind();
        let pointer = match kind {
            "Service" => "/spec/selector",
            "Sidecar" | "EnvoyFilter" => "/spec/workloadSelector/labels",
            "DestinationRule" => "/spec/workloadSelector/matchLabels",
            _ => "/spec/selector/matchLabels",
        };
        let everywhere = object.namespace == ROOT && !matches!(kind, "Service" | "DestinationRule");
        let looks = |workload: &Object<'_>| everywhere || workload.namespace == object.namespace;
        let Some((known, pointer)) = nothing(index, object, pointer, looks) else { continue };
        let effect = match kind {
            "Service" => "no pod has these labels, so the Service has no endpoints",
            "Sidecar" => "no pod of this namespace has these labels, so no proxy is narrowed",
            _ => "no pod of this namespace has these labels, so it applies to none",
        };
        found.push(
            Diagnostic::warning("W0343", format!("the {kind} {} selects no workload", object.name))
                .at(object.at(pointer), effect)
                .help(format!("labels that are there: {known}")),
        );
    }
}

/// The labels that could have been meant, when the selector matches none of the workloads it looks at.
fn nothing<'p>(
    index: &Index<'_>,
    object: &Object<'_>,
    pointer: &'p str,
    looks: impl Fn(&Object<'_>) -> bool,
) -> Option<(String, &'p str)> {
    let selector: &Map<String, Value> = object.get(pointer)?.as_object().filter(|s| !s.is_empty())?;
    let labels: Vec<&Value> = index.workloads.iter().filter(|w| looks(w)).filter_map(|w| w.labels()).collect();
    if labels.iter().any(|l| selector.iter().all(|(k, v)| l.get(k) == Some(v))) {
        return None;
    }
    let mut known: Vec<String> = labels
        .iter()
        .filter_map(|l| selector.keys().find_map(|k| Some(format!("{k}: {}", l.get(k)?.as_str()?))))
        .collect();
    known.sort();
    known.dedup();
    (!known.is_empty()).then(|| (known.join("; "), pointer))
}

//! What an object applies to: workload selectors and target references.

use super::fields::Fields;
use super::findings::{Findings, Messages};
use crate::istio::go::quote;
use serde_json::Value;

/// Labels without empty keys and wildcards.
fn check_match(labels: &[(&str, &Value)]) -> Messages {
    let mut errors = Messages::default();
    for (key, value) in labels {
        let value = value.as_str().unwrap_or_default();
        let pair = quote(&format!("{key}={value}"));
        if key.is_empty() {
            errors.add(format!("empty key is not supported in selector: {pair}"));
        }
        if key.contains('*') || value.contains('*') {
            errors.add(format!("wildcard is not supported in selector: {pair}"));
        }
    }
    errors
}

/// The older selector (`labels`), of Sidecar, ServiceEntry and EnvoyFilter.
pub(super) fn check_labels(selector: Option<&Value>) -> Findings {
    let mut findings = Findings::default();
    if let Some(selector) = selector {
        let labels = selector.entries("labels");
        findings.errors = check_match(&labels);
        if labels.is_empty() {
            findings.warn("workload selector specified without labels");
        }
    }
    findings
}

/// The newer selector (`matchLabels`), of the policies.
pub(super) fn check_match_labels(selector: Option<&Value>) -> Findings {
    let mut findings = Findings::default();
    if let Some(selector) = selector {
        let labels = selector.entries("matchLabels");
        findings.errors = check_match(&labels);
        if labels.is_empty() {
            findings.warn("workload selector specified without labels");
        }
    }
    findings
}

/// `selector`, `targetRef` and `targetRefs` of a policy.
pub(super) fn check_targets(spec: &Value) -> Findings {
    let (selector, target, targets) = (spec.message("selector"), spec.message("targetRef"), spec.items("targetRefs"));
    let mut findings = Findings::default();
    let set = usize::from(selector.is_some()) + usize::from(target.is_some()) + usize::from(!targets.is_empty());
    if set > 1 {
        findings.error("only one of targetRefs or workloadSelector can be set");
    }
    findings.join(check_match_labels(selector));
    for target in target.into_iter().chain(targets) {
        findings.join(check_target(target));
    }
    findings
}

fn check_target(target: &Value) -> Messages {
    const ALLOWED: &[(&str, &str)] = &[
        ("core", "Service"),
        ("networking.istio.io", "ServiceEntry"),
        ("gateway.networking.k8s.io", "Gateway"),
        ("gateway.networking.k8s.io", "GatewayClass"),
    ];
    let mut errors = Messages::default();
    if target.text("name").is_empty() {
        errors.add("targetRef name must be set");
    }
    if !target.text("namespace").is_empty() {
        errors.add("targetRef namespace must not be set; cross namespace referencing is not supported");
    }
    let group = target.text("group");
    let canonical = if group.is_empty() { "core" } else { group };
    if !ALLOWED.contains(&(canonical, target.text("kind"))) {
        errors.add(format!(
            "targetRef must be to one of [core/v1/Service networking.istio.io/v1/ServiceEntry \
             gateway.networking.k8s.io/v1/Gateway gateway.networking.k8s.io/v1/GatewayClass] but was {group}/{}",
            target.text("kind")
        ));
    }
    errors
}

//! Telemetry.

use super::fields::Fields;
use super::findings::Findings;
use super::selectors;
use serde_json::Value;

pub(super) fn check(spec: &Value) -> Findings {
    let mut found = selectors::check_targets(spec);
    for metrics in spec.items("metrics") {
        check_providers(metrics, &mut found);
        for change in metrics.items("overrides") {
            check_override(change, &mut found);
        }
    }
    let tracing = spec.items("tracing");
    if tracing.len() > 1 {
        found.warn("multiple tracing is not currently supported");
    }
    for trace in tracing {
        check_tracing(trace, &mut found);
    }
    for logging in spec.items("accessLogging") {
        check_providers(logging, &mut found);
    }
    found
}

fn check_providers(config: &Value, found: &mut Findings) {
    if config.items("providers").iter().any(|provider| provider.text("name").is_empty()) {
        found.error("providers.name may not be empty");
    }
}

fn check_override(change: &Value, found: &mut Findings) {
    for (name, tag) in change.entries("tagOverrides") {
        if name.is_empty() {
            found.warn("tagOverrides.name may not be empty");
        }
        let has_value = tag.has("value");
        match tag.choice("operation", "UPSERT") {
            "UPSERT" if !has_value => found.error("tagOverrides.value must be set when operation is UPSERT"),
            "REMOVE" if has_value => found.error("tagOverrides.value may only be set when operation is UPSERT"),
            _ => {}
        }
    }
    if change.message("match").is_some_and(|m| m.has("customMetric") && m.text("customMetric").is_empty()) {
        found.error("customMetric may not be empty");
    }
}

fn check_tracing(trace: &Value, found: &mut Findings) {
    if trace.items("providers").len() > 1 {
        found.warn("multiple providers is not currently supported");
    }
    check_providers(trace, found);
    if !(0.0..=100.0).contains(&trace.real("randomSamplingPercentage")) {
        found.error("randomSamplingPercentage must be in range [0.0, 100.0]");
    }
    for (name, tag) in trace.entries("customTags") {
        if name.is_empty() {
            found.error("tag name may not be empty");
        }
        for (kind, field, why) in [
            ("literal", "value", "literal tag value may not be empty"),
            ("header", "name", "header tag name may not be empty"),
            ("environment", "name", "environment tag name may not be empty"),
        ] {
            if tag.message(kind).is_some_and(|source| source.text(field).is_empty()) {
                found.error(why);
            }
        }
    }
}

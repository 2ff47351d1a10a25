//! DestinationRule.

use super::fields::Fields;
use super::findings::{Findings, Messages};
use super::names::{check_labels, check_wildcard_domain, is_dns_label};
use super::visibility::{self, Exported};
use super::webhook::Meta;
use super::{selectors, traffic_policy};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn check(spec: &Value, meta: &Meta) -> Findings {
    let mut found = Findings::default();
    found.check(check_wildcard_domain(spec.text("host")));
    found.join(traffic_policy::check(meta.namespace, spec.message("trafficPolicy")));
    let mut names = BTreeSet::new();
    for subset in spec.items("subsets") {
        let name = subset.text("name");
        if !names.insert(name) {
            found.error(format!("duplicate subset names: {name}"));
        }
        found.join(check_subset(subset, meta.namespace));
    }
    let selector = spec.message("workloadSelector");
    let exported = if selector.is_some() { Exported::SelectingDestinationRule } else { Exported::Other };
    found.join(visibility::check(meta.namespace, &spec.texts("exportTo"), exported));
    found.join(selectors::check_match_labels(selector));
    found
}

/// A subset; warnings about its policy are lost, as istiod loses them.
fn check_subset(subset: &Value, namespace: &str) -> Messages {
    let mut errors = Messages::from(check_subset_name(subset.text("name")));
    errors.join(check_labels(&subset.entries("labels")));
    errors.join(traffic_policy::check(namespace, subset.message("trafficPolicy")).errors);
    errors
}

pub(super) fn check_subset_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("subset name cannot be empty".into());
    }
    if !is_dns_label(name) {
        return Err(format!("subset name is invalid: {name}"));
    }
    Ok(())
}

//! `exportTo`: which namespaces see an object.

use super::findings::Messages;
use super::names::is_dns_label;
use std::collections::BTreeSet;

/// What `exportTo` stands on; each has an exception of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Exported {
    /// May be exported to no one (`~`).
    ServiceEntry,
    /// Selects workloads, so it must stay in its namespace.
    SelectingDestinationRule,
    Other,
}

/// Checks the entries of `exportTo` of an object in `namespace`.
pub(super) fn check(namespace: &str, entries: &[&str], what: Exported) -> Messages {
    let mut errors = Messages::default();
    if entries.is_empty() {
        return errors;
    }
    let mut seen = BTreeSet::new();
    for entry in entries {
        let key = if *entry == "." { namespace } else { entry };
        if seen.contains(key) {
            errors.add(if key == *entry {
                format!("duplicate entries in exportTo for entry {entry}")
            } else {
                format!("duplicate entries in exportTo: . and current namespace {namespace}")
            });
            continue;
        }
        let allowed = match key {
            "~" if what == Exported::ServiceEntry => Ok(()),
            "~" => Err("exportTo ~ (none) is not allowed for Istio configuration objects"),
            "." | "*" => Ok(()),
            name if is_dns_label(name) => Ok(()),
            _ => Err("only .,*, or a valid DNS 1123 label is allowed as exportTo entry"),
        };
        match allowed {
            Ok(()) => {
                seen.insert(key);
            }
            Err(error) => errors.add(error),
        }
    }
    if what == Exported::SelectingDestinationRule && !seen.is_empty() {
        if !seen.contains(namespace) {
            errors.add("destination rule with workload selector cannot have exportTo beyond current namespace");
        } else if seen.len() > 1 {
            errors.add("destination rule with workload selector cannot have multiple entries in exportTo");
        }
    }
    if seen.contains("*") && entries.len() > 1 {
        errors.add("cannot have both public (*) and non-public exportTo values for a resource");
    }
    if seen.contains("~") && entries.len() > 1 {
        errors.add("cannot export service entry to no one (~) and someone");
    }
    errors
}

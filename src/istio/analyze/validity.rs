//! Schema validation as analysis: what the webhook would say, object by object.

use super::world::{Resource, World, kind_of};
use super::{Level, Reports};
use crate::istio::validation::unreachable::{self, Unreachable};
use crate::istio::validation::webhook::{Meta, check_decoded};

pub(super) fn analyze(world: &World, reports: &mut Reports) {
    for resource in world.all() {
        if let Some(kind) = kind_of(resource) {
            let findings = check_decoded(&resource.spec, &Meta::plain(resource.name, resource.namespace), kind);
            report(resource, findings.errors.into_vec(), findings.warnings.into_vec(), reports);
        }
    }
}

fn report(resource: &Resource, errors: Vec<String>, mut warnings: Vec<String>, reports: &mut Reports) {
    for error in errors {
        reports.add(resource, "IST0106", Level::Error, format!("Schema validation error: {error}"), "");
    }
    if resource.kind == "VirtualService" {
        // These are the last warnings of the check; here they have codes of their own.
        let unreachable = unreachable::warnings(&resource.spec);
        warnings.truncate(warnings.len().saturating_sub(unreachable.len()));
        for rule in unreachable {
            match rule {
                Unreachable::Rule { rule, reason } => {
                    let message = format!("VirtualService rule {rule} not used ({reason}).");
                    reports.add(resource, "IST0130", Level::Warning, message, "");
                }
                Unreachable::Match { rule, condition, earlier } => {
                    let message = format!(
                        "VirtualService rule {rule} match {condition} is not used (duplicate/overlapping match in rule {earlier})."
                    );
                    reports.add(resource, "IST0131", Level::Info, message, "");
                }
            }
        }
    }
    for warning in warnings {
        reports.add(resource, "IST0133", Level::Warning, format!("Schema validation warning: {warning}"), "");
    }
}

//! Telemetry without effect, in conflict, or with a provider that is going away.

use super::world::{Resource, World};
use super::{Level, Reports};
use crate::istio::go::quote;
use crate::istio::validation::fields::Fields;
use std::collections::BTreeMap;

pub(super) fn analyze(world: &World, reports: &mut Reports) {
    without_providers(world, reports);
    without_selectors(world, reports);
    with_lightstep(world, reports);
}

fn without_providers(world: &World, reports: &mut Reports) {
    let defaults = world.mesh_config.pointer("/defaultProviders/accessLogging/0");
    if defaults.is_some() {
        return;
    }
    for resource in world.of_kind("Telemetry") {
        for logging in resource.spec.items("accessLogging") {
            if !logging.truth("disabled") && !logging.has("providers") {
                let message = format!(
                    "The Telemetry {} in namespace {} with empty providers will be ignored.",
                    resource.name,
                    quote(resource.namespace)
                );
                reports.add(resource, "IST0157", Level::Warning, message, "");
            }
        }
    }
}

fn without_selectors(world: &World, reports: &mut Reports) {
    let mut by_namespace: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
    for resource in world.of_kind("Telemetry").filter(|resource| !resource.spec.has("selector")) {
        by_namespace.entry(resource.namespace).or_default().push(resource);
    }
    for (namespace, resources) in by_namespace.into_iter().filter(|(_, resources)| resources.len() > 1) {
        let mut names: Vec<&str> = resources.iter().map(|resource| resource.name).collect();
        names.sort_unstable();
        for resource in resources {
            let message = format!(
                "The Telemetries [{}] in namespace {} have no workload selector, which can lead to undefined behavior.",
                names.join(" "),
                quote(namespace)
            );
            reports.add(resource, "IST0160", Level::Error, message, "");
        }
    }
}

fn with_lightstep(world: &World, reports: &mut Reports) {
    let providers = world.mesh_config.items("extensionProviders").iter();
    let lightstep: Vec<&str> = providers.filter(|p| p.has("lightstep")).map(|p| p.text("name")).collect();
    for resource in world.of_kind("Telemetry") {
        let used = resource.spec.items("tracing").iter().flat_map(|tracing| tracing.items("providers"));
        for name in used.map(|provider| provider.text("name")).filter(|name| lightstep.contains(name)) {
            let message = format!(
                "Deprecated: The Lightstep provider {name} is deprecated, please migrate to OpenTelemetry provider."
            );
            reports.add(resource, "IST0002", Level::Warning, message, "");
        }
    }
}

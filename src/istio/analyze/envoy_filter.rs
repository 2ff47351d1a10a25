//! EnvoyFilter patches whose effect depends on their order, or that have none.

use super::world::World;
use super::{Level, Reports};
use crate::istio::validation::fields::Fields;
use serde_json::Value;

const RELATIVE: &str = "This EnvoyFilter does not have a priority and has a relative patch operation set which can cause the EnvoyFilter not to be applied. Using the INSERT_FIRST of ADD option or setting the priority may help in ensuring the EnvoyFilter is applied correctly.";
const RELATIVE_WITH_VERSION: &str = "This EnvoyFilter does not have a priority and has a relative patch operation (NSTERT_BEFORE/AFTER, REPLACE, MERGE, DELETE) and proxyVersion set which can cause the EnvoyFilter not to be applied during an upgrade. Using the INSERT_FIRST or ADD option or setting the priority may help in ensuring the EnvoyFilter is applied correctly.";

pub(super) fn analyze(world: &World, reports: &mut Reports) {
    // Names of filters that patches before were bound to a proxy version for.
    let mut versioned: Vec<String> = vec![];
    for resource in world.of_kind("EnvoyFilter") {
        let no_priority = resource.spec.number("priority") == 0;
        for (index, config) in resource.spec.items("configPatches").iter().enumerate() {
            let Some(patch) = config.message("patch") else { break };
            let name = patched_name(config, patch);
            let apply_to = config.choice("applyTo", "INVALID");
            let on_routes = matches!(apply_to, "ROUTE_CONFIGURATION" | "HTTP_ROUTE");
            let relative = || {
                no_priority.then(|| {
                    if versioned.contains(&name) {
                        ("IST0155", Level::Warning, RELATIVE_WITH_VERSION)
                    } else {
                        ("IST0151", Level::Warning, RELATIVE)
                    }
                })
            };
            let found = match patch.choice("operation", "INVALID") {
                "ADD" if on_routes => Some((
                    "IST0153",
                    Level::Error,
                    "The ADD operation will be ignored when applyTo is set to ROUTE_CONFIGURATION, or HTTP_ROUTE.",
                )),
                "REMOVE" if on_routes => Some((
                    "IST0154",
                    Level::Error,
                    "The REMOVE operation will be ignored when applyTo is set to ROUTE_CONFIGURATION, or HTTP_ROUTE.",
                )),
                "REPLACE" if !matches!(apply_to, "NETWORK_FILTER" | "HTTP_FILTER" | "VIRTUAL_HOST") => Some((
                    "IST0152",
                    Level::Error,
                    "The REPLACE operation is only valid for HTTP_FILTER and NETWORK_FILTER.",
                )),
                "REMOVE" | "REPLACE" | "INSERT_BEFORE" | "INSERT_AFTER" => relative(),
                _ => None,
            };
            if let Some((code, level, message)) = found {
                reports.add(
                    resource,
                    code,
                    level,
                    message.to_string(),
                    &format!("/spec/configPatches/{index}/patch/value"),
                );
            }
            if config.pointer("/match/proxy").is_some_and(|proxy| proxy.has("proxyVersion")) {
                versioned.push(name);
            }
        }
    }
}

/// The name that a patch is known by: its value's, else that of the filter it matches. As istioctl compares them, the
/// one is in quotes and the other not.
fn patched_name(config: &Value, patch: &Value) -> String {
    match patch.message("value").map(|value| value.get("name")) {
        Some(Some(name)) => format!("string_value:{name}"),
        Some(None) => {
            let filter = config.pointer("/match/listener/filterChain/filter");
            filter.map(|filter| filter.text("name")).unwrap_or_default().to_string()
        }
        None => String::new(),
    }
}

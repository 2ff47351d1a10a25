//! The control plane's own objects, and fields and kinds that are gone.

use super::world::{Resource, World};
use super::{Level, Reports};
use crate::istio::go::url;
use crate::istio::validation::fields::Fields;
use serde_json::Value;
use std::net::IpAddr;

pub(super) fn analyze(world: &World, reports: &mut Reports) {
    for resource in world.of_kind("Sidecar") {
        if resource.spec.pointer("/outboundTrafficPolicy/egressProxy").is_some() {
            let message = "Deprecated: OutboundTrafficPolicy.EgressProxy ignored".to_string();
            reports.add(resource, "IST0002", Level::Warning, message, "");
        }
    }
    for resource in world.of_kind("CustomResourceDefinition") {
        let kind = resource.spec.pointer("/names/kind").and_then(Value::as_str).unwrap_or_default();
        let group = resource.spec.text("group");
        let removed = ["ClusterRbacConfig", "RbacConfig", "ServiceRole", "ServiceRoleBinding"];
        if group == "rbac.istio.io" && removed.contains(&kind) {
            let message = format!("Deprecated: Custom resource type {group} {kind} is removed");
            reports.add(resource, "IST0002", Level::Warning, message, "");
        }
    }
    unrestricted_fetches(world, reports);
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        for resource in world.of_kind(kind) {
            webhooks(resource, reports);
        }
    }
}

/// istiod fetches keys from wherever a RequestAuthentication says, unless it is told not to.
fn unrestricted_fetches(world: &World, reports: &mut Reports) {
    let names: Vec<String> = world.of_kind("RequestAuthentication").map(Resource::full_name).collect();
    if names.is_empty() {
        return;
    }
    let shown = match names.len() {
        ..=5 => names.join(", "),
        more => format!("{}, and {} more", names[..5].join(", "), more - 5),
    };
    for resource in world.of_kind("Deployment") {
        let is_istiod = resource.object.pointer("/metadata/labels/app").and_then(Value::as_str) == Some("istiod");
        let containers = resource.spec.pointer("/template/spec/containers").and_then(Value::as_array);
        let mut variables = containers.into_iter().flatten().flat_map(|container| container.items("env"));
        let restricted =
            variables.any(|v| v.text("name") == "BLOCKED_CIDRS_IN_JWKS_URIS" && !v.text("value").is_empty());
        if is_istiod && !restricted {
            let message = format!(
                "BLOCKED_CIDRS_IN_JWKS_URIS is not configured but {} RequestAuthentication resource(s) exist ({shown}). Consider configuring it to restrict JWKS URI fetches to trusted networks.",
                names.len()
            );
            reports.add(resource, "IST0175", Level::Warning, message, "");
        }
    }
}

/// Webhooks of an external control plane.
fn webhooks(resource: &Resource, reports: &mut Reports) {
    let ours = match resource.kind {
        "ValidatingWebhookConfiguration" => {
            resource.name == "istiod-default-validator" || resource.name.starts_with("istio-validator")
        }
        _ => resource.name.starts_with("istio-sidecar-injector"),
    };
    if !ours {
        return;
    }
    for hook in resource.object.items("webhooks") {
        let (name, client) = (hook.text("name"), hook.get("clientConfig").unwrap_or(&Value::Null));
        let address = client.get("url").and_then(Value::as_str);
        let invalid = |address: &str, why: &str| {
            format!(
                "The hostname ({address}) that was provided for the webhook ({name}) to reach the ingress gateway on the external control plane cluster {why}. Traffic may not flow properly."
            )
        };
        let Some(address) = address else {
            if client.get("service").is_none_or(Value::is_null) {
                reports.add(resource, "IST0163", Level::Warning, invalid("", "is blank"), "");
            }
            continue;
        };
        match url::parse(address) {
            Err(_) => {
                let message = invalid(address, "was provided in an invalid format");
                reports.add(resource, "IST0163", Level::Warning, message, "");
            }
            Ok(url) => {
                let host = url.host.rsplit_once(':').map_or(url.host.as_str(), |(host, _)| host);
                if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
                    let message = format!(
                        "The address ({address}) that was provided for the webhook ({name}) to reach the ingress gateway on the external control plane cluster is an IP address. This is not recommended for a production environment."
                    );
                    reports.add(resource, "IST0164", Level::Info, message, "");
                }
            }
        }
    }
}

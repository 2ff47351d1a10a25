//! Client TLS that trusts any certificate.

use super::world::{Resource, World};
use super::{Level, Reports};
use crate::istio::validation::fields::Fields;
use serde_json::Value;

pub(super) fn analyze(world: &World, reports: &mut Reports) {
    for resource in world.of_kind("DestinationRule") {
        let Some(policy) = resource.spec.message("trafficPolicy") else { continue };
        if let Some(mode) = unverified(policy, &resource.spec) {
            let message = text(resource, mode);
            reports.add(resource, "IST0128", Level::Warning, message, "/spec/trafficPolicy/tls/caCertificates");
        }
        for (index, port) in policy.items("portLevelSettings").iter().enumerate() {
            if let Some(mode) = unverified(port, &resource.spec) {
                let number = match port.message("port") {
                    None => "<nil>".to_string(),
                    Some(port) if port.has("number") => format!("number:{}", port.number("number")),
                    Some(_) => String::new(),
                };
                let message = format!("{} at port {number}", text(resource, mode));
                let pointer = format!("/spec/trafficPolicy/portLevelSettings/{index}/tls/caCertificates");
                reports.add(resource, "IST0129", Level::Warning, message, &pointer);
            }
        }
    }
}

/// The mode of TLS that verifies no server.
fn unverified<'a>(policy: &'a Value, spec: &Value) -> Option<&'a str> {
    let tls = policy.message("tls")?;
    let mode = tls.choice("mode", "DISABLE");
    let by_credential = tls.has("credentialName") && spec.has("workloadSelector");
    (matches!(mode, "SIMPLE" | "MUTUAL") && !tls.has("caCertificates") && !by_credential).then_some(mode)
}

fn text(resource: &Resource, mode: &str) -> String {
    format!(
        "DestinationRule {} in namespace {} has TLS mode set to {mode} but no caCertificates are set to validate server identity for host: {}",
        resource.full_name(),
        resource.namespace,
        resource.spec.text("host")
    )
}

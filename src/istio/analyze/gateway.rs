//! Gateways that share a certificate.

use super::world::{Resource, World};
use super::{Level, Reports};
use crate::istio::validation::fields::Fields;
use serde_json::Value;

pub(super) fn analyze(world: &World, reports: &mut Reports) {
    for current in world.of_kind("Gateway") {
        for other in world.of_kind("Gateway").filter(|other| other.index != current.index && selects(current, other)) {
            for own in current.spec.items("servers").iter().filter_map(|server| server.message("tls")) {
                for theirs in other.spec.items("servers").iter().filter_map(|server| server.message("tls")) {
                    if same_certificate(own, theirs) {
                        let message = format!(
                            "Duplicate certificate in multiple gateways [{} {}] may cause 404s if clients re-use HTTP2 connections.",
                            current.full_name(),
                            other.full_name()
                        );
                        reports.add(current, "IST0138", Level::Warning, message, "/metadata/name");
                    }
                }
            }
        }
    }
}

/// Whether a gateway's selector is part of another's.
fn selects(current: &Resource, other: &Resource) -> bool {
    let theirs = other.spec.entries("selector");
    current.spec.entries("selector").iter().all(|entry| theirs.contains(entry))
}

fn same_certificate(a: &Value, b: &Value) -> bool {
    let same = |name: &str| a.has(name) && a.get(name) == b.get(name);
    match (a.has("credentialName"), b.has("credentialName")) {
        (true, true) => same("credentialName"),
        (false, false) => same("serverCertificate") && same("privateKey"),
        _ => false,
    }
}

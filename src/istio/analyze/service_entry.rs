//! ServiceEntries whose TCP ports need addresses.

use super::world::World;
use super::{Level, Reports};
use crate::istio::validation::fields::Fields;
use serde_json::Value;

pub(super) fn analyze(world: &World, reports: &mut Reports) {
    let metadata = world.mesh_config.pointer("/defaultConfig/proxyMetadata").unwrap_or(&Value::Null);
    let on = |name: &str| metadata.text(name) == "true";
    let allocated =
        on("ISTIO_META_DNS_CAPTURE") && (on("ISTIO_META_DNS_AUTO_ALLOCATE") || on("PILOT_ENABLE_IP_AUTOALLOCATE"));
    for resource in world.of_kind("ServiceEntry") {
        let has_address = resource.object.pointer("/status/addresses/0").is_some();
        if allocated || has_address || resource.spec.has("addresses") {
            continue;
        }
        for (index, port) in resource.spec.items("ports").iter().enumerate() {
            let protocol = port.text("protocol");
            if protocol.is_empty() || protocol.eq_ignore_ascii_case("TCP") {
                let message = "ServiceEntry addresses are required for this protocol.".to_string();
                reports.add(resource, "IST0134", Level::Warning, message, &format!("/spec/ports/{index}/name"));
            }
        }
    }
}

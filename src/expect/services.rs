//! Which Services stand before a proxy, and which port Envoy binds for a Service's port.
//!
//! istiod names a gateway's listener after the targetPort of the Service port that the Gateway server's
//! number names; a number that no Service has is bound as it is (golden 02, 09).

use super::Evidence;
use crate::plan::Workload;
use serde_json::Value;

fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn namespace_of(object: &Value) -> &str {
    object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default()
}

/// True when the Service `service` (of the workload's namespace) leads to this workload: it has its
/// name, or it selects the same pods as the Service that has its name.
pub(super) fn belongs_to(evidence: &Evidence, workload: &Workload, service: &str) -> bool {
    if service == workload.name {
        return true;
    }
    let selector = |name: &str| {
        evidence
            .services
            .iter()
            .find(|object| namespace_of(object) == workload.namespace && name_of(object) == name)
            .and_then(|object| object.pointer("/spec/selector"))
            .filter(|selector| selector.as_object().is_some_and(|labels| !labels.is_empty()))
    };
    match (selector(service), selector(&workload.name)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// The ports that Envoy may bind for the Service port `port` of this workload, most likely first.
pub(super) fn bound_ports(evidence: &Evidence, workload: &Workload, port: u16) -> Vec<u16> {
    let mut bound = vec![];
    let services = evidence
        .services
        .iter()
        .filter(|object| namespace_of(object) == workload.namespace && belongs_to(evidence, workload, name_of(object)));
    for entry in services.filter_map(|object| object.pointer("/spec/ports")?.as_array()).flatten() {
        if entry.get("port").and_then(Value::as_u64) != Some(u64::from(port)) {
            continue;
        }
        let target = match entry.get("targetPort") {
            None => Some(u64::from(port)),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64(),
        };
        bound.extend(target.and_then(|target| u16::try_from(target).ok()));
    }
    if bound.is_empty() {
        bound.push(port);
    }
    bound.dedup();
    bound
}

/// The Service ports of this workload's own Service; empty when it is not known.
pub(super) fn exposed(evidence: &Evidence, workload: &Workload) -> Vec<u16> {
    let services = evidence
        .services
        .iter()
        .filter(|object| namespace_of(object) == workload.namespace && belongs_to(evidence, workload, name_of(object)));
    let ports = services.filter_map(|object| object.pointer("/spec/ports")?.as_array()).flatten();
    let mut numbers: Vec<u16> = ports.filter_map(|entry| u16::try_from(entry.get("port")?.as_u64()?).ok()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

//! What the mesh knows of a host: ServiceEntries, Sidecars and Gateways as the API holds them now.

use super::Evidence;
use crate::plan::Workload;
use serde_json::Value;

/// A ServiceEntry that has the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registration {
    pub namespace: String,
    pub name: String,
    pub ports: Vec<u16>,
    pub export_to: Vec<String>,
}

fn of_kind<'a>(evidence: &'a Evidence, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    evidence.istio.iter().filter(move |object| object.get("kind").and_then(Value::as_str) == Some(kind))
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn texts(object: &Value, pointer: &str) -> Vec<String> {
    let list = object.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_string).collect()
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn number(object: &Value, pointer: &str) -> Option<u16> {
    object.pointer(pointer).and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok())
}

/// `*.cnn.com` covers `edition.cnn.com`.
pub(super) fn host_covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.to_ascii_lowercase().ends_with(&suffix.to_ascii_lowercase()),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

pub(super) fn registrations(evidence: &Evidence, host: &str) -> Vec<Registration> {
    of_kind(evidence, "ServiceEntry")
        .filter(|entry| texts(entry, "/spec/hosts").iter().any(|pattern| host_covers(pattern, host)))
        .map(|entry| Registration {
            namespace: text(entry, "/metadata/namespace").to_string(),
            name: text(entry, "/metadata/name").to_string(),
            ports: list(entry, "/spec/ports").iter().filter_map(|port| number(port, "/number")).collect(),
            export_to: texts(entry, "/spec/exportTo"),
        })
        .collect()
}

/// Every host that a ServiceEntry names.
pub(super) fn hosts(evidence: &Evidence) -> Vec<String> {
    of_kind(evidence, "ServiceEntry").flat_map(|entry| texts(entry, "/spec/hosts")).collect()
}

/// `NAMESPACE/NAME` of the Sidecars that may narrow a workload: its namespace's and the root namespace's.
pub(super) fn sidecars(evidence: &Evidence, namespace: &str) -> Vec<String> {
    of_kind(evidence, "Sidecar")
        .filter(|sidecar| [namespace, "istio-system"].contains(&text(sidecar, "/metadata/namespace")))
        .map(|sidecar| format!("{}/{}", text(sidecar, "/metadata/namespace"), text(sidecar, "/metadata/name")))
        .collect()
}

/// A Gateway server on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub gateway: String,
    pub namespace: String,
    pub hosts: Vec<String>,
    /// `tls.mode`, empty without `tls`.
    pub mode: String,
    pub protocol: String,
    pub selector: Vec<(String, String)>,
}

impl Server {
    pub fn terminates(&self) -> bool {
        !matches!(self.mode.as_str(), "" | "PASSTHROUGH" | "AUTO_PASSTHROUGH")
    }
}

pub(super) fn servers(evidence: &Evidence, port: u16) -> Vec<Server> {
    let mut found = vec![];
    for gateway in
        of_kind(evidence, "Gateway").filter(|gateway| text(gateway, "/apiVersion").starts_with("networking.istio.io/"))
    {
        let selector = gateway.pointer("/spec/selector").and_then(Value::as_object);
        let selector: Vec<(String, String)> = selector
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string())))
            .collect();
        for server in
            list(gateway, "/spec/servers").iter().filter(|server| number(server, "/port/number") == Some(port))
        {
            found.push(Server {
                gateway: text(gateway, "/metadata/name").to_string(),
                namespace: text(gateway, "/metadata/namespace").to_string(),
                hosts: texts(server, "/hosts"),
                mode: text(server, "/tls/mode").to_string(),
                protocol: text(server, "/port/protocol").to_string(),
                selector: selector.clone(),
            });
        }
    }
    found
}

/// VirtualServices that are bound to a Gateway and have `tls` routes for it: `NAMESPACE/NAME`.
pub(super) fn tls_legs(evidence: &Evidence, server: &Server) -> Vec<String> {
    let qualified = format!("{}/{}", server.namespace, server.gateway);
    of_kind(evidence, "VirtualService")
        .filter(|service| {
            let namespace = text(service, "/metadata/namespace");
            let names =
                |name: &String| *name == qualified || (namespace == server.namespace && *name == server.gateway);
            let bound = texts(service, "/spec/gateways").iter().any(names);
            let leg = list(service, "/spec/tls").iter().flat_map(|route| list(route, "/match")).any(|rule| {
                let gateways = texts(rule, "/gateways");
                gateways.is_empty() || gateways.iter().any(names)
            });
            bound && leg
        })
        .map(|service| format!("{}/{}", text(service, "/metadata/namespace"), text(service, "/metadata/name")))
        .collect()
}

/// VirtualServices that route a host but not for the mesh (`gateways` without `mesh`): `NAMESPACE/NAME`.
pub(super) fn without_mesh(evidence: &Evidence, host: &str) -> Vec<String> {
    of_kind(evidence, "VirtualService")
        .filter(|service| texts(service, "/spec/hosts").iter().any(|pattern| host_covers(pattern, host)))
        .filter(|service| {
            let gateways = texts(service, "/spec/gateways");
            !gateways.is_empty() && !gateways.iter().any(|name| name == "mesh")
        })
        .map(|service| format!("{}/{}", text(service, "/metadata/namespace"), text(service, "/metadata/name")))
        .collect()
}

/// AuthorizationPolicies that may apply to a workload's namespace: `NAMESPACE/NAME`.
pub(super) fn policies(evidence: &Evidence, workload: &Workload) -> Vec<String> {
    of_kind(evidence, "AuthorizationPolicy")
        .filter(|policy| [workload.namespace.as_str(), "istio-system"].contains(&text(policy, "/metadata/namespace")))
        .map(|policy| format!("{}/{}", text(policy, "/metadata/namespace"), text(policy, "/metadata/name")))
        .collect()
}

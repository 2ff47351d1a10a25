//! What the pilot watches, and what of each object it keeps.

use serde_json::{Map, Value};

/// A watched kind.
#[derive(Debug)]
pub struct Kind {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    /// Only this object, if named: (namespace, name).
    pub only: Option<(&'static str, &'static str)>,
}

pub const fn kind(api_version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { api_version, kind, plural, only: None }
}

/// The mesh config's place: ConfigMap `istio` in `istio-system`, key `mesh`.
pub const MESH_CONFIG: Kind =
    Kind { api_version: "v1", kind: "ConfigMap", plural: "configmaps", only: Some(("istio-system", "istio")) };

/// Every kind the mesh compiler reads, at the version that Istio's CRDs store or serve first.
pub const KINDS: &[Kind] = &[
    kind("v1", "Namespace", "namespaces"),
    kind("v1", "Service", "services"),
    kind("v1", "Pod", "pods"),
    kind("v1", "Secret", "secrets"),
    kind("v1", "Node", "nodes"),
    kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    MESH_CONFIG,
    kind("networking.istio.io/v1", "DestinationRule", "destinationrules"),
    kind("networking.istio.io/v1", "Gateway", "gateways"),
    kind("networking.istio.io/v1", "ServiceEntry", "serviceentries"),
    kind("networking.istio.io/v1", "Sidecar", "sidecars"),
    kind("networking.istio.io/v1", "VirtualService", "virtualservices"),
    kind("networking.istio.io/v1", "WorkloadEntry", "workloadentries"),
    kind("networking.istio.io/v1", "WorkloadGroup", "workloadgroups"),
    kind("networking.istio.io/v1alpha3", "EnvoyFilter", "envoyfilters"),
    kind("networking.istio.io/v1beta1", "ProxyConfig", "proxyconfigs"),
    kind("security.istio.io/v1", "AuthorizationPolicy", "authorizationpolicies"),
    kind("security.istio.io/v1", "PeerAuthentication", "peerauthentications"),
    kind("security.istio.io/v1", "RequestAuthentication", "requestauthentications"),
    kind("telemetry.istio.io/v1", "Telemetry", "telemetries"),
    kind("extensions.istio.io/v1alpha1", "WasmPlugin", "wasmplugins"),
];

impl Kind {
    /// The collection's path in the API.
    pub fn path(&self) -> String {
        let root = if self.api_version.contains('/') { "apis" } else { "api" };
        match self.only {
            Some((namespace, _)) => format!("/{root}/{}/namespaces/{namespace}/{}", self.api_version, self.plural),
            None => format!("/{root}/{}/{}", self.api_version, self.plural),
        }
    }

    pub fn field_selector(&self) -> Option<String> {
        self.only.map(|(_, name)| format!("metadata.name={name}"))
    }

    /// The object as far as configuration can depend on it: what merely counts or times changes (resource
    /// versions, managed fields, container states) is taken out, so that it causes no compile.
    pub fn reduce(&self, mut object: Value) -> Value {
        let Value::Object(fields) = &mut object else { return object };
        // Items of a list carry neither.
        fields.insert("apiVersion".into(), self.api_version.into());
        fields.insert("kind".into(), self.kind.into());
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            for counted in ["managedFields", "resourceVersion", "selfLink"] {
                metadata.remove(counted);
            }
            // Of the lab's own kinds it is told which generation is in force.
            if !self.api_version.starts_with("lab.") {
                metadata.remove("generation");
            }
        }
        match self.kind {
            "Pod" => {
                if let Some(status) = fields.get_mut("status") {
                    *status = pod_status(status);
                }
            }
            // Addresses that were allocated to it.
            "ServiceEntry" => keep(fields.get_mut("status"), &["addresses"]),
            "Service" => keep(fields.get_mut("status"), &["loadBalancer"]),
            "Node" => {
                fields.remove("status");
            }
            _ if self.api_version.contains("istio.io") => {
                fields.remove("status");
            }
            _ => {}
        }
        object
    }
}

fn keep(status: Option<&mut Value>, names: &[&str]) {
    if let Some(Value::Object(fields)) = status {
        fields.retain(|name, _| names.contains(&name.as_str()));
    }
}

fn pod_status(status: &Value) -> Value {
    let mut kept = Map::new();
    for name in ["phase", "podIP", "podIPs", "hostIP"] {
        if let Some(value) = status.get(name) {
            kept.insert(name.to_string(), value.clone());
        }
    }
    let ready = status["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "Ready");
    if let Some(ready) = ready {
        kept.insert("conditions".into(), serde_json::json!([{"type": "Ready", "status": ready["status"]}]));
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_that_only_counts_is_not_a_change() {
        let pod = &KINDS[2];
        let at = |version: &str, time: &str| {
            pod.reduce(json!({
                "metadata": {"name": "a", "resourceVersion": version, "managedFields": [{"time": time}]},
                "status": {"phase": "Running", "podIP": "10.0.0.1", "startTime": time,
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time}]},
            }))
        };
        assert_eq!(at("1", "then"), at("2", "now"));
        assert_eq!(at("1", "then")["kind"], "Pod");
    }

    #[test]
    fn paths_are_the_apis() {
        assert_eq!(KINDS[0].path(), "/api/v1/namespaces");
        assert_eq!(MESH_CONFIG.path(), "/api/v1/namespaces/istio-system/configmaps");
        assert_eq!(KINDS[8].path(), "/apis/networking.istio.io/v1/gateways");
    }
}

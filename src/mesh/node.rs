//! One proxy during compilation: what it is, what it sees, what its pod serves.

use super::envoy_filter::Patches;
use super::json::{flag, text};
use super::memo::Memo;
use super::object::Object;
use super::policy::authorization::Policies;
use super::policy::peer_authentication::Mode;
use super::push::Push;
use super::registry::kubernetes::{Target, targets};
use super::registry::service::{Resolution, Service};
use super::scope::Scope;
use super::{Proxy, ProxyType};
use serde_json::Value;

pub struct Node<'a> {
    pub push: &'a Push,
    pub proxy: &'a Proxy,
    pub scope: Scope,
    /// The ports of this pod that Services send traffic to.
    pub targets: Vec<Target>,
    pub captures_dns: bool,
    pub authorization: Policies,
    /// Telemetry objects in force, the nearest last.
    pub telemetry: Vec<Object>,
    pub patches: Patches,
    /// `region/zone/subzone` of the pod.
    pub locality: String,
    /// What was made for this proxy in the world before.
    pub memo: Memo,
}

impl<'a> Node<'a> {
    pub fn new(push: &'a Push, proxy: &'a Proxy, mut memo: Memo) -> Self {
        let pod = push.pods.by_name(&proxy.namespace, &proxy.name);
        let find = |host: &str| push.registry().by_host(host).and_then(|n| n.get(&proxy.namespace)).cloned();
        let labels = pod.map_or(&proxy.labels, |p| &p.labels);
        let namespace = proxy.metadata.get("NAMESPACE").and_then(Value::as_str).unwrap_or(&proxy.namespace);
        let mut targets = targets(push.by_kind(), &proxy.namespace, labels, pod.map(|p| &**p), find, &push.mesh);
        targets.extend(push.registry().targets_at(&proxy.ip, namespace));
        targets
            .sort_by(|a, b| (&a.service.created, &a.service.hostname).cmp(&(&b.service.created, &b.service.hostname)));
        let locality = pod.map_or_else(String::new, |p| p.locality.clone());
        memo.begin(push, proxy, &locality);
        Self {
            push,
            proxy,
            scope: Scope::of(push, proxy),
            targets,
            authorization: Policies::of(
                push.by_kind().get("AuthorizationPolicy").map_or(&[], Vec::as_slice),
                &push.mesh.root_namespace,
                &proxy.namespace,
                &proxy.labels,
            ),
            telemetry: super::telemetry::applicable(
                push.by_kind().get("Telemetry").map_or(&[], Vec::as_slice),
                &push.mesh.root_namespace,
                &proxy.namespace,
                &proxy.labels,
            ),
            patches: Patches::of(
                push.by_kind().get("EnvoyFilter").map_or(&[], Vec::as_slice),
                &push.mesh.root_namespace,
                proxy,
            ),
            captures_dns: proxy.metadata.get("DNS_CAPTURE").is_some_and(|v| flag(v) || v.as_str() == Some("true")),
            locality,
            memo,
        }
    }

    /// The mutual TLS mode that a client assumes for a service's port.
    pub fn service_mtls_mode(&self, policy: &Value, service: &Service, port: u32) -> Mode {
        if service.mesh_external {
            return Mode::Unknown;
        }
        let passthrough = text(&policy["loadBalancer"]["simple"]) == "PASSTHROUGH";
        if service.resolution == Resolution::Passthrough || passthrough {
            let endpoints = self.scope.endpoints_by_port(service, port, None);
            if endpoints.is_empty() || endpoints.iter().any(|e| e.tls_mode == "disabled") {
                return Mode::Disable;
            }
        }
        match self.push.peer_authentications.namespace_mode(&service.namespace) {
            Mode::Unknown => Mode::Permissive,
            mode => mode,
        }
    }

    pub fn is_sidecar(&self) -> bool {
        self.proxy.kind == ProxyType::Sidecar
    }

    /// Istio's proxy ID.
    pub fn id(&self) -> String {
        format!("{}.{}", self.proxy.name, self.proxy.namespace)
    }

    /// The proxy config in force: `PROXY_CONFIG` of the metadata, else the mesh's default.
    pub fn proxy_config(&self) -> &Value {
        self.proxy.metadata.get("PROXY_CONFIG").unwrap_or(&self.push.mesh.raw["defaultConfig"])
    }

    pub fn metadata(&self, key: &str) -> &str {
        self.proxy.metadata.get(key).and_then(Value::as_str).unwrap_or("")
    }

    /// Whether unregistered destinations are let through.
    pub fn allows_any(&self) -> bool {
        self.scope.outbound_policy.as_ref().is_some_and(|p| p.allow_any)
    }

    pub fn objects(&self, kind: &str) -> impl Iterator<Item = &Object> {
        self.push.objects(kind)
    }
}

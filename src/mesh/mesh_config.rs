//! The effective mesh config: the fields that change what a proxy gets, with Istio's defaults.

use super::duration::canonical;
use super::json::{list, strings, text};
use serde_json::Value;
use std::collections::BTreeSet;

/// Read once per world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshConfig {
    pub root_namespace: String,
    pub trust_domain: String,
    pub trust_domain_aliases: Vec<String>,
    /// The suffix of Service names; not configurable in mesh config, and apart from the trust domain.
    pub domain: String,
    /// What short host names in Istio objects are completed with: the domain, or nothing.
    pub short_name_domain: String,
    pub allow_any: bool,
    pub auto_mtls: bool,
    pub connect_timeout: Value,
    pub dns_refresh_rate: Value,
    pub protocol_detection_timeout: Value,
    pub default_service_export: BTreeSet<String>,
    pub default_virtual_service_export: BTreeSet<String>,
    pub default_destination_rule_export: BTreeSet<String>,
    /// The rest, read where it is used.
    pub raw: Value,
}

impl MeshConfig {
    pub fn read(raw: &Value) -> Self {
        let or = |key: &str, default: &str| match text(&raw[key]) {
            "" => default.to_owned(),
            set => set.to_owned(),
        };
        let duration = |key: &str, default: &str| match canonical(&raw[key]) {
            Value::Null => Value::from(default),
            set => set,
        };
        let export = |key: &str| -> BTreeSet<String> {
            match &raw[key] {
                Value::Array(_) if !list(&raw[key]).is_empty() => strings(&raw[key]).into_iter().collect(),
                _ => ["*".to_owned()].into(),
            }
        };
        Self {
            root_namespace: or("rootNamespace", "istio-system"),
            trust_domain: or("trustDomain", "cluster.local"),
            trust_domain_aliases: strings(&raw["trustDomainAliases"]),
            domain: "cluster.local".to_owned(),
            short_name_domain: "cluster.local".to_owned(),
            allow_any: text(&raw["outboundTrafficPolicy"]["mode"]) != "REGISTRY_ONLY",
            auto_mtls: raw["enableAutoMtls"].as_bool().unwrap_or(true),
            connect_timeout: duration("connectTimeout", "10s"),
            dns_refresh_rate: duration("dnsRefreshRate", "60s"),
            protocol_detection_timeout: duration("protocolDetectionTimeout", "0s"),
            default_service_export: export("defaultServiceExportTo"),
            default_virtual_service_export: export("defaultVirtualServiceExportTo"),
            default_destination_rule_export: export("defaultDestinationRuleExportTo"),
            raw: raw.clone(),
        }
    }

    /// A SPIFFE identity of the mesh's own trust domain.
    pub fn spiffe(&self, namespace: &str, service_account: &str) -> String {
        format!("spiffe://{}/ns/{namespace}/sa/{service_account}", self.trust_domain)
    }

    /// Each identity, and the same under every alias of the trust domain, sorted.
    pub fn with_aliases(&self, identities: BTreeSet<String>) -> Vec<String> {
        let mut all = identities.clone();
        for identity in &identities {
            if let Some((_, path)) = identity.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')) {
                all.extend(self.trust_domain_aliases.iter().map(|alias| format!("spiffe://{alias}/{path}")));
            }
        }
        all.into_iter().collect()
    }
}

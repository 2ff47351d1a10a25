//! One endpoint of a service port.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Of a ServiceEntry: nobody checks.
    Unknown,
    Healthy,
    Unhealthy,
    Terminating,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub address: String,
    pub port: u32,
    pub port_name: String,
    /// The service port number that a ServiceEntry endpoint belongs to.
    pub port_key: Option<u32>,
    pub labels: BTreeMap<String, String>,
    pub namespace: String,
    pub workload: String,
    /// SPIFFE identity, or empty.
    pub service_account: String,
    /// `istio` when the workload accepts mutual TLS, else `disabled`.
    pub tls_mode: String,
    pub health: Health,
    pub weight: u32,
    /// `region/zone/subzone`, or empty.
    pub locality: String,
    pub node: String,
}

impl Endpoint {
    pub fn accepts_mtls(&self) -> bool {
        self.tls_mode == "istio"
    }
}

/// Canonical service name and revision of a workload.
pub fn canonical_service<'a>(labels: &'a BTreeMap<String, String>, workload: &'a str) -> (&'a str, &'a str) {
    let first = |keys: [&str; 3]| keys.iter().find_map(|k| labels.get(*k)).map(String::as_str);
    let name = first(["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]).unwrap_or(workload);
    let revision =
        first(["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]).unwrap_or("latest");
    (name, revision)
}

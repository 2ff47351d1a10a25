//! A service as the registry keeps it, whether it came from a Service or from a ServiceEntry.

use crate::mesh::Origin;
use crate::mesh::mesh_config::MeshConfig;
use crate::mesh::protocol::Protocol;
use std::collections::{BTreeMap, BTreeSet};

/// Where the service came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registry {
    Kubernetes,
    External,
}

/// How a client finds the endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Endpoints come from the control plane.
    Endpoints,
    /// By DNS, every address.
    Dns,
    /// By DNS, one address at a time.
    DnsRoundRobin,
    /// The address that the client chose.
    Passthrough,
    /// By DNS for the name that the client asked for.
    DynamicDns,
    /// Another name for another service: no cluster of its own.
    Alias,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub number: u32,
    pub protocol: Protocol,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub hostname: String,
    pub registry: Registry,
    /// The Service's name, or the ServiceEntry's host.
    pub name: String,
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
    /// Creation time, the first sort key; a Service without one comes first, a ServiceEntry last.
    pub created: String,
    /// `0.0.0.0` when there is none; may be a CIDR for a ServiceEntry.
    pub address: String,
    /// Cluster IPs; empty for a ServiceEntry.
    pub cluster_ips: Vec<String>,
    /// Addresses that the control plane allocated for a ServiceEntry without any.
    pub allocated: Vec<String>,
    pub ports: Vec<Port>,
    pub resolution: Resolution,
    pub mesh_external: bool,
    /// Empty: the mesh's default.
    pub export_to: BTreeSet<String>,
    pub selector: BTreeMap<String, String>,
    pub has_selector: bool,
    pub external_name: String,
    pub aliases: Vec<String>,
    /// Identities given on the object.
    pub accounts: Vec<String>,
    /// Target ports of a ServiceEntry whose endpoints are the original destination.
    pub passthrough_ports: BTreeMap<u32, u32>,
    /// `PreferClose` and the like: unready endpoints are then sent too, marked as such.
    pub traffic_distribution: String,
    pub node_local: bool,
    /// `RaceFirstTcpConnect`: one logical DNS cluster of both families.
    pub race_dns: bool,
    pub origin: Origin,
}

impl Service {
    pub fn port(&self, number: u32) -> Option<&Port> {
        self.ports.iter().find(|p| p.number == number)
    }

    pub fn is_visible_in(&self, namespace: &str, mesh: &MeshConfig) -> bool {
        let export = if self.export_to.is_empty() { &mesh.default_service_export } else { &self.export_to };
        export.contains("*") || (export.contains(".") && self.namespace == namespace) || export.contains(namespace)
    }

    pub fn is_dns(&self) -> bool {
        matches!(self.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
    }

    pub fn is_wildcard_dynamic(&self) -> bool {
        self.resolution == Resolution::DynamicDns && self.hostname.starts_with('*')
    }

    /// The address a sidecar listens on: the first cluster IP, an allocated address if the proxy captures DNS,
    /// else the default.
    pub fn listen_address(&self, captures_dns: bool) -> &str {
        if let Some(ip) = self.cluster_ips.first() {
            return ip;
        }
        if captures_dns
            && self.address == "0.0.0.0"
            && let Some(ip) = self.allocated.first()
        {
            return ip;
        }
        &self.address
    }

    /// All addresses for virtual host domains.
    pub fn all_addresses(&self, captures_dns: bool) -> Vec<&str> {
        if !self.cluster_ips.is_empty() {
            return self.cluster_ips.iter().map(String::as_str).collect();
        }
        if captures_dns && !self.allocated.is_empty() {
            return self.allocated.iter().map(String::as_str).collect();
        }
        if self.address.is_empty() { Vec::new() } else { vec![&self.address] }
    }

    pub fn sends_unready(&self) -> bool {
        !self.traffic_distribution.is_empty()
    }
}

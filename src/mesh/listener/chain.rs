//! A filter chain before it is written: what it matches and what it does.

use super::http::HttpChain;
use crate::mesh::Origin;
use crate::mesh::json::put;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;

#[derive(Debug, Clone, Default)]
pub struct Chain {
    pub server_names: Vec<String>,
    /// Addresses and CIDRs.
    pub destinations: Vec<String>,
    pub application_protocols: Vec<&'static str>,
    pub transport_protocol: &'static str,
    pub metadata: Value,
    /// The transport socket that ends TLS; null for none.
    pub transport_socket: Value,
    pub filters: Vec<Value>,
    /// A chain of HTTP; its connection manager is made when the listener's name is known.
    pub http: Option<HttpChain>,
    pub origins: Vec<Origin>,
}

/// What a chain matches, in a form to compare.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ChainKey {
    server_names: BTreeSet<String>,
    destinations: BTreeSet<(IpAddr, u8)>,
    application_protocols: Vec<&'static str>,
    transport_protocol: &'static str,
}

/// What plain HTTP looks like to the HTTP inspector.
pub const PLAIN_HTTP: [&str; 2] = ["http/1.1", "h2c"];

impl Chain {
    pub fn matches_all(&self) -> bool {
        (self.server_names.is_empty() || self.server_names.iter().any(|s| s == "*"))
            && self.application_protocols.is_empty()
            && self.transport_protocol.is_empty()
            && self.destinations.is_empty()
    }

    /// Envoy could not tell chains with equal keys apart.
    pub fn key(&self) -> ChainKey {
        ChainKey {
            server_names: self.server_names.iter().filter(|s| *s != "*").cloned().collect(),
            destinations: self
                .destinations
                .iter()
                .filter_map(|d| prefix(d))
                .filter(|(ip, _)| !ip.is_unspecified())
                .collect(),
            application_protocols: self.application_protocols.clone(),
            transport_protocol: self.transport_protocol,
        }
    }

    /// Envoy's `filterChainMatch`; `None` when everything matches.
    pub fn to_match(&self) -> Option<Value> {
        if self.matches_all() {
            return None;
        }
        let mut out = Map::new();
        put(&mut out, "applicationProtocols", json!(self.application_protocols));
        put(&mut out, "transportProtocol", Value::from(self.transport_protocol));
        if !self.server_names.iter().any(|s| s == "*") {
            let mut names = self.server_names.clone();
            names.sort();
            put(&mut out, "serverNames", json!(names));
        }
        let mut destinations = self.destinations.clone();
        destinations.sort();
        let ranges: Vec<Value> = destinations
            .iter()
            .filter_map(|d| written_prefix(d))
            .filter(|(ip, _)| ip != "0.0.0.0")
            .map(|(ip, bits)| {
                let mut range = Map::new();
                range.insert("addressPrefix".to_owned(), Value::from(ip));
                range.insert("prefixLen".to_owned(), Value::from(bits));
                Value::Object(range)
            })
            .collect();
        put(&mut out, "prefixRanges", Value::Array(ranges));
        Some(Value::Object(out))
    }
}

/// Address and length of an address or CIDR, as written.
fn written_prefix(text: &str) -> Option<(String, u8)> {
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?),
        None => {
            let ip = text.parse::<IpAddr>().ok()?;
            (ip, if ip.is_ipv4() { 32 } else { 128 })
        }
    };
    Some((ip.to_string(), bits))
}

/// The network of an address or CIDR: bits outside the mask are zero.
fn prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = written_prefix(text)?;
    let masked = match ip.parse::<IpAddr>().ok()? {
        IpAddr::V4(ip) if bits <= 32 => {
            IpAddr::V4((u32::from(ip) & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into())
        }
        IpAddr::V6(ip) if bits <= 128 => {
            IpAddr::V6((u128::from(ip) & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into())
        }
        _ => return None,
    };
    Some((masked, bits))
}

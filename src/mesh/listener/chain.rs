//! A filter chain: what it matches and what it does, and how that is written.

use crate::mesh::Origin;
use crate::mesh::json::{into_map, message, put, text};
use crate::mesh::tls;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

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
    pub origins: Vec<Origin>,
}

/// A chain as it goes into a listener, and what the listener must know of it.
#[derive(Debug)]
pub struct Written {
    pub key: Arc<ChainKey>,
    pub body: Arc<Value>,
    /// It takes whatever no other chain takes.
    pub matches_all: bool,
    pub inspects_tls: bool,
    pub inspects_http: bool,
    /// It ends TLS.
    pub has_transport_socket: bool,
    pub origins: Vec<Origin>,
}

/// What a chain matches, in a form to compare.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChainKey {
    server_names: BTreeSet<String>,
    destinations: BTreeSet<(IpAddr, u8)>,
    application_protocols: Vec<&'static str>,
    transport_protocol: &'static str,
}

/// What plain HTTP looks like to the HTTP inspector.
pub const PLAIN_HTTP: [&str; 2] = ["http/1.1", "h2c"];

impl Chain {
    pub fn write(self) -> Arc<Written> {
        let resolves_sni = |f: &Value| text(&f["name"]).ends_with("sni_dynamic_forward_proxy");
        let (key, found) = (self.key(), self.to_match());
        let (inspects_tls, inspects_http) = (
            !self.server_names.is_empty() || self.filters.iter().any(resolves_sni),
            !self.application_protocols.is_empty(),
        );
        let has_transport_socket = !self.transport_socket.is_null();
        let mut body =
            into_map(message! {"filters": self.filters, "transportSocketConnectTimeout": tls::connect_timeout()});
        put(&mut body, "metadata", self.metadata);
        put(&mut body, "transportSocket", self.transport_socket);
        let matches_all = found.is_none();
        put(&mut body, "filterChainMatch", found.unwrap_or_default());
        Arc::new(Written {
            key: Arc::new(key),
            body: Arc::new(Value::Object(body)),
            matches_all,
            inspects_tls,
            inspects_http,
            has_transport_socket,
            origins: self.origins,
        })
    }

    fn matches_all(&self) -> bool {
        (self.server_names.is_empty() || self.server_names.iter().any(|s| s == "*"))
            && self.application_protocols.is_empty()
            && self.transport_protocol.is_empty()
            && self.destinations.is_empty()
    }

    /// Envoy could not tell chains with equal keys apart.
    fn key(&self) -> ChainKey {
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
    fn to_match(&self) -> Option<Value> {
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

//! Clusters, and the four parts of the names that istiod gives them.

use super::json::{at, field, list, text};
use super::tls::{TlsContext, TlsMode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// `outbound|443|httpbin|istio-egressgateway.istio-system.svc.cluster.local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterName {
    /// `outbound` or `inbound`.
    pub direction: String,
    pub port: u16,
    pub subset: Option<String>,
    pub host: String,
}

impl ClusterName {
    /// `None` for names that are not of this form (`BlackHoleCluster`, `agent`, …). The SNI-DNAT form
    /// `outbound_.443_.subset_.host` and the trailing `;` of stat names are understood.
    pub fn parse(name: &str) -> Option<ClusterName> {
        let name = name.trim_end_matches(';');
        let parts: Vec<&str> =
            if name.contains('|') { name.splitn(4, '|').collect() } else { name.splitn(4, "_.").collect() };
        let [direction, port, subset, host] = parts.as_slice() else { return None };
        if !matches!(*direction, "outbound" | "inbound") {
            return None;
        }
        let subset = (!subset.is_empty() && *subset != "_").then(|| (*subset).to_string());
        Some(ClusterName {
            direction: (*direction).to_string(),
            port: port.parse().ok()?,
            subset,
            host: (*host).to_string(),
        })
    }

    /// `httpbin.org:443`, with ` subset cnn` where there is one.
    pub fn describe(&self) -> String {
        match &self.subset {
            Some(subset) => format!("{}:{} subset {subset}", self.host, self.port),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    /// Service name and namespace of an in-mesh host (`NAME.NAMESPACE.svc.…`).
    pub fn service(&self) -> Option<(&str, &str)> {
        let mut labels = self.host.splitn(4, '.');
        match (labels.next(), labels.next(), labels.next()) {
            (Some(name), Some(namespace), Some("svc")) => Some((name, namespace)),
            _ => None,
        }
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}|{}|{}", self.direction, self.port, self.subset.as_deref().unwrap_or_default(), self.host)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    pub name: String,
    pub parts: Option<ClusterName>,
    /// `EDS`, `STRICT_DNS`, …, or the extension's name for custom types.
    pub kind: String,
    pub upstream: Upstream,
    /// The DestinationRule (`istio.config` metadata), if istiod says so.
    pub origin: Option<String>,
    /// From the bootstrap, not from istiod.
    pub fixed: bool,
}

/// How a cluster speaks to its endpoints.
#[derive(Debug, Clone, PartialEq)]
pub enum Upstream {
    /// One way for all.
    Socket(Box<TlsContext>),
    /// By labels of the endpoint (auto mTLS): the first match wins.
    ByEndpoint(Vec<SocketMatch>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct SocketMatch {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub tls: TlsContext,
}

impl Cluster {
    pub(super) fn read(value: &Value, fixed: bool) -> Cluster {
        let name = text(value, &["name"]);
        let custom = text(value, &["cluster_type", "name"]);
        let kind = if custom.is_empty() { text(value, &["type"]) } else { custom };
        let matches = list(value, &["transport_socket_matches"]);
        let upstream = if matches.is_empty() {
            Upstream::Socket(Box::new(TlsContext::read(field(value, "transport_socket"))))
        } else {
            let read = |entry: &Value| SocketMatch {
                name: text(entry, &["name"]),
                labels: string_map(field(entry, "match")),
                tls: TlsContext::read(field(entry, "transport_socket")),
            };
            Upstream::ByEndpoint(matches.iter().map(read).collect())
        };
        let origin = at(value, &["metadata", "filter_metadata", "istio", "config"]);
        Cluster {
            parts: ClusterName::parse(&name),
            name,
            // STATIC is proto3's default and may be left out.
            kind: if kind.is_empty() { "STATIC".into() } else { kind },
            upstream,
            origin: origin.and_then(Value::as_str).map(str::to_string),
            fixed,
        }
    }

    /// The TLS contexts that this cluster may use with an endpoint of these labels.
    pub fn tls_for(&self, labels: &BTreeMap<String, String>) -> Option<&TlsContext> {
        match &self.upstream {
            Upstream::Socket(tls) => Some(tls),
            Upstream::ByEndpoint(matches) => matches
                .iter()
                .find(|entry| entry.labels.iter().all(|(key, value)| labels.get(key) == Some(value)))
                .map(|entry| &entry.tls),
        }
    }

    /// The mode when it is the same for every endpoint.
    pub fn mode(&self) -> Option<TlsMode> {
        match &self.upstream {
            Upstream::Socket(tls) => Some(tls.mode),
            Upstream::ByEndpoint(_) => None,
        }
    }
}

pub(super) fn string_map(value: Option<&Value>) -> BTreeMap<String, String> {
    let object = value.and_then(Value::as_object);
    object.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_four_parts() {
        let name =
            ClusterName::parse("outbound|443|httpbin|istio-egressgateway.istio-system.svc.cluster.local").unwrap();
        assert_eq!((name.port, name.subset.as_deref()), (443, Some("httpbin")));
        assert_eq!(name.service(), Some(("istio-egressgateway", "istio-system")));
        let plain = ClusterName::parse("outbound|443||httpbin.org;").unwrap();
        assert_eq!((plain.describe().as_str(), plain.service()), ("httpbin.org:443", None));
        let dnat = ClusterName::parse("outbound_.15443_._.b.c.svc.cluster.local").unwrap();
        assert_eq!((dnat.port, dnat.subset, dnat.host.as_str()), (15443, None, "b.c.svc.cluster.local"));
        assert_eq!(ClusterName::parse("BlackHoleCluster"), None);
        assert_eq!(ClusterName::parse("outbound|no|such|port"), None);
    }
}

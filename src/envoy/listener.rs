//! Listeners and their filter chains.

use super::json::{at, field, flag, list, number, port, text, texts};
use super::tls::{TlsContext, TlsMode};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    pub name: String,
    /// `0.0.0.0`, a Service address, or a pipe's path.
    pub address: String,
    /// The port Envoy binds (or, for a sidecar's virtual listeners, the port it stands for); 0: none.
    pub port: u16,
    pub chains: Vec<FilterChain>,
    pub default_chain: Option<FilterChain>,
    /// False for the sidecar's listeners behind `virtualOutbound`.
    pub binds: bool,
    /// From the bootstrap, not from istiod.
    pub fixed: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FilterChain {
    pub name: String,
    /// SNIs that select this chain; empty: any.
    pub server_names: Vec<String>,
    /// ALPN protocols that select this chain (`http/1.1`, `h2c` for sniffed HTTP).
    pub application_protocols: Vec<String>,
    /// `tls`, `raw_buffer` or empty.
    pub transport_protocol: String,
    pub destination_port: Option<u16>,
    /// `10.1.2.3/32`.
    pub prefixes: Vec<String>,
    pub tls: TlsContext,
    /// Names of the network filters, in order.
    pub filters: Vec<String>,
    pub target: Target,
    /// The Istio object this chain comes from (`istio.config` metadata), if istiod says so.
    pub origin: Option<String>,
}

/// Where a filter chain sends what it accepts.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// tcp_proxy: clusters with their weights (1 when there is one).
    Tcp(Vec<(String, u64)>),
    /// HTTP connection manager: the RDS name, or the names of clusters in an inline route table.
    Http { route: String, clusters: Vec<String> },
    /// Neither (e.g. the metrics listener's filters).
    Other,
}

impl Listener {
    pub(super) fn read(value: &Value, fixed: bool) -> Listener {
        let socket = at(value, &["address", "socket_address"]);
        let address = match socket {
            Some(socket) => text(socket, &["address"]),
            None => text(value, &["address", "pipe", "path"]),
        };
        Listener {
            name: text(value, &["name"]),
            address,
            port: socket.map_or(0, |socket| port(socket, &["port_value"])),
            chains: list(value, &["filter_chains"]).iter().map(FilterChain::read).collect(),
            default_chain: field(value, "default_filter_chain").map(FilterChain::read),
            binds: field(value, "bind_to_port").and_then(Value::as_bool).unwrap_or(true),
            fixed,
        }
    }

    /// The chains and the default chain.
    pub fn all_chains(&self) -> impl Iterator<Item = &FilterChain> {
        self.chains.iter().chain(&self.default_chain)
    }
}

impl FilterChain {
    fn read(value: &Value) -> FilterChain {
        let filters = list(value, &["filters"]);
        let matching = field(value, "filter_chain_match").unwrap_or(&Value::Null);
        let origin = at(value, &["metadata", "filter_metadata", "istio", "config"]);
        FilterChain {
            name: text(value, &["name"]),
            server_names: texts(matching, &["server_names"]),
            application_protocols: texts(matching, &["application_protocols"]),
            transport_protocol: text(matching, &["transport_protocol"]),
            destination_port: number(matching, &["destination_port"]).and_then(|port| u16::try_from(port).ok()),
            prefixes: list(matching, &["prefix_ranges"])
                .iter()
                .map(|range| {
                    let length = number(range, &["prefix_len"]).unwrap_or(0);
                    format!("{}/{length}", text(range, &["address_prefix"]))
                })
                .collect(),
            tls: TlsContext::read(field(value, "transport_socket")),
            filters: filters.iter().map(|filter| text(filter, &["name"])).collect(),
            target: filters.iter().rev().find_map(Target::read).unwrap_or(Target::Other),
            origin: origin.and_then(Value::as_str).map(str::to_string),
        }
    }

    /// The Gateway server's `tls.mode`, as far as the chain shows it: without a transport socket a
    /// chain that proxies bytes passes TLS through.
    pub fn mode(&self) -> &'static str {
        match (&self.tls.mode, &self.target) {
            (TlsMode::None, Target::Tcp(_)) if self.is_sni_routed() => "PASSTHROUGH",
            (mode, _) => mode.name(),
        }
    }

    fn is_sni_routed(&self) -> bool {
        !self.server_names.is_empty() || self.transport_protocol == "tls"
    }

    /// True when a connection with this SNI may land here (`*.suffix` names included).
    pub fn serves(&self, sni: &str) -> bool {
        self.server_names.is_empty() || self.server_names.iter().any(|name| matches_server_name(name, sni))
    }
}

fn matches_server_name(name: &str, sni: &str) -> bool {
    match name.strip_prefix('*') {
        Some(suffix) => sni.len() > suffix.len() && sni.ends_with(suffix),
        None => name.eq_ignore_ascii_case(sni),
    }
}

impl Target {
    fn read(filter: &Value) -> Option<Target> {
        let config = field(filter, "typed_config")?;
        let kind = config.get("@type").and_then(Value::as_str).unwrap_or_default();
        if kind.ends_with(".TcpProxy") {
            let weighted = list(config, &["weighted_clusters", "clusters"]);
            if weighted.is_empty() {
                return Some(Target::Tcp(vec![(text(config, &["cluster"]), 1)]));
            }
            let cluster =
                |cluster: &Value| (text(cluster, &["name"]), number(cluster, &["weight"]).unwrap_or_default());
            return Some(Target::Tcp(weighted.iter().map(cluster).collect()));
        }
        if kind.ends_with(".HttpConnectionManager") {
            let mut clusters = vec![];
            let hosts = list(config, &["route_config", "virtual_hosts"]);
            for route in hosts.iter().flat_map(|host| list(host, &["routes"])) {
                clusters.extend(super::route::clusters_of(route));
            }
            let mut route = text(config, &["rds", "route_config_name"]);
            if route.is_empty() {
                route = text(config, &["route_config", "name"]);
            }
            return Some(Target::Http { route, clusters });
        }
        None
    }

    /// Names of the clusters it may choose.
    pub fn clusters(&self) -> Vec<&str> {
        match self {
            Target::Tcp(clusters) => clusters.iter().map(|(name, _)| name.as_str()).collect(),
            Target::Http { clusters, .. } => clusters.iter().map(String::as_str).collect(),
            Target::Other => vec![],
        }
    }
}

/// True for a listener that only redirects to others (`virtualOutbound`).
pub(super) fn uses_original_destination(value: &Value) -> bool {
    flag(value, &["use_original_dst"])
}

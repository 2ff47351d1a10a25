//! The table of listeners: a row a filter chain.

use super::{aligned, matching};
use crate::envoy::json::{field, list, number, text, texts};
use serde_json::Value;

const HTTP: &str = "envoy.filters.network.http_connection_manager";
const TCP: &str = "envoy.filters.network.tcp_proxy";
const NEITHER: &str = "Non-HTTP/Non-TCP";

/// Lists of ALPN protocols that have a name.
const NAMED: &[(&str, &[&str])] = &[
    ("HTTP TLS", &["http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"]),
    ("Istio HTTP Plain", &["istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"]),
    ("TCP TLS", &["istio-peer-exchange", "istio"]),
    ("HTTP", &["http/1.0", "http/1.1", "h2c"]),
];

/// ADDRESSES, PORT, MATCH, DESTINATION.
pub fn listeners(listeners: &[Value]) -> String {
    aligned(&rows(listeners), 1)
}

/// One a chain, under the heading.
pub(super) fn rows(listeners: &[Value]) -> Vec<Vec<String>> {
    let mut rows = vec![["ADDRESSES", "PORT", "MATCH", "DESTINATION"].map(str::to_owned).to_vec()];
    for listener in listeners {
        let mut chains: Vec<(String, String)> =
            chains(listener).map(|chain| (conditions(chain), destination(chain))).collect();
        chains.sort_by(|a, b| b.1.cmp(&a.1));
        let addresses = addresses(listener).join(",");
        let port = port(listener).to_string();
        rows.extend(chains.into_iter().map(|(when, to)| vec![addresses.clone(), port.clone(), when, to]));
    }
    rows
}

/// Port, address and type.
pub(super) fn order(listener: &Value) -> (u64, String, &'static str) {
    (port(listener), text(listener, &["address", "socket_address", "address"]), kind(listener))
}

/// `Cluster: NAME`, or the name alone where it says of itself that it is a cluster.
pub(super) fn cluster(name: &str) -> String {
    if name.contains("Cluster") { name.to_owned() } else { format!("Cluster: {name}") }
}

pub(super) fn chains(listener: &Value) -> impl Iterator<Item = &Value> {
    list(listener, &["filter_chains"]).iter().chain(field(listener, "default_filter_chain"))
}

pub(in crate::envoy) fn addresses(listener: &Value) -> Vec<String> {
    let more =
        list(listener, &["additional_addresses"]).iter().map(|a| text(a, &["address", "socket_address", "address"]));
    std::iter::once(text(listener, &["address", "socket_address", "address"])).chain(more).collect()
}

pub(in crate::envoy) fn port(listener: &Value) -> u64 {
    number(listener, &["address", "socket_address", "port_value"]).unwrap_or(0)
}

pub(in crate::envoy) fn kind(listener: &Value) -> &'static str {
    let filters = || chains(listener).flat_map(|chain| list(chain, &["filters"]));
    let http = filters().any(|f| text(f, &["name"]) == HTTP);
    let tcp = filters().any(|f| text(f, &["name"]) == TCP && !drops(f));
    match (http, tcp) {
        (true, true) => "HTTP+TCP",
        (true, false) => "HTTP",
        (false, true) => "TCP",
        (false, false) => "UNKNOWN",
    }
}

/// Whether a filter names the cluster without endpoints anywhere, its statistics included.
fn drops(filter: &Value) -> bool {
    field(filter, "typed_config").is_some_and(|config| config.to_string().contains("BlackHoleCluster"))
}

fn conditions(chain: &Value) -> String {
    let Some(when) = field(chain, "filter_chain_match") else { return "ALL".into() };
    let mut out = vec![];
    let names = texts(when, &["server_names"]);
    if !names.is_empty() {
        out.push(format!("SNI: {}", names.join(",")));
    }
    let transport = text(when, &["transport_protocol"]);
    if !transport.is_empty() {
        out.push(format!("Trans: {transport}"));
    }
    let protocols = texts(when, &["application_protocols"]);
    if !protocols.is_empty() {
        let named = NAMED.iter().find(|(_, list)| protocols == *list).map(|(name, _)| (*name).to_owned());
        out.push(format!("App: {}", named.unwrap_or_else(|| protocols.join(","))));
    }
    let port = number(when, &["destination_port"]).map(|port| format!(":{port}")).unwrap_or_default();
    let ranges = list(when, &["prefix_ranges"])
        .iter()
        .map(|range| format!("{}/{}", text(range, &["address_prefix"]), number(range, &["prefix_len"]).unwrap_or(0)));
    let ranges: Vec<String> = ranges.collect();
    if !ranges.is_empty() {
        out.push(format!("Addr: {}{port}", ranges.join(",")));
    } else if !port.is_empty() {
        out.push(format!("Addr: *{port}"));
    }
    if out.is_empty() { "ALL".into() } else { out.join("; ") }
}

fn destination(chain: &Value) -> String {
    for filter in list(chain, &["filters"]) {
        let Some(config) = field(filter, "typed_config") else { continue };
        match text(filter, &["name"]).as_str() {
            HTTP => {
                if let Some(table) = field(config, "route_config") {
                    return matching::inline(table);
                }
                let name = text(config, &["rds", "route_config_name"]);
                return if name.is_empty() { "HTTP".into() } else { format!("Route: {name}") };
            }
            // Of weighted clusters istioctl shows nothing.
            TCP if !drops(filter) => return cluster(&text(config, &["cluster"])),
            _ => {}
        }
    }
    NEITHER.into()
}

//! ServiceEntry.

use super::fields::Fields;
use super::findings::Findings;
use super::names::{
    check_fqdn, check_labels, check_partial_wildcard, check_port, check_port_name, check_subnet, check_wildcard_domain,
    is_wildcard,
};
use super::protocol::{self, Protocol};
use super::visibility::{self, Exported};
use super::webhook::Meta;
use super::{selectors, workload};
use crate::istio::go::{address::is_address, quote};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn check(spec: &Value, meta: &Meta) -> Findings {
    let selector = selectors::check_labels(spec.message("workloadSelector"));
    if !selector.errors.is_empty() {
        return selector.errors.into();
    }
    let mut found = Findings::default();
    if !selector.warnings.is_empty() {
        found
            .warn(format!("service entry: {}, will be applied to all services in namespace", selector.warnings.text()));
    }
    if spec.has("workloadSelector") && spec.has("endpoints") {
        found.error("only one of WorkloadSelector or Endpoints is allowed in Service Entry");
    }
    let resolution = spec.choice("resolution", "NONE");
    let hosts = spec.texts("hosts");
    check_hosts(&hosts, resolution, &mut found);
    check_addresses(&spec.texts("addresses"), resolution, &mut found);
    check_ports(spec, meta, resolution, &mut found);
    match resolution {
        "NONE" => {
            if !spec.items("endpoints").is_empty() {
                found.error("no endpoints should be provided for resolution type none");
            }
            if spec.has("workloadSelector") {
                found.warn("workloadSelector should not be set when resolution mode is NONE");
            }
        }
        "STATIC" => {
            let names = port_names(spec);
            for endpoint in spec.items("endpoints") {
                found.join(workload::check_entry(endpoint, Some(&names), false));
            }
        }
        "DNS" | "DNS_ROUND_ROBIN" => check_dns(spec, resolution, &hosts, &mut found),
        "DYNAMIC_DNS" => check_dynamic_dns(spec, meta, resolution, &hosts, &mut found),
        _ => found.error("unsupported resolution type "),
    }
    // Behind a port that is neither HTTP nor TLS nothing tells hosts apart.
    if resolution != "NONE" && hosts.len() > 1 {
        let nameless = |port: &Value| {
            let protocol = Protocol::parse(port.text("protocol"));
            !protocol.is_http() && !protocol.is_tls()
        };
        if spec.items("ports").iter().any(nameless) {
            found.error("multiple hosts provided with non-HTTP, non-TLS ports");
        }
    }
    found.join(visibility::check(meta.namespace, &spec.texts("exportTo"), Exported::ServiceEntry));
    found
}

fn port_names(spec: &Value) -> BTreeSet<&str> {
    spec.items("ports").iter().map(|port| port.text("name")).collect()
}

fn check_hosts(hosts: &[&str], resolution: &str, found: &mut Findings) {
    if hosts.is_empty() {
        found.error("service entry must have at least one host");
    }
    for host in hosts {
        if *host == "*" {
            found.error("invalid host *");
            continue;
        }
        found.check(check_wildcard_domain(host));
        if resolution != "DYNAMIC_DNS"
            && let Err(warning) = check_partial_wildcard(host)
        {
            found.warn(warning);
        }
    }
}

fn check_addresses(addresses: &[&str], resolution: &str, found: &mut Findings) {
    for address in addresses {
        found.check(check_subnet(address));
    }
    if addresses.iter().any(|address| address.contains('/')) && resolution != "NONE" && resolution != "STATIC" {
        found.error("CIDR addresses are allowed only for NONE/STATIC resolution types");
    }
}

fn check_ports(spec: &Value, meta: &Meta, resolution: &str, found: &mut Findings) {
    let no_addresses = spec.items("addresses").is_empty();
    let opted_out = meta
        .label("networking.istio.io/enable-autoallocate-ip")
        .is_some_and(|value| value.eq_ignore_ascii_case("false"));
    // istiod gives an address to entries without one, unless their traffic goes wherever it was going.
    let allocated = resolution != "NONE" && !opted_out && no_addresses;
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for port in spec.items("ports") {
        let (name, number, protocol) = (port.text("name"), port.number("number"), port.text("protocol"));
        if !names.insert(name) {
            found.error(format!("service entry port name {} already defined", quote(name)));
        }
        if !numbers.insert(number) {
            found.error(format!("service entry port {number} already defined"));
        }
        let target = port.number("targetPort");
        if target != 0 {
            found.check(check_port(target));
        }
        if no_addresses && !allocated && (protocol.is_empty() || protocol == "TCP") {
            found.warn(
                "addresses are required for ports serving TCP (or unset) protocol when IP Autoallocation is not enabled",
            );
        }
        found.check(check_port_name(name));
        found.check(protocol::check(protocol));
        found.check(check_port(number));
    }
}

fn check_dns(spec: &Value, resolution: &str, hosts: &[&str], found: &mut Findings) {
    let endpoints = spec.items("endpoints");
    if endpoints.is_empty()
        && let Some(error) = hosts.iter().find_map(|host| check_fqdn(host).err())
    {
        found.error(format!(
                "hosts must be FQDN or contain only prefix wildcards if no endpoints are provided for resolution mode {resolution}, {error}"
            ));
    }
    if resolution == "DNS_ROUND_ROBIN" && endpoints.len() > 1 {
        found.error(format!("there must only be 0 or 1 endpoint for resolution mode {resolution}"));
    }
    let names = port_names(spec);
    for endpoint in endpoints {
        let address = endpoint.text("address");
        if !is_address(address) && check_fqdn(address).is_err() {
            found.error(format!("endpoint address {} is not a valid FQDN or an IP address", quote(address)));
        }
        found.join(check_labels(&endpoint.entries("labels")));
        for (name, port) in endpoint.entries("ports") {
            workload::check_endpoint_port(name, port, Some(&names), found);
        }
    }
    if !spec.items("addresses").is_empty() && hosts.len() > 1 {
        let tcp = |port: &Value| Protocol::parse(port.text("protocol")).is_tcp();
        if spec.items("ports").iter().any(tcp) {
            found.warn(
                "service entry can not have more than one host specified simultaneously with address and tcp port",
            );
        }
    }
}

fn check_dynamic_dns(spec: &Value, meta: &Meta, resolution: &str, hosts: &[&str], found: &mut Findings) {
    if hosts.is_empty() {
        found.error(format!("at least one wildcard host must be provided for resolution type {resolution}"));
    }
    for _ in hosts.iter().filter(|host| !is_wildcard(host)) {
        found.error(format!("host must be wildcarded for resolution mode {resolution}"));
    }
    if !spec.items("addresses").is_empty() {
        found.error(format!(
            "addresses cannot be set for resolution type {resolution}. HTTP route domains will only be generatedfrom the hosts field values"
        ));
    }
    if !spec.items("endpoints").is_empty() {
        found.error(format!(
            "endpoints cannot be set for resolution type {resolution}. Destination IP address determined from hostsfield values"
        ));
    }
    for port in spec.items("ports") {
        if !matches!(
            Protocol::parse(port.text("protocol")),
            Protocol::Http | Protocol::Tls | Protocol::Grpc | Protocol::Http2
        ) {
            found.error(format!(
                "only HTTP, TLS, GRPC, and HTTP2 protocols are supported for resolution type {resolution}"
            ));
        }
    }
    let location = spec.choice("location", "MESH_EXTERNAL");
    if location != "MESH_EXTERNAL" && location != "MESH_INTERNAL" {
        found.error(format!("location must be MESH_EXTERNAL or MESH_INTERNAL for resolution type {resolution}"));
    }
    let waypoint = meta
        .label("istio.io/use-waypoint")
        .is_some_and(|value| !value.is_empty() && !value.eq_ignore_ascii_case("none"));
    if location == "MESH_INTERNAL" && waypoint {
        found.error(format!(
            "location MESH_INTERNAL with resolution type {resolution} is not supported when using waypoints"
        ));
    }
}

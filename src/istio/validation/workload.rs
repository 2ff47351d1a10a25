//! WorkloadEntry (also as an endpoint of a ServiceEntry), WorkloadGroup and ProxyConfig.

use super::fields::Fields;
use super::findings::{Findings, Messages};
use super::names::{check_fqdn, check_labels, check_port, check_port_name, check_unix_address};
use super::selectors;
use crate::istio::go::{address::is_address, quote};
use serde_json::Value;
use std::collections::BTreeSet;

/// A workload; as an endpoint its ports must be among the names of the service's ports.
pub(super) fn check_entry(entry: &Value, service_ports: Option<&BTreeSet<&str>>, fqdn_allowed: bool) -> Findings {
    let mut found = Findings::default();
    let (address, network) = (entry.text("address"), entry.text("network"));
    if address.is_empty() {
        if network.is_empty() {
            return Findings::failed("address is required");
        }
        found.warn(format!("address is unset with network {}", quote(network)));
    }
    let unix = address.strip_prefix("unix://");
    if let Some(path) = unix {
        found.check(check_unix_address(path));
        if !entry.entries("ports").is_empty() {
            found.error(format!("unix endpoint {address} must not include ports"));
        }
    } else if !address.is_empty() && !is_address(address) {
        if !fqdn_allowed {
            found.error(format!("endpoint address {} is not a valid IP address", quote(address)));
        } else if check_fqdn(address).is_err() {
            found.error(format!("endpoint address {} is not a valid FQDN or an IP address", quote(address)));
        }
    }
    for (name, port) in entry.entries("ports") {
        check_endpoint_port(name, port, service_ports, &mut found);
    }
    found.join(check_labels(&entry.entries("labels")));
    if unix.is_some() && service_ports.is_some_and(|ports| ports.len() != 1) {
        found.error("exactly 1 service port required for unix endpoints");
    }
    found
}

/// A port of an endpoint, by name.
pub(super) fn check_endpoint_port(
    name: &str,
    port: &Value,
    service_ports: Option<&BTreeSet<&str>>,
    found: &mut Findings,
) {
    let port = port.as_i64().unwrap_or_default();
    if service_ports.is_some_and(|ports| !ports.contains(name)) {
        found.error(format!("endpoint port {port} is not defined by the service entry"));
    }
    found.check(check_port_name(name));
    found.check(check_port(port));
}

pub(super) fn check_group(spec: &Value) -> Findings {
    if !spec.has("template") {
        return Findings::failed("template is required");
    }
    if let Some(metadata) = spec.message("metadata") {
        let errors = check_labels(&metadata.entries("labels"));
        if !errors.is_empty() {
            return Findings::failed(format!("invalid labels: {}", errors.text()));
        }
    }
    spec.message("probe").map(check_probe).unwrap_or_default().into()
}

fn check_probe(probe: &Value) -> Messages {
    let mut errors = Messages::default();
    for name in ["periodSeconds", "initialDelaySeconds", "timeoutSeconds", "successThreshold", "failureThreshold"] {
        if probe.number(name) < 0 {
            errors.add(format!("{name} must be non-negative"));
        }
    }
    if let Some(http) = probe.message("httpGet") {
        errors.join(check_port(http.number("port")).into());
        if !["", "HTTP", "HTTPS"].contains(&http.text("scheme")) {
            errors.add("httpGet.scheme must be one of \"HTTPS\", \"HTTP\"");
        }
        for header in http.items("httpHeaders") {
            errors.join(check_probe_header(header.text("name")).into());
        }
    } else if let Some(tcp) = probe.message("tcpSocket") {
        errors.join(check_port(tcp.number("port")).into());
    } else if let Some(exec) = probe.message("exec") {
        if exec.items("command").is_empty() {
            errors.add("exec.command is required");
        }
    } else if probe.has("grpc") {
        errors.add("unknown health check method *v1alpha3.ReadinessProbe_Grpc");
    } else {
        errors.add("unknown health check method <nil>");
    }
    errors
}

fn check_probe_header(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("header name cannot be empty".into());
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(format!("header name {name} is not a valid header name"));
    }
    Ok(())
}

pub(super) fn check_proxy_config(spec: &Value) -> Findings {
    let mut found = selectors::check_match_labels(spec.message("selector"));
    if spec.number("concurrency") < 0 {
        found.error("concurrency must be greater than or equal to 0");
    }
    found
}

//! Gateway.

use super::fields::Fields;
use super::findings::Findings;
use super::names::{HostOf, check_address, check_namespaced_host, check_port, check_unix_address, is_dns_label};
use super::protocol::Protocol;
use super::tls;
use super::webhook::Meta;
use crate::istio::go::quote;
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn check(spec: &Value, meta: &Meta) -> Findings {
    let gateway_api = meta.annotation("internal.istio.io/gateway-semantics") == Some("gateway");
    let mut found = Findings::default();
    if !is_dns_label(meta.name) && !gateway_api {
        found.error(format!("invalid gateway name: {}", quote(meta.name)));
    }
    let servers = spec.items("servers");
    if servers.is_empty() {
        found.error("gateway must have at least one server");
    }
    for server in servers {
        found.join(check_server(server, gateway_api));
    }
    let mut names = BTreeSet::new();
    for server in servers {
        let Some(port) = server.message("port") else { continue };
        if !names.insert(port.text("name")) {
            found.error(format!("port names in servers must be unique: duplicate name {}", port.text("name")));
        }
        let redirects = server.message("tls").is_some_and(|tls| tls.truth("httpsRedirect"));
        if redirects && !Protocol::parse(port.text("protocol")).is_http() {
            found.warn("tls.httpsRedirect should only be used with http servers");
        }
    }
    found
}

fn check_server(server: &Value, gateway_api: bool) -> Findings {
    let mut found = Findings::default();
    let hosts = server.texts("hosts");
    if hosts.is_empty() {
        found.error("server config must contain at least one host");
    }
    for host in hosts {
        found.join(check_namespaced_host(host, HostOf::Gateway, gateway_api));
    }
    let (port, bind, tls) = (server.message("port"), server.text("bind"), server.message("tls"));
    let port_errors = check_server_port(port, bind);
    let port_is_right = port_errors.errors.is_empty();
    found.join(port_errors);
    found.join(check_bind(port, bind));
    found.join(tls::check_server(tls));
    if let (true, Some(port)) = (port_is_right, port) {
        let protocol = Protocol::parse(port.text("protocol"));
        match tls {
            None if protocol.is_tls() => found.error("server must have TLS settings for HTTPS/TLS protocols"),
            Some(tls) if protocol.is_http() => {
                let certificates = ["caCertificates", "privateKey", "serverCertificate"];
                if !tls::passes_through(tls) || certificates.iter().any(|name| tls.has(name)) {
                    found.error("server cannot have TLS settings for plain text HTTP ports");
                }
            }
            Some(_) if !protocol.is_tls() => {
                found.error("server cannot have TLS settings for non HTTPS/TLS ports");
            }
            _ => {}
        }
    }
    found
}

fn check_server_port(port: Option<&Value>, bind: &str) -> Findings {
    let Some(port) = port else { return Findings::failed("port is required") };
    let mut found = Findings::default();
    let (number, protocol) = (port.number("number"), port.text("protocol"));
    if Protocol::parse(protocol) == Protocol::Unsupported {
        found.error(format!(
            "invalid protocol {}, supported protocols are HTTP, HTTP2, GRPC, GRPC-WEB, MONGO, REDIS, MYSQL, TCP",
            quote(protocol)
        ));
    }
    if number > 0 || !bind.starts_with("unix://") {
        found.check(check_port(number));
    }
    if port.number("targetPort") > 0 {
        found.error("targetPort has no impact on Gateways");
    }
    if port.text("name").is_empty() {
        found.error(format!("port name must be set: {}", show_port(port)));
    }
    found
}

fn check_bind(port: Option<&Value>, bind: &str) -> Findings {
    let mut found = Findings::default();
    if let Some(path) = bind.strip_prefix("unix://") {
        found.check(check_unix_address(path));
        if let Some(port) = port.filter(|port| port.number("number") != 0) {
            found.error(format!("port number must be 0 for unix domain socket: {}", show_port(port)));
        }
    } else if !bind.is_empty() {
        found.check(check_address(bind));
    }
    found
}

/// A port in the protobuf text form, on one line.
fn show_port(port: &Value) -> String {
    let mut parts = vec![];
    for (name, shown) in
        [("number", "number"), ("protocol", "protocol"), ("name", "name"), ("targetPort", "target_port")]
    {
        match port.get(name) {
            Some(Value::String(text)) => parts.push(format!("{shown}:{}", quote(text))),
            Some(value) => parts.push(format!("{shown}:{value}")),
            None => {}
        }
    }
    parts.join(" ")
}

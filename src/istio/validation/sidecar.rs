//! Sidecar.

use super::fields::Fields;
use super::findings::{Findings, Messages};
use super::http_route::check_destination;
use super::names::{
    HostOf, check_address, check_fqdn, check_namespaced_host, check_port, check_port_name, check_unix_address,
};
use super::protocol::{self, Protocol};
use super::traffic_policy::check_connection_pool;
use super::webhook::Meta;
use super::{selectors, tls};
use crate::istio::go::quote;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const UNIQUE_PORTS: &str = "sidecar: ports on IP bound listeners must be unique";

pub(super) fn check(spec: &Value, meta: &Meta) -> Findings {
    let selector = selectors::check_labels(spec.message("workloadSelector"));
    if !selector.errors.is_empty() {
        return selector.errors.into();
    }
    let mut found = Findings::default();
    if !selector.warnings.is_empty() {
        found.warn(format!("sidecar: {}, will be applied to all services in namespace", selector.warnings.text()));
    }
    if !["egress", "ingress", "outboundTrafficPolicy", "inboundConnectionPool"].iter().any(|name| spec.has(name)) {
        return Findings::failed("sidecar: empty configuration provided");
    }
    let mut ports = BTreeSet::new();
    for listener in spec.items("ingress") {
        check_ingress(listener, &mut ports, &mut found);
    }
    found.join(check_connection_pool(spec.message("inboundConnectionPool")));
    check_egress(spec.items("egress"), meta.namespace, &mut found);
    found.join(spec.message("outboundTrafficPolicy").map(check_outbound_policy).unwrap_or_default());
    found
}

fn check_ingress(listener: &Value, ports: &mut BTreeSet<i64>, found: &mut Findings) {
    let Some(port) = listener.message("port") else {
        return found.error("sidecar: port is required for ingress listeners");
    };
    if port.number("targetPort") > 0 {
        found.error("targetPort has no impact on Sidecars");
    }
    found.join(check_ip_port(port, listener.text("bind")));
    if !ports.insert(port.number("number")) {
        found.error(UNIQUE_PORTS);
    }
    let endpoint = listener.text("defaultEndpoint");
    if let Some(path) = endpoint.strip_prefix("unix://") {
        found.check(check_unix_address(path));
    } else if !endpoint.is_empty() {
        check_default_endpoint(endpoint, found);
    }
    let protocol = Protocol::parse(port.text("protocol"));
    if let Some(tls) = listener.message("tls") {
        for (name, why) in [
            ("subjectAltNames", "subjectAltNames is not supported in ingress tls"),
            ("httpsRedirect", "httpsRedirect is not supported"),
            ("credentialName", "credentialName is not currently supported"),
            ("credentialNames", "credentialNames is not currently supported"),
            ("tlsCertificates", "tls_certificates is not currently supported"),
        ] {
            if tls.has(name) {
                found.error(format!("sidecar: {why}"));
            }
        }
        let mode = tls.choice("mode", "PASSTHROUGH");
        if mode == "ISTIO_MUTUAL" || mode == "AUTO_PASSTHROUGH" {
            found.error(format!("configuration is invalid: cannot set mode to {mode} in sidecar ingress tls"));
        }
        if !protocol.is_tls() {
            found.error("server cannot have TLS settings for non HTTPS/TLS ports");
        }
        found.join(tls::check_server(Some(tls)));
    }
    let pool = listener.message("connectionPool");
    found.join(check_connection_pool(pool));
    if pool.is_some_and(|pool| pool.has("http")) && !protocol.is_http() {
        found.warn(format!(
            "sidecar: HTTP connection pool settings are configured for port {} ({}) but its protocol is not HTTP ({}); only TCP settings will apply",
            port.number("number"),
            quote(port.text("name")),
            port.text("protocol")
        ));
    }
}

fn check_ip_port(port: &Value, bind: &str) -> Messages {
    let mut errors = Messages::default();
    if port.has("name") {
        errors.join(check_port_name(port.text("name")).into());
    }
    errors.join(protocol::check(port.text("protocol")).into());
    errors.join(check_port(port.number("number")).into());
    if !bind.is_empty() {
        errors.join(check_address(bind).into());
    }
    errors
}

fn check_default_endpoint(endpoint: &str, found: &mut Findings) {
    let (host, port) = match split_host_port(endpoint) {
        Ok(parts) => parts,
        Err(why) => {
            found.error(format!("address {endpoint}: {why}"));
            ("", "")
        }
    };
    if !["", "127.0.0.1", "0.0.0.0", "::1", "::"].contains(&host) {
        found.error(
            "sidecar: defaultEndpoint must be of form 127.0.0.1:<port>,0.0.0.0:<port>,[::1]:port,[::]:port,unix://filepath or unset",
        );
    }
    match port.parse::<i64>() {
        Ok(port) => found.check(check_port(port)),
        Err(error) => {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let why = match error.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            found.error(format!(
                "sidecar: defaultEndpoint port ({port}) is not a number: strconv.Atoi: parsing {}: {why}",
                quote(port)
            ));
        }
    }
}

/// Go's `net.SplitHostPort`: host and port, or what is wrong.
fn split_host_port(text: &str) -> Result<(&str, &str), &'static str> {
    const MISSING: &str = "missing port in address";
    const TOO_MANY: &str = "too many colons in address";
    let last = text.rfind(':').ok_or(MISSING)?;
    let (host, checked_from) = if text.starts_with('[') {
        let end = text.find(']').ok_or("missing ']' in address")?;
        match text[end + 1..].chars().next() {
            None => return Err(MISSING),
            Some(_) if end + 1 == last => {}
            Some(':') => return Err(TOO_MANY),
            Some(_) => return Err(MISSING),
        }
        (&text[1..end], (1, end + 1))
    } else {
        if text[..last].contains(':') {
            return Err(TOO_MANY);
        }
        (&text[..last], (0, 0))
    };
    if text[checked_from.0..].contains('[') {
        return Err("unexpected '[' in address");
    }
    if text[checked_from.1..].contains(']') {
        return Err("unexpected ']' in address");
    }
    Ok((host, &text[last + 1..]))
}

fn check_egress(listeners: &[Value], namespace: &str, found: &mut Findings) {
    let (mut ports, mut sockets) = (BTreeSet::new(), BTreeSet::new());
    let mut catch_all = false;
    for (index, listener) in listeners.iter().enumerate() {
        match listener.message("port") {
            None if catch_all => {
                found.error("sidecar: egress can have only one listener with empty port");
                continue;
            }
            None if index == listeners.len() - 1 => catch_all = true,
            None => found.error("sidecar: the egress listener with empty port should be the last listener in the list"),
            Some(port) => {
                if port.number("targetPort") > 0 {
                    found.error("targetPort has no impact on Sidecars");
                }
                let bind = listener.text("bind");
                found.join(check_egress_port(port, bind, listener.choice("captureMode", "DEFAULT")));
                if port.number("number") == 0 {
                    if !sockets.insert(bind) {
                        found.error("sidecar: unix domain socket values for listeners must be unique");
                    }
                } else if !ports.insert(port.number("number")) {
                    found.error(UNIQUE_PORTS);
                }
            }
        }
        check_egress_hosts(&listener.texts("hosts"), namespace, found);
    }
}

fn check_egress_port(port: &Value, bind: &str, capture: &str) -> Messages {
    if port.number("number") != 0 {
        return check_ip_port(port, bind);
    }
    let mut errors = Messages::default();
    if port.has("name") {
        errors.join(check_port_name(port.text("name")).into());
    }
    errors.join(protocol::check(port.text("protocol")).into());
    match bind.strip_prefix("unix://") {
        None => errors.add("sidecar: ports with 0 value must have a unix domain socket bind address"),
        Some(path) => errors.join(check_unix_address(path).into()),
    }
    if capture != "DEFAULT" && capture != "NONE" {
        errors.add("sidecar: captureMode must be DEFAULT/NONE for unix domain socket listeners");
    }
    errors
}

fn check_egress_hosts(hosts: &[&str], own_namespace: &str, found: &mut Findings) {
    if hosts.is_empty() {
        return found.error("sidecar: egress listener must contain at least one host");
    }
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for text in hosts {
        if let Some((namespace, host)) = text.split_once('/') {
            let namespace = if namespace == "." { own_namespace } else { namespace };
            let known = seen.entry(namespace).or_default();
            let repeated = match host {
                "*" => !known.is_empty(),
                host => known.contains(host) || known.contains("*"),
            };
            if repeated {
                found.warn(format!("duplicated egress host: {text}"));
            }
            known.insert(host);
        }
        found.join(check_namespaced_host(text, HostOf::Sidecar, false));
    }
    if seen.get("*").is_some_and(|hosts| hosts.contains("*")) && seen.len() != 1 {
        found.warn("`*/*` host select all resources, no other hosts can be added");
    }
}

fn check_outbound_policy(policy: &Value) -> Messages {
    let mut errors = Messages::default();
    let Some(proxy) = policy.message("egressProxy") else { return errors };
    if policy.choice("mode", "REGISTRY_ONLY") != "ALLOW_ANY" {
        return Messages::one("sidecar: egress_proxy must be set only with ALLOW_ANY outbound_traffic_policy mode");
    }
    errors.join(check_fqdn(proxy.text("host")).into());
    if !proxy.has("port") {
        errors.add("sidecar: egress_proxy port must be non-nil");
        return errors;
    }
    errors.join(check_destination(Some(proxy)));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_split_as_go_splits_it() {
        assert_eq!(split_host_port("127.0.0.1"), Err("missing port in address"));
        assert_eq!(split_host_port("::1:80"), Err("too many colons in address"));
        assert_eq!(split_host_port("[::1]:80"), Ok(("::1", "80")));
        assert_eq!(split_host_port("[::1]"), Err("missing port in address"));
        assert_eq!(split_host_port(":80"), Ok(("", "80")));
    }
}

//! Names, hosts, labels, addresses and ports: what several kinds check alike.

use super::findings::Messages;
use crate::istio::go::{address, quote};
use serde_json::Value;

/// A label of a domain name: letters, digits and inner hyphens, at most 63 bytes.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_label_text(text)
}

fn is_label_text(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// A label that may be `*`, or begin with `*` or `*-`.
fn is_wildcard_label(text: &str) -> bool {
    let rest = text.strip_prefix('*').unwrap_or(text);
    let rest = if rest.len() < text.len() { rest.strip_prefix('-').unwrap_or(rest) } else { rest };
    text.len() <= 63 && (text == "*" || is_label_text(rest))
}

fn length(domain: &str) -> Result<(), String> {
    match domain.len() {
        0 => Err("empty domain name not allowed".into()),
        256.. => Err(format!("domain name {} too long (max 255)", quote(domain))),
        _ => Ok(()),
    }
}

fn labels(domain: &str) -> Result<(), String> {
    let parts: Vec<&str> = domain.split('.').collect();
    let top = parts.last().copied().unwrap_or_default();
    if top.parse::<i64>().is_ok() {
        return Err(format!(
            "domain name {} invalid (top level domain {} cannot be all-numeric)",
            quote(domain),
            quote(top)
        ));
    }
    for (index, label) in parts.iter().enumerate() {
        // A name may end in a dot.
        if index == parts.len() - 1 && label.is_empty() {
            return Ok(());
        }
        if !is_dns_label(label) {
            return Err(format!("domain name {} invalid (label {} invalid)", quote(domain), quote(label)));
        }
    }
    Ok(())
}

/// A domain name without wildcards.
pub(crate) fn check_fqdn(domain: &str) -> Result<(), String> {
    length(domain)?;
    labels(domain)
}

/// A domain name whose first label may be a wildcard.
pub(crate) fn check_wildcard_domain(domain: &str) -> Result<(), String> {
    length(domain)?;
    let (first, rest) = domain.split_once('.').map_or((domain, None), |(first, rest)| (first, Some(rest)));
    if !is_wildcard_label(first) {
        return Err(format!("domain name {} invalid (label {} invalid)", quote(domain), quote(first)));
    }
    rest.map_or(Ok(()), labels)
}

/// A domain of a virtual service on a gateway: with SNI routes also `outbound_.80_._.host`.
pub(crate) fn check_gateway_domain(sni: bool, domain: &str) -> Result<(), String> {
    const FORM: &str = "outbound_.<PORT>_._.<HOSTNAME>";
    length(domain)?;
    if !(sni && domain.starts_with("outbound_")) {
        return check_wildcard_domain(domain);
    }
    let parts: Vec<&str> = domain.split('_').collect();
    let [_, port, _, host, ..] = parts[..] else {
        return Err(format!("domain name {domain} invalid, should follow '{FORM}' format"));
    };
    let (port, host) = (port.trim_matches('.'), host.trim_matches('.'));
    let wrong = |label: &str| {
        Err(format!(
            "domain name {} invalid (label {} invalid). should follow {FORM} format",
            quote(domain),
            quote(label)
        ))
    };
    if !port.bytes().any(|b| b.is_ascii_digit()) {
        return wrong(port);
    }
    if !host.bytes().any(|b| b.is_ascii_alphabetic()) {
        return wrong(host);
    }
    Ok(())
}

/// A wildcard must be a whole label.
pub(crate) fn check_partial_wildcard(host: &str) -> Result<(), String> {
    if host.contains('*') && host.len() != 1 && !host.starts_with("*.") {
        return Err(format!("partial wildcard {} not allowed", quote(host)));
    }
    Ok(())
}

/// Where a `namespace/host` stands; both kinds have rules of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostOf {
    Gateway,
    Sidecar,
}

/// `namespace/host`; a gateway may leave the namespace out.
pub(crate) fn check_namespaced_host(text: &str, of: HostOf, gateway_api: bool) -> Messages {
    let Some((namespace, host)) = text.split_once('/') else {
        return match of {
            HostOf::Gateway => check_host_part(text, of),
            HostOf::Sidecar => Messages::one("host must be of form namespace/dnsName"),
        };
    };
    let mut errors = Messages::default();
    if namespace.is_empty() || host.is_empty() {
        errors.add("config namespace and dnsName in host entry cannot be empty");
    }
    let special = match of {
        HostOf::Gateway => matches!(namespace, "*" | ".") || (namespace == "~" && gateway_api),
        HostOf::Sidecar => matches!(namespace, "*" | "." | "~"),
    };
    if !special && !is_dns_label(namespace) {
        let place = if of == HostOf::Gateway { "gateway" } else { "sidecar" };
        errors.add(format!("invalid namespace value {} in {place}", quote(namespace)));
    }
    errors.join(check_host_part(host, of));
    errors
}

fn check_host_part(host: &str, of: HostOf) -> Messages {
    let mut errors = Messages::default();
    if host != "*" && !host.contains('.') {
        errors.add("short names (non FQDN) are not allowed");
    }
    if let Err(error) = check_wildcard_domain(host) {
        if of == HostOf::Sidecar {
            errors.add(error.clone());
        }
        if !address::is_address(host) {
            errors.add(error);
        }
    }
    errors.join(check_partial_wildcard(host).into());
    errors
}

/// An address.
pub(crate) fn check_address(text: &str) -> Result<(), String> {
    if address::is_address(text) { Ok(()) } else { Err(format!("{text} is not a valid IP")) }
}

/// An address or a CIDR block.
pub(crate) fn check_subnet(text: &str) -> Result<(), String> {
    if text.matches('/').count() != 1 {
        return check_address(text);
    }
    address::check_prefix(text).map_err(|_| format!("{text} is not a valid CIDR block"))
}

pub(crate) fn check_port(port: i64) -> Result<(), String> {
    if (1..=65535).contains(&port) {
        return Ok(());
    }
    Err(format!("port number {port} must be in the range 1..65535"))
}

pub(crate) fn check_port_name(name: &str) -> Result<(), String> {
    if is_dns_label(name) { Ok(()) } else { Err(format!("invalid port name: {name}")) }
}

/// A path of a Unix domain socket, without `unix://`.
pub(crate) fn check_unix_address(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("unix address must not be empty".into());
    }
    if path.starts_with('@') || (path.starts_with('/') && !path.ends_with('/')) {
        return Ok(());
    }
    Err(format!("{path} is not an absolute path to a file"))
}

/// Nanoseconds: at least a millisecond, and whole ones.
pub(crate) fn check_duration(nanoseconds: i64) -> Result<(), String> {
    if nanoseconds < 1_000_000 {
        return Err("duration must be greater than 1ms".into());
    }
    if nanoseconds % 1_000_000 != 0 {
        return Err("only durations to ms precision are supported".into());
    }
    Ok(())
}

/// Labels of Kubernetes.
pub(crate) fn check_labels(labels: &[(&str, &Value)]) -> Messages {
    let mut errors = Messages::default();
    for (key, value) in labels {
        if let Err(error) = check_label_key(key) {
            errors.list(error);
        }
        let value = value.as_str().unwrap_or_default();
        if !value.is_empty() && !is_qualified_name(value) {
            errors.list(format!("invalid tag value: {}", quote(value)));
        }
    }
    errors
}

fn is_qualified_name(text: &str) -> bool {
    let alphanumeric = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

fn check_label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let valid = is_qualified_name(name) && prefix.is_none_or(|prefix| prefix.split('.').all(is_label_text));
    let why = match prefix {
        _ if !valid => "",
        Some(prefix) if prefix.len() > 253 => " (DNS prefix is too long)",
        _ if name.len() > 63 => " (name is too long)",
        _ => return Ok(()),
    };
    Err(format!("invalid tag key: {}{why}", quote(key)))
}

/// Whether a host is a wildcard.
pub(crate) fn is_wildcard(host: &str) -> bool {
    host.starts_with('*')
}

/// Whether two hosts overlap.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        (Some(a), None) => b.ends_with(a),
        (None, Some(b)) => a.ends_with(b),
        (None, None) => a == b,
    }
}

/// Whether every name that `host` covers is covered by `by`.
pub(crate) fn is_subset(host: &str, by: &str) -> bool {
    match (host.strip_prefix('*'), by.strip_prefix('*')) {
        (Some(host), Some(by)) => host.ends_with(by),
        (Some(_), None) => false,
        (None, Some(by)) => host.ends_with(by),
        (None, None) => host == by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_refused_with_the_label_that_is_wrong() {
        assert_eq!(
            check_wildcard_domain("httpbin.org/get"),
            Err("domain name \"org/get\" invalid (label \"org/get\" invalid)".into())
        );
        assert_eq!(
            check_wildcard_domain("a.1"),
            Err("domain name \"1\" invalid (top level domain \"1\" cannot be all-numeric)".into())
        );
        assert!(check_wildcard_domain("*-a.b").is_ok());
        assert!(check_wildcard_domain("*.b.").is_ok());
        assert!(check_fqdn("*.b").is_err());
    }

    #[test]
    fn overlap_runs_both_ways_and_subset_one_way() {
        assert!(overlap("*.org", "httpbin.org") && overlap("httpbin.org", "*.org"));
        assert!(is_subset("*.a.org", "*.org") && !is_subset("*.org", "*.a.org"));
        assert!(!overlap("*.foo.com", "foo.com"));
    }
}

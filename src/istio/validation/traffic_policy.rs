//! Traffic policies: connection pools, outlier detection, tunnels, and the policies of single ports.

use super::fields::Fields;
use super::findings::{Findings, Messages};
use super::names::{check_address, check_duration, check_fqdn, check_port};
use super::{load_balancer, tls};
use serde_json::Value;

/// A traffic policy of an object in `namespace`.
pub(super) fn check(namespace: &str, policy: Option<&Value>) -> Findings {
    let Some(policy) = policy else { return Findings::default() };
    let parts = [
        "outlierDetection",
        "connectionPool",
        "loadBalancer",
        "tls",
        "portLevelSettings",
        "tunnel",
        "proxyProtocol",
        "retryBudget",
    ];
    if !parts.iter().any(|part| policy.has(part)) {
        return Findings::failed("traffic policy must have at least one field");
    }
    if policy.has("tunnel") && policy.has("proxyProtocol") {
        return Findings::failed("tunnel and proxyProtocol must not be set together");
    }
    let outlier = policy.message("outlierDetection");
    let mut found = check_outlier_detection(outlier);
    found.join(check_connection_pool(policy.message("connectionPool")));
    found.join(load_balancer::check(policy.message("loadBalancer"), outlier.is_some()));
    found.join(tls::check_client(namespace, policy.message("tls")));
    for port in policy.items("portLevelSettings") {
        found.join(check_port_level(namespace, port));
    }
    found.join(policy.message("tunnel").map(check_tunnel).unwrap_or_default());
    if let Some(proxy_protocol) = policy.message("proxyProtocol")
        && let Some(version) = proxy_protocol.get("version").filter(|version| version.is_number())
    {
        found.error(format!("proxy protocol version is invalid: {version}"));
    }
    found
}

/// The policy of one port; its warnings are lost, as istiod loses them.
fn check_port_level(namespace: &str, policy: &Value) -> Messages {
    let mut errors = Messages::default();
    if !policy.has("port") {
        errors.add("portTrafficPolicy must have valid port");
    }
    if !["outlierDetection", "connectionPool", "loadBalancer", "tls"].iter().any(|part| policy.has(part)) {
        errors.add("port traffic policy must have at least one field");
        return errors;
    }
    let outlier = policy.message("outlierDetection");
    errors.join(check_outlier_detection(outlier).errors);
    errors.join(check_connection_pool(policy.message("connectionPool")));
    errors.join(load_balancer::check(policy.message("loadBalancer"), outlier.is_some()).errors);
    errors.join(tls::check_client(namespace, policy.message("tls")));
    errors
}

fn check_outlier_detection(outlier: Option<&Value>) -> Findings {
    let mut found = Findings::default();
    let Some(outlier) = outlier else { return found };
    let duration = |name: &str| outlier.get(name).and_then(Value::as_i64).map_or(Ok(()), check_duration);
    found.check(duration("baseEjectionTime"));
    if outlier.number("consecutiveErrors") != 0 {
        found.warn(
            "outlier detection consecutive errors is deprecated, use consecutiveGatewayErrors or consecutive5xxErrors instead",
        );
    }
    if !outlier.truth("splitExternalLocalOriginErrors") && outlier.number("consecutiveLocalOriginFailures") > 0 {
        found.error(
            "outlier detection consecutive local origin failures is specified, but split external local origin errors is set to false",
        );
    }
    found.check(duration("interval"));
    for name in ["maxEjectionPercent", "minHealthPercent"] {
        let percent = outlier.number(name);
        if !(0..=100).contains(&percent) {
            found.error(format!("percentage {percent} is not in range 0..100"));
        }
    }
    found
}

/// A connection pool, of a traffic policy or of a sidecar's ingress.
pub(super) fn check_connection_pool(pool: Option<&Value>) -> Messages {
    let mut errors = Messages::default();
    let Some(pool) = pool else { return errors };
    let (http, tcp) = (pool.message("http"), pool.message("tcp"));
    if http.is_none() && tcp.is_none() {
        return Messages::one("connection pool must have at least one field");
    }
    if let Some(http) = http {
        for (name, what) in [
            ("http1MaxPendingRequests", "http1 max pending requests"),
            ("http2MaxRequests", "http2 max requests"),
            ("maxRequestsPerConnection", "max requests per connection"),
            ("maxRetries", "max retries"),
        ] {
            if http.number(name) < 0 {
                errors.add(format!("{what} must be non-negative"));
            }
        }
        errors.join(duration_of(http, "idleTimeout"));
        if http.choice("h2UpgradePolicy", "DEFAULT") == "UPGRADE" && http.truth("useClientProtocol") {
            errors.add("use client protocol must not be true when H2UpgradePolicy is UPGRADE");
        }
        if http.number("maxConcurrentStreams") < 0 {
            errors.add("max concurrent streams must be non-negative");
        }
    }
    if let Some(tcp) = tcp {
        if tcp.number("maxConnections") < 0 {
            errors.add("max connections must be non-negative");
        }
        errors.join(duration_of(tcp, "connectTimeout"));
        errors.join(duration_of(tcp, "maxConnectionDuration"));
        // Zero switches the timeout off.
        if tcp.number("idleTimeout") / 1_000_000 != 0 {
            errors.join(duration_of(tcp, "idleTimeout"));
        }
        if let Some(keepalive) = tcp.message("tcpKeepalive") {
            errors.join(duration_of(keepalive, "time"));
            errors.join(duration_of(keepalive, "interval"));
        }
    }
    errors
}

/// The check of a duration, if it is set.
pub(super) fn duration_of(message: &Value, name: &str) -> Messages {
    message.get(name).and_then(Value::as_i64).map_or(Ok(()), check_duration).into()
}

fn check_tunnel(tunnel: &Value) -> Messages {
    let mut errors = Messages::default();
    if !["", "CONNECT", "POST"].contains(&tunnel.text("protocol")) {
        errors.add("tunnel protocol must be \"CONNECT\" or \"POST\"");
    }
    let host = tunnel.text("targetHost");
    if let (Err(name), Err(address)) = (check_fqdn(host), check_address(host)) {
        errors.add(format!("tunnel target host must be valid FQDN or IP address: {name}; {address}"));
    }
    if let Err(error) = check_port(tunnel.number("targetPort")) {
        errors.add(format!("tunnel target port is invalid: {error}"));
    }
    errors
}

//! Routes that sidecars and gateways share: translation of `http` rules, default routes, host names.

pub mod action;
pub mod http;
mod matching;
mod retry;

use super::json::into_map;
use super::node::Node;
use super::protocol::Protocol;
use serde_json::{Value, json};

/// `host:port`, with an IPv6 address in brackets.
pub fn domain_name(host: &str, port: u32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Other names of a service that clients in the proxy's namespace may use; ports are not part of them.
pub fn alternate_hosts(node: &Node, hostname: &str) -> Vec<String> {
    let mut out = Vec::new();
    if hostname.parse::<std::net::IpAddr>().is_err() {
        out.push(format!("{hostname}."));
    }
    let suffix = format!(".svc.{}", node.push.mesh.domain);
    let Some(short) = hostname.strip_suffix(&suffix) else { return out };
    let Some((name, namespace)) = short.split_once('.') else { return out };
    if name.is_empty() && namespace.is_empty() {
        return out;
    }
    if namespace == node.proxy.namespace {
        out.extend([name.to_owned(), format!("{short}.svc"), short.to_owned()]);
    } else {
        out.extend([short.to_owned(), format!("{short}.svc")]);
    }
    out
}

/// The route of a service that no rule is about.
pub fn default_outbound(node: &Node, cluster: &str, host: &str, port: u32) -> Value {
    json!({
        "name": "default",
        "match": {"prefix": "/"},
        "decorator": {"operation": format!("{}/*", domain_name(host, port))},
        "route": {
            "cluster": cluster,
            "timeout": "0s",
            "maxGrpcTimeout": "0s",
            "retryPolicy": retry::policy(&node.push.mesh.raw["defaultHttpRetryPolicy"], false),
        },
    })
}

/// The routes inside an inbound connection manager.
pub fn inbound_configuration(cluster: &str, host: &str, port: u32, protocol: Protocol) -> Value {
    let mut route = into_map(json!({
        "cluster": cluster,
        "timeout": "0s",
        "maxStreamDuration": {"maxStreamDuration": "0s", "grpcTimeoutHeaderMax": "0s"},
    }));
    if !protocol.is_grpc() {
        route.insert("retryPolicy".to_owned(), json!({"retryOn": "reset-before-request", "numRetries": 2}));
    }
    json!({
        "name": cluster,
        "validateClusters": false,
        "virtualHosts": [{
            "name": format!("inbound|http|{port}"),
            "domains": ["*"],
            "routes": [{
                "name": "default",
                "match": {"prefix": "/"},
                "decorator": {"operation": format!("{}/*", domain_name(host, port))},
                "route": route,
            }],
        }],
    })
}

//! Parts that sidecar and gateway listeners share: chains, network filters, HTTP connection managers, inspectors.

pub mod chain;
pub mod http;
pub mod network;

use serde_json::{Value, json};

/// Which side of which proxy a listener is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    SidecarInbound,
    SidecarOutbound,
    Gateway,
}

pub fn socket_address(ip: &str, port: u32) -> Value {
    if let Some(path) = ip.strip_prefix("unix://") {
        return json!({"pipe": {"path": path}});
    }
    json!({"socketAddress": {"address": ip, "portValue": port}})
}

pub fn tls_inspector() -> Value {
    json!({
        "name": "envoy.filters.listener.tls_inspector",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
            "initialReadBufferSize": 512,
        },
    })
}

pub fn http_inspector() -> Value {
    json!({
        "name": "envoy.filters.listener.http_inspector",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
        },
    })
}

pub fn original_destination() -> Value {
    json!({
        "name": "envoy.filters.listener.original_dst",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
        },
    })
}

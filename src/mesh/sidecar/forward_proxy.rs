//! Dynamic forward proxies of sidecars: wildcard ServiceEntries with `resolution: DYNAMIC_DNS`.

use serde_json::{Value, json};

/// The DNS cache that cluster and filters of a host share.
pub fn dns_cache(host: &str) -> Value {
    json!({"name": format!("{host}_dfp_dns_cache"), "dnsLookupFamily": "V4_ONLY"})
}

/// The HTTP filter that resolves the request's host.
pub fn http_filter(host: &str) -> Value {
    json!({
        "name": "envoy.filters.http.dynamic_forward_proxy",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
            "dnsCacheConfig": dns_cache(host),
        },
    })
}

/// The network filter that resolves the SNI.
pub fn sni_filter(host: &str, port: u32) -> Value {
    json!({
        "name": "envoy.extensions.filters.network.sni_dynamic_forward_proxy",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig",
            "dnsCacheConfig": dns_cache(host),
            "portValue": port,
        },
    })
}

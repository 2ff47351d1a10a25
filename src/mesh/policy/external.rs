//! External authorization: the providers of the mesh config that CUSTOM policies name.

use crate::mesh::cluster::outbound_name;
use crate::mesh::duration::canonical;
use crate::mesh::json::{flag, into_map, list, present, put, sorted_fields, strings, text, unsigned};
use crate::mesh::node::Node;
use serde_json::{Map, Value, json};

/// What a CUSTOM policy's provider comes to.
pub enum Provider {
    /// The `ext_authz` filter, without the condition that enables it.
    Filter(Value),
    /// An HTTP provider on a TCP chain: no filter.
    NotForTcp,
    /// Absent or not valid, and why: everything that the policy is about is refused.
    Unusable(String),
}

/// The provider of a name.
pub fn provider(node: &Node, name: &str, tcp: bool) -> Provider {
    let authorizes = |p: &&Value| present(&p["envoyExtAuthzGrpc"]) || present(&p["envoyExtAuthzHttp"]);
    let known = || list(&node.push.mesh.raw["extensionProviders"]).iter().filter(authorizes);
    let Some(found) = known().find(|p| text(&p["name"]) == name && !name.is_empty()) else {
        let names: Vec<&str> = known().map(|p| text(&p["name"])).collect();
        return Provider::Unusable(format!("available providers are [{}] but found {name:?}", names.join(" ")));
    };
    let (config, grpc) = match &found["envoyExtAuthzGrpc"] {
        grpc if present(grpc) => (grpc, true),
        _ => (&found["envoyExtAuthzHttp"], false),
    };
    let service = text(&config["service"]);
    let Some((host, cluster)) = lookup(node, service, unsigned(&config["port"])) else {
        return Provider::Unusable(format!(
            "found errors in provider {name}: 1 error occurred:\n\t* failed to parse extension provider {name:?}: \
             could not find service {service} in Istio service registry\n\n"
        ));
    };
    if !grpc && tcp {
        return Provider::NotForTcp;
    }
    let timeout = match canonical(&config["timeout"]) {
        Value::Null => Value::from("600s"),
        given => given,
    };
    let mut fields = into_map(json!({"transportApiVersion": "V3"}));
    put(&mut fields, "failureModeAllow", json!(flag(&config["failOpen"])));
    let kind = if tcp { "network" } else { "http" };
    fields.insert(
        "@type".to_owned(),
        Value::from(format!("type.googleapis.com/envoy.extensions.filters.{kind}.ext_authz.v3.ExtAuthz")),
    );
    if grpc {
        let service = json!({"envoyGrpc": {"clusterName": cluster, "authority": host}, "timeout": timeout});
        fields.insert("grpcService".to_owned(), service);
    } else {
        fields.insert("httpService".to_owned(), http_service(config, &host, &cluster, timeout));
        let headers = strings(&config["includeRequestHeadersInCheck"]);
        let headers = if headers.is_empty() { strings(&config["includeHeadersInCheck"]) } else { headers };
        put(&mut fields, "allowedHeaders", header_list(&headers));
    }
    if tcp {
        fields.insert("statPrefix".to_owned(), Value::from("tcp."));
    } else {
        let status = text(&config["statusOnError"]).parse::<u32>().ok();
        put(&mut fields, "statusOnError", status.map_or(Value::Null, |code| json!({"code": code})));
        put(&mut fields, "withRequestBody", request_body(&config["includeRequestBodyInCheck"]));
    }
    Provider::Filter(json!({"name": format!("envoy.filters.{kind}.ext_authz"), "typedConfig": fields}))
}

/// Host and cluster of a provider's `host` or `namespace/host`; `None` when no service, or several, have it.
pub fn lookup(node: &Node, service: &str, port: u32) -> Option<(String, String)> {
    if service.is_empty() || port == 0 {
        return None;
    }
    let host = match service.split_once('/') {
        Some((namespace, host)) => {
            node.scope.in_namespaces(host)?.get(namespace)?;
            host
        }
        None => {
            let found = node.scope.in_namespaces(service)?;
            (found.len() == 1).then_some(service)?
        }
    };
    Some((host.to_owned(), outbound_name(port, "", host)))
}

fn http_service(config: &Value, host: &str, cluster: &str, timeout: Value) -> Value {
    let mut out = into_map(json!({
        "serverUri": {"uri": format!("http://{host}"), "cluster": cluster, "timeout": timeout},
    }));
    put(&mut out, "pathPrefix", config["pathPrefix"].clone());
    let added: Vec<Value> = sorted_fields(&config["includeAdditionalHeadersInCheck"])
        .into_iter()
        .map(|(key, value)| json!({"key": key, "value": text(value)}))
        .collect();
    if !added.is_empty() {
        out.insert("authorizationRequest".to_owned(), json!({"headersToAdd": added}));
    }
    let mut response = Map::new();
    let lists = [
        ("allowedUpstreamHeaders", "headersToUpstreamOnAllow"),
        ("allowedClientHeaders", "headersToDownstreamOnDeny"),
        ("allowedClientHeadersOnSuccess", "headersToDownstreamOnAllow"),
    ];
    for (to, from) in lists {
        put(&mut response, to, header_list(&strings(&config[from])));
    }
    if !response.is_empty() {
        out.insert("authorizationResponse".to_owned(), Value::Object(response));
    }
    Value::Object(out)
}

/// Header names, with `*` before or after; null when there are none.
fn header_list(headers: &[String]) -> Value {
    if headers.is_empty() {
        return Value::Null;
    }
    let patterns: Vec<Value> = headers
        .iter()
        .map(|header| match (header.strip_prefix('*'), header.strip_suffix('*')) {
            (Some(suffix), _) => json!({"ignoreCase": true, "suffix": suffix}),
            (None, Some(prefix)) => json!({"ignoreCase": true, "prefix": prefix}),
            _ => json!({"ignoreCase": true, "exact": header}),
        })
        .collect();
    json!({"patterns": patterns})
}

fn request_body(config: &Value) -> Value {
    if !present(config) {
        return Value::Null;
    }
    let mut out = Map::new();
    put(&mut out, "maxRequestBytes", Value::from(unsigned(&config["maxRequestBytes"])));
    put(&mut out, "allowPartialMessage", json!(flag(&config["allowPartialMessage"])));
    put(&mut out, "packAsBytes", json!(flag(&config["packAsBytes"])));
    Value::Object(out)
}

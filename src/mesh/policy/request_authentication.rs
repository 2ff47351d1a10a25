//! RequestAuthentication as the JWT filter.

use super::external::lookup;
use super::selects;
use crate::mesh::duration::canonical;
use crate::mesh::json::{flag, list, present, put, strings, text};
use crate::mesh::listener::Class;
use crate::mesh::node::Node;
use crate::mesh::object::Object;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The rules that apply to a workload, by issuer.
fn rules(node: &Node) -> Vec<Value> {
    let root = node.push.mesh.root_namespace.as_str();
    let own = node.proxy.namespace.as_str();
    let mut sorted: Vec<&Object> = node.objects("RequestAuthentication").collect();
    sorted.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut out: Vec<Value> = Vec::new();
    for place in std::iter::once(root).chain((root != own).then_some(own)) {
        for policy in sorted.iter().filter(|p| p.namespace == place && selects(p, &node.proxy.labels)) {
            out.extend(list(&policy.spec()["jwtRules"]).iter().cloned());
        }
    }
    out.sort_by(|a, b| text(&a["issuer"]).cmp(text(&b["issuer"])));
    out
}

/// The JWT filter of a connection manager, if any policy applies.
pub fn http_filters(node: &Node, class: Class) -> Vec<Value> {
    if class == Class::SidecarOutbound {
        return Vec::new();
    }
    let rules = rules(node);
    if rules.is_empty() {
        return Vec::new();
    }
    let mut providers = Map::new();
    let (mut names, mut optional) = (Vec::new(), Vec::new());
    for (index, rule) in rules.iter().enumerate() {
        let name = format!("origins-{index}");
        providers.insert(name.clone(), provider(node, rule));
        optional.push(json!({"requiresAny": {"requirements": [{"providerName": name}, {"allowMissing": {}}]}}));
        names.push(json!({"providerName": name}));
    }
    let requires = if optional.len() == 1 {
        optional.remove(0)
    } else {
        names.push(json!({"requiresAll": {"requirements": optional}}));
        json!({"requiresAny": {"requirements": names}})
    };
    vec![json!({
        "name": "envoy.filters.http.jwt_authn",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": providers,
            "rules": [{"match": {"prefix": "/"}, "requires": requires}],
            "bypassCorsPreflight": true,
        },
    })]
}

fn provider(node: &Node, rule: &Value) -> Value {
    let mut out = Map::new();
    put(&mut out, "issuer", rule["issuer"].clone());
    put(&mut out, "audiences", json!(strings(&rule["audiences"])));
    put(&mut out, "forward", json!(flag(&rule["forwardOriginalToken"])));
    put(&mut out, "forwardPayloadHeader", rule["outputPayloadToHeader"].clone());
    out.insert("payloadInMetadata".to_owned(), Value::from("payload"));
    let mut claims: BTreeSet<String> = strings(&rule["spaceDelimitedClaims"]).into_iter().collect();
    claims.extend(["permission".to_owned(), "scope".to_owned()]);
    out.insert("normalizePayloadInMetadata".to_owned(), json!({"spaceDelimitedClaims": claims}));
    put(&mut out, "clearRouteCache", json!(!node.is_sidecar()));
    let headers = list(&rule["outputClaimToHeaders"])
        .iter()
        .map(|c| json!({"headerName": text(&c["header"]), "claimName": text(&c["claim"])}))
        .collect();
    put(&mut out, "claimToHeaders", Value::Array(headers));
    let from = list(&rule["fromHeaders"])
        .iter()
        .map(|h| {
            let mut header = Map::new();
            put(&mut header, "name", h["name"].clone());
            put(&mut header, "valuePrefix", h["prefix"].clone());
            Value::Object(header)
        })
        .collect();
    put(&mut out, "fromHeaders", Value::Array(from));
    put(&mut out, "fromParams", json!(strings(&rule["fromParams"])));
    put(&mut out, "fromCookies", json!(strings(&rule["fromCookies"])));
    let uri = text(&rule["jwksUri"]);
    match remote(node, uri).filter(|_| !present(&rule["jwks"])) {
        Some(cluster) => {
            let timeout = match canonical(&rule["timeout"]) {
                Value::Null => Value::from("5s"),
                given => given,
            };
            let fetched = json!({
                "httpUri": {"uri": uri, "cluster": cluster, "timeout": timeout},
                "cacheDuration": "300s",
            });
            out.insert("remoteJwks".to_owned(), fetched);
        }
        None => {
            let keys = match text(&rule["jwks"]) {
                // Keys that the control plane could not fetch: a set that no token fits.
                "" => "{\"keys\":[]}",
                given => given,
            };
            out.insert("localJwks".to_owned(), json!({"inlineString": keys}));
        }
    }
    Value::Object(out)
}

/// The cluster of a key server that is a service of the mesh: proxies of this program fetch keys themselves,
/// since the control plane does no I/O.
fn remote(node: &Node, uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    let authority = rest.split('/').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, if scheme == "https" { 443 } else { 80 }),
    };
    lookup(node, host, port).map(|(_, cluster)| cluster)
}

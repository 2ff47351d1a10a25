//! Network filters: TCP proxies to one or several clusters.

use super::Class;
use crate::mesh::cluster::outbound_name;
use crate::mesh::destination_rule::Rule;
use crate::mesh::duration::canonical;
use crate::mesh::json::{flag, message, present, put, text, unsigned};
use crate::mesh::node::Node;
use crate::mesh::policy::authorization;
use crate::mesh::protocol::Protocol;
use crate::mesh::registry::service::{Port, Service};
use crate::mesh::stat_name::{self, Subject};
use crate::mesh::{metrics, telemetry};
use serde_json::{Map, Value, json};

/// The cluster that a route's destination names, given the service it is about and the listener's port.
pub fn destination_cluster(destination: &Value, service: Option<&Service>, listener_port: u32) -> String {
    let host = text(&destination["host"]);
    if host.is_empty() {
        return "UnknownService".to_owned();
    }
    let host = match service {
        Some(s) if !s.external_name.is_empty() => s.external_name.as_str(),
        _ => host,
    };
    let port = if present(&destination["port"]) {
        unsigned(&destination["port"]["number"])
    } else {
        match service {
            Some(s) if s.ports.len() == 1 => s.ports[0].number,
            _ => listener_port,
        }
    };
    outbound_name(port, text(&destination["subset"]), host)
}

/// A TCP proxy filter; `fields` is its configuration without access logs.
pub fn tcp_proxy(node: &Node, class: Class, mut fields: Map<String, Value>, logged: bool) -> Value {
    if logged {
        put(&mut fields, "accessLog", Value::Array(telemetry::connection_logs(node, class)));
    }
    fields.insert(
        "@type".to_owned(),
        Value::from("type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
    );
    message! {"name": "envoy.filters.network.tcp_proxy", "typedConfig": fields}
}

/// The filters of a chain to a fixed cluster, named after it.
pub fn to_cluster(node: &Node, class: Class, cluster: &str, logged: bool) -> Vec<Value> {
    let mut fields = Map::new();
    fields.insert("statPrefix".to_owned(), Value::from(cluster));
    fields.insert("cluster".to_owned(), Value::from(cluster));
    if logged {
        put(&mut fields, "idleTimeout", canonical(&Value::from(node.metadata("IDLE_TIMEOUT"))));
    }
    let mut filters = metrics::filters(node, class);
    filters.push(tcp_proxy(node, class, fields, logged));
    filters
}

/// Where the connections of a chain go.
pub struct Destination<'a> {
    pub stat_prefix: String,
    pub cluster: String,
    pub subset: String,
    pub rule: Option<Rule<'a>>,
    /// Of the port: some protocols have a filter of their own.
    pub protocol: Protocol,
    /// Traffic of the mesh that is passed on as it is: no tunnel, and nothing to authorize here.
    pub passed_through: bool,
}

/// Filters of a chain with one destination.
pub fn single(node: &Node, class: Class, destination: &Destination) -> Vec<Value> {
    let mut fields = proxy_fields(node, destination.rule);
    fields.insert("statPrefix".to_owned(), Value::from(destination.stat_prefix.as_str()));
    fields.insert("cluster".to_owned(), Value::from(destination.cluster.as_str()));
    apply_hash(&mut fields, destination.rule, &destination.subset);
    if destination.passed_through {
        let mut filters = metrics::filters(node, class);
        filters.extend(stack(tcp_proxy(node, class, fields, true), destination.protocol));
        return filters;
    }
    apply_tunnel(&mut fields, destination.rule, &destination.subset);
    complete(node, class, tcp_proxy(node, class, fields, true), destination.protocol)
}

/// The proxy, behind the filter that reads its protocol if there is one.
fn stack(proxy: Value, protocol: Protocol) -> Vec<Value> {
    if protocol != Protocol::Mongo {
        return vec![proxy];
    }
    let reader = json!({
        "name": "envoy.filters.network.mongo_proxy",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy",
            "statPrefix": proxy["typedConfig"]["statPrefix"],
        },
    });
    vec![reader, proxy]
}

/// Idle timeout and longest duration of connections, by the rule for the first destination.
fn proxy_fields(node: &Node, rule: Option<Rule>) -> Map<String, Value> {
    let tcp = rule.map_or(&Value::Null, |r| &r.policy()["connectionPool"]["tcp"]);
    let mut fields = Map::new();
    let idle = match canonical(&tcp["idleTimeout"]) {
        Value::Null => canonical(&Value::from(node.metadata("IDLE_TIMEOUT"))),
        given => given,
    };
    put(&mut fields, "idleTimeout", idle);
    put(&mut fields, "maxDownstreamConnectionDuration", canonical(&tcp["maxConnectionDuration"]));
    fields
}

/// The authorization filters, then the proxy.
pub fn complete(node: &Node, class: Class, proxy: Value, protocol: Protocol) -> Vec<Value> {
    let mut filters = authorization::tcp_filters(node, class);
    filters.extend(metrics::filters(node, class));
    filters.extend(stack(proxy, protocol));
    filters
}

/// Filters of a `tls` or `tcp` rule: to its one destination, or by weight.
pub fn routed(node: &Node, class: Class, routes: &[Value], port: &Port, owner: &str) -> Vec<Value> {
    let Some(first) = routes.first() else { return Vec::new() };
    let service = node.scope.service(text(&first["destination"]["host"]));
    let rule = service.and_then(|s| node.scope.rule(node.proxy, &s.hostname, true));
    if routes.len() == 1 {
        let cluster = destination_cluster(&first["destination"], service.map(|s| &**s), port.number);
        return single(
            node,
            class,
            &Destination {
                stat_prefix: service
                    .and_then(|s| {
                        let subject = Subject {
                            host: text(&first["destination"]["host"]),
                            service: Some(s),
                            subset: text(&first["destination"]["subset"]),
                            port: port.number,
                            port_name: &port.name,
                            target_port: 0,
                        };
                        stat_name::outbound(node, &subject)
                    })
                    .unwrap_or_else(|| cluster.clone()),
                cluster,
                subset: text(&first["destination"]["subset"]).to_owned(),
                rule,
                protocol: port.protocol,
                passed_through: false,
            },
        );
    }
    let clusters: Vec<Value> = routes
        .iter()
        .filter(|r| unsigned(&r["weight"]) > 0)
        .map(|r| {
            let service = node.scope.service(text(&r["destination"]["host"]));
            let name = destination_cluster(&r["destination"], service.map(|s| &**s), port.number);
            json!({"name": name, "weight": unsigned(&r["weight"])})
        })
        .collect();
    let mut fields = proxy_fields(node, rule);
    fields.insert("statPrefix".to_owned(), Value::from(owner));
    fields.insert("weightedClusters".to_owned(), json!({"clusters": clusters}));
    apply_hash(&mut fields, rule, "");
    apply_tunnel(&mut fields, rule, "");
    complete(node, class, tcp_proxy(node, class, fields, true), port.protocol)
}

fn apply_hash(fields: &mut Map<String, Value>, rule: Option<Rule>, subset: &str) {
    let Some(rule) = rule else { return };
    let mut by_source = flag(&rule.policy()["loadBalancer"]["consistentHash"]["useSourceIp"]);
    if let Some(found) = rule.subset(subset) {
        let balancer = &found["trafficPolicy"]["loadBalancer"];
        if present(balancer) {
            by_source = flag(&balancer["consistentHash"]["useSourceIp"]);
        }
    }
    if by_source {
        fields.insert("hashPolicy".to_owned(), json!([{"sourceIp": {}}]));
    }
}

fn apply_tunnel(fields: &mut Map<String, Value>, rule: Option<Rule>, subset: &str) {
    let Some(rule) = rule else { return };
    let tunnel = match subset {
        "" => &rule.policy()["tunnel"],
        name => rule.subset(name).map_or(&Value::Null, |s| &s["trafficPolicy"]["tunnel"]),
    };
    if !present(tunnel) {
        return;
    }
    let host = text(&tunnel["targetHost"]);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut config = Map::new();
    config.insert("hostname".to_owned(), Value::from(format!("{host}:{}", unsigned(&tunnel["targetPort"]))));
    put(&mut config, "usePost", json!(text(&tunnel["protocol"]) == "POST"));
    fields.insert("tunnelingConfig".to_owned(), Value::Object(config));
}

/// The logs of a listener itself: connections that no chain took.
pub fn listener_logs(node: &Node, class: Class) -> Value {
    Value::Array(telemetry::listener_logs(node, class))
}

//! What a proxy should have, in the form of Envoy's own config dump (`envoy.admin.v3`), as istiod gives it: istioctl
//! compares the two. The admin messages are no resources, so they are written here and not in `proto/`.

use crate::xds::wire::Any;
use crate::xds::{ResourceType, Server};
use serde_json::{Value, json};

const ADMIN: &str = "type.googleapis.com/envoy.admin.v3.";

/// As `/debug/config_dump` shows it.
pub fn json(server: &Server, node: &str) -> Value {
    let bodies = |kind| server.wanted(node, kind).into_iter().map(|(_, body)| body);
    let clusters: Vec<Value> = bodies(ResourceType::Cluster).map(|c| json!({ "cluster": c })).collect();
    let listeners: Vec<Value> = bodies(ResourceType::Listener)
        .map(|l| json!({ "name": l["name"], "activeState": { "listener": l } }))
        .collect();
    let routes: Vec<Value> = bodies(ResourceType::Route).map(|r| json!({ "routeConfig": r })).collect();
    let endpoints: Vec<Value> = bodies(ResourceType::Endpoint).map(|e| json!({ "endpointConfig": e })).collect();
    let dump = |name: &str, field: &str, list: Vec<Value>| json!({ "@type": format!("{ADMIN}{name}"), field: list });
    json!({ "configs": [
        dump("ClustersConfigDump", "dynamicActiveClusters", clusters),
        dump("ListenersConfigDump", "dynamicListeners", listeners),
        dump("RoutesConfigDump", "dynamicRouteConfigs", routes),
        dump("EndpointsConfigDump", "dynamicEndpointConfigs", endpoints),
    ] })
}

/// As xDS carries it.
pub fn encoded(server: &Server, node: &str) -> Vec<Any> {
    let of = |kind| server.wanted(node, kind).into_iter();
    let listeners = of(ResourceType::Listener).map(|(listener, body)| DynamicListener {
        name: body["name"].as_str().unwrap_or_default().to_string(),
        active_state: Some(ListenerState { listener: Some(listener) }),
    });
    let held = |kind| of(kind).map(|(any, _)| Held { resource: Some(any) }).collect();
    vec![
        pack("ClustersConfigDump", &Clusters { dynamic_active: held(ResourceType::Cluster) }),
        pack("ListenersConfigDump", &Listeners { dynamic: listeners.collect() }),
        pack("RoutesConfigDump", &Routes { dynamic: held(ResourceType::Route) }),
    ]
}

fn pack(name: &str, message: &impl prost::Message) -> Any {
    Any { type_url: format!("{ADMIN}{name}"), value: message.encode_to_vec().into() }
}

/// `ClustersConfigDump`.
#[derive(Clone, PartialEq, prost::Message)]
struct Clusters {
    #[prost(message, repeated, tag = "3")]
    dynamic_active: Vec<Held>,
}

/// `RoutesConfigDump`.
#[derive(Clone, PartialEq, prost::Message)]
struct Routes {
    #[prost(message, repeated, tag = "3")]
    dynamic: Vec<Held>,
}

/// `DynamicCluster` and `DynamicRouteConfig` alike: the resource is their second field.
#[derive(Clone, PartialEq, prost::Message)]
struct Held {
    #[prost(message, optional, tag = "2")]
    resource: Option<Any>,
}

/// `ListenersConfigDump`.
#[derive(Clone, PartialEq, prost::Message)]
struct Listeners {
    #[prost(message, repeated, tag = "3")]
    dynamic: Vec<DynamicListener>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DynamicListener {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    active_state: Option<ListenerState>,
}

/// `DynamicListenerState`.
#[derive(Clone, PartialEq, prost::Message)]
struct ListenerState {
    #[prost(message, optional, tag = "2")]
    listener: Option<Any>,
}

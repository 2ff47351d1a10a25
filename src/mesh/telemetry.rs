//! Access logging as Telemetry objects and the mesh config ask for it.

use super::access_log;
use super::listener::Class;
use super::node::Node;
use serde_json::Value;

/// The logs of TCP proxies and HTTP connection managers.
pub fn connection_logs(node: &Node, _class: Class) -> Vec<Value> {
    access_log::of_connections(&node.push.mesh)
}

/// The logs of listeners: only connections that no chain took.
pub fn listener_logs(node: &Node, _class: Class) -> Vec<Value> {
    access_log::of_listeners(&node.push.mesh)
}

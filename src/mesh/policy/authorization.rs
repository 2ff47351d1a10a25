//! AuthorizationPolicy as RBAC filters.

use crate::mesh::listener::Class;
use crate::mesh::node::Node;
use serde_json::Value;

/// Filters before a TCP proxy.
pub fn tcp_filters(_node: &Node, _class: Class) -> Vec<Value> {
    Vec::new()
}

/// Filters of an HTTP connection manager.
pub fn http_filters(_node: &Node, _class: Class) -> Vec<Value> {
    Vec::new()
}

//! Listeners and routes of gateways.

pub mod listener;
pub mod merge;
mod passthrough;
mod route;

use super::Resource;
use super::node::Node;

/// Listeners, route configurations, and whether a server passes mesh traffic through by SNI.
pub fn build(node: &Node) -> (Vec<Resource>, Vec<Resource>, bool) {
    let Some(merged) = merge::Merged::of(node) else { return (Vec::new(), Vec::new(), false) };
    let listeners = node.patches.listeners(node, listener::build(node, &merged));
    let routes = route::build(node, &merged, &listeners);
    (listeners, routes, merged.passes_through)
}

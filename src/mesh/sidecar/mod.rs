//! Listeners and routes of sidecars.

pub mod forward_proxy;
mod inbound;
mod outbound;
mod outbound_tcp;
pub mod route;
mod virtual_outbound;

use super::Resource;
use super::node::Node;

/// All listeners of a sidecar.
pub fn listeners(node: &Node) -> Vec<Resource> {
    let mut out = outbound::build(node);
    if let Some(proxy) = outbound::http_proxy(node) {
        out.push(proxy);
    }
    out.push(virtual_outbound::build(node));
    out.extend(inbound::build(node));
    out
}

//! The xDS server: Envoy resources in proto3 JSON → protobuf → Envoy over ADS and SDS, with ACK
//! tracking. Knows Envoy's protocol and how resources refer to each other; may not know Istio.
//!
//! ```text
//! pilot ── set(node, Resources) ──▶ Server ──▶ Node (what is wanted) ──▶ Stream (what Envoy has) ──▶ Envoy
//!       ◀─ Connected, Rejected … ──        ◀─────── ACK, NACK, subscriptions ──────────────────────
//! ```

pub mod message;
mod node;
mod references;
mod resource;
mod server;
mod status;
mod subscription;
mod template;
pub mod wire;

pub use resource::{Resource, ResourceType, Resources};
pub use server::{ConnectedNode, Event, Events, Server};
pub use status::{NodeStatus, Rejection, TypeStatus};

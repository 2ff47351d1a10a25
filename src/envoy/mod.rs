//! A typed view of what an Envoy says of itself: config dumps and access-log lines.
//!
//! Reads only what scenarios ask about; everything else stays in the JSON. Does no I/O, knows neither
//! scenarios nor Kubernetes.

mod access_log;
mod cluster;
mod dump;
pub mod filter;
mod json;
mod listener;
mod log_format;
mod resources;
mod route;
pub mod table;
mod tls;

pub use access_log::{Entry, LogFormats};
pub use cluster::{Cluster, ClusterName, SocketMatch, Upstream};
pub use dump::{Dump, Endpoint};
pub use listener::{FilterChain, Listener, Target};
pub use log_format::LogFormat;
pub use resources::Resources;
pub use route::{RouteConfig, VirtualHost};
pub use tls::{TlsContext, TlsMode};

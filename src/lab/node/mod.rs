//! The node agent: runs pods as namespaces and processes of this machine. It knows the world through
//! the Kubernetes API: it watches pods and writes their status; exec, logs and port-forward come from
//! the API server.

pub mod image;
pub mod log_store;

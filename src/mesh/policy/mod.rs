//! Workload policies: who may connect and how.

pub mod authorization;
pub mod peer_authentication;

//! `egress-scn`: lab scenarios for Istio egress, as text.
//!
//! The rooms and what each may not do are described in `docs/architecture.md`.
//! A small test (`tests/rooms.rs`) holds those promises.

pub mod api;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod diag;
pub mod envoy;
pub mod expect;
pub mod explain;
pub mod istio;
pub mod kubernetes;
#[cfg(target_os = "linux")]
pub mod lab;
pub mod lsp;
pub mod mesh;
pub mod message;
pub mod plan;
pub mod report;
pub mod run;
pub mod scaffold;
pub mod syntax;
pub mod xds;

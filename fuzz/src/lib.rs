//! The rooms that read what others wrote, compiled by themselves: they need no cluster, no server and no runtime, so
//! a fuzz target is built in a fraction of the time of the whole.

#![allow(dead_code, clippy::print_stdout)]

pub mod api;
#[path = "../../src/check/mod.rs"]
pub mod check;
#[path = "../../src/diag/mod.rs"]
pub mod diag;
#[path = "../../src/envoy/mod.rs"]
pub mod envoy;
#[path = "../../src/istio/mod.rs"]
pub mod istio;
#[path = "../../src/kubernetes/mod.rs"]
pub mod kubernetes;
#[path = "../../src/mesh/mod.rs"]
pub mod mesh;
#[path = "../../src/message/mod.rs"]
pub mod message;
#[path = "../../src/plan/mod.rs"]
pub mod plan;
#[path = "../../src/syntax/mod.rs"]
pub mod syntax;

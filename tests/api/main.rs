//! The API server as real clients meet it: kube-rs holds the rules, kubectl (where there is one) the
//! look.

// Tests stop at the first surprise; a panic is how they say so.
#![allow(clippy::unwrap_used)]

#[cfg(target_os = "linux")]
mod controllers;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(target_os = "linux")]
mod kubectl;
#[cfg(target_os = "linux")]
mod kubelet;
#[cfg(target_os = "linux")]
mod lab;
#[cfg(target_os = "linux")]
mod objects;
#[cfg(target_os = "linux")]
mod streams;
#[cfg(target_os = "linux")]
mod watches;

//! The lab, end to end: the built program, real Envoys, real curl, real Kubernetes clients.
//!
//! Where the machine cannot run the lab these tests fail with the doctor's reason; with
//! `EGRESS_SCN_SKIP_LAB=1` each prints that it was skipped.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod attach;
mod breaks;
mod clients;
mod cluster_doctor;
mod explained;
mod faults;
mod ingress;
mod kept;
mod language;
mod life;
mod on_a_cluster;
mod pods;
mod program;
mod scaffold;
mod sites;
mod suite;

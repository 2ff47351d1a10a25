//! The embedded lab: namespaces, processes, node agent, controllers, pilot, internet, doctor.
//! The only room with `unsafe`. Linux only. Knows no scenarios.

pub mod account_admission;
pub mod api_door;
pub mod authority;
pub mod base;
pub mod boot;
pub mod bootstrap;
pub mod capture;
pub mod controllers;
pub mod doctor;
pub mod envoy_binary;
pub mod fabric;
pub mod folder;
pub mod internet;
pub mod istio_admission;
pub mod istio_kinds;
mod istio_openapi;
pub mod kept;
pub mod kubeconfig;
pub mod lab_kinds;
pub mod links;
pub mod namespace;
pub mod netfilter;
pub mod netlink;
pub mod network;
pub mod node;
pub mod obstacle;
pub mod pilot;
pub mod pod_files;
pub mod pod_root;
pub mod pod_server;
pub mod process;
pub mod real;
pub mod rights;
pub mod sandbox;
pub mod server;
pub mod supervisor;

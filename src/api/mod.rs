//! A Kubernetes API server subset: HTTPS with client certificates on loopback, an in-memory store
//! with watches, managed fields, tables. Knows neither Istio nor scenarios: custom resources are
//! declared by data, rules about their content come in through [`Admission`].
//!
//! A write goes `dispatch` → `write` or `patch` → `defaults`, `Admission`, `validate`, `managed` →
//! `store`; a watch reads the store's history. Everything under the store's lock is computation.

pub mod kubelet;

mod answer;
mod authorize;
mod binding;
mod builtin;
mod columns;
mod context;
mod crd;
mod defaults;
mod delete;
mod discovery;
mod dispatch;
mod exec;
mod exec_session;
mod exec_spdy;
mod exec_websocket;
mod failure;
mod fields;
mod inflate;
mod kubelet_server;
pub mod listener;
mod logs;
mod managed;
mod merge;
mod object;
mod openapi;
mod patch;
mod pod;
mod portforward;
mod protobuf;
mod read;
mod request;
mod resource;
mod review;
mod scale;
mod selector;
mod server;
mod spdy;
mod spdy_upgrade;
mod store;
mod structural;
mod table;
mod tunnel;
mod validate;
mod watch;
mod websocket;
mod write;

use crate::kubernetes::schema;
pub use context::{Admission, Operation, Review};
pub use failure::{Cause, Failure};
pub use kubelet_server::KubeletServer;
pub use object::random_suffix;
pub use resource::{Column, CustomResource, Resource};
pub use selector::LabelSelector;
pub use server::{Config, Server};
pub use store::{Key, Store};
pub use structural::{Schemas, rules_left_out};

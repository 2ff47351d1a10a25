//! What `istioctl analyze --use-kube=false --all-namespaces` finds: messages with their IST codes.
//!
//! Offline, istioctl leaves out the analyzers that ask for kinds it does not read from files (pods, nodes, secrets and
//! the like), and so does this: gateway ports, conflicting gateways, destination hosts, sidecar selectors, injection,
//! annotations and others stay silent.

mod control_plane;
mod destination_rule;
mod envoy_filter;
mod gateway;
mod service_entry;
mod telemetry;
mod validity;
mod virtual_service;
mod world;

use serde_json::Value;
use std::fmt::{Display, Formatter, Result as FormatResult};
use world::World;

/// How bad it is; the worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
    Info,
}

impl Display for Level {
    fn fmt(&self, f: &mut Formatter<'_>) -> FormatResult {
        f.write_str(match self {
            Level::Error => "Error",
            Level::Warning => "Warning",
            Level::Info => "Info",
        })
    }
}

/// The object that a message is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> FormatResult {
        write!(f, "{} {}", self.kind, world::full_name(&self.namespace, &self.name))
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `IST0101`.
    pub code: &'static str,
    pub level: Level,
    pub message: String,
    pub origin: Origin,
    /// Index of the object among those that were analyzed.
    pub object: usize,
    /// JSON pointer to the nearest place that exists in the object; empty: the object as a whole.
    pub pointer: String,
}

/// Analyzes objects together. `mesh_config` is a MeshConfig in JSON form, `null` for the defaults. Objects that do not
/// decode are left out, as are kinds that no analyzer reads. Sorted by level, code and origin.
pub fn analyze(objects: &[Value], mesh_config: &Value) -> Vec<Message> {
    let world = World::new(objects, mesh_config);
    let mut reports = Reports { objects, found: vec![] };
    validity::analyze(&world, &mut reports);
    control_plane::analyze(&world, &mut reports);
    destination_rule::analyze(&world, &mut reports);
    envoy_filter::analyze(&world, &mut reports);
    gateway::analyze(&world, &mut reports);
    service_entry::analyze(&world, &mut reports);
    telemetry::analyze(&world, &mut reports);
    virtual_service::analyze(&world, &mut reports);
    reports.sorted()
}

/// Findings as they come.
struct Reports<'a> {
    objects: &'a [Value],
    /// With the place that istioctl would show; the object as a whole where that place does not exist.
    found: Vec<(Message, String)>,
}

impl Reports<'_> {
    /// Reports a finding at a place of an object.
    fn add(&mut self, at: &world::Resource, code: &'static str, level: Level, message: String, pointer: &str) {
        let object = &self.objects[at.index];
        let exact = if object.pointer(pointer).is_some() { pointer } else { "" };
        let mut nearest = pointer;
        while object.pointer(nearest).is_none() {
            nearest = nearest.rsplit_once('/').map_or("", |(above, _)| above);
        }
        let origin = Origin { kind: at.kind.into(), namespace: at.namespace.into(), name: at.name.into() };
        let message = Message { code, level, message, origin, object: at.index, pointer: nearest.into() };
        self.found.push((message, exact.into()));
    }

    fn sorted(mut self) -> Vec<Message> {
        self.found.sort_by(|(a, a_place), (b, b_place)| {
            let key = |m: &Message| (m.level, m.code, m.origin.clone());
            key(a).cmp(&key(b)).then_with(|| (a_place, &a.message).cmp(&(b_place, &b.message)))
        });
        // What istioctl would print twice alike, it prints once.
        self.found.dedup_by(|(a, a_place), (b, b_place)| {
            a.code == b.code && a.origin == b.origin && a_place == b_place && a.message == b.message
        });
        self.found.into_iter().map(|(message, _)| message).collect()
    }
}

//! The lab's own kinds (group `lab.egress-scn.dev`): outside sites and faults; docs/sites.md. How the API server is told
//! about them, and what it refuses.

use super::internet::{Site, SpecFault};
use super::network::{Cut, Kill};
use crate::api::{Admission, Cause, Column, CustomResource, Failure, Operation, Review};
use serde_json::Value;

pub const GROUP: &str = "lab.egress-scn.dev";
pub const API_VERSION: &str = "lab.egress-scn.dev/v1";

/// (name, path)
type Shown = (&'static str, &'static str);

const KINDS: [(&str, &str, &[Shown]); 3] = [
    ("Site", "sites", &[("Hosts", ".spec.hosts"), ("Availability", ".spec.availability"), ("Status", ".spec.status")]),
    ("Cut", "cuts", &[("From", ".spec.from"), ("To", ".spec.to"), ("Effect", ".spec.effect")]),
    (
        "Kill",
        "kills",
        &[("Workload", ".spec.workload"), ("Container", ".spec.container"), ("Killed", ".status.killed")],
    ),
];

pub fn lab_kinds() -> Vec<CustomResource> {
    let resource = |(kind, plural, columns): &(&str, &str, &[Shown])| CustomResource {
        group: GROUP.into(),
        versions: vec!["v1".into()],
        kind: kind.to_string(),
        plural: plural.to_string(),
        singular: kind.to_lowercase(),
        categories: vec!["lab".into()],
        namespaced: false,
        columns: columns
            .iter()
            .map(|(name, path)| Column::new(name, "string", path, ""))
            .chain([Column::new("Age", "date", ".metadata.creationTimestamp", "")])
            .collect(),
        status: true,
        ..CustomResource::default()
    };
    KINDS.iter().map(resource).collect()
}

/// Whether the lab can do what an object of `kind` asks for.
pub fn read(kind: &str, spec: &Value) -> Result<(), SpecFault> {
    match kind {
        "Site" => Site::read(spec).map(drop),
        "Cut" => Cut::read(spec).map(drop),
        _ => Kill::read(spec).map(drop),
    }
}

/// Refuses what the lab could not do.
pub struct LabAdmission;

impl Admission for LabAdmission {
    fn admit(&self, review: &Review<'_>, object: &mut Value) -> Result<Vec<String>, Failure> {
        if review.operation == Operation::Delete || review.resource.group != GROUP {
            return Ok(vec![]);
        }
        let kind = review.resource.kind.as_str();
        read(kind, &object["spec"]).map_err(|SpecFault { field, message }| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let reason = if message.starts_with("Required") { "FieldValueRequired" } else { "FieldValueInvalid" };
            Failure::invalid(GROUP, kind, name, &[Cause { field, reason, message }])
        })?;
        Ok(vec![])
    }
}

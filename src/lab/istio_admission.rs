//! What stands between a write and the lab's store for Istio's kinds, as on a cluster: the schema of the
//! resource definition first, then istiod's validating webhook.

use crate::api::{Admission, Cause, Failure, Operation, Review, rules_left_out};
use crate::istio::validation::validate;
use serde_json::Value;

/// Refuses what a cluster would refuse, in the same words.
pub struct IstioAdmission;

impl Admission for IstioAdmission {
    fn admit(&self, review: &Review<'_>, object: &mut Value) -> Result<Vec<String>, Failure> {
        if review.operation == Operation::Delete || !review.resource.group.ends_with(".istio.io") {
            return Ok(vec![]);
        }
        let verdict = validate(object);
        if !verdict.schema.is_empty() {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let mut causes: Vec<Cause> = verdict.schema.iter().map(|fault| cause(fault)).collect();
            // What an object lacks is told behind what its fields have wrong.
            causes.sort_by_key(|cause| {
                (cause.reason == "FieldValueRequired").then(|| std::cmp::Reverse(cause.field.matches('.').count()))
            });
            causes.extend(rules_left_out(&causes));
            return Err(Failure::invalid(&review.resource.group, &review.resource.kind, name, &causes));
        }
        if !verdict.message.is_empty() {
            // A webhook that names no code and no reason: the API server answers 400 without one.
            let denied = format!("admission webhook \"validation.istio.io\" denied the request: {}", verdict.message);
            return Err(Failure::new(400, "", denied));
        }
        Ok(verdict.warnings)
    }
}

/// `spec.hosts: Required value`.
fn cause(fault: &str) -> Cause {
    let (field, message) = fault.split_once(": ").unwrap_or(("", fault));
    let reason = match message {
        m if m.starts_with("Required") => "FieldValueRequired",
        m if m.starts_with("Unsupported") => "FieldValueNotSupported",
        m if m.starts_with("Too long") => "FieldValueTooLong",
        m if m.starts_with("Too many") => "FieldValueTooMany",
        m if m.contains("in body must be of type") => "FieldValueTypeInvalid",
        _ => "FieldValueInvalid",
    };
    Cause { field: field.to_string(), reason, message: message.to_string() }
}

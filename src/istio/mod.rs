//! What Istio's resources may hold, what istiod refuses, and what `istioctl analyze` finds: pure functions
//! over the objects, in Istio's own words. Knows no other room and does no I/O.

pub mod analyze;
mod go;
pub mod schema;

pub mod validation;

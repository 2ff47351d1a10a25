//! Facts about the built-in kinds of Kubernetes: which fields they have, of which types, and what an object has wrong.
//! Pure; the API server and `check` read the same table.

pub mod schema;
pub mod types;

//! The embedded lab: namespaces, processes, node agent, controllers, pilot, internet, doctor.
//! The only room with `unsafe`. Linux only. Knows no scenarios.

pub mod authority;
pub mod node;

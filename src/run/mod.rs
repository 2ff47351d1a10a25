//! The interpreter: probes, waiting, journal. It knows the world only through `cluster`, emits
//! [`event::Event`]s and never prints.

pub mod event;

//! The subcommands that look at scenarios without running them, through the built program, as a person, a script or
//! an editor drives them.

#![allow(clippy::unwrap_used)]

mod editors;
mod explained;
mod layout;
mod listing;
mod lsp;
mod manual;
#[path = "../mutated/mod.rs"]
#[allow(dead_code)]
mod mutated;
mod program;
mod scaffold;

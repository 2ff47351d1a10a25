//! The subcommands that look at scenarios without running them, through the built program, as a person, a script or
//! an editor drives them.

#![allow(clippy::unwrap_used)]

mod listing;
mod manual;
mod program;

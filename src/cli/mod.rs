//! The command line: one file a subcommand. Holds no logic of its own.

pub mod target;

//! What the subcommands print alike: JSON and YAML, diagnostics, and text that a closed pipe may cut.

use crate::diag::{Diagnostic, render};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;
use std::io::{IsTerminal, Write};

/// How Envoy's resources are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// istioctl's columns.
    #[value(alias = "short")]
    Table,
    Json,
    Yaml,
}

/// Prints to standard output. A reader that went away (`| head`) is no error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// JSON with istioctl's indent of four, or YAML.
pub fn document(value: &Value, format: Format) -> String {
    if format == Format::Yaml {
        // A JSON value has nothing that YAML lacks.
        return serde_yaml::to_string(value).unwrap_or_default();
    }
    let mut out = vec![];
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // Writing a JSON value to memory cannot fail.
    let _ = value.serialize(&mut serializer);
    String::from_utf8_lossy(&out).into_owned() + "\n"
}

/// Prints diagnostics to standard error; gives back the exit code.
#[allow(clippy::print_stderr)]
pub fn problems(diagnostics: &[Diagnostic], code: i32) -> i32 {
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for diagnostic in diagnostics {
        eprintln!("{}\n", render(diagnostic, color).trim_end());
    }
    code
}

/// Prints remarks to standard error.
#[allow(clippy::print_stderr)]
pub fn remarks<'a>(mark: &str, lines: impl IntoIterator<Item = &'a String>) {
    lines.into_iter().for_each(|line| eprintln!("{mark}: {line}"));
}

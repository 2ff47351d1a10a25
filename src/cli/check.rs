//! `egress-scn check`: everything that can be said about scenarios without running them.

use crate::check;
use crate::diag::{Diagnostic, Severity, render};
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Check {
    /// Scenario files, or folders of them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    #[allow(clippy::print_stdout)]
    pub fn run(self) -> i32 {
        match check::only(&self.files) {
            Ok(checked) => {
                show(&checked.warnings, 0);
                let (scenarios, steps) = (checked.scenarios, checked.steps);
                println!("{scenarios} scenarios, {steps} steps, {} warnings, no errors", checked.warnings.len());
                0
            }
            Err(problems) => show(&problems, 2),
        }
    }
}

/// Prints diagnostics to standard error; gives back the exit code.
#[allow(clippy::print_stderr)]
pub(super) fn show(diagnostics: &[Diagnostic], code: i32) -> i32 {
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for diagnostic in diagnostics {
        eprintln!("{}\n", render(diagnostic, color).trim_end());
    }
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    if errors > 0 {
        eprintln!("{errors} error{} found; nothing was run", if errors == 1 { "" } else { "s" });
    }
    code
}

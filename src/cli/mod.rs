//! The command line: one file a subcommand. Holds no logic of its own.

pub mod analyze;
pub mod check;
pub mod completions;
mod confirm;
pub mod diff_config;
pub mod doctor;
pub mod explain;
pub mod fmt;
pub mod lab;
pub mod list;
pub mod lsp;
pub mod new;
mod offline;
mod output;
pub mod plan;
pub mod proxy_config;
pub mod run;
mod select;
pub mod target;
pub mod validate;

use crate::diag::render::visible;
use clap::{Parser, Subcommand};

/// Runs Istio egress lab scenarios: on a cluster, or on real Envoys on this machine.
#[derive(Debug, Parser)]
#[command(name = "egress-scn", version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios and compare what is expected with what happens.
    Run(run::Run),
    /// Check scenarios and their manifests without running anything.
    Check(check::Check),
    /// List scenarios: where they stand, their tags, their titles.
    List(list::List),
    /// Show the typed plan: every step of every scenario, with its manifests and its places.
    Plan(plan::Plan),
    /// Bring the embedded lab up for kubectl, istioctl and curl.
    Lab(lab::Lab),
    /// Say whether this machine can run the embedded lab, and what would mend it.
    Doctor(doctor::Doctor),
    /// Show a proxy's Envoy configuration: from YAML files as istiod would generate it, or from a running pod.
    #[command(visible_alias = "pc")]
    ProxyConfig(proxy_config::ProxyConfig),
    /// Show what a change of YAML changes in a proxy's Envoy; exit 1 when something does.
    DiffConfig(diff_config::DiffConfig),
    /// Say what would be refused of Istio documents: unknown fields, schema, istiod's webhook.
    Validate(validate::Validate),
    /// Find what `istioctl analyze` finds offline, with its codes.
    Analyze(analyze::Analyze),
    /// Begin a scenario: write one with its manifests into this folder, ready to run.
    New(new::New),
    /// Lay scenario files out.
    Fmt(fmt::Fmt),
    /// Explain a diagnostic's code, or scenarios: in plain words, with the commands a person would type.
    Explain(explain::Explain),
    /// Serve an editor: the language server, over standard input and output.
    Lsp(lsp::Lsp),
    /// Print the completion script of a shell.
    Completions(completions::Completions),
    /// Print the manual page, in roff: `egress-scn man | man -l -`.
    Man(completions::Man),
}

/// Runs the command line; the result is the exit code.
#[allow(clippy::print_stderr)]
pub fn main() -> i32 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; everything else is bad usage.
            let code = if error.use_stderr() { 2 } else { 0 };
            // What was typed is shown, never sent to the terminal as it came.
            match code {
                0 => drop(error.print()),
                _ => eprint!("{}", visible(&error.render().to_string())),
            }
            return code;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}"), 3),
    };
    let code = runtime.block_on(async {
        match cli.command {
            Command::Run(command) => command.run().await,
            Command::Check(command) => command.run(),
            Command::List(command) => command.run(),
            Command::Lsp(command) => command.run(),
            Command::New(command) => command.run(),
            Command::Plan(command) => command.run(),
            Command::Completions(command) => command.run(),
            Command::Man(command) => command.run(),
            Command::Lab(command) => command.run().await,
            Command::Doctor(command) => command.run().await,
            Command::ProxyConfig(command) => command.run().await,
            Command::DiffConfig(command) => command.run(),
            Command::Validate(command) => command.run(),
            Command::Analyze(command) => command.run(),
            Command::Fmt(command) => command.run(),
            Command::Explain(command) => command.run(),
        }
    });
    // A reader of standard input or a follower of a log must not hold the exit up.
    runtime.shutdown_background();
    code
}

/// Ctrl-C, or SIGTERM as `kill` and service supervisors send it: from this call on, polled or not.
#[cfg(unix)]
pub(crate) fn interrupted() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let both = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        match both {
            (Ok(mut interrupt), Ok(mut terminate)) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            // A process that may not listen for signals is ended by them.
            _ => std::future::pending().await,
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Prints an error of the command line itself.
#[allow(clippy::print_stderr)]
pub(crate) fn fail(message: &str, code: i32) -> i32 {
    eprintln!("error: {}", visible(message));
    code
}

//! `egress-scn lab`: the embedded lab for kubectl, istioctl and curl.

#[cfg(target_os = "linux")]
mod down;
#[cfg(target_os = "linux")]
mod logs;
#[cfg(target_os = "linux")]
mod shell;
#[cfg(target_os = "linux")]
mod status;
#[cfg(target_os = "linux")]
mod up;

use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Lab {
    #[command(subcommand)]
    command: LabCommand,
}

/// Which of several labs; one is up at most times.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The lab of this name, where several are up.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Up {
    /// Leave the lab up in the background; `lab down` ends it.
    #[arg(short, long)]
    detach: bool,
    /// Add the lab's context to this kubeconfig, as the current one, until the lab ends.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A name, to have several labs up; the context is `egress-scn-NAME`.
    #[arg(long, value_name = "NAME", default_value = "lab", value_parser = name)]
    name: String,
    /// With an ingress gateway, and a client outside the cluster (deploy/client in namespace outside).
    #[arg(long)]
    ingress: bool,
    /// Give up when nothing has happened for so many seconds while pods start.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    #[command(flatten)]
    parts: Parts,
}

/// Each is a path, and goes before its environment variable.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Real parts in place of the lab's own")]
pub struct Parts {
    /// istiod's program, pilot-discovery [env: EGRESS_SCN_ISTIOD].
    #[arg(long, value_name = "PATH")]
    istiod: Option<PathBuf>,
    /// kube-apiserver, which wants the next two [env: EGRESS_SCN_KUBE_APISERVER].
    #[arg(long, value_name = "PATH")]
    kube_apiserver: Option<PathBuf>,
    /// etcd, for the kube-apiserver [env: EGRESS_SCN_ETCD].
    #[arg(long, value_name = "PATH")]
    etcd: Option<PathBuf>,
    /// kube-controller-manager, for garbage collection and the end of namespaces [env: EGRESS_SCN_KUBE_CONTROLLER_MANAGER].
    #[arg(long, value_name = "PATH")]
    kube_controller_manager: Option<PathBuf>,
    /// Istio's CustomResourceDefinitions (crd-all.gen.yaml), for the kube-apiserver [env: EGRESS_SCN_ISTIO_CRDS].
    #[arg(long, value_name = "FILE")]
    istio_crds: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Start the lab and keep it until Ctrl-C, or, with --detach, until `lab down`.
    Up(Up),
    /// End a lab that is up, and all that is in it.
    Down {
        #[command(flatten)]
        which: Which,
        /// End every lab that is up.
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Show what is up: pods, ports, sites, kubeconfig. Exit 0 if all is ready, 1 if not, 3 if no lab is up.
    Status {
        #[command(flatten)]
        which: Which,
        /// As text, or as JSON.
        #[arg(short, long, value_enum, default_value = "text")]
        output: StatusForm,
    },
    /// Open a shell whose kubectl and istioctl talk to the lab, or run a command so.
    Shell {
        #[command(flatten)]
        which: Which,
        /// Run this instead of a shell.
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Print the lab's own log; pods' logs are kubectl's to show.
    Logs {
        #[command(flatten)]
        which: Which,
        /// Go on printing until the lab ends.
        #[arg(short, long)]
        follow: bool,
    },
    /// What `up --detach` leaves running.
    #[command(hide = true, name = "__keep")]
    Keep(Up),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum StatusForm {
    Text,
    Json,
}

#[cfg(target_os = "linux")]
fn name(given: &str) -> Result<String, String> {
    crate::lab::kept::check_name(given)
}

#[cfg(not(target_os = "linux"))]
fn name(given: &str) -> Result<String, String> {
    Ok(given.to_string())
}

impl Lab {
    #[cfg(target_os = "linux")]
    pub async fn run(self) -> i32 {
        match self.command {
            LabCommand::Up(up) if up.detach => up::detached(up).await,
            LabCommand::Up(up) => up::here(up).await,
            LabCommand::Keep(up) => up::keep(up).await,
            LabCommand::Down { which, all } => down::run(which.name.as_deref(), all),
            LabCommand::Status { which, output } => status::run(which.name.as_deref(), output).await,
            LabCommand::Shell { which, command } => shell::run(which.name.as_deref(), &command),
            LabCommand::Logs { which, follow } => logs::run(which.name.as_deref(), follow).await,
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub async fn run(self) -> i32 {
        super::fail("the lab runs on Linux only; give a cluster with --context NAME", 3)
    }
}

/// A kept lab, or the exit code of a command that has none.
#[cfg(target_os = "linux")]
fn find(name: Option<&str>) -> Result<crate::lab::kept::Kept, i32> {
    use crate::lab::kept;
    kept::find(name).map_err(|message| {
        let code = super::fail(&message, 3);
        if let Some((path, _)) = kept::last_words(name.unwrap_or(kept::DEFAULT_NAME)) {
            super::output::remarks("note", [&format!("the last one ended by itself; its log: {}", path.display())]);
        }
        code
    })
}

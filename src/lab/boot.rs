//! Starts a lab from the tool's side: its folder, its process, and the wait until it is ready. The lab
//! lives as long as the [`Lab`] value: a pipe ties the process to it, `kill -9` included.

use super::envoy_binary::Surroundings;
use super::folder::{self, Folder, write_private};
use super::real::RealParts;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// The hidden subcommand, dispatched in `main` before any thread exists.
pub const SUBCOMMAND: &str = "__lab";
/// File names inside the folder.
pub const OPTIONS: &str = "lab.json";
pub const KUBECONFIG: &str = "kubeconfig";
pub const LOG: &str = "lab.log";

/// What the tool tells the lab process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    pub envoy: PathBuf,
    #[serde(default)]
    pub real: RealParts,
    /// What the kubeconfig calls the lab's cluster, user and context.
    pub context: String,
    /// How long the boot may go on without anything happening.
    pub ready_within: Duration,
    /// With an ingress gateway and an outside client.
    #[serde(default)]
    pub ingress: bool,
}

/// What the lab process tells the tool, a JSON line each on its standard output.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Set-up goes on: what is being done.
    Doing(String),
    Ready,
    /// The lab cannot come up.
    Failed(String),
}

#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error("this machine cannot run the lab: {0}")]
    Machine(String),
    #[error("{0}")]
    Parts(String),
    #[error("the lab did not come up: {0}")]
    Lab(String),
    #[error("cannot {0}: {1}")]
    Io(&'static str, std::io::Error),
}

/// How a lab is to be started.
#[derive(Debug, Clone)]
pub struct Start {
    /// The lab's process is this `egress-scn`.
    pub program: PathBuf,
    pub context: String,
    /// How long the boot may go on without anything happening.
    pub ready_within: Duration,
    /// With an ingress gateway and an outside client.
    pub ingress: bool,
    /// Before those that the environment names.
    pub real: RealParts,
}

/// The boot takes a second or two; a machine under load many times as long.
pub const READY_WITHIN: Duration = Duration::from_secs(60);

impl Start {
    /// A lab of this program, for a run.
    pub fn new() -> Result<Start, BootError> {
        let program = std::env::current_exe().map_err(|error| BootError::Io("find this program", error))?;
        Ok(Start::with(&program))
    }

    pub fn with(program: &Path) -> Start {
        let context = super::kubeconfig::context_name(super::kept::DEFAULT_NAME);
        let real = RealParts::default();
        Start { program: program.to_owned(), context, ready_within: READY_WITHIN, ingress: false, real }
    }
}

type Progress = Arc<dyn Fn(String) + Send + Sync>;

/// A lab that has its folder and its Envoy, and is yet to be booted.
pub struct Prepared {
    folder: Folder,
    program: PathBuf,
    progress: Progress,
}

/// A running lab. Dropping it ends every process, mount and namespace of it, and its folder.
#[derive(Debug)]
pub struct Lab {
    folder: Folder,
    child: Child,
    /// While this end is open, the lab lives.
    tie: Option<ChildStdin>,
}

impl Lab {
    /// Boots a lab: finds (or fetches, once) Envoy, starts the lab process, waits until its pods are
    /// ready. `progress` hears what is being done.
    pub async fn start(progress: impl Fn(String) + Send + Sync + 'static) -> Result<Lab, BootError> {
        Lab::prepare(Start::new()?, progress).await?.boot().await
    }

    /// As [`Lab::start`], with the lab's process being another `egress-scn` than this program.
    pub async fn start_with(
        program: &Path,
        progress: impl Fn(String) + Send + Sync + 'static,
    ) -> Result<Lab, BootError> {
        Lab::prepare(Start::with(program), progress).await?.boot().await
    }

    /// Finds (or fetches, once) Envoy and makes the lab's folder.
    pub async fn prepare(
        start: Start,
        progress: impl Fn(String) + Send + Sync + 'static,
    ) -> Result<Prepared, BootError> {
        let progress: Progress = Arc::new(progress);
        let fetch = progress.clone();
        let envoy =
            tokio::task::spawn_blocking(move || Surroundings::of_process().find(&mut |text| fetch(text.to_string())))
                .await
                .map_err(|error| BootError::Machine(error.to_string()))?
                .map_err(|error| BootError::Machine(error.to_string()))?;
        let Start { program, context, ready_within, ingress, real } = start;
        let real = real.or_of_environment().map_err(BootError::Parts)?;
        let folder = Folder::create().map_err(|error| BootError::Io("make the lab's folder", error))?;
        let options = Options { envoy: envoy.path, real, context, ready_within, ingress };
        let options = serde_json::to_string(&options).map_err(|e| BootError::Lab(e.to_string()))?;
        write_private(&folder.path().join(OPTIONS), &options)
            .map_err(|e| BootError::Io("write the lab's options", e))?;
        Ok(Prepared { folder, program, progress })
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join(KUBECONFIG)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the lab and waits until all of it is gone.
    pub async fn stop(mut self) {
        drop(self.tie.take());
        // The supervisor ends by itself when the tie is cut; its exit code says nothing more.
        let _ = self.child.wait().await;
    }

    /// Resolves when the lab process ends by itself.
    pub async fn ended(&mut self) {
        let _ = self.child.wait().await;
    }

    /// The end of the lab's own log, for errors.
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

/// How much of the lab's own log an error shows.
const LAST_LINES: usize = 12;

impl Prepared {
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the lab process and waits until its pods are ready.
    pub async fn boot(self) -> Result<Lab, BootError> {
        let Prepared { folder, program, progress } = self;
        let log =
            folder::create_private(&folder.path().join(LOG)).map_err(|e| BootError::Io("write the lab's log", e))?;
        let mut child = Command::new(program)
            .arg(SUBCOMMAND)
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C is the tool's to hear: the lab must outlive it for the undo.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| BootError::Io("start the lab process", error))?;
        let tie = child.stdin.take();
        let Some(stdout) = child.stdout.take() else { return Err(BootError::Lab("no output to read".into())) };
        let lab = Lab { folder, child, tie };
        let mut words = BufReader::new(stdout).lines();
        loop {
            let line = words.next_line().await.map_err(|error| BootError::Io("read from the lab process", error))?;
            match line.as_deref().map(serde_json::from_str::<Word>) {
                Some(Ok(Word::Doing(text))) => progress(text),
                Some(Ok(Word::Ready)) => return Ok(lab),
                Some(Ok(Word::Failed(why))) => {
                    return Err(BootError::Lab(why + &told("the lab's log", &lab.last_words())));
                }
                // Not ours: a library that prints. The log has it all.
                Some(Err(_)) => {}
                None => {
                    let why = "its process ended without a word".to_string();
                    return Err(BootError::Lab(why + &told("the lab's log", &lab.last_words())));
                }
            }
        }
    }
}

/// A block of further lines under a heading; nothing if there are none.
fn told(heading: &str, lines: &str) -> String {
    if lines.trim().is_empty() {
        String::new()
    } else {
        format!("\n  {heading}:\n    {}", lines.replace('\n', "\n    "))
    }
}

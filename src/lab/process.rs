//! A process in a pod's sandbox, with pipes that tokio serves. Its end, by itself or by force, leaves no process behind
//! that belongs to its group.

use super::terminal::Terminal;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// Held shared while a process is started, alone while the mounts of a pod that sees the host are prepared.
static STARTING: RwLock<()> = RwLock::new(());

/// Keeps processes from being started as long as it lives. Between its fork and its exec a new process holds a copy of
/// every open file of the lab; one that is open for writing then keeps its mount from being made read-only (EBUSY).
pub(super) fn nothing_starts() -> RwLockWriteGuard<'static, ()> {
    STARTING.write().unwrap_or_else(PoisonError::into_inner)
}

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct ProcessSpec {
    /// The program, looked up in the `PATH` of `env` unless it has a slash, and its arguments.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// `None`: the root directory, as in a container.
    pub cwd: Option<PathBuf>,
    /// Whether standard input is a pipe; else it is at its end from the start.
    pub stdin: bool,
    /// A terminal in place of pipes: standard input is there then, and standard error comes with the output.
    pub tty: bool,
}

/// A process that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A shell's exit code for it is 127.
    #[error("{0:?}: executable file not found in $PATH")]
    NotFound(String),
    /// A shell's exit code for it is 126.
    #[error("{program}: {source}")]
    Failed { program: String, source: io::Error },
}

/// The group leaders that live, so that a sandbox can end them all.
#[derive(Clone, Default)]
pub(super) struct LiveProcesses {
    groups: Arc<Mutex<BTreeSet<i32>>>,
}

impl LiveProcesses {
    fn change<T>(&self, change: impl FnOnce(&mut BTreeSet<i32>) -> T) -> T {
        // A set of numbers is whole whenever its lock is free, even after a panic elsewhere.
        change(&mut self.groups.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn kill_all(&self) {
        self.change(|groups| {
            for group in groups.iter() {
                let _: Result<(), Errno> = killpg(Pid::from_raw(*group), Signal::SIGKILL);
            }
        });
    }
}

/// A started process, leader of a process group of its own. Dropping it kills the group.
pub struct Process {
    child: Child,
    group: i32,
    live: LiveProcesses,
    /// Present if asked for. Closing it is the end of the process's input.
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<ChildStdout>,
    pub stderr: Option<ChildStderr>,
    /// Present if asked for.
    pub terminal: Option<Terminal>,
}

impl Process {
    /// Starts a process in the namespaces of the calling thread. Needs a tokio runtime to be entered.
    pub(super) fn start(spec: &ProcessSpec, live: LiveProcesses) -> Result<Process, SpawnError> {
        let name = spec.argv.first().cloned().unwrap_or_default();
        let program = find_program(&name, spec).ok_or_else(|| SpawnError::NotFound(name.clone()))?;
        let mut command = Command::new(&program);
        command.args(&spec.argv[1..]).env_clear().envs(spec.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(spec.cwd.as_deref().unwrap_or(Path::new("/")));
        command.arg0(&name).kill_on_drop(true);
        let failed = |source| SpawnError::Failed { program: name.clone(), source };
        let terminal = match spec.tty {
            // A new session is a process group too.
            true => Some(Terminal::open(&mut command).map_err(failed)?),
            false => {
                command.process_group(0).stdin(if spec.stdin { Stdio::piped() } else { Stdio::null() });
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                None
            }
        };
        let child = {
            // Returns when the program runs, or could not be.
            let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
            command.spawn().map_err(failed)?
        };
        // A child just started, whose end nobody has waited for, has its id.
        let group = child.id().unwrap_or_default() as i32;
        live.change(|groups| groups.insert(group));
        // The far end is the process's alone: the output ends with the last that has it.
        drop(command);
        let mut process = Process { group, live, stdin: None, stdout: None, stderr: None, terminal, child };
        match &process.terminal {
            Some(terminal) => {
                let (stdin, stdout) = terminal.streams().map_err(failed)?;
                (process.stdin, process.stdout) = (Some(stdin), Some(stdout));
            }
            None => {
                let child = &mut process.child;
                (process.stdin, process.stdout) = (child.stdin.take(), child.stdout.take());
                process.stderr = child.stderr.take();
            }
        }
        Ok(process)
    }

    /// The process's number in the lab.
    pub fn id(&self) -> i32 {
        self.group
    }

    /// Waits for its end: its exit code, or 128 + N if signal N ended it. Safe to cancel and to call again.
    pub async fn wait(&mut self) -> io::Result<i32> {
        let status = self.child.wait().await?;
        self.live.change(|groups| groups.remove(&self.group));
        Ok(exit_code(status))
    }

    /// Sends a signal to the process and to all of its group. Nothing happens if it has ended.
    pub fn signal(&self, signal: Signal) {
        // The number stays the process's own until its end was waited for.
        if self.live.change(|groups| groups.contains(&self.group)) {
            let _: Result<(), Errno> = killpg(Pid::from_raw(self.group), signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        self.live.change(|groups| groups.remove(&self.group));
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// By the pod's own `PATH`, not the lab's. An absolute program also lets the standard library start it without a fork.
fn find_program(name: &str, spec: &ProcessSpec) -> Option<PathBuf> {
    const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    if name.is_empty() {
        return None;
    }
    let runs = |path: &Path| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        let path = spec.cwd.as_deref().unwrap_or(Path::new("/")).join(name);
        return path.exists().then_some(path);
    }
    let path = spec.env.iter().find(|(key, _)| key == "PATH").map_or(USUAL, |(_, value)| value);
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|path| runs(path))
}

//! A real part as a process of the lab, beside the lab's server: on the host's loopback, its output in the lab's
//! folder.

use crate::lab::process::{LiveProcesses, Process, ProcessSpec};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt};

/// Between two looks whether a part answers: it tells nobody when it begins to.
const LOOK: Duration = Duration::from_millis(50);
/// How many of its last lines an error quotes.
const LAST_LINES: usize = 5;

/// A running part. It ends when dropped.
pub struct Part {
    name: &'static str,
    process: Process,
    log: PathBuf,
}

impl Part {
    /// Starts a program with its output going to `NAME.log` in the lab's folder.
    pub fn start(name: &'static str, argv: Vec<String>, folder: &Path) -> Result<Part, String> {
        let log = folder.join(format!("{name}.log"));
        let failed = |error: &dyn std::fmt::Display| format!("starting {name}: {error}");
        let env =
            vec![("PATH".to_string(), "/usr/bin:/bin".to_string()), ("HOME".into(), folder.display().to_string())];
        let spec = ProcessSpec { argv, env, cwd: Some(folder.to_owned()), ..ProcessSpec::default() };
        let mut process = Process::start(&spec, LiveProcesses::default()).map_err(|error| failed(&error))?;
        crate::lab::folder::write_private(&log, "").map_err(|error| failed(&error))?;
        for output in [
            process.stdout.take().map(|out| Box::new(out) as Box<dyn AsyncRead + Send + Unpin>),
            process.stderr.take().map(|out| Box::new(out) as Box<dyn AsyncRead + Send + Unpin>),
        ]
        .into_iter()
        .flatten()
        {
            tokio::spawn(keep(output, log.clone()));
        }
        Ok(Part { name, process, log })
    }

    /// Waits until `answers` says yes.
    ///
    /// # Errors
    /// The part ended before, with its last words.
    pub async fn wait_until<F: Future<Output = bool>>(&mut self, mut answers: impl FnMut() -> F) -> Result<(), String> {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                ended = self.process.wait() => return Err(self.ended(ended)),
                _ = looks.tick() => {}
            }
            if answers().await {
                return Ok(());
            }
        }
    }

    /// Waits for its end, which is a failure: parts live as long as the lab.
    pub async fn fails(mut self) -> String {
        let ended = self.process.wait().await;
        self.ended(ended)
    }

    fn ended(&self, ended: std::io::Result<i32>) -> String {
        let how = ended.map_or_else(|error| error.to_string(), |code| format!("exit code {code}"));
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
        format!("{} ended by itself ({how}):\n  {last}", self.name)
    }
}

async fn keep(mut output: impl AsyncRead + Unpin, log: PathBuf) {
    let Ok(mut file) = tokio::fs::OpenOptions::new().append(true).open(log).await else { return };
    // A full disk costs the log, not the part: it must not wait for us to read.
    if tokio::io::copy(&mut output, &mut file).await.is_err() {
        let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    }
    let _ = file.flush().await;
}

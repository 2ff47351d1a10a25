//! The undo journal: what every change replaced, on disk before the change is made.
//!
//! One JSON value a line. The first line says which target; then, for each change, its intent with the
//! object as it was, whole; what the change left (`done`); and `undone`. The file is removed when all is
//! undone, so a file that is there belongs to a run that is alive or was killed.

use crate::cluster::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Raised when a line's meaning changes.
pub const VERSION: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "camelCase")]
pub enum Line {
    /// The target, as it can be found again.
    #[serde(rename_all = "camelCase")]
    Target {
        version: u32,
        /// The API server's URL.
        server: String,
        /// The uid of its namespace kube-system: the same cluster under another URL.
        cluster_uid: Option<String>,
        /// The name under which the run addressed it (a kubeconfig context, or the lab).
        name: String,
        pid: u32,
        /// RFC 3339.
        started: String,
    },
    /// Written before the change.
    #[serde(rename_all = "camelCase")]
    Intent {
        number: u64,
        scenario: String,
        action: Action,
        api_version: String,
        kind: String,
        plural: String,
        namespaced: bool,
        namespace: String,
        name: String,
        /// The object as it was, whole, with managed fields; `null` where there was none.
        before: Option<Value>,
    },
    /// The change was made: what it left.
    #[serde(rename_all = "camelCase")]
    Done { number: u64, uid: Option<String>, resource_version: Option<String> },
    /// The change is undone.
    Undone { number: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Apply,
    Delete,
    Patch,
}

/// Where journals are kept, and how safely.
#[derive(Debug, Clone)]
pub struct Keeping {
    pub folder: PathBuf,
    /// Reach the disk before the change is made. Not for a lab whose objects die with it.
    pub durable: bool,
}

impl Keeping {
    /// `$XDG_STATE_HOME/egress-scn/journal`, else `~/.local/state/egress-scn/journal`.
    pub fn of_user() -> Option<Keeping> {
        let state = match std::env::var_os("XDG_STATE_HOME").filter(|v| Path::new(v).is_absolute()) {
            Some(state) => PathBuf::from(state),
            None => PathBuf::from(std::env::var_os("HOME")?).join(".local/state"),
        };
        Some(Keeping { folder: state.join("egress-scn/journal"), durable: true })
    }
}

/// An open journal. The file appears with the first change.
pub struct Journal {
    keeping: Keeping,
    target: Line,
    open: Option<(File, PathBuf)>,
    next: u64,
    /// Changes that are not undone.
    pending: usize,
}

impl Journal {
    /// `target` must be a [`Line::Target`].
    pub fn new(keeping: Keeping, target: Line) -> Journal {
        Journal { keeping, target, open: None, next: 1, pending: 0 }
    }

    /// The number of the next change.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Writes intents; when it returns, they survive a crash.
    pub fn intend(&mut self, intents: &[Line]) -> std::io::Result<()> {
        if intents.is_empty() {
            return Ok(());
        }
        self.write(intents, self.keeping.durable)?;
        self.pending += intents.len();
        Ok(())
    }

    /// Notes what a change left. Not synced: without it, recovery looks at the object itself.
    pub fn done(&mut self, number: u64, uid: Option<String>, resource_version: Option<String>) -> std::io::Result<()> {
        self.write(&[Line::Done { number, uid, resource_version }], false)
    }

    pub fn undone(&mut self, number: u64) -> std::io::Result<()> {
        self.pending = self.pending.saturating_sub(1);
        self.write(&[Line::Undone { number }], false)
    }

    /// Removes the file if everything is undone; otherwise returns where it is kept.
    pub fn close(&mut self) -> Option<PathBuf> {
        let (_, path) = self.open.take()?;
        if self.pending > 0 {
            return Some(path);
        }
        match std::fs::remove_file(&path) {
            Ok(()) => None,
            Err(_) => Some(path),
        }
    }

    fn write(&mut self, lines: &[Line], sync: bool) -> std::io::Result<()> {
        let mut text = vec![];
        if self.open.is_none() {
            self.open = Some(create(&self.keeping.folder)?);
            push(&mut text, &self.target)?;
        }
        for line in lines {
            push(&mut text, line)?;
        }
        let Some((file, _)) = &mut self.open else { return Ok(()) };
        file.write_all(&text)?;
        match sync {
            true => file.sync_data(),
            false => Ok(()),
        }
    }
}

fn push(text: &mut Vec<u8>, line: &Line) -> std::io::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

/// Makes the folder (0700) and a new file in it (0600).
fn create(folder: &Path) -> std::io::Result<(File, PathBuf)> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        builder.mode(0o700);
        options.mode(0o600);
    }
    builder.create(folder)?;
    let path = folder.join(format!("{}-{}.jsonl", std::process::id(), uuid::Uuid::new_v4()));
    let file = options.open(&path)?;
    // The name itself must survive too.
    File::open(folder)?.sync_all()?;
    Ok((file, path))
}

/// Reads a journal back. A last line cut short by a crash is left out.
pub fn read(path: &Path) -> std::io::Result<Vec<Line>> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = vec![];
    for (i, line) in text.lines().enumerate() {
        match serde_json::from_str(line) {
            Ok(line) => lines.push(line),
            Err(_) if !text.ends_with('\n') && i + 1 == text.lines().count() => break,
            Err(error) => return Err(std::io::Error::other(format!("line {}: {error}", i + 1))),
        }
    }
    Ok(lines)
}

/// A [`Line::Target`] of now.
pub fn target(server: &str, cluster_uid: Option<String>, name: &str) -> Line {
    Line::Target {
        version: VERSION,
        server: server.to_owned(),
        cluster_uid,
        name: name.to_owned(),
        pid: std::process::id(),
        started: jiff::Timestamp::now().to_string(),
    }
}

/// A [`Line::Intent`].
pub fn intent(
    number: u64,
    scenario: &str,
    action: Action,
    kind: &Kind,
    (namespace, name): (&str, &str),
    before: Option<Value>,
) -> Line {
    Line::Intent {
        number,
        scenario: scenario.to_owned(),
        action,
        api_version: kind.api_version.clone(),
        kind: kind.kind.clone(),
        plural: kind.plural.clone(),
        namespaced: kind.namespaced,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn journal(folder: &Path) -> Journal {
        Journal::new(Keeping { folder: folder.join("j"), durable: true }, target("https://a:6443", None, "kind"))
    }

    fn gateway(number: u64, before: Option<Value>) -> Line {
        let kind = Kind {
            api_version: "networking.istio.io/v1".into(),
            kind: "Gateway".into(),
            plural: "gateways".into(),
            namespaced: true,
        };
        intent(number, "등록 외부", Action::Apply, &kind, ("mesh-test", "egress"), before)
    }

    fn only_file(folder: &Path) -> PathBuf {
        std::fs::read_dir(folder.join("j")).unwrap().next().unwrap().unwrap().path()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = journal(folder.path());
        assert!(!folder.path().join("j").exists(), "no file before the first change");
        let before = json!({"metadata": {"name": "egress", "managedFields": [{"manager": "kubectl"}]}});
        let number = journal.number();
        journal.intend(&[gateway(number, Some(before))]).unwrap();
        journal.done(number, Some("u".into()), Some("7".into())).unwrap();
        let lines = read(&only_file(folder.path())).unwrap();
        assert!(matches!(&lines[0], Line::Target { version: VERSION, server, .. } if server == "https://a:6443"));
        let Line::Intent { before: Some(before), scenario, .. } = &lines[1] else { panic!("{lines:?}") };
        assert_eq!(before["metadata"]["managedFields"][0]["manager"], "kubectl");
        assert_eq!(scenario, "등록 외부");
        assert_eq!(lines[2], Line::Done { number, uid: Some("u".into()), resource_version: Some("7".into()) });
    }

    #[test]
    #[cfg(unix)]
    fn nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mut journal = journal(folder.path());
        journal.intend(&[gateway(1, None)]).unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&only_file(folder.path())), 0o600);
        assert_eq!(mode(&folder.path().join("j")), 0o700);
    }

    #[test]
    fn the_file_goes_when_all_is_undone_and_stays_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = journal(folder.path());
        journal.intend(&[gateway(1, None), gateway(2, None)]).unwrap();
        journal.undone(2).unwrap();
        let kept = journal.close().expect("one change is not undone");
        assert!(kept.exists());
        let mut second = Journal::new(journal.keeping.clone(), journal.target.clone());
        second.intend(&[gateway(1, None)]).unwrap();
        second.undone(1).unwrap();
        assert_eq!(second.close(), None);
        assert_eq!(std::fs::read_dir(folder.path().join("j")).unwrap().count(), 1, "only the kept one is left");
    }

    #[test]
    fn a_line_cut_by_a_crash_is_left_out_but_rubbish_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "{\"line\":\"undone\",\"number\":1}\n{\"line\":\"und").unwrap();
        assert_eq!(read(&path).unwrap(), [Line::Undone { number: 1 }]);
        std::fs::write(&path, "rubbish\n{\"line\":\"undone\",\"number\":1}\n").unwrap();
        assert!(read(&path).is_err());
    }
}

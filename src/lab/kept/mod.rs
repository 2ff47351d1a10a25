//! Labs that `lab up` keeps: how they are found again, by whom they are held, and how they are told to end.
//!
//! A kept lab's folder holds a [`Record`] and a socket on which its keeper (the foreground `lab up`, or the process
//! that `--detach` leaves) listens. That the keeper lives is told by the folder's lock, not by a process number.

mod follow;
pub mod keeper;
pub mod overview;

use super::folder;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// File names inside the folder.
const RECORD: &str = "kept.json";
const SOCKET: &str = "kept.sock";

/// The name of a lab that was given none.
pub const DEFAULT_NAME: &str = "lab";
/// As a Kubernetes name, and short enough for a table.
const LONGEST_NAME: usize = 40;

/// What is written down about a kept lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub name: String,
    pub detached: bool,
    /// The keeper's process, for people to see.
    pub process: u32,
    pub since: jiff::Timestamp,
    /// The user's own kubeconfig that the lab's context was added to.
    pub added_to: Option<PathBuf>,
    /// True once its pods were ready.
    pub ready: bool,
}

/// A kept lab that lives.
#[derive(Debug, Clone)]
pub struct Kept {
    pub folder: PathBuf,
    pub record: Record,
}

impl Record {
    fn write(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_string(self).map_err(io::Error::other)?;
        // Whole or not at all: others read it at any moment.
        let new = folder.join(format!("{RECORD}.new"));
        folder::write_private(&new, &text)?;
        std::fs::rename(new, folder.join(RECORD))
    }
}

impl Kept {
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join(super::boot::KUBECONFIG)
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join(super::boot::LOG)
    }

    /// Ends the lab and waits until all of it is gone.
    ///
    /// # Errors
    /// The keeper cannot be reached, or could not end its lab in order; the text is its own.
    pub fn end(&self) -> io::Result<()> {
        let mut stream = UnixStream::connect(self.folder.join(SOCKET))?;
        stream.write_all(b"end\n")?;
        let mut answer = String::new();
        // The keeper closes the connection as its last act.
        stream.read_to_string(&mut answer)?;
        match answer.trim() {
            "ended" => Ok(()),
            "" => Err(io::Error::other("its keeper ended without a word")),
            other => Err(io::Error::other(other.to_string())),
        }
    }
}

/// All kept labs of this user that live, by name.
pub fn all() -> Vec<Kept> {
    let mut found: Vec<Kept> = folder::living()
        .into_iter()
        .filter_map(|folder| {
            let record = serde_json::from_slice(&std::fs::read(folder.join(RECORD)).ok()?).ok()?;
            Some(Kept { folder, record })
        })
        .collect();
    found.sort_by(|a, b| a.record.name.cmp(&b.record.name).then_with(|| a.folder.cmp(&b.folder)));
    found
}

/// The kept lab of that name, or, without a name, the only one.
///
/// # Errors
/// A sentence for the user: there is none, or which of several is meant.
pub fn find(name: Option<&str>) -> Result<Kept, String> {
    let labs = all();
    let names = || labs.iter().map(|lab| lab.record.name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, labs.as_slice()) {
        (_, []) => Err("no lab is up; `egress-scn lab up --detach` starts one".into()),
        (Some(name), _) => labs
            .iter()
            .find(|lab| lab.record.name == name)
            .cloned()
            .ok_or_else(|| format!("no lab of the name \"{name}\" is up; up are: {}", names())),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(format!("several labs are up: {}; say which with --name", names())),
    }
}

/// Whether a lab may be called so.
///
/// # Errors
/// What a name must look like.
pub fn check_name(name: &str) -> Result<String, String> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if letters && !name.is_empty() && name.len() <= LONGEST_NAME && !name.starts_with('-') && !name.ends_with('-') {
        return Ok(name.to_string());
    }
    Err(format!("a lab's name has 1 to {LONGEST_NAME} characters of a-z, 0-9 and '-', and begins and ends with no '-'"))
}

/// The log of the last kept lab of that name that ended by itself, if it left one.
pub fn last_words(name: &str) -> Option<(PathBuf, String)> {
    let path = last_words_path(name)?;
    let text = std::fs::read_to_string(&path).ok()?;
    Some((path, text))
}

/// Where that log is kept: with the user's other state.
fn last_words_path(name: &str) -> Option<PathBuf> {
    let state = match std::env::var_os("XDG_STATE_HOME").filter(|value| Path::new(value).is_absolute()) {
        Some(state) => PathBuf::from(state),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".local/state"),
    };
    Some(state.join("egress-scn").join(format!("{name}.last.log")))
}

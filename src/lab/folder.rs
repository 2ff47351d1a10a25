//! A lab's folder: its kubeconfig, sockets and pod files, 0700. A lock tells a living lab's folder
//! from one that a killed run left; the next run sweeps those.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Unix socket paths are at most 107 bytes; the longest name beneath the folder is `/run/pilot.sock`.
const MAX_PATH: usize = 90;
/// A folder without a lock that is younger than this may be one that is being made.
const GRACE: Duration = Duration::from_secs(60);

/// A locked folder, removed when dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held for the lab's life.
    _lock: File,
}

impl Folder {
    /// Sweeps what killed runs left, then makes a new folder.
    pub fn create() -> io::Result<Folder> {
        let base = base();
        sweep(&base);
        loop {
            let made = tempfile::Builder::new()
                .prefix(&prefix())
                .permissions(fs::Permissions::from_mode(0o700))
                .tempdir_in(&base)?;
            let lock = open_lock(made.path())?;
            if lock.try_lock().is_ok() {
                return Ok(Folder { path: made.keep(), _lock: lock });
            }
            // A sweeper was faster: it removes this one, we make another.
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// As [`write_private`], for a file that must not be there yet.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Folders of labs of this user that live.
pub fn living() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = bases().iter().flat_map(|base| ours(base)).filter(|path| is_held(path)).collect();
    found.sort();
    found.dedup();
    found
}

fn is_held(folder: &Path) -> bool {
    let lock = OpenOptions::new().write(true).open(folder.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Where folders of labs may be: the user's runtime folder, which a session without `XDG_RUNTIME_DIR` shares, or else
/// a place for temporary files.
fn bases() -> Vec<PathBuf> {
    let runtime = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(given) => vec![PathBuf::from(given)],
        None => vec![PathBuf::from(format!("/run/user/{}", nix::unistd::getuid()))],
    };
    if runtime.iter().any(|path| usable(path)) {
        return runtime;
    }
    vec![std::env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/dev/shm")]
}

fn usable(path: &Path) -> bool {
    path.as_os_str().len() + prefix().len() + 8 <= MAX_PATH
        && nix::unistd::access(path, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK).is_ok()
}

fn base() -> PathBuf {
    bases().into_iter().find(|path| usable(path)).unwrap_or_else(|| PathBuf::from("/tmp"))
}

fn prefix() -> String {
    format!("egress-scn-{}-", nix::unistd::getuid())
}

fn open_lock(folder: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join("lock"))
}

/// Folders in `base` that are this user's labs', living or not.
fn ours(base: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(base) else { return vec![] };
    let ours = |entry: &fs::DirEntry| {
        entry.file_name().to_string_lossy().starts_with(&prefix())
            && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == nix::unistd::getuid().as_raw())
    };
    entries.flatten().filter(ours).map(|entry| entry.path()).collect()
}

/// Removes folders of ours that no living run holds.
fn sweep(base: &Path) {
    for path in ours(base) {
        let modified = fs::metadata(&path).and_then(|found| found.modified());
        let young = modified.ok().and_then(|at| at.elapsed().ok()).is_none_or(|age| age < GRACE);
        if !path.join("lock").exists() && young {
            continue;
        }
        let Ok(lock) = open_lock(&path) else { continue };
        match lock.try_lock() {
            Ok(()) => {
                let _ = fs::remove_dir_all(&path);
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_folder_stays_and_a_dead_one_is_swept() {
        let living = Folder::create().unwrap();
        let dead = Folder::create().unwrap();
        let dead_path = dead.path().to_owned();
        // As after `kill -9`: the lock is gone, the folder is not.
        let Folder { path, _lock } = &dead;
        assert!(path.exists());
        _lock.unlock().unwrap();
        let next = Folder::create().unwrap();
        assert!(living.path().exists() && next.path().exists());
        assert!(!dead_path.exists(), "the dead run's folder was left");
        assert_eq!(fs::metadata(living.path()).unwrap().mode() & 0o777, 0o700);
    }
}

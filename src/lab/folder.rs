//! A lab's folder: its kubeconfig, sockets and pod files, 0700. A lock tells a living lab's folder
//! from one that a killed run left; the next run sweeps those.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Unix socket paths are at most 107 bytes; the longest name beneath the folder is `/xds.sock`.
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

fn base() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let candidates =
        [runtime, Some(std::env::temp_dir()), Some(PathBuf::from("/tmp")), Some(PathBuf::from("/dev/shm"))];
    let usable = |path: &PathBuf| {
        path.as_os_str().len() + prefix().len() + 8 <= MAX_PATH
            && nix::unistd::access(path, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK).is_ok()
    };
    candidates.into_iter().flatten().find(usable).unwrap_or_else(|| PathBuf::from("/tmp"))
}

fn prefix() -> String {
    format!("egress-scn-{}-", nix::unistd::getuid())
}

fn open_lock(folder: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join("lock"))
}

/// Removes folders of ours that no living run holds.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(&prefix());
        let Ok(metadata) = entry.metadata() else { continue };
        if !ours || !metadata.is_dir() || metadata.uid() != nix::unistd::getuid().as_raw() {
            continue;
        }
        let path = entry.path();
        let young = metadata.modified().ok().and_then(|at| at.elapsed().ok()).is_none_or(|age| age < GRACE);
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

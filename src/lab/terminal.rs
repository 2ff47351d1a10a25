//! A terminal for a process in a pod, as `kubectl exec -it` asks for one.

#![allow(unsafe_code)]

use nix::libc;
use nix::pty::{Winsize, openpty};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use tokio::process::{ChildStdin, ChildStdout, Command};

/// The near end of a pseudo terminal. The process has the other.
#[derive(Clone)]
pub struct Terminal {
    near: Arc<OwnedFd>,
}

impl Terminal {
    /// A new terminal in the namespaces of the calling thread; the command's process will lead a session on it.
    ///
    /// # Errors
    /// As the kernel tells.
    pub fn open(command: &mut Command) -> io::Result<Terminal> {
        let pair = openpty(None, None)?;
        command.stdin(pair.slave.try_clone()?).stdout(pair.slave.try_clone()?).stderr(pair.slave);
        // SAFETY: both calls are system calls that allocate nothing and take no lock, as a process between fork and exec
        // must have it.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                match libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) {
                    -1 => Err(io::Error::last_os_error()),
                    _ => Ok(()),
                }
            });
        }
        Ok(Terminal { near: Arc::new(pair.master) })
    }

    /// What goes to the process, and what comes from it.
    ///
    /// # Errors
    /// As the kernel tells.
    pub fn streams(&self) -> io::Result<(ChildStdin, ChildStdout)> {
        let copy = || self.near.as_fd().try_clone_to_owned();
        let input = ChildStdin::from_std(std::process::ChildStdin::from(copy()?))?;
        let output = ChildStdout::from_std(std::process::ChildStdout::from(copy()?))?;
        Ok((input, output))
    }

    /// Tells the terminal's size, in characters.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open, and the argument is what this request reads. It fails only on a terminal that
        // is gone.
        let _ = unsafe { libc::ioctl(self.near.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    }
}

//! Reading a kept lab's log as it grows.

use super::Kept;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::File;
use std::io::{self, Read};

impl Kept {
    /// Hands on what is in the lab's log and what comes to it, until the lab ends. Blocks.
    ///
    /// # Errors
    /// The log cannot be read or watched.
    pub fn follow_log(&self, mut on: impl FnMut(&str)) -> io::Result<()> {
        let changes = Inotify::init(InitFlags::IN_CLOEXEC)?;
        let path = self.log();
        changes
            .add_watch(&path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_ATTRIB)?;
        let mut file = File::open(&path)?;
        let mut unread = Vec::new();
        loop {
            file.read_to_end(&mut unread)?;
            // Whole lines: a character may be cut at the end of what is there.
            if let Some(end) = unread.iter().rposition(|byte| *byte == b'\n') {
                on(&String::from_utf8_lossy(&unread[..=end]));
                unread.drain(..=end);
            }
            // An open file that has no name left: the lab's folder is gone.
            if !path.exists() {
                on(&String::from_utf8_lossy(&unread));
                return Ok(());
            }
            match changes.read_events() {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

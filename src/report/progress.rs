//! The line that moves: a spinner for the running step, a bar for downloads. On a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// One line at the bottom of the terminal, drawn on stderr; or nothing.
#[derive(Debug, Default)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    bytes: bool,
}

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

impl Progress {
    pub fn on_stderr() -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(spinner());
        bar.enable_steady_tick(TICK);
        Progress { bar: Some(bar), bytes: false }
    }

    /// Says what runs now.
    pub fn say(&mut self, text: &str) {
        let Some(bar) = &self.bar else { return };
        if self.bytes {
            self.bytes = false;
            bar.unset_length();
            bar.set_style(spinner());
        }
        bar.set_message(text.to_string());
    }

    /// Shows `done` of `total` bytes.
    pub fn bytes(&mut self, text: &str, done: u64, total: u64) {
        let Some(bar) = &self.bar else { return };
        if !self.bytes {
            self.bytes = true;
            bar.set_style(download());
        }
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(text.to_string());
    }

    /// Prints without the moving line in the way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn download() -> ProgressStyle {
    ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

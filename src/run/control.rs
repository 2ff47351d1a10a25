//! What comes into a run from outside: an interrupt (Ctrl-C), and a person's "go on".

use tokio::sync::{mpsc, watch};

/// The runner's end.
pub struct Control {
    interrupt: watch::Receiver<bool>,
    resume: mpsc::UnboundedReceiver<()>,
}

/// The other end: kept by whoever listens to the keyboard. Without it a run is never interrupted, and
/// `pause` goes on at once.
#[derive(Debug, Clone)]
pub struct Handle {
    interrupt: watch::Sender<bool>,
    resume: mpsc::UnboundedSender<()>,
}

/// Both ends.
pub fn control() -> (Handle, Control) {
    let (interrupt, interrupted) = watch::channel(false);
    let (resume, resumed) = mpsc::unbounded_channel();
    (Handle { interrupt, resume }, Control { interrupt: interrupted, resume: resumed })
}

impl Handle {
    /// Stops the run as soon as what it is doing can be left; everything is undone first.
    pub fn interrupt(&self) {
        self.interrupt.send_replace(true);
    }

    /// Ends a `pause`.
    pub fn resume(&self) {
        let _ = self.resume.send(());
    }
}

impl Control {
    pub fn interrupted(&self) -> bool {
        *self.interrupt.borrow()
    }

    /// Ends when the run is interrupted; never, if nobody can.
    pub fn interruption(&self) -> impl Future<Output = ()> + use<> {
        let mut interrupt = self.interrupt.clone();
        async move {
            if interrupt.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends when somebody says "go on", or nobody can.
    pub async fn resumed(&mut self) {
        let _ = self.resume.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_interrupt_is_kept_until_somebody_looks() {
        let (handle, control) = control();
        assert!(!control.interrupted());
        handle.interrupt();
        control.interruption().await;
        assert!(control.interrupted());
    }

    #[tokio::test]
    async fn a_pause_ends_by_a_word_or_when_nobody_is_there() {
        let (handle, mut control) = control();
        handle.resume();
        control.resumed().await;
        drop(handle);
        control.resumed().await;
    }
}

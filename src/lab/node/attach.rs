//! The streams of a container's own process, which `kubectl attach` and `kubectl run -it` are given: what it says from then
//! on, and its standard input, if the container has one (`stdin: true`). A client that leaves takes nothing along.

use crate::api::kubelet::ExecProcess;
use crate::lab::process::Process;
use crate::lab::terminal::Terminal;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::process::ChildStdin;
use tokio::sync::{Mutex, broadcast, watch};

/// How many pieces a client may be behind; what it misses then is in the log.
const BEHIND: usize = 256;
const UNDER_WAY: usize = 64 * 1024;

/// A running container's streams.
pub struct Attachment {
    stdout: broadcast::Sender<Bytes>,
    stderr: broadcast::Sender<Bytes>,
    stdin: Arc<Mutex<Option<ChildStdin>>>,
    /// The first client that ends its input ends the process's.
    stdin_once: bool,
    terminal: Option<Terminal>,
    /// Its receivers see the end when this goes.
    lives: watch::Sender<()>,
}

impl Attachment {
    /// Takes the process's standard input and terminal; its outputs are still to be read, through [`Attachment::tap`].
    pub fn of(process: &mut Process, stdin_once: bool) -> Attachment {
        Attachment {
            stdout: broadcast::channel(BEHIND).0,
            stderr: broadcast::channel(BEHIND).0,
            stdin: Arc::new(Mutex::new(process.stdin.take())),
            stdin_once,
            terminal: process.terminal.clone(),
            lives: watch::Sender::new(()),
        }
    }

    /// The output, read as before, and heard by clients.
    pub fn tap_stdout<R>(&self, from: R) -> Tap<R> {
        Tap { from, to: self.stdout.clone() }
    }

    /// As [`Attachment::tap_stdout`].
    pub fn tap_stderr<R>(&self, from: R) -> Tap<R> {
        Tap { from, to: self.stderr.clone() }
    }

    /// A client's part of it. `stdin`: whether it has input to give.
    pub fn client(&self, stdin: bool) -> ExecProcess {
        let mut lives = self.lives.subscribe();
        let stdin = stdin.then(|| Box::new(self.input()) as _);
        let terminal = self.terminal.clone();
        ExecProcess {
            stdin,
            keeps_stdin: !self.stdin_once,
            stdout: Box::new(heard(self.stdout.subscribe())),
            stderr: Box::new(heard(self.stderr.subscribe())),
            resize: terminal.map(|terminal| Box::new(move |columns, rows| terminal.resize(columns, rows)) as _),
            // How the process ended is the pod's status to tell.
            exit: Box::pin(async move {
                while lives.changed().await.is_ok() {}
                Ok(0)
            }),
        }
    }

    fn input(&self) -> DuplexStream {
        let (client, mut given) = tokio::io::duplex(UNDER_WAY);
        let (stdin, once) = (self.stdin.clone(), self.stdin_once);
        tokio::spawn(async move {
            let mut bytes = vec![0; UNDER_WAY];
            while let Ok(n @ 1..) = given.read(&mut bytes).await {
                let mut stdin = stdin.lock().await;
                let Some(pipe) = stdin.as_mut() else { return };
                if pipe.write_all(&bytes[..n]).await.is_err() || pipe.flush().await.is_err() {
                    return;
                }
            }
            if once {
                stdin.lock().await.take();
            }
        });
        client
    }
}

/// What a client hears, as a stream that ends with the process.
fn heard(mut from: broadcast::Receiver<Bytes>) -> DuplexStream {
    let (mut to, client) = tokio::io::duplex(UNDER_WAY);
    tokio::spawn(async move {
        loop {
            match from.recv().await {
                Ok(bytes) if to.write_all(&bytes).await.is_err() => return,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    });
    client
}

/// A reader whose bytes are heard elsewhere too.
pub struct Tap<R> {
    from: R,
    to: broadcast::Sender<Bytes>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Tap<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.from).poll_read(cx, buf);
        let new = &buf.filled()[before..];
        if !new.is_empty() && self.to.receiver_count() > 0 {
            // The last client may leave at this moment.
            let _ = self.to.send(Bytes::copy_from_slice(new));
        }
        polled
    }
}

//! Exec over plain SPDY/3.1: what a kube-apiserver speaks to a kubelet, and kubectl before 1.30 to the API. The
//! client opens a stream for each of error, stdin, stdout and stderr; the `Status` goes out on the error stream.

use super::exec_session::{self, In, Out, Output, QUEUE, Wanted};
use super::kubelet::{ExecRequest, Kubelet};
use super::spdy::{self, Frame, Reader, Writer};
use super::spdy_upgrade::Connection;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The protocol served: its error stream carries a `Status`.
pub const PROTOCOL: &str = "v4.channel.k8s.io";

/// The streams of a client, by their type.
#[derive(Default)]
struct Streams {
    reader: Reader,
    writer: Writer,
    ids: HashMap<String, u32>,
}

pub async fn run(kubelet: Arc<dyn Kubelet>, connection: Connection, request: ExecRequest, wanted: Wanted) {
    let Connection { mut incoming, mut outgoing } = connection;
    let (frames, mut to_send) = mpsc::channel::<Vec<u8>>(QUEUE);
    let mut streams = Streams::default();
    let mut needed: HashSet<&str> = HashSet::from(["error"]);
    let asked = [(wanted.stdin, "stdin"), (wanted.stdout, "stdout"), (wanted.stderr, "stderr")];
    needed.extend(asked.iter().filter(|(on, _)| *on).map(|(_, kind)| *kind));
    let writing = async {
        // An empty frame is the last.
        while let Some(frame) = to_send.recv().await.filter(|frame| !frame.is_empty()) {
            if outgoing.send(Bytes::from(frame)).await.is_err() {
                return;
            }
        }
        let _ = outgoing.close().await;
    };
    let serving = async {
        let (ins, given) = mpsc::channel(QUEUE);
        // What the client sends before all of its streams are there is kept.
        let mut early = Vec::new();
        while !needed.iter().all(|kind| streams.ids.contains_key(*kind)) {
            let Some(bytes) = incoming.next().await else { return };
            let Some(taken) = streams.take(&bytes, &frames).await else { return };
            early.extend(taken);
        }
        let ids = streams.ids.clone();
        let (outs, chunks) = mpsc::channel(QUEUE);
        let session = exec_session::run(kubelet, request, wanted, outs, given);
        let reading = async {
            for input in early {
                let _ = ins.send(input).await;
            }
            while let Some(bytes) = incoming.next().await {
                let Some(taken) = streams.take(&bytes, &frames).await else { return };
                for input in taken {
                    // After the command's end nobody takes input any more.
                    let _ = ins.send(input).await;
                }
            }
        };
        tokio::select! {
            _ = futures::future::join(session, write(&ids, chunks, &frames)) => {}
            // The client is gone: dropping the session ends the command.
            () = reading => return,
        }
        // The client closes when it has the status; a reset of ours could overtake it.
        let closed = async { while incoming.next().await.is_some() {} };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), closed).await;
    };
    let serving = async {
        serving.await;
        let _ = frames.send(Vec::new()).await;
    };
    // The frames that are under way when the session ends go out still.
    futures::future::join(serving, writing).await;
}

async fn write(ids: &HashMap<String, u32>, mut chunks: mpsc::Receiver<Out>, frames: &mpsc::Sender<Vec<u8>>) {
    let id = |kind: &str| ids.get(kind).copied();
    while let Some(out) = chunks.recv().await {
        match out {
            Out::Data(output, bytes) => {
                let kind = if output == Output::Stdout { "stdout" } else { "stderr" };
                let Some(id) = id(kind) else { continue };
                if frames.send(spdy::data(id, &bytes, false)).await.is_err() {
                    return;
                }
            }
            Out::End(status) => {
                if let Some(error) = id("error") {
                    let _ = frames.send(spdy::data(error, status.to_string().as_bytes(), true)).await;
                }
                for kind in ["stdout", "stderr", "stdin"] {
                    if let Some(id) = id(kind) {
                        let _ = frames.send(spdy::data(id, &[], true)).await;
                    }
                }
                return;
            }
        }
    }
}

impl Streams {
    /// Takes in what came; the input that was in it, or `None` when the client has gone or cannot be followed.
    async fn take(&mut self, bytes: &[u8], frames: &mpsc::Sender<Vec<u8>>) -> Option<Vec<In>> {
        self.reader.feed(bytes);
        let mut given = Vec::new();
        while let Some(frame) = self.reader.next().ok()? {
            match frame {
                Frame::Open { id, headers } => {
                    let kind = headers.iter().find(|(name, _)| name == "streamtype").map(|(_, value)| value.clone());
                    let answer = match kind {
                        Some(kind) if !self.ids.contains_key(&kind) => {
                            self.ids.insert(kind, id);
                            self.writer.reply(id)
                        }
                        _ => spdy::reset(id),
                    };
                    frames.send(answer).await.ok()?;
                }
                Frame::Data { id, bytes, fin } if self.ids.get("stdin") == Some(&id) => {
                    if !bytes.is_empty() {
                        given.push(In::Stdin(bytes.into()));
                    }
                    if fin {
                        given.push(In::StdinEnd);
                    }
                }
                Frame::Data { id, bytes, .. } if self.ids.get("resize") == Some(&id) => {
                    // A line each.
                    let sizes = serde_json::Deserializer::from_slice(&bytes).into_iter();
                    given.extend(sizes.map_while(Result::ok).map(In::Resize));
                }
                Frame::Reset { id } if self.ids.get("stdin") == Some(&id) => given.push(In::StdinEnd),
                Frame::Ping { id } => frames.send(spdy::ping(id)).await.ok()?,
                Frame::GoAway => return None,
                Frame::Data { .. } | Frame::Reset { .. } | Frame::Other => {}
            }
        }
        Some(given)
    }
}

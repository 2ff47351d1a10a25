//! Port-forward in kubectl's form: a SPDY/3.1 connection, inside binary WebSocket messages (kubectl
//! 1.31 and newer) or plain. Each forwarded connection is a pair of streams of one request: one for
//! errors, one for data.

use super::kubelet::{Kubelet, Stream as PodStream};
use super::spdy::{self, Frame, Reader, Writer};
use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// The connections that may be open at once through one tunnel.
const MAX_REQUESTS: usize = 512;
const CHUNK: usize = 32 * 1024;

/// One forwarded connection, as its streams become known.
#[derive(Default)]
struct Request {
    errors: Option<u32>,
    data: Option<u32>,
}

struct Tunnel {
    kubelet: Arc<dyn Kubelet>,
    namespace: String,
    pod: String,
    out: mpsc::Sender<Vec<u8>>,
    writer: Writer,
    requests: HashMap<String, Request>,
    /// Where the client's data of a data stream goes.
    inputs: HashMap<u32, mpsc::Sender<Vec<u8>>>,
    tasks: HashMap<u32, AbortHandle>,
    running: JoinSet<u32>,
}

/// Forwards until the client closes.
pub async fn run<I, O>(kubelet: Arc<dyn Kubelet>, namespace: String, pod: String, incoming: I, outgoing: O)
where
    I: Stream<Item = Bytes> + Send + Unpin,
    O: Sink<Bytes> + Send + Unpin + 'static,
{
    let (out, mut frames) = mpsc::channel::<Vec<u8>>(64);
    // Writing has its own task: a client that reads slowly must not keep its own data from the pods.
    let mut outgoing = outgoing;
    let writing = tokio::spawn(async move {
        while let Some(frame) = frames.recv().await {
            if outgoing.send(frame.into()).await.is_err() {
                return;
            }
        }
        let _ = outgoing.close().await;
    });
    let tunnel = Tunnel {
        kubelet,
        namespace,
        pod,
        out,
        writer: Writer::default(),
        requests: HashMap::new(),
        inputs: HashMap::new(),
        tasks: HashMap::new(),
        running: JoinSet::new(),
    };
    tunnel.read(incoming).await;
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), writing).await;
}

impl Tunnel {
    async fn read<I: Stream<Item = Bytes> + Send + Unpin>(mut self, mut incoming: I) {
        let mut reader = Reader::default();
        loop {
            let bytes = tokio::select! {
                bytes = incoming.next() => bytes,
                Some(done) = self.running.join_next() => {
                    if let Ok(id) = done {
                        self.tasks.remove(&id);
                        self.inputs.remove(&id);
                    }
                    continue;
                }
            };
            let Some(bytes) = bytes else { return };
            reader.feed(&bytes);
            loop {
                match reader.next() {
                    Ok(Some(frame)) => {
                        if !self.take(frame).await {
                            return;
                        }
                    }
                    Ok(None) => break,
                    // The stream cannot be followed any more.
                    Err(_) => return,
                }
            }
        }
    }

    /// Handles a frame; false ends the tunnel.
    async fn take(&mut self, frame: Frame) -> bool {
        match frame {
            Frame::Open { id, headers } => return self.open(id, &headers).await,
            Frame::Data { id, bytes, fin } => {
                if let Some(input) = self.inputs.get(&id)
                    && !bytes.is_empty()
                    && input.send(bytes).await.is_err()
                {
                    self.inputs.remove(&id);
                }
                if fin {
                    self.inputs.remove(&id);
                }
            }
            Frame::Reset { id } => {
                self.inputs.remove(&id);
                if let Some(task) = self.tasks.remove(&id) {
                    task.abort();
                }
            }
            Frame::Ping { id } => return self.out.send(spdy::ping(id)).await.is_ok(),
            Frame::GoAway => return false,
            Frame::Other => {}
        }
        true
    }

    async fn open(&mut self, id: u32, headers: &[(String, String)]) -> bool {
        let header = |name: &str| headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
        let port = header("port").parse::<u16>().ok().filter(|p| *p > 0);
        let (kind, request) = (header("streamtype"), header("requestid").to_string());
        let full = self.tasks.len() >= MAX_REQUESTS || self.requests.len() >= MAX_REQUESTS;
        let Some(port) = port.filter(|_| ["error", "data"].contains(&kind) && !full) else {
            return self.out.send(spdy::reset(id)).await.is_ok();
        };
        let reply = self.writer.reply(id);
        if self.out.send(reply).await.is_err() {
            return false;
        }
        let pair = self.requests.entry(request.clone()).or_default();
        match kind {
            "error" => pair.errors = Some(id),
            _ => pair.data = Some(id),
        }
        if let (Some(errors), Some(data)) = (pair.errors, pair.data) {
            self.requests.remove(&request);
            let (input, chunks) = mpsc::channel(64);
            self.inputs.insert(data, input);
            let (kubelet, out) = (self.kubelet.clone(), self.out.clone());
            let (namespace, pod) = (self.namespace.clone(), self.pod.clone());
            let task = self.running.spawn(async move {
                forward(kubelet, namespace, pod, port, (errors, data), chunks, out).await;
                data
            });
            self.tasks.insert(data, task);
        }
        true
    }
}

/// One connection: until the pod closes it, or the client resets its stream.
async fn forward(
    kubelet: Arc<dyn Kubelet>,
    namespace: String,
    pod: String,
    port: u16,
    (errors, data): (u32, u32),
    chunks: mpsc::Receiver<Vec<u8>>,
    out: mpsc::Sender<Vec<u8>>,
) {
    match kubelet.port_forward(namespace, pod.clone(), port).await {
        Ok(stream) => copy(stream, data, chunks, &out).await,
        Err(refusal) => {
            let message = format!("error forwarding port {port} to pod {pod}: {}", refusal.message);
            let _ = out.send(spdy::data(errors, message.as_bytes(), false)).await;
        }
    }
    let _ = out.send(spdy::data(errors, &[], true)).await;
    let _ = out.send(spdy::data(data, &[], true)).await;
}

async fn copy(stream: Box<dyn PodStream>, id: u32, mut chunks: mpsc::Receiver<Vec<u8>>, out: &mpsc::Sender<Vec<u8>>) {
    let (mut from, mut to) = tokio::io::split(stream);
    let writing = async {
        while let Some(chunk) = chunks.recv().await {
            if to.write_all(&chunk).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    let reading = async {
        let mut buffer = vec![0; CHUNK];
        while let Ok(n) = from.read(&mut buffer).await {
            if n == 0 || out.send(spdy::data(id, &buffer[..n], false)).await.is_err() {
                return;
            }
        }
    };
    // The pod's end ends it; the client's end only closes its half.
    tokio::pin!(reading);
    tokio::select! {
        () = &mut reading => {}
        () = writing => reading.await,
    }
}

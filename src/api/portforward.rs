//! `pods/NAME/portforward`. In kube-rs' form it is a WebSocket of `v4.channel.k8s.io` with `?ports=`: port
//! i has channel 2i for data and 2i+1 for errors; the first frame of each holds the port, little-endian.
//! In kubectl's form it is a tunnel of SPDY streams, in a WebSocket or (before 1.31) plain.

use super::answer::Answer;
use super::context::Context;
use super::failure::Failure;
use super::kubelet::{Kubelet, Stream};
use super::object;
use super::pod;
use super::request::{Request, Target};
use super::spdy_upgrade;
use super::tunnel;
use super::websocket::{self, Socket};
use bytes::Bytes;
use futures::future::ready;
use futures::{SinkExt, StreamExt};
use http::header;
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

/// SPDY frames in binary WebSocket messages.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const MAX_PORTS: usize = 128;
const CHUNK: usize = 32 * 1024;

pub async fn answer(
    ctx: Arc<Context>,
    target: &Target,
    request: &Request,
    upgrade: Option<OnUpgrade>,
) -> Result<Answer, Failure> {
    let found = pod::of(&ctx, target)?;
    let (namespace, name) = (object::namespace(&found).to_string(), object::name(&found).to_string());
    begin(ctx.kubelet.clone(), request, upgrade, "ports", namespace, name)
}

/// Accepts the upgrade and forwards over it. `ports` is the query's name for the ports in kube-rs' form.
pub fn begin(
    kubelet: Arc<dyn Kubelet>,
    request: &Request,
    upgrade: Option<OnUpgrade>,
    ports: &str,
    namespace: String,
    pod: String,
) -> Result<Answer, Failure> {
    if spdy_upgrade::is_asked(request) {
        // kubectl up to 1.30, and newer ones as a second try; a kube-apiserver towards its kubelet.
        let (answer, upgrade) = spdy_upgrade::accept(request, upgrade, &["portforward.k8s.io"])?;
        tokio::spawn(async move {
            let Some(connection) = spdy_upgrade::connection(upgrade).await else { return };
            tunnel::run(kubelet, namespace, pod, connection.incoming, connection.outgoing).await;
        });
        return Ok(answer);
    }
    let offered = request.header(header::SEC_WEBSOCKET_PROTOCOL);
    if offered.split(',').any(|p| p.trim() == TUNNEL) {
        let accepted = websocket::accept(request, upgrade, &[TUNNEL])?;
        let upgrade = accepted.upgrade;
        tokio::spawn(async move {
            let Some(socket) = websocket::socket(upgrade).await else { return };
            let (sink, stream) = socket.split();
            let incoming = stream.take_while(|m| ready(matches!(m, Ok(m) if !m.is_close()))).filter_map(|m| {
                ready(match m {
                    Ok(Message::Binary(bytes)) => Some(bytes),
                    _ => None,
                })
            });
            let outgoing = sink.with(|bytes: Bytes| ready(Ok::<_, WebSocketError>(Message::Binary(bytes))));
            tunnel::run(kubelet, namespace, pod, incoming, outgoing).await;
        });
        return Ok(accepted.answer);
    }
    let mut numbers = Vec::new();
    for text in request.query.all(ports).flat_map(|p| p.split(',')) {
        let port = text.parse::<u16>().ok().filter(|p| *p > 0);
        numbers.push(port.ok_or_else(|| Failure::bad_request(format!("{ports}: Invalid value: \"{text}\"")))?);
    }
    if numbers.is_empty() {
        return Err(Failure::bad_request(format!("you must specify at least 1 port in \"{ports}\"")));
    }
    if numbers.len() > MAX_PORTS {
        return Err(Failure::bad_request(format!("at most {MAX_PORTS} ports may be forwarded at once")));
    }
    let accepted = websocket::accept(request, upgrade, &["v5.channel.k8s.io", "v4.channel.k8s.io"])?;
    let upgrade = accepted.upgrade;
    tokio::spawn(async move {
        if let Some(socket) = websocket::socket(upgrade).await {
            run(kubelet, socket, namespace, pod, numbers).await;
        }
    });
    Ok(accepted.answer)
}

enum Out {
    Data(u8, Bytes),
    /// The pod has closed its side of a channel.
    End,
}

async fn run(kubelet: Arc<dyn Kubelet>, socket: Socket, namespace: String, pod: String, ports: Vec<u16>) {
    let (mut sink, mut incoming) = socket.split();
    let (sender, mut out) = mpsc::channel::<Out>(32);
    let mut writers: Vec<Option<WriteHalf<Box<dyn Stream>>>> = Vec::new();
    let mut readers = tokio::task::JoinSet::new();
    let mut open = 0usize;
    for (i, port) in ports.iter().enumerate() {
        // At most 128 ports: channels fit a byte.
        let channel = u8::try_from(2 * i).unwrap_or(u8::MAX);
        let [low, high] = port.to_le_bytes();
        for ch in [channel, channel + 1] {
            if sink.send(Message::binary(vec![ch, low, high])).await.is_err() {
                return;
            }
        }
        match kubelet.port_forward(namespace.clone(), pod.clone(), *port).await {
            Ok(stream) => {
                let (mut from, to) = tokio::io::split(stream);
                writers.push(Some(to));
                open += 1;
                let sender = sender.clone();
                readers.spawn(async move {
                    let mut buffer = vec![0; CHUNK];
                    while let Ok(n) = from.read(&mut buffer).await {
                        let chunk = Bytes::copy_from_slice(&buffer[..n]);
                        if n == 0 || sender.send(Out::Data(channel, chunk)).await.is_err() {
                            break;
                        }
                    }
                    let _ = sender.send(Out::End).await;
                });
            }
            Err(refusal) => {
                writers.push(None);
                let mut frame = vec![channel + 1];
                frame.extend(format!("error forwarding port {port} to pod {pod}: {}", refusal.message).as_bytes());
                if sink.send(Message::binary(frame)).await.is_err() {
                    return;
                }
            }
        }
    }
    drop(sender);
    while open > 0 {
        tokio::select! {
            message = out.recv() => match message {
                Some(Out::Data(channel, bytes)) => {
                    let mut frame = Vec::with_capacity(bytes.len() + 1);
                    frame.push(channel);
                    frame.extend_from_slice(&bytes);
                    if sink.send(Message::binary(frame)).await.is_err() {
                        return;
                    }
                }
                Some(Out::End) => open -= 1,
                None => break,
            },
            message = incoming.next() => match message {
                Some(Ok(Message::Binary(frame))) if !frame.is_empty() => {
                    let index = usize::from(frame[0] / 2);
                    if frame[0] % 2 == 0
                        && let Some(slot) = writers.get_mut(index)
                        && let Some(writer) = slot
                        && (writer.write_all(&frame[1..]).await.is_err() || writer.flush().await.is_err())
                    {
                        *slot = None;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
    let _ = sink.send(Message::Close(None)).await;
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), async {
        while let Some(Ok(_)) = incoming.next().await {}
    })
    .await;
}

//! `pods/NAME/portforward`. In kube-rs' form it is a WebSocket of `v4.channel.k8s.io` with `?ports=`: port
//! i has channel 2i for data and 2i+1 for errors; the first frame of each holds the port, little-endian.
//! In kubectl's form it is a tunnel of SPDY streams, in a WebSocket or (before 1.31) plain.

use super::answer::{self, Answer};
use super::context::Context;
use super::failure::Failure;
use super::kubelet::Stream;
use super::object;
use super::pod;
use super::request::{Request, Target};
use super::tunnel;
use super::websocket::{self, Socket};
use bytes::Bytes;
use futures::future::ready;
use futures::{SinkExt, StreamExt};
use http::header;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
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
    if request.header(header::UPGRADE).eq_ignore_ascii_case("SPDY/3.1") {
        return plain_tunnel(ctx, request, upgrade, namespace, name);
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
            tunnel::run(ctx, namespace, name, incoming, outgoing).await;
        });
        return Ok(accepted.answer);
    }
    let mut ports = Vec::new();
    for text in request.query.all("ports").flat_map(|p| p.split(',')) {
        let port = text.parse::<u16>().ok().filter(|p| *p > 0);
        ports.push(port.ok_or_else(|| Failure::bad_request(format!("ports: Invalid value: \"{text}\"")))?);
    }
    if ports.is_empty() {
        return Err(Failure::bad_request("you must specify at least 1 port in \"ports\""));
    }
    if ports.len() > MAX_PORTS {
        return Err(Failure::bad_request(format!("at most {MAX_PORTS} ports may be forwarded at once")));
    }
    let accepted = websocket::accept(request, upgrade, &["v5.channel.k8s.io", "v4.channel.k8s.io"])?;
    let upgrade = accepted.upgrade;
    tokio::spawn(async move {
        if let Some(socket) = websocket::socket(upgrade).await {
            run(ctx, socket, namespace, name, ports).await;
        }
    });
    Ok(accepted.answer)
}

/// SPDY without a WebSocket around it: kubectl up to 1.30, and newer ones as a second try.
fn plain_tunnel(
    ctx: Arc<Context>,
    request: &Request,
    upgrade: Option<OnUpgrade>,
    namespace: String,
    pod: String,
) -> Result<Answer, Failure> {
    let version = http::HeaderName::from_static("x-stream-protocol-version");
    let offered = request.header(version.clone());
    if !offered.split(',').any(|p| p.trim() == "portforward.k8s.io") {
        let what = format!("unable to upgrade: the client offers [{offered}], the server speaks [portforward.k8s.io]");
        return Err(Failure::new(403, "Forbidden", what));
    }
    let Some(upgrade) = upgrade else { return Err(Failure::bad_request("Upgrade request required")) };
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        let incoming = futures::stream::unfold(reader, |mut reader| async move {
            let mut buffer = vec![0; CHUNK];
            let n = reader.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
            Some((Bytes::copy_from_slice(&buffer[..n]), reader))
        });
        let outgoing = futures::sink::unfold(writer, |mut writer, bytes: Bytes| async move {
            writer.write_all(&bytes).await?;
            writer.flush().await?;
            Ok::<_, std::io::Error>(writer)
        });
        tunnel::run(ctx, namespace, pod, Box::pin(incoming), Box::pin(outgoing)).await;
    });
    let mut answer = answer::with_type(101, "text/plain", answer::full(Vec::new()));
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, http::HeaderValue::from_static("SPDY/3.1"));
    headers.insert(version, http::HeaderValue::from_static("portforward.k8s.io"));
    Ok(answer)
}

enum Out {
    Data(u8, Bytes),
    /// The pod has closed its side of a channel.
    End,
}

async fn run(ctx: Arc<Context>, socket: Socket, namespace: String, pod: String, ports: Vec<u16>) {
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
        match ctx.kubelet.port_forward(namespace.clone(), pod.clone(), *port).await {
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

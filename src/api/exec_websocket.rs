//! Exec over WebSocket: `v5.channel.k8s.io` and `v4.channel.k8s.io`. Each message's first byte is its channel;
//! the exit code comes as a `Status` on channel 3.

use super::exec_session::{self, In, Out, Output, QUEUE, Wanted};
use super::kubelet::{ExecRequest, Kubelet};
use super::websocket::Socket;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The protocols served, the preferred one first.
pub const PROTOCOLS: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io"];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
/// Sizes of the terminal.
const RESIZE: u8 = 4;
/// v5: the next byte names a channel that is closed.
const CLOSE: u8 = 255;

pub async fn run(kubelet: Arc<dyn Kubelet>, socket: Socket, request: ExecRequest, wanted: Wanted) {
    let (mut sink, mut incoming) = socket.split();
    // A client of v4 learns from an empty first frame that its stream is there.
    for (on, channel) in [(wanted.stdout, STDOUT), (wanted.stderr, STDERR)] {
        if on && sink.send(Message::binary(vec![channel])).await.is_err() {
            return;
        }
    }
    let (outs, chunks) = mpsc::channel(QUEUE);
    let (ins, given) = mpsc::channel(QUEUE);
    let session = exec_session::run(kubelet, request, wanted, outs, given);
    tokio::select! {
        _ = futures::future::join(session, write(&mut sink, chunks)) => {}
        // The client is gone: dropping the session ends the command.
        () = read(&mut incoming, ins) => return,
    }
    drain(&mut incoming).await;
}

async fn write(sink: &mut SplitSink<Socket, Message>, mut chunks: mpsc::Receiver<Out>) {
    while let Some(out) = chunks.recv().await {
        let (output, bytes) = match out {
            Out::Data(output, bytes) => (output, bytes),
            Out::End(status) => return finish(sink, &status).await,
        };
        let mut frame = Vec::with_capacity(bytes.len() + 1);
        frame.push(if output == Output::Stdout { STDOUT } else { STDERR });
        frame.extend_from_slice(&bytes);
        if sink.send(Message::binary(frame)).await.is_err() {
            return;
        }
    }
}

async fn read(incoming: &mut SplitStream<Socket>, ins: mpsc::Sender<In>) {
    while let Some(Ok(message)) = incoming.next().await {
        let given = match message {
            Message::Binary(frame) => match frame.first() {
                Some(&STDIN) => In::Stdin(frame.slice(1..)),
                Some(&CLOSE) if frame.get(1) == Some(&STDIN) => In::StdinEnd,
                Some(&RESIZE) => match serde_json::from_slice(&frame[1..]) {
                    Ok(size) => In::Resize(size),
                    Err(_) => continue,
                },
                _ => continue,
            },
            Message::Close(_) => return,
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        // After the command's end nobody takes input any more.
        let _ = ins.send(given).await;
    }
}

/// Reads until the client has closed too, so that the close frame is not lost to a reset.
async fn drain(incoming: &mut SplitStream<Socket>) {
    let closed = async { while let Some(Ok(_)) = incoming.next().await {} };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), closed).await;
}

async fn finish(sink: &mut SplitSink<Socket, Message>, status: &Value) {
    let mut frame = vec![ERROR];
    frame.extend(status.to_string().as_bytes());
    let _ = sink.send(Message::binary(frame)).await;
    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let _ = sink.send(Message::Close(Some(close))).await;
}

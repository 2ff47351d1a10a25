//! `pods/NAME/exec` over WebSocket: `v5.channel.k8s.io` and `v4.channel.k8s.io`. Each message's first
//! byte is its channel; the exit code comes as a `Status` on channel 3.

use super::answer::Answer;
use super::context::Context;
use super::failure::Failure;
use super::kubelet::{ExecProcess, ExecRequest};
use super::object;
use super::pod;
use super::request::{Request, Target};
use super::websocket::{self, Socket};
use bytes::Bytes;
use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
/// v5: the next byte names a channel that is closed.
const CLOSE: u8 = 255;
const CHUNK: usize = 32 * 1024;

pub async fn answer(
    ctx: Arc<Context>,
    target: &Target,
    request: &Request,
    upgrade: Option<OnUpgrade>,
) -> Result<Answer, Failure> {
    let query = &request.query;
    let pod = pod::of(&ctx, target)?;
    let container = pod::container(&pod, query.get("container"))?;
    let command: Vec<String> = query.all("command").map(str::to_string).collect();
    if command.is_empty() {
        return Err(Failure::bad_request("you must specify at least one command for the container"));
    }
    let streams = [query.flag("stdin"), query.flag("stdout"), query.flag("stderr")];
    if !streams.contains(&true) {
        return Err(Failure::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let accepted = websocket::accept(request, upgrade, &["v5.channel.k8s.io", "v4.channel.k8s.io"])?;
    let wanted = ExecRequest {
        namespace: object::namespace(&pod).into(),
        pod: object::name(&pod).into(),
        container: Some(container),
        command,
        stdin: query.flag("stdin"),
        tty: query.flag("tty"),
    };
    let (shown, errors) = (query.flag("stdout"), query.flag("stderr") && !query.flag("tty"));
    let upgrade = accepted.upgrade;
    tokio::spawn(async move {
        if let Some(socket) = websocket::socket(upgrade).await {
            run(ctx, socket, wanted, shown, errors).await;
        }
    });
    Ok(accepted.answer)
}

async fn run(ctx: Arc<Context>, socket: Socket, wanted: ExecRequest, stdout: bool, stderr: bool) {
    let (mut sink, mut incoming) = socket.split();
    // A client of v4 learns from an empty first frame that its stream is there.
    for (on, channel) in [(stdout, STDOUT), (stderr, STDERR)] {
        if on && sink.send(Message::binary(vec![channel])).await.is_err() {
            return;
        }
    }
    let with_stdin = wanted.stdin;
    let process = match ctx.kubelet.exec(wanted).await {
        Ok(process) => process,
        Err(refusal) => {
            let message = refusal.message;
            let status = json!({ "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError",
                "details": { "causes": [{ "message": message }] }, "code": refusal.status });
            return finish(&mut sink, &status).await;
        }
    };
    let ExecProcess { stdin, stdout: output, stderr: errors, exit } = process;
    let mut stdin = stdin.filter(|_| with_stdin);
    let (sender, mut chunks) = mpsc::channel::<(u8, Bytes)>(16);
    let readers = [
        tokio::spawn(pump(output, STDOUT, stdout, sender.clone())),
        tokio::spawn(pump(errors, STDERR, stderr, sender)),
    ];
    let mut exit = exit;
    let mut code = None;
    let mut open = true;
    loop {
        tokio::select! {
            chunk = chunks.recv(), if open => match chunk {
                Some((channel, bytes)) => {
                    let mut frame = Vec::with_capacity(bytes.len() + 1);
                    frame.push(channel);
                    frame.extend_from_slice(&bytes);
                    if sink.send(Message::binary(frame)).await.is_err() {
                        break;
                    }
                }
                None => open = false,
            },
            result = &mut exit, if code.is_none() => code = Some(result),
            message = incoming.next() => match message {
                Some(Ok(Message::Binary(frame))) => input(&frame, &mut stdin).await,
                Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                // The client is gone: dropping the process ends it.
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
        }
        if !open && let Some(result) = code.take() {
            finish(&mut sink, &exit_status(result)).await;
            drain(&mut incoming).await;
            return;
        }
    }
    for reader in readers {
        reader.abort();
    }
}

/// Reads until the client has closed too, so that the close frame is not lost to a reset.
async fn drain(incoming: &mut futures::stream::SplitStream<Socket>) {
    let closed = async { while let Some(Ok(_)) = incoming.next().await {} };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), closed).await;
}

async fn input(frame: &Bytes, stdin: &mut Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>>) {
    match frame.first() {
        Some(&STDIN) => {
            if let Some(pipe) = stdin
                && (pipe.write_all(&frame[1..]).await.is_err() || pipe.flush().await.is_err())
            {
                *stdin = None;
            }
        }
        Some(&CLOSE) if frame.get(1) == Some(&STDIN) => *stdin = None,
        // Channel 4 carries terminal sizes; there is no terminal to size.
        _ => {}
    }
}

async fn pump(mut from: Box<dyn AsyncRead + Send + Unpin>, channel: u8, wanted: bool, to: mpsc::Sender<(u8, Bytes)>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 {
            break;
        }
        if wanted && to.send((channel, Bytes::copy_from_slice(&buffer[..n]))).await.is_err() {
            break;
        }
    }
}

async fn finish(sink: &mut SplitSink<Socket, Message>, status: &Value) {
    let mut frame = vec![ERROR];
    frame.extend(status.to_string().as_bytes());
    let _ = sink.send(Message::binary(frame)).await;
    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let _ = sink.send(Message::Close(Some(close))).await;
}

fn exit_status(result: std::io::Result<i32>) -> Value {
    match result {
        Ok(0) => json!({ "metadata": {}, "status": "Success" }),
        Ok(code) => json!({ "metadata": {}, "status": "Failure",
            "message": format!("command terminated with non-zero exit code: command terminated with exit code {code}"),
            "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] } }),
        Err(error) => {
            json!({ "metadata": {}, "status": "Failure", "message": format!("the command could not be run: {error}"),
            "reason": "InternalError", "details": { "causes": [{ "message": error.to_string() }] }, "code": 500 })
        }
    }
}

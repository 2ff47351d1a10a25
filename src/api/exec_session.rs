//! A command in a pod, whatever carries its streams: standard input goes in, outputs come out, and last the
//! `Status` that holds the exit code.

use super::kubelet::{ExecProcess, ExecRequest, Kubelet};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Stdout,
    Stderr,
}

/// From the command to its client.
#[derive(Debug)]
pub enum Out {
    Data(Output, Bytes),
    /// The last: the command has ended, or could not be started.
    End(Value),
}

/// From the client to the command.
#[derive(Debug)]
pub enum In {
    Stdin(Bytes),
    /// Standard input is at its end.
    StdinEnd,
    Resize(Size),
}

/// Of a terminal, in characters.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    pub width: u16,
    pub height: u16,
}

/// What ends the input of a terminal that is not closed by it: end of transmission, Ctrl-D.
const END: [u8; 1] = [4];

/// What of the command's streams the client wants.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Whether the client asks an API server, which words a node's refusals as its own.
    pub from_api: bool,
}

/// How much is under way between the command and its client, in messages.
pub const QUEUE: usize = 16;
const CHUNK: usize = 32 * 1024;

/// Runs the command to its end. Dropping it, when the client is gone, kills the command.
pub async fn run(
    kubelet: Arc<dyn Kubelet>,
    request: ExecRequest,
    wanted: Wanted,
    outs: mpsc::Sender<Out>,
    mut ins: mpsc::Receiver<In>,
) {
    let process = match kubelet.exec(request).await {
        Ok(process) => process,
        Err(refusal) => {
            let message = match wanted.from_api {
                true => format!("Internal error occurred: {}", refusal.message),
                false => refusal.message,
            };
            let status = json!({ "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError",
                "details": { "causes": [{ "message": message }] }, "code": refusal.status });
            let _ = outs.send(Out::End(status)).await;
            return;
        }
    };
    let ExecProcess { stdin, keeps_stdin, stdout, stderr, exit, resize } = process;
    let mut stdin = stdin.filter(|_| wanted.stdin);
    // Input has its own turn: a command that does not read must still be heard.
    let input = async {
        while let Some(given) = ins.recv().await {
            let (bytes, ends) = match given {
                In::Stdin(bytes) => (bytes, false),
                In::StdinEnd if resize.is_some() && !keeps_stdin => (Bytes::from_static(&END), true),
                In::StdinEnd => (Bytes::new(), true),
                In::Resize(size) => {
                    resize.iter().for_each(|resize| resize(size.width, size.height));
                    continue;
                }
            };
            if let Some(pipe) = &mut stdin
                && (pipe.write_all(&bytes).await.is_err() || pipe.flush().await.is_err() || ends)
            {
                stdin = None;
            }
        }
        std::future::pending::<()>().await;
    };
    let output = async {
        let copied = futures::future::join(
            pump(stdout, Output::Stdout, wanted.stdout, &outs),
            pump(stderr, Output::Stderr, wanted.stderr, &outs),
        );
        copied.await;
        exit.await
    };
    let result = tokio::select! {
        result = output => result,
        () = input => return,
    };
    let _ = outs.send(Out::End(exit_status(result))).await;
}

async fn pump(mut from: Box<dyn AsyncRead + Send + Unpin>, output: Output, wanted: bool, to: &mpsc::Sender<Out>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 || (wanted && to.send(Out::Data(output, Bytes::copy_from_slice(&buffer[..n]))).await.is_err()) {
            return;
        }
    }
}

fn exit_status(result: io::Result<i32>) -> Value {
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

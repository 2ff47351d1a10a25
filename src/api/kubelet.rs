//! What the API server asks of the node: exec, logs, port-forward. Implemented by the lab's node
//! agent.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};

#[derive(Debug, Clone)]
pub struct ExecRequest {
    pub namespace: String,
    pub pod: String,
    pub container: Option<String>,
    /// Without words: no new command, but the streams of the container's own process, as `attach` asks for them.
    pub command: Vec<String>,
    pub stdin: bool,
    pub tty: bool,
}

/// A running command. Dropping it kills the command, but for the container's own.
pub struct ExecProcess {
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Whether the command's input outlives this client's.
    pub keeps_stdin: bool,
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// The exit code; 128 + N for signal N.
    pub exit: BoxFuture<'static, std::io::Result<i32>>,
    /// Tells the terminal's columns and rows, if there is one.
    pub resize: Option<Box<dyn Fn(u16, u16) + Send + Sync>>,
}

#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    pub namespace: String,
    pub pod: String,
    pub container: Option<String>,
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub tail_lines: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub since_seconds: Option<u64>,
    /// RFC 3339.
    pub since_time: Option<String>,
}

/// Why the node refused: an HTTP status and a sentence in Kubernetes' own words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub status: u16,
    pub message: String,
}

/// A byte stream to a port of a pod.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub trait Kubelet: Send + Sync + 'static {
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecProcess, Refusal>>;
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<BoxStream<'static, Bytes>, Refusal>>;
    /// Connects to `127.0.0.1:port` inside the pod's network namespace.
    fn port_forward(
        &self,
        namespace: String,
        pod: String,
        port: u16,
    ) -> BoxFuture<'_, Result<Box<dyn Stream>, Refusal>>;
}

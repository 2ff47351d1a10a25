//! Exec, logs and port-forward: what the API server asks of the node.

use super::pod::Pod;
use super::{NodeAgent, environment};
use crate::api::kubelet::{ExecProcess, ExecRequest, Kubelet, LogRequest, Refusal, Stream};
use crate::lab::process::ProcessSpec;
use crate::lab::sandbox::Sandbox;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::sync::Arc;

fn refusal(status: u16, message: impl Into<String>) -> Refusal {
    Refusal { status, message: message.into() }
}

impl NodeAgent {
    fn running(&self, namespace: &str, name: &str) -> Result<Arc<Pod>, Refusal> {
        self.find(namespace, name)
            .ok_or_else(|| refusal(404, format!("pod {name} in namespace {namespace} does not run on this node")))
    }
}

fn sandbox(pod: &Pod) -> Result<Arc<Sandbox>, Refusal> {
    pod.sandbox().ok_or_else(|| refusal(500, format!("pod {} has no sandbox yet", pod.name)))
}

impl Kubelet for NodeAgent {
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecProcess, Refusal>> {
        Box::pin(async move {
            let pod = self.running(&request.namespace, &request.pod)?;
            let container = pod.container(request.container.as_deref()).ok_or_else(|| {
                refusal(404, format!("container not found (\"{}\")", request.container.clone().unwrap_or_default()))
            })?;
            if request.command.is_empty() {
                return container
                    .attach(request.stdin)
                    .ok_or_else(|| refusal(500, format!("container {} is not running", container.spec.name)));
            }
            let env = container.env();
            let env = if request.tty { environment::with_terminal(env) } else { env };
            let spec = ProcessSpec {
                argv: request.command.clone(),
                env,
                cwd: container.spec.working_dir.clone().map(Into::into),
                stdin: request.stdin,
                tty: request.tty,
            };
            let mut process = sandbox(&pod)?.spawn(spec).await.map_err(|error| {
                let command = request.command.first().map_or("", String::as_str);
                refusal(500, format!("failed to exec in container: unable to start \"{command}\": {error}"))
            })?;
            let Some(stdout) = process.stdout.take() else {
                return Err(refusal(500, "the process has no output"));
            };
            let (stdin, stderr, terminal) = (process.stdin.take(), process.stderr.take(), process.terminal.take());
            Ok(ExecProcess {
                stdin: stdin.map(|stdin| Box::new(stdin) as _),
                keeps_stdin: false,
                stdout: Box::new(stdout),
                stderr: stderr.map_or_else(|| Box::new(tokio::io::empty()) as _, |stderr| Box::new(stderr) as _),
                resize: terminal.map(|terminal| Box::new(move |columns, rows| terminal.resize(columns, rows)) as _),
                exit: Box::pin(async move { process.wait().await }),
            })
        })
    }

    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<BoxStream<'static, Bytes>, Refusal>> {
        Box::pin(async move {
            let pod = self.running(&request.namespace, &request.pod)?;
            if request.previous {
                let name = request.container.clone().unwrap_or_default();
                return Err(refusal(
                    400,
                    format!("previous terminated container \"{name}\" in pod \"{}\" not found", pod.name),
                ));
            }
            let container = pod.container(request.container.as_deref()).ok_or_else(|| {
                let name = request.container.clone().unwrap_or_default();
                refusal(400, format!("container {name} is not valid for pod {}", pod.name))
            })?;
            Ok(container.log.read(&request))
        })
    }

    fn port_forward(
        &self,
        namespace: String,
        pod: String,
        port: u16,
    ) -> BoxFuture<'_, Result<Box<dyn Stream>, Refusal>> {
        Box::pin(async move {
            let pod = self.running(&namespace, &pod)?;
            let stream = sandbox(&pod)?.connect(port).await.map_err(|error| {
                refusal(500, format!("failed to connect to localhost:{port} inside the pod's namespace: {error}"))
            })?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

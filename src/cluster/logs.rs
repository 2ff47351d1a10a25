//! Following a container's log: one stream kept open for a pod, so that lines arrive as events.
//!
//! Envoy writes access logs when its buffer is flushed (in the lab within a millisecond, a real
//! sidecar once a second, Envoy's own default 10 s): until then, a missing line says nothing.

use super::{Cluster, Error, Pod};
use futures::{AsyncBufReadExt, StreamExt};
use k8s_openapi::api::core::v1 as core;
use kube::Api;
use kube::api::LogParams;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A followed log. Dropping it closes the stream.
pub struct LogFollower {
    lines: Arc<Mutex<Vec<String>>>,
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// The server has answered: lines from now on are seen.
    open: bool,
    count: usize,
    /// Why the stream ended.
    ended: Option<String>,
}

/// A kubelet answers a follow request only with its first line: after this the file is surely open.
const OPEN_LIMIT: Duration = Duration::from_millis(300);

impl Cluster {
    /// Starts to follow a container's log from its present end. Returns when lines written from
    /// now on will be seen.
    pub async fn follow(&self, pod: &Pod, container: &str) -> LogFollower {
        let api: Api<core::Pod> = Api::namespaced(self.client().clone(), &pod.namespace);
        let params = LogParams {
            container: Some(container.to_owned()),
            follow: true,
            tail_lines: Some(0),
            ..LogParams::default()
        };
        let (sender, mut state) = watch::channel(State::default());
        let lines = Arc::new(Mutex::new(vec![]));
        let (name, sink) = (pod.name.clone(), lines.clone());
        let task = tokio::spawn(async move {
            let stream = match api.log_stream(&name, &params).await {
                Ok(stream) => stream,
                Err(error) => {
                    sender.send_modify(|s| s.ended = Some(error.to_string()));
                    return;
                }
            };
            sender.send_modify(|s| s.open = true);
            let mut incoming = stream.lines();
            while let Some(Ok(line)) = incoming.next().await {
                let count = {
                    let mut lines = sink.lock().unwrap_or_else(|e| e.into_inner());
                    lines.push(line);
                    lines.len()
                };
                sender.send_modify(|s| s.count = count);
            }
            sender.send_modify(|s| s.ended = Some("the log stream ended".into()));
        });
        let opened = state.wait_for(|s| s.open || s.ended.is_some());
        let _ = tokio::time::timeout(OPEN_LIMIT, opened).await;
        LogFollower { lines, state, task }
    }

    /// What a container's log holds since `seconds` ago: for what a follow stream may have missed.
    pub async fn log_since(&self, pod: &Pod, container: &str, seconds: i64) -> Result<Vec<String>, Error> {
        let api: Api<core::Pod> = Api::namespaced(self.client().clone(), &pod.namespace);
        let params = LogParams {
            container: Some(container.to_owned()),
            since_seconds: Some(seconds.max(1)),
            ..LogParams::default()
        };
        let doing = format!("reading the log of {}/{} ({container})", pod.namespace, pod.name);
        let text = api.logs(&pod.name, &params).await.map_err(|e| Error::from_kube(doing, e))?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl LogFollower {
    /// The end of what has arrived: lines after it are new.
    pub fn mark(&self) -> usize {
        self.lines.lock().unwrap_or_else(|e| e.into_inner()).len()
    }

    /// The lines that arrived after a mark.
    pub fn since(&self, mark: usize) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(|e| e.into_inner());
        lines.get(mark..).unwrap_or_default().to_vec()
    }

    /// Waits until a line after `mark` is wanted, or the deadline. True if one came.
    pub async fn wait_line(&self, mark: usize, deadline: Instant, wanted: impl Fn(&str) -> bool) -> bool {
        let mut seen = mark;
        let mut state = self.state.clone();
        loop {
            let fresh = self.since(seen);
            if fresh.iter().any(|line| wanted(line)) {
                return true;
            }
            seen += fresh.len();
            if state.borrow().ended.is_some() {
                return false;
            }
            let more = state.wait_for(|s| s.count > seen || s.ended.is_some());
            if !matches!(tokio::time::timeout_at(deadline, more).await, Ok(Ok(_))) {
                return false;
            }
        }
    }

    /// Whether the stream has broken, so that it must be opened anew.
    pub fn ended(&self) -> bool {
        self.state.borrow().ended.is_some()
    }
}

impl Drop for LogFollower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

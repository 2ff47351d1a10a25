//! The gRPC side: ADS and SDS over a Unix socket, and the interface for the control plane.

use super::message::{DiscoveryRequest, DiscoveryResponse};
use super::node::Node;
use super::resource::{ResourceType, Resources};
use super::status::NodeStatus;
use super::wire;
use futures::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

const AGGREGATED: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
const SECRETS: &str = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets";

/// An Envoy that opened an ADS stream.
#[derive(Debug, Clone)]
pub struct ConnectedNode {
    pub id: String,
    /// `envoy.config.core.v3.Node` as proto3 JSON: `id`, `cluster`, `metadata`, `locality`, …
    pub node: Value,
}

/// What the control plane hears from the server.
#[derive(Debug, Clone)]
pub enum Event {
    Connected(ConnectedNode),
    /// Its last ADS stream has ended.
    Disconnected {
        id: String,
    },
    /// Envoy refused a response and keeps what it had.
    Rejected {
        id: String,
        kind: ResourceType,
        version: u64,
        message: String,
    },
}

/// The events, in order. Ends when the server is dropped.
pub type Events = mpsc::UnboundedReceiver<Event>;

struct State {
    nodes: BTreeMap<String, Node>,
    version: u64,
    nonce: u64,
    next_stream: u64,
    events: mpsc::UnboundedSender<Event>,
}

/// The server. Cheap to clone; it ends when the last clone is dropped.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    _accepting: Arc<Task>,
}

struct Shared {
    state: Mutex<State>,
    /// Changes whenever a node's state did.
    changed: watch::Sender<()>,
}

/// A task that ends with its owner.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves a state that is still a state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Listens on a new Unix socket at `socket` (an old file there is replaced). Paths are limited to
    /// 107 bytes by the kernel. Must be called within a Tokio runtime.
    pub fn start(socket: &Path) -> std::io::Result<(Server, Events)> {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        let (events, receiver) = mpsc::unbounded_channel();
        let state = State { nodes: BTreeMap::new(), version: 0, nonce: 0, next_stream: 0, events };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: watch::channel(()).0 });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok((Server { shared, _accepting: Arc::new(Task(accepting)) }, receiver))
    }

    /// Makes `resources` all that `node` should have, and sends what differs from what it has. A node
    /// need not be connected. Returns the version that `synced` can wait for.
    pub fn set(&self, node: &str, resources: Resources) -> u64 {
        let mut state = self.shared.lock();
        let State { nodes, version, nonce, .. } = &mut *state;
        let entry = nodes.entry(node.to_string()).or_default();
        if entry.set(resources, *version + 1) {
            *version += 1;
            entry.send_due(*version, nonce);
        }
        let version = *version;
        drop(state);
        self.shared.changed.send_replace(());
        version
    }

    /// Forgets what a node should have, unless it is connected (again).
    pub fn forget(&self, node: &str) {
        let mut state = self.shared.lock();
        if state.nodes.get(node).is_some_and(|node| node.streams.is_empty()) {
            state.nodes.remove(node);
        }
        drop(state);
        self.shared.changed.send_replace(());
    }

    /// Resolves when every connected node has answered everything set up to `version` (and the requests
    /// that follow from it: endpoints after clusters, routes after listeners, secrets). A refusal is an
    /// answer: see `NodeStatus::errors`. Waits for ever for an Envoy that hangs; the caller limits it.
    pub async fn synced(&self, version: u64) -> Vec<NodeStatus> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.mark_unchanged();
            {
                let state = self.shared.lock();
                // Settled now, or was at a version that is new enough although more has come since.
                let open = |node: &Node| node.settled_version < version && node.unsettled().is_some();
                if !state.nodes.values().any(|node| node.is_connected() && open(node)) {
                    return statuses(&state);
                }
            }
            if changed.changed().await.is_err() {
                return self.status();
            }
        }
    }

    /// Every node known, connected or not, by id.
    pub fn status(&self) -> Vec<NodeStatus> {
        statuses(&self.shared.lock())
    }

    /// All that a node should have of a type, encoded and as proto3 JSON, in order. Empty for a node unknown.
    pub fn wanted(&self, node: &str, kind: ResourceType) -> Vec<(super::wire::Any, Value)> {
        self.shared.lock().nodes.get(node).map_or_else(Vec::new, |node| node.wanted_of(kind))
    }

    /// Why a node is not settled yet, in words.
    pub fn waiting_for(&self, node: &str) -> Option<String> {
        self.shared.lock().nodes.get(node).and_then(Node::unsettled)
    }
}

fn statuses(state: &State) -> Vec<NodeStatus> {
    state.nodes.iter().map(|(id, node)| node.status(id)).collect()
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(serve(stream, shared.clone())); }
                // Out of file descriptors: a connection that ends makes room.
                Err(_) if !connections.is_empty() => { connections.join_next().await; }
                Err(_) => return,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: UnixStream, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, std::convert::Infallible>(route(request, shared).await) }
    });
    // An error here is Envoy's end of the connection; its streams have told so already.
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn route(
    request: http::Request<hyper::body::Incoming>,
    shared: Arc<Shared>,
) -> http::Response<tonic::body::Body> {
    let aggregated = match request.uri().path() {
        AGGREGATED => true,
        SECRETS => false,
        other => return Status::unimplemented(format!("{other} is not served here")).into_http(),
    };
    tonic::server::Grpc::new(tonic_prost::ProstCodec::default())
        .streaming(Discovery { shared, aggregated }, request)
        .await
}

struct Discovery {
    shared: Arc<Shared>,
    aggregated: bool,
}

impl tonic::server::StreamingService<DiscoveryRequest> for Discovery {
    type Response = DiscoveryResponse;
    type ResponseStream = Pin<Box<dyn futures::Stream<Item = Result<DiscoveryResponse, Status>> + Send>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<DiscoveryRequest>>) -> Self::Future {
        let (out, responses) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read(self.shared.clone(), self.aggregated, request.into_inner(), out));
        let responses = UnboundedReceiverStream::new(responses).map(Ok);
        std::future::ready(Ok(Response::new(Box::pin(Responses { responses, _reader: Task(reader) }))))
    }
}

/// The responses of a stream; its reader ends with it.
struct Responses<S> {
    responses: S,
    _reader: Task,
}

impl<S: futures::Stream + Unpin> futures::Stream for Responses<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.responses.poll_next_unpin(context)
    }
}

/// A stream that ended, however it did, is taken off its node.
struct Opened {
    shared: Arc<Shared>,
    node: String,
    stream: u64,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Some(node) = state.nodes.get_mut(&self.node) {
            let was_connected = node.streams.remove(&self.stream).is_some_and(|stream| stream.aggregated);
            if was_connected && !node.is_connected() {
                let _ = state.events.send(Event::Disconnected { id: self.node.clone() });
            }
        }
        drop(state);
        self.shared.changed.send_replace(());
    }
}

async fn read(
    shared: Arc<Shared>,
    aggregated: bool,
    mut requests: Streaming<DiscoveryRequest>,
    out: mpsc::UnboundedSender<DiscoveryResponse>,
) {
    let mut opened: Option<Opened> = None;
    let mut out = Some(out);
    while let Ok(Some(request)) = requests.message().await {
        if let (None, Some(bytes)) = (&opened, &request.node) {
            let Ok(node) = wire::decode_message("envoy.config.core.v3.Node", bytes) else { return };
            let id = node["id"].as_str().unwrap_or_default().to_string();
            let Some(out) = out.take() else { return };
            let mut state = shared.lock();
            state.next_stream += 1;
            let stream = state.next_stream;
            state.nodes.entry(id.clone()).or_default().open(stream, aggregated, out);
            if aggregated {
                let _ = state.events.send(Event::Connected(ConnectedNode { id: id.clone(), node }));
            }
            drop(state);
            opened = Some(Opened { shared: shared.clone(), node: id, stream });
        }
        // A stream whose first request names no node cannot be served.
        let Some(opened) = &opened else { return };
        if let Some(kind) = ResourceType::from_type_url(&request.type_url) {
            take(&shared, opened, kind, &request);
        }
    }
}

fn take(shared: &Shared, opened: &Opened, kind: ResourceType, request: &DiscoveryRequest) {
    let mut state = shared.lock();
    let State { nodes, version, nonce, events, .. } = &mut *state;
    let Some(node) = nodes.get_mut(&opened.node) else { return };
    if let Some(rejection) = node.take(opened.stream, kind, request) {
        let id = opened.node.clone();
        let _ = events.send(Event::Rejected { id, kind, version: rejection.version, message: rejection.message });
    }
    node.send_due(*version, nonce);
    drop(state);
    shared.changed.send_replace(());
}

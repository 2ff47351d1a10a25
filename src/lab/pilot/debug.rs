//! The HTTP interface that istiod has on its port 15014, as far as people and this tool use it, and
//! one thing more: whether every proxy has everything.

use super::Follower;
use super::config_dump;
use super::push::Progress;
use crate::lab::bootstrap::ISTIO_VERSION;
use crate::xds::{NodeStatus, ResourceType, Server};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

pub struct Debug {
    pub server: Server,
    pub progress: watch::Sender<Progress>,
    /// A resourceVersion that somebody waits for: it is pushed as soon as it is known.
    pub asked: watch::Sender<u64>,
    /// A resourceVersion to list up to, where the API tells of none.
    pub wanted: watch::Sender<u64>,
    pub network: Follower,
}

/// What `report` knows.
const REPORTS: [&str; 5] = ["config_dump", "connections", "list", "push_status", "syncz"];
/// In place of the commit and the state of the tree that an istiod was built from.
pub const BUILD_REVISION: &str = "lab";
pub const BUILD_STATUS: &str = "Clean";

/// How long the API may take to send its bookmarks. The lab's own does so with each write; a
/// kube-apiserver once a minute.
const BOOKMARKS: Duration = Duration::from_millis(100);

type Answer = Response<Full<Bytes>>;

impl Debug {
    pub async fn serve(self: Arc<Self>, listener: std::net::TcpListener) {
        super::serve::serve(listener, |stream| self.clone().converse(stream)).await;
    }

    /// One connection. A client that goes away ends it, and with it what it waited for.
    async fn converse(self: Arc<Self>, stream: tokio::net::TcpStream) {
        let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let debug = self.clone();
            async move { Ok::<_, std::convert::Infallible>(debug.answer(request.method(), request.uri()).await) }
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    /// What istiod's debug paths answer at once: `syncz`, `config_dump?proxyID=POD.NS`, … `None` for a path that is not
    /// served. The same over HTTP and, for `istioctl x internal-debug`, over xDS.
    pub fn report(&self, name: &str, query: &str) -> Option<Value> {
        Some(match name {
            "syncz" => self.syncz(),
            "push_status" => (*self.progress.borrow().push_status).clone(),
            "connections" => self.connections(),
            "config_dump" => {
                let given = query.split('&').find_map(|part| part.strip_prefix("proxyID=")).unwrap_or_default();
                let Some(id) = self.node_id(given) else {
                    return Some(Value::String(format!(
                        "Proxy not connected to this Pilot instance. It may be connected to another instance.: {given}"
                    )));
                };
                config_dump::json(&self.server, &id)
            }
            "list" => json!(REPORTS.map(|name| format!("/debug/{name}"))),
            _ => return None,
        })
    }

    /// The node whose pod is `POD.NAMESPACE` (or whose id it is).
    pub fn node_id(&self, given: &str) -> Option<String> {
        let nodes = self.server.status();
        nodes.into_iter().filter(|node| node.connected).map(|node| node.id).find(|id| name(id) == given || id == given)
    }

    fn connections(&self) -> Value {
        let nodes: Vec<NodeStatus> = self.server.status().into_iter().filter(|node| node.connected).collect();
        let client = |node: &NodeStatus| {
            json!({ "connectionId": name(&node.id),
                "watches": node.types.keys().map(|kind| kind.type_url()).collect::<Vec<_>>() })
        };
        json!({ "totalClients": nodes.len(), "clients": nodes.iter().map(client).collect::<Vec<_>>() })
    }

    async fn answer(&self, method: &Method, uri: &http::Uri) -> Answer {
        if method != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n");
        }
        // istioctl asks for `//version`; Go's servers clean paths.
        let path = format!("/{}", uri.path().trim_start_matches('/'));
        match path.as_str() {
            "/ready" => self.ready(),
            "/debug/lab/synced" => self.synced(uri.query().unwrap_or_default()).await,
            "/debug/lab/state" => self.state(),
            "/version" => text(StatusCode::OK, &format!("{ISTIO_VERSION}-{BUILD_REVISION}-{BUILD_STATUS}")),
            other => {
                match other.strip_prefix("/debug/").and_then(|name| self.report(name, uri.query().unwrap_or(""))) {
                    Some(Value::String(sentence)) => text(StatusCode::NOT_FOUND, &sentence),
                    Some(value) => json_text(&value),
                    None => text(StatusCode::NOT_FOUND, &format!("{other} is not served by the lab's pilot\n")),
                }
            }
        }
    }

    fn ready(&self) -> Answer {
        match self.progress.borrow().seen {
            Some(_) => text(StatusCode::OK, ""),
            None => text(StatusCode::SERVICE_UNAVAILABLE, "kinds are still being listed\n"),
        }
    }

    /// Waits until all up to `rv` is compiled, pushed, and answered by every connected proxy.
    async fn synced(&self, query: &str) -> Answer {
        let given = query.split('&').find_map(|part| part.strip_prefix("rv=")).unwrap_or("0");
        let Ok(wanted) = given.parse::<u64>() else {
            return text(StatusCode::BAD_REQUEST, &format!("rv={given} is not a resourceVersion\n"));
        };
        self.asked.send_modify(|before| *before = wanted.max(*before));
        let mut progress = self.progress.subscribe();
        let there = |progress: &Progress| progress.seen.is_some_and(|seen| seen >= wanted);
        if tokio::time::timeout(BOOKMARKS, progress.wait_for(there)).await.is_err() {
            self.wanted.send_modify(|before| *before = wanted.max(*before));
        }
        let (seen, version) = match progress.wait_for(there).await {
            Ok(progress) => (progress.seen, progress.version),
            Err(_) => return text(StatusCode::SERVICE_UNAVAILABLE, "the pilot has ended\n"),
        };
        let mut in_force = self.network.seen.clone();
        if tokio::time::timeout(BOOKMARKS, in_force.wait_for(|seen| *seen >= wanted)).await.is_err() {
            self.network.wanted.send_modify(|before| *before = wanted.max(*before));
        }
        if in_force.wait_for(|seen| *seen >= wanted).await.is_err() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the lab's network has ended\n");
        }
        let nodes = self.server.synced(version).await;
        let proxies: Vec<Value> = nodes.iter().filter(|node| node.connected).map(told).collect();
        json_text(&json!({"rv": wanted, "seen": seen, "version": version, "proxies": proxies}))
    }

    /// The same without waiting, with what is being waited for.
    fn state(&self) -> Answer {
        let progress = self.progress.borrow().clone();
        let proxies: Vec<Value> = self
            .server
            .status()
            .iter()
            .map(|node| {
                let mut told = told(node);
                told["connected"] = node.connected.into();
                told["waitingFor"] = self.server.waiting_for(&node.id).into();
                told
            })
            .collect();
        json_text(&json!({
            "seen": progress.seen,
            "behind": progress.behind,
            "version": progress.version,
            "pushes": progress.pushes,
            "lastCompileMicroseconds": u64::try_from(progress.last_compile.as_micros()).unwrap_or(u64::MAX),
            "proxies": proxies,
        }))
    }

    /// What `istioctl proxy-status` shows.
    fn syncz(&self) -> Value {
        let of = |node: &NodeStatus| {
            let mut entry = Map::new();
            entry.insert("cluster_id".into(), "Kubernetes".into());
            entry.insert("proxy".into(), name(&node.id).into());
            entry.insert("proxy_type".into(), node.id.split('~').next().unwrap_or_default().into());
            entry.insert("istio_version".into(), ISTIO_VERSION.into());
            for (kind, word) in [
                (ResourceType::Cluster, "cluster"),
                (ResourceType::Listener, "listener"),
                (ResourceType::Route, "route"),
                (ResourceType::Endpoint, "endpoint"),
            ] {
                let status = node.types.get(&kind).cloned().unwrap_or_default();
                let number = |version: Option<u64>| version.map_or(String::new(), |version| version.to_string());
                entry.insert(format!("{word}_sent"), number(status.sent).into());
                entry.insert(format!("{word}_acked"), number(status.accepted).into());
            }
            Value::Object(entry)
        };
        let nodes: Vec<Value> = self.server.status().iter().filter(|node| node.connected).map(of).collect();
        Value::Array(nodes)
    }
}

fn told(node: &NodeStatus) -> Value {
    let versions: Map<String, Value> =
        node.types.iter().map(|(kind, status)| (kind.service().to_string(), status.accepted.into())).collect();
    let missing: Map<String, Value> = node
        .types
        .iter()
        .filter(|(_, status)| !status.missing.is_empty())
        .map(|(kind, status)| (kind.service().to_string(), status.missing.clone().into()))
        .collect();
    json!({
        "proxy": name(&node.id),
        "acked": node.accepted(),
        "settled": node.settled,
        "version": node.version,
        "versions": versions,
        "errors": node.errors(),
        "missing": missing,
    })
}

/// `POD.NAMESPACE` of a node id.
fn name(id: &str) -> &str {
    id.split('~').nth(2).unwrap_or(id)
}

fn json_text(value: &Value) -> Answer {
    let mut answer = text(StatusCode::OK, &format!("{value:#}\n"));
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}

fn text(status: StatusCode, body: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *answer.status_mut() = status;
    answer
}

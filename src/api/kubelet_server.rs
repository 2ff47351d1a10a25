//! A kubelet's HTTPS endpoint, as a kube-apiserver calls it: `/exec`, `/attach`, `/containerLogs`, `/portForward`. The same
//! streams as behind this API server, at the paths of a node.

use super::answer::{self, Answer};
use super::exec_session::Wanted;
use super::failure::Failure;
use super::kubelet::{ExecRequest, Kubelet, LogRequest};
use super::listener::{self, Serving, Tls};
use super::request::{Query, Request, percent_decode};
use super::{exec, logs, portforward};
use bytes::Bytes;
use http::{StatusCode, header};
use hyper::body::Incoming;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// A running endpoint. Dropping it ends it and all its connections.
pub struct KubeletServer {
    address: SocketAddr,
    _serving: Serving,
}

impl KubeletServer {
    /// Serves the node's pods on a loopback listener, to clients with a certificate of the CA.
    ///
    /// # Errors
    /// The listener is not on loopback, or a PEM is unusable.
    pub fn start(listener: TcpListener, tls: &Tls, kubelet: Arc<dyn Kubelet>) -> io::Result<KubeletServer> {
        let address = listener.local_addr()?;
        let handler: listener::Handler = Arc::new(move |request, known| {
            let kubelet = kubelet.clone();
            Box::pin(async move {
                let answered = if known { answer(kubelet, request).await } else { Err(Failure::unauthorized()) };
                answered.unwrap_or_else(|failure| plain(&failure))
            })
        });
        Ok(KubeletServer { address, _serving: listener::serve(listener, tls, handler)? })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A kubelet's errors are plain text; the API server makes a `Status` of them.
fn plain(failure: &Failure) -> Answer {
    answer::with_type(failure.code, "text/plain; charset=utf-8", answer::full(failure.message.clone().into_bytes()))
}

async fn answer(kubelet: Arc<dyn Kubelet>, mut incoming: hyper::Request<Incoming>) -> Result<Answer, Failure> {
    let upgrade = incoming.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut incoming));
    let (parts, _) = incoming.into_parts();
    let request = Request {
        method: parts.method,
        path: parts.uri.path().to_string(),
        query: Query::parse(parts.uri.query().unwrap_or("")),
        headers: parts.headers,
        body: Bytes::new(),
    };
    let path: Vec<String> = request.path.split('/').filter(|part| !part.is_empty()).map(percent_decode).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["healthz"] => Ok(answer::with_type(200, "text/plain", answer::full(b"ok".to_vec()))),
        // The pod's uid may stand between its name and its container.
        [verb @ ("exec" | "attach"), namespace, pod, container]
        | [verb @ ("exec" | "attach"), namespace, pod, _, container] => {
            let query = &request.query;
            let (stdin, stdout, stderr) = (query.flag("input"), query.flag("output"), query.flag("error"));
            if !stdin && !stdout && !stderr {
                return Err(Failure::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
            }
            let tty = query.flag("tty");
            if *verb == "exec" && query.get("command").is_none() {
                return Err(Failure::bad_request("you must specify at least one command for the container"));
            }
            let command = ExecRequest {
                namespace: namespace.to_string(),
                pod: pod.to_string(),
                container: Some(container.to_string()),
                command: query.all("command").filter(|_| *verb == "exec").map(str::to_string).collect(),
                stdin,
                tty,
            };
            exec::begin(
                kubelet,
                &request,
                upgrade,
                command,
                Wanted { stdin, stdout, stderr: stderr && !tty, from_api: false },
            )
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
            portforward::begin(kubelet, &request, upgrade, "port", namespace.to_string(), pod.to_string())
        }
        ["containerLogs", namespace, pod, container] => {
            let wanted = LogRequest {
                namespace: namespace.to_string(),
                pod: pod.to_string(),
                container: Some(container.to_string()),
                ..logs::options(&request.query)?
            };
            let lines = kubelet.logs(wanted).await.map_err(|refusal| logs::refused(&refusal))?;
            Ok(answer::with_type(200, "text/plain", answer::stream(lines)))
        }
        _ => Err(Failure::new(
            StatusCode::NOT_FOUND.as_u16(),
            "NotFound",
            format!(
                "{} is not served by this node; it serves /exec, /attach, /containerLogs and /portForward",
                request.path
            ),
        )),
    }
}

//! A server on a free port, a client of it, and a node whose pods are processes of this host.

use bytes::Bytes;
use egress_scn::api::kubelet::{ExecProcess, ExecRequest, Kubelet, LogRequest, Refusal, Stream};
use egress_scn::api::{Config, Server};
use egress_scn::lab::authority::{Authority, Identity, Leaf};
use egress_scn::lab::istio_kinds::istio_kinds;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::AsyncWrite;

pub struct Lab {
    pub server: Server,
    pub client: kube::Client,
    pub ca: String,
    pub identity: Identity,
}

/// Runs commands on this host, whatever the pod.
pub struct Host;

impl Kubelet for Host {
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecProcess, Refusal>> {
        async move {
            let mut command = tokio::process::Command::new(&request.command[0]);
            command.args(&request.command[1..]).kill_on_drop(true);
            let stdin = if request.stdin { Stdio::piped() } else { Stdio::null() };
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child =
                command.spawn().map_err(|e| Refusal { status: 500, message: format!("exec failed: {e}") })?;
            Ok(ExecProcess {
                stdin: child.stdin.take().map(|s| Box::new(s) as Box<dyn AsyncWrite + Send + Unpin>),
                stdout: Box::new(child.stdout.take().unwrap()),
                stderr: Box::new(child.stderr.take().unwrap()),
                exit: async move { Ok(child.wait().await?.code().unwrap_or(128 + 9)) }.boxed(),
                resize: None,
                keeps_stdin: false,
            })
        }
        .boxed()
    }

    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<BoxStream<'static, Bytes>, Refusal>> {
        let mut lines: Vec<String> = (1..=5).map(|i| format!("{} line {i}\n", request.pod)).collect();
        if let Some(n) = request.tail_lines {
            lines.drain(..lines.len().saturating_sub(n as usize));
        }
        let chunks: Vec<Bytes> = lines.into_iter().map(Bytes::from).collect();
        let stream: BoxStream<'static, Bytes> = Box::pin(futures::stream::iter(chunks));
        async move { Ok(stream) }.boxed()
    }

    fn port_forward(&self, _: String, _: String, port: u16) -> BoxFuture<'_, Result<Box<dyn Stream>, Refusal>> {
        async move {
            let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .map_err(|e| Refusal { status: 500, message: e.to_string() })?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        }
        .boxed()
    }
}

/// A fresh server with Istio's kinds and a client with a certificate.
pub fn start() -> Lab {
    let authority = Authority::new("api").unwrap();
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let server = authority.issue(&Leaf { ips: vec![loopback], ..Leaf::default() }).unwrap();
    let user =
        Leaf { common_name: Some("lab-admin".into()), organization: Some("system:masters".into()), ..Leaf::default() };
    let identity = authority.issue(&user).unwrap();
    let ca = authority.root_pem();
    let config = Config {
        listener: std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        chain_pem: server.chain_pem,
        key_pem: server.key_pem,
        client_ca_pem: ca.clone(),
        custom_resources: istio_kinds(),
        admission: vec![Arc::new(egress_scn::lab::controllers::injection::Injector)],
    };
    let server = Server::start(config, Arc::new(Host)).unwrap();
    let client = client(&server, &ca, Some(&identity));
    Lab { server, client, ca, identity }
}

/// A client of the server, with or without a certificate.
pub fn client(server: &Server, ca: &str, identity: Option<&Identity>) -> kube::Client {
    client_at(server.address(), ca, identity)
}

/// The same at an address that leads to the server.
pub fn client_at(address: std::net::SocketAddr, ca: &str, identity: Option<&Identity>) -> kube::Client {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let mut user = serde_json::json!({});
    if let Some(identity) = identity {
        user["client-certificate-data"] = encode(&identity.chain_pem).into();
        user["client-key-data"] = encode(&identity.key_pem).into();
    }
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{ "name": "lab", "cluster": { "server": format!("https://{address}"),
            "certificate-authority-data": encode(ca) } }],
        "users": [{ "name": "lab", "user": user }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "lab", "namespace": "default" } }],
    });
    let kubeconfig: kube::config::Kubeconfig = serde_json::from_value(kubeconfig).unwrap();
    // Reading a kubeconfig that is at hand does no waiting: the future is ready at once.
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).now_or_never().unwrap().unwrap();
    kube::Client::try_from(config).unwrap()
}

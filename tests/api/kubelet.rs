//! Streams over plain SPDY: exec of kubectl before 1.30, and a node's endpoint as a kube-apiserver calls it.

use crate::lab::{Host, Lab, start};
use egress_scn::api::KubeletServer;
use egress_scn::api::listener::Tls;
use egress_scn::lab::authority::{Authority, Identity, Leaf};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const FIN: u8 = 1;

/// A client with an upgraded connection.
struct Client {
    stream: TlsStream<TcpStream>,
    opened: u32,
}

async fn connect(address: SocketAddr, ca: &str, identity: Option<&Identity>) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some(identity) => {
            let chain = vec![CertificateDer::from_pem_slice(identity.chain_pem.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Sends a request's head; the answer's head.
async fn ask(stream: &mut TlsStream<TcpStream>, head: &str) -> String {
    stream.write_all(format!("{head}\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

impl Client {
    async fn upgrade(mut stream: TlsStream<TcpStream>, path: &str, protocols: &str) -> Client {
        let head = format!(
            "POST {path} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {protocols}\r\n\
             Content-Length: 0"
        );
        let answer = ask(&mut stream, &head).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        Client { stream, opened: 0 }
    }

    /// Opens a stream with headers; its number.
    async fn open(&mut self, headers: &[(&str, &str)]) -> u32 {
        let number = |n: usize| u32::try_from(n).unwrap().to_be_bytes();
        let mut block = number(headers.len()).to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend(number(text.len()));
            block.extend(text.as_bytes());
        }
        let id = 2 * self.opened + 1;
        let mut payload = id.to_be_bytes().to_vec();
        payload.extend([0; 6]);
        if self.opened == 0 {
            payload.extend([0x78, 0x01]);
        }
        self.opened += 1;
        let length = u16::try_from(block.len()).unwrap();
        payload.push(0);
        payload.extend(length.to_le_bytes());
        payload.extend((!length).to_le_bytes());
        payload.extend(block);
        payload.extend([0, 0, 0, 0xFF, 0xFF]);
        let mut frame = vec![0x80, 3, 0, 1];
        frame.extend(number(payload.len()));
        frame.extend(payload);
        self.stream.write_all(&frame).await.unwrap();
        id
    }

    async fn send(&mut self, id: u32, bytes: &[u8], last: bool) {
        let mut frame = id.to_be_bytes().to_vec();
        let mut length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        length[0] = if last { FIN } else { 0 };
        frame.extend(length);
        frame.extend(bytes);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// What comes on each stream, until all of `until` have ended.
    async fn receive(&mut self, until: &[u32]) -> BTreeMap<u32, String> {
        let mut got: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let mut open = until.to_vec();
        while !open.is_empty() {
            let mut head = [0; 8];
            self.stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.unwrap();
            if head[0] & 0x80 == 0 {
                let id = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
                got.entry(id).or_default().extend(payload);
                if head[4] & FIN != 0 {
                    open.retain(|wanted| *wanted != id);
                }
            }
        }
        got.into_iter().map(|(id, bytes)| (id, String::from_utf8(bytes).unwrap())).collect()
    }
}

/// Runs `cat >&2` over SPDY with input, and a command that fails; what both do is told.
async fn check_exec(address: SocketAddr, ca: &str, identity: &Identity, path: &str) {
    let protocols = "v5.channel.k8s.io, v4.channel.k8s.io, v3.channel.k8s.io";
    let separator = if path.contains('?') { '&' } else { '?' };
    let command = "command=sh&command=-c&command=cat%20%3E%262%3B%20echo%20out%3B%20exit%207";
    let stream = connect(address, ca, Some(identity)).await;
    let mut client = Client::upgrade(stream, &format!("{path}{separator}{command}"), protocols).await;
    let errors = client.open(&[("streamType", "error")]).await;
    let stdin = client.open(&[("streamType", "stdin")]).await;
    // More than a pipe holds, before the command can have been started.
    let big = "x".repeat(200_000);
    client.send(stdin, big.as_bytes(), true).await;
    let stdout = client.open(&[("streamType", "stdout")]).await;
    let stderr = client.open(&[("streamType", "stderr")]).await;
    let got = client.receive(&[errors, stdout, stderr]).await;
    assert_eq!(got[&stdout], "out\n");
    assert_eq!(got[&stderr].len(), big.len());
    let status: Value = serde_json::from_str(&got[&errors]).unwrap();
    assert_eq!(status["reason"], "NonZeroExitCode", "{status}");
    assert_eq!(status["details"]["causes"][0], json!({ "reason": "ExitCode", "message": "7" }));
}

#[tokio::test]
async fn exec_over_spdy_gives_both_streams_and_the_exit_code() {
    let Lab { server, client, ca, identity } = start();
    let pods: Api<Pod> = Api::default_namespaced(client);
    let pod = json!({ "metadata": { "name": "p" },
        "spec": { "nodeName": "lab", "containers": [{ "name": "c", "image": "i" }] } });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let path = "/api/v1/namespaces/default/pods/p/exec?container=c&stdin=true&stdout=true&stderr=true";
    check_exec(server.address(), &ca, &identity, path).await;
}

#[tokio::test]
async fn a_node_serves_exec_logs_and_ports_to_an_api_server_alone() {
    let authority = Authority::new("api").unwrap();
    let leaf = Leaf { ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], ..Leaf::default() };
    let (node, identity) = (authority.issue(&leaf).unwrap(), authority.issue(&Leaf::default()).unwrap());
    let ca = authority.root_pem();
    let tls = Tls { chain_pem: node.chain_pem, key_pem: node.key_pem, client_ca_pem: ca.clone() };
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = KubeletServer::start(listener, &tls, Arc::new(Host)).unwrap();
    let address = server.address();

    let logs = "GET /containerLogs/default/p/c?tailLines=2 HTTP/1.1\r\nConnection: close";
    let mut stranger = connect(address, &ca, None).await;
    assert!(ask(&mut stranger, logs).await.starts_with("HTTP/1.1 401 "));
    let mut known = connect(address, &ca, Some(&identity)).await;
    let head = ask(&mut known, logs).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut body = String::new();
    known.read_to_string(&mut body).await.unwrap();
    assert!(body.contains("p line 4\n") && body.contains("p line 5\n") && !body.contains("line 3"), "{body}");

    check_exec(address, &ca, &identity, "/exec/default/p/c?input=1&output=1&error=1").await;

    let echo = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = echo.local_addr().unwrap().port().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = echo.accept().await.unwrap();
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap();
    });
    let stream = connect(address, &ca, Some(&identity)).await;
    let mut client = Client::upgrade(stream, "/portForward/default/p", "portforward.k8s.io").await;
    let headers = |kind: &'static str| [("streamType", kind), ("port", port.as_str()), ("requestID", "0")];
    let errors = client.open(&headers("error")).await;
    let data = client.open(&headers("data")).await;
    client.send(data, b"ping", true).await;
    let got = client.receive(&[errors, data]).await;
    assert_eq!(got[&data], "ping");
}

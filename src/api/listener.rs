//! An HTTPS listener on loopback: TLS with client certificates, HTTP/1.1 or HTTP/2 as the client asks.

use super::answer;
pub use super::answer::Answer;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// How long a client may take for its TLS handshake. Hundreds at once on a busy machine take many seconds.
const HANDSHAKE: Duration = Duration::from_secs(60);
/// How many connections may be open at once.
const MAX_CONNECTIONS: usize = 4096;

/// What a listener proves itself with, and whom it knows. PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    pub chain_pem: String,
    pub key_pem: String,
    /// The CA whose certificates are let in.
    pub client_ca_pem: String,
}

/// Answers a request; the flag tells whether the client has shown a certificate of the CA.
pub type Handler = Arc<dyn Fn(hyper::Request<Incoming>, bool) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A task that ends with its owner, and with it all its connections.
pub struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts serving on the current Tokio runtime.
///
/// # Errors
/// The listener is not on loopback, or a PEM is unusable.
pub fn serve(listener: TcpListener, tls: &Tls, handler: Handler) -> io::Result<Serving> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        return Err(invalid(format!("the server must listen on a loopback address, not on {address}")));
    }
    let tls = acceptor(tls).map_err(|error| invalid(error.to_string()))?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(Serving(tokio::spawn(accept(listener, tls, handler))))
}

fn acceptor(given: &Tls) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(given.client_ca_pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    // A client without a certificate is answered with 401, which tells more than a broken handshake.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(given.chain_pem.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(given.key_pem.as_bytes())?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

async fn accept(listener: tokio::net::TcpListener, tls: TlsAcceptor, handler: Handler) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
            continue;
        }
        // An accept fails for one connection's sake or for want of descriptors: then one must end first.
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                connections.spawn(converse(stream, tls.clone(), handler.clone()));
            }
            Err(_) if connections.is_empty() => return,
            Err(_) => {
                connections.join_next().await;
            }
        }
    }
}

async fn converse(stream: tokio::net::TcpStream, tls: TlsAcceptor, handler: Handler) {
    // A handshake that fails is the client's to report: it has the reason.
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await else { return };
    let known = stream.get_ref().1.peer_certificates().is_some_and(|c| !c.is_empty());
    let service = hyper::service::service_fn(move |request| {
        let answer = handler(request, known);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    // A broken connection ends; there is nobody left to tell.
    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

/// A plain answer in JSON.
pub fn json(body: &serde_json::Value) -> Answer {
    answer::json_answer(200, body)
}

/// A plain answer in words.
pub fn text(status: u16, body: &str) -> Answer {
    answer::with_type(status, "text/plain; charset=utf-8", answer::full(body.as_bytes().to_vec()))
}

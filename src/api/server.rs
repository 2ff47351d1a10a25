//! The HTTPS listener: TLS with client certificates, HTTP/1.1 or HTTP/2 as the client asks.

use super::context::{Admission, Context};
use super::crd;
use super::failure::Failure;
use super::kubelet::Kubelet;
use super::request::Target;
use super::resource::{CustomResource, Registry, Resource};
use super::store::Store;
use super::write::{self, WriteOptions};
use super::{dispatch, patch};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many connections may be open at once.
const MAX_CONNECTIONS: usize = 4096;

pub struct Config {
    /// Bound to a loopback address.
    pub listener: TcpListener,
    /// The server's certificate chain and key, PEM.
    pub chain_pem: String,
    pub key_pem: String,
    /// The CA whose certificates are let in, PEM.
    pub client_ca_pem: String,
    pub custom_resources: Vec<CustomResource>,
    pub admission: Vec<Arc<dyn Admission>>,
}

/// A running server. Dropping it ends it and all its connections.
pub struct Server {
    context: Arc<Context>,
    address: SocketAddr,
    accept: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

impl Server {
    /// Starts serving on the current Tokio runtime. The namespaces `default`, `kube-system`,
    /// `kube-public` and `kube-node-lease` exist from the start.
    ///
    /// Fails if the listener is not on loopback or a PEM is unusable.
    pub fn start(config: Config, kubelet: Arc<dyn Kubelet>) -> io::Result<Server> {
        let address = config.listener.local_addr()?;
        if !address.ip().is_loopback() {
            let what = format!("the API server must listen on a loopback address, not on {address}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let tls = tls(&config).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let mut registry = Registry::builtin();
        for resource in &config.custom_resources {
            registry.add(Resource::from(resource));
        }
        let context = Arc::new(Context::new(registry, kubelet, config.admission));
        config.listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(config.listener)?;
        let server = Server { context: context.clone(), address, accept: tokio::spawn(accept(listener, tls, context)) };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            server
                .seed(serde_json::json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))?;
        }
        for resource in &config.custom_resources {
            server.seed(crd::definition(resource))?;
        }
        Ok(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The store, to look at (tests, readiness).
    pub fn store(&self) -> Store {
        self.context.store.clone()
    }

    /// Applies an object as a client would, with the field manager `lab`. Its status is kept too.
    pub fn seed(&self, object: Value) -> Result<Arc<Value>, Failure> {
        let Some((resource, version)) = self.context.registry().of_object(&object) else {
            return Err(Failure::no_such_resource());
        };
        let name = super::object::name(&object).to_string();
        let given = super::object::namespace(&object).to_string();
        let namespace = resource.namespaced.then(|| if given.is_empty() { "default".to_string() } else { given });
        let target = Target { resource, version, namespace, name: Some(name), subresource: None };
        let options = WriteOptions { manager: "lab".into(), force: true, ..WriteOptions::default() };
        let status = object.get("status").filter(|_| target.resource.has("status")).cloned();
        let written = patch::apply(&self.context, &target, &options, object.clone())?;
        let Some(status) = status else { return Ok(written.object) };
        let target = Target { subresource: Some("status".into()), ..target };
        let mut with_status = (*written.object).clone();
        with_status["status"] = status;
        let mut state = self.context.store.lock();
        let live = write::live(&state, &target)?;
        Ok(write::update_locked(&self.context, &mut state, &target, &options, &live, with_status, true)?.object)
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> io::Error {
        io::Error::other(failure.message)
    }
}

fn tls(config: &Config) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(config.client_ca_pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    // A client without a certificate is answered with 401, which tells more than a broken handshake.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(config.chain_pem.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(config.key_pem.as_bytes())?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

async fn accept(listener: tokio::net::TcpListener, tls: TlsAcceptor, context: Arc<Context>) {
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
                connections.spawn(serve(stream, tls.clone(), context.clone()));
            }
            Err(_) if connections.is_empty() => return,
            Err(_) => {
                connections.join_next().await;
            }
        }
    }
}

async fn serve(stream: tokio::net::TcpStream, tls: TlsAcceptor, context: Arc<Context>) {
    // A handshake that fails is the client's to report: it has the reason.
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await else { return };
    let known = stream.get_ref().1.peer_certificates().is_some_and(|c| !c.is_empty());
    let service = hyper::service::service_fn(move |request| {
        let context = context.clone();
        async move { Ok::<_, std::convert::Infallible>(dispatch::handle(context, request, known).await) }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    // A broken connection ends; there is nobody left to tell.
    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

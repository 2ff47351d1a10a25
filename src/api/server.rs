//! The API server: its store and what it serves, behind an HTTPS listener.

use super::answer::Answer;
use super::context::{Admission, Context};
use super::crd;
use super::failure::Failure;
use super::kubelet::Kubelet;
use super::listener::{self, Serving, Tls};
use super::request::Target;
use super::resource::{CustomResource, Registry, Resource};
use super::store::Store;
use super::write::{self, WriteOptions};
use super::{dispatch, patch};
use futures::future::BoxFuture;
use hyper::body::Body;
use serde_json::Value;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

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
    _serving: Serving,
}

impl Server {
    /// Starts serving on the current Tokio runtime. The namespaces `default`, `kube-system`,
    /// `kube-public` and `kube-node-lease` exist from the start, and the Service `kubernetes`.
    ///
    /// Fails if the listener is not on loopback or a PEM is unusable.
    pub fn start(config: Config, kubelet: Arc<dyn Kubelet>) -> io::Result<Server> {
        let address = config.listener.local_addr()?;
        let mut registry = Registry::builtin();
        for resource in &config.custom_resources {
            registry.add(Resource::from(resource));
        }
        let context = Arc::new(Context::new(registry, kubelet, config.admission));
        let tls = Tls { chain_pem: config.chain_pem, key_pem: config.key_pem, client_ca_pem: config.client_ca_pem };
        let answering = context.clone();
        let handler: listener::Handler =
            Arc::new(move |request, known| Box::pin(dispatch::handle(answering.clone(), request, known)));
        let serving = listener::serve(config.listener, &tls, handler)?;
        let server = Server { context, address, _serving: serving };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            server
                .seed(serde_json::json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))?;
        }
        // The API's own address within the cluster.
        server.seed(serde_json::json!({ "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "kubernetes", "namespace": "default",
                "labels": { "component": "apiserver", "provider": "kubernetes" } },
            "spec": { "clusterIP": "10.96.0.1",
                "ports": [{ "name": "https", "port": 443, "targetPort": address.port() }] } }))?;
        for resource in &config.custom_resources {
            server.seed(crd::definition(resource))?;
        }
        Ok(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests of who lives in the server's own process, and needs neither socket nor TLS nor certificate: as it
    /// answers an administrator's. Streams that take a connection over (exec, port-forward) need one.
    pub fn in_process<B>(&self) -> impl Fn(http::Request<B>) -> BoxFuture<'static, Answer> + Clone + Send + use<B>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let context = self.context.clone();
        move |request| Box::pin(dispatch::handle(context.clone(), request, true))
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

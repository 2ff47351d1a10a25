//! istiod's debug reports over xDS, as istioctl asks for them: a port-forward to istiod's 15012, TLS, the token of a
//! ServiceAccount, and a request for a type of `istio.io/debug`.

use super::config_dump;
use super::debug::{BUILD_REVISION, BUILD_STATUS, Debug};
use crate::lab::authority::{Authority, Leaf};
use crate::lab::bootstrap::ISTIO_VERSION;
use crate::xds::message::DiscoveryRequest;
use crate::xds::wire::Any;
use crate::xds::{NodeStatus, ResourceType, TypeStatus};
use futures::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{Api, PostParams};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, Streaming};

const AGGREGATED: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
/// The types that are asked for; under the first, the resource's name says which report.
const DEBUG: &str = "istio.io/debug";
const SYNCZ: &str = "istio.io/debug/syncz";
const CONFIG_DUMP: &str = "istio.io/debug/config_dump";
/// The audience that a token must be for.
const AUDIENCE: &str = "istio-ca";
const ROOT_NAMESPACE: &str = "istio-system";
/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct DebugXds {
    debug: Arc<Debug>,
    client: kube::Client,
    tls: TlsAcceptor,
    /// istiod's word on itself, in every response.
    identifier: String,
}

impl DebugXds {
    /// `pod` is istiod's pod.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn new(debug: Arc<Debug>, client: kube::Client, authority: &Authority, pod: &str) -> io::Result<DebugXds> {
        let dns = ["istiod", "istiod-default"].map(|name| format!("{name}.{ROOT_NAMESPACE}.svc"));
        let identity = authority.issue(&Leaf { dns: dns.into(), ..Leaf::default() }).map_err(io::Error::other)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.chain_pem.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain.map_err(io::Error::other)?, key)
            .map_err(io::Error::other)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let info = json!({ "version": ISTIO_VERSION, "revision": BUILD_REVISION, "golang_version": "",
            "status": BUILD_STATUS, "tag": ISTIO_VERSION });
        let identifier = json!({ "Component": "istiod", "ID": pod, "Info": info }).to_string();
        Ok(DebugXds { debug, client, tls: TlsAcceptor::from(Arc::new(tls)), identifier })
    }

    pub async fn serve(self, listener: std::net::TcpListener) {
        super::serve::serve(listener, |stream| self.clone().converse(stream)).await;
    }

    async fn converse(self, stream: TcpStream) {
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, self.tls.accept(stream)).await else { return };
        let service = hyper::service::service_fn(move |request| {
            let served = self.clone();
            async move { Ok::<_, std::convert::Infallible>(served.route(request).await) }
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn route(self, request: http::Request<hyper::body::Incoming>) -> http::Response<tonic::body::Body> {
        if request.uri().path() != AGGREGATED {
            return Status::unimplemented(format!("{} is not served here", request.uri().path())).into_http();
        }
        let header = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default().to_string();
        let namespace = match self.namespace_of(&token).await {
            Ok(namespace) => namespace,
            Err(status) => return status.into_http(),
        };
        let stream = Asked { served: self, namespace };
        tonic::server::Grpc::new(tonic_prost::ProstCodec::default()).streaming(stream, request).await
    }

    /// The namespace of the ServiceAccount whose token it is: the API says so.
    async fn namespace_of(&self, token: &str) -> Result<String, Status> {
        if token.is_empty() {
            return Err(Status::unauthenticated("authentication failure: no token"));
        }
        let spec = TokenReviewSpec { audiences: Some(vec![AUDIENCE.into()]), token: Some(token.into()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = Api::<TokenReview>::all(self.client.clone()).create(&PostParams::default(), &review).await;
        let status = answer.map_err(|error| Status::unavailable(error.to_string()))?.status.unwrap_or_default();
        let user = status.user.and_then(|user| user.username).unwrap_or_default();
        let namespace = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split(':').next());
        match namespace {
            Some(namespace) if status.authenticated == Some(true) => Ok(namespace.to_string()),
            _ => {
                let why = status.error.unwrap_or_else(|| "the token is not a ServiceAccount's".into());
                Err(Status::unauthenticated(format!("authentication failure: {why}")))
            }
        }
    }

    /// What a request is answered with.
    fn respond(&self, request: &DiscoveryRequest, namespace: &str) -> Result<Vec<Any>, Status> {
        let all = namespace == ROOT_NAMESPACE;
        // Who is of no system namespace sees the proxies of its own.
        let may_see = |id: &str| all || pod_namespace(id) == namespace;
        match request.type_url.as_str() {
            SYNCZ => {
                let nodes = self.debug.server.status();
                Ok(nodes.iter().filter(|node| node.connected && may_see(&node.id)).map(client_config).collect())
            }
            CONFIG_DUMP => {
                let id = request.resource_names.first().and_then(|name| self.debug.node_id(name));
                let id = id.filter(|id| may_see(id));
                Ok(id.map_or_else(Vec::new, |id| config_dump::encoded(&self.debug.server, &id)))
            }
            DEBUG => {
                let [asked] = request.resource_names.as_slice() else {
                    return Err(Status::invalid_argument("exactly one debug request is required"));
                };
                if !all {
                    let what = format!("the debug info is not available for current identity: \"{namespace}\"");
                    return Err(Status::permission_denied(what));
                }
                let (name, query) = asked.split_once('?').unwrap_or((asked, ""));
                let text = match self.debug.report(name, query) {
                    Some(Value::String(sentence)) => sentence,
                    Some(value) => value.to_string(),
                    None => "404 page not found\n".to_string(),
                };
                Ok(vec![Any { type_url: DEBUG.into(), value: text.into() }])
            }
            other => {
                Err(Status::unimplemented(format!("{other} is not served here: Envoys have a socket of their own")))
            }
        }
    }
}

/// `NAMESPACE` of a node id.
fn pod_namespace(id: &str) -> &str {
    id.split('~').nth(2).and_then(|pod| pod.rsplit_once('.')).map_or("", |(_, namespace)| namespace)
}

/// One stream of an identified client.
struct Asked {
    served: DebugXds,
    namespace: String,
}

impl tonic::server::StreamingService<DiscoveryRequest> for Asked {
    type Response = DebugResponse;
    type ResponseStream = Pin<Box<dyn futures::Stream<Item = Result<DebugResponse, Status>> + Send>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<DiscoveryRequest>>) -> Self::Future {
        let (served, namespace) = (self.served.clone(), self.namespace.clone());
        let mut nonce = 0u64;
        let answers = request.into_inner().filter_map(move |request| {
            let answer = match request {
                // With our own nonce it is the word that a response was read; with one of its own, istioctl's question.
                Ok(request) if nonce > 0 && request.response_nonce == nonce.to_string() => None,
                Ok(request) => Some(served.respond(&request, &namespace).map(|resources| {
                    nonce += 1;
                    DebugResponse {
                        version_info: nonce.to_string(),
                        resources,
                        type_url: request.type_url.clone(),
                        nonce: nonce.to_string(),
                        control_plane: Some(ControlPlane { identifier: served.identifier.clone() }),
                    }
                })),
                Err(status) => Some(Err(status)),
            };
            std::future::ready(answer)
        });
        std::future::ready(Ok(Response::new(Box::pin(answers))))
    }
}

/// `DiscoveryResponse`, with istiod's identity.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DebugResponse {
    #[prost(string, tag = "1")]
    version_info: String,
    #[prost(message, repeated, tag = "2")]
    resources: Vec<Any>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    nonce: String,
    #[prost(message, optional, tag = "6")]
    control_plane: Option<ControlPlane>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ControlPlane {
    #[prost(string, tag = "1")]
    identifier: String,
}

/// How a proxy stands, as `envoy.service.status.v3.ClientConfig`.
fn client_config(node: &NodeStatus) -> Any {
    let metadata =
        [("CLUSTER_ID", "Kubernetes"), ("ISTIO_VERSION", ISTIO_VERSION), ("NAMESPACE", pod_namespace(&node.id))];
    let fields = metadata.map(|(key, value)| Field { key: key.into(), value: Some(Text { text: value.into() }) });
    let config = |(kind, status): (&ResourceType, &TypeStatus)| GenericXdsConfig {
        type_url: kind.type_url().into(),
        config_status: config_status(status),
        error_state: status.rejected.as_ref().map(|rejected| ErrorState { details: rejected.message.clone() }),
    };
    let message = ClientConfig {
        node: Some(Node { id: node.id.clone(), metadata: Some(Struct { fields: fields.into() }) }),
        generic_xds_configs: node.types.iter().map(config).collect(),
    };
    let type_url = "type.googleapis.com/envoy.service.status.v3.ClientConfig".to_string();
    Any { type_url, value: message.encode_to_vec().into() }
}

/// `ConfigStatus`: 1 SYNCED, 2 NOT_SENT, 3 STALE, 4 ERROR.
fn config_status(status: &TypeStatus) -> i32 {
    match (status.sent, &status.rejected) {
        (_, Some(_)) => 4,
        (None, _) => 2,
        (sent, None) if sent == status.accepted && !status.pending => 1,
        _ => 3,
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ClientConfig {
    #[prost(message, optional, tag = "1")]
    node: Option<Node>,
    #[prost(message, repeated, tag = "3")]
    generic_xds_configs: Vec<GenericXdsConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Node {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "3")]
    metadata: Option<Struct>,
}

/// `google.protobuf.Struct`: a map, which is a list of entries on the wire.
#[derive(Clone, PartialEq, prost::Message)]
struct Struct {
    #[prost(message, repeated, tag = "1")]
    fields: Vec<Field>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Field {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Text>,
}

/// `google.protobuf.Value` with a string.
#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "3")]
    text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GenericXdsConfig {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(int32, tag = "6")]
    config_status: i32,
    #[prost(message, optional, tag = "8")]
    error_state: Option<ErrorState>,
}

/// `envoy.admin.v3.UpdateFailureState`.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorState {
    #[prost(string, tag = "3")]
    details: String,
}

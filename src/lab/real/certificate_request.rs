//! `istio.v1.auth.IstioCertificateService/CreateCertificate`: a workload's key is made here, and istiod signs for it.

use crate::lab::authority::Identity;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// By this name istiod proves itself.
pub const ISTIOD: &str = "istiod.istio-system.svc";
const METHOD: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/// As Istio's agents ask for, in seconds.
const VALIDITY: i64 = 24 * 3600;
/// An answer holds a few certificates.
const MAX_ANSWER: usize = 1024 * 1024;

/// `istio.v1.auth.IstioCertificateRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct CertificateRequest {
    #[prost(string, tag = "1")]
    csr: String,
    #[prost(int64, tag = "3")]
    validity_duration: i64,
}

/// `istio.v1.auth.IstioCertificateResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct CertificateResponse {
    /// The leaf first, the root last.
    #[prost(string, repeated, tag = "1")]
    cert_chain: Vec<String>,
}

/// Asks istiod, at the other end of `stream`, for a certificate of `spiffe`. `token` says who asks, `root_pem` whom
/// to believe.
pub async fn certify(stream: TcpStream, root_pem: &str, token: &str, spiffe: &str) -> Result<Identity, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("certificate of {spiffe}: {what}: {error}");
    let key = KeyPair::generate().map_err(|error| failed("making a key", &error))?;
    let mut params = CertificateParams::default();
    let uri = spiffe.try_into().map_err(|error: rcgen::Error| failed("its name", &error))?;
    params.subject_alt_names.push(SanType::URI(uri));
    let csr =
        params.serialize_request(&key).and_then(|csr| csr.pem()).map_err(|error| failed("the request", &error))?;
    let request = CertificateRequest { csr, validity_duration: VALIDITY };
    let connector = connector(root_pem).map_err(|error| failed("the mesh's root", &error))?;
    let name = ServerName::try_from(ISTIOD).map_err(|error| failed("istiod's name", &error))?;
    let stream = connector.connect(name, stream).await.map_err(|error| failed("connecting to istiod", &error))?;
    let answer: CertificateResponse = call(stream, token, &request).await.map_err(|error| failed("istiod", &error))?;
    if answer.cert_chain.is_empty() {
        return Err(failed("istiod", &"answered without a certificate"));
    }
    Ok(Identity { chain_pem: answer.cert_chain.concat(), key_pem: key.serialize_pem() })
}

fn connector(root_pem: &str) -> Result<TlsConnector, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(root_pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(tls)))
}

/// One unary gRPC call on a connection of its own.
async fn call<S, R>(stream: S, token: &str, request: &impl Message) -> Result<R, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    R: Message + Default,
{
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| text(&error))?;
    let connection = tokio::spawn(connection);
    let message = request.encode_to_vec();
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).map_err(|error| text(&error))?);
    body.put_slice(&message);
    let request = http::Request::post(format!("https://{ISTIOD}{METHOD}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {token}"))
        .header("clusterid", "Kubernetes")
        .body(Full::new(body.freeze()))
        .map_err(|error| text(&error))?;
    let response = sender.send_request(request).await.map_err(|error| text(&error))?;
    let (head, body) = response.into_parts();
    let whole = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| text(&error))?;
    connection.abort();
    let trailers = whole.trailers().cloned().unwrap_or_default();
    let header = |name: &str| {
        let value = trailers.get(name).or_else(|| head.headers.get(name));
        value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_string()
    };
    match header("grpc-status").as_str() {
        "0" => {}
        status => return Err(format!("gRPC status {status}: {}", header("grpc-message"))),
    }
    decode(whole.to_bytes())
}

/// The message of an answer's only frame.
fn decode<R: Message + Default>(mut body: Bytes) -> Result<R, String> {
    if body.len() < 5 || body.get_u8() != 0 || body.get_u32() as usize != body.len() {
        return Err("the answer is no single gRPC message".into());
    }
    R::decode(body).map_err(|error| error.to_string())
}

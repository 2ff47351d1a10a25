//! Serves every site: takes connections to any outside address and port, speaks TLS or plain HTTP, answers requests.

use super::World;
use super::certificates::Certificates;
use super::httpbin;
use super::site::Site;
use crate::lab::authority::Authority;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;

/// The largest request body taken; more is answered with 413.
const LARGEST_BODY: usize = 16 * 1024 * 1024;
/// A client that does not begin within this time is left.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first byte of a TLS connection: a handshake record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Plain,
    Tls,
    /// TLS if the client begins it.
    Either,
}

/// Everything the sites share. Clones are the same.
#[derive(Clone)]
pub(super) struct SiteServer {
    world: Arc<World>,
    certificates: Arc<Certificates>,
}

/// Which connection a request came by.
#[derive(Debug, Clone, Copy)]
struct Connection {
    client: IpAddr,
    /// The address the client meant.
    address: Ipv4Addr,
    scheme: &'static str,
    /// Plain HTTP came to a port that speaks TLS.
    plain_to_tls: bool,
}

impl SiteServer {
    pub fn new(world: Arc<World>, authority: Arc<Authority>) -> SiteServer {
        let certificates = Arc::new(Certificates::new(world.clone(), authority));
        SiteServer { world, certificates }
    }

    /// Takes connections until dropped.
    pub async fn serve(self, listener: TcpListener, port: Port) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        let server = self.clone();
                        // A connection's failure is the client's to see, as with any server.
                        connections.spawn(async move { drop(server.connection(stream, port).await) });
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn connection(self, stream: TcpStream, port: Port) -> Result<(), Failure> {
        let (IpAddr::V4(address), client) = (stream.local_addr()?.ip(), stream.peer_addr()?.ip()) else {
            return Ok(());
        };
        stream.set_nodelay(true)?;
        let mut first = [0];
        if tokio::time::timeout(PATIENCE, stream.peek(&mut first)).await?? == 0 {
            return Ok(());
        }
        let begins_tls = first[0] == TLS_HANDSHAKE;
        let connection = Connection { client, address, scheme: "http", plain_to_tls: port == Port::Tls };
        // TLS sent to a plain port is read as HTTP, which it is not, and answered so.
        if port == Port::Plain || !begins_tls {
            return self.answer_all(stream, connection).await;
        }
        let start = tokio::time::timeout(PATIENCE, LazyConfigAcceptor::new(Default::default(), stream)).await??;
        let config = self.certificates.config(address, start.client_hello().server_name())?;
        let stream = tokio::time::timeout(PATIENCE, start.into_stream(config)).await??;
        self.answer_all(stream, Connection { scheme: "https", plain_to_tls: false, ..connection }).await
    }

    async fn answer_all(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        connection: Connection,
    ) -> Result<(), Failure> {
        let service = hyper::service::service_fn(move |request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.answer(request, connection).await) }
        });
        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await
    }

    async fn answer(&self, request: Request<Incoming>, connection: Connection) -> Response<Full<Bytes>> {
        if connection.plain_to_tls {
            return text(StatusCode::BAD_REQUEST, "The plain HTTP request was sent to HTTPS port\n".into());
        }
        let (head, body) = request.into_parts();
        let only_head = head.method == Method::HEAD;
        let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "The request's body is too large\n".into());
        };
        // HTTP/2 says it in the target, HTTP/1.1 in a header.
        let of_header = || head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_string();
        let authority = head.uri.authority().map_or_else(of_header, ToString::to_string);
        let host = host_of(&authority).to_ascii_lowercase();
        let mut answer = if host == "httpbin.org" {
            let question = httpbin::Question {
                method: head.method,
                url: format!(
                    "{}://{authority}{}",
                    connection.scheme,
                    head.uri.path_and_query().map_or("/", |path| path.as_str())
                ),
                path: head.uri.path().to_string(),
                query: head.uri.query().unwrap_or_default().to_string(),
                headers: head.headers,
                authority,
                body: body.to_bytes(),
                origin: connection.client,
            };
            httpbin::answer(question).await
        } else {
            let named = if host.is_empty() { connection.address.to_string() } else { host.clone() };
            page(&named)
        };
        let site = self.world.sites(|sites| sites.get(&host));
        apply(&site, &mut answer);
        if only_head {
            without_body(&mut answer);
        }
        answer
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Without the port.
fn host_of(authority: &str) -> &str {
    authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(authority, |(host, _)| host)
}

fn page(host: &str) -> Response<Full<Bytes>> {
    // Host names hold no characters that mean something in HTML, but a client may send anything.
    let host: String =
        host.chars().filter(|letter| letter.is_ascii_alphanumeric() || ".-_:[]".contains(*letter)).collect();
    let mut response = text(StatusCode::OK, format!("<!doctype html>\n<title>{host}</title>\n<h1>{host}</h1>\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// What the site does otherwise than it would.
fn apply(site: &Site, answer: &mut Response<Full<Bytes>>) {
    if let Some(status) = site.status.and_then(|status| StatusCode::from_u16(status).ok()) {
        *answer.status_mut() = status;
    }
    if let Some(body) = &site.body {
        *answer.body_mut() = Full::from(body.clone());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
}

/// The answer to HEAD: the length is told and nothing sent. Over HTTP/2 that is not hyper's to see to.
fn without_body(answer: &mut Response<Full<Bytes>>) {
    if let Some(length) = answer.body().size_hint().exact() {
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    *answer.body_mut() = Full::default();
}

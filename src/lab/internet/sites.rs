//! Serves every site: takes connections to any outside address and port, speaks TLS or plain HTTP, answers requests,
//! echoes what is neither, and is a proxy (CONNECT, POST) where asked on a port of no fixed kind.

use super::World;
use super::certificates::Certificates;
use super::facts::{self, Connection, TlsFacts};
use super::httpbin;
use super::prefixed::{Beginning, Prefixed};
use super::site::{Answer, Site, Speaks};
use super::tunnel::{self, Answered, Target};
use crate::lab::authority::Authority;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;

/// The largest request body taken; more is answered with 413.
const LARGEST_BODY: usize = 16 * 1024 * 1024;
/// A client that does not begin within this time is left.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything the sites share. Clones are the same.
#[derive(Clone)]
pub(super) struct SiteServer {
    world: Arc<World>,
    certificates: Arc<Certificates>,
}

/// A connection, or the inside of a proxy's tunnel.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

impl SiteServer {
    pub fn new(world: Arc<World>, authority: Arc<Authority>) -> SiteServer {
        let certificates = Arc::new(Certificates::new(world.clone(), authority));
        SiteServer { world, certificates }
    }

    /// Takes connections until dropped.
    pub async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        let server = self.clone();
                        // A connection's failure is the client's to see, as with any server.
                        connections.spawn(async move { drop(server.accepted(stream).await) });
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn accepted(self, stream: TcpStream) -> Result<(), Failure> {
        let (meant, client) = (stream.local_addr()?, stream.peer_addr()?.ip());
        let IpAddr::V4(address) = meant.ip() else { return Ok(()) };
        stream.set_nodelay(true)?;
        self.connection(stream, Connection { client, address, port: meant.port(), tls: None }).await
    }

    /// Boxed, since a proxy's tunnel holds a connection again.
    fn connection(
        self,
        mut stream: impl Stream,
        connection: Connection,
    ) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>> {
        Box::pin(async move {
            let site = self.world.met(connection.address, None).0.unwrap_or_default();
            let speaks = match site.speaks(connection.port) {
                // A closed port of a site that was named just now; the network refuses it from the next connection on.
                None => return Ok(()),
                Some(Speaks::Echo) => return echo(stream).await,
                Some(Speaks::Tcp) => {
                    return Ok(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)?);
                }
                Some(speaks) => speaks,
            };
            let (beginning, stream) = tokio::time::timeout(PATIENCE, Prefixed::look(stream)).await??;
            match (speaks, beginning) {
                (_, Beginning::Nothing) => Ok(()),
                // TLS sent to a plain port is read as HTTP, which it is not, and answered so.
                (Speaks::Http, _) => self.http(stream, connection, speaks).await,
                (_, Beginning::Tls) => self.tls(stream, connection, speaks).await,
                (_, Beginning::Http) => self.http(stream, connection, speaks).await,
                (_, Beginning::Other) => echo(stream).await,
            }
        })
    }

    async fn tls(self, stream: impl Stream, connection: Connection, speaks: Speaks) -> Result<(), Failure> {
        let start = tokio::time::timeout(PATIENCE, LazyConfigAcceptor::new(Default::default(), stream)).await??;
        let config = self.certificates.config(connection.address, start.client_hello().server_name())?;
        let stream = tokio::time::timeout(PATIENCE, start.into_stream(config)).await??;
        let connection = Connection { tls: Some(TlsFacts::of(stream.get_ref().1)), ..connection };
        // What is no HTTP comes back inside TLS as it does without, TLS in TLS too.
        let (beginning, stream) = tokio::time::timeout(PATIENCE, Prefixed::look(stream)).await??;
        if beginning == Beginning::Http {
            return self.http(stream, connection, speaks).await;
        }
        echo(stream).await
    }

    async fn http(self, stream: impl Stream, connection: Connection, speaks: Speaks) -> Result<(), Failure> {
        let connection = Arc::new(connection);
        let service = hyper::service::service_fn(move |request| {
            let (server, connection) = (self.clone(), connection.clone());
            async move { Ok::<_, Infallible>(server.respond(request, &connection, speaks).await) }
        });
        auto::Builder::new(TokioExecutor::new()).serve_connection_with_upgrades(TokioIo::new(stream), service).await
    }

    async fn respond(self, request: Request<Incoming>, connection: &Connection, speaks: Speaks) -> Response<Answered> {
        if speaks == Speaks::Https && connection.tls.is_none() {
            let mut answer = text(StatusCode::BAD_REQUEST, "The plain HTTP request was sent to HTTPS port\n".into());
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return answer.map(tunnel::whole);
        }
        if speaks == Speaks::Proxy
            && let Some(target) = tunnel::target(&request, connection, &self.world)
        {
            return self.tunnel(request, target, connection);
        }
        self.answer(request, connection).await.map(tunnel::whole)
    }

    async fn answer(&self, request: Request<Incoming>, connection: &Connection) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let only_head = head.method == Method::HEAD;
        let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "The request's body is too large\n".into());
        };
        // HTTP/2 says it in the target, HTTP/1.1 in a header.
        let of_header = || head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_string();
        let authority = head.uri.authority().map_or_else(of_header, ToString::to_string);
        let host = host_of(&authority).to_ascii_lowercase();
        let site = self.world.met(connection.address, Some(&host)).0.unwrap_or_default();
        if let Some(delay) = site.delay {
            tokio::time::sleep(delay).await;
        }
        let kind = site.answer.unwrap_or(if host == "httpbin.org" { Answer::Httpbin } else { Answer::Page });
        let mut answer = match kind {
            Answer::Facts => facts::answer(&head, &authority, connection),
            Answer::Page if host.is_empty() => page(&connection.address.to_string()),
            Answer::Page => page(&host),
            Answer::Httpbin => {
                let target = head.uri.path_and_query().map_or("/", |path| path.as_str());
                let scheme = if connection.tls.is_some() { "https" } else { "http" };
                let question = httpbin::Question {
                    method: head.method,
                    url: format!("{scheme}://{authority}{target}"),
                    path: head.uri.path().to_string(),
                    query: head.uri.query().unwrap_or_default().to_string(),
                    headers: head.headers,
                    authority,
                    body: body.to_bytes(),
                    origin: connection.client,
                };
                httpbin::answer(question).await
            }
        };
        apply(&site, &mut answer);
        if only_head {
            without_body(&mut answer);
        }
        answer
    }

    /// A forward proxy: what comes through the tunnel reaches the site that was asked for.
    fn tunnel(self, request: Request<Incoming>, target: Target, connection: &Connection) -> Response<Answered> {
        let Some((address, port)) = target.place else {
            let unknown = text(StatusCode::BAD_GATEWAY, "The proxy does not know this host\n".into());
            return unknown.map(tunnel::whole);
        };
        let inside = Connection { client: connection.client, address, port, tls: None };
        // A tunnel that does not come about is the client's to see.
        if request.method() == Method::CONNECT {
            tokio::spawn(async move {
                if let Ok(upgraded) = hyper::upgrade::on(request).await {
                    let _ = self.connection(TokioIo::new(upgraded), inside).await;
                }
            });
            return Response::new(tunnel::whole(Full::default()));
        }
        let (stream, body) = tunnel::by_bodies(request.into_body());
        tokio::spawn(async move { drop(self.connection(stream, inside).await) });
        Response::new(body)
    }
}

async fn echo(stream: impl Stream) -> Result<(), Failure> {
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::io::copy(&mut from, &mut to).await?;
    Ok(to.shutdown().await?)
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
    for (name, value) in &site.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            answer.headers_mut().insert(name, value);
        }
    }
}

/// The answer to HEAD: the length is told and nothing sent. Over HTTP/2 that is not hyper's to see to.
fn without_body(answer: &mut Response<Full<Bytes>>) {
    if let Some(length) = answer.body().size_hint().exact() {
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    *answer.body_mut() = Full::default();
}

//! Servers of well-known images, as processes in pods: httpbin, nginx, echo servers. The program runs itself in a hidden
//! subcommand (`__serve KIND PORT [TEXT]`), so that the server can be killed, restarted and read from as any other.

use super::internet::httpbin;
use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

pub const SUBCOMMAND: &str = "__serve";

const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Httpbin,
    GoHttpbin,
    Nginx,
    NginxUnprivileged,
    HttpEcho,
    TcpEcho,
}

const KINDS: [(Kind, &str, u16); 6] = [
    (Kind::Httpbin, "httpbin", 80),
    (Kind::GoHttpbin, "go-httpbin", 8080),
    (Kind::Nginx, "nginx", 80),
    (Kind::NginxUnprivileged, "nginx-unprivileged", 8080),
    (Kind::HttpEcho, "http-echo", 5678),
    (Kind::TcpEcho, "tcp-echo", 9000),
];

impl Kind {
    fn row(self) -> (Kind, &'static str, u16) {
        KINDS.into_iter().find(|(kind, ..)| *kind == self).unwrap_or(KINDS[0])
    }

    pub fn word(self) -> &'static str {
        self.row().1
    }

    /// Where the image listens without a word.
    pub fn usual_port(self) -> u16 {
        self.row().2
    }
}

/// Serves until SIGTERM. Exit code.
pub fn main(mut words: impl Iterator<Item = String>) -> i32 {
    let kind = words.next().and_then(|word| KINDS.into_iter().find(|(_, known, _)| *known == word));
    let port = words.next().and_then(|word| word.parse().ok());
    let (Some((kind, ..)), Some(port)) = (kind, port) else { return 2 };
    let text = words.next();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return 1 };
    runtime.block_on(async {
        match serve(kind, port, text).await {
            Ok(()) => 0,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "{}: port {port}: {error}", kind.word());
                1
            }
        }
    })
}

async fn serve(kind: Kind, port: u16, text: Option<String>) -> std::io::Result<()> {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).await?;
    let mut end = signal(SignalKind::terminate())?;
    let text = Bytes::from(text.unwrap_or_else(|| "hello-world".into()));
    loop {
        let (stream, client) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // The client has gone again.
                Err(_) => continue,
            },
            _ = end.recv() => return Ok(()),
        };
        let text = text.clone();
        if kind == Kind::TcpEcho {
            tokio::spawn(async move { drop(echo_lines(stream, text).await) });
            continue;
        }
        let service = hyper::service::service_fn(move |request| {
            let text = text.clone();
            async move { Ok::<_, Infallible>(answer(kind, request, client.ip(), text).await) }
        });
        tokio::spawn(async move {
            // A connection's failure is the client's to see.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// As istio/tcp-echo-server: each line comes back behind the prefix.
async fn echo_lines(stream: TcpStream, prefix: Bytes) -> std::io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).await? > 0 {
        to.write_all(&[&prefix, b" ".as_slice(), &line].concat()).await?;
        line.clear();
    }
    Ok(())
}

async fn answer(kind: Kind, request: Request<Incoming>, client: IpAddr, text: Bytes) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let line = format!("{} {}", head.method, head.uri.path_and_query().map_or("/", |path| path.as_str()));
    let answer = match kind {
        Kind::Nginx | Kind::NginxUnprivileged => nginx(head.uri.path()),
        Kind::HttpEcho | Kind::TcpEcho => Response::new(Full::from([&text, b"\n".as_slice()].concat())),
        Kind::Httpbin | Kind::GoHttpbin => match Limited::new(body, LARGEST_BODY).collect().await {
            Ok(body) => {
                let of_header =
                    || head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().into();
                let authority = head.uri.authority().map_or_else(of_header, ToString::to_string);
                let target = head.uri.path_and_query().map_or("/", |path| path.as_str());
                httpbin::answer(httpbin::Question {
                    url: format!("http://{authority}{target}"),
                    method: head.method,
                    path: head.uri.path().to_string(),
                    query: head.uri.query().unwrap_or_default().to_string(),
                    headers: head.headers,
                    authority,
                    body: body.to_bytes(),
                    origin: client,
                })
                .await
            }
            Err(_) => status(413),
        },
    };
    let _ = writeln!(std::io::stdout(), "{client} \"{line}\" {}", answer.status().as_u16());
    answer
}

fn nginx(path: &str) -> Response<Full<Bytes>> {
    if !matches!(path, "/" | "/index.html") {
        return status(404);
    }
    let page = "<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to nginx!</title>\n</head>\n<body>\n\
                <h1>Welcome to nginx!</h1>\n</body>\n</html>\n";
    let mut answer = Response::new(Full::from(page));
    let headers = answer.headers_mut();
    headers.insert("server", http::HeaderValue::from_static("nginx"));
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/html"));
    answer
}

fn status(code: u16) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    answer
}

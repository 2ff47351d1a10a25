//! A forward proxy's tunnels. By CONNECT the connection itself becomes the tunnel; by POST, as Envoy sends it with
//! `protocol: POST`, what the client sends is the request's body and what comes back the answer's, as long as both last.

use super::World;
use super::facts::Connection;
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::Authority;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use std::convert::Infallible;
use std::net::Ipv4Addr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

/// What is under way in one direction before the sender waits.
const UNDER_WAY: usize = 64 * 1024;
const PIECE: usize = 16 * 1024;

/// An answer's body: known, or what comes out of a tunnel.
pub(super) type Answered = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

pub(super) fn whole(body: Full<Bytes>) -> Answered {
    body.boxed_unsync()
}

/// What a request asks to be led to: CONNECT names it as its target; a POST without an end names another place than the
/// proxy as its host. None: an ordinary request.
pub(super) fn target(request: &Request<Incoming>, proxy: &Connection, world: &World) -> Option<Target> {
    if request.method() == Method::CONNECT {
        return Some(Target::of(request.uri().authority(), world));
    }
    if request.method() != Method::POST || request.headers().contains_key(CONTENT_LENGTH) {
        return None;
    }
    let of_header = || request.headers().get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let named = request.uri().authority().cloned().or_else(of_header).filter(|named| named.port().is_some())?;
    let target = Target::of(Some(&named), world);
    (target.place != Some((proxy.address, proxy.port))).then_some(target)
}

/// Where a tunnel leads.
pub(super) struct Target {
    /// None: the proxy knows no such place.
    pub place: Option<(Ipv4Addr, u16)>,
}

impl Target {
    fn of(named: Option<&Authority>, world: &World) -> Target {
        let find = |named: &Authority| {
            let literal = named.host().parse().ok();
            Some((literal.or_else(|| world.outside_address(named.host()))?, named.port_u16()?))
        };
        Target { place: named.and_then(find) }
    }
}

/// The inside of a tunnel by POST: the proxy's end of it, and the answer's body.
pub(super) fn by_bodies(request: Incoming) -> (DuplexStream, Answered) {
    let (inside, outside) = tokio::io::duplex(UNDER_WAY);
    let (from, to) = tokio::io::split(outside);
    // It ends with the request's body, or when nobody inside reads on.
    tokio::spawn(async move { drop(pour(request, to).await) });
    (inside, StreamBody::new(stream::unfold(from, piece)).boxed_unsync())
}

async fn pour(mut body: Incoming, mut to: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            to.write_all(&data).await?;
        }
    }
    to.shutdown().await
}

async fn piece<R: AsyncRead + Unpin>(mut from: R) -> Option<(Result<Frame<Bytes>, Infallible>, R)> {
    let mut bytes = BytesMut::with_capacity(PIECE);
    match from.read_buf(&mut bytes).await {
        Ok(1..) => Some((Ok(Frame::data(bytes.freeze())), from)),
        _ => None,
    }
}

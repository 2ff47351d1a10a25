//! The upgrade of an HTTP/1.1 connection to plain SPDY/3.1.

use super::answer::{self, Answer};
use super::failure::Failure;
use super::request::Request;
use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use http::{HeaderName, HeaderValue, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SPDY: &str = "SPDY/3.1";
const CHUNK: usize = 32 * 1024;

/// An upgraded connection, as pieces of bytes each way.
pub struct Connection {
    pub incoming: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    pub outgoing: Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>,
}

/// Whether the request asks for SPDY.
pub fn is_asked(request: &Request) -> bool {
    request.header(header::UPGRADE).eq_ignore_ascii_case(SPDY)
}

/// Accepts the upgrade for the first protocol of `served` that the client offers: the answer to send, and the
/// connection to come.
pub fn accept(
    request: &Request,
    upgrade: Option<OnUpgrade>,
    served: &[&'static str],
) -> Result<(Answer, OnUpgrade), Failure> {
    let version = HeaderName::from_static("x-stream-protocol-version");
    // Given once with commas, or once for each.
    let offered: Vec<&str> = request
        .headers
        .get_all(&version)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let Some(protocol) = served.iter().find(|protocol| offered.contains(protocol)).copied() else {
        let what = format!(
            "unable to upgrade: the client offers [{}], the server speaks [{}]",
            offered.join(", "),
            served.join(", ")
        );
        return Err(Failure::new(403, "Forbidden", what));
    };
    let Some(upgrade) = upgrade else { return Err(Failure::bad_request("Upgrade request required")) };
    let mut answer = answer::with_type(101, "text/plain", answer::full(Vec::new()));
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
    headers.insert(version, HeaderValue::from_static(protocol));
    Ok((answer, upgrade))
}

/// The connection, once the answer is sent.
pub async fn connection(upgrade: OnUpgrade) -> Option<Connection> {
    let (reader, writer) = tokio::io::split(TokioIo::new(upgrade.await.ok()?));
    let incoming = futures::stream::unfold(reader, |mut reader| async move {
        let mut buffer = vec![0; CHUNK];
        let n = reader.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        Some((Bytes::copy_from_slice(&buffer[..n]), reader))
    });
    let outgoing = futures::sink::unfold(writer, |mut writer, bytes: Bytes| async move {
        writer.write_all(&bytes).await?;
        writer.flush().await?;
        Ok::<_, io::Error>(writer)
    });
    Some(Connection { incoming: incoming.boxed(), outgoing: Box::pin(outgoing.sink_map_err(io::Error::from)) })
}

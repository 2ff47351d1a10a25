//! The WebSocket handshake of exec and port-forward, over an upgraded HTTP/1.1 connection.

use super::answer::{self, Answer};
use super::failure::Failure;
use super::request::Request;
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The largest message taken, in bytes.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// An accepted handshake: the answer to send and the connection to come.
pub struct Accepted {
    pub answer: Answer,
    pub upgrade: OnUpgrade,
}

/// Accepts a handshake for the first protocol of `served` the client offers.
pub fn accept(request: &Request, upgrade: Option<OnUpgrade>, served: &[&'static str]) -> Result<Accepted, Failure> {
    let asked = request.header(header::UPGRADE).to_ascii_lowercase();
    let Some(upgrade) = upgrade.filter(|_| !asked.is_empty()) else {
        return Err(Failure::bad_request("Upgrade request required"));
    };
    if asked != "websocket" {
        let what = format!(
            "unable to upgrade: this API server streams over WebSocket only, not over {asked}: use kubectl 1.31 or newer"
        );
        return Err(Failure::bad_request(what));
    }
    let key = request.header(header::SEC_WEBSOCKET_KEY);
    if key.is_empty() || request.header(header::SEC_WEBSOCKET_VERSION) != "13" {
        return Err(Failure::bad_request("websocket: a version 13 handshake with a key is required"));
    }
    let offered: Vec<&str> = request.header(header::SEC_WEBSOCKET_PROTOCOL).split(',').map(str::trim).collect();
    let Some(protocol) = served.iter().find(|p| offered.contains(p)).copied() else {
        let what = format!(
            "unable to upgrade: the client offers the protocols [{}], the server speaks [{}]",
            offered.join(", "),
            served.join(", ")
        );
        return Err(Failure::new(403, "Forbidden", what));
    };
    let mut answer = answer::with_type(101, "text/plain", answer::full(Vec::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    if let Ok(value) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, value);
    }
    Ok(Accepted { answer, upgrade })
}

/// The WebSocket, once the answer is sent.
pub async fn socket(upgrade: OnUpgrade) -> Option<Socket> {
    let upgraded = TokioIo::new(upgrade.await.ok()?);
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    Some(WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await)
}

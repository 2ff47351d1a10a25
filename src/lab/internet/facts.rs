//! What a site saw of a connection and a request, as its answer (`answer: Facts`).

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Response, Version};
use http_body_util::Full;
use rustls::{ProtocolVersion, ServerConnection};
use serde_json::{Map, Value, json};
use std::net::{IpAddr, Ipv4Addr};

/// Which connection a request came by.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub client: IpAddr,
    /// The address and port the client meant.
    pub address: Ipv4Addr,
    pub port: u16,
    /// None: it is not encrypted.
    pub tls: Option<TlsFacts>,
}

#[derive(Debug, Clone)]
pub(super) struct TlsFacts {
    version: &'static str,
    sni: Option<String>,
    alpn: Option<String>,
    /// The client's certificate: its URI, else its DNS name.
    client: Option<String>,
}

impl TlsFacts {
    pub fn of(connection: &ServerConnection) -> TlsFacts {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        };
        let alpn = connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let client = connection.peer_certificates().and_then(<[_]>::first).map(|certificate| {
            let Ok(read) = webpki::EndEntityCert::try_from(certificate) else { return "unreadable".to_string() };
            let name = read.valid_uri_names().next().or_else(|| read.valid_dns_names().next());
            name.unwrap_or("nameless").to_string()
        });
        TlsFacts { version, sni: connection.server_name().map(String::from), alpn, client }
    }
}

pub(super) fn answer(request: &Parts, authority: &str, connection: &Connection) -> Response<Full<Bytes>> {
    let mut facts = Map::new();
    let mut say = |name: &str, value: Value| drop(facts.insert(name.to_string(), value));
    say("port", json!(connection.port));
    say("address", json!(connection.address));
    say("source", json!(connection.client));
    if let Some(tls) = &connection.tls {
        say("tls", json!(tls.version));
        for (name, value) in [("sni", &tls.sni), ("alpn", &tls.alpn), ("client", &tls.client)] {
            if let Some(value) = value {
                say(name, json!(value));
            }
        }
    }
    say("http", json!(if request.version == Version::HTTP_2 { "2" } else { "1.1" }));
    say("method", json!(request.method.as_str()));
    say("host", json!(authority));
    say("path", json!(request.uri.path_and_query().map_or("/", |path| path.as_str())));
    let mut headers = Map::new();
    for name in request.headers.keys() {
        let values = request.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        headers.insert(name.to_string(), json!(values.collect::<Vec<_>>().join(",")));
    }
    say("headers", Value::Object(headers));
    let mut answer = Response::new(Full::from(Value::Object(facts).to_string() + "\n"));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

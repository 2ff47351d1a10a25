//! Protocols of ports, as istiod reads their names.

/// What istiod makes of a protocol's name, which it reads without regard to case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    HttpProxy,
    Http2,
    Grpc,
    GrpcWeb,
    Https,
    Tls,
    Tcp,
    Udp,
    Mongo,
    Redis,
    Mysql,
    Unsupported,
}

impl Protocol {
    pub fn parse(text: &str) -> Self {
        match text.to_lowercase().as_str() {
            "http" => Protocol::Http,
            "http_proxy" => Protocol::HttpProxy,
            "http2" => Protocol::Http2,
            "grpc" => Protocol::Grpc,
            "grpc-web" => Protocol::GrpcWeb,
            "https" => Protocol::Https,
            "tls" => Protocol::Tls,
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "mongo" => Protocol::Mongo,
            "redis" => Protocol::Redis,
            "mysql" => Protocol::Mysql,
            _ => Protocol::Unsupported,
        }
    }

    pub fn is_http(self) -> bool {
        matches!(self, Protocol::Http | Protocol::Http2 | Protocol::HttpProxy | Protocol::Grpc | Protocol::GrpcWeb)
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Protocol::Https | Protocol::Tls)
    }

    /// Whether the protocol is carried by plain TCP or TLS.
    pub fn is_tcp(self) -> bool {
        self.is_tls() || matches!(self, Protocol::Tcp | Protocol::Mongo | Protocol::Redis | Protocol::Mysql)
    }
}

/// A protocol must be known; none at all means that it is sniffed.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if !text.is_empty() && Protocol::parse(text) == Protocol::Unsupported {
        return Err(format!("unsupported protocol: {text}"));
    }
    Ok(())
}

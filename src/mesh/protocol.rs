//! Port protocols: how Istio names them and what it does with each.

/// A port's protocol. `Auto` is a name that Istio does not know: the traffic is sniffed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Grpc,
    GrpcWeb,
    Http,
    HttpProxy,
    Http2,
    Https,
    Tls,
    Mongo,
    Redis,
    MySql,
    Auto,
}

/// What kind of listener a protocol needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerProtocol {
    Http,
    Tcp,
    Auto,
    Unknown,
}

impl Protocol {
    /// The protocol by its name in `ports[].protocol`, any case.
    pub fn parse(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "tcp" => Self::Tcp,
            "udp" => Self::Udp,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "http" => Self::Http,
            "http_proxy" => Self::HttpProxy,
            "http2" => Self::Http2,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "mongo" => Self::Mongo,
            "redis" => Self::Redis,
            "mysql" => Self::MySql,
            _ => Self::Auto,
        }
    }

    /// The protocol of a Service port: UDP, else `appProtocol`, else the port name up to its first `-`.
    pub fn of_service_port(number: u32, name: &str, transport: &str, app_protocol: Option<&str>) -> Self {
        if transport.eq_ignore_ascii_case("UDP") {
            return Self::Udp;
        }
        match app_protocol {
            Some("kubernetes.io/h2c") => return Self::Http2,
            Some("kubernetes.io/ws") => return Self::Http,
            Some("kubernetes.io/wss") => return Self::Https,
            _ => {}
        }
        let name = app_protocol.unwrap_or(name);
        if name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("grpc-web")) {
            return Self::GrpcWeb;
        }
        let found = Self::parse(name.split('-').next().unwrap_or(name));
        // SMTP, DNS, MySQL and MongoDB speak first from the server, so sniffing them would hang.
        if found == Self::Auto && matches!(number, 25 | 53 | 3306 | 27017) { Self::Tcp } else { found }
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::HttpProxy | Self::Grpc | Self::GrpcWeb)
    }

    pub fn is_http_or_sniffed(self) -> bool {
        self.is_http() || self == Self::Auto
    }

    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Https | Self::Tls | Self::Mongo | Self::Redis | Self::MySql)
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb)
    }

    pub fn listener(self) -> ListenerProtocol {
        match self {
            Self::Udp => ListenerProtocol::Unknown,
            Self::Auto => ListenerProtocol::Auto,
            p if p.is_http() => ListenerProtocol::Http,
            _ => ListenerProtocol::Tcp,
        }
    }

    /// As the push status words it.
    pub fn listener_name(self) -> &'static str {
        match self.listener() {
            ListenerProtocol::Http => "HTTP",
            ListenerProtocol::Tcp => "TCP",
            _ => "UNKNOWN",
        }
    }
}

//! A cluster while it is built: what later steps look at is kept apart from the body.

use crate::mesh::json::{into_map, message, object_in};
use crate::mesh::load_balancing::Group;
use serde_json::{Map, Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Eds,
    StrictDns,
    LogicalDns,
    OriginalDst,
    Static,
    /// A dynamic forward proxy.
    Dynamic,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Eds => "EDS",
            Self::StrictDns => "STRICT_DNS",
            Self::LogicalDns => "LOGICAL_DNS",
            Self::OriginalDst => "ORIGINAL_DST",
            Self::Static => "STATIC",
            Self::Dynamic => "dynamic_forward_proxy",
        }
    }
}

/// Which HTTP version a cluster speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    Http1 { preserve_case: bool },
    Http2,
    Downstream { preserve_case: bool },
}

/// `HttpProtocolOptions`, in parts.
#[derive(Debug, Clone, Default)]
pub struct HttpOptions {
    pub upstream: Option<Upstream>,
    pub common: Map<String, Value>,
    /// Whether the common part exists though it may be empty.
    pub common_made: bool,
    pub http2: Map<String, Value>,
    pub auto: Map<String, Value>,
}

#[derive(Debug, Clone)]
pub struct Draft {
    pub name: String,
    pub kind: Kind,
    pub body: Map<String, Value>,
    pub http: Option<HttpOptions>,
    /// Endpoints that the cluster holds, until load balancing has arranged them.
    pub groups: Vec<Group>,
}

impl Draft {
    pub fn new(name: &str, kind: Kind) -> Self {
        let mut body = Map::with_capacity(16);
        body.insert("name".to_owned(), Value::from(name));
        body.insert("altStatName".to_owned(), Value::from(format!("{name};")));
        Self { name: name.to_owned(), kind, body, http: None, groups: Vec::new() }
    }

    pub fn set(&mut self, key: &str, value: Value) {
        self.body.insert(key.to_owned(), value);
    }

    pub fn http(&mut self) -> &mut HttpOptions {
        self.http.get_or_insert_with(HttpOptions::default)
    }

    pub fn is_http2(&self) -> bool {
        self.http.as_ref().is_some_and(|h| h.upstream == Some(Upstream::Http2))
    }

    /// `metadata.filterMetadata.istio`.
    pub fn istio_metadata(&mut self) -> &mut Map<String, Value> {
        object_in(object_in(object_in(&mut self.body, "metadata"), "filterMetadata"), "istio")
    }

    pub fn common_lb(&mut self) -> &mut Map<String, Value> {
        object_in(&mut self.body, "commonLbConfig")
    }

    pub fn set_lb(&mut self, policy: &str) {
        self.set("lbPolicy", Value::from(policy));
    }

    pub fn lb(&self) -> &str {
        self.body.get("lbPolicy").and_then(Value::as_str).unwrap_or("")
    }

    /// The finished cluster.
    pub fn build(mut self) -> Value {
        if self.kind != Kind::Dynamic {
            self.set("type", Value::from(self.kind.name()));
        }
        // Envoy's default policy is not printed.
        if self.lb() == "ROUND_ROBIN" {
            self.body.remove("lbPolicy");
        }
        if let Some(http) = self.http.take() {
            self.set(
                "typedExtensionProtocolOptions",
                message! {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http.build()},
            );
        }
        Value::Object(self.body)
    }
}

fn http1(preserve_case: bool) -> Value {
    if !preserve_case {
        return json!({});
    }
    json!({"headerKeyFormat": {"statefulFormatter": {
        "name": "preserve_case",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig",
        },
    }}})
}

impl HttpOptions {
    fn build(self) -> Value {
        let mut out =
            into_map(json!({"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"}));
        if self.common_made || !self.common.is_empty() {
            out.insert("commonHttpProtocolOptions".to_owned(), Value::Object(self.common));
        }
        if !self.auto.is_empty() {
            out.insert("upstreamHttpProtocolOptions".to_owned(), Value::Object(self.auto));
        }
        let (key, value) = match self.upstream.unwrap_or(Upstream::Http1 { preserve_case: false }) {
            Upstream::Http1 { preserve_case } => {
                ("explicitHttpConfig", json!({"httpProtocolOptions": http1(preserve_case)}))
            }
            Upstream::Http2 => ("explicitHttpConfig", json!({"http2ProtocolOptions": self.http2})),
            Upstream::Downstream { preserve_case } => (
                "useDownstreamProtocolConfig",
                json!({"httpProtocolOptions": http1(preserve_case), "http2ProtocolOptions": {}}),
            ),
        };
        out.insert(key.to_owned(), value);
        Value::Object(out)
    }
}

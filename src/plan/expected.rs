//! The typed expectations and what they compare with; as `step`, they are a part of the plan document.

use super::document as json;
use super::step::{ObjectRef, Text, Workload};
use crate::syntax::Comparison;
use serde::Serialize;
use std::time::Duration;

#[derive(Debug, Clone, Serialize)]
pub struct Expect {
    pub negated: bool,
    #[serde(serialize_with = "json::tagged")]
    pub what: Expectation,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json::maybe_duration")]
    pub within: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable: Option<Stable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stable {
    For(Duration),
    Times(u32),
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    // About the last exec.
    /// Any of these: `200`, `2xx`, `301 or 302`, `000`.
    Status(Vec<StatusPattern>),
    Exit(Vec<i32>),
    SslVerify(i64),
    Header {
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        matches: Option<TextMatch>,
    },
    Body(TextMatch),
    /// One of the values that the JSONPath finds in the body; without a match: there is one.
    Json {
        path: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        matches: Option<TextMatch>,
    },
    Time {
        comparison: Comparison,
        #[serde(serialize_with = "json::duration")]
        limit: Duration,
    },
    /// The TLS version that curl and the other end agreed on: `1.3`.
    Tls(String),
    Stdout(TextMatch),
    Stderr(TextMatch),
    Certificate {
        field: CertificateField,
        matches: TextMatch,
    },
    Blocked(Option<BlockedBy>),
    Via {
        gateway: Workload,
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    },
    Direct,
    Path(Vec<Hop>),
    Peer(Text),
    Log {
        proxy: Workload,
        matches: TextMatch,
    },
    // About state.
    Listener {
        port: u16,
        on: Option<Workload>,
        #[serde(serialize_with = "json::all_tagged")]
        facts: Vec<Fact>,
    },
    Cluster {
        host: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        subset: Option<String>,
        on: Option<Workload>,
        #[serde(serialize_with = "json::all_tagged")]
        facts: Vec<Fact>,
    },
    /// A route table by its name, or the virtual host that serves HOST[:PORT]; `to` is where it leads.
    Route {
        name: String,
        on: Option<Workload>,
        to: Vec<RouteTarget>,
    },
    Endpoint {
        host: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        subset: Option<String>,
        on: Option<Workload>,
        #[serde(serialize_with = "json::all_tagged")]
        facts: Vec<EndpointFact>,
    },
    /// An SDS secret that the proxy has and uses.
    Secret {
        name: String,
        on: Option<Workload>,
    },
    /// `clusters|listeners|routes on P count N | fewer than X | same as X`.
    List {
        list: ProxyList,
        on: Option<Workload>,
        compare: ListCompare,
    },
    /// Since the last `capture … = LIST on P`, of everything that the proxy has.
    Only {
        list: ProxyList,
        name: String,
        on: Workload,
    },
    /// The proxy's resources hold this document: `listeners`, `clusters`, `routes`.
    Config {
        on: Workload,
        document: serde_json::Value,
    },
    Resource {
        object: ObjectRef,
        #[serde(skip_serializing_if = "Option::is_none")]
        document: Option<serde_json::Value>,
    },
    /// The change right before was refused.
    Rejected {
        #[serde(skip_serializing_if = "Option::is_none")]
        containing: Option<Text>,
    },
    Analysis(#[serde(serialize_with = "json::tagged")] Analysis),
}

impl Expectation {
    /// About proxies, objects or a refusal, and not about what the last exec did.
    pub fn is_about_state(&self) -> bool {
        use Expectation as E;
        matches!(
            self,
            E::Listener { .. }
                | E::Cluster { .. }
                | E::Route { .. }
                | E::Endpoint { .. }
                | E::Secret { .. }
                | E::List { .. }
                | E::Only { .. }
                | E::Config { .. }
                | E::Resource { .. }
                | E::Rejected { .. }
                | E::Analysis(_)
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusPattern {
    /// 0 is `000`: no response.
    Code(u16),
    /// `2xx` is 2.
    Class(u16),
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TextMatch {
    Equals(Text),
    Contains(Text),
    /// A regex checked at check time.
    Matches(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CertificateField {
    San,
    Subject,
    Issuer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockedBy {
    #[serde(rename = "REGISTRY_ONLY")]
    RegistryOnly,
    SidecarScope,
    Authorization,
    NoRoute,
    Network,
    Upstream,
}

/// One stop of `path A -> B:PORT -> HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// `to HOST [subset S]` of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteTarget {
    pub host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointFact {
    Count(usize),
    /// One of them is this, whatever its port if none is said.
    Address {
        address: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    },
    /// All of them are.
    Healthy,
}

/// What Istio's analysis is to say about the scenario's namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Analysis {
    /// No error and no warning.
    Clean,
    /// `IST0101`.
    Contains(String),
}

/// A fact about a listener or cluster, named as Istio and Envoy name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fact {
    RequireClientCertificate,
    /// `mode PASSTHROUGH|ISTIO_MUTUAL|SIMPLE|MUTUAL`.
    Mode(String),
    Sni(String),
    Chains(usize),
    To {
        host: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        subset: Option<String>,
    },
    /// `type STRICT_DNS`.
    Type(String),
    /// `tls none|SIMPLE|MUTUAL|ISTIO_MUTUAL`.
    Tls(String),
    San(String),
    Alpn(String),
    Bound(u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ProxyList {
    Clusters,
    Listeners,
    Routes,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ListCompare {
    Count(usize),
    FewerThan(Operand),
    SameAs(Operand),
}

/// A number, a capture, or a list read now.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Operand {
    Number(usize),
    Capture(String),
    List { list: ProxyList, on: Option<Workload> },
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CaptureSource {
    List {
        list: ProxyList,
        on: Option<Workload>,
    },
    Stdout,
    Header(String),
    /// A JSONPath into the last exec's output.
    Json(String),
    /// A JSONPath into an object.
    Object {
        object: ObjectRef,
        path: String,
    },
}

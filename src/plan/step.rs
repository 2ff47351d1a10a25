//! The typed steps, the contract between the language (`syntax`, `plan`) and the runner (`run`).
//!
//! Serialized, they are the plan document (`document`): its shape is versioned and described in
//! `docs/commands.md`, so a changed name there is a new version.

use super::document as json;
use crate::diag::{Place, Source};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// A run's worth of scenarios, in file order.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    pub scenarios: Vec<Scenario>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scenario {
    /// The scenario file.
    #[serde(serialize_with = "json::name")]
    pub file: Arc<Source>,
    /// `title` of the file, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_title: Option<String>,
    pub name: String,
    pub tags: Vec<String>,
    #[serde(rename = "at", serialize_with = "json::place")]
    pub place: Place,
    /// `"""` texts, `criteria`, `see`: teaching, shown in reports.
    pub texts: Vec<String>,
    pub criteria: Vec<String>,
    pub see: Vec<String>,
    /// Namespace of workloads and of objects whose manifest names none (`namespace`, default `mesh-test`).
    pub namespace: String,
    /// Default gateway (`gateway`, default `istio-egressgateway.istio-system`).
    pub gateway: Workload,
    pub requires: Vec<Require>,
    /// `within` of the scenario or file; the default is 10 s.
    #[serde(serialize_with = "json::duration")]
    pub within: Duration,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Step {
    #[serde(rename = "at", serialize_with = "json::place")]
    pub place: Place,
    /// The statement as written, on one line, variables replaced: what progress lines show.
    pub text: String,
    #[serde(flatten)]
    pub kind: StepKind,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StepKind {
    /// Server-side apply of these objects, in order.
    Apply(Vec<ManifestObject>),
    /// Delete these objects (`delete KIND NAME` has no body: only identity).
    Delete(Vec<ObjectRef>),
    Exec(Exec),
    Expect(Expect),
    Capture {
        name: String,
        #[serde(serialize_with = "json::tagged")]
        source: CaptureSource,
    },
    /// `diff A B`: always shown.
    Diff {
        left: Operand,
        right: Operand,
    },
    Note(String),
    Pause(String),
}

/// One object of a manifest file or heredoc, with the place it came from.
#[derive(Debug, Clone, Serialize)]
pub struct ManifestObject {
    /// Shared: a file that many scenarios apply is held once.
    #[serde(rename = "object", serialize_with = "json::whole")]
    pub body: Arc<serde_json::Value>,
    /// The document in its file (or in the scenario, for a heredoc).
    #[serde(rename = "at", serialize_with = "json::place")]
    pub place: Place,
    /// JSON pointer → byte span in the source, for carets into the manifest.
    #[serde(skip)]
    pub spans: Arc<Vec<(String, std::ops::Range<usize>)>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind as the user or the manifest wrote it.
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
}

/// `NAME`, `NAME.NAMESPACE` or `deploy/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Workload {
    pub name: String,
    pub namespace: String,
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

/// Text whose captures are not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Literal(String),
    Capture(String),
}

impl Text {
    pub fn literal(s: impl Into<String>) -> Self {
        Text(vec![Part::Literal(s.into())])
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    /// `None` is `exec local`: outside the mesh. There `Part::Capture("ingress")` stands for `${ingress}`,
    /// which the run gives.
    pub workload: Option<Workload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    pub command: Vec<Text>,
    /// `every` given by one of its expects (the shortest): the author says that it is safe to repeat.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json::maybe_duration")]
    pub every: Option<Duration>,
    /// True when expects follow, so a non-zero exit is judged by them; without, it must exit 0.
    pub has_expects: bool,
}

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
    /// `clusters|listeners|routes on P count N | fewer than X | same as X`.
    List {
        list: ProxyList,
        on: Option<Workload>,
        compare: ListCompare,
    },
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
    List { list: ProxyList, on: Option<Workload> },
    Stdout,
    Header(String),
}

#[derive(Debug, Clone, Serialize)]
pub struct Require {
    #[serde(rename = "at", serialize_with = "json::place")]
    pub place: Place,
    #[serde(flatten)]
    pub what: Requirement,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Requirement {
    /// `outbound REGISTRY_ONLY|ALLOW_ANY`.
    Outbound(OutboundPolicy),
    /// `gateway port N`: the gateway's Service exposes it.
    GatewayPort(u16),
    /// `access-log`, `access-log peer`.
    AccessLog { peer: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundPolicy {
    RegistryOnly,
    AllowAny,
}

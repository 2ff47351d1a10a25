//! The typed steps, the contract between the language (`syntax`, `plan`) and the runner (`run`).
//!
//! Serialized, they are the plan document (`document`): its shape is versioned and described in
//! `docs/commands.md`, so a changed name there is a new version.

use super::document as json;
use super::expected::{CaptureSource, Expect, Operand};
use crate::diag::{Place, Source};
pub use crate::syntax::Comparison;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// A run's worth of scenarios, in file order.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    pub scenarios: Vec<Scenario>,
}

/// The Deployment and Service of Istio's ingress gateway, in `istio-system`.
pub const INGRESS_GATEWAY: &str = "istio-ingressgateway";

impl Plan {
    /// Whether connections from outside the mesh are part of it: `exec local`, or the ingress gateway's name.
    pub fn wants_ingress(&self) -> bool {
        self.scenarios.iter().any(|scenario| {
            let comes_from_outside = |step: &Step| match &step.kind {
                StepKind::Exec(exec) if exec.workload.is_none() => true,
                _ => step.text.contains(INGRESS_GATEWAY),
            };
            scenario.gateway.name == INGRESS_GATEWAY || scenario.steps.iter().any(comes_from_outside)
        })
    }
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traps: Vec<Trap>,
    /// Namespace of workloads and of objects whose manifest names none (`namespace`, default `mesh-test`).
    pub namespace: String,
    /// Default gateway (`gateway`, default `istio-egressgateway.istio-system`).
    pub gateway: Workload,
    pub requires: Vec<Require>,
    /// `only on` and `skip if`: the first that applies skips the scenario.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<Skip>,
    /// It changes what others depend on: on a cluster only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruptive: Option<Disruptive>,
    /// `within` of the scenario or file; the default is 10 s.
    #[serde(serialize_with = "json::duration")]
    pub within: Duration,
    /// Those of `setup` first, those of `cleanup` last.
    pub steps: Vec<Step>,
}

/// What looks wrong, why, and how it is mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trap {
    pub symptom: String,
    pub cause: String,
    pub mend: String,
}

/// `only on …` or `skip if …`.
#[derive(Debug, Clone, Serialize)]
pub struct Skip {
    #[serde(rename = "at", serialize_with = "json::place")]
    pub place: Place,
    #[serde(flatten)]
    pub when: SkipWhen,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SkipWhen {
    NotOn(TargetKind),
    /// Skipped when the target meets the requirement (`negated`: when it does not).
    If {
        negated: bool,
        requirement: Requirement,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TargetKind {
    Lab,
    Cluster,
}

#[derive(Debug, Clone, Serialize)]
pub struct Disruptive {
    #[serde(rename = "at", serialize_with = "json::place")]
    pub place: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// Where in a scenario a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    Setup,
    #[default]
    Body,
    /// Runs whatever became of the steps before, and before everything is undone.
    Cleanup,
}

impl Phase {
    fn is_body(&self) -> bool {
        *self == Phase::Body
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// In the scenario, or where named steps are written.
    #[serde(rename = "at", serialize_with = "json::place")]
    pub place: Place,
    /// The `do` of the scenario that led to a step of named steps.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json::maybe_place")]
    pub called: Option<Place>,
    #[serde(skip_serializing_if = "Phase::is_body")]
    pub phase: Phase,
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
    Patch {
        object: ObjectRef,
        /// Strategic merge for kinds of Kubernetes, merge (RFC 7386) for all others, as `kubectl patch` would.
        patch: serde_json::Value,
    },
    /// As `kubectl rollout restart`, and until it is done.
    Restart(Workload),
    /// As `kubectl scale`, and until it is done.
    Scale {
        workload: Workload,
        replicas: u32,
    },
    Wait(Wait),
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
    /// Who it is, read off the body once ([`ManifestObject::new`]): the checks ask for it all the time.
    #[serde(skip)]
    pub identity: Arc<Identity>,
}

/// What names an object. Empty where its body says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl Identity {
    /// The API group; `v1` for the core's, as the objects write it.
    pub fn group(&self) -> &str {
        self.api_version.split('/').next().unwrap_or("")
    }
}

impl ManifestObject {
    pub fn new(body: serde_json::Value, place: Place, spans: Vec<(String, std::ops::Range<usize>)>) -> Self {
        let text = |pointer| body.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or("").to_string();
        let identity = Identity {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        };
        ManifestObject { body: Arc::new(body), place, spans: Arc::new(spans), identity: Arc::new(identity) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wait {
    pub object: ObjectRef,
    pub condition: Condition,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json::maybe_duration")]
    pub within: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// What an object is waited for to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// All of a workload's replicas are of the newest kind and available; of others: condition Ready is True.
    Ready,
    Available,
    Gone,
    Is {
        condition: String,
        status: String,
    },
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
    Secret {
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
    },
    /// Of Istio.
    Version { comparison: Comparison, version: Version },
    /// `PLURAL.GROUP`.
    Crd(String),
}

/// `1.30` or `1.30.3`; the first stands for all its patches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub Vec<u64>);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundPolicy {
    RegistryOnly,
    AllowAny,
}

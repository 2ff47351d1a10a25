//! Expected against actual: facts, matching, diffs. Pure functions over evidence that `run` gathers.

use crate::diag::Diagnostic;
use crate::plan::{Expectation, ProxyList, Workload};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// What one `exec` did.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    pub workload: Option<Workload>,
    /// The pod it ran in.
    pub pod: String,
    pub command: Vec<String>,
    pub exit: i32,
    pub stdout: Vec<u8>,
    /// Without the lines that the run's own `--write-out` added.
    pub stderr: Vec<u8>,
    /// curl's own account (`%{json}`), one for each transfer; empty when the command is not curl.
    pub transfers: Vec<Value>,
    pub took: Duration,
}

/// One pod of a proxy: its Envoy's config dump (raw admin `/config_dump`, snake_case) and access-log
/// lines written since the probe began.
#[derive(Debug, Clone, Default)]
pub struct ProxyPod {
    pub pod: String,
    pub ip: String,
    pub dump: Option<Value>,
    pub log: Vec<String>,
}

/// A captured value.
#[derive(Debug, Clone, PartialEq)]
pub enum Captured {
    Text(String),
    /// Names, sorted.
    List(Vec<String>),
}

/// Everything a judgement may look at.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    pub probe: Option<Probe>,
    pub proxies: BTreeMap<String, Vec<ProxyPod>>,
    /// Kubernetes Services of the gateways' namespaces (for port → targetPort).
    pub services: Vec<Value>,
    /// Istio Gateways, ServiceEntries, … as the API holds them now.
    pub istio: Vec<Value>,
    pub captures: BTreeMap<String, Captured>,
    /// Default gateway and the last exec's workload.
    pub gateway: Option<Workload>,
    pub workload: Option<Workload>,
}

/// What the runner has to fetch before it can judge. Keys of [`Evidence::proxies`] are
/// `Workload::to_string()`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Need {
    Dump(Workload),
    Log(Workload),
    Services(String),
    Istio,
}

#[derive(Debug, Clone)]
pub enum Judgement {
    /// Holds; the lines are worth showing on a pass too (the path line).
    Holds { show: Vec<String> },
    /// Does not hold now; it may after another try (the runner retries within the limit).
    Fails(Box<Failure>),
    /// The evidence cannot be had here: says what to add.
    NotShown { reason: String, help: String },
}

/// Why it does not hold; the runner turns this into a [`Diagnostic`] with places.
#[derive(Debug, Clone)]
pub struct Failure {
    pub code: &'static str,
    /// "expected status 200, got no response (curl exit 35: TLS handshake reset)".
    pub title: String,
    /// Path line, expected/actual diff and the like.
    pub evidence: Vec<String>,
    pub help: Vec<String>,
}

impl Failure {
    pub fn into_diagnostic(self) -> Diagnostic {
        let mut d = Diagnostic::error(self.code, self.title);
        d.evidence = self.evidence;
        d.help = self.help;
        d
    }
}

/// What must be fetched to judge `what`.
pub fn needs(_what: &Expectation, _negated: bool, _gateway: &Workload, _workload: Option<&Workload>) -> Vec<Need> {
    vec![]
}

/// Judges one expectation on the evidence. A fact must hold on every pod of its proxy.
pub fn judge(_what: &Expectation, _negated: bool, _evidence: &Evidence) -> Judgement {
    Judgement::NotShown { reason: String::new(), help: String::new() }
}

/// The sorted names of a proxy's clusters, listeners or routes (for `capture`, `diff`).
pub fn list(_dump: &Value, _list: ProxyList) -> Vec<String> {
    vec![]
}

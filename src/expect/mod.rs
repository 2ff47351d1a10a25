//! Expected against actual: facts, matching, diffs. Pure functions over evidence that `run` gathers.

mod blocked;
mod cause;
mod cluster;
mod curl;
mod diff;
mod explain;
mod finding;
mod hints;
mod journey;
mod listener;
mod lists;
mod log;
mod needs;
mod output;
mod path_line;
mod registry;
mod response;
mod services;
mod text;
mod trace;

pub use lists::{list, list_difference};
pub use needs::{needs, needs_to_explain, widened};
pub use text::{printable, printable_bytes};

use crate::diag::Diagnostic;
use crate::envoy::{Dump, LogFormats};
use crate::plan::{Expectation, Workload};
use finding::Finding;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
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
    /// curl's own account (`%{json}`), one for each transfer; empty when the command is not curl. The run
    /// may add `headers` to each: curl's `%{header_json}`, for `expect header` without `-i`.
    pub transfers: Vec<Value>,
    pub took: Duration,
}

/// One pod of a proxy: what its Envoy runs with, and its access-log lines written since the probe began.
#[derive(Debug, Clone, Default)]
pub struct ProxyPod {
    pub pod: String,
    pub ip: String,
    /// Its config dump, where [`Need::Dump`] asked for it.
    pub dump: Option<Arc<Dump>>,
    /// How its lines are to be read, where [`Need::Format`] alone asked for it.
    pub formats: Option<Arc<LogFormats>>,
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
    /// The whole configuration.
    Dump(Workload),
    /// The formats of the access log, and nothing else of the configuration: far cheaper.
    Format(Workload),
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

/// Judges one expectation on the evidence. A fact must hold on every pod of its proxy.
pub fn judge(what: &Expectation, negated: bool, evidence: &Evidence) -> Judgement {
    let finding = find(what, negated, evidence);
    if !negated || settles_negation(what) {
        return finding.judgement();
    }
    let (code, words) = described(what, evidence);
    finding.negated(code, &format!("expected no {words}, but it is so"))
}

/// Expectations whose "no" is judged apart, as its evidence differs.
fn settles_negation(what: &Expectation) -> bool {
    matches!(what, Expectation::Cluster { .. } | Expectation::Listener { .. })
}

fn find(what: &Expectation, negated: bool, evidence: &Evidence) -> Finding {
    match what {
        Expectation::Status(patterns) => response::status(patterns, evidence),
        Expectation::Exit(codes) => response::exit(codes, evidence),
        Expectation::SslVerify(wanted) => response::ssl_verify(*wanted, evidence),
        Expectation::Header { name, matches } => output::header(name, matches.as_ref(), evidence),
        Expectation::Body(matches) => output::body(matches, evidence),
        Expectation::Stdout(matches) => output::stdout(matches, evidence),
        Expectation::Stderr(matches) => output::stderr(matches, evidence),
        Expectation::Certificate { field, matches } => response::certificate(*field, matches, evidence),
        Expectation::Blocked(by) => blocked::blocked(*by, evidence),
        Expectation::Via { gateway, port } => journey::via(gateway, *port, evidence),
        Expectation::Direct => journey::direct(evidence),
        Expectation::Path(hops) => journey::path(hops, evidence),
        Expectation::Peer(id) => journey::peer(id, evidence),
        Expectation::Log { proxy, matches } => log::log(proxy, matches, evidence),
        Expectation::Listener { port, on, facts } => listener::listener(*port, on.as_ref(), facts, negated, evidence),
        Expectation::Cluster { host, port, subset, on, facts } => {
            let wanted = cluster::Wanted { host, port: *port, subset: subset.as_deref(), facts };
            cluster::cluster(&wanted, on.as_ref(), negated, evidence)
        }
        Expectation::List { list, on, compare } => lists::compare(*list, on.as_ref(), compare, evidence),
        _ => Finding::not_shown("this version does not judge it", ""),
    }
}

/// Code and words of an expectation, for titles.
fn described(what: &Expectation, evidence: &Evidence) -> (&'static str, String) {
    match what {
        Expectation::Status(patterns) => (code::STATUS, response::status_words(patterns)),
        Expectation::Exit(codes) => (code::EXIT, response::exit_words(codes)),
        Expectation::SslVerify(wanted) => (code::SSL_VERIFY, format!("ssl_verify {wanted}")),
        Expectation::Header { name, matches } => {
            (code::HEADER, format!("header {name}{}", output::match_words(matches.as_ref(), evidence)))
        }
        Expectation::Body(matches) => (code::BODY, format!("body{}", output::match_words(Some(matches), evidence))),
        Expectation::Stdout(matches) => {
            (code::STDOUT, format!("stdout{}", output::match_words(Some(matches), evidence)))
        }
        Expectation::Stderr(matches) => {
            (code::STDERR, format!("stderr{}", output::match_words(Some(matches), evidence)))
        }
        Expectation::Certificate { matches, .. } => {
            (code::CERTIFICATE, format!("certificate{}", output::match_words(Some(matches), evidence)))
        }
        Expectation::Blocked(by) => (code::BLOCKED, blocked::words(*by)),
        Expectation::Via { gateway, port } => (code::VIA, journey::via_words(gateway, *port)),
        Expectation::Direct => (code::DIRECT, "direct".into()),
        Expectation::Path(hops) => (code::PATH, format!("path {}", journey::hop_words(hops))),
        Expectation::Peer(id) => (code::PEER, format!("peer {}", text::resolve(id, evidence).unwrap_or_default())),
        Expectation::Log { proxy, matches } => {
            (code::LOG, format!("log line of {proxy}{}", output::match_words(Some(matches), evidence)))
        }
        Expectation::Listener { port, .. } => (code::LISTENER, format!("listener {port}")),
        Expectation::Cluster { host, .. } => (code::CLUSTER, format!("cluster {host}")),
        Expectation::List { list, .. } => (code::LIST, lists::noun(*list).to_string()),
        _ => (code::LIST, String::new()),
    }
}

/// The stable codes of judgements.
mod code {
    pub const STATUS: &str = "E0410";
    pub const EXIT: &str = "E0411";
    pub const SSL_VERIFY: &str = "E0412";
    pub const HEADER: &str = "E0413";
    pub const BODY: &str = "E0414";
    pub const STDOUT: &str = "E0415";
    pub const STDERR: &str = "E0416";
    pub const CERTIFICATE: &str = "E0417";
    pub const BLOCKED: &str = "E0420";
    pub const VIA: &str = "E0421";
    pub const DIRECT: &str = "E0422";
    pub const PATH: &str = "E0423";
    pub const PEER: &str = "E0424";
    pub const LOG: &str = "E0425";
    pub const LISTENER: &str = "E0430";
    pub const CLUSTER: &str = "E0431";
    pub const LIST: &str = "E0432";
}

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
mod json;
mod listener;
mod lists;
mod log;
mod needs;
mod object;
mod output;
mod part;
mod path_line;
mod raw;
mod registry;
mod response;
mod route;
mod services;
mod text;
mod trace;
mod transfer;

pub use json::json_values;
pub use lists::{list, list_difference};
pub use needs::{needs, needs_to_explain, widened};
pub use object::Said;
pub use text::{printable, printable_bytes};

use crate::diag::Diagnostic;
use crate::envoy::{Dump, LogFormats};
use crate::plan;
use crate::plan::{Expectation, ObjectRef, Workload};
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
    /// Whole dumps with endpoints, by workload: pod and dump. Where [`Need::Raw`] asked for them.
    pub raw: BTreeMap<String, Vec<(String, Arc<Value>)>>,
    /// The same, taken when a list of the proxy was captured last.
    pub baselines: BTreeMap<String, Vec<(String, Arc<Value>)>>,
    /// Objects of the API that were asked for; `None`: there is none.
    pub objects: Vec<(ObjectRef, Option<Value>)>,
    /// Why the change right before was refused.
    pub refusal: Option<String>,
    pub analysis: Option<Vec<Said>>,
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
    /// The whole configuration as it is, with endpoints and secrets.
    Raw(Workload),
    Object(ObjectRef),
    /// What Istio's analysis says.
    Analysis,
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
        Expectation::Json { path, matches } => json::json(path, matches.as_ref(), evidence),
        Expectation::Time { comparison, limit } => transfer::time(*comparison, *limit, evidence),
        Expectation::Tls(version) => transfer::tls(version, evidence),
        Expectation::Route { name, on, to } => route::route(name, &proxy_of(on.as_ref(), evidence), to, evidence),
        Expectation::Endpoint { host, port, subset, on, facts } => {
            let wanted = raw::Endpoints { host, port: *port, subset: subset.as_deref(), facts };
            raw::endpoint(&wanted, &proxy_of(on.as_ref(), evidence), evidence)
        }
        Expectation::Secret { name, on } => raw::secret(name, &proxy_of(on.as_ref(), evidence), evidence),
        Expectation::Only { list, name, on } => raw::only(*list, name, on, evidence),
        Expectation::Config { on, document } => raw::config(on, document, evidence),
        Expectation::Resource { object, document } => object::resource(object, document.as_ref(), evidence),
        Expectation::Rejected { containing } => object::rejected(containing.as_ref(), evidence),
        Expectation::Analysis(wanted) => object::analysis(wanted, evidence),
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
        Expectation::Json { path, matches } => {
            (code::JSON, format!("json {path}{}", output::match_words(matches.as_ref(), evidence)))
        }
        Expectation::Time { comparison, limit } => (code::TIME, format!("time {comparison} {limit:?}")),
        Expectation::Tls(version) => (code::TLS, format!("tls {version}")),
        Expectation::Route { name, .. } => (code::ROUTE, format!("route {name}")),
        Expectation::Endpoint { host, port, subset, facts, .. } => {
            let wanted = raw::Endpoints { host, port: *port, subset: subset.as_deref(), facts };
            (code::ENDPOINT, wanted.words())
        }
        Expectation::Secret { name, .. } => (code::SECRET, format!("secret {name}")),
        Expectation::Only { list, name, .. } => (code::ONLY, format!("change of {} {name} alone", raw::kind_of(*list))),
        Expectation::Config { on, .. } => (code::CONFIG, format!("such configuration of {on}")),
        Expectation::Resource { object, .. } => (code::RESOURCE, object::words(object)),
        Expectation::Rejected { .. } => (code::REJECTED, "rejection".to_string()),
        Expectation::Analysis(plan::Analysis::Clean) => (code::ANALYSIS, "clean analysis".to_string()),
        Expectation::Analysis(plan::Analysis::Contains(code)) => (code::ANALYSIS, format!("{code} in the analysis")),
    }
}

/// The proxy that is named, else the last exec's workload.
fn proxy_of(on: Option<&Workload>, evidence: &Evidence) -> Workload {
    on.cloned().or_else(|| evidence.workload.clone()).unwrap_or_else(explain::default_gateway)
}

fn no_configuration(proxy: &Workload) -> Finding {
    Finding::not_shown(
        format!("{proxy} shows no Envoy configuration"),
        format!("look at `kubectl -n {} get pods`: does {} run with a proxy?", proxy.namespace, proxy.name),
    )
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
    pub const JSON: &str = "E0418";
    pub const TIME: &str = "E0419";
    pub const TLS: &str = "E0426";
    pub const ROUTE: &str = "E0433";
    pub const ENDPOINT: &str = "E0434";
    pub const SECRET: &str = "E0435";
    pub const ONLY: &str = "E0436";
    pub const CONFIG: &str = "E0437";
    pub const RESOURCE: &str = "E0438";
    pub const REJECTED: &str = "E0439";
    pub const ANALYSIS: &str = "E0440";
}

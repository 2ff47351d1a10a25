//! Whether scenarios can run on a cluster, found out by asking: permissions, Istio, injection, the egress gateway, what
//! proxies log, and whether outside sites answer. Changes nothing; the only command it runs in a pod is `curl`.

mod access;
mod istio;
mod traffic;

use super::{Cluster, Error, Pod};
use serde::Serialize;
use std::time::Duration;

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The workload whose container sends the requests, and its namespace.
    pub source: String,
    pub namespace: String,
    /// The egress gateway's workload (and Service), and its namespace.
    pub gateway: String,
    pub gateway_namespace: String,
    /// Ports that the gateway's Service should expose.
    pub ports: Vec<u16>,
    /// Outside hosts that the source should reach over HTTPS.
    pub sites: Vec<String>,
}

/// Istio's own namespace.
pub const ROOT_NAMESPACE: &str = "istio-system";
/// How long pods may take to become ready: they are expected to be.
const READY: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    Good,
    /// Scenarios run, but some expectations cannot be judged or some scenarios will fail.
    Lacking,
    /// Scenarios cannot run here.
    Refused,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub about: &'static str,
    pub state: State,
    pub seen: String,
    /// What mends it; commands and YAML to copy.
    pub mend: Vec<String>,
}

impl Finding {
    fn good(about: &'static str, seen: impl Into<String>) -> Finding {
        Finding { about, state: State::Good, seen: seen.into(), mend: vec![] }
    }

    fn lacking(about: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { about, state: State::Lacking, seen: seen.into(), mend: vec![mend.into()] }
    }

    fn refused(about: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { about, state: State::Refused, seen: seen.into(), mend: vec![mend.into()] }
    }

    /// A question that got no answer.
    fn unanswered(about: &'static str, error: &Error) -> Finding {
        let mend = match error {
            Error::Absent { help, .. } => help.clone(),
            _ => String::new(),
        };
        let mend = if mend.is_empty() { vec![] } else { vec![mend] };
        Finding { about, state: State::Lacking, seen: error.to_string(), mend }
    }
}

impl Cluster {
    /// Looks at everything; findings come in the order in which they are best mended.
    ///
    /// # Errors
    /// The API server does not answer at all.
    pub async fn diagnose(&self, subject: &Subject) -> Result<Vec<Finding>, Error> {
        let version = self.version().await?;
        let mut findings = vec![Finding::good("API server", format!("{} {version}", self.server()))];
        // None of these needs another's answer.
        let (access, istio, namespace, policy, gateway, source) = tokio::join!(
            self.look_at_access(subject),
            self.look_at_istio(),
            self.look_at_namespace(subject),
            self.look_at_policy(subject),
            self.look_at_gateway(subject),
            self.pods(&subject.namespace, &subject.source, READY),
        );
        findings.extend(access);
        findings.extend(istio);
        findings.extend(namespace);
        let source = match source {
            Ok(pods) => {
                findings.push(self.look_at_sidecar(subject, &pods).await);
                findings.push(self.look_at_curl(&pods).await);
                pods
            }
            Err(error) => {
                findings.push(Finding { state: State::Refused, ..Finding::unanswered("source workload", &error) });
                vec![]
            }
        };
        findings.extend(policy);
        let (gateway, gateway_pods) = gateway;
        findings.extend(gateway);
        let (logs, sites) = tokio::join!(
            self.look_at_logs(source.first().into_iter().chain(&gateway_pods)),
            self.look_at_sites(source.first(), &subject.sites),
        );
        findings.extend(logs);
        findings.extend(sites);
        Ok(findings)
    }
}

/// `NAME.NAMESPACE`.
fn full(pod: &Pod) -> String {
    format!("{}.{}", pod.name, pod.namespace)
}

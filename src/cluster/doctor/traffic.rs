//! What requests pass: curl in the application's container, every replica of the gateway, access logs, outside sites.

use super::{Finding, READY, Subject, full};
use crate::cluster::{Cluster, Error, Pod};
use crate::envoy::LogFormats;
use serde_json::Value;

/// What lines must hold for a request to be followed from proxy to proxy, and for its reason to be told.
const NEEDED: [&str; 5] =
    ["DOWNSTREAM_REMOTE_ADDRESS", "UPSTREAM_LOCAL_ADDRESS", "UPSTREAM_HOST", "RESPONSE_FLAGS", "REQUESTED_SERVER_NAME"];
/// Beyond Istio's default: `expect peer` needs it.
const PEER: &str = "DOWNSTREAM_PEER_URI_SAN";
/// Since this version curl's `-w` gives JSON, which probes read.
const OLDEST_CURL: (u32, u32) = (7, 75);

impl Cluster {
    pub(super) async fn look_at_curl(&self, pods: &[Pod]) -> Finding {
        const ABOUT: &str = "curl";
        let Some(pod) = pods.first() else { return Finding::lacking(ABOUT, "there is no pod to ask", "") };
        let place = format!("container {} of {}", pod.default_container, full(pod));
        let mend = "use an image that has it: curlimages/curl";
        match self.exec(pod, None, &["curl".into(), "--version".into()]).await {
            Ok(output) if output.exit == 0 => {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let version = text.split_whitespace().nth(1).unwrap_or_default().to_string();
                let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
                let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
                match number >= OLDEST_CURL {
                    true => Finding::good(ABOUT, format!("{version} in {place}")),
                    false => Finding::refused(ABOUT, format!("{version} in {place} is older than 7.75"), mend),
                }
            }
            Ok(output) => Finding::refused(ABOUT, format!("{place}: `curl --version` ends with {}", output.exit), mend),
            Err(error @ Error::Refused { code: 403, .. }) => Finding::unanswered(ABOUT, &error),
            Err(error) => Finding::refused(ABOUT, format!("{place}: {error}"), mend),
        }
    }

    /// The gateway's Service and each of its pods.
    pub(super) async fn look_at_gateway(&self, subject: &Subject) -> (Vec<Finding>, Vec<Pod>) {
        const ABOUT: &str = "egress gateway";
        let (name, namespace) = (&subject.gateway, &subject.gateway_namespace);
        let pods = match self.pods(namespace, name, READY).await {
            Ok(pods) => pods,
            Err(error) => {
                let mut finding = Finding::unanswered(ABOUT, &error);
                finding.mend.push("istioctl install --set components.egressGateways[0].enabled=true".into());
                return (vec![finding], vec![]);
            }
        };
        let mut findings = vec![];
        for pod in &pods {
            let admin = self.admin(pod);
            findings.push(match (admin.ready().await, admin.server_info().await) {
                (Ok(true), Ok(info)) => {
                    let version =
                        info["version"].as_str().and_then(|v| v.split('/').nth(1)).unwrap_or("of unknown version");
                    Finding::good(ABOUT, format!("{}: Envoy {version}, live", full(pod)))
                }
                (Ok(false), _) => Finding::lacking(
                    ABOUT,
                    format!("{}: Envoy is not live", full(pod)),
                    format!("kubectl -n {namespace} logs {}", pod.name),
                ),
                (Err(error), _) | (_, Err(error)) => Finding::unanswered(ABOUT, &error),
            });
        }
        findings.push(self.look_at_service(subject).await);
        (findings, pods)
    }

    async fn look_at_service(&self, subject: &Subject) -> Finding {
        const ABOUT: &str = "gateway's ports";
        let (name, namespace) = (&subject.gateway, &subject.gateway_namespace);
        let found = async {
            let kind = self.kind("v1", "Service").await?;
            self.get(&kind, Some(namespace), name).await
        };
        let service = match found.await {
            Ok(Some(service)) => service,
            Ok(None) => {
                let seen = format!("there is no Service {namespace}/{name}");
                return Finding::lacking(ABOUT, seen, format!("kubectl -n {namespace} expose deploy/{name}"));
            }
            Err(error) => return Finding::unanswered(ABOUT, &error),
        };
        let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
        let ports: Vec<u64> = ports.filter_map(|port| port["port"].as_u64()).collect();
        let list = ports.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let missing: Vec<u16> =
            subject.ports.iter().copied().filter(|port| !ports.contains(&u64::from(*port))).collect();
        if missing.is_empty() {
            return Finding::good(ABOUT, format!("Service {namespace}/{name}: {list}"));
        }
        let patches = missing.iter().map(|port| {
            let value = serde_json::json!({ "name": format!("tls-{port}"), "port": port, "protocol": "TCP", "targetPort": port });
            let patch = serde_json::json!([{ "op": "add", "path": "/spec/ports/-", "value": value }]);
            format!("kubectl -n {namespace} patch service {name} --type json -p '{patch}'")
        });
        let words: Vec<String> = missing.iter().map(u16::to_string).collect();
        let seen = format!(
            "Service {namespace}/{name} has {list}, not {}: sidecars cannot reach the gateway there",
            words.join(", ")
        );
        Finding { mend: patches.collect(), ..Finding::lacking(ABOUT, seen, "") }
    }

    /// What each proxy logs, read from its own configuration.
    pub(super) async fn look_at_logs(&self, pods: impl Iterator<Item = &Pod>) -> Vec<Finding> {
        const ABOUT: &str = "access log";
        const ON: &str = "set meshConfig.accessLogFile to /dev/stdout";
        let look = |pod: Pod| async move {
            let dump = match self.admin(&pod).config_dump().await {
                Ok(dump) => dump,
                Err(error) => return Finding::unanswered(ABOUT, &error),
            };
            let formats = LogFormats::read(&dump);
            let configs = dump["configs"].as_array().into_iter().flatten();
            if !configs.flat_map(|c| c["dynamic_listeners"].as_array()).any(|listeners| !listeners.is_empty()) {
                let seen =
                    format!("{} has no listener yet; what it will write is the mesh config's to say", full(&pod));
                return Finding::good(ABOUT, seen);
            }
            if !formats.writes() {
                let remote = if formats.is_remote() { "; it sends its log elsewhere" } else { "" };
                return Finding::lacking(ABOUT, format!("{} writes none{remote}", full(&pod)), ON);
            }
            let missing: Vec<&str> = NEEDED.into_iter().filter(|operator| !formats.has(operator)).collect();
            if !missing.is_empty() {
                let seen = format!("{} lacks {}", full(&pod), missing.join(", "));
                let words: Vec<String> = missing.iter().map(|operator| format!("%{operator}%")).collect();
                return Finding::lacking(
                    ABOUT,
                    seen,
                    format!("add to meshConfig.accessLogFormat: {}", words.join(" ")),
                );
            }
            let peer = match formats.has(PEER) {
                true => "with the peer's identity",
                false => {
                    "without the peer's identity: `expect peer` needs `peer=%DOWNSTREAM_PEER_URI_SAN%` in accessLogFormat"
                }
            };
            Finding::good(ABOUT, format!("{}: every field that probes are followed by, {peer}", full(&pod)))
        };
        futures::future::join_all(pods.cloned().map(look)).await
    }

    /// One HTTPS request to each site from the application's container. A refusal by the mesh's policy is an answer.
    pub(super) async fn look_at_sites(&self, pod: Option<&Pod>, sites: &[String]) -> Vec<Finding> {
        const ABOUT: &str = "outside sites";
        let Some(pod) = pod else { return vec![] };
        let look = |site: &String| {
            let url = format!("https://{site}/");
            let mut command: Vec<String> =
                ["curl", "-sS", "-o", "/dev/null", "-m", "10", "-w", "%{http_code}"].map(String::from).into();
            command.push(url.clone());
            async move {
                match self.exec(pod, None, &command).await {
                    Ok(output) if output.exit == 0 => {
                        Finding::good(ABOUT, format!("{url}: status {}", String::from_utf8_lossy(&output.stdout)))
                    }
                    Ok(output) => {
                        let why = String::from_utf8_lossy(&output.stderr).trim().to_string();
                        let seen = format!("{url}: no response ({why})");
                        let policy = "under REGISTRY_ONLY this is right until a ServiceEntry names the host; else see the node's way out: DNS, \
                                      firewall, proxy";
                        Finding::lacking(ABOUT, seen, policy)
                    }
                    Err(error) => Finding::unanswered(ABOUT, &error),
                }
            }
        };
        futures::future::join_all(sites.iter().map(look)).await
    }
}

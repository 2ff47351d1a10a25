//! Workloads as istioctl writes them (`NAME`, `NAME.NAMESPACE`, `deploy/NAME`) → the ready pods that
//! run them.

use super::{Cluster, Error, describe};
use kube::api::WatchParams;
use serde_json::Value;
use std::time::Duration;

/// A ready pod of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub ip: String,
    /// Where a command runs when no container is named: the annotation
    /// `kubectl.kubernetes.io/default-container`, else the first that is not the proxy.
    pub default_container: String,
    /// The container that runs Envoy, if there is one.
    pub proxy_container: Option<String>,
}

/// A workload, for messages: `NAME.NAMESPACE`.
#[derive(Clone, Copy)]
struct Name<'a> {
    namespace: &'a str,
    name: &'a str,
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

/// The pods of a workload, in order of their names.
pub type PodSet = Vec<Pod>;

const PROXY: &str = "istio-proxy";

impl Cluster {
    /// The ready pods of a workload: of the Deployment of that name, else the pod of that name.
    /// Waits (by watch) up to `limit` for
    /// them to be ready.
    ///
    /// # Errors
    /// [`Error::Absent`] when there is no such workload, or none of its pods is ready in time.
    pub async fn pods(&self, namespace: &str, name: &str, limit: Duration) -> Result<PodSet, Error> {
        let workload = Name { namespace, name };
        let namespace = Some(namespace);
        let deployments = self.kind("apps/v1", "Deployment").await?;
        let pods = self.kind("v1", "Pod").await?;
        let Some(deployment) = self.get(&deployments, namespace, name).await? else {
            return match self.get(&pods, namespace, name).await? {
                Some(pod) if is_ready(&pod) => Ok(vec![pod_of(&pod)]),
                Some(pod) => Err(not_ready(workload, &[pod])),
                None => Err(absent(workload)),
            };
        };
        let selector = selector(&deployment);
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let (all, version) = self.list(&pods, namespace, &selector).await?;
            let live: Vec<&Value> = all.iter().filter(|p| !is_going(p)).collect();
            let wanted = deployment.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
            let mut ready: PodSet = live.iter().filter(|p| is_ready(p)).map(|p| pod_of(p)).collect();
            if !ready.is_empty() && (ready.len() == live.len() || ready.len() as u64 >= wanted) {
                ready.sort_by(|a, b| a.name.cmp(&b.name));
                return Ok(ready);
            }
            if wanted == 0 {
                return Err(scaled_down(workload));
            }
            // Any change of any of them may be the one.
            let params = WatchParams::default().labels(&selector);
            let changed = self.watch_until(&pods, namespace, params, &version, &|_| true);
            match tokio::time::timeout_at(deadline, changed).await {
                Ok(watched) => watched.map(|_| ())?,
                Err(_) => return Err(not_ready(workload, &all)),
            }
        }
    }
}

/// A Deployment's selector as the API's query writes it.
fn selector(deployment: &Value) -> String {
    let mut terms = vec![];
    if let Some(labels) = deployment.pointer("/spec/selector/matchLabels").and_then(Value::as_object) {
        terms.extend(labels.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())));
    }
    let expressions = deployment.pointer("/spec/selector/matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        terms.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}

fn is_going(pod: &Value) -> bool {
    pod.pointer("/metadata/deletionTimestamp").is_some()
        || matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    !is_going(pod) && conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn pod_of(pod: &Value) -> Pod {
    let text = |pointer| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    // A native sidecar is an init container that keeps running.
    let names = |pointer| -> Vec<String> {
        let list = pod.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|c| c["name"].as_str().map(str::to_owned)).collect()
    };
    let containers = names("/spec/containers");
    let proxy = containers.iter().chain(&names("/spec/initContainers")).find(|n| *n == PROXY).cloned();
    let annotated = pod
        .pointer("/metadata/annotations")
        .and_then(|a| a.get("kubectl.kubernetes.io/default-container"))
        .and_then(Value::as_str);
    let default = match annotated {
        Some(name) => name.to_owned(),
        None => containers.iter().find(|n| *n != PROXY).or_else(|| containers.first()).cloned().unwrap_or_default(),
    };
    Pod {
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
        uid: text("/metadata/uid"),
        ip: text("/status/podIP"),
        default_container: default,
        proxy_container: proxy,
    }
}

fn absent(workload: Name<'_>) -> Error {
    Error::Absent {
        message: format!("there is no deployment and no pod {} in namespace {}", workload.name, workload.namespace),
        help: format!("see `kubectl -n {} get deploy,pods`", workload.namespace),
    }
}

fn scaled_down(workload: Name<'_>) -> Error {
    Error::Absent {
        message: format!("{} is scaled to 0 replicas", describe("Deployment", Some(workload.namespace), workload.name)),
        help: format!("kubectl -n {} scale deploy/{} --replicas 1", workload.namespace, workload.name),
    }
}

fn not_ready(workload: Name<'_>, pods: &[Value]) -> Error {
    let mut why: Vec<String> = pods.iter().filter(|p| !is_ready(p)).map(why_not_ready).collect();
    if why.is_empty() {
        why.push("it has no pod".into());
    }
    Error::Absent {
        message: format!("no ready pod of {workload}: {}", why.join("; ")),
        help: format!("kubectl -n {} describe pods", workload.namespace),
    }
}

/// A pod's name and the first reason that its containers wait for.
fn why_not_ready(pod: &Value) -> String {
    let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or("Pending");
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let waiting = statuses
        .iter()
        .filter_map(|p| pod.pointer(p).and_then(Value::as_array))
        .flatten()
        .find_map(|s| s.pointer("/state/waiting"));
    match waiting {
        Some(state) => {
            let reason = state["reason"].as_str().unwrap_or("waiting");
            match state["message"].as_str() {
                Some(message) => format!("{name}: {reason}: {message}"),
                None => format!("{name}: {reason}"),
            }
        }
        None => format!("{name}: {phase}, not ready"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_command_runs_in_the_application_not_in_the_proxy() {
        let pod = json!({
            "metadata": {"name": "sleep-1", "namespace": "mesh-test", "uid": "u"},
            "spec": {"containers": [{"name": "istio-proxy"}, {"name": "sleep"}]},
            "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
        });
        let found = pod_of(&pod);
        assert_eq!(found.default_container, "sleep");
        assert_eq!(found.proxy_container.as_deref(), Some("istio-proxy"));
        assert!(is_ready(&pod));
    }

    #[test]
    fn a_gateway_is_all_proxy_and_a_native_sidecar_counts() {
        let gateway = json!({"metadata": {"name": "g"}, "spec": {"containers": [{"name": "istio-proxy"}]}});
        assert_eq!(pod_of(&gateway).default_container, "istio-proxy");
        let native = json!({"metadata": {"name": "g"}, "spec": {
            "initContainers": [{"name": "istio-proxy"}], "containers": [{"name": "app"}]}});
        assert_eq!(pod_of(&native).proxy_container.as_deref(), Some("istio-proxy"));
    }

    #[test]
    fn selectors_are_written_as_queries() {
        let deployment = json!({"spec": {"selector": {"matchLabels": {"app": "sleep"},
            "matchExpressions": [{"key": "v", "operator": "In", "values": ["1", "2"]}, {"key": "x", "operator": "DoesNotExist"}]}}});
        assert_eq!(selector(&deployment), "app=sleep,v in (1,2),!x");
    }

    #[test]
    fn an_unready_pod_is_explained() {
        let pod = json!({"metadata": {"name": "sleep-1"}, "status": {"phase": "Pending", "containerStatuses": [
            {"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}]}});
        let workload = Name { name: "sleep", namespace: "mesh-test" };
        let text = not_ready(workload, &[pod]).to_string();
        assert_eq!(text, "no ready pod of sleep.mesh-test: sleep-1: ErrImagePull: no such image");
    }
}

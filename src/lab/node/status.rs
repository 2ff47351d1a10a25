//! Pod status as the kubelet writes it.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Where a container stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    Waiting {
        reason: &'static str,
        message: String,
    },
    Running {
        since: Timestamp,
        ready: bool,
    },
    /// Ended and not to be started again (or an init container's work is done).
    Ended {
        exit: i32,
        since: Timestamp,
        at: Timestamp,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContainerStatus {
    pub phase: Phase,
    pub restarts: u32,
    /// How it ended before it was started again.
    pub last: Option<Box<Phase>>,
}

impl ContainerStatus {
    pub fn waiting(reason: &'static str, message: impl Into<String>) -> Self {
        ContainerStatus { phase: Phase::Waiting { reason, message: message.into() }, restarts: 0, last: None }
    }

    pub fn ready(&self) -> bool {
        matches!(self.phase, Phase::Running { ready: true, .. })
    }
}

/// An init container that keeps running beside the others (a native sidecar).
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The `status` of a pod whose containers stand as given. The `qosClass` is the API server's: it is set at creation and
/// no other is taken afterwards.
pub fn of(
    pod: &Pod,
    ip: Option<Ipv4Addr>,
    containers: &BTreeMap<String, ContainerStatus>,
    started: Timestamp,
) -> Value {
    let spec = pod.spec.as_ref();
    let init: &[Container] = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let main: &[Container] = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let state = |container: &Container| containers.get(&container.name);
    let all_ready = main.iter().all(|c| state(c).is_some_and(ContainerStatus::ready))
        && init.iter().filter(|c| is_sidecar(c)).all(|c| state(c).is_some_and(ContainerStatus::ready));
    let initialized = init.iter().all(|c| {
        state(c).is_some_and(|status| match status.phase {
            Phase::Running { .. } => is_sidecar(c),
            Phase::Ended { exit, .. } => exit == 0,
            Phase::Waiting { .. } => false,
        })
    });
    let ended = |c: &Container| match state(c).map(|status| &status.phase) {
        Some(Phase::Ended { exit, .. }) => Some(*exit),
        _ => None,
    };
    let phase = if !main.is_empty() && main.iter().all(|c| ended(c) == Some(0)) {
        "Succeeded"
    } else if !main.is_empty() && main.iter().all(|c| ended(c).is_some()) {
        "Failed"
    } else if main
        .iter()
        .any(|c| state(c).is_some_and(|s| s.last.is_some() || matches!(s.phase, Phase::Running { .. })))
    {
        "Running"
    } else {
        "Pending"
    };
    let condition = |kind: &str, holds: bool| {
        let mut condition = json!({
            "type": kind, "status": if holds { "True" } else { "False" },
            "lastProbeTime": null, "lastTransitionTime": started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        if !holds && kind.ends_with("Ready") {
            condition["reason"] = json!("ContainersNotReady");
        }
        condition
    };
    let mut status = json!({
        "phase": phase,
        "conditions": [
            condition("PodReadyToStartContainers", ip.is_some()),
            condition("Initialized", initialized),
            condition("Ready", all_ready),
            condition("ContainersReady", all_ready),
            condition("PodScheduled", true),
        ],
        "hostIP": "10.244.0.1",
        "hostIPs": [{ "ip": "10.244.0.1" }],
        "startTime": seconds(started),
        "containerStatuses": main.iter().map(|c| container_status(c, state(c))).collect::<Vec<_>>(),
    });
    if !init.is_empty() {
        status["initContainerStatuses"] = init.iter().map(|c| container_status(c, state(c))).collect();
    }
    if let Some(ip) = ip {
        status["podIP"] = json!(ip);
        status["podIPs"] = json!([{ "ip": ip }]);
    }
    status
}

fn container_status(container: &Container, status: Option<&ContainerStatus>) -> Value {
    let waiting = ContainerStatus::waiting("PodInitializing", "");
    let status = status.unwrap_or(&waiting);
    let id = format!("lab://{}", container.name);
    let state = match &status.phase {
        Phase::Waiting { reason, message } if message.is_empty() => json!({ "waiting": { "reason": reason } }),
        Phase::Waiting { reason, message } => json!({ "waiting": { "reason": reason, "message": message } }),
        Phase::Running { since, .. } => json!({ "running": { "startedAt": seconds(*since) } }),
        ended @ Phase::Ended { .. } => terminated(ended, &id),
    };
    let last = status.last.as_ref().map_or_else(|| json!({}), |last| terminated(last, &id));
    let ready = status.ready() || matches!(status.phase, Phase::Ended { exit: 0, .. });
    json!({
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "containerID": if matches!(status.phase, Phase::Waiting { .. }) { String::new() } else { id },
        "ready": ready,
        "started": matches!(status.phase, Phase::Running { .. }),
        "restartCount": status.restarts,
        "state": state,
        "lastState": last,
    })
}

fn terminated(phase: &Phase, id: &str) -> Value {
    let Phase::Ended { exit, since, at } = phase else { return json!({}) };
    json!({ "terminated": {
        "exitCode": exit, "reason": if *exit == 0 { "Completed" } else { "Error" },
        "startedAt": seconds(*since), "finishedAt": seconds(*at), "containerID": id,
    } })
}

/// Kubernetes' times have whole seconds.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "spec": {
                "initContainers": [{ "name": "istio-init" }, { "name": "istio-proxy", "restartPolicy": "Always" }],
                "containers": [{ "name": "sleep", "image": "curlimages/curl" }],
            }
        }))
        .unwrap()
    }

    fn states(proxy_ready: bool) -> BTreeMap<String, ContainerStatus> {
        let at = Timestamp::UNIX_EPOCH;
        let running = |ready| ContainerStatus { phase: Phase::Running { since: at, ready }, restarts: 0, last: None };
        let done = ContainerStatus { phase: Phase::Ended { exit: 0, since: at, at }, restarts: 0, last: None };
        [("istio-init".into(), done), ("istio-proxy".into(), running(proxy_ready)), ("sleep".into(), running(true))]
            .into()
    }

    fn ready(status: &Value) -> &Value {
        let conditions = status["conditions"].as_array().unwrap();
        &conditions.iter().find(|c| c["type"] == "Ready").unwrap()["status"]
    }

    #[test]
    fn a_pod_is_ready_when_its_sidecar_is() {
        let status = of(&pod(), Some(Ipv4Addr::new(10, 244, 0, 10)), &states(true), Timestamp::UNIX_EPOCH);
        assert_eq!((&status["phase"], ready(&status)), (&json!("Running"), &json!("True")));
        let status = of(&pod(), Some(Ipv4Addr::new(10, 244, 0, 10)), &states(false), Timestamp::UNIX_EPOCH);
        assert_eq!((&status["phase"], ready(&status)), (&json!("Running"), &json!("False")));
    }

    #[test]
    fn an_unknown_image_waits_with_its_reason() {
        let states = [("sleep".to_string(), ContainerStatus::waiting("ErrImagePull", "no program"))].into();
        let status = of(&pod(), None, &states, Timestamp::UNIX_EPOCH);
        assert_eq!(status["phase"], "Pending");
        assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "ErrImagePull");
    }
}

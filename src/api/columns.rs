//! The columns of the built-in kinds, as people know them.

use super::object::{at, labels, list, name, number, text};
use serde_json::{Value, json};

pub struct Header {
    pub name: &'static str,
    pub kind: &'static str,
    /// Shown only with `-o wide`.
    pub wide: bool,
}

pub struct Columns {
    pub headers: &'static [Header],
    pub cells: fn(&Value, jiff::Timestamp) -> Vec<Value>,
}

const fn col(name: &'static str) -> Header {
    Header { name, kind: "string", wide: false }
}

const fn int(name: &'static str) -> Header {
    Header { name, kind: "integer", wide: false }
}

const fn wide(name: &'static str) -> Header {
    Header { name, kind: "string", wide: true }
}

/// The columns of a kind; NAME and AGE if it has no own.
pub fn of(kind: &str) -> Columns {
    match kind {
        "Pod" => Columns { headers: POD, cells: pod },
        "Service" => Columns { headers: SERVICE, cells: service },
        "Deployment" => Columns { headers: DEPLOYMENT, cells: deployment },
        "ReplicaSet" => Columns { headers: REPLICA_SET, cells: replica_set },
        "Namespace" => Columns { headers: NAMESPACE, cells: namespace },
        "ConfigMap" => Columns { headers: CONFIG_MAP, cells: config_map },
        "Secret" => Columns { headers: SECRET, cells: secret },
        "ServiceAccount" => Columns { headers: SERVICE_ACCOUNT, cells: service_account },
        "Endpoints" => Columns { headers: ENDPOINTS, cells: endpoints },
        "EndpointSlice" => Columns { headers: ENDPOINT_SLICE, cells: endpoint_slice },
        "Event" => Columns { headers: EVENT, cells: event },
        "Node" => Columns { headers: NODE, cells: node },
        "Lease" => Columns { headers: LEASE, cells: lease },
        "Role" | "ClusterRole" => Columns { headers: DEFINITION, cells: definition },
        "RoleBinding" | "ClusterRoleBinding" => Columns { headers: BINDING, cells: binding },
        "CustomResourceDefinition" => Columns { headers: DEFINITION, cells: definition },
        "NetworkPolicy" => Columns { headers: NETWORK_POLICY, cells: network_policy },
        _ => Columns { headers: PLAIN, cells: plain },
    }
}

const PLAIN: &[Header] = &[col("Name"), col("Age")];
const POD: &[Header] = &[
    col("Name"),
    col("Ready"),
    col("Status"),
    col("Restarts"),
    col("Age"),
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
];
const SERVICE: &[Header] =
    &[col("Name"), col("Type"), col("Cluster-IP"), col("External-IP"), col("Port(s)"), col("Age"), wide("Selector")];
const DEPLOYMENT: &[Header] = &[
    col("Name"),
    col("Ready"),
    int("Up-to-date"),
    int("Available"),
    col("Age"),
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];
const REPLICA_SET: &[Header] = &[
    col("Name"),
    int("Desired"),
    int("Current"),
    int("Ready"),
    col("Age"),
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];
const NAMESPACE: &[Header] = &[col("Name"), col("Status"), col("Age")];
const CONFIG_MAP: &[Header] = &[col("Name"), int("Data"), col("Age")];
const SECRET: &[Header] = &[col("Name"), col("Type"), int("Data"), col("Age")];
const SERVICE_ACCOUNT: &[Header] = &[col("Name"), int("Secrets"), col("Age")];
const ENDPOINTS: &[Header] = &[col("Name"), col("Endpoints"), col("Age")];
const ENDPOINT_SLICE: &[Header] = &[col("Name"), col("AddressType"), col("Ports"), col("Endpoints"), col("Age")];
const EVENT: &[Header] = &[
    col("Last Seen"),
    col("Type"),
    col("Reason"),
    col("Object"),
    wide("Subobject"),
    wide("Source"),
    col("Message"),
    wide("First Seen"),
    wide("Count"),
    wide("Name"),
];
const NODE: &[Header] = &[
    col("Name"),
    col("Status"),
    col("Roles"),
    col("Age"),
    col("Version"),
    wide("Internal-IP"),
    wide("External-IP"),
    wide("OS-Image"),
    wide("Kernel-Version"),
    wide("Container-Runtime"),
];
const LEASE: &[Header] = &[col("Name"), col("Holder"), col("Age")];
const DEFINITION: &[Header] = &[col("Name"), col("Created At")];
const BINDING: &[Header] =
    &[col("Name"), col("Role"), col("Age"), wide("Users"), wide("Groups"), wide("ServiceAccounts")];
const NETWORK_POLICY: &[Header] = &[col("Name"), col("Pod-Selector"), col("Age")];

/// A time as its distance from now, in Kubernetes' short form; `<unknown>` if it is none.
pub fn age(time: &str, now: jiff::Timestamp) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(then) => duration(now.as_second() - then.as_second()),
        Err(_) => "<unknown>".into(),
    }
}

/// Seconds as Kubernetes prints them: `45s`, `2m30s`, `15m`, `3h10m`, `20h`, `2d3h`, `30d`, `2y5d`.
pub fn duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let pair = |a: i64, unit: &str, b: i64, small: &str| {
        if b == 0 { format!("{a}{unit}") } else { format!("{a}{unit}{b}{small}") }
    };
    match seconds {
        s if s < -1 => "<invalid>".into(),
        s if s < 0 => "0s".into(),
        s if s < 120 => format!("{s}s"),
        s if s < 600 => pair(minutes, "m", s % 60, "s"),
        s if s < 3 * 3600 => format!("{minutes}m"),
        s if s < 8 * 3600 => pair(hours, "h", minutes % 60, "m"),
        s if s < 48 * 3600 => format!("{hours}h"),
        s if s < 8 * 86400 => pair(days, "d", hours % 24, "h"),
        s if s < 2 * 365 * 86400 => format!("{days}d"),
        s if s < 8 * 365 * 86400 => pair(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

fn created(o: &Value, now: jiff::Timestamp) -> Value {
    json!(age(text(o, &["metadata", "creationTimestamp"]), now))
}

fn or_none(text: &str) -> Value {
    json!(if text.is_empty() { "<none>" } else { text })
}

fn plain(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    vec![json!(name(o)), created(o, now)]
}

fn is_sidecar(container: &Value) -> bool {
    text(container, &["restartPolicy"]) == "Always"
}

fn pod(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let (ready, status, restarts) = pod_summary(o, now);
    let or = |path: &[&str]| or_none(text(o, path));
    let gates = list(o, &["spec", "readinessGates"]);
    let gates = if gates.is_empty() { "<none>".to_string() } else { format!("0/{}", gates.len()) };
    vec![
        json!(name(o)),
        json!(ready),
        json!(status),
        json!(restarts),
        created(o, now),
        or(&["status", "podIP"]),
        or(&["spec", "nodeName"]),
        or(&["status", "nominatedNodeName"]),
        json!(gates),
    ]
}

/// READY, STATUS and RESTARTS of a pod: native sidecars count as containers.
fn pod_summary(o: &Value, now: jiff::Timestamp) -> (String, String, String) {
    let inits = list(o, &["spec", "initContainers"]);
    let sidecars = inits.iter().filter(|c| is_sidecar(c)).count();
    let total = list(o, &["spec", "containers"]).len() + sidecars;
    let reason = text(o, &["status", "reason"]);
    let mut status = if reason.is_empty() { text(o, &["status", "phase"]) } else { reason }.to_string();
    if status.is_empty() {
        status = "Unknown".into();
    }
    let (mut ready, mut restarts, mut last_restart) = (0, 0, None::<String>);
    let mut note_restart = |c: &Value| {
        let time = text(c, &["lastState", "terminated", "finishedAt"]).to_string();
        if !time.is_empty() && last_restart.as_ref().is_none_or(|l| *l < time) {
            last_restart = Some(time);
        }
    };
    let mut initializing = false;
    for (i, c) in list(o, &["status", "initContainerStatuses"]).iter().enumerate() {
        let spec = inits.iter().find(|s| s["name"] == c["name"]);
        let sidecar = spec.is_some_and(is_sidecar);
        restarts += number(c, &["restartCount"]).unwrap_or(0);
        note_restart(c);
        let terminated = at(c, &["state", "terminated"]);
        let running = !at(c, &["state", "running"]).is_null();
        if number(terminated, &["exitCode"]) == Some(0) {
            continue;
        }
        if sidecar && c["started"] == json!(true) {
            if c["ready"] == json!(true) {
                ready += 1;
            }
            continue;
        }
        let waiting = text(c, &["state", "waiting", "reason"]);
        status = if terminated.is_object() {
            match text(terminated, &["reason"]) {
                "" => format!("Init:ExitCode:{}", number(terminated, &["exitCode"]).unwrap_or(0)),
                reason => format!("Init:{reason}"),
            }
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            let _ = running;
            format!("Init:{i}/{}", inits.len())
        };
        initializing = true;
        break;
    }
    if !initializing {
        let mut has_running = false;
        for c in list(o, &["status", "containerStatuses"]).iter().rev() {
            restarts += number(c, &["restartCount"]).unwrap_or(0);
            note_restart(c);
            let waiting = text(c, &["state", "waiting", "reason"]);
            let terminated = at(c, &["state", "terminated"]);
            if !waiting.is_empty() {
                status = waiting.to_string();
            } else if terminated.is_object() {
                let signal = number(terminated, &["signal"]).unwrap_or(0);
                status = match text(terminated, &["reason"]) {
                    "" if signal != 0 => format!("Signal:{signal}"),
                    "" => format!("ExitCode:{}", number(terminated, &["exitCode"]).unwrap_or(0)),
                    reason => reason.to_string(),
                };
            } else if c["ready"] == json!(true) && at(c, &["state", "running"]).is_object() {
                has_running = true;
                ready += 1;
            }
        }
        if status == "Completed" && has_running {
            let pod_ready = list(o, &["status", "conditions"])
                .iter()
                .any(|c| text(c, &["type"]) == "Ready" && text(c, &["status"]) == "True");
            status = if pod_ready { "Running" } else { "NotReady" }.into();
        }
    }
    if super::object::is_terminating(o) && !["Succeeded", "Failed"].contains(&text(o, &["status", "phase"])) {
        status = "Terminating".into();
    }
    let restarts = match last_restart {
        Some(time) if restarts > 0 => format!("{restarts} ({} ago)", age(&time, now)),
        _ => restarts.to_string(),
    };
    (format!("{ready}/{total}"), status, restarts)
}

fn service(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let kind = text(o, &["spec", "type"]);
    let ips: Vec<&str> = list(o, &["spec", "externalIPs"]).iter().filter_map(Value::as_str).collect();
    let balancer: Vec<&str> = list(o, &["status", "loadBalancer", "ingress"])
        .iter()
        .map(|i| text(i, &["ip"]))
        .filter(|t| !t.is_empty())
        .collect();
    let external = match kind {
        "ExternalName" => text(o, &["spec", "externalName"]).to_string(),
        "LoadBalancer" if balancer.is_empty() && ips.is_empty() => "<pending>".into(),
        "LoadBalancer" => [balancer, ips].concat().join(","),
        _ if ips.is_empty() => "<none>".into(),
        _ => ips.join(","),
    };
    let ports: Vec<String> = list(o, &["spec", "ports"])
        .iter()
        .map(|p| {
            let port = number(p, &["port"]).unwrap_or(0);
            match number(p, &["nodePort"]).filter(|n| *n > 0) {
                Some(node) => format!("{port}:{node}/{}", text(p, &["protocol"])),
                None => format!("{port}/{}", text(p, &["protocol"])),
            }
        })
        .collect();
    vec![
        json!(name(o)),
        json!(kind),
        or_none(text(o, &["spec", "clusterIP"])),
        json!(external),
        or_none(&ports.join(",")),
        created(o, now),
        or_none(&pairs(at(o, &["spec", "selector"]))),
    ]
}

fn pairs(map: &Value) -> String {
    let mut parts: Vec<String> =
        map.as_object().into_iter().flatten().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect();
    parts.sort();
    parts.join(",")
}

/// CONTAINERS, IMAGES and SELECTOR of a workload.
fn template_cells(o: &Value) -> [Value; 3] {
    let containers = list(o, &["spec", "template", "spec", "containers"]);
    let join = |field: &str| containers.iter().map(|c| text(c, &[field])).collect::<Vec<_>>().join(",");
    [or_none(&join("name")), or_none(&join("image")), or_none(&pairs(at(o, &["spec", "selector", "matchLabels"])))]
}

fn count(o: &Value, field: &str) -> i64 {
    number(o, &["status", field]).unwrap_or(0)
}

fn deployment(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let desired = number(o, &["spec", "replicas"]).unwrap_or(0);
    let mut cells = vec![
        json!(name(o)),
        json!(format!("{}/{desired}", count(o, "readyReplicas"))),
        json!(count(o, "updatedReplicas")),
        json!(count(o, "availableReplicas")),
        created(o, now),
    ];
    cells.extend(template_cells(o));
    cells
}

fn replica_set(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let desired = number(o, &["spec", "replicas"]).unwrap_or(0);
    let mut cells = vec![
        json!(name(o)),
        json!(desired),
        json!(count(o, "replicas")),
        json!(count(o, "readyReplicas")),
        created(o, now),
    ];
    cells.extend(template_cells(o));
    cells
}

fn namespace(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    vec![json!(name(o)), json!(text(o, &["status", "phase"])), created(o, now)]
}

fn entries(o: &Value, fields: &[&str]) -> usize {
    fields.iter().map(|f| o[*f].as_object().map_or(0, serde_json::Map::len)).sum()
}

fn config_map(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    vec![json!(name(o)), json!(entries(o, &["data", "binaryData"])), created(o, now)]
}

fn secret(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    vec![json!(name(o)), json!(text(o, &["type"])), json!(entries(o, &["data"])), created(o, now)]
}

fn service_account(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    vec![json!(name(o)), json!(list(o, &["secrets"]).len()), created(o, now)]
}

/// The first three and how many more.
fn first_three(all: &[String]) -> Value {
    match all.len() {
        0 => json!("<none>"),
        1..=3 => json!(all.join(",")),
        n => json!(format!("{} + {} more...", all[..3].join(","), n - 3)),
    }
}

fn endpoints(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in list(o, &["subsets"]) {
        for address in list(subset, &["addresses"]) {
            let ip = text(address, &["ip"]);
            let ports = list(subset, &["ports"]);
            if ports.is_empty() {
                all.push(ip.to_string());
            }
            all.extend(ports.iter().map(|p| format!("{ip}:{}", number(p, &["port"]).unwrap_or(0))));
        }
    }
    vec![json!(name(o)), first_three(&all), created(o, now)]
}

fn endpoint_slice(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let ports: Vec<String> = list(o, &["ports"])
        .iter()
        .map(|p| number(p, &["port"]).map_or_else(|| text(p, &["name"]).to_string(), |n| n.to_string()))
        .collect();
    let ports = if ports.is_empty() { json!("<unset>") } else { first_three(&ports) };
    let addresses: Vec<String> = list(o, &["endpoints"])
        .iter()
        .flat_map(|e| list(e, &["addresses"]).iter().filter_map(|a| a.as_str().map(str::to_string)))
        .collect();
    let addresses = if addresses.is_empty() { json!("<unset>") } else { first_three(&addresses) };
    vec![json!(name(o)), json!(text(o, &["addressType"])), ports, addresses, created(o, now)]
}

fn event(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let first =
        [text(o, &["firstTimestamp"]), text(o, &["eventTime"])].into_iter().find(|t| !t.is_empty()).unwrap_or("");
    let last = [text(o, &["lastTimestamp"]), first].into_iter().find(|t| !t.is_empty()).unwrap_or("");
    let kind = text(o, &["involvedObject", "kind"]).to_lowercase();
    let component = [text(o, &["source", "component"]), text(o, &["reportingComponent"])];
    let component = component.into_iter().find(|t| !t.is_empty()).unwrap_or("");
    vec![
        json!(age(last, now)),
        json!(text(o, &["type"])),
        json!(text(o, &["reason"])),
        json!(format!("{kind}/{}", text(o, &["involvedObject", "name"]))),
        json!(text(o, &["involvedObject", "fieldPath"])),
        json!(component),
        json!(text(o, &["message"]).trim()),
        json!(age(first, now)),
        json!(number(o, &["count"]).unwrap_or(1).to_string()),
        json!(name(o)),
    ]
}

fn node(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let ready = list(o, &["status", "conditions"]).iter().find(|c| text(c, &["type"]) == "Ready");
    let mut status = match ready.map(|c| text(c, &["status"])) {
        Some("True") => "Ready".to_string(),
        Some(_) => "NotReady".to_string(),
        None => "Unknown".to_string(),
    };
    if at(o, &["spec", "unschedulable"]) == &json!(true) {
        status += ",SchedulingDisabled";
    }
    let mut roles: Vec<&str> = labels(o)
        .into_iter()
        .flatten()
        .filter_map(|(k, _)| k.strip_prefix("node-role.kubernetes.io/"))
        .filter(|r| !r.is_empty())
        .collect();
    roles.sort_unstable();
    let address = |kind: &str| {
        let all = list(o, &["status", "addresses"]);
        let found = all.iter().find(|a| text(a, &["type"]) == kind).map_or("", |a| text(a, &["address"]));
        or_none(found)
    };
    let info = |field: &str| {
        json!(match text(o, &["status", "nodeInfo", field]) {
            "" => "<unknown>",
            other => other,
        })
    };
    vec![
        json!(name(o)),
        json!(status),
        or_none(&roles.join(",")),
        created(o, now),
        json!(text(o, &["status", "nodeInfo", "kubeletVersion"])),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn lease(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    vec![json!(name(o)), json!(text(o, &["spec", "holderIdentity"])), created(o, now)]
}

fn definition(o: &Value, _: jiff::Timestamp) -> Vec<Value> {
    vec![json!(name(o)), json!(text(o, &["metadata", "creationTimestamp"]))]
}

fn binding(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| {
        let of_kind = list(o, &["subjects"]).iter().filter(|s| text(s, &["kind"]) == kind);
        let names = of_kind.map(|s| match (kind, text(s, &["namespace"])) {
            ("ServiceAccount", namespace) => format!("{namespace}/{}", text(s, &["name"])),
            _ => text(s, &["name"]).to_string(),
        });
        json!(names.collect::<Vec<_>>().join(", "))
    };
    let role = format!("{}/{}", text(o, &["roleRef", "kind"]), text(o, &["roleRef", "name"]));
    vec![json!(name(o)), json!(role), created(o, now), subjects("User"), subjects("Group"), subjects("ServiceAccount")]
}

fn network_policy(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    vec![json!(name(o)), or_none(&pairs(at(o, &["spec", "podSelector", "matchLabels"]))), created(o, now)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_as_kubernetes_writes_them() {
        for (seconds, wanted) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (600, "10m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 600, "3h10m"),
            (20 * 3600, "20h"),
            (51 * 3600, "2d3h"),
            (30 * 86400, "30d"),
            (735 * 86400, "2y5d"),
        ] {
            assert_eq!(duration(seconds), wanted);
        }
    }

    #[test]
    fn a_pod_with_a_native_sidecar_counts_it() {
        let running = json!({ "running": { "startedAt": "2026-01-01T00:00:00Z" } });
        let pod = json!({
            "spec": { "containers": [{ "name": "sleep" }], "initContainers": [{ "name": "istio-init" },
                { "name": "istio-proxy", "restartPolicy": "Always" }] },
            "status": { "phase": "Running",
                "initContainerStatuses": [
                    { "name": "istio-init", "state": { "terminated": { "exitCode": 0 } } },
                    { "name": "istio-proxy", "started": true, "ready": true, "state": running }],
                "containerStatuses": [{ "name": "sleep", "ready": true, "restartCount": 0, "state": running }] } });
        let summary = pod_summary(&pod, jiff::Timestamp::now());
        assert_eq!(summary, ("2/2".into(), "Running".into(), "0".into()));
    }
}

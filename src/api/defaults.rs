//! Values the server fills in, for the kinds whose clients rely on them.

use super::failure::{Cause, Failure};
use super::object::{self, child, default};
use super::resource::Resource;
use super::store::State;
use base64::Engine;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::net::Ipv4Addr;

/// The Service addresses: 10.96.0.0/16, of which .0.1 is the API's own and .0.10 DNS.
const SERVICE_NETWORK: u32 = 0x0A60_0000;

/// Fills in what is absent. Running it again changes nothing.
pub fn apply(state: &State, resource: &Resource, live: Option<&Value>, body: &mut Value) -> Result<(), Failure> {
    if resource.is_custom() {
        return Ok(());
    }
    match resource.kind.as_str() {
        "Pod" => pod(live.is_none(), body),
        "Service" => service(state, live, body)?,
        "Deployment" => deployment(body),
        "ReplicaSet" | "ReplicationController" => workload(body),
        "StatefulSet" | "DaemonSet" | "Job" => template(body),
        "Namespace" => namespace(body),
        "Secret" => {
            secret(body);
            without_empty(body, &["data"]);
        }
        "ConfigMap" => without_empty(body, &["data", "binaryData"]),
        "CustomResourceDefinition" => definition(body),
        "Node" if live.is_none() => {
            if let Some(spec) = child(body, "spec") {
                spec.retain(|_, v| !v.is_null());
            }
        }
        "Event" => event(body),
        _ => {}
    }
    Ok(())
}

fn pod(created: bool, body: &mut Value) {
    pod_spec(body.get_mut("spec"));
    if let Some(spec) = child(body, "spec") {
        default(spec, "enableServiceLinks", true);
        default(spec, "serviceAccountName", "default");
        let account = spec.get("serviceAccountName").cloned().unwrap_or(Value::Null);
        default(spec, "serviceAccount", account);
        default(spec, "preemptionPolicy", "PreemptLowerPriority");
        default(spec, "priority", 0);
        for key in ["containers", "initContainers"] {
            for container in spec.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
                requests_from_limits(container);
            }
        }
    }
    if created {
        tolerate(body);
        let class = quality_of_service(body);
        if let Some(status) = child(body, "status") {
            default(status, "phase", "Pending");
            default(status, "qosClass", class);
        }
    }
}

/// A node that is lost for a while does not end its pods at once: what the admission plugin `DefaultTolerationSeconds`
/// adds.
fn tolerate(pod: &mut Value) {
    let Some(spec) = child(pod, "spec") else { return };
    let list = spec.entry("tolerations").or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = |t: &Value| {
            let (known, effect) = (object::text(t, &["key"]), object::text(t, &["effect"]));
            (known == key || known.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        };
        if !list.iter().any(tolerated) {
            let whole = json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 });
            list.push(whole);
        }
    }
}

fn requests_from_limits(container: &mut Value) {
    let Some(limits) = container["resources"].get("limits").and_then(Value::as_object).cloned() else { return };
    let Some(requests) = child(&mut container["resources"], "requests") else { return };
    for (name, amount) in limits {
        default(requests, &name, amount);
    }
}

fn quality_of_service(pod: &Value) -> &'static str {
    let containers =
        object::list(pod, &["spec", "containers"]).iter().chain(object::list(pod, &["spec", "initContainers"]));
    let (mut any, mut all) = (false, true);
    for container in containers {
        let limits = object::at(container, &["resources", "limits"]);
        let requests = object::at(container, &["resources", "requests"]);
        any |= limits.is_object() || requests.is_object();
        all &= limits.get("cpu").is_some() && limits.get("memory").is_some() && requests == limits;
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// A pod's specification, in a pod or in a template.
fn pod_spec(spec: Option<&mut Value>) {
    let Some(Value::Object(spec)) = spec else { return };
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", "default-scheduler");
    if let Some(account) = spec.get("serviceAccountName").filter(|a| !a.is_null()).cloned() {
        default(spec, "serviceAccount", account);
    }
    for key in ["containers", "initContainers"] {
        for container in spec.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Value::Object(map) = container {
                fill_container(map);
            }
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        for source in ["configMap", "secret", "projected", "downwardAPI"] {
            if let Some(Value::Object(source)) = volume.get_mut(source) {
                default(source, "defaultMode", 420);
            }
        }
        let sources = volume.get_mut("projected").and_then(|p| p.get_mut("sources")).and_then(Value::as_array_mut);
        for source in sources.into_iter().flatten() {
            if let Some(Value::Object(token)) = source.get_mut("serviceAccountToken") {
                default(token, "expirationSeconds", 3600);
            }
        }
    }
}

fn fill_container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or("").to_string();
    let last = image.rsplit('/').next().unwrap_or("");
    let latest = !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
    default(container, "imagePullPolicy", if latest { "Always" } else { "IfNotPresent" });
    default(container, "resources", json!({}));
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Object(port) = port {
            default(port, "protocol", "TCP");
        }
    }
    for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::Object(reference)) = variable.get_mut("valueFrom").and_then(|v| v.get_mut("fieldRef")) {
            default(reference, "apiVersion", "v1");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(probe)) = container.get_mut(probe) {
            for (field, value) in
                [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
            {
                default(probe, field, value);
            }
            if let Some(Value::Object(http)) = probe.get_mut("httpGet") {
                default(http, "path", "/");
                default(http, "scheme", "HTTP");
            }
        }
    }
}

fn template(body: &mut Value) {
    let template = body.get_mut("spec").and_then(|s| s.get_mut("template"));
    pod_spec(template.and_then(|t| t.get_mut("spec")));
}

fn workload(body: &mut Value) {
    if let Some(spec) = child(body, "spec") {
        default(spec, "replicas", 1);
    }
    template(body);
}

fn deployment(body: &mut Value) {
    workload(body);
    let Some(spec) = child(body, "spec") else { return };
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    default(spec, "strategy", json!({ "type": "RollingUpdate" }));
    if let Some(Value::Object(strategy)) = spec.get_mut("strategy") {
        default(strategy, "type", "RollingUpdate");
        if strategy.get("type") == Some(&json!("RollingUpdate")) {
            default(strategy, "rollingUpdate", json!({}));
            if let Some(Value::Object(rolling)) = strategy.get_mut("rollingUpdate") {
                default(rolling, "maxUnavailable", "25%");
                default(rolling, "maxSurge", "25%");
            }
        }
    }
}

fn namespace(body: &mut Value) {
    let name = object::name(body).to_string();
    if let Some(Value::Object(labels)) = Some(object::metadata(body).entry("labels").or_insert_with(|| json!({}))) {
        labels.insert("kubernetes.io/metadata.name".into(), json!(name));
    }
    if let Some(spec) = child(body, "spec") {
        default(spec, "finalizers", json!(["kubernetes"]));
    }
    if let Some(status) = child(body, "status") {
        default(status, "phase", "Active");
    }
}

/// An empty map is none, as in Go's `omitempty`.
fn without_empty(body: &mut Value, fields: &[&str]) {
    let Some(map) = body.as_object_mut() else { return };
    map.retain(|name, value| !(fields.contains(&name.as_str()) && value.as_object().is_some_and(Map::is_empty)));
}

fn secret(body: &mut Value) {
    let Some(map) = body.as_object_mut() else { return };
    if let Some(Value::Object(text)) = map.shift_remove("stringData") {
        let data = map.entry("data").or_insert_with(|| json!({}));
        if !data.is_object() {
            *data = json!({});
        }
        for (key, value) in text {
            let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or(""));
            data[key] = json!(encoded);
        }
    }
    default(map, "type", "Opaque");
}

fn definition(body: &mut Value) {
    let group = object::text(body, &["spec", "names", "kind"]).to_string();
    let Some(spec) = child(body, "spec") else { return };
    default(spec, "conversion", json!({ "strategy": "None" }));
    if let Some(Value::Object(names)) = spec.get_mut("names") {
        default(names, "listKind", format!("{group}List"));
        default(names, "singular", group.to_lowercase());
    }
}

fn event(body: &mut Value) {
    let Some(map) = body.as_object_mut() else { return };
    for field in ["source", "involvedObject"] {
        default(map, field, json!({}));
    }
    for field in ["reportingComponent", "reportingInstance"] {
        default(map, field, "");
    }
}

fn service(state: &State, live: Option<&Value>, body: &mut Value) -> Result<(), Failure> {
    let name = object::name(body).to_string();
    let own = (object::namespace(body).to_string(), name.clone());
    if let Some(status) = child(body, "status") {
        default(status, "loadBalancer", json!({}));
    }
    let Some(spec) = child(body, "spec") else { return Ok(()) };
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Object(port) = port {
            default(port, "protocol", "TCP");
            let number = port.get("port").cloned().unwrap_or(Value::Null);
            if port.get("targetPort").is_none_or(|t| t.is_null() || *t == json!(0) || *t == json!("")) {
                port.insert("targetPort".into(), number);
            }
        }
    }
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("").to_string();
    if kind == "ExternalName" {
        return Ok(());
    }
    default(spec, "internalTrafficPolicy", "Cluster");
    if kind != "ClusterIP" {
        default(spec, "externalTrafficPolicy", "Cluster");
        if kind == "LoadBalancer" {
            default(spec, "allocateLoadBalancerNodePorts", true);
        }
        node_ports(state, &own, spec);
    }
    default(spec, "ipFamilies", json!(["IPv4"]));
    default(spec, "ipFamilyPolicy", "SingleStack");
    let given = spec.get("clusterIP").and_then(Value::as_str).unwrap_or("").to_string();
    let before = live.map(|l| object::text(l, &["spec", "clusterIP"]).to_string()).filter(|ip| !ip.is_empty());
    let address = match (given.as_str(), before) {
        ("", Some(before)) => before,
        ("", None) => free_address(state, &own)?,
        (_, Some(before)) if before == given => given,
        (_, Some(before)) if before != "None" && given != "None" => {
            let cause = Cause::invalid("spec.clusterIPs[0]", &json!([given]), "may not change once set");
            return Err(Failure::invalid("", "Service", &name, &[cause]));
        }
        _ => {
            check_address(state, &own, &given)?;
            given
        }
    };
    spec.insert("clusterIP".into(), json!(address));
    spec.insert("clusterIPs".into(), json!([address]));
    Ok(())
}

fn taken(state: &State, own: &(String, String)) -> HashSet<String> {
    state
        .objects("services", None)
        .filter(|s| (object::namespace(s), object::name(s)) != (own.0.as_str(), own.1.as_str()))
        .map(|s| object::text(s, &["spec", "clusterIP"]).to_string())
        .collect()
}

fn check_address(state: &State, own: &(String, String), given: &str) -> Result<(), Failure> {
    if given == "None" {
        return Ok(());
    }
    let invalid = |detail: &str| {
        let cause = Cause::invalid("spec.clusterIPs", &json!([given]), detail);
        Failure::invalid("", "Service", &own.1, &[cause])
    };
    let address: Ipv4Addr =
        given.parse().map_err(|_| invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))?;
    if u32::from(address) & 0xFFFF_0000 != SERVICE_NETWORK {
        let detail = "failed to allocate IP: the provided IP is not in the valid range. \
                      The range of valid IPs is 10.96.0.0/16";
        return Err(invalid(detail));
    }
    if taken(state, own).contains(given) {
        return Err(invalid(&format!("failed to allocate IP {given}: provided IP is already allocated")));
    }
    Ok(())
}

/// The lowest free address: stable across runs, unlike a cluster's random one.
fn free_address(state: &State, own: &(String, String)) -> Result<String, Failure> {
    let taken = taken(state, own);
    // .0.0–.0.15 are kept for addresses that are asked for (the API, DNS).
    (16..0xFFFFu32)
        .map(|i| Ipv4Addr::from(SERVICE_NETWORK + i).to_string())
        .find(|ip| !taken.contains(ip))
        .ok_or_else(|| Failure::internal("failed to allocate a serviceIP: range is full"))
}

fn node_ports(state: &State, own: &(String, String), spec: &mut Map<String, Value>) {
    let mut used: HashSet<i64> = state
        .objects("services", None)
        .filter(|s| (object::namespace(s), object::name(s)) != (own.0.as_str(), own.1.as_str()))
        .flat_map(|s| object::list(s, &["spec", "ports"]).iter())
        .filter_map(|p| object::number(p, &["nodePort"]))
        .collect();
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if object::number(port, &["nodePort"]).is_none_or(|n| n == 0)
            && let Some(free) = (30000..32768).find(|n| !used.contains(n))
        {
            used.insert(free);
            port["nodePort"] = json!(free);
        }
    }
}

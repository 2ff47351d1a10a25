//! Sidecar injection: what istiod's webhook adds to a pod at its creation, with native sidecars
//! (Istio 1.30's default). A pure function, hung into the API server's writes.

use crate::api::{Admission, Failure, Operation, Review};
use serde_json::{Map, Value, json};

/// The image of the proxy.
pub const PROXY_IMAGE: &str = "docker.io/istio/proxyv2:1.30.3";
const INJECT: &str = "sidecar.istio.io/inject";
const REVISION: &str = "istio.io/rev";
const STATUS: &str = "sidecar.istio.io/status";
/// The webhook never looks at these namespaces.
const SYSTEM: &[&str] = &["kube-system", "kube-public", "kube-node-lease"];
/// The revision of this mesh.
const DEFAULT_REVISION: &str = "default";

/// Injects the sidecar at pod creation.
pub struct Injector;

impl Admission for Injector {
    fn admit(&self, review: &Review<'_>, object: &mut Value) -> Result<Vec<String>, Failure> {
        let pod =
            review.operation == Operation::Create && review.resource.kind == "Pod" && review.resource.group.is_empty();
        if pod
            && let Some(namespace) = review.namespace_object
            && wanted(namespace, object)
        {
            inject(object);
        }
        Ok(Vec::new())
    }
}

fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"]["labels"].get(key).and_then(Value::as_str).unwrap_or("")
}

/// Whether a pod gets a sidecar: the selectors of istiod's webhooks, then the pod's own say.
pub fn wanted(namespace: &Value, pod: &Value) -> bool {
    let name = namespace["metadata"]["name"].as_str().unwrap_or("");
    if SYSTEM.contains(&name) || pod["spec"]["hostNetwork"] == json!(true) {
        return false;
    }
    let (enabled, revision) = (label(namespace, "istio-injection"), label(namespace, REVISION));
    let (own, own_revision) = (label(pod, INJECT), label(pod, REVISION));
    let selected = match (enabled, revision) {
        ("enabled", _) => own != "false",
        ("", DEFAULT_REVISION) => own != "false" && (own_revision.is_empty() || own_revision == DEFAULT_REVISION),
        // Neither label on the namespace: the pod must ask.
        ("", "") => own_revision == DEFAULT_REVISION && own != "false" || own_revision.is_empty() && own == "true",
        _ => false,
    };
    // The annotation is the older form; the label wins.
    let annotation = pod["metadata"]["annotations"].get(INJECT).and_then(Value::as_str).unwrap_or("");
    let refused = own.is_empty() && matches!(annotation, "false" | "no" | "n" | "off");
    let injected = pod["metadata"]["annotations"].get(STATUS).is_some() || has_proxy(pod);
    selected && !refused && !injected
}

fn has_proxy(pod: &Value) -> bool {
    let lists = ["containers", "initContainers"];
    lists.iter().any(|l| pod["spec"][*l].as_array().into_iter().flatten().any(|c| c["name"] == json!("istio-proxy")))
}

/// Adds the sidecar.
pub fn inject(pod: &mut Value) {
    let canonical = canonical_name(pod);
    let canonical_revision = [
        label(pod, "service.istio.io/canonical-revision"),
        label(pod, "app.kubernetes.io/version"),
        label(pod, "version"),
    ]
    .into_iter()
    .find(|t| !t.is_empty())
    .unwrap_or("latest")
    .to_string();
    let first = pod["spec"]["containers"][0]["name"].clone();
    let (init, mut proxy) = (init_container(pod), proxy_container(pod, &canonical));
    let mut volumes = volumes();
    // A person's own volumes for the proxy, JSON as Istio has them.
    let own = |pod: &Value, key: &str| serde_json::from_str::<Value>(annotation(pod, key, "{}")).unwrap_or_default();
    for (name, source) in own(pod, "sidecar.istio.io/userVolume").as_object().into_iter().flatten() {
        if let Some(mut volume) = source.as_object().cloned() {
            volume.insert("name".into(), json!(name));
            volumes.push(Value::Object(volume));
        }
    }
    for (name, mount) in own(pod, "sidecar.istio.io/userVolumeMount").as_object().into_iter().flatten() {
        if let (Some(mut mount), Some(mounts)) = (mount.as_object().cloned(), proxy["volumeMounts"].as_array_mut()) {
            mount.insert("name".into(), json!(name));
            mounts.push(Value::Object(mount));
        }
    }
    let names: Vec<Value> = volumes.iter().map(|v| v["name"].clone()).collect();
    let status = json!({ "initContainers": ["istio-init", "istio-proxy"], "containers": null, "volumes": names,
        "imagePullSecrets": null, "revision": DEFAULT_REVISION });

    let labels = entries(pod, "labels");
    for (key, value) in [
        ("security.istio.io/tlsMode", "istio".to_string()),
        ("service.istio.io/canonical-name", canonical),
        ("service.istio.io/canonical-revision", canonical_revision),
    ] {
        labels.entry(key).or_insert(json!(value));
    }
    let annotations = entries(pod, "annotations");
    for (key, value) in [
        ("istio.io/rev", json!(DEFAULT_REVISION)),
        ("kubectl.kubernetes.io/default-container", first.clone()),
        ("kubectl.kubernetes.io/default-logs-container", first),
    ] {
        annotations.entry(key).or_insert(value);
    }
    annotations.insert(STATUS.into(), json!(status.to_string()));

    let mut inits = vec![init, proxy];
    inits.extend(pod["spec"]["initContainers"].as_array().cloned().unwrap_or_default());
    pod["spec"]["initContainers"] = Value::Array(inits);
    let mut all = volumes;
    all.extend(pod["spec"]["volumes"].as_array().cloned().unwrap_or_default());
    pod["spec"]["volumes"] = Value::Array(all);
}

/// The map at `metadata.FIELD`, made if absent.
fn entries<'a>(pod: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    let slot = &mut pod["metadata"][field];
    if !slot.is_object() {
        *slot = json!({});
    }
    // Cannot fail: the slot was made an object just above.
    #[allow(clippy::unwrap_used)]
    slot.as_object_mut().unwrap()
}

/// The service's name for telemetry and `PILOT`: a label, else the workload's name.
fn canonical_name(pod: &Value) -> String {
    for key in ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"] {
        let text = label(pod, key);
        if !text.is_empty() {
            return text.to_string();
        }
    }
    workload_name(pod)
}

/// The Deployment's name: the owning ReplicaSet's less its hash; else the owner's, else the pod's.
fn workload_name(pod: &Value) -> String {
    let owners = pod["metadata"]["ownerReferences"].as_array();
    let owner = owners.into_iter().flatten().find(|o| o["controller"] == json!(true));
    let own = pod["metadata"]["name"].as_str().or_else(|| pod["metadata"]["generateName"].as_str()).unwrap_or("");
    match owner {
        Some(owner) => {
            let name = owner["name"].as_str().unwrap_or("");
            match (owner["kind"].as_str(), name.rsplit_once('-')) {
                (Some("ReplicaSet"), Some((deployment, _))) => deployment.to_string(),
                _ => name.to_string(),
            }
        }
        None => own.trim_end_matches('-').to_string(),
    }
}

fn annotation<'a>(pod: &'a Value, key: &str, default: &'a str) -> &'a str {
    pod["metadata"]["annotations"].get(key).and_then(Value::as_str).unwrap_or(default)
}

fn security(user: i64, capabilities: &[&str]) -> Value {
    let mut context = json!({ "allowPrivilegeEscalation": false, "privileged": false,
        "capabilities": { "drop": ["ALL"] }, "readOnlyRootFilesystem": user != 0, "runAsGroup": if user == 0 { 0 } else { user },
        "runAsNonRoot": user != 0, "runAsUser": user });
    if !capabilities.is_empty() {
        context["capabilities"]["add"] = json!(capabilities);
    }
    context
}

fn resources(pod: &Value) -> Value {
    json!({
        "limits": { "cpu": annotation(pod, "sidecar.istio.io/proxyCPULimit", "2"),
            "memory": annotation(pod, "sidecar.istio.io/proxyMemoryLimit", "1Gi") },
        "requests": { "cpu": annotation(pod, "sidecar.istio.io/proxyCPU", "100m"),
            "memory": annotation(pod, "sidecar.istio.io/proxyMemory", "128Mi") },
    })
}

fn init_container(pod: &Value) -> Value {
    let traffic =
        |key: &str, default: &str| annotation(pod, &format!("traffic.sidecar.istio.io/{key}"), default).to_string();
    let args = [
        "istio-iptables".to_string(),
        "-p".into(),
        "15001".into(),
        "-z".into(),
        "15006".into(),
        "-u".into(),
        "1337".into(),
        "-m".into(),
        annotation(pod, "sidecar.istio.io/interceptionMode", "REDIRECT").into(),
        "-i".into(),
        traffic("includeOutboundIPRanges", "*"),
        "-x".into(),
        traffic("excludeOutboundIPRanges", ""),
        "-b".into(),
        traffic("includeInboundPorts", "*"),
        "-d".into(),
        format!(
            "15090,15021,15020{}",
            match traffic("excludeInboundPorts", "") {
                ports if ports.is_empty() => ports,
                ports => format!(",{ports}"),
            }
        ),
        "--log_output_level=default:info".into(),
    ];
    json!({
        "name": "istio-init",
        "image": annotation(pod, "sidecar.istio.io/proxyImage", PROXY_IMAGE),
        "args": args,
        "resources": resources(pod),
        "securityContext": security(0, &["NET_ADMIN", "NET_RAW"]),
    })
}

fn proxy_container(pod: &Value, canonical: &str) -> Value {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": path } } });
    let value = |name: &str, text: &str| json!({ "name": name, "value": text });
    let containers = pod["spec"]["containers"].as_array();
    let apps: Vec<&str> = containers.into_iter().flatten().filter_map(|c| c["name"].as_str()).collect();
    let ports: Vec<Value> = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|c| c["ports"].as_array().into_iter().flatten().cloned())
        .collect();
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or("default");
    let workload = workload_name(pod);
    let owner = format!("kubernetes://apis/apps/v1/namespaces/{namespace}/deployments/{workload}");
    let env = vec![
        value("PILOT_CERT_PROVIDER", "istiod"),
        value("CA_ADDR", "istiod.istio-system.svc:15012"),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
        value("PROXY_CONFIG", "{}\n"),
        value("ISTIO_META_POD_PORTS", &Value::Array(ports).to_string()),
        value("ISTIO_META_APP_CONTAINERS", &apps.join(",")),
        value("ISTIO_META_CLUSTER_ID", "Kubernetes"),
        field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        value("ISTIO_META_INTERCEPTION_MODE", annotation(pod, "sidecar.istio.io/interceptionMode", "REDIRECT")),
        value("ISTIO_META_WORKLOAD_NAME", if workload.is_empty() { canonical } else { &workload }),
        value("ISTIO_META_OWNER", &owner),
        value("ISTIO_META_MESH_ID", "cluster.local"),
        value("TRUST_DOMAIN", "cluster.local"),
    ];
    let probe = |period: i64, failures: i64| {
        json!({ "httpGet": { "path": "/healthz/ready", "port": 15021, "scheme": "HTTP" }, "periodSeconds": period,
            "timeoutSeconds": 3, "failureThreshold": failures, "successThreshold": 1 })
    };
    json!({
        "name": "istio-proxy",
        "image": annotation(pod, "sidecar.istio.io/proxyImage", PROXY_IMAGE),
        "args": ["proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local",
            "--proxyLogLevel=warning", "--proxyComponentLogLevel=misc:error", "--log_output_level=default:info"],
        "env": env,
        "ports": [{ "containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP" }],
        "readinessProbe": probe(15, 4),
        "startupProbe": probe(1, 600),
        "resources": resources(pod),
        "restartPolicy": "Always",
        "securityContext": security(1337, &[]),
        "volumeMounts": [
            { "mountPath": "/var/run/secrets/workload-spiffe-uds", "name": "workload-socket" },
            { "mountPath": "/var/run/secrets/credential-uds", "name": "credential-socket" },
            { "mountPath": "/var/run/secrets/workload-spiffe-credentials", "name": "workload-certs" },
            { "mountPath": "/var/run/secrets/istio", "name": "istiod-ca-cert" },
            { "mountPath": "/var/lib/istio/data", "name": "istio-data" },
            { "mountPath": "/etc/istio/proxy", "name": "istio-envoy" },
            { "mountPath": "/var/run/secrets/tokens", "name": "istio-token" },
            { "mountPath": "/etc/istio/pod", "name": "istio-podinfo" },
        ],
    })
}

fn volumes() -> Vec<Value> {
    let list = json!([
        { "name": "workload-socket", "emptyDir": {} },
        { "name": "credential-socket", "emptyDir": {} },
        { "name": "workload-certs", "emptyDir": {} },
        { "name": "istio-envoy", "emptyDir": { "medium": "Memory" } },
        { "name": "istio-data", "emptyDir": {} },
        { "name": "istio-podinfo", "downwardAPI": { "items": [
            { "path": "labels", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.labels" } },
            { "path": "annotations", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.annotations" } }] } },
        { "name": "istio-token", "projected": { "sources": [
            { "serviceAccountToken": { "audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token" } }] } },
        { "name": "istiod-ca-cert", "configMap": { "name": "istio-ca-root-cert" } },
    ]);
    list.as_array().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(namespace: Value, pod: Value) -> bool {
        let namespace = json!({ "metadata": { "name": "a", "labels": namespace } });
        let pod = json!({ "metadata": { "labels": pod }, "spec": { "containers": [{ "name": "c" }] } });
        wanted(&namespace, &pod)
    }

    #[test]
    fn who_gets_a_sidecar() {
        for (namespace, pod, expected) in [
            (json!({ "istio-injection": "enabled" }), json!({}), true),
            (json!({ "istio-injection": "enabled" }), json!({ INJECT: "false" }), false),
            (json!({ "istio-injection": "disabled" }), json!({ INJECT: "true" }), false),
            (json!({ REVISION: "default" }), json!({}), true),
            (json!({ REVISION: "canary" }), json!({}), false),
            (json!({}), json!({}), false),
            (json!({}), json!({ INJECT: "true" }), true),
            (json!({}), json!({ REVISION: "default" }), true),
            (json!({}), json!({ REVISION: "canary" }), false),
        ] {
            assert_eq!(case(namespace.clone(), pod.clone()), expected, "{namespace} {pod}");
        }
    }

    #[test]
    fn the_sidecar_is_a_native_one_before_the_other_init_containers() {
        let mut pod = json!({ "metadata": { "generateName": "sleep-5b7-", "labels": { "app": "sleep" } },
            "spec": { "containers": [{ "name": "sleep" }], "initContainers": [{ "name": "own" }] } });
        inject(&mut pod);
        let names: Vec<_> =
            pod["spec"]["initContainers"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
        assert_eq!(names, ["istio-init", "istio-proxy", "own"]);
        assert_eq!(pod["spec"]["initContainers"][1]["restartPolicy"], "Always");
        assert_eq!(
            pod["metadata"]["labels"],
            json!({ "app": "sleep", "security.istio.io/tlsMode": "istio", "service.istio.io/canonical-name": "sleep",
                "service.istio.io/canonical-revision": "latest" })
        );
        let namespace = json!({ "metadata": { "name": "a", "labels": { "istio-injection": "enabled" } } });
        assert!(!wanted(&namespace, &pod), "never twice");
    }
}

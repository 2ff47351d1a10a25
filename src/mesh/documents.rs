//! Documents as files hold them → a world: what an API server and its controllers would have filled in, and the
//! proxies there are to ask for.

use super::json::{labels, labels_match, list, put, text};
use super::{Proxy, ProxyType, World};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Addresses for Services and pods that have none: nothing else in a world made from files is likely to be there.
const STAND_IN_SERVICES: &str = "10.96.250.";
const STAND_IN_PODS: &str = "10.244.250.";

/// A world made from documents.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    pub world: World,
    /// What was made up, one sentence each.
    pub notes: Vec<String>,
}

/// No proxy is of that name; the pods that there are, as `NAME.NAMESPACE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoProxy {
    pub pods: Vec<String>,
}

impl Documents {
    /// Reads documents in order. One without `kind` is a MeshConfig, and so is the key `mesh` of the ConfigMap `istio`;
    /// of several, later fields win.
    ///
    /// # Errors
    /// A ConfigMap whose `mesh` is no YAML map.
    pub fn read(documents: impl IntoIterator<Item = Value>) -> Result<Self, String> {
        let mut config = Map::new();
        let mut objects = vec![];
        for document in documents {
            if text(&document["kind"]).is_empty() {
                config.extend(super::json::into_map(document));
                continue;
            }
            if document["kind"] == "ConfigMap" && document["metadata"]["name"] == "istio" {
                let given = serde_yaml::from_str::<Value>(text(&document["data"]["mesh"]));
                match given {
                    Ok(Value::Object(given)) => config.extend(given),
                    Ok(Value::Null) => {}
                    Ok(_) => return Err("the ConfigMap istio: its key `mesh` is no map".into()),
                    Err(error) => return Err(format!("the ConfigMap istio: its key `mesh` is not YAML: {error}")),
                }
            }
            objects.push(document);
        }
        let mut out = Self::default();
        out.pods_of_templates(&mut objects);
        out.addresses(&mut objects);
        slices(&mut objects);
        out.world = World {
            objects: objects.into_iter().map(Arc::new).collect(),
            mesh_config: if config.is_empty() { Value::Null } else { Value::Object(config) },
        };
        Ok(out)
    }

    /// The proxy of `NAME`, `NAME.NAMESPACE`, `deploy/NAME[.NAMESPACE]` or `pod/NAME[.NAMESPACE]`; a Deployment stands
    /// for the first of its pods. Without a namespace the one in which there is such a name, `default` first.
    ///
    /// # Errors
    /// [`NoProxy`].
    pub fn proxy(&self, wanted: &str) -> Result<Proxy, NoProxy> {
        let (kind, wanted) = wanted.split_once('/').unwrap_or(("", wanted));
        let names = match wanted.rsplit_once('.') {
            Some((name, namespace)) => vec![(name, Some(namespace)), (wanted, None)],
            None => vec![(wanted, None)],
        };
        let deployments = matches!(kind, "deploy" | "deployment" | "deployments" | "deployment.apps");
        let pods = matches!(kind, "pod" | "pods" | "po");
        for (name, namespace) in names {
            let pod = if pods { None } else { self.pod_of_deployment(name, namespace) };
            let pod = pod.or_else(|| if deployments { None } else { self.find("Pod", name, namespace) });
            if let Some(pod) = pod {
                let proxy = Proxy::of_pod(&self.world, proxy_type(pod), namespace_of(pod), name_of(pod));
                return proxy.ok_or_else(|| self.no_proxy());
            }
        }
        Err(self.no_proxy())
    }

    fn no_proxy(&self) -> NoProxy {
        let pods: BTreeSet<String> =
            self.of("Pod").map(|pod| format!("{}.{}", name_of(pod), namespace_of(pod))).collect();
        NoProxy { pods: pods.into_iter().collect() }
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.world.objects.iter().map(AsRef::as_ref).filter(move |object: &&Value| object["kind"] == kind)
    }

    fn find(&self, kind: &str, name: &str, namespace: Option<&str>) -> Option<&Value> {
        let fits = |o: &&Value| name_of(o) == name && namespace.is_none_or(|wanted| namespace_of(o) == wanted);
        self.of(kind).filter(fits).min_by_key(|o| (namespace_of(o) != "default", namespace_of(o)))
    }

    fn pod_of_deployment(&self, name: &str, namespace: Option<&str>) -> Option<&Value> {
        let deployment = self.find("Deployment", name, namespace)?;
        self.of("Pod").filter(|pod| selects(deployment, pod)).min_by_key(|pod| name_of(pod))
    }

    /// A Deployment without a pod of its own gets one, as its controllers would make it.
    fn pods_of_templates(&mut self, objects: &mut Vec<Value>) {
        let mut made = vec![];
        for deployment in objects.iter().filter(|o| o["kind"] == "Deployment") {
            if objects.iter().any(|pod| pod["kind"] == "Pod" && selects(deployment, pod)) {
                continue;
            }
            let template = &deployment["spec"]["template"];
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"],
                "spec": template["spec"]});
            if !pod["metadata"].is_object() {
                pod["metadata"] = json!({});
            }
            pod["metadata"]["name"] = name_of(deployment).into();
            pod["metadata"]["namespace"] = namespace_of(deployment).into();
            pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
            made.push(pod);
        }
        for pod in &mut made {
            inject_labels(pod);
            self.notes.push(format!(
                "pod {}.{} is made from its Deployment's template, as injected",
                name_of(pod),
                namespace_of(pod)
            ));
        }
        objects.extend(made);
    }

    /// Ports and addresses that the API server, the scheduler and the kubelet give.
    fn addresses(&mut self, objects: &mut [Value]) {
        let (mut services, mut pods) = (0, 0);
        for object in objects {
            match text(&object["kind"]) {
                "Service" => {
                    for port in object.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
                        if port["protocol"].is_null() && port.is_object() {
                            port["protocol"] = "TCP".into();
                        }
                        if port["targetPort"].is_null() && port.is_object() {
                            port["targetPort"] = port["port"].clone();
                        }
                    }
                    let none = text(&object["spec"]["clusterIP"]).is_empty();
                    if none && object["spec"].is_object() && object["spec"]["type"] != "ExternalName" {
                        services += 1;
                        let address = format!("{STAND_IN_SERVICES}{services}");
                        object["spec"]["clusterIPs"] = json!([address]);
                        object["spec"]["clusterIP"] = address.clone().into();
                        self.notes.push(format!(
                            "Service {}.{} has no clusterIP: {address} stands in",
                            name_of(object),
                            namespace_of(object)
                        ));
                    }
                }
                "Pod" if text(&object["status"]["podIP"]).is_empty() => {
                    pods += 1;
                    let address = format!("{STAND_IN_PODS}{pods}");
                    if !object["status"].is_object() {
                        object["status"] = json!({"phase": "Running",
                            "conditions": [{"type": "Ready", "status": "True"}]});
                    }
                    object["status"]["podIPs"] = json!([{"ip": address}]);
                    object["status"]["podIP"] = address.clone().into();
                    self.notes.push(format!(
                        "pod {}.{} has no IP: {address} stands in",
                        name_of(object),
                        namespace_of(object)
                    ));
                }
                _ => {}
            }
        }
    }
}

/// EndpointSlices of Services that have a selector and no slice: the ready pods behind them.
fn slices(objects: &mut Vec<Value>) {
    let mut made = vec![];
    for service in objects.iter().filter(|o| o["kind"] == "Service") {
        let (name, namespace) = (name_of(service), namespace_of(service));
        let selector = labels(&service["spec"]["selector"]);
        let known = objects.iter().any(|o| {
            o["kind"] == "EndpointSlice"
                && namespace_of(o) == namespace
                && text(&o["metadata"]["labels"]["kubernetes.io/service-name"]) == name
        });
        if known || selector.is_empty() {
            continue;
        }
        let behind = |pod: &&Value| {
            pod["kind"] == "Pod"
                && namespace_of(pod) == namespace
                && labels_match(&selector, &labels(&pod["metadata"]["labels"]))
        };
        let pods: Vec<&Value> = objects.iter().filter(behind).collect();
        let Some(first) = pods.first() else { continue };
        let ports: Vec<Value> = list(&service["spec"]["ports"])
            .iter()
            .filter_map(|port| {
                let number = target_port(first, &port["targetPort"])?;
                let mut out = json!({"port": number, "protocol": port["protocol"]});
                put(out.as_object_mut()?, "name", port["name"].clone());
                Some(out)
            })
            .collect();
        let endpoints: Vec<Value> = pods.iter().map(|pod| endpoint(pod)).collect();
        made.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": format!("{name}-made"), "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints}));
    }
    objects.extend(made);
}

fn endpoint(pod: &Value) -> Value {
    let ready = list(&pod["status"]["conditions"]).iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
    json!({"addresses": [pod["status"]["podIP"]], "conditions": {"ready": ready},
        "targetRef": {"kind": "Pod", "name": name_of(pod), "namespace": namespace_of(pod)}})
}

/// The number of a target port; a name is one of the pod's containers'.
fn target_port(pod: &Value, port: &Value) -> Option<u64> {
    let Some(name) = port.as_str() else { return port.as_u64() };
    let containers = list(&pod["spec"]["containers"]).iter();
    let found = containers.flat_map(|c| list(&c["ports"])).find(|p| p["name"] == name)?;
    found["containerPort"].as_u64()
}

/// The labels that injection puts on a pod and that change what others send to it.
fn inject_labels(pod: &mut Value) {
    if !pod["metadata"]["labels"].is_object() {
        pod["metadata"]["labels"] = json!({});
    }
    let name = match text(&pod["metadata"]["labels"]["app"]) {
        "" => name_of(pod).to_owned(),
        app => app.to_owned(),
    };
    let injected = pod["metadata"]["annotations"]["sidecar.istio.io/inject"] != "false"
        && pod["metadata"]["labels"]["sidecar.istio.io/inject"] != "false"
        && proxy_type(pod) == ProxyType::Sidecar;
    let tls = injected.then_some(("security.istio.io/tlsMode", "istio".to_owned()));
    let rest =
        [("service.istio.io/canonical-name", name), ("service.istio.io/canonical-revision", "latest".to_owned())];
    for (label, value) in tls.into_iter().chain(rest) {
        if pod["metadata"]["labels"][label].is_null() {
            pod["metadata"]["labels"][label] = value.into();
        }
    }
}

/// A gateway runs nothing but the proxy, or says so: `proxy router`, the injection template `gateway`, a label.
fn proxy_type(pod: &Value) -> ProxyType {
    let containers = list(&pod["spec"]["containers"]);
    let proxy = containers.iter().find(|c| c["name"] == "istio-proxy");
    let labels = &pod["metadata"]["labels"];
    let says = proxy.is_some_and(|proxy| list(&proxy["args"]).iter().any(|arg| arg == "router"))
        || text(&pod["metadata"]["annotations"]["inject.istio.io/templates"]).split(',').any(|t| t.trim() == "gateway")
        || text(&labels["istio"]).ends_with("gateway")
        || !labels["gateway.networking.k8s.io/gateway-name"].is_null();
    if says || (proxy.is_some() && containers.len() == 1) { ProxyType::Router } else { ProxyType::Sidecar }
}

/// Whether a Deployment's selector takes the pod.
fn selects(deployment: &Value, pod: &Value) -> bool {
    let wanted = labels(&deployment["spec"]["selector"]["matchLabels"]);
    !wanted.is_empty()
        && namespace_of(deployment) == namespace_of(pod)
        && labels_match(&wanted, &labels(&pod["metadata"]["labels"]))
}

fn name_of(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

fn namespace_of(object: &Value) -> &str {
    match text(&object["metadata"]["namespace"]) {
        "" => "default",
        namespace => namespace,
    }
}

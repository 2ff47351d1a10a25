//! Services, EndpointSlices and Pods.

use super::endpoint::{Endpoint, Health};
use super::service::{Port, Registry, Resolution, Service};
use crate::mesh::json::{flag, integer, labels, labels_match, list, present, strings, text, unsigned};
use crate::mesh::mesh_config::MeshConfig;
use crate::mesh::object::Object;
use crate::mesh::protocol::Protocol;
use crate::mesh::report::Report;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The cluster's name, as Istio's own installation calls it.
pub const CLUSTER: &str = "Kubernetes";

/// A pod as an endpoint needs it.
#[derive(Debug, Clone)]
pub struct Pod {
    pub name: String,
    pub namespace: String,
    pub ip: String,
    pub labels: BTreeMap<String, String>,
    /// Labels with topology labels added.
    pub augmented: BTreeMap<String, String>,
    pub workload: String,
    pub service_account: String,
    pub node: String,
    pub locality: String,
    pub ready: bool,
    pub body: Arc<Value>,
}

/// The pods of the world, by IP and by name.
#[derive(Debug, Default)]
pub struct Pods {
    pub all: Vec<Arc<Pod>>,
    by_name: HashMap<(String, String), Arc<Pod>>,
    by_ip: HashMap<String, Arc<Pod>>,
}

impl Pods {
    pub fn read(objects: &HashMap<String, Vec<Object>>, mesh: &MeshConfig) -> Self {
        let nodes: HashMap<&str, &Object> =
            objects.get("Node").into_iter().flatten().map(|n| (n.name.as_str(), n)).collect();
        let mut pods = Self::default();
        for object in objects.get("Pod").into_iter().flatten() {
            let pod = Arc::new(read_pod(object, &nodes, mesh));
            pods.by_name.insert((pod.namespace.clone(), pod.name.clone()), pod.clone());
            let phase = text(&object.body["status"]["phase"]);
            if !pod.ip.is_empty() && phase != "Succeeded" && phase != "Failed" {
                pods.by_ip.insert(pod.ip.clone(), pod.clone());
            }
            pods.all.push(pod);
        }
        pods
    }

    pub fn by_name(&self, namespace: &str, name: &str) -> Option<&Arc<Pod>> {
        self.by_name.get(&(namespace.to_owned(), name.to_owned()))
    }
}

fn read_pod(object: &Object, nodes: &HashMap<&str, &Object>, mesh: &MeshConfig) -> Pod {
    let (spec, status) = (object.spec(), &object.body["status"]);
    let node = text(&spec["nodeName"]).to_owned();
    let account = match text(&spec["serviceAccountName"]) {
        "" => "default",
        name => name,
    };
    let locality = locality(object, nodes.get(node.as_str()).copied());
    Pod {
        name: object.name.clone(),
        namespace: object.namespace.clone(),
        ip: text(&status["podIP"]).to_owned(),
        labels: object.labels.clone(),
        augmented: augment(&object.labels, &locality, &node),
        workload: workload_name(object),
        service_account: mesh.spiffe(&object.namespace, account),
        node,
        locality,
        ready: list(&status["conditions"]).iter().any(|c| text(&c["type"]) == "Ready" && text(&c["status"]) == "True"),
        body: object.body.clone(),
    }
}

/// `istio-locality` on the pod (dots for slashes), else the node's topology labels.
fn locality(pod: &Object, node: Option<&Object>) -> String {
    if let Some(own) = pod.labels.get("istio-locality") {
        return own.replace('.', "/");
    }
    let Some(node) = node else { return String::new() };
    let label = |keys: [&str; 2]| keys.iter().find_map(|k| node.labels.get(*k)).map_or("", String::as_str);
    let region = label(["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"]);
    let zone = label(["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"]);
    let subzone = node.labels.get("topology.istio.io/subzone").map_or("", String::as_str);
    if region.is_empty() && zone.is_empty() && subzone.is_empty() {
        return String::new();
    }
    format!("{region}/{zone}/{subzone}")
}

/// Labels with the topology labels that subsets and failover may select by.
pub fn augment(own: &BTreeMap<String, String>, locality: &str, node: &str) -> BTreeMap<String, String> {
    let mut all = own.clone();
    let mut parts = locality.splitn(3, '/');
    for key in ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"] {
        if let Some(part) = parts.next().filter(|p| !p.is_empty()) {
            all.insert(key.to_owned(), part.to_owned());
        }
    }
    all.insert("topology.istio.io/cluster".to_owned(), CLUSTER.to_owned());
    if !node.is_empty() {
        all.insert("kubernetes.io/hostname".to_owned(), node.to_owned());
    }
    all
}

/// The Deployment, Job or other controller of a generated pod, else the pod itself.
fn workload_name(pod: &Object) -> String {
    if let Some(given) = pod.labels.get("service.istio.io/workload-name") {
        return given.clone();
    }
    let meta = &pod.body["metadata"];
    if text(&meta["generateName"]).is_empty() {
        return pod.name.clone();
    }
    let Some(owner) = list(&meta["ownerReferences"]).iter().find(|o| flag(&o["controller"])) else {
        return pod.name.clone();
    };
    let name = text(&owner["name"]);
    if text(&owner["kind"]) == "ReplicaSet" {
        for label in ["pod-template-hash", "rollouts-pod-template-hash"] {
            if let Some(hash) = pod.labels.get(label).filter(|h| !h.is_empty())
                && let Some(base) = name.strip_suffix(hash.as_str())
            {
                return base.strip_suffix('-').unwrap_or(base).to_owned();
            }
        }
    }
    if text(&owner["kind"]) == "Job"
        && let Some((base, stamp)) = name.rsplit_once('-')
        && (8..=10).contains(&stamp.len())
        && stamp.bytes().all(|b| b.is_ascii_digit())
    {
        return base.to_owned();
    }
    if name.is_empty() { pod.name.clone() } else { name.to_owned() }
}

/// Services of the world.
pub fn services(objects: &HashMap<String, Vec<Object>>, mesh: &MeshConfig, report: &Report) -> Vec<Service> {
    let namespaces: HashMap<&str, &Object> =
        objects.get("Namespace").into_iter().flatten().map(|n| (n.name.as_str(), n)).collect();
    let read = |object: &Object| {
        let spec = object.spec();
        let external_name = match text(&spec["type"]) {
            "ExternalName" => text(&spec["externalName"]).to_owned(),
            _ => String::new(),
        };
        let cluster_ip = text(&spec["clusterIP"]);
        let (resolution, address) = match cluster_ip {
            _ if !external_name.is_empty() && cluster_ip.is_empty() => (Resolution::Alias, "0.0.0.0"),
            "None" => (Resolution::Passthrough, "0.0.0.0"),
            "" => (Resolution::Endpoints, "0.0.0.0"),
            ip => (Resolution::Endpoints, ip),
        };
        let annotation = |key: &str| object.annotations.get(key).map_or("", String::as_str);
        let namespace_annotations = namespaces.get(object.namespace.as_str()).map(|n| &n.annotations);
        Service {
            hostname: format!("{}.{}.svc.{}", object.name, object.namespace, mesh.domain),
            registry: Registry::Kubernetes,
            name: object.name.clone(),
            namespace: object.namespace.clone(),
            labels: object.labels.clone(),
            created: object.created.clone(),
            address: address.to_owned(),
            cluster_ips: vec![address.to_owned()],
            allocated: Vec::new(),
            ports: list(&spec["ports"]).iter().map(service_port).collect(),
            resolution,
            mesh_external: !external_name.is_empty(),
            export_to: annotation("networking.istio.io/exportTo")
                .split(',')
                .map(|ns| ns.trim().to_owned())
                .filter(|ns| !ns.is_empty())
                .collect(),
            selector: labels(&spec["selector"]),
            has_selector: spec["selector"].as_object().is_some_and(|s| !s.is_empty()),
            external_name,
            aliases: Vec::new(),
            accounts: accounts(object, mesh),
            passthrough_ports: BTreeMap::new(),
            traffic_distribution: traffic_distribution(
                &spec["trafficDistribution"],
                &object.annotations,
                namespace_annotations,
                report,
            ),
            node_local: text(&spec["internalTrafficPolicy"]) == "Local",
            race_dns: false,
            origin: object.origin("/spec"),
        }
    };
    objects.get("Service").into_iter().flatten().map(read).collect()
}

fn service_port(port: &Value) -> Port {
    let (name, number) = (text(&port["name"]), unsigned(&port["port"]));
    Port {
        name: name.to_owned(),
        number,
        protocol: Protocol::of_service_port(number, name, text(&port["protocol"]), port["appProtocol"].as_str()),
    }
}

fn accounts(object: &Object, mesh: &MeshConfig) -> Vec<String> {
    let split = |key: &str| -> Vec<String> {
        object
            .annotations
            .get(key)
            .filter(|v| !v.is_empty())
            .map_or_else(Vec::new, |v| v.split(',').map(str::to_owned).collect())
    };
    let mut all = split("alpha.istio.io/canonical-serviceaccounts");
    all.extend(split("alpha.istio.io/kubernetes-serviceaccounts").iter().map(|sa| mesh.spiffe(&object.namespace, sa)));
    all
}

/// `zone` or `node` when clients should prefer near endpoints: the field, else annotations.
pub fn traffic_distribution(
    field: &Value,
    own: &BTreeMap<String, String>,
    namespace: Option<&BTreeMap<String, String>>,
    report: &Report,
) -> String {
    let read = |value: &str| match value.to_ascii_lowercase().as_str() {
        "preferclose" | "prefersamezone" => "zone",
        "prefersamenode" => "node",
        _ => "",
    };
    if matches!(text(field), "PreferClose" | "PreferSameZone" | "PreferSameNode") {
        return read(text(field)).to_owned();
    }
    let key = "networking.istio.io/traffic-distribution";
    let set = |of: &BTreeMap<String, String>| of.get(key).filter(|v| !v.is_empty()).cloned();
    let (whose, annotation) = match (set(own), namespace.and_then(set)) {
        (Some(own), _) => ("service", own),
        (None, Some(inherited)) => ("namespace", inherited),
        (None, None) => return String::new(),
    };
    let near = read(&annotation);
    if near.is_empty() {
        report.warn(format!("model\tUnknown traffic distribution annotation on {whose}, defaulting to any"));
    }
    near.to_owned()
}

/// Endpoints of Services: from their EndpointSlices, and from WorkloadEntries that the selector takes.
pub fn endpoints(
    objects: &HashMap<String, Vec<Object>>,
    mesh: &MeshConfig,
    pods: &Pods,
    services: &[Arc<Service>],
    out: &mut HashMap<(String, String), Vec<Arc<Endpoint>>>,
) {
    let by_name: HashMap<(&str, &str), &Service> = services
        .iter()
        .filter(|s| s.registry == Registry::Kubernetes)
        .map(|s| ((s.namespace.as_str(), s.name.as_str()), &**s))
        .collect();
    let mut seen: HashSet<(String, String, String, String)> = HashSet::new();
    let mut slices: Vec<&Object> = objects.get("EndpointSlice").into_iter().flatten().collect();
    slices.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    for slice in slices {
        let Some(name) = slice.labels.get("kubernetes.io/service-name") else { continue };
        if text(&slice.body["addressType"]) == "FQDN" {
            continue;
        }
        let service = by_name.get(&(slice.namespace.as_str(), name.as_str())).copied();
        let hostname = format!("{name}.{}.svc.{}", slice.namespace, mesh.domain);
        for entry in list(&slice.body["endpoints"]) {
            for address in strings(&entry["addresses"]) {
                for endpoint in slice_endpoints(&slice.body["ports"], entry, &address, pods, &slice.namespace, service)
                {
                    let key = (slice.namespace.clone(), hostname.clone(), address.clone(), endpoint.port_name.clone());
                    if seen.insert(key) {
                        out.entry((slice.namespace.clone(), hostname.clone())).or_default().push(Arc::new(endpoint));
                    }
                }
            }
        }
    }
    for service in services.iter().filter(|s| s.registry == Registry::Kubernetes && s.has_selector) {
        let found = super::service_entry::selected_workload_entries(objects, mesh, service);
        if !found.is_empty() {
            out.entry((service.namespace.clone(), service.hostname.clone()))
                .or_default()
                .extend(found.into_iter().map(Arc::new));
        }
    }
}

fn slice_endpoints(
    ports: &Value,
    entry: &Value,
    address: &str,
    pods: &Pods,
    namespace: &str,
    service: Option<&Service>,
) -> Vec<Endpoint> {
    let target = &entry["targetRef"];
    let names_pod = text(&target["kind"]) == "Pod";
    let pod = if names_pod {
        let in_namespace = match text(&target["namespace"]) {
            "" => namespace,
            given => given,
        };
        pods.by_name(in_namespace, text(&target["name"]))
    } else {
        pods.by_ip.get(address)
    };
    if names_pod && pod.is_none() {
        return Vec::new();
    }
    let health = health(&entry["conditions"], service.is_some());
    list(ports)
        .iter()
        .map(|port| {
            let mut endpoint = Endpoint {
                address: address.to_owned(),
                port: unsigned(&port["port"]),
                port_name: text(&port["name"]).to_owned(),
                port_key: None,
                labels: augment(&BTreeMap::new(), "", ""),
                namespace: String::new(),
                workload: String::new(),
                service_account: String::new(),
                tls_mode: "disabled".to_owned(),
                health,
                weight: 1,
                locality: String::new(),
                node: String::new(),
            };
            if let Some(pod) = pod {
                endpoint.labels = pod.augmented.clone();
                endpoint.namespace = pod.namespace.clone();
                endpoint.workload = pod.workload.clone();
                endpoint.service_account = pod.service_account.clone();
                endpoint.locality = pod.locality.clone();
                endpoint.node = pod.node.clone();
                if let Some(mode) = pod.labels.get("security.istio.io/tlsMode") {
                    endpoint.tls_mode = mode.clone();
                }
            }
            endpoint
        })
        .collect()
}

fn health(conditions: &Value, known_service: bool) -> Health {
    let unset_or_true = |key: &str| !present(&conditions[key]) || flag(&conditions[key]);
    if unset_or_true("ready") {
        Health::Healthy
    } else if known_service && unset_or_true("terminating") {
        Health::Terminating
    } else {
        Health::Unhealthy
    }
}

/// A port of the proxy's own pod that a Service sends traffic to.
#[derive(Debug, Clone)]
pub struct Target {
    pub service: Arc<Service>,
    pub port: Port,
    pub target: u32,
}

/// The Services that select a pod's labels, by name, with the ports they reach.
pub fn targets(
    objects: &HashMap<String, Vec<Object>>,
    namespace: &str,
    pod_labels: &BTreeMap<String, String>,
    pod: Option<&Pod>,
    find: impl Fn(&str) -> Option<Arc<Service>>,
    mesh: &MeshConfig,
) -> Vec<Target> {
    let mut selecting: Vec<&Object> = objects
        .get("Service")
        .into_iter()
        .flatten()
        .filter(|s| s.namespace == namespace)
        .filter(|s| {
            let selector = labels(&s.spec()["selector"]);
            !selector.is_empty() && labels_match(&selector, pod_labels)
        })
        .collect();
    selecting.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out: Vec<Target> = Vec::new();
    for object in selecting {
        let Some(service) = find(&format!("{}.{}.svc.{}", object.name, object.namespace, mesh.domain)) else {
            continue;
        };
        let mut seen: BTreeSet<(u32, &str)> = BTreeSet::new();
        for port in list(&object.spec()["ports"]) {
            let name = text(&port["name"]);
            let (Some(known), Some(target)) =
                (service.ports.iter().find(|p| p.name == name), target_port(port, pod.map(|p| &*p.body)))
            else {
                continue;
            };
            if seen.insert((target, protocol_key(known.protocol))) {
                out.push(Target { service: service.clone(), port: known.clone(), target });
            }
        }
    }
    out
}

fn protocol_key(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Grpc => "grpc",
        Protocol::GrpcWeb => "grpc-web",
        Protocol::Http => "http",
        Protocol::HttpProxy => "http_proxy",
        Protocol::Http2 => "http2",
        Protocol::Https => "https",
        Protocol::Tls => "tls",
        Protocol::Mongo => "mongo",
        Protocol::Redis => "redis",
        Protocol::MySql => "mysql",
        Protocol::Auto => "auto",
    }
}

/// A target port given by number, or by the name of a container port of the same protocol.
fn target_port(port: &Value, pod: Option<&Value>) -> Option<u32> {
    let target = &port["targetPort"];
    match target {
        Value::Null => Some(unsigned(&port["port"])),
        Value::Number(_) => Some(u32::try_from(integer(target)).unwrap_or(0)),
        Value::String(name) => {
            let transport = |v: &Value| if text(v).is_empty() { "TCP".to_owned() } else { text(v).to_owned() };
            let containers = list(&pod?["spec"]["containers"])
                .iter()
                .chain(list(&pod?["spec"]["initContainers"]).iter().filter(|c| text(&c["restartPolicy"]) == "Always"));
            containers
                .flat_map(|c| list(&c["ports"]))
                .find(|p| text(&p["name"]) == name && transport(&p["protocol"]) == transport(&port["protocol"]))
                .map(|p| unsigned(&p["containerPort"]))
        }
        _ => None,
    }
}

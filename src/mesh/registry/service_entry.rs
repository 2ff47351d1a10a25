//! ServiceEntries and WorkloadEntries.

use super::endpoint::{Endpoint, Health};
use super::kubernetes::{Pods, augment, traffic_distribution};
use super::service::{Port, Registry, Resolution, Service};
use crate::mesh::json::{labels, labels_match, list, present, strings, text, unsigned};
use crate::mesh::mesh_config::MeshConfig;
use crate::mesh::object::{Object, sort};
use crate::mesh::protocol::Protocol;
use crate::mesh::report::Report;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// ServiceEntries as the registry has them.
#[derive(Debug, Default)]
pub struct Entries {
    /// In Istio's order.
    entries: Vec<Arc<Entry>>,
}

/// What becomes of one ServiceEntry.
#[derive(Debug)]
struct Entry {
    object: Object,
    /// What the object, or its namespace, says about near endpoints.
    distribution: String,
    /// One for each host and address.
    services: Vec<Arc<Service>>,
    /// The endpoints of each host.
    endpoints: Vec<(String, Vec<Arc<Endpoint>>)>,
}

impl Entries {
    /// `before`: of another world with the same mesh config, from where the same entries are taken over.
    pub fn read(
        objects: &HashMap<String, Vec<Object>>,
        mesh: &MeshConfig,
        pods: &Pods,
        report: &Report,
        before: Option<&Self>,
    ) -> Self {
        let namespaces: HashMap<&str, &Object> =
            objects.get("Namespace").into_iter().flatten().map(|n| (n.name.as_str(), n)).collect();
        let known: HashMap<(&str, &str), &Arc<Entry>> = before
            .into_iter()
            .flat_map(|before| &before.entries)
            .map(|entry| ((entry.object.namespace.as_str(), entry.object.name.as_str()), entry))
            .collect();
        let mut sorted = objects.get("ServiceEntry").cloned().unwrap_or_default();
        sort(&mut sorted);
        let read = |object: Object| {
            let namespace = namespaces.get(object.namespace.as_str()).map(|n| &n.annotations);
            let distribution = traffic_distribution(&Value::Null, &object.annotations, namespace, report);
            // Selected workloads are other objects.
            let alone = !present(&object.spec()["workloadSelector"]);
            let same = known.get(&(object.namespace.as_str(), object.name.as_str()));
            match same.filter(|e| alone && e.object == object && e.distribution == distribution) {
                Some(same) => (*same).clone(),
                None => Arc::new(Entry {
                    services: services(&object, &distribution),
                    endpoints: endpoints(objects, &object, mesh, pods),
                    distribution,
                    object,
                }),
            }
        };
        Self { entries: sorted.into_iter().map(read).collect() }
    }

    pub fn services(&self) -> impl Iterator<Item = Arc<Service>> {
        self.entries.iter().flat_map(|entry| entry.services.iter().cloned())
    }

    /// By namespace and host.
    pub fn endpoints(&self) -> HashMap<(String, String), Vec<Arc<Endpoint>>> {
        let mut out: HashMap<(String, String), Vec<Arc<Endpoint>>> = HashMap::new();
        for entry in &self.entries {
            let round_robin = text(&entry.object.spec()["resolution"]) == "DNS_ROUND_ROBIN";
            for (hostname, endpoints) in &entry.endpoints {
                let found = out.entry((entry.object.namespace.clone(), hostname.clone())).or_default();
                for endpoint in endpoints {
                    if round_robin && found.iter().any(|e| e.port_key == endpoint.port_key) {
                        continue;
                    }
                    found.push(endpoint.clone());
                }
            }
        }
        out
    }
}

fn services(object: &Object, distribution: &str) -> Vec<Arc<Service>> {
    let mut out = Vec::new();
    for (index, hostname) in strings(&object.spec()["hosts"]).into_iter().enumerate() {
        let base = service(object, &hostname, index, distribution);
        let given = list(&object.spec()["addresses"]);
        if given.is_empty() {
            out.push(Arc::new(Service { allocated: allocated(object, &hostname), ..base }));
            continue;
        }
        let addresses = given.iter().filter_map(|a| address(text(a)));
        out.extend(addresses.map(|address| Arc::new(Service { address, ..base.clone() })));
    }
    out
}

fn service(object: &Object, hostname: &str, index: usize, distribution: &str) -> Service {
    let spec = object.spec();
    let resolution = match text(&spec["resolution"]) {
        "DNS" => Resolution::Dns,
        "DNS_ROUND_ROBIN" => Resolution::DnsRoundRobin,
        "STATIC" => Resolution::Endpoints,
        "DYNAMIC_DNS" => Resolution::DynamicDns,
        _ => Resolution::Passthrough,
    };
    let ports = list(&spec["ports"]);
    Service {
        hostname: hostname.to_owned(),
        registry: Registry::External,
        name: hostname.to_owned(),
        namespace: object.namespace.clone(),
        labels: object.labels.clone(),
        created: object.order().0.to_owned(),
        address: "0.0.0.0".to_owned(),
        cluster_ips: Vec::new(),
        allocated: Vec::new(),
        ports: ports.iter().map(entry_port).collect(),
        resolution,
        mesh_external: text(&spec["location"]) != "MESH_INTERNAL",
        export_to: strings(&spec["exportTo"]).into_iter().collect(),
        selector: labels(&spec["workloadSelector"]["labels"]),
        has_selector: present(&spec["workloadSelector"]),
        external_name: String::new(),
        aliases: Vec::new(),
        accounts: strings(&spec["subjectAltNames"]),
        passthrough_ports: match resolution {
            Resolution::Passthrough => ports
                .iter()
                .filter(|p| unsigned(&p["targetPort"]) != 0)
                .map(|p| (unsigned(&p["number"]), unsigned(&p["targetPort"])))
                .collect(),
            _ => BTreeMap::new(),
        },
        traffic_distribution: distribution.to_owned(),
        node_local: false,
        race_dns: object
            .annotations
            .get("istio.io/connect-strategy")
            .is_some_and(|v| v.eq_ignore_ascii_case("RACE_FIRST_TCP_CONNECT")),
        origin: object.origin(format!("/spec/hosts/{index}")),
    }
}

fn entry_port(port: &Value) -> Port {
    Port {
        name: text(&port["name"]).to_owned(),
        number: unsigned(&port["number"]),
        protocol: Protocol::parse(text(&port["protocol"])),
    }
}

/// An address or a CIDR; a CIDR of one address becomes the address.
fn address(given: &str) -> Option<String> {
    if given.parse::<IpAddr>().is_ok() {
        return Some(given.to_owned());
    }
    let (ip, bits) = given.split_once('/')?;
    let (ip, bits) = (ip.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?);
    let width = if ip.is_ipv4() { 32 } else { 128 };
    match bits {
        b if b == width => Some(ip.to_string()),
        b if b < width => Some(given.to_owned()),
        _ => None,
    }
}

/// Addresses that the control plane wrote into the status for a host. None count where the client's own address decides
/// (`resolution: NONE`), nor where a label asks for none.
fn allocated(object: &Object, hostname: &str) -> Vec<String> {
    let refused = object
        .labels
        .get("networking.istio.io/enable-autoallocate-ip")
        .is_some_and(|given| given.eq_ignore_ascii_case("false"));
    if refused || matches!(text(&object.spec()["resolution"]), "" | "NONE") {
        return Vec::new();
    }
    list(&object.body["status"]["addresses"])
        .iter()
        .filter(|a| text(&a["host"]) == hostname)
        .map(|a| text(&a["value"]).to_owned())
        .filter(|a| a.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()))
        .collect()
}

/// The endpoints of each host of a ServiceEntry.
fn endpoints(
    objects: &HashMap<String, Vec<Object>>,
    object: &Object,
    mesh: &MeshConfig,
    pods: &Pods,
) -> Vec<(String, Vec<Arc<Endpoint>>)> {
    let spec = object.spec();
    let dns = matches!(text(&spec["resolution"]), "DNS" | "DNS_ROUND_ROBIN");
    let workloads = workloads(objects, object, mesh, pods, dns);
    // A host with several addresses is several services, each with the same instances.
    let times = list(&spec["addresses"]).iter().filter(|a| address(text(a)).is_some()).count().max(1);
    let of_host = |hostname: String| {
        let once: Vec<Arc<Endpoint>> =
            instances(object, &hostname, &workloads, dns).into_iter().map(Arc::new).collect();
        (hostname, std::iter::repeat_n(once, times).flatten().collect())
    };
    strings(&spec["hosts"]).into_iter().map(of_host).collect()
}

/// A workload and the ports it overrides by name.
struct Workload {
    endpoint: Endpoint,
    ports: BTreeMap<String, u32>,
}

fn workloads(
    objects: &HashMap<String, Vec<Object>>,
    entry: &Object,
    mesh: &MeshConfig,
    pods: &Pods,
    dns: bool,
) -> Vec<Workload> {
    let spec = entry.spec();
    if !present(&spec["workloadSelector"]) {
        return list(&spec["endpoints"])
            .iter()
            .enumerate()
            .map(|(i, e)| workload(e, &entry.namespace, &format!("{}-{i}", entry.name), &BTreeMap::new(), mesh))
            .collect();
    }
    let selector = labels(&spec["workloadSelector"]["labels"]);
    let mut out: Vec<Workload> = Vec::new();
    let mut chosen: Vec<_> = pods
        .all
        .iter()
        .filter(|p| p.namespace == entry.namespace && p.ready && !p.ip.is_empty() && labels_match(&selector, &p.labels))
        .collect();
    chosen.sort_by(|a, b| a.name.cmp(&b.name));
    out.extend(chosen.into_iter().map(|pod| Workload { endpoint: pod_endpoint(pod), ports: BTreeMap::new() }));
    let mut entries: Vec<&Object> =
        objects.get("WorkloadEntry").into_iter().flatten().filter(|w| w.namespace == entry.namespace).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for object in entries {
        let one = workload(object.spec(), &object.namespace, &object.name, &object.labels, mesh);
        let by_name = !one.endpoint.address.is_empty() && one.endpoint.address.parse::<IpAddr>().is_err();
        if labels_match(&selector, &one.endpoint.labels) && (dns || !by_name) {
            out.push(one);
        }
    }
    out
}

fn pod_endpoint(pod: &super::kubernetes::Pod) -> Endpoint {
    Endpoint {
        address: pod.ip.clone(),
        port: 0,
        port_name: String::new(),
        port_key: None,
        labels: pod.augmented.clone(),
        namespace: pod.namespace.clone(),
        workload: pod.workload.clone(),
        service_account: pod.service_account.clone(),
        tls_mode: pod.labels.get("security.istio.io/tlsMode").cloned().unwrap_or_else(|| "disabled".to_owned()),
        health: Health::Healthy,
        weight: 1,
        locality: pod.locality.clone(),
        node: pod.node.clone(),
    }
}

fn workload(
    spec: &Value,
    namespace: &str,
    name: &str,
    object_labels: &BTreeMap<String, String>,
    mesh: &MeshConfig,
) -> Workload {
    let mut own = labels(&spec["labels"]);
    own.extend(object_labels.clone());
    let account = text(&spec["serviceAccount"]);
    let locality = match text(&spec["locality"]) {
        "" => own.get("istio-locality").map(|l| l.replace('.', "/")).unwrap_or_default(),
        given => given.to_owned(),
    };
    let tls_mode = match own.get("security.istio.io/tlsMode") {
        Some(mode) => mode.clone(),
        None if !account.is_empty() => "istio".to_owned(),
        None => "disabled".to_owned(),
    };
    Workload {
        ports: labels_of_ports(&spec["ports"]),
        endpoint: Endpoint {
            address: text(&spec["address"]).to_owned(),
            port: 0,
            port_name: String::new(),
            port_key: None,
            labels: augment(&own, &locality, ""),
            namespace: namespace.to_owned(),
            workload: own.get("service.istio.io/workload-name").cloned().unwrap_or_else(|| name.to_owned()),
            service_account: if account.is_empty() { String::new() } else { mesh.spiffe(namespace, account) },
            tls_mode,
            health: Health::Unknown,
            weight: unsigned(&spec["weight"]).max(1),
            locality,
            node: String::new(),
        },
    }
}

fn labels_of_ports(ports: &Value) -> BTreeMap<String, u32> {
    crate::mesh::json::fields(ports).map(|(name, number)| (name.clone(), unsigned(number))).collect()
}

fn instances(entry: &Object, hostname: &str, workloads: &[Workload], dns: bool) -> Vec<Endpoint> {
    let spec = entry.spec();
    let ports = list(&spec["ports"]);
    let of_port = |base: &Endpoint, port: &Value, target: u32| Endpoint {
        port: target,
        port_name: text(&port["name"]).to_owned(),
        port_key: Some(unsigned(&port["number"])),
        ..base.clone()
    };
    let default_target = |port: &Value| match unsigned(&port["targetPort"]) {
        0 => unsigned(&port["number"]),
        target => target,
    };
    if dns && list(&spec["endpoints"]).is_empty() && !present(&spec["workloadSelector"]) {
        let base = Endpoint {
            address: hostname.to_owned(),
            port: 0,
            port_name: String::new(),
            port_key: None,
            labels: BTreeMap::new(),
            namespace: entry.namespace.clone(),
            workload: entry.name.clone(),
            service_account: String::new(),
            tls_mode: "disabled".to_owned(),
            health: Health::Unknown,
            weight: 1,
            locality: String::new(),
            node: String::new(),
        };
        return ports.iter().map(|p| of_port(&base, p, default_target(p))).collect();
    }
    let mut out = Vec::new();
    for one in workloads {
        for port in ports {
            let target = match one.ports.get(text(&port["name"])) {
                _ if one.endpoint.address.starts_with("unix://") => 0,
                Some(&given) if given > 0 => given,
                _ => default_target(port),
            };
            let mut endpoint = of_port(&one.endpoint, port, target);
            if let Some(path) = endpoint.address.strip_prefix("unix://") {
                endpoint.address = path.to_owned();
            }
            out.push(endpoint);
        }
    }
    out
}

/// WorkloadEntries that a Kubernetes Service's selector takes.
pub fn selected_workload_entries(
    objects: &HashMap<String, Vec<Object>>,
    mesh: &MeshConfig,
    service: &Service,
) -> Vec<Endpoint> {
    let mut out = Vec::new();
    let of_kind = |kind: &str| objects.get(kind).into_iter().flatten().filter(|o| o.namespace == service.namespace);
    let Some(source) = of_kind("Service").find(|s| s.name == service.name) else { return out };
    let mut entries: Vec<&Object> = of_kind("WorkloadEntry").collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for object in entries {
        let one = workload(object.spec(), &object.namespace, &object.name, &object.labels, mesh);
        if one.endpoint.address.parse::<IpAddr>().is_err() || !labels_match(&service.selector, &one.endpoint.labels) {
            continue;
        }
        for port in &service.ports {
            let Some(target) = workload_port(source.spec(), port, &one.ports) else { continue };
            out.push(Endpoint { port: target, port_name: port.name.clone(), ..one.endpoint.clone() });
        }
    }
    out
}

/// Where a workload serves a port of a Service: by the name of the target port, or of the port when its target is a
/// number. `None` when the target has a name that the workload does not know.
fn workload_port(service: &Value, port: &Port, known: &BTreeMap<String, u32>) -> Option<u32> {
    let spec = list(&service["ports"])
        .iter()
        .find(|p| text(&p["name"]) == port.name || unsigned(&p["port"]) == port.number)
        .unwrap_or(&Value::Null);
    let (number, named) = (unsigned(&spec["targetPort"]), text(&spec["targetPort"]));
    let name = if number > 0 { text(&spec["name"]) } else { named };
    match known.get(name).copied().filter(|p| *p > 0) {
        Some(given) => Some(given),
        None if !named.is_empty() => None,
        None => Some(if number > 0 { number } else { port.number }),
    }
}

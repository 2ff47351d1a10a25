//! Everything that does not depend on the proxy: objects by kind, registry and indexes. Built once for a world.

use super::destination_rule::DestinationRules;
use super::json::{labels, labels_match, list, text};
use super::mesh_config::MeshConfig;
use super::object::Object;
use super::policy::peer_authentication::{Mode, PeerAuthentications};
use super::registry::ServiceRegistry;
use super::registry::kubernetes::Pods;
use super::registry::service::{Resolution, Service};
use super::report::Report;
use super::virtual_service::VirtualServices;
use super::{Settings, World};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

#[derive(Debug)]
pub struct Push {
    pub mesh: MeshConfig,
    pub settings: Settings,
    pub pods: Pods,
    pub registry: ServiceRegistry,
    pub virtual_services: VirtualServices,
    pub destination_rules: DestinationRules,
    pub peer_authentications: PeerAuthentications,
    pub report: Report,
    objects: HashMap<String, Vec<Object>>,
}

/// Kinds that are read, with the API group they must belong to.
const KINDS: &[(&str, &str)] = &[
    ("Namespace", ""),
    ("Node", ""),
    ("Pod", ""),
    ("Service", ""),
    ("EndpointSlice", "discovery.k8s.io"),
    ("Ingress", "networking.k8s.io"),
    ("IngressClass", "networking.k8s.io"),
    ("ServiceEntry", "networking.istio.io"),
    ("WorkloadEntry", "networking.istio.io"),
    ("VirtualService", "networking.istio.io"),
    ("DestinationRule", "networking.istio.io"),
    ("Gateway", "networking.istio.io"),
    ("Sidecar", "networking.istio.io"),
    ("EnvoyFilter", "networking.istio.io"),
    ("ProxyConfig", "networking.istio.io"),
    ("PeerAuthentication", "security.istio.io"),
    ("RequestAuthentication", "security.istio.io"),
    ("AuthorizationPolicy", "security.istio.io"),
    ("Telemetry", "telemetry.istio.io"),
];

fn is_read(object: &Value) -> bool {
    let api = text(&object["apiVersion"]);
    let group = api.split_once('/').map_or("", |(group, _)| group);
    KINDS.iter().any(|(kind, of)| *kind == text(&object["kind"]) && *of == group)
}

impl Push {
    pub fn new(world: &World, settings: Settings) -> Self {
        let mut mesh = MeshConfig::read(&world.mesh_config);
        if settings.reads_files {
            mesh.short_name_domain.clear();
        }
        let mut objects: HashMap<String, Vec<Object>> = HashMap::new();
        for object in world.objects.iter().filter(|o| is_read(o)).filter_map(Object::read) {
            objects.entry(object.kind.clone()).or_default().push(object);
        }
        discover(&mut objects, &mesh);
        super::ingress::convert(&mut objects, &mesh);
        let report = Report::default();
        let pods = Pods::read(&objects, &mesh);
        Self {
            registry: ServiceRegistry::read(&objects, &pods, &mesh, &report),
            pods,
            virtual_services: VirtualServices::read(&objects, &mesh, &report),
            destination_rules: DestinationRules::read(&objects, &mesh, &report),
            peer_authentications: PeerAuthentications::read(&objects, &mesh),
            mesh,
            settings,
            report,
            objects,
        }
    }

    pub fn objects(&self, kind: &str) -> impl Iterator<Item = &Object> {
        self.objects.get(kind).into_iter().flatten()
    }

    pub fn by_kind(&self) -> &HashMap<String, Vec<Object>> {
        &self.objects
    }

    /// The mutual TLS mode that a client assumes for a service's port.
    pub fn service_mtls_mode(&self, policy: &Value, service: &Service, port: u32) -> Mode {
        if service.mesh_external {
            return Mode::Unknown;
        }
        let passthrough = text(&policy["loadBalancer"]["simple"]) == "PASSTHROUGH";
        if service.resolution == Resolution::Passthrough || passthrough {
            let endpoints = self.registry.endpoints_by_port(service, port, None);
            if endpoints.is_empty() || endpoints.iter().any(|e| e.tls_mode == "disabled") {
                return Mode::Disable;
            }
        }
        match self.peer_authentications.namespace_mode(&service.namespace) {
            Mode::Unknown => Mode::Permissive,
            mode => mode,
        }
    }
}

/// Leaves out what is in namespaces that the mesh config's `discoverySelectors` do not take.
fn discover(objects: &mut HashMap<String, Vec<Object>>, mesh: &MeshConfig) {
    let selectors = list(&mesh.raw["discoverySelectors"]);
    if selectors.is_empty() {
        return;
    }
    let namespaces: HashSet<String> = objects
        .get("Namespace")
        .into_iter()
        .flatten()
        .filter(|n| selectors.iter().any(|s| selects(s, &n.labels)))
        .map(|n| n.name.clone())
        .collect();
    for (kind, all) in objects.iter_mut() {
        if !matches!(kind.as_str(), "Namespace" | "Node" | "IngressClass") {
            all.retain(|o| namespaces.contains(&o.namespace));
        }
    }
}

/// A label selector of Kubernetes.
fn selects(selector: &Value, of: &BTreeMap<String, String>) -> bool {
    labels_match(&labels(&selector["matchLabels"]), of)
        && list(&selector["matchExpressions"]).iter().all(|expression| {
            let value = of.get(text(&expression["key"]));
            let among = value.is_some_and(|v| list(&expression["values"]).iter().any(|w| text(w) == v));
            match text(&expression["operator"]) {
                "In" => among,
                "NotIn" => !among,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

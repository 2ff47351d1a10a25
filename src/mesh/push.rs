//! Everything that does not depend on the proxy: objects by kind, registry and indexes. Built once for a world.

use super::destination_rule::DestinationRules;
use super::json::{fields, labels, labels_match, list, text};
use super::mesh_config::MeshConfig;
use super::object::Object;
use super::policy::peer_authentication::PeerAuthentications;
use super::registry::ServiceRegistry;
use super::registry::kubernetes::Pods;
use super::report::{Event, Report};
use super::virtual_service::VirtualServices;
use super::{Proxy, ProxyType, Settings, World};
use serde_json::Value;
use std::cell::LazyCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

type Objects = HashMap<String, Vec<Object>>;

#[derive(Debug)]
pub struct Push {
    pub settings: Settings,
    pub mesh: Arc<MeshConfig>,
    pub pods: Arc<Pods>,
    pub peer_authentications: Arc<PeerAuthentications>,
    pub report: Report,
    pub inputs: Inputs,
    /// What reading the registry, VirtualServices and DestinationRules had to say.
    said: [Vec<Event>; 3],
    read: Read,
}

/// All that a compile depends on, to tell whether it must be done again.
#[derive(Debug, Clone)]
pub struct Inputs {
    mesh: Arc<MeshConfig>,
    registry: Arc<ServiceRegistry>,
    virtual_services: Arc<VirtualServices>,
    destination_rules: Arc<DestinationRules>,
    peer_authentications: Arc<PeerAuthentications>,
    objects: Arc<Objects>,
}

/// The kinds that the registry is made of.
const REGISTRY: &[&str] = &["Namespace", "Node", "Pod", "Service", "EndpointSlice", "ServiceEntry", "WorkloadEntry"];
/// The kinds that other indexes are made of.
const INDEXED: &[&str] = &["VirtualService", "DestinationRule", "PeerAuthentication"];
/// Kinds whose objects reach the proxies of their own namespace, or of all when it is the root namespace.
const OF_NAMESPACE: &[&str] = &["AuthorizationPolicy", "EnvoyFilter", "RequestAuthentication", "Sidecar", "Telemetry"];

impl Inputs {
    /// Whether a proxy gets the same from both. `self` may be different and still be the same for a proxy that
    /// sees nothing of what differs.
    pub fn same_for(&self, other: &Inputs, proxy: &Proxy) -> bool {
        Arc::ptr_eq(&self.registry, &other.registry)
            && Arc::ptr_eq(&self.virtual_services, &other.virtual_services)
            && Arc::ptr_eq(&self.destination_rules, &other.destination_rules)
            && self.same_ground(other, proxy)
            && self.same_objects(other, "Gateway", proxy)
    }

    /// Whether all is the same for a proxy but services, VirtualServices, DestinationRules and Gateways: what pieces of
    /// its configuration may depend on without asking its scope.
    pub fn same_ground(&self, other: &Inputs, proxy: &Proxy) -> bool {
        Arc::ptr_eq(&self.mesh, &other.mesh)
            && Arc::ptr_eq(&self.peer_authentications, &other.peer_authentications)
            && (Arc::ptr_eq(&self.objects, &other.objects)
                || KINDS.iter().all(|(kind, _)| *kind == "Gateway" || self.same_objects(other, kind, proxy)))
    }

    fn same_objects(&self, other: &Inputs, kind: &str, proxy: &Proxy) -> bool {
        if REGISTRY.contains(&kind) || INDEXED.contains(&kind) {
            return true;
        }
        let for_others = match proxy.kind {
            ProxyType::Sidecar => "Gateway",
            ProxyType::Router => "Sidecar",
        };
        if kind == for_others {
            return true;
        }
        let everywhere = !OF_NAMESPACE.contains(&kind);
        let reaches =
            |o: &&Object| everywhere || o.namespace == proxy.namespace || o.namespace == self.mesh.root_namespace;
        of_kind(&self.objects, kind).iter().filter(reaches).eq(of_kind(&other.objects, kind).iter().filter(reaches))
    }
}

fn of_kind<'a>(objects: &'a Objects, kind: &str) -> &'a [Object] {
    objects.get(kind).map_or(&[], Vec::as_slice)
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
    let (mut kind, mut api) = ("", "");
    for (key, value) in fields(object) {
        match key.as_str() {
            "kind" => kind = text(value),
            "apiVersion" => api = text(value),
            _ => {}
        }
    }
    let group = api.split_once('/').map_or("", |(group, _)| group);
    KINDS.contains(&(kind, group))
}

/// The world's objects that are read, beside their bodies, in the world's order.
type Read = Vec<(Arc<Value>, Option<Object>)>;

/// Reads objects; those whose body is the same as in the world before are taken over.
fn read(world: &World, before: Option<&Read>) -> Read {
    let none = Vec::new();
    let before = before.unwrap_or(&none);
    // Most stand where they stood.
    let by_address: LazyCell<HashMap<*const Value, &Option<Object>>, _> =
        LazyCell::new(|| before.iter().map(|(body, object)| (Arc::as_ptr(body), object)).collect());
    let one = |(place, body): (usize, &Arc<Value>)| {
        let same = before.get(place).filter(|(old, _)| Arc::ptr_eq(old, body)).map(|(_, object)| object);
        let moved = || by_address.get(&Arc::as_ptr(body)).copied();
        let object = match if before.is_empty() { None } else { same.or_else(moved) } {
            Some(object) => object.clone(),
            None if is_read(body) => Object::read(body),
            None => None,
        };
        (body.clone(), object)
    };
    world.objects.iter().enumerate().map(one).collect()
}

impl Push {
    /// Reads a world; what is made of the same objects as in the world before is taken over from there.
    pub fn new(world: &World, settings: Settings, before: Option<&Push>) -> Self {
        let mut mesh = MeshConfig::read(&world.mesh_config);
        if settings.reads_files {
            mesh.short_name_domain.clear();
        }
        let mut objects: Objects = HashMap::new();
        let read = read(world, before.map(|before| &before.read));
        for object in read.iter().filter_map(|(_, object)| object.as_ref()) {
            match objects.get_mut(&object.kind) {
                Some(of_kind) => of_kind.push(object.clone()),
                None => drop(objects.insert(object.kind.clone(), vec![object.clone()])),
            }
        }
        discover(&mut objects, &mesh);
        super::ingress::convert(&mut objects, &mesh);
        // All indexes are read by the mesh config too.
        let before = before.filter(|before| *before.mesh == mesh);
        let mesh = before.map_or_else(|| Arc::new(mesh), |before| before.mesh.clone());
        let same = |kinds: &[&str]| {
            before.filter(|b| kinds.iter().all(|kind| of_kind(&objects, kind) == of_kind(&b.inputs.objects, kind)))
        };
        let report = Report::default();
        let ((pods, registry), of_registry) = match same(REGISTRY) {
            Some(before) => ((before.pods.clone(), before.registry().clone()), before.said[0].clone()),
            None => {
                let pods = Arc::new(Pods::read(&objects, &mesh));
                let registry =
                    Arc::new(ServiceRegistry::read(&objects, &pods, &mesh, &report, before.map(|b| &**b.registry())));
                ((pods, registry), report.take())
            }
        };
        let (virtual_services, of_virtual_services) = match same(&["VirtualService"]) {
            Some(before) => (before.virtual_services().clone(), before.said[1].clone()),
            None => (
                Arc::new(VirtualServices::read(&objects, &mesh, &report, before.map(|b| &**b.virtual_services()))),
                report.take(),
            ),
        };
        let (destination_rules, of_destination_rules) = match same(&["DestinationRule"]) {
            Some(before) => (before.destination_rules().clone(), before.said[2].clone()),
            None => (Arc::new(DestinationRules::read(&objects, &mesh, &report)), report.take()),
        };
        let peer_authentications = match same(&["PeerAuthentication"]) {
            Some(before) => before.peer_authentications.clone(),
            None => Arc::new(PeerAuthentications::read(&objects, &mesh)),
        };
        let inputs = Inputs {
            mesh: mesh.clone(),
            registry,
            virtual_services,
            destination_rules,
            peer_authentications: peer_authentications.clone(),
            objects: Arc::new(objects),
        };
        Self {
            settings,
            mesh,
            pods,
            peer_authentications,
            report,
            inputs,
            said: [of_registry, of_virtual_services, of_destination_rules],
            read,
        }
    }

    /// For a proxy's scope, which notes what is asked of them; nobody else may ask them (`tests/rooms.rs`).
    pub fn registry(&self) -> &Arc<ServiceRegistry> {
        &self.inputs.registry
    }

    /// For a proxy's scope, as the registry.
    pub fn virtual_services(&self) -> &Arc<VirtualServices> {
        &self.inputs.virtual_services
    }

    /// For a proxy's scope, as the registry.
    pub fn destination_rules(&self) -> &Arc<DestinationRules> {
        &self.inputs.destination_rules
    }

    /// What reading the objects had to say.
    pub fn said(&self) -> Vec<Event> {
        self.said.concat()
    }

    pub fn objects(&self, kind: &str) -> impl Iterator<Item = &Object> {
        of_kind(&self.inputs.objects, kind).iter()
    }

    pub fn by_kind(&self) -> &Objects {
        &self.inputs.objects
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

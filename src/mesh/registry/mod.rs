//! The service registry: Services and ServiceEntries with their endpoints, in the order and with the visibility
//! that Istio gives them.

pub mod endpoint;
pub mod kubernetes;
pub mod service;
pub mod service_entry;

use super::mesh_config::MeshConfig;
use super::object::Object;
use super::report::Report;
use endpoint::Endpoint;
use kubernetes::Target;
use service::{Registry, Resolution, Service};
use service_entry::Entries;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Endpoints by namespace and host name.
type Endpoints = HashMap<(String, String), Vec<Arc<Endpoint>>>;

/// All services of the mesh.
#[derive(Debug, Default)]
pub struct ServiceRegistry {
    /// Services exported to everyone, in Istio's order.
    public: Vec<Arc<Service>>,
    /// Services exported to single namespaces.
    exported: HashMap<String, Vec<Arc<Service>>>,
    /// Services of ServiceEntries, in Istio's order.
    external: Vec<Arc<Service>>,
    /// Host name, then namespace.
    by_host: HashMap<String, BTreeMap<String, Arc<Service>>>,
    /// Host name, then namespace.
    instances: HashMap<String, BTreeMap<String, Instances>>,
    entries: Entries,
}

/// What serves a service.
#[derive(Debug, Default, PartialEq)]
struct Instances {
    /// External endpoints come before Kubernetes ones.
    endpoints: Vec<Arc<Endpoint>>,
    accounts: Vec<String>,
}

impl ServiceRegistry {
    /// `before`: of another world with the same mesh config. What is made of one ServiceEntry alone is taken over from
    /// there.
    pub fn read(
        objects: &HashMap<String, Vec<Object>>,
        pods: &kubernetes::Pods,
        mesh: &MeshConfig,
        report: &Report,
        before: Option<&Self>,
    ) -> Self {
        let mut services: Vec<Arc<Service>> =
            kubernetes::services(objects, mesh, report).into_iter().map(Arc::new).collect();
        let entries = Entries::read(objects, mesh, pods, report, before.map(|before| &before.entries));
        let mut endpoints = entries.endpoints();
        services.extend(entries.services());
        kubernetes::endpoints(objects, mesh, pods, &services, &mut endpoints);
        services.sort_by(|a, b| (&a.created, &a.name, &a.namespace).cmp(&(&b.created, &b.name, &b.namespace)));
        resolve_aliases(&mut services);
        Self::index(services, endpoints, entries, mesh)
    }

    fn index(services: Vec<Arc<Service>>, endpoints: Endpoints, entries: Entries, mesh: &MeshConfig) -> Self {
        let mut registry = Self { entries, ..Self::default() };
        for ((namespace, hostname), endpoints) in endpoints {
            let instances = Instances { endpoints, accounts: Vec::new() };
            registry.instances.entry(hostname).or_default().insert(namespace, instances);
        }
        for service in services {
            let by_namespace = registry.instances.entry(service.hostname.clone()).or_default();
            let instances = by_namespace.entry(service.namespace.clone()).or_default();
            let mut accounts: BTreeSet<String> = instances
                .endpoints
                .iter()
                .filter(|e| !e.service_account.is_empty())
                .map(|e| e.service_account.clone())
                .collect();
            accounts.extend(service.accounts.iter().cloned());
            instances.accounts = mesh.with_aliases(accounts);
            let by_namespace = registry.by_host.entry(service.hostname.clone()).or_default();
            let keep = by_namespace.get(&service.namespace).is_none_or(|existing| {
                existing.registry != Registry::Kubernetes && service.registry == Registry::Kubernetes
            });
            if keep {
                by_namespace.insert(service.namespace.clone(), service.clone());
            }
            if service.registry == Registry::External {
                registry.external.push(service.clone());
            }
            let export = if service.export_to.is_empty() { &mesh.default_service_export } else { &service.export_to };
            if export.contains("*") {
                registry.public.push(service);
            } else if !export.contains("~") {
                let namespaces: BTreeSet<&str> =
                    export.iter().map(|to| if to == "." { service.namespace.as_str() } else { to.as_str() }).collect();
                for namespace in namespaces {
                    registry.exported.entry(namespace.to_owned()).or_default().push(service.clone());
                }
            }
        }
        registry
    }

    /// The services that a namespace sees: those exported to it by name before the public ones.
    pub fn visible_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<Service>> {
        self.exported.get(namespace).into_iter().flatten().chain(&self.public)
    }

    /// The services of a host name by namespace.
    pub fn by_host(&self, hostname: &str) -> Option<&BTreeMap<String, Arc<Service>>> {
        self.by_host.get(hostname)
    }

    /// All endpoints of a service, whatever the port.
    pub fn endpoints(&self, service: &Service) -> &[Arc<Endpoint>] {
        self.instances(&service.namespace, &service.hostname).map_or(&[], |instances| &instances.endpoints)
    }

    /// The ports of ServiceEntries that a workload of this address and namespace serves.
    pub fn targets_at(&self, address: &str, namespace: &str) -> Vec<Target> {
        let mut out = Vec::new();
        let mut seen = HashSet::new();
        for service in self.external.iter().filter(|s| s.namespace == namespace) {
            for endpoint in self.endpoints(service).iter().filter(|e| e.address == address) {
                let Some(port) = endpoint.port_key.and_then(|key| service.port(key)) else { continue };
                // A host with several addresses is several services, a host of several entries has all their endpoints.
                if port.name == endpoint.port_name && seen.insert((&service.hostname, port.number, endpoint.port)) {
                    out.push(Target { service: service.clone(), port: port.clone(), target: endpoint.port });
                }
            }
        }
        out
    }

    /// Endpoints by port number, as clusters that hold their own endpoints see them: ServiceEntry endpoints by
    /// the entry's port number, others by the port's name.
    pub fn endpoints_by_port(
        &self,
        service: &Service,
        port: u32,
        subset: Option<&BTreeMap<String, String>>,
    ) -> Vec<Arc<Endpoint>> {
        let named = |name: &str| service.ports.iter().rev().find(|p| p.name == name).map(|p| p.number);
        self.endpoints(service)
            .iter()
            .filter(|e| match e.port_key {
                Some(key) => key == port && service.ports.iter().any(|p| p.number == key),
                None => named(&e.port_name) == Some(port),
            })
            .filter(|e| subset.is_none_or(|labels| super::json::labels_match(labels, &e.labels)))
            .cloned()
            .collect()
    }

    /// Whether endpoints and identities of a service are the same in both.
    pub fn same_instances(&self, other: &Self, namespace: &str, hostname: &str) -> bool {
        self.instances(namespace, hostname) == other.instances(namespace, hostname)
    }

    fn instances(&self, namespace: &str, hostname: &str) -> Option<&Instances> {
        self.instances.get(hostname)?.get(namespace)
    }

    /// The identities that a service's workloads may show, sorted.
    pub fn accounts(&self, service: &Service) -> &[String] {
        self.instances(&service.namespace, &service.hostname).map_or(&[], |instances| &instances.accounts)
    }
}

/// Points ExternalName Services at the service they name, following chains and dropping loops.
fn resolve_aliases(services: &mut [Arc<Service>]) {
    let names: HashMap<String, String> = services
        .iter()
        .filter(|s| s.resolution == Resolution::Alias)
        .map(|s| (s.hostname.clone(), s.external_name.clone()))
        .collect();
    if names.is_empty() {
        return;
    }
    let mut aliases: HashMap<String, BTreeSet<(String, String)>> = HashMap::new();
    for service in services.iter().filter(|s| s.resolution == Resolution::Alias) {
        let mut target = service.external_name.clone();
        let mut seen = BTreeSet::from([service.hostname.clone(), target.clone()]);
        let resolved = loop {
            match names.get(&target) {
                None => break true,
                Some(next) if !seen.insert(next.clone()) => break false,
                Some(next) => target = next.clone(),
            }
        };
        if resolved {
            aliases.entry(target).or_default().insert((service.namespace.clone(), service.hostname.clone()));
        }
    }
    for service in services.iter_mut() {
        if let Some(found) = aliases.get(&service.hostname) {
            Arc::make_mut(service).aliases = found.iter().map(|(_, host)| host.clone()).collect();
        }
    }
}

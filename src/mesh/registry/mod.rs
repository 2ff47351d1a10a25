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
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

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
    /// Namespace and host name; External endpoints come before Kubernetes ones.
    endpoints: HashMap<(String, String), Vec<Arc<Endpoint>>>,
    accounts: HashMap<(String, String), Vec<String>>,
}

impl ServiceRegistry {
    pub fn read(
        objects: &HashMap<String, Vec<Object>>,
        pods: &kubernetes::Pods,
        mesh: &MeshConfig,
        report: &Report,
    ) -> Self {
        let mut services = kubernetes::services(objects, mesh, report);
        let mut endpoints = service_entry::endpoints(objects, mesh, pods);
        services.extend(service_entry::services(objects, report));
        kubernetes::endpoints(objects, mesh, pods, &services, &mut endpoints);
        services.sort_by(|a, b| (&a.created, &a.name, &a.namespace).cmp(&(&b.created, &b.name, &b.namespace)));
        resolve_aliases(&mut services);
        Self::index(services, endpoints, mesh)
    }

    fn index(
        services: Vec<Service>,
        endpoints: HashMap<(String, String), Vec<Arc<Endpoint>>>,
        mesh: &MeshConfig,
    ) -> Self {
        let mut registry = Self { endpoints, ..Self::default() };
        for service in services.into_iter().map(Arc::new) {
            let key = (service.namespace.clone(), service.hostname.clone());
            let mut accounts: BTreeSet<String> = registry
                .endpoints
                .get(&key)
                .into_iter()
                .flatten()
                .filter(|e| !e.service_account.is_empty())
                .map(|e| e.service_account.clone())
                .collect();
            accounts.extend(service.accounts.iter().cloned());
            registry.accounts.insert(key, mesh.with_aliases(accounts));
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

    pub fn is_visible(&self, service: &Service, namespace: &str, mesh: &MeshConfig) -> bool {
        let export = if service.export_to.is_empty() { &mesh.default_service_export } else { &service.export_to };
        export.contains("*") || (export.contains(".") && service.namespace == namespace) || export.contains(namespace)
    }

    /// All endpoints of a service, whatever the port.
    pub fn endpoints(&self, service: &Service) -> &[Arc<Endpoint>] {
        self.endpoints.get(&(service.namespace.clone(), service.hostname.clone())).map_or(&[], Vec::as_slice)
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

    /// The identities that a service's workloads may show, sorted.
    pub fn accounts(&self, service: &Service) -> &[String] {
        self.accounts.get(&(service.namespace.clone(), service.hostname.clone())).map_or(&[], Vec::as_slice)
    }
}

/// Points ExternalName Services at the service they name, following chains and dropping loops.
fn resolve_aliases(services: &mut [Service]) {
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
            service.aliases = found.iter().map(|(_, host)| host.clone()).collect();
        }
    }
}

//! What one proxy may see: the Sidecar that applies to it, its egress listeners with their services and
//! VirtualServices, and the DestinationRules of those services. Whoever makes a piece of its configuration asks here
//! for hosts and rules, and the scope notes what was asked (`asked`).

use super::asked::{Asked, Question};
use super::destination_rule::{DestinationRule, Rule, choose};
use super::host::{ByHost, is_wildcard, matches, subset_of};
use super::json::{labels, labels_match, list, present, text, unsigned};
use super::object::Object;
use super::protocol::Protocol;
use super::push::Push;
use super::registry::ServiceRegistry;
use super::registry::endpoint::Endpoint;
use super::registry::service::{Port, Registry, Service};
use super::virtual_service::{VirtualService, VirtualServices};
use super::{Origin, Proxy, ProxyType};
use serde_json::Value;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// One `egress` of a Sidecar, or the default one that imports all.
#[derive(Debug, Default)]
pub struct EgressListener {
    /// Its place among the scope's.
    pub place: usize,
    pub spec: Value,
    pub services: Vec<Arc<Service>>,
    pub virtual_services: Vec<Arc<VirtualService>>,
    hosts: HostIndex,
    /// Made when it is first asked.
    by_host: OnceCell<ByHost<Arc<VirtualService>>>,
}

/// The places of VirtualServices by their hosts.
#[derive(Debug, Default)]
struct HostIndex {
    exact: HashMap<String, Vec<usize>>,
    with_wildcard: Vec<usize>,
}

impl HostIndex {
    fn new(virtual_services: &[Arc<VirtualService>]) -> Self {
        let mut index = Self::default();
        for (place, service) in virtual_services.iter().enumerate() {
            for host in service.hosts.iter().filter(|h| !is_wildcard(h)) {
                let places = index.exact.entry(host.clone()).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
            if service.hosts.iter().any(|h| is_wildcard(h)) {
                index.with_wildcard.push(place);
            }
        }
        index
    }
}

impl EgressListener {
    pub fn port(&self) -> Option<u32> {
        present(&self.spec["port"]).then(|| unsigned(&self.spec["port"]["number"]))
    }

    /// The VirtualService that a host fits most specifically.
    pub fn most_specific(&self, hostname: &str) -> Option<&Arc<VirtualService>> {
        let index = || {
            let mut by_host = ByHost::default();
            for service in &self.virtual_services {
                for host in &service.hosts {
                    by_host.insert_first(host.clone(), service.clone());
                }
            }
            by_host
        };
        self.by_host.get_or_init(index).most_specific(hostname)
    }

    /// The VirtualServices with a host that some name of `hostname` fits, in their order.
    fn virtual_services_for(&self, hostname: &str) -> Vec<&Arc<VirtualService>> {
        if is_wildcard(hostname) {
            let fits = |v: &&Arc<VirtualService>| v.hosts.iter().any(|h| matches(h, hostname));
            return self.virtual_services.iter().filter(fits).collect();
        }
        let exact = self.hosts.exact.get(hostname).into_iter().flatten();
        if self.hosts.with_wildcard.is_empty() {
            return exact.map(|place| &self.virtual_services[*place]).collect();
        }
        let fits = |place: &&usize| self.virtual_services[**place].hosts.iter().any(|h| matches(h, hostname));
        let places: BTreeSet<usize> = exact.chain(self.hosts.with_wildcard.iter().filter(fits)).copied().collect();
        places.into_iter().map(|place| &self.virtual_services[place]).collect()
    }
}

#[derive(Debug, Default)]
pub struct Scope {
    pub name: String,
    pub namespace: String,
    pub sidecar: Option<Object>,
    pub asked: Asked,
    registry: Arc<ServiceRegistry>,
    bound: Arc<VirtualServices>,
    listeners: Vec<EgressListener>,
    services: Vec<Arc<Service>>,
    /// The place of each host's service.
    by_host: HashMap<String, usize>,
    rules: HashMap<Arc<str>, Vec<Arc<DestinationRule>>>,
    /// `None` for gateways: they have no catch-all.
    pub outbound_policy: Option<OutboundPolicy>,
}

#[derive(Debug, Clone, Default)]
pub struct OutboundPolicy {
    pub allow_any: bool,
    /// `Sidecar.outboundTrafficPolicy.egressProxy`, a destination.
    pub egress_proxy: Value,
    pub origin: Option<Origin>,
}

impl Scope {
    /// The scope of a proxy.
    pub fn of(push: &Push, proxy: &Proxy) -> Self {
        match proxy.kind {
            ProxyType::Router => Self::of_gateway(push, &proxy.namespace),
            ProxyType::Sidecar => Self::of_sidecar(push, proxy),
        }
    }

    fn of_gateway(push: &Push, namespace: &str) -> Self {
        let mut scope = Self {
            name: "default-sidecar".to_owned(),
            namespace: namespace.to_owned(),
            registry: push.registry().clone(),
            bound: push.virtual_services().clone(),
            ..Self::default()
        };
        for service in push.registry().visible_in(namespace) {
            scope.add(service.clone());
        }
        let virtual_services = push.virtual_services().bound_to(namespace, "mesh").cloned().collect();
        scope.listeners = vec![EgressListener { virtual_services, ..EgressListener::default() }];
        scope.select_rules(push);
        scope
    }

    fn of_sidecar(push: &Push, proxy: &Proxy) -> Self {
        let namespace = &proxy.namespace;
        let sidecar = select_sidecar(push, namespace, &proxy.labels);
        let mut scope = Self {
            name: sidecar.as_ref().map_or_else(|| "default-sidecar".to_owned(), |s| s.name.clone()),
            namespace: namespace.clone(),
            registry: push.registry().clone(),
            bound: push.virtual_services().clone(),
            ..Self::default()
        };
        let everything = serde_json::json!({"hosts": ["*/*"]});
        let spec = sidecar.as_ref().map_or(&Value::Null, Object::spec);
        let egress = list(&spec["egress"]);
        let egress = if egress.is_empty() { std::slice::from_ref(&everything) } else { egress };
        scope.listeners =
            egress.iter().enumerate().map(|(place, e)| egress_listener(push, namespace, place, e)).collect();
        scope.import_services(push);
        scope.select_rules(push);
        scope.outbound_policy = Some(if present(&spec["outboundTrafficPolicy"]) {
            OutboundPolicy {
                allow_any: text(&spec["outboundTrafficPolicy"]["mode"]) == "ALLOW_ANY",
                egress_proxy: spec["outboundTrafficPolicy"]["egressProxy"].clone(),
                origin: sidecar.as_ref().map(|s| s.origin("/spec/outboundTrafficPolicy")),
            }
        } else {
            OutboundPolicy { allow_any: push.mesh.allow_any, ..OutboundPolicy::default() }
        });
        scope.sidecar = sidecar;
        scope
    }

    pub fn sidecar_spec(&self) -> &Value {
        self.sidecar.as_ref().map_or(&Value::Null, Object::spec)
    }

    pub fn ingress(&self) -> &[Value] {
        list(&self.sidecar_spec()["ingress"])
    }

    /// The service of a host.
    pub fn service(&self, hostname: &str) -> Option<&Arc<Service>> {
        self.asked.note(|| Question::Service(hostname.into()));
        self.find(hostname)
    }

    fn find(&self, hostname: &str) -> Option<&Arc<Service>> {
        self.services.get(*self.by_host.get(hostname)?)
    }

    /// All services. What is made of them depends on everything.
    pub fn services(&self) -> &[Arc<Service>] {
        self.asked.note(|| Question::Everything);
        &self.services
    }

    /// All egress listeners. What is made of them depends on everything.
    pub fn listeners(&self) -> &[EgressListener] {
        self.asked.note(|| Question::Everything);
        &self.listeners
    }

    /// The services of a host in any namespace, whether in scope or not.
    pub fn in_namespaces(&self, hostname: &str) -> Option<&BTreeMap<String, Arc<Service>>> {
        self.asked.note(|| Question::InNamespaces(hostname.into()));
        self.registry.by_host(hostname)
    }

    /// All endpoints of a service, whatever the port.
    pub fn endpoints(&self, service: &Service) -> &[Arc<Endpoint>] {
        self.asked.note(|| Question::endpoints(service));
        self.registry.endpoints(service)
    }

    /// As `ServiceRegistry::endpoints_by_port`.
    pub fn endpoints_by_port(
        &self,
        service: &Service,
        port: u32,
        subset: Option<&BTreeMap<String, String>>,
    ) -> Vec<Arc<Endpoint>> {
        self.asked.note(|| Question::endpoints(service));
        self.registry.endpoints_by_port(service, port, subset)
    }

    /// The identities that a service's workloads may show, sorted.
    pub fn accounts(&self, service: &Service) -> &[String] {
        self.asked.note(|| Question::endpoints(service));
        self.registry.accounts(service)
    }

    /// The DestinationRule for a host as this proxy sees it.
    pub fn rule(&self, proxy: &Proxy, hostname: &str, outbound: bool) -> Option<Rule<'_>> {
        self.asked.note(|| Question::Rule(hostname.into()));
        let (host, rules) = self.rules.get_key_value(hostname)?;
        let rule = choose(rules, outbound, &self.namespace, &proxy.labels)?;
        Some(Rule::new(rule, host, &self.asked))
    }

    /// The VirtualServices of an egress listener with a host that some name of `hostname` fits, in their order.
    pub fn virtual_services_for(&self, egress: usize, hostname: &str) -> Vec<&Arc<VirtualService>> {
        self.asked.note(|| Question::VirtualServices(egress, hostname.into()));
        self.listeners.get(egress).map_or_else(Vec::new, |egress| egress.virtual_services_for(hostname))
    }

    /// The VirtualServices bound to a gateway that the proxy's namespace sees.
    pub fn bound_to(&self, gateway: &str) -> impl Iterator<Item = &Arc<VirtualService>> {
        self.asked.note(|| Question::BoundTo(gateway.into()));
        self.bound.bound_to(&self.namespace, gateway)
    }

    /// The egress listener whose routes serve a port: the first without a port, or with that port.
    pub fn listener_for_routes(&self, port: u32, bind: &str) -> Option<&EgressListener> {
        self.listeners().iter().find(|l| match l.port() {
            None => true,
            Some(0) => port == 0 && text(&l.spec["bind"]) == bind,
            Some(number) => number == port,
        })
    }

    /// Whether [`Scope::answers_as`] is so to be told without looking further.
    pub fn answers_at_once(&self, before: &Scope, question: &Question) -> bool {
        match question {
            Question::InNamespaces(_) | Question::Endpoints { .. } => Arc::ptr_eq(&self.registry, &before.registry),
            Question::VirtualServices(..) | Question::BoundTo(_) => Arc::ptr_eq(&self.bound, &before.bound),
            Question::Rule(host) | Question::Subset(host, _) | Question::Subsets(host) => {
                self.same_rules(before, host, |_, _| false)
            }
            Question::Service(_) | Question::Everything => false,
        }
    }

    /// Whether a question has the same answer here as in the scope of the same proxy, with the same Sidecar and mesh
    /// config, in the world before. To be asked where `answers_at_once` does not know.
    pub fn answers_as(&self, before: &Scope, question: &Question) -> bool {
        match question {
            Question::Service(host) => self.find(host) == before.find(host),
            Question::InNamespaces(host) => self.registry.by_host(host) == before.registry.by_host(host),
            Question::Endpoints { namespace, host } => self.registry.same_instances(&before.registry, namespace, host),
            Question::Rule(host) => self.same_rules(before, host, DestinationRule::same_but_subsets),
            Question::Subset(host, subset) => self.same_rules(before, host, |a, b| a.same_subset(b, subset)),
            Question::Subsets(host) => self.same_rules(before, host, DestinationRule::same_subsets),
            Question::VirtualServices(egress, host) => {
                let of = |scope: &Scope| {
                    let egress = scope.listeners.get(*egress)?;
                    Some(egress.virtual_services_for(host).into_iter().map(Arc::as_ptr).collect::<Vec<_>>())
                };
                of(self) == of(before)
            }
            Question::BoundTo(gateway) => {
                let of = |scope: &'_ Scope| {
                    scope.bound.bound_to(&scope.namespace, gateway).map(Arc::as_ptr).collect::<Vec<_>>()
                };
                of(self) == of(before)
            }
            Question::Everything => false,
        }
    }

    fn same_rules(
        &self,
        before: &Scope,
        host: &str,
        same: impl Fn(&DestinationRule, &DestinationRule) -> bool,
    ) -> bool {
        let (new, old) = (self.rules.get(host), before.rules.get(host));
        let (new, old) = (new.map_or(&[][..], Vec::as_slice), old.map_or(&[][..], Vec::as_slice));
        new.len() == old.len() && new.iter().zip(old).all(|(new, old)| Arc::ptr_eq(new, old) || same(new, old))
    }

    /// Services that listeners import, then destinations of their VirtualServices.
    fn import_services(&mut self, push: &Push) {
        let listeners = std::mem::take(&mut self.listeners);
        for listener in &listeners {
            for service in &listener.services {
                self.add(service.clone());
            }
            // Thousands may send to the same place, such as an egress gateway.
            let mut known: HashSet<(&str, &BTreeSet<u32>)> = HashSet::new();
            let destinations: Vec<_> =
                listener.virtual_services.iter().map(|service| service.destinations(&self.namespace)).collect();
            for of_service in &destinations {
                for (host, ports) in of_service.iter() {
                    if known.contains(&(host.as_str(), ports)) {
                        continue;
                    }
                    let Some(found) = best_service(push, host, &self.namespace) else { continue };
                    let limited = if port_matched(&listener.spec) {
                        with_listener_port(&found, &listener.spec)
                    } else {
                        with_destination_ports(push, &found, ports)
                    };
                    if let Some(service) = limited {
                        self.add(service);
                        known.insert((host, ports));
                    }
                }
            }
        }
        self.listeners = listeners;
    }

    /// Adds a service, or merges its ports into one of the same host.
    fn add(&mut self, service: Arc<Service>) {
        let Some(&place) = self.by_host.get(&service.hostname) else {
            self.by_host.insert(service.hostname.clone(), self.services.len());
            self.services.push(service);
            return;
        };
        let existing = &mut self.services[place];
        match (existing.registry, service.registry) {
            _ if Arc::ptr_eq(existing, &service) => {}
            (Registry::Kubernetes, Registry::External) => {}
            (Registry::External, Registry::Kubernetes) => *existing = service,
            _ => {
                let added: Vec<&Port> = service.ports.iter().filter(|p| existing.port(p.number).is_none()).collect();
                if !added.is_empty() && mergeable(existing, &service) {
                    let existing = Arc::make_mut(existing);
                    for port in added {
                        if existing.port(port.number).is_none() {
                            existing.ports.push(port.clone());
                        }
                    }
                }
            }
        }
    }

    fn select_rules(&mut self, push: &Push) {
        for service in &self.services {
            let found = push.destination_rules().of(&self.namespace, service);
            if !found.is_empty() {
                self.rules.insert(service.hostname.as_str().into(), found.into_iter().cloned().collect());
            }
        }
    }
}

fn mergeable(a: &Service, b: &Service) -> bool {
    a.namespace == b.namespace
        && a.resolution == b.resolution
        && a.registry == b.registry
        && a.labels == b.labels
        && a.selector == b.selector
        && a.export_to == b.export_to
}

/// The namespace's Sidecar that selects the workload, its Sidecar without a selector, or the root namespace's.
fn select_sidecar(push: &Push, namespace: &str, workload: &BTreeMap<String, String>) -> Option<Object> {
    let selects = |s: &&Object| present(&s.spec()["workloadSelector"]);
    let in_namespace: Vec<&Object> = push.objects("Sidecar").filter(|s| s.namespace == namespace).collect();
    let (mut selecting, mut plain): (Vec<&Object>, Vec<&Object>) = in_namespace.into_iter().partition(selects);
    selecting.sort_by(|a, b| a.order().cmp(&b.order()));
    plain.sort_by(|a, b| a.order().cmp(&b.order()));
    let chosen = selecting
        .into_iter()
        .find(|s| labels_match(&labels(&s.spec()["workloadSelector"]["labels"]), workload))
        .or_else(|| plain.into_iter().next());
    let root = || {
        push.objects("Sidecar")
            .filter(|s| s.namespace == push.mesh.root_namespace && !selects(s))
            .min_by(|a, b| a.order().cmp(&b.order()))
    };
    chosen.or_else(root).cloned()
}

/// Hosts of an egress listener for one namespace.
#[derive(Debug, Default)]
struct Hosts {
    all: Vec<String>,
}

impl Hosts {
    fn takes_service(&self, host: &str) -> bool {
        self.all.iter().any(|h| h == host || ((is_wildcard(host) || is_wildcard(h)) && subset_of(host, h)))
    }

    fn takes_virtual_service(&self, host: &str) -> bool {
        self.all
            .iter()
            .any(|h| (h == host && !is_wildcard(h)) || ((is_wildcard(host) || is_wildcard(h)) && matches(host, h)))
    }
}

fn port_matched(spec: &Value) -> bool {
    unsigned(&spec["port"]["number"]) != 0 && Protocol::parse(text(&spec["port"]["protocol"])) != Protocol::HttpProxy
}

fn egress_listener(push: &Push, namespace: &str, place: usize, spec: &Value) -> EgressListener {
    let mut by_namespace: HashMap<&str, Hosts> = HashMap::new();
    for host in list(&spec["hosts"]) {
        let Some((ns, name)) = text(host).split_once('/').filter(|(_, name)| !name.contains('/')) else { continue };
        let ns = if ns == "." { namespace } else { ns };
        by_namespace.entry(ns).or_default().all.push(name.to_owned());
    }
    let everywhere = by_namespace.get("*");
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    let mut virtual_services = Vec::new();
    for candidate in push.virtual_services().bound_to(namespace, "mesh") {
        let own = by_namespace.get(candidate.object.namespace.as_str());
        let taken =
            own.into_iter().chain(everywhere).any(|h| candidate.hosts.iter().any(|v| h.takes_virtual_service(v)));
        if taken && seen.insert((&candidate.object.namespace, &candidate.object.name)) {
            virtual_services.push(candidate.clone());
        }
    }
    let services = select_services(push, namespace, spec, &by_namespace);
    EgressListener {
        place,
        hosts: HostIndex::new(&virtual_services),
        by_host: OnceCell::new(),
        spec: spec.clone(),
        services,
        virtual_services,
    }
}

fn select_services(
    push: &Push,
    namespace: &str,
    spec: &Value,
    by_namespace: &HashMap<&str, Hosts>,
) -> Vec<Arc<Service>> {
    let limit = |service: &Arc<Service>, hosts: &Hosts| {
        if !hosts.takes_service(&service.hostname) {
            return None;
        }
        let service = if port_matched(spec) { with_listener_port(service, spec)? } else { service.clone() };
        let aliases: Vec<String> = service.aliases.iter().filter(|a| hosts.takes_service(a)).cloned().collect();
        if aliases.len() == service.aliases.len() {
            return Some(service);
        }
        Some(Arc::new(Service { aliases, ..(*service).clone() }))
    };
    let mut imported: Vec<Arc<Service>> = Vec::new();
    for service in push.registry().visible_in(namespace) {
        let own = by_namespace.get(service.namespace.as_str());
        if let Some(taken) = own.into_iter().chain(by_namespace.get("*")).find_map(|hosts| limit(service, hosts)) {
            imported.push(taken);
        }
    }
    // One namespace a host: the proxy's own, else a Kubernetes Service's, else the first.
    let mut chosen: HashMap<&str, (&str, bool)> = HashMap::new();
    for service in &imported {
        let candidate = (service.namespace.as_str(), service.registry == Registry::Kubernetes);
        let replace = match chosen.get(service.hostname.as_str()) {
            None => true,
            Some(_) if service.namespace == namespace => true,
            Some(existing) => !existing.1 && candidate.1 && existing.0 != namespace,
        };
        if replace {
            chosen.insert(&service.hostname, candidate);
        }
    }
    imported
        .iter()
        .filter(|s| chosen.get(s.hostname.as_str()).is_some_and(|(ns, _)| *ns == s.namespace))
        .cloned()
        .collect()
}

/// The service with the listener's port alone; `None` when it has no such port.
fn with_listener_port(service: &Arc<Service>, spec: &Value) -> Option<Arc<Service>> {
    let port = service.port(unsigned(&spec["port"]["number"]))?;
    if service.ports.len() == 1 {
        return Some(service.clone());
    }
    Some(Arc::new(Service { ports: vec![port.clone()], ..(**service).clone() }))
}

/// The service with the ports that a VirtualService sends to (all when one destination gives none).
fn with_destination_ports(push: &Push, service: &Arc<Service>, ports: &BTreeSet<u32>) -> Option<Arc<Service>> {
    if ports.is_empty() || ports.contains(&0) {
        return Some(service.clone());
    }
    let found: Vec<Port> = service.ports.iter().filter(|p| ports.contains(&p.number)).cloned().collect();
    if found.len() == service.ports.len() {
        return Some(service.clone());
    }
    if found.is_empty() {
        let ports: Vec<String> = ports.iter().map(u32::to_string).collect();
        push.report.warn(format!(
            "model\tFailed to find any VirtualService destination ports [{}] exposed by Service {}",
            ports.join(" "),
            service.hostname
        ));
        return None;
    }
    Some(Arc::new(Service { ports: found, ..(**service).clone() }))
}

/// The service of a host that a namespace would use: its own, else a visible Kubernetes Service's, else the oldest.
fn best_service(push: &Push, host: &str, namespace: &str) -> Option<Arc<Service>> {
    let by_namespace = push.registry().by_host(host)?;
    if let Some(own) = by_namespace.get(namespace) {
        return Some(own.clone());
    }
    let visible: Vec<&Arc<Service>> =
        by_namespace.values().filter(|s| s.is_visible_in(namespace, &push.mesh)).collect();
    let kubernetes = visible.iter().find(|s| s.registry == Registry::Kubernetes);
    kubernetes.or_else(|| visible.iter().min_by_key(|s| &s.created)).map(|s| (*s).clone())
}

//! What a cluster's kube-proxy, name server and network plugin learn from the API, and what the lab's internet and faults
//! do: watched through the API and put into force in the lab's network.

mod fault;
mod load_balancer;
mod policy;
mod services;

pub use fault::{Cut, Kill, KillSignal, is_of};

use super::fabric::{Fabric, ServicePort};
use super::internet::{Internet, ServiceName, ServicePlace, Site};
use super::lab_kinds::API_VERSION;
use super::netfilter::{Chain, Hook};
use super::pilot::kinds::{Kind, kind};
use super::pilot::log::Log;
use super::pilot::objects::Objects;
use super::pilot::{Follower, watch};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::sync::mpsc;

const KINDS: &[Kind] = &[
    kind("v1", "Service", "services"),
    kind("v1", "Pod", "pods"),
    kind("v1", "Namespace", "namespaces"),
    kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    kind("networking.istio.io/v1", "ServiceEntry", "serviceentries"),
    kind("networking.istio.io/v1", "WorkloadEntry", "workloadentries"),
    kind(API_VERSION, "Site", "sites"),
    kind(API_VERSION, "Cut", "cuts"),
];

/// Runs as long as the lab. The follower tells how far it is.
pub fn start(
    client: kube::Client,
    fabric: Fabric,
    internet: Internet,
    log: Arc<dyn Fn(&str) + Send + Sync>,
) -> Follower {
    let (changes, changed) = mpsc::unbounded_channel();
    let (wanted, waited_for) = tokio::sync::watch::channel(0);
    let (progress, seen) = tokio::sync::watch::channel(0);
    for index in 0..KINDS.len() {
        let log = Log::new(log.clone());
        tokio::spawn(watch::follow(client.clone(), KINDS, index, changes.clone(), waited_for.clone(), log));
    }
    let network = Network { client, fabric, internet, log, objects: Objects::new(KINDS), in_force: InForce::default() };
    tokio::spawn(network.run(changed, progress));
    Follower { seen, wanted }
}

struct Network {
    client: kube::Client,
    fabric: Fabric,
    internet: Internet,
    log: Arc<dyn Fn(&str) + Send + Sync>,
    objects: Objects,
    in_force: InForce,
}

/// What was put into force last.
#[derive(Default)]
struct InForce {
    names: BTreeMap<String, ServiceName>,
    places: BTreeMap<String, Vec<ServicePlace>>,
    services: Vec<ServicePort>,
    sites: Vec<Site>,
    filters: Vec<Chain>,
    /// uid and generation of the lab's own objects that were told to be in force.
    told: BTreeSet<(String, i64)>,
}

impl Network {
    async fn run(
        mut self,
        mut changed: mpsc::UnboundedReceiver<watch::Change>,
        progress: tokio::sync::watch::Sender<u64>,
    ) {
        while let Some(change) = changed.recv().await {
            let mut differs = self.objects.take(change);
            // The rest of the burst.
            while let Ok(change) = changed.try_recv() {
                differs |= self.objects.take(change);
            }
            if differs {
                self.put_into_force().await;
            }
            if self.objects.is_complete() {
                progress.send_replace(self.objects.seen());
            }
        }
    }

    fn all<K: DeserializeOwned>(&self, kind: &str) -> Vec<K> {
        self.objects.of(kind).filter_map(|object| K::deserialize(object.as_ref()).ok()).collect()
    }

    async fn put_into_force(&mut self) {
        let services = services::State { services: self.all("Service"), slices: self.all("EndpointSlice") };
        let names = services.names();
        if names != self.in_force.names {
            self.internet.set_services(names.clone());
            self.in_force.names = names;
        }
        let places = services.places();
        if places != self.in_force.places {
            self.internet.set_service_ports(places.clone());
            self.in_force.places = places;
        }
        let ports = services.ports();
        if ports != self.in_force.services {
            match self.fabric.route_services(ports.clone()).await {
                Ok(()) => self.in_force.services = ports,
                Err(obstacle) => self.complain(&obstacle),
            }
        }
        for port in self.outside_ports() {
            if let Err(obstacle) = self.internet.open_port(port).await {
                self.complain(&obstacle);
            }
        }
        let specs = self.objects.of("Site").filter_map(|site| Site::read(&site["spec"]).ok());
        let sites: Vec<Site> = specs.collect();
        if sites != self.in_force.sites {
            match self.internet.set_sites(sites.clone()).await {
                Ok(()) => self.in_force.sites = sites,
                Err(obstacle) => self.complain(&obstacle),
            }
        }
        let filters = self.filters();
        if filters != self.in_force.filters {
            match self.fabric.set_filters(filters.clone()).await {
                Ok(()) => self.in_force.filters = filters,
                Err(obstacle) => self.complain(&obstacle),
            }
        }
        self.give_addresses(&services.services).await;
        self.tell_in_force().await;
    }

    /// As a cloud's controller: addresses of load balancers. Their routing follows when the API tells of them.
    async fn give_addresses(&self, services: &[Service]) {
        for (namespace, name, status) in load_balancer::changes(services) {
            let api: Api<Service> = Api::namespaced(self.client.clone(), &namespace);
            match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await {
                Ok(_) => {}
                // It is gone already.
                Err(kube::Error::Api(refusal)) if refusal.code == 404 => {}
                Err(error) => self.complain(&format!("status of Service {namespace}/{name}: {error}")),
            }
        }
    }

    fn complain(&self, obstacle: &dyn std::fmt::Display) {
        (self.log)(&obstacle.to_string());
    }

    /// Ports that configuration reaches outside hosts by.
    fn outside_ports(&self) -> BTreeSet<u16> {
        let mut ports = BTreeSet::new();
        let mut take = |number: &Value| ports.extend(number.as_u64().and_then(|number| u16::try_from(number).ok()));
        for entry in self.objects.of("ServiceEntry") {
            for port in entry["spec"]["ports"].as_array().into_iter().flatten() {
                take(&port["number"]);
                take(&port["targetPort"]);
            }
            for endpoint in entry["spec"]["endpoints"].as_array().into_iter().flatten() {
                endpoint["ports"].as_object().into_iter().flatten().for_each(|(_, number)| take(number));
            }
        }
        for entry in self.objects.of("WorkloadEntry") {
            entry["spec"]["ports"].as_object().into_iter().flatten().for_each(|(_, number)| take(number));
        }
        ports.remove(&0);
        ports
    }

    fn filters(&self) -> Vec<Chain> {
        let pods: Vec<Pod> = self.all("Pod");
        let cuts = self.objects.of("Cut").filter_map(|cut| Cut::read(&cut["spec"]).ok());
        let outside = |host: &str| self.internet.outside_address(host);
        let rules: Vec<_> = cuts.flat_map(|cut| cut.rules(&pods, outside)).collect();
        let mut chains = Vec::new();
        if !rules.is_empty() {
            chains.push(Chain { name: "cuts", hook: Hook::Filter(5), rules });
        }
        let neighbours = policy::Neighbours { namespaces: &self.all("Namespace"), pods: &pods };
        chains.extend(policy::chains(&self.all("NetworkPolicy"), &neighbours));
        chains
    }

    /// Writes into the status of the lab's own objects which generation is in force.
    async fn tell_in_force(&mut self) {
        let mut present = BTreeSet::new();
        let mut news = Vec::new();
        for kind in ["Site", "Cut"] {
            for object in self.objects.of(kind) {
                let metadata = &object["metadata"];
                let generation = metadata["generation"].as_i64().unwrap_or(0);
                let mark = (metadata["uid"].as_str().unwrap_or_default().to_string(), generation);
                let known = object["status"]["observedGeneration"].as_i64() == Some(generation);
                if !known && !self.in_force.told.contains(&mark) {
                    news.push((kind, metadata["name"].as_str().unwrap_or_default().to_string(), generation));
                }
                present.insert(mark);
            }
        }
        self.in_force.told = present;
        for (kind, name, generation) in news {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("lab.egress-scn.dev", "v1", kind));
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            let status = json!({ "status": { "observedGeneration": generation } });
            match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await {
                Ok(_) => {}
                // It is gone already.
                Err(kube::Error::Api(refusal)) if refusal.code == 404 => {}
                Err(error) => self.complain(&format!("status of {kind} {name}: {error}")),
            }
        }
    }
}

/// A pod's address, while it has one of its own.
fn pod_address(pod: &Pod) -> Option<Ipv4Addr> {
    let status = pod.status.as_ref()?;
    let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    status.pod_ip.as_deref().filter(|_| !over)?.parse().ok()
}

//! What kube-proxy and the cluster's DNS learn: Services and the ready pods behind them, watched through
//! the API and handed to the lab's network and name server.

use super::fabric::{Fabric, ServicePort};
use super::internet::{Internet, ServiceName};
use super::netfilter::Protocol;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::runtime::watcher;
use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// (namespace, name).
type Key = (String, String);

// One lives a moment at a time: its size does not matter.
#[allow(clippy::large_enum_variant)]
enum Seen {
    Service(watcher::Event<Service>),
    Slice(watcher::Event<EndpointSlice>),
}

#[derive(Default)]
struct State {
    services: HashMap<Key, Service>,
    slices: HashMap<Key, EndpointSlice>,
}

/// Watches for the lab's life.
pub async fn run(client: kube::Client, fabric: Fabric, internet: Internet, log: impl Fn(&str)) {
    let services =
        watcher(Api::<Service>::all(client.clone()), watcher::Config::default()).map(|e| e.map(Seen::Service));
    let slices = watcher(Api::<EndpointSlice>::all(client), watcher::Config::default()).map(|e| e.map(Seen::Slice));
    let mut events = futures::stream::select(services.boxed(), slices.boxed()).ready_chunks(256);
    let mut state = State::default();
    let mut routed = vec![];
    let mut named = BTreeMap::new();
    while let Some(batch) = events.next().await {
        for event in batch {
            match event {
                Ok(Seen::Service(event)) => note(&mut state.services, event),
                Ok(Seen::Slice(event)) => note(&mut state.slices, event),
                Err(error) => log(&format!("watching Services: {error}")),
            }
        }
        let names = state.names();
        if names != named {
            internet.set_services(names.clone());
            named = names;
        }
        let ports = state.ports();
        if ports != routed {
            if let Err(error) = fabric.route_services(ports.clone()).await {
                log(&error.to_string());
            }
            routed = ports;
        }
    }
}

fn note<K>(known: &mut HashMap<Key, K>, event: watcher::Event<K>)
where
    K: k8s_openapi::Metadata<Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>,
{
    let key = |object: &K| {
        let metadata = object.metadata();
        (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
    };
    match event {
        watcher::Event::Init => known.clear(),
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
            known.insert(key(&object), object);
        }
        watcher::Event::Delete(object) => {
            known.remove(&key(&object));
        }
        watcher::Event::InitDone => {}
    }
}

impl State {
    /// What DNS tells, by fully qualified name: cluster addresses, the pods of headless Services, aliases.
    fn names(&self) -> BTreeMap<String, ServiceName> {
        let mut names = BTreeMap::new();
        for (key, service) in &self.services {
            let Some(spec) = &service.spec else { continue };
            let told = match (spec.type_.as_deref(), spec.cluster_ip.as_deref()) {
                (Some("ExternalName"), _) => spec.external_name.clone().map(ServiceName::Alias),
                (_, Some("None")) => {
                    let port = spec.ports.iter().flatten().next().and_then(|port| port.name.as_deref());
                    let mut pods: Vec<Ipv4Addr> = self.endpoints(key, port).iter().map(|pod| *pod.ip()).collect();
                    pods.dedup();
                    Some(ServiceName::Addresses(pods))
                }
                (_, Some(ip)) => ip.parse().ok().map(|ip| ServiceName::Addresses(vec![ip])),
                (_, None) => None,
            };
            let (namespace, name) = key;
            names.extend(told.map(|told| (format!("{name}.{namespace}.svc.cluster.local"), told)));
        }
        names
    }

    fn ports(&self) -> Vec<ServicePort> {
        let mut ports = vec![];
        let sorted: BTreeMap<_, _> = self.services.iter().collect();
        for (key, service) in sorted {
            let Some(spec) = &service.spec else { continue };
            let Some(address) = spec.cluster_ip.as_ref().and_then(|ip| ip.parse().ok()) else { continue };
            for port in spec.ports.iter().flatten() {
                let protocol = match port.protocol.as_deref() {
                    None | Some("TCP") => Protocol::Tcp,
                    Some("UDP") => Protocol::Udp,
                    Some(_) => continue,
                };
                let Ok(number) = u16::try_from(port.port) else { continue };
                let endpoints = self.endpoints(key, port.name.as_deref());
                ports.push(ServicePort { protocol, address, port: number, endpoints });
            }
        }
        ports
    }

    fn endpoints(&self, (namespace, name): &Key, port_name: Option<&str>) -> Vec<SocketAddrV4> {
        let mut found = vec![];
        for ((slice_namespace, _), slice) in &self.slices {
            let labels = slice.metadata.labels.as_ref();
            if slice_namespace != namespace || labels.and_then(|labels| labels.get(SERVICE_NAME)) != Some(name) {
                continue;
            }
            let wanted = port_name.unwrap_or_default();
            let ports = slice.ports.iter().flatten();
            let port =
                ports.filter(|port| port.name.as_deref().unwrap_or_default() == wanted).find_map(|port| port.port);
            let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else { continue };
            for endpoint in &slice.endpoints {
                let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
                if ready {
                    found.extend(
                        endpoint.addresses.iter().filter_map(|a| a.parse().ok()).map(|ip| SocketAddrV4::new(ip, port)),
                    );
                }
            }
        }
        found.sort();
        found
    }
}

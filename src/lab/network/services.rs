//! What kube-proxy and the cluster's DNS make of Services and the ready pods behind them. No I/O.

use super::load_balancer;
use crate::lab::fabric::{GATEWAY, ServicePort};
use crate::lab::internet::{ServiceName, ServicePlace};
use crate::lab::netfilter::Protocol;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const DOMAIN: &str = "svc.cluster.local";

pub struct State {
    pub services: Vec<Service>,
    pub slices: Vec<EndpointSlice>,
}

impl State {
    /// What DNS tells, by fully qualified name: cluster addresses, the pods of headless Services, aliases.
    pub fn names(&self) -> BTreeMap<String, ServiceName> {
        let mut names = BTreeMap::new();
        for service in &self.services {
            let Some(spec) = &service.spec else { continue };
            let full = full_name(service);
            match (spec.type_.as_deref(), spec.cluster_ip.as_deref()) {
                (Some("ExternalName"), _) => {
                    names.extend(spec.external_name.clone().map(|other| (full, ServiceName::Alias(other))));
                }
                (_, Some("None")) => {
                    let everyone = spec.publish_not_ready_addresses == Some(true);
                    let mut pods = Vec::new();
                    for (endpoint, address) in self.members(service, everyone) {
                        pods.push(address);
                        // A pod with a name under the Service's, as a StatefulSet's.
                        if let Some(host) = &endpoint.hostname {
                            names.insert(format!("{host}.{full}"), ServiceName::Addresses(vec![address]));
                        }
                    }
                    pods.sort();
                    pods.dedup();
                    names.insert(full, ServiceName::Addresses(pods));
                }
                (_, Some(ip)) => {
                    names.extend(ip.parse().ok().map(|ip| (full, ServiceName::Addresses(vec![ip]))));
                }
                (_, None) => {}
            }
        }
        names
    }

    /// What DNS tells of named ports: `_PORT._PROTOCOL.SERVICE`.
    pub fn places(&self) -> BTreeMap<String, Vec<ServicePlace>> {
        let mut places = BTreeMap::new();
        for service in &self.services {
            let Some(spec) = &service.spec else { continue };
            let full = full_name(service);
            for port in spec.ports.iter().flatten() {
                let Some(name) = &port.name else { continue };
                let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
                let found: Vec<ServicePlace> = if spec.cluster_ip.as_deref() == Some("None") {
                    let named = self.members(service, false).filter_map(|(endpoint, address)| {
                        let host = endpoint.hostname.clone().unwrap_or_else(|| address.to_string().replace('.', "-"));
                        let port = self.endpoints(service, port.name.as_deref()).first()?.port();
                        Some(ServicePlace { port, target: format!("{host}.{full}") })
                    });
                    named.collect()
                } else {
                    u16::try_from(port.port)
                        .into_iter()
                        .map(|port| ServicePlace { port, target: full.clone() })
                        .collect()
                };
                if !found.is_empty() {
                    places.insert(format!("_{name}._{protocol}.{full}"), found);
                }
            }
        }
        places
    }

    /// What connections to Services' addresses become: their cluster address, load balancers' and other outside ones, and
    /// the node's ports.
    pub fn ports(&self) -> Vec<ServicePort> {
        let mut ports = vec![];
        for service in &self.services {
            let Some(spec) = &service.spec else { continue };
            let Some(own) = spec.cluster_ip.as_ref().and_then(|ip| ip.parse().ok()) else { continue };
            let outside = load_balancer::addresses(service);
            let given = spec.external_ips.iter().flatten().filter_map(|ip| ip.parse().ok());
            let addresses: Vec<Ipv4Addr> = [own].into_iter().chain(outside).chain(given).collect();
            for port in spec.ports.iter().flatten() {
                let protocol = match port.protocol.as_deref() {
                    None | Some("TCP") => Protocol::Tcp,
                    Some("UDP") => Protocol::Udp,
                    Some(_) => continue,
                };
                let Ok(number) = u16::try_from(port.port) else { continue };
                let endpoints = self.endpoints(service, port.name.as_deref());
                let of_node = port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
                let places = addresses.iter().map(|address| (*address, number));
                for (address, port) in places.chain(of_node.map(|port| (GATEWAY, port))) {
                    ports.push(ServicePort { protocol, address, port, endpoints: endpoints.clone() });
                }
            }
        }
        ports
    }

    fn slices<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a EndpointSlice> {
        let (namespace, name) = (&service.metadata.namespace, service.metadata.name.as_ref());
        self.slices.iter().filter(move |slice| {
            let labels = slice.metadata.labels.as_ref();
            slice.metadata.namespace == *namespace && labels.and_then(|labels| labels.get(SERVICE_NAME)) == name
        })
    }

    fn members<'a>(&'a self, service: &'a Service, everyone: bool) -> impl Iterator<Item = (&'a Endpoint, Ipv4Addr)> {
        let ready = move |endpoint: &&Endpoint| everyone || is_ready(endpoint);
        let endpoints = self.slices(service).flat_map(|slice| &slice.endpoints).filter(ready);
        endpoints.flat_map(|endpoint| {
            endpoint.addresses.iter().filter_map(|address| address.parse().ok()).map(move |address| (endpoint, address))
        })
    }

    fn endpoints(&self, service: &Service, port_name: Option<&str>) -> Vec<SocketAddrV4> {
        let wanted = port_name.unwrap_or_default();
        let mut found = vec![];
        for slice in self.slices(service) {
            let ports = slice.ports.iter().flatten();
            let port =
                ports.filter(|port| port.name.as_deref().unwrap_or_default() == wanted).find_map(|port| port.port);
            let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else { continue };
            for endpoint in slice.endpoints.iter().filter(|endpoint| is_ready(endpoint)) {
                let addresses = endpoint.addresses.iter().filter_map(|address| address.parse().ok());
                found.extend(addresses.map(|ip| SocketAddrV4::new(ip, port)));
            }
        }
        found.sort();
        found
    }
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn full_name(service: &Service) -> String {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    format!("{name}.{}.{DOMAIN}", service.metadata.namespace.as_deref().unwrap_or_default())
}

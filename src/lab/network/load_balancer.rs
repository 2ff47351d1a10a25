//! Addresses for Services of type LoadBalancer, as a cloud or MetalLB gives them: in the node's network, where outside
//! clients reach them. No I/O.

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The addresses there are: 172.18.255.200 to 172.18.255.250.
const POOL: std::ops::RangeInclusive<u8> = 200..=250;
const NETWORK: [u8; 3] = [172, 18, 255];

/// The addresses that load balancers have for a Service.
pub fn addresses(service: &Service) -> Vec<Ipv4Addr> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    ingress.filter_map(|place| place.ip.as_ref()?.parse().ok()).filter(is_of_pool).collect()
}

/// Services whose status is to change: namespace, name, status. One that asks for an address (`loadBalancerIP`) gets that
/// one, if it is free; when none is left the rest wait.
pub fn changes(services: &[Service]) -> Vec<(String, String, Value)> {
    let mut taken: BTreeSet<Ipv4Addr> = services.iter().filter(|service| wants(service)).flat_map(addresses).collect();
    let mut found = Vec::new();
    for service in services {
        let has = !addresses(service).is_empty();
        let place = if wants(service) == has {
            continue;
        } else if has {
            json!(null)
        } else {
            let asked = service.spec.as_ref().and_then(|spec| spec.load_balancer_ip.as_ref()?.parse().ok());
            let free = |address: &Ipv4Addr| is_of_pool(address) && !taken.contains(address);
            let mut pool = POOL.map(|last| Ipv4Addr::new(NETWORK[0], NETWORK[1], NETWORK[2], last));
            let Some(address) = asked.filter(free).or_else(|| pool.find(free)) else { continue };
            taken.insert(address);
            json!([{ "ip": address, "ipMode": "VIP" }])
        };
        let (namespace, name) = (service.metadata.namespace.clone(), service.metadata.name.clone());
        let status = json!({ "status": { "loadBalancer": { "ingress": place } } });
        found.extend(namespace.zip(name).map(|(namespace, name)| (namespace, name, status)));
    }
    found
}

fn wants(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    // Another implementation was asked for.
    let other = spec.is_some_and(|spec| spec.load_balancer_class.is_some());
    spec.is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer")) && !other
}

fn is_of_pool(address: &Ipv4Addr) -> bool {
    let [a, b, c, last] = address.octets();
    [a, b, c] == NETWORK && POOL.contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, kind: &str, asked: Option<&str>, has: Option<&str>) -> Service {
        let ingress = has.map(|ip| json!([{ "ip": ip }]));
        serde_json::from_value(json!({ "metadata": { "namespace": "edge", "name": name },
            "spec": { "type": kind, "loadBalancerIP": asked },
            "status": { "loadBalancer": { "ingress": ingress } } }))
        .unwrap()
    }

    #[test]
    fn each_gets_an_address_of_its_own_and_gives_it_back() {
        let services = [
            service("a", "LoadBalancer", None, Some("172.18.255.200")),
            service("b", "LoadBalancer", None, None),
            service("c", "LoadBalancer", Some("172.18.255.230"), None),
            service("d", "LoadBalancer", Some("8.8.8.8"), None),
            service("e", "ClusterIP", None, Some("172.18.255.201")),
            service("f", "ClusterIP", None, None),
        ];
        let changes = changes(&services);
        let ips: Vec<_> = changes
            .iter()
            .map(|(_, name, status)| (name.as_str(), status["status"]["loadBalancer"]["ingress"][0]["ip"].clone()))
            .collect();
        let expected = [
            ("b", json!("172.18.255.201")),
            ("c", json!("172.18.255.230")),
            ("d", json!("172.18.255.202")),
            ("e", json!(null)),
        ];
        assert_eq!(ips, expected);
    }
}

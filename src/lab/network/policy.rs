//! NetworkPolicy as netfilter rules. As in Kubernetes: a pod that a policy of a direction selects is isolated in that
//! direction, and gets what any of its policies allows; answers to allowed connections always pass. No I/O.

use super::pod_address;
use crate::api::LabelSelector as Selector;
use crate::lab::capture::{Prefix, prefix};
use crate::lab::fabric::DNS_ADDRESS;
use crate::lab::netfilter::{Act, Chain, Hook, Match, Protocol, Rule};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

/// What policies speak about.
pub struct Neighbours<'a> {
    pub namespaces: &'a [Namespace],
    pub pods: &'a [Pod],
}

/// Where the cluster's DNS would run, for policies that allow it by its pod.
const DNS_NAMESPACE: &str = "kube-system";
const DNS_LABEL: (&str, &str) = ("k8s-app", "kube-dns");

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Ingress,
    Egress,
}

/// A range, and what is left out of it.
struct Range {
    within: Prefix,
    except: Vec<Prefix>,
}

/// The filters that hold the policies; none without policies.
pub fn chains(policies: &[NetworkPolicy], neighbours: &Neighbours<'_>) -> Vec<Chain> {
    let ways = [(Way::Egress, "egress", 10), (Way::Ingress, "ingress", 11)];
    let chain = |(way, name, order)| {
        let rules: Vec<Rule> = neighbours.pods.iter().flat_map(|pod| of_pod(pod, way, policies, neighbours)).collect();
        let standing = Rule { when: vec![Match::Standing], then: Act::Pass };
        let rules: Vec<Rule> = if rules.is_empty() { rules } else { [vec![standing], rules].concat() };
        Chain { name, hook: Hook::Filter(order), rules }
    };
    ways.into_iter().map(chain).filter(|chain| !chain.rules.is_empty()).collect()
}

fn of_pod(pod: &Pod, way: Way, policies: &[NetworkPolicy], neighbours: &Neighbours<'_>) -> Vec<Rule> {
    let Some(address) = pod_address(pod) else { return Vec::new() };
    if pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
        return Vec::new();
    }
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let own = policies.iter().filter(|policy| {
        let Some(spec) = &policy.spec else { return false };
        let selector = spec.pod_selector.clone().unwrap_or_default();
        policy.metadata.namespace == pod.metadata.namespace && governs(policy, way) && matches(&selector, &labels)
    });
    let mut rules = Vec::new();
    let mut isolated = false;
    let here = match way {
        Way::Egress => Match::Source(address, 32),
        Way::Ingress => Match::Destination(address, 32),
    };
    for policy in own {
        isolated = true;
        for (peers, ports) in allowed(policy, way) {
            let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
            let ranges = ranges(&peers, namespace, neighbours);
            for range in &ranges {
                for port in port_matches(&ports, way, pod, range, neighbours) {
                    rules.extend(allow(here, way, range, &port));
                }
            }
        }
    }
    if isolated {
        rules.push(Rule { when: vec![here], then: Act::Drop });
    }
    rules
}

/// `policyTypes`, which without a word are Ingress, and Egress if there are egress rules.
fn governs(policy: &NetworkPolicy, way: Way) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let name = if way == Way::Ingress { "Ingress" } else { "Egress" };
    match spec.policy_types.as_deref() {
        Some(types) if !types.is_empty() => types.iter().any(|given| given == name),
        _ => way == Way::Ingress || spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
    }
}

type Allowed = (Vec<NetworkPolicyPeer>, Vec<NetworkPolicyPort>);

fn allowed(policy: &NetworkPolicy, way: Way) -> Vec<Allowed> {
    let Some(spec) = &policy.spec else { return Vec::new() };
    let empty = Vec::new;
    match way {
        Way::Ingress => {
            let rules = spec.ingress.iter().flatten();
            rules.map(|r| (r.from.clone().unwrap_or_else(empty), r.ports.clone().unwrap_or_default())).collect()
        }
        Way::Egress => {
            let rules = spec.egress.iter().flatten();
            rules.map(|r| (r.to.clone().unwrap_or_else(empty), r.ports.clone().unwrap_or_default())).collect()
        }
    }
}

/// Where the peers are. No peers: everywhere.
fn ranges(peers: &[NetworkPolicyPeer], namespace: &str, neighbours: &Neighbours<'_>) -> Vec<Range> {
    let single = |within| Range { within, except: Vec::new() };
    if peers.is_empty() {
        return vec![single((std::net::Ipv4Addr::UNSPECIFIED, 0))];
    }
    let mut found = Vec::new();
    for peer in peers {
        if let Some(block) = &peer.ip_block {
            // An IPv6 block has nothing to say here.
            let Ok(within) = prefix(&block.cidr) else { continue };
            let except = block.except.iter().flatten().filter_map(|text| prefix(text).ok()).collect();
            found.push(Range { within, except });
            continue;
        }
        let in_namespace = |name: &str| match &peer.namespace_selector {
            None => name == namespace,
            Some(selector) => matches(selector, &namespace_labels(name, neighbours)),
        };
        let selector = peer.pod_selector.clone().unwrap_or_default();
        for pod in neighbours.pods {
            let of = pod.metadata.namespace.as_deref().unwrap_or_default();
            let labels = pod.metadata.labels.clone().unwrap_or_default();
            if in_namespace(of) && matches(&selector, &labels) {
                found.extend(pod_address(pod).map(|address| single((address, 32))));
            }
        }
        let dns = Labels::from([(DNS_LABEL.0.to_string(), DNS_LABEL.1.to_string())]);
        if in_namespace(DNS_NAMESPACE) && matches(&selector, &dns) {
            found.push(single((DNS_ADDRESS, 32)));
        }
    }
    found
}

fn namespace_labels(name: &str, neighbours: &Neighbours<'_>) -> Labels {
    let object = neighbours.namespaces.iter().find(|object| object.metadata.name.as_deref() == Some(name));
    let mut labels = object.and_then(|object| object.metadata.labels.clone()).unwrap_or_default();
    labels.insert("kubernetes.io/metadata.name".into(), name.into());
    labels
}

fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let labels: Map<String, Value> = labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    Selector::from_object(&json!(selector)).matches(Some(&labels))
}

/// What a packet's protocol and port must be, one entry for each way to fit. No ports: anything.
fn port_matches(
    ports: &[NetworkPolicyPort],
    way: Way,
    pod: &Pod,
    range: &Range,
    neighbours: &Neighbours<'_>,
) -> Vec<Vec<Match>> {
    if ports.is_empty() {
        return vec![Vec::new()];
    }
    let mut found = Vec::new();
    for port in ports {
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => Protocol::Tcp,
            Some("UDP") => Protocol::Udp,
            Some(_) => continue,
        };
        let protocol = Match::Protocol(protocol);
        match &port.port {
            None => found.push(vec![protocol]),
            Some(IntOrString::Int(number)) => {
                let Ok(first) = u16::try_from(*number) else { continue };
                let last = port.end_port.and_then(|last| u16::try_from(last).ok()).unwrap_or(first);
                found.push(vec![protocol, Match::DestinationPorts(first, last)]);
            }
            Some(IntOrString::String(name)) => {
                // The port of that name on the pod that is connected to.
                let target = match way {
                    Way::Ingress => Some(pod),
                    Way::Egress => neighbours
                        .pods
                        .iter()
                        .find(|pod| range.within.1 == 32 && pod_address(pod) == Some(range.within.0)),
                };
                let number = target.and_then(|pod| named_port(pod, name));
                found.extend(number.map(|number| vec![protocol, Match::DestinationPort(number)]));
            }
        }
    }
    found
}

fn named_port(pod: &Pod, name: &str) -> Option<u16> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let port = ports.find(|port| port.name.as_deref() == Some(name))?;
    u16::try_from(port.container_port).ok()
}

fn allow(here: Match, way: Way, range: &Range, port: &[Match]) -> Vec<Rule> {
    let there = |(address, length): Prefix| match way {
        Way::Egress => Match::Destination(address, length),
        Way::Ingress => Match::Source(address, length),
    };
    let rule = |place: Prefix, then| Rule { when: [&[here, there(place)], port].concat(), then };
    if range.except.is_empty() {
        return vec![rule(range.within, Act::Pass)];
    }
    // What is left of the range without the exceptions: another rule may allow an exception, so it cannot be dropped here.
    without(range.within, &range.except).into_iter().map(|place| rule(place, Act::Pass)).collect()
}

/// A range cut into those that hold none of the exceptions.
fn without(range: Prefix, except: &[Prefix]) -> Vec<Prefix> {
    let holds = |(outer, length): Prefix, (inner, inner_length): Prefix| {
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        length <= inner_length && u32::from(outer) & mask == u32::from(inner) & mask
    };
    if except.iter().any(|out| holds(*out, range)) {
        return Vec::new();
    }
    if !except.iter().any(|out| holds(range, *out)) {
        return vec![range];
    }
    let (network, length) = (u32::from(range.0), range.1 + 1);
    let mask = u32::MAX.checked_shl(32 - u32::from(range.1)).unwrap_or(0);
    let halves = [network & mask, network & mask | 1 << (32 - u32::from(length))];
    halves.into_iter().flat_map(|half| without((half.into(), length), except)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn pod(namespace: &str, app: &str, last: u8) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": app, "namespace": namespace, "labels": {"app": app}},
            "spec": {"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}]},
            "status": {"podIP": format!("10.244.0.{last}")}}))
        .unwrap()
    }

    fn rules(policy: serde_json::Value) -> Vec<Chain> {
        let pods = [pod("a", "sleep", 10), pod("a", "web", 11), pod("b", "web", 12)];
        let namespaces: Vec<Namespace> = ["a", "b"]
            .map(|name| serde_json::from_value(json!({"metadata": {"name": name, "labels": {"team": name}}})).unwrap())
            .to_vec();
        let policy = json!({"metadata": {"name": "p", "namespace": "a"}, "spec": policy});
        chains(&[serde_json::from_value(policy).unwrap()], &Neighbours { namespaces: &namespaces, pods: &pods })
    }

    fn at(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, 0, last)
    }

    #[test]
    fn an_empty_policy_lets_nothing_in_and_everything_out() {
        let chains = rules(json!({"podSelector": {"matchLabels": {"app": "web"}}}));
        assert_eq!(chains.len(), 1);
        let dropped = Rule { when: vec![Match::Destination(at(11), 32)], then: Act::Drop };
        assert_eq!(chains[0].rules, [Rule { when: vec![Match::Standing], then: Act::Pass }, dropped]);
    }

    #[test]
    fn peers_are_pods_of_namespaces_and_ports_have_names() {
        let chains = rules(
            json!({"podSelector": {"matchLabels": {"app": "sleep"}}, "policyTypes": ["Egress"], "egress": [
            {"to": [{"namespaceSelector": {"matchLabels": {"team": "b"}}, "podSelector": {"matchLabels": {"app": "web"}}}],
             "ports": [{"port": "web"}]},
            {"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
             "ports": [{"port": 53, "protocol": "UDP"}]}]}),
        );
        let allowed: Vec<&[Match]> = chains[0].rules[1..3].iter().map(|rule| rule.when.as_slice()).collect();
        let here = Match::Source(at(10), 32);
        let web = [here, Match::Destination(at(12), 32), Match::Protocol(Protocol::Tcp), Match::DestinationPort(8080)];
        let dns = [
            here,
            Match::Destination(DNS_ADDRESS, 32),
            Match::Protocol(Protocol::Udp),
            Match::DestinationPorts(53, 53),
        ];
        assert_eq!(allowed, [web.as_slice(), dns.as_slice()]);
        assert_eq!(chains[0].rules[3], Rule { when: vec![here], then: Act::Drop });
    }

    #[test]
    fn an_exception_is_cut_out_of_its_range() {
        let left = without((Ipv4Addr::new(10, 0, 0, 0), 30), &[(Ipv4Addr::new(10, 0, 0, 1), 32)]);
        assert_eq!(left, [(Ipv4Addr::new(10, 0, 0, 0), 32), (Ipv4Addr::new(10, 0, 0, 2), 31)]);
    }
}

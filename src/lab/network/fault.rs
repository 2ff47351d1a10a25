//! Faults as objects: the `spec`s of `Cut` and `Kill`; docs/sites.md. No I/O.

use crate::lab::bootstrap::workload_name;
use crate::lab::capture::{Prefix, prefix};
use crate::lab::fabric::DNS_ADDRESS;
use crate::lab::internet::SpecFault;
use crate::lab::netfilter::{Act, Match, Protocol, Rule};
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::Value;
use std::net::Ipv4Addr;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cut {
    /// None: every pod.
    pub from: Option<Workload>,
    /// None: anything.
    pub to: Option<Place>,
    /// Empty: all.
    #[serde(default)]
    pub ports: Vec<u16>,
    #[serde(default)]
    pub effect: Effect,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// A Deployment's name, or a bare pod's.
    pub workload: String,
    pub namespace: String,
}

/// One of the three ways to say where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Place {
    pub workload: Option<String>,
    pub namespace: Option<String>,
    pub host: Option<String>,
    pub address: Option<String>,
    pub dns: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Effect {
    #[default]
    Drop,
    Refuse,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kill {
    pub workload: String,
    pub namespace: String,
    /// None: the pod's first.
    pub container: Option<String>,
    #[serde(default)]
    pub signal: KillSignal,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum KillSignal {
    #[default]
    Kill,
    Term,
}

impl Kill {
    pub fn read(spec: &Value) -> Result<Kill, SpecFault> {
        Kill::deserialize(spec).map_err(|error| SpecFault::new("spec", error.to_string()))
    }
}

impl Cut {
    pub fn read(spec: &Value) -> Result<Cut, SpecFault> {
        let cut = Cut::deserialize(spec).map_err(|error| SpecFault::new("spec", error.to_string()))?;
        if let Some(to) = &cut.to {
            let ways = [to.workload.is_some(), to.host.is_some(), to.address.is_some(), to.dns];
            if ways.iter().filter(|said| **said).count() != 1 || to.workload.is_some() != to.namespace.is_some() {
                let message = "Invalid value: say one of workload and namespace, host, address, or dns: true";
                return Err(SpecFault::new("spec.to", message));
            }
            if let Some(address) = &to.address
                && let Err(expected) = prefix(address)
            {
                return Err(SpecFault::new("spec.to.address", format!("Invalid value: {address:?}: not {expected}")));
            }
        }
        if cut.ports.contains(&0) {
            return Err(SpecFault::new("spec.ports", "Invalid value: 0: must be between 1 and 65535"));
        }
        Ok(cut)
    }

    /// What keeps the packets from getting there. `outside` knows outside names.
    pub fn rules(&self, pods: &[Pod], outside: impl Fn(&str) -> Option<Ipv4Addr>) -> Vec<Rule> {
        let sources: Vec<Option<Prefix>> = match &self.from {
            None => vec![None],
            Some(from) => addresses(pods, &from.workload, &from.namespace).map(Some).collect(),
        };
        let targets: Vec<Option<Prefix>> = match &self.to {
            None => vec![None],
            Some(to) => to.prefixes(pods, outside).into_iter().map(Some).collect(),
        };
        // TCP is reset, and of other packets nobody hears; names are asked for by both.
        let protocols: &[Protocol] = match self.effect {
            Effect::Drop => &[Protocol::Tcp, Protocol::Udp],
            Effect::Refuse => &[Protocol::Tcp],
        };
        let act = if self.effect == Effect::Drop { Act::Drop } else { Act::Reset };
        let mut rules = Vec::new();
        for source in &sources {
            for target in &targets {
                for protocol in protocols {
                    let mut when = vec![Match::Protocol(*protocol)];
                    when.extend(source.map(|(address, length)| Match::Source(address, length)));
                    when.extend(target.map(|(address, length)| Match::Destination(address, length)));
                    if self.ports.is_empty() {
                        rules.push(Rule { when, then: act });
                        continue;
                    }
                    for port in &self.ports {
                        let when = [when.clone(), vec![Match::DestinationPort(*port)]].concat();
                        rules.push(Rule { when, then: act });
                    }
                }
            }
        }
        rules
    }
}

impl Place {
    fn prefixes(&self, pods: &[Pod], outside: impl Fn(&str) -> Option<Ipv4Addr>) -> Vec<Prefix> {
        if self.dns {
            return vec![(DNS_ADDRESS, 32)];
        }
        if let Some(host) = &self.host {
            return outside(host).map(|address| (address, 32)).into_iter().collect();
        }
        if let Some(address) = &self.address {
            return prefix(address).into_iter().collect();
        }
        let (Some(workload), Some(namespace)) = (&self.workload, &self.namespace) else { return Vec::new() };
        addresses(pods, workload, namespace).collect()
    }
}

/// Whether a pod is one of a workload's: a Deployment's, or the pod itself.
pub fn is_of(pod: &Pod, workload: &str, namespace: &str) -> bool {
    let in_namespace = pod.metadata.namespace.as_deref() == Some(namespace);
    in_namespace && (workload_name(pod) == workload || pod.metadata.name.as_deref() == Some(workload))
}

fn addresses<'a>(pods: &'a [Pod], workload: &'a str, namespace: &'a str) -> impl Iterator<Item = Prefix> + 'a {
    let of_workload = pods.iter().filter(move |pod| is_of(pod, workload, namespace));
    of_workload.filter_map(super::pod_address).map(|address| (address, 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cut_names_one_place() {
        assert!(Cut::read(&json!({})).is_ok());
        assert!(Cut::read(&json!({"to": {"host": "a.example", "dns": true}})).is_err());
        assert!(Cut::read(&json!({"to": {"workload": "a"}})).is_err());
        let wrong = Cut::read(&json!({"to": {"address": "x"}})).unwrap_err();
        assert_eq!(wrong.field, "spec.to.address");
        assert!(Kill::read(&json!({"workload": "a", "namespace": "b", "signal": "HUP"})).is_err());
    }

    #[test]
    fn a_cut_is_a_rule_for_each_pod_port_and_protocol() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "sleep-5d-x", "namespace": "a",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "sleep-5d", "uid": "u", "controller": true}]},
            "status": {"podIP": "10.244.0.10"}}))
        .unwrap();
        let cut = json!({"from": {"workload": "sleep", "namespace": "a"}, "to": {"host": "x.example"}, "ports": [443], "effect": "Refuse"});
        let rules = Cut::read(&cut).unwrap().rules(&[pod], |_| Some(Ipv4Addr::new(203, 0, 113, 9)));
        let when = vec![
            Match::Protocol(Protocol::Tcp),
            Match::Source(Ipv4Addr::new(10, 244, 0, 10), 32),
            Match::Destination(Ipv4Addr::new(203, 0, 113, 9), 32),
            Match::DestinationPort(443),
        ];
        assert_eq!(rules, [Rule { when, then: Act::Reset }]);
    }
}

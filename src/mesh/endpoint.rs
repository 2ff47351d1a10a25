//! Endpoints: of clusters that hold them, and the load assignments of the others.

use super::Resource;
use super::cluster::draft::Kind;
use super::cluster::{Clusters, OfService, outbound_name, sni_name};
use super::destination_rule::{Rule, subset_policy};
use super::json::{labels_match, list, message, present, text, unsigned};
use super::load_balancing::{Group, apply, locality_setting};
use super::memo::{Same, What};
use super::node::Node;
use super::policy::peer_authentication::Mode;
use super::registry::endpoint::{Endpoint, Health, canonical_service};
use super::registry::kubernetes::CLUSTER;
use super::registry::service::{Port, Service};
use super::subsets::{Filler, Subsets};
use crate::message::MARK;
use serde_json::{Map, Value};
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The endpoints of one service port, or of a subset of it.
pub struct Locator<'a> {
    node: &'a Node<'a>,
    service: &'a Service,
    port: &'a Port,
    subset: String,
    rule: Option<Rule<'a>>,
    labels: Option<BTreeMap<String, String>>,
}

impl<'a> Locator<'a> {
    pub fn new(node: &'a Node<'a>, service: &'a Service, port: &'a Port, subset: &str, rule: Option<Rule<'a>>) -> Self {
        let labels = if subset.is_empty() { None } else { rule.and_then(|r| r.subset_labels(subset)) };
        Self { node, service, port, subset: subset.to_owned(), rule, labels }
    }

    /// What a cluster that holds its endpoints gets.
    pub fn for_cluster(&self) -> Vec<Arc<Endpoint>> {
        self.node.scope.endpoints_by_port(self.service, self.port.number, self.labels.as_ref())
    }

    /// What a load assignment gets: by the port's name, and only addresses.
    fn for_assignment(&self) -> Vec<Arc<Endpoint>> {
        self.node
            .scope
            .endpoints(self.service)
            .iter()
            .filter(|e| e.port_name == self.port.name)
            .filter(|e| e.address.is_empty() || e.port == 0 || e.address.parse::<std::net::IpAddr>().is_ok())
            .filter(|e| self.labels.as_ref().is_none_or(|l| labels_match(l, &e.labels)))
            .cloned()
            .collect()
    }

    fn visible(&self, endpoint: &Endpoint) -> bool {
        if self.service.node_local && endpoint.node != self.node_name() {
            return false;
        }
        match endpoint.health {
            Health::Terminating => false,
            Health::Unhealthy => self.service.sends_unready(),
            Health::Healthy | Health::Unknown => true,
        }
    }

    fn node_name(&self) -> &str {
        self.node.metadata("NODE_NAME")
    }

    /// The TLS mode that the rule gives for this port and subset, if any.
    fn rule_tls_mode(&self) -> Option<String> {
        let rule = self.rule?;
        let policy = match self.subset.as_str() {
            "" => rule.policy(),
            name => &rule.subset(name)?["trafficPolicy"],
        };
        let level = list(&policy["portLevelSettings"])
            .iter()
            .find(|p| unsigned(&p["port"]["number"]) == self.port.number && present(&p["tls"]))
            .map(|p| &p["tls"]);
        let tls = level.unwrap_or(&policy["tls"]);
        present(tls).then(|| text(&tls["mode"]).to_owned())
    }

    fn mtls(&self, endpoint: &Endpoint, by_rule: Option<&str>) -> bool {
        match by_rule {
            Some(mode) => mode == "ISTIO_MUTUAL",
            None => {
                endpoint.accepts_mtls()
                    && self
                        .node
                        .push
                        .peer_authentications
                        .compose(&endpoint.namespace, &endpoint.labels)
                        .for_port(endpoint.port)
                        != Mode::Disable
            }
        }
    }

    /// The policy in force for this port and subset.
    fn policy(&self) -> Value {
        let Some(rule) = self.rule else { return Value::Null };
        let subset = rule.subset(&self.subset).map_or(&Value::Null, |s| &s["trafficPolicy"]);
        subset_policy(rule.policy(), subset, self.port.number)
    }
}

/// Endpoints grouped by locality. `cluster` is named in the push status when there are none.
pub fn localities(locator: &Locator, cluster: &str, endpoints: Vec<Arc<Endpoint>>) -> Vec<Group> {
    let by_rule = locator.rule_tls_mode();
    let mut grouped: BTreeMap<&str, Vec<&Arc<Endpoint>>> = BTreeMap::new();
    for endpoint in endpoints.iter().filter(|e| locator.visible(e)) {
        grouped.entry(&endpoint.locality).or_default().push(endpoint);
    }
    if grouped.is_empty() {
        locator.node.push.report.metric("pilot_eds_no_instances", cluster, "", "");
    }
    grouped
        .into_iter()
        .map(|(locality, endpoints)| {
            let weight: u32 = endpoints.iter().fold(0, |sum, e| sum.saturating_add(e.weight));
            let all: Vec<Value> =
                endpoints.iter().map(|e| lb_endpoint(e, locator.mtls(e, by_rule.as_deref()))).collect();
            Group {
                body: message! {
                    "locality": locality_value(locality),
                    "lbEndpoints": all,
                    "loadBalancingWeight": weight,
                },
                members: endpoints.into_iter().cloned().collect(),
            }
        })
        .collect()
}

/// `region/zone/subzone` as Envoy has it.
pub fn locality_value(locality: &str) -> Value {
    let mut out = Map::new();
    for (key, part) in ["region", "zone", "subZone"].iter().zip(locality.splitn(3, '/')) {
        super::json::put(&mut out, key, Value::from(part));
    }
    Value::Object(out)
}

fn lb_endpoint(endpoint: &Endpoint, mtls: bool) -> Value {
    let mut metadata = Map::new();
    if mtls && !endpoint.tls_mode.is_empty() && endpoint.tls_mode != "disabled" {
        metadata.insert("envoy.transport_socket_match".to_owned(), message! {"tlsMode": endpoint.tls_mode.as_str()});
    }
    let (service, revision) = canonical_service(&endpoint.labels, &endpoint.workload);
    let revision = if revision == "latest" { "" } else { revision };
    let workload = format!("{};{};{service};{revision};{CLUSTER}", endpoint.workload, endpoint.namespace);
    metadata.insert("istio".to_owned(), message! {"workload": workload});
    let address = match endpoint.port {
        0 if endpoint.address.starts_with('/') || endpoint.address.starts_with('@') => {
            message! {"pipe": message! {"path": endpoint.address.as_str()}}
        }
        port => message! {
            "socketAddress": message! {"address": endpoint.address.as_str(), "portValue": port},
        },
    };
    let mut out = super::json::into_map(message! {
        "endpoint": message! {"address": address},
        "loadBalancingWeight": endpoint.weight,
        "metadata": message! {"filterMetadata": metadata},
    });
    match endpoint.health {
        Health::Healthy => out.insert("healthStatus".to_owned(), Value::from("HEALTHY")),
        Health::Unhealthy => out.insert("healthStatus".to_owned(), Value::from("UNHEALTHY")),
        _ => None,
    };
    Value::Object(out)
}

/// What a cluster that asks for a load assignment is of.
#[derive(Clone, Copy)]
struct Asked<'a> {
    service: &'a Arc<Service>,
    port: &'a Port,
    /// `None` for the whole service.
    subset: Option<&'a Value>,
    for_sni: bool,
}

impl<'a> Asked<'a> {
    fn locator(&self, node: &'a Node<'a>) -> Locator<'a> {
        let name = self.subset.map_or("", |subset| text(&subset["name"]));
        Locator::new(node, self.service, self.port, name, node.scope.rule(node.proxy, &self.service.hostname, true))
    }
}

/// The load assignments of the clusters that ask for one.
pub fn build(node: &Node, clusters: &Clusters) -> Vec<Resource> {
    if clusters.as_made {
        let mut out = Vec::with_capacity(clusters.all.len());
        clusters.by_service.iter().for_each(|of| out.extend_from_slice(&of_service(node, of)));
        return out;
    }
    let all = OnceCell::new();
    let asks = |cluster: &Resource| {
        if !asks_for_assignment(cluster) {
            return None;
        }
        let asked = asked_by_name(node, &cluster.name)
            .unwrap_or_else(|| all.get_or_init(|| all_asked(node)).get(&*cluster.name).copied())?;
        Some(of_cluster(node, cluster, asked))
    };
    clusters.all.iter().filter_map(asks).collect()
}

fn asks_for_assignment(cluster: &Resource) -> bool {
    text(&cluster.body.shape()["type"]) == Kind::Eds.name()
}

/// The load assignments of a service's clusters, which are as they were made.
fn of_service(node: &Node, of: &OfService) -> Arc<[Resource]> {
    let OfService { service, sni, clusters } = of;
    let key = (service.hostname.clone(), *sni);
    let given = (service.clone(), Same(clusters.clone()));
    node.memo.pieces.assignments.get(node, key, given, || {
        let rule = node.scope.rule(node.proxy, &service.hostname, true);
        let subsets = Subsets::new(rule);
        let named = if *sni { sni_name } else { outbound_name };
        let what = if *sni { What::SniAssignment } else { What::Assignment };
        let mut out = Vec::new();
        let mut clusters = clusters.iter().peekable();
        for port in &service.ports {
            let mut filler = Filler::new(node, service, port, what);
            let whole = Asked { service, port, subset: None, for_sni: *sni };
            let all = rule.map_or(&[][..], Rule::subsets);
            for place in std::iter::once(None).chain((0..all.len()).map(Some)) {
                let asked = Asked { subset: place.and_then(|place| all.get(place)), ..whole };
                let name = place.map_or_else(Arc::default, |place| subsets.name(place));
                // Not every subset has a cluster.
                let Some(cluster) = clusters.next_if(|c| *c.name == named(port.number, &name, &service.hostname))
                else {
                    continue;
                };
                if !asks_for_assignment(cluster) {
                    continue;
                }
                let filled = asked.subset.and_then(|subset| {
                    let marked = named(port.number, MARK, &service.hostname);
                    filler.fill(subset, name, || Some(assignment(&asked.locator(node), &marked, *sni)))
                });
                out.push(match filled {
                    Some(body) => Resource { name: cluster.name.clone(), body, origins: cluster.origins.clone() },
                    None => of_cluster(node, cluster, asked),
                });
            }
        }
        out.into()
    })
}

/// What a cluster is of, by the parts of its name. The outer `None`: the name does not tell.
fn asked_by_name<'a>(node: &'a Node, name: &str) -> Option<Option<Asked<'a>>> {
    let for_sni = name.starts_with("outbound_.");
    let separator = if for_sni { "_." } else { "|" };
    let mut parts = name.split(separator);
    let ("outbound", port, subset, host) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?) else {
        return None;
    };
    let number = port.parse().ok()?;
    if parts.next().is_some() {
        return None;
    }
    let find = || {
        let service = node.scope.service(host)?;
        let port = service.port(number)?;
        let subset = match subset {
            "" => None,
            name => Some(node.scope.rule(node.proxy, host, true)?.subset(name)?),
        };
        Some(Asked { service, port, subset, for_sni })
    };
    Some(find())
}

/// What any cluster of the services in scope would be of, by its name.
fn all_asked<'a>(node: &'a Node) -> HashMap<String, Asked<'a>> {
    let mut asked = HashMap::new();
    for service in node.scope.services() {
        let rule = node.scope.rule(node.proxy, &service.hostname, true);
        let subsets = rule.map_or(&[][..], |r| r.subsets());
        for subset in std::iter::once(None).chain(subsets.iter().map(Some)) {
            let name = subset.map_or("", |s| text(&s["name"]));
            let subset = subset.filter(|_| !name.is_empty());
            for port in &service.ports {
                let host = &service.hostname;
                let names =
                    [(outbound_name(port.number, name, host), false), (sni_name(port.number, name, host), true)];
                for (name, for_sni) in names {
                    asked.entry(name).or_insert(Asked { service, port, subset, for_sni });
                }
            }
        }
    }
    asked
}

fn of_cluster(node: &Node, cluster: &Resource, asked: Asked) -> Resource {
    Resource {
        name: cluster.name.clone(),
        body: assignment(&asked.locator(node), &cluster.name, asked.for_sni).into(),
        origins: cluster.origins.clone(),
    }
}

fn assignment(locator: &Locator, cluster: &str, for_sni: bool) -> Value {
    let mut groups = localities(locator, cluster, locator.for_assignment());
    if for_sni {
        keep_mtls(&mut groups);
    }
    let policy = locator.policy();
    let (setting, forced) = locality_setting(locator.node, &policy["loadBalancer"], locator.service);
    let endpoints = apply(locator.node, groups, &setting, forced || present(&policy["outlierDetection"]));
    let mut body = super::json::into_map(message! {"clusterName": cluster});
    super::json::put(&mut body, "endpoints", Value::Array(endpoints));
    Value::Object(body)
}

/// Traffic passed through by SNI is mutual TLS: only endpoints that accept it are of use.
fn keep_mtls(groups: &mut [Group]) {
    for group in groups.iter_mut() {
        let group = &mut group.body;
        let mut weight: u32 = 0;
        if let Some(all) = group.get_mut("lbEndpoints").and_then(Value::as_array_mut) {
            all.retain(|e| {
                text(&e["metadata"]["filterMetadata"]["envoy.transport_socket_match"]["tlsMode"]) == "istio"
            });
            weight = all.iter().map(|e| unsigned(&e["loadBalancingWeight"])).sum();
        }
        // A group that lost all its endpoints stays, empty.
        if let Some(map) = group.as_object_mut() {
            if weight == 0 {
                map.remove("lbEndpoints");
                map.remove("loadBalancingWeight");
            } else {
                map.insert("loadBalancingWeight".to_owned(), Value::from(weight));
            }
        }
    }
}

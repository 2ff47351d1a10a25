//! Clusters towards services: one for each port, and one for each subset of a DestinationRule.

use super::draft::{Draft, Kind};
use super::traffic_policy::{Purpose, apply_traffic_policy, preserves_header_case, set_upstream_protocol};
use super::{OfService, outbound_name, sni_name};
use crate::mesh::destination_rule::{Rule, port_policy, subset_policy};
use crate::mesh::endpoint::{Locator, localities};
use crate::mesh::json::{message, present, text};
use crate::mesh::memo::What;
use crate::mesh::node::Node;
use crate::mesh::protocol::Protocol;
use crate::mesh::registry::service::{Port, Registry, Resolution, Service};
use crate::mesh::stat_name::{self, Subject};
use crate::mesh::subsets::{Filler, Subsets};
use crate::mesh::{Origin, Resource};
use crate::message::MARK;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub fn build(node: &Node) -> Vec<OfService> {
    let services = node.scope.services().iter().filter(|s| s.resolution != Resolution::Alias);
    services.map(|service| of_service(node, service, false)).collect()
}

/// Clusters named after an SNI, for gateways that pass mesh traffic through.
pub fn build_sni(node: &Node) -> Vec<OfService> {
    let services = node.scope.services().iter().filter(|s| !s.mesh_external);
    services.map(|service| of_service(node, service, true)).collect()
}

fn of_service(node: &Node, service: &Arc<Service>, sni: bool) -> OfService {
    let make = || {
        let rule = node.scope.rule(node.proxy, &service.hostname, true);
        if service.is_wildcard_dynamic() && !sni {
            return ports_of(service).filter_map(|port| forward_proxy(node, service, port, rule)).collect();
        }
        let subsets = Subsets::new(rule);
        let mut out = Vec::new();
        for port in ports_of(service) {
            Ports { node, service, port, rule, sni, subsets: &subsets }.build(&mut out);
        }
        out.into()
    };
    let key = (service.hostname.clone(), sni);
    OfService {
        service: service.clone(),
        sni,
        clusters: node.memo.pieces.clusters.get(node, key, service.clone(), make),
    }
}

fn ports_of(service: &Service) -> impl Iterator<Item = &Port> {
    service.ports.iter().filter(|p| p.protocol != Protocol::Udp)
}

pub fn kind_of(node: &Node, service: &Service) -> Kind {
    match service.resolution {
        Resolution::Dns if service.race_dns => Kind::LogicalDns,
        Resolution::Dns => Kind::StrictDns,
        Resolution::DnsRoundRobin => Kind::LogicalDns,
        Resolution::Passthrough if node.is_sidecar() => Kind::OriginalDst,
        _ => Kind::Eds,
    }
}

/// One port of one service.
struct Ports<'a> {
    node: &'a Node<'a>,
    service: &'a Arc<Service>,
    port: &'a Port,
    rule: Option<Rule<'a>>,
    sni: bool,
    subsets: &'a Subsets,
}

impl Ports<'_> {
    fn name(&self, subset: &str) -> String {
        let name = if self.sni { sni_name } else { outbound_name };
        name(self.port.number, subset, &self.service.hostname)
    }

    /// The cluster of the port, then those of its subsets. Without the first there are no others.
    fn build(&self, out: &mut Vec<Resource>) {
        let what = if self.sni { What::SniCluster } else { What::Cluster };
        let Some(whole) = self.whole() else { return };
        out.push(whole);
        let Some(rule) = self.rule else { return };
        let mut filler = Filler::new(self.node, self.service, self.port, what);
        let is_first = rule.first_places();
        for (index, subset) in rule.subsets().iter().enumerate() {
            let name = text(&subset["name"]);
            // Endpoints in the cluster itself may be chosen by the subset's labels.
            let holds_endpoints = matches!(self.subset_kind(subset), Kind::StrictDns | Kind::LogicalDns);
            // A name means the first subset that has it.
            let filled = if name.is_empty() || !is_first(name, index) || holds_endpoints {
                None
            } else {
                let make = || self.subset_draft(rule, MARK, subset).map(Draft::build);
                filler.fill(subset, self.subsets.name(index), make)
            };
            out.extend(match filled {
                Some(body) => {
                    let origins = self.subsets.origins[index].get_or_init(|| self.subset_origins(rule, index).into());
                    Some(Resource { name: self.name(name).into(), body, origins: origins.clone() })
                }
                None => self.subset(rule, index, subset),
            });
        }
    }

    fn purpose(&self, subset: &str, own_policy: &Value) -> Purpose<'_> {
        Purpose {
            service: Some(self.service),
            port: self.port,
            accounts: if self.sni { &[] } else { self.node.scope.accounts(self.service) },
            sni: if self.sni { String::new() } else { sni_name(self.port.number, subset, &self.service.hostname) },
            for_sni: self.sni,
            mesh_external: !self.sni && self.service.mesh_external,
            external_registry: !self.sni && self.service.registry == Registry::External,
            mtls_mode: self.node.service_mtls_mode(own_policy, self.service, self.port.number),
            selected: self.rule.is_some_and(Rule::has_selector),
            dynamic: false,
        }
    }

    /// The rule's policy for the port.
    fn policy(&self) -> Value {
        port_policy(self.rule.map_or(&Value::Null, |r| r.policy()), self.port.number).0
    }

    fn whole(&self) -> Option<Resource> {
        let mut draft = self.draft("", kind_of(self.node, self.service))?;
        let rule_policy = self.rule.map_or(&Value::Null, |r| r.policy());
        let policy = self.policy();
        apply_traffic_policy(self.node, &mut draft, &policy, &self.purpose("", rule_policy));
        apply_eds(&mut draft);
        if self.service.mesh_external {
            draft.istio_metadata().insert("external".to_owned(), json!(true));
        }
        if let Some(rule) = self.rule {
            draft.istio_metadata().insert("config".to_owned(), Value::from(rule.config_path()));
            add_alpn_override(&mut draft, &policy);
        }
        let mut origins = self.origins();
        origins.extend(self.rule.map(|r| r.policy_origin().clone()));
        Some(Resource::new(draft.name.clone(), draft.build(), origins))
    }

    fn subset(&self, rule: Rule, index: usize, subset: &Value) -> Option<Resource> {
        let draft = self.subset_draft(rule, text(&subset["name"]), subset)?;
        Some(Resource::new(draft.name.clone(), draft.build(), self.subset_origins(rule, index)))
    }

    fn subset_kind(&self, subset: &Value) -> Kind {
        match text(&subset["trafficPolicy"]["loadBalancer"]["simple"]) {
            "PASSTHROUGH" => Kind::OriginalDst,
            _ => kind_of(self.node, self.service),
        }
    }

    fn subset_origins(&self, rule: Rule, index: usize) -> Vec<Origin> {
        let mut origins = self.origins();
        origins.extend(rule.subset_origin(index).cloned());
        if present(rule.policy()) {
            origins.push(rule.policy_origin().clone());
        }
        origins
    }

    fn subset_draft(&self, rule: Rule, name: &str, subset: &Value) -> Option<Draft> {
        let own = &subset["trafficPolicy"];
        let mut draft = self.draft(name, self.subset_kind(subset))?;
        let policy = subset_policy(&self.policy(), own, self.port.number);
        apply_traffic_policy(self.node, &mut draft, &policy, &self.purpose(name, own));
        apply_eds(&mut draft);
        let metadata = draft.istio_metadata();
        metadata.insert("config".to_owned(), Value::from(rule.config_path()));
        metadata.insert("subset".to_owned(), Value::from(name));
        add_alpn_override(&mut draft, &policy);
        Some(draft)
    }

    fn origins(&self) -> Vec<Origin> {
        vec![self.service.origin.clone()]
    }

    /// The cluster before any policy; `None` when it needs endpoints of its own and has none.
    fn draft(&self, subset: &str, kind: Kind) -> Option<Draft> {
        let name = self.name(subset);
        let mut draft = Draft::new(&name, kind);
        draft.set("commonLbConfig", json!({}));
        match kind {
            Kind::StrictDns | Kind::LogicalDns => {
                apply_dns(self.node, &mut draft, self.service);
                let groups = match self.service.is_dns() {
                    true => {
                        let locator = Locator::new(self.node, self.service, self.port, subset, self.rule);
                        localities(&locator, &self.name(""), locator.for_cluster())
                    }
                    false => Vec::new(),
                };
                if groups.is_empty() {
                    let message = format!("{} cluster without endpoints {name} found while pushing CDS", kind.name());
                    self.node.push.report.metric(
                        "pilot_dns_cluster_without_endpoints",
                        &name,
                        &self.node.id(),
                        &message,
                    );
                    return None;
                }
                draft.groups = groups;
            }
            Kind::OriginalDst => {
                if let Some(port) = self.service.passthrough_ports.get(&self.port.number) {
                    draft.set("originalDstLbConfig", json!({"upstreamPortOverride": port}));
                }
            }
            _ => {}
        }
        let preserve_case = preserves_header_case(self.node);
        set_upstream_protocol(self.node, &mut draft, self.port.protocol, preserve_case);
        let service = self.service;
        let subject = Subject {
            host: &service.hostname,
            service: Some(service),
            subset,
            port: self.port.number,
            port_name: &self.port.name,
            target_port: 0,
        };
        if let Some(name) = stat_name::outbound(self.node, &subject) {
            draft.set("altStatName", Value::from(format!("{name};")));
        }
        draft.istio_metadata().insert(
            "services".to_owned(),
            Value::Array(vec![message! {
                "host": service.hostname.as_str(),
                "name": service.name.as_str(),
                "namespace": service.namespace.as_str(),
            }]),
        );
        Some(draft)
    }
}

fn apply_dns(node: &Node, draft: &mut Draft, service: &Service) {
    draft.set("dnsLookupFamily", Value::from(if service.race_dns { "ALL" } else { "V4_ONLY" }));
    draft.set("dnsJitter", Value::from("0.100s"));
    draft.set("dnsRefreshRate", node.push.mesh.dns_refresh_rate.clone());
    draft.set("respectDnsTtl", json!(true));
    draft.set(
        "typedDnsResolverConfig",
        json!({
            "name": "envoy.network.dns_resolver.cares",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "udpMaxQueries": 100,
            },
        }),
    );
}

fn apply_eds(draft: &mut Draft) {
    if draft.kind == Kind::Eds {
        let name = draft.name.clone();
        draft.set(
            "edsClusterConfig",
            message! {
                "serviceName": name,
                "edsConfig": message! {"ads": Map::new(), "initialFetchTimeout": "0s", "resourceApiVersion": "V3"},
            },
        );
    }
}

/// Marks clusters whose TLS is the user's, so that the ALPN filter leaves it alone.
fn add_alpn_override(draft: &mut Draft, policy: &Value) {
    if !present(&policy["tls"]) {
        return;
    }
    if matches!(text(&policy["tls"]["mode"]), "SIMPLE" | "MUTUAL") {
        draft.istio_metadata().insert("alpn_override".to_owned(), Value::from("false"));
    }
}

/// The cluster of a wildcard host that is resolved by name on demand.
fn forward_proxy(node: &Node, service: &Arc<Service>, port: &Port, rule: Option<Rule>) -> Option<Resource> {
    if !matches!(port.protocol, Protocol::Http | Protocol::Tls | Protocol::Grpc | Protocol::Http2) {
        return None;
    }
    let mut draft = Draft::new(&outbound_name(port.number, "", &service.hostname), Kind::Dynamic);
    draft.set_lb("CLUSTER_PROVIDED");
    draft.set(
        "clusterType",
        json!({
            "name": "envoy.clusters.dynamic_forward_proxy",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
                "dnsCacheConfig": crate::mesh::sidecar::forward_proxy::dns_cache(&service.hostname),
            },
        }),
    );
    let preserve_case = preserves_header_case(node);
    set_upstream_protocol(node, &mut draft, port.protocol, preserve_case);
    let rule_policy = rule.map_or(&Value::Null, |r| r.policy());
    let (policy, _) = port_policy(rule_policy, port.number);
    let purpose = Purpose {
        service: Some(service),
        port,
        accounts: &[],
        sni: String::new(),
        for_sni: false,
        mesh_external: service.mesh_external,
        external_registry: true,
        mtls_mode: node.service_mtls_mode(rule_policy, service, port.number),
        selected: rule.is_some_and(Rule::has_selector),
        dynamic: true,
    };
    apply_traffic_policy(node, &mut draft, &policy, &purpose);
    let mut origins = vec![service.origin.clone()];
    if service.mesh_external {
        draft.istio_metadata().insert("external".to_owned(), json!(true));
    }
    if let Some(rule) = rule {
        draft.istio_metadata().insert("config".to_owned(), Value::from(rule.config_path()));
        add_alpn_override(&mut draft, &policy);
        origins.push(rule.policy_origin().clone());
    }
    Some(Resource::new(draft.name.clone(), draft.build(), origins))
}

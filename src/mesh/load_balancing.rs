//! Locality load balancing: weights and priorities of endpoint groups.

use super::json::{fields, list, present, sorted_fields, text, unsigned};
use super::node::Node;
use super::registry::endpoint::Endpoint;
use super::registry::service::Service;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The endpoints of one locality, as Envoy has them and as the registry has them, in the same order.
#[derive(Debug, Clone)]
pub struct Group {
    pub body: Value,
    pub members: Vec<Arc<Endpoint>>,
}

/// The setting in force (null: none), and whether failover needs no outlier detection.
pub fn locality_setting(node: &Node, lb: &Value, service: &Service) -> (Value, bool) {
    let enabled = |setting: &Value| setting["enabled"].as_bool().unwrap_or(true);
    let own = &lb["localityLbSetting"];
    if present(own) {
        return (if enabled(own) { own.clone() } else { Value::Null }, false);
    }
    let zone = ["topology.istio.io/network", "topology.kubernetes.io/region", "topology.kubernetes.io/zone"];
    match service.traffic_distribution.as_str() {
        "zone" => return (json!({"enabled": true, "failoverPriority": zone}), true),
        "node" => {
            let mut all = zone.to_vec();
            all.extend(["topology.istio.io/subzone", "kubernetes.io/hostname"]);
            return (json!({"enabled": true, "failoverPriority": all}), true);
        }
        _ => {}
    }
    let mesh = &node.push.mesh.raw["localityLbSetting"];
    if !present(mesh) {
        return (json!({"enabled": true}), false);
    }
    (if enabled(mesh) { mesh.clone() } else { Value::Null }, false)
}

/// The groups with the setting's weights and priorities.
pub fn apply(node: &Node, mut groups: Vec<Group>, setting: &Value, failover: bool) -> Vec<Value> {
    if !setting.is_null() {
        let priorities = list(&setting["failoverPriority"]);
        if present(&setting["distribute"]) {
            distribute(&node.locality, &mut groups, list(&setting["distribute"]));
        } else if failover {
            if !priorities.is_empty() {
                groups = by_labels(node, groups, priorities);
            }
            if priorities.is_empty() || !list(&setting["failover"]).is_empty() {
                by_locality(&node.locality, &mut groups, list(&setting["failover"]));
            }
        }
    }
    groups.into_iter().map(|g| g.body).collect()
}

fn locality_of(group: &Group) -> [&str; 3] {
    let locality = &group.body["locality"];
    [text(&locality["region"]), text(&locality["zone"]), text(&locality["subZone"])]
}

fn parts(locality: &str) -> [&str; 3] {
    let mut split = locality.splitn(3, '/');
    [split.next().unwrap_or(""), split.next().unwrap_or(""), split.next().unwrap_or("")]
}

fn fits(locality: [&str; 3], rule: &str) -> bool {
    let rule = parts(rule);
    (rule[0] == "*" || rule[0] == locality[0])
        && (1..3).all(|i| rule[i] == "*" || rule[i].is_empty() || rule[i] == locality[i])
}

fn distribute(own: &str, groups: &mut [Group], rules: &[Value]) {
    let Some(rule) = rules.iter().find(|r| fits(parts(own), text(&r["from"]))) else { return };
    let mut unmatched: BTreeSet<usize> = (0..groups.len()).collect();
    for (to, weight) in sorted_fields(&rule["to"]) {
        let taken: Vec<usize> = unmatched.iter().copied().filter(|i| fits(locality_of(&groups[*i]), to)).collect();
        let total: u32 = taken.iter().map(|i| unsigned(&groups[*i].body["loadBalancingWeight"])).sum();
        for index in taken {
            unmatched.remove(&index);
            let original = unsigned(&groups[index].body["loadBalancingWeight"]);
            let share = f64::from(original) * f64::from(unsigned(weight)) / f64::from(total.max(1));
            if share > 0.0 {
                groups[index].body["loadBalancingWeight"] = Value::from(share.ceil() as u32);
            }
        }
    }
    for index in unmatched {
        if let Some(body) = groups[index].body.as_object_mut() {
            body.remove("lbEndpoints");
        }
    }
}

fn by_locality(own: &str, groups: &mut [Group], failover: &[Value]) {
    let own = parts(own);
    let priorities: Vec<u32> = groups
        .iter()
        .map(|group| {
            let theirs = locality_of(group);
            let near = match (0..3).find(|i| own[*i] != theirs[*i]) {
                None => 0,
                Some(2) => 1,
                Some(1) => 2,
                Some(_) => match failover.iter().find(|f| text(&f["from"]) == own[0]) {
                    Some(rule) if theirs[0] != text(&rule["to"]) => 4,
                    _ => 3,
                },
            };
            // Priorities by label come first; at most five of them exist by locality.
            unsigned(&group.body["priority"]) * 5 + near
        })
        .collect();
    set_dense(groups, &priorities);
}

/// Numbers priorities from 0 without gaps.
fn set_dense(groups: &mut [Group], priorities: &[u32]) {
    let distinct: BTreeSet<u32> = priorities.iter().copied().collect();
    let dense: BTreeMap<u32, usize> = distinct.into_iter().enumerate().map(|(i, p)| (p, i)).collect();
    for (group, priority) in groups.iter_mut().zip(priorities) {
        if let Some(body) = group.body.as_object_mut() {
            match dense.get(priority) {
                Some(0) | None => body.remove("priority"),
                Some(rank) => body.insert("priority".to_owned(), Value::from(*rank)),
            };
        }
    }
}

/// Splits each group by how many of the labels its members share with the proxy.
fn by_labels(node: &Node, groups: Vec<Group>, wanted: &[Value]) -> Vec<Group> {
    if node.proxy.labels.is_empty() || groups.is_empty() {
        return groups;
    }
    let own = super::registry::kubernetes::augment(&node.proxy.labels, &node.locality, node.metadata("NODE_NAME"));
    let wanted: Vec<(&str, Option<&str>)> = wanted
        .iter()
        .map(|w| match text(w).split_once('=') {
            Some((label, value)) => (label, Some(value)),
            None => (text(w), None),
        })
        .collect();
    let mut out = Vec::new();
    let mut priorities = Vec::new();
    for group in groups {
        let bodies = list(&group.body["lbEndpoints"]);
        let mut split: BTreeMap<u32, Group> = BTreeMap::new();
        for (member, body) in group.members.iter().zip(bodies) {
            let differs = wanted.iter().position(|(label, value)| {
                let mine = value.or_else(|| own.get(*label).map(String::as_str)).unwrap_or("");
                mine != member.labels.get(*label).map_or("", String::as_str)
            });
            let priority = differs.map_or(0, |at| (wanted.len() - at) as u32);
            let part = split.entry(priority).or_insert_with(|| {
                let kept = fields(&group.body).filter(|(k, _)| *k != "lbEndpoints" && *k != "loadBalancingWeight");
                let mut body: serde_json::Map<String, Value> = kept.map(|(k, v)| (k.clone(), v.clone())).collect();
                body.insert("lbEndpoints".to_owned(), json!([]));
                body.insert("loadBalancingWeight".to_owned(), json!(0));
                Group { body: Value::Object(body), members: Vec::new() }
            });
            if let Some(all) = part.body["lbEndpoints"].as_array_mut() {
                all.push(body.clone());
            }
            let weight = unsigned(&part.body["loadBalancingWeight"]) + unsigned(&body["loadBalancingWeight"]);
            part.body["loadBalancingWeight"] = Value::from(weight);
            part.members.push(member.clone());
        }
        for (priority, part) in split {
            priorities.push(priority);
            out.push(part);
        }
    }
    set_dense(&mut out, &priorities);
    out
}

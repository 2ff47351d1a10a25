//! DestinationRules: merging of rules for one host, lookup by namespace, and the policy of a port or subset.

use super::Origin;
use super::asked::{Asked, Question};
use super::host::{ByHost, resolve_short};
use super::json::{fields, into_map, labels, labels_match, list, present, strings, text, unsigned};
use super::mesh_config::MeshConfig;
use super::object::Object;
use super::registry::service::Service;
use super::report::Report;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Rules for one host that were merged into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRule {
    /// The first rule: its name is the one that Istio puts into metadata.
    object: Object,
    spec: Value,
    export_to: BTreeSet<String>,
    policy_origin: Origin,
    /// Beside `spec.subsets`.
    subset_origins: Vec<Origin>,
    /// The place of the first subset of each name.
    subset_places: HashMap<String, usize>,
}

impl DestinationRule {
    fn new(object: Object, export_to: BTreeSet<String>) -> Self {
        let subsets = list(&object.spec()["subsets"]);
        let mut subset_places = HashMap::new();
        for (place, subset) in subsets.iter().enumerate() {
            subset_places.entry(text(&subset["name"]).to_owned()).or_insert(place);
        }
        Self {
            spec: object.spec().clone(),
            policy_origin: object.origin("/spec"),
            subset_origins: (0..subsets.len()).map(|i| object.origin(format!("/spec/subsets/{i}"))).collect(),
            subset_places,
            export_to,
            object,
        }
    }

    fn policy(&self) -> &Value {
        &self.spec["trafficPolicy"]
    }

    fn subsets(&self) -> &[Value] {
        list(&self.spec["subsets"])
    }

    fn subset(&self, name: &str) -> Option<&Value> {
        self.subsets().get(self.subset_place(name)?)
    }

    /// The place of the subset that a name means: the first of that name.
    fn subset_place(&self, name: &str) -> Option<usize> {
        self.subset_places.get(name).copied()
    }

    /// Whether all but the subsets is equal.
    pub fn same_but_subsets(&self, other: &Self) -> bool {
        self.object.is_same_as(&other.object)
            && self.export_to == other.export_to
            && self.policy_origin == other.policy_origin
            && fields(&self.spec)
                .filter(|(key, _)| *key != "subsets")
                .eq(fields(&other.spec).filter(|(key, _)| *key != "subsets"))
    }

    /// Whether a name means an equal subset in both, or none.
    pub fn same_subset(&self, other: &Self, name: &str) -> bool {
        let of = |rule: &'_ Self| rule.subset_place(name);
        match (of(self), of(other)) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                self.subsets().get(a) == other.subsets().get(b)
                    && self.subset_origins.get(a) == other.subset_origins.get(b)
            }
            _ => false,
        }
    }

    /// Whether all subsets are equal, in their order.
    pub fn same_subsets(&self, other: &Self) -> bool {
        self.subsets() == other.subsets() && self.subset_origins == other.subset_origins
    }

    fn has_selector(&self) -> bool {
        present(&self.spec["workloadSelector"])
    }

    fn selector(&self) -> BTreeMap<String, String> {
        labels(&self.spec["workloadSelector"]["matchLabels"])
    }
}

/// A rule as the scope shows it: each look at it is noted, a look at one subset as that.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    rule: &'a DestinationRule,
    host: &'a Arc<str>,
    asked: &'a Asked,
}

impl<'a> Rule<'a> {
    /// `host`: that the rule was asked for.
    pub fn new(rule: &'a DestinationRule, host: &'a Arc<str>, asked: &'a Asked) -> Self {
        Self { rule, host, asked }
    }

    fn but_subsets(self) -> &'a DestinationRule {
        self.asked.note(|| Question::Rule(self.host.clone()));
        self.rule
    }

    pub fn policy(self) -> &'a Value {
        self.but_subsets().policy()
    }

    pub fn policy_origin(self) -> &'a Origin {
        &self.but_subsets().policy_origin
    }

    pub fn has_selector(self) -> bool {
        self.but_subsets().has_selector()
    }

    pub fn config_path(self) -> String {
        self.but_subsets().object.config_path("networking.istio.io", "destination-rule")
    }

    /// The subset that a name means: the first of that name.
    pub fn subset(self, name: &str) -> Option<&'a Value> {
        self.asked.note(|| Question::Subset(self.host.clone(), name.into()));
        self.rule.subset(name)
    }

    /// The labels a subset's endpoints must have; `None` when there is nothing to select by.
    pub fn subset_labels(self, name: &str) -> Option<BTreeMap<String, String>> {
        let wanted = labels(&self.subset(name)?["labels"]);
        if wanted.is_empty() { None } else { Some(wanted) }
    }

    fn with_subsets(self) -> &'a DestinationRule {
        self.asked.note(|| Question::Subsets(self.host.clone()));
        self.rule
    }

    pub fn subsets(self) -> &'a [Value] {
        self.with_subsets().subsets()
    }

    /// Whether a name means the subset of a place.
    pub fn first_places(self) -> impl Fn(&str, usize) -> bool {
        let rule = self.with_subsets();
        |name, place| rule.subset_place(name) == Some(place)
    }

    pub fn subset_origin(self, place: usize) -> Option<&'a Origin> {
        self.with_subsets().subset_origins.get(place)
    }
}

type Rules = ByHost<Vec<Arc<DestinationRule>>>;

/// All DestinationRules by namespace and visibility.
#[derive(Debug, Default)]
pub struct DestinationRules {
    local: HashMap<String, Rules>,
    exported: HashMap<String, Rules>,
    root_local: Rules,
    root_namespace: String,
}

impl DestinationRules {
    pub fn read(objects: &HashMap<String, Vec<Object>>, mesh: &MeshConfig, report: &Report) -> Self {
        let mut sorted = objects.get("DestinationRule").cloned().unwrap_or_default();
        // Rules with a workload selector come before rules without.
        sorted.sort_by(|a, b| {
            let rank = |o: &Object| !present(&o.spec()["workloadSelector"]);
            (rank(a), a.order()).cmp(&(rank(b), b.order()))
        });
        // The rules of one namespace for one host, in the order in which they are first seen.
        let mut groups: Vec<((String, String), Vec<Given>)> = Vec::new();
        let mut places: HashMap<(String, String), usize> = HashMap::new();
        for object in sorted {
            let host = resolve_short(text(&object.spec()["host"]), &object.namespace, &mesh.short_name_domain);
            let namespace = object.namespace.clone();
            let export_to: BTreeSet<String> = if present(&object.spec()["workloadSelector"]) {
                [".".to_owned()].into()
            } else {
                strings(&object.spec()["exportTo"]).into_iter().collect()
            };
            let has = |name: &str| export_to.contains(name);
            let local = export_to.is_empty() || has("*") || has(".") || has(&namespace);
            let private = (export_to.is_empty() && mesh.default_destination_rule_export.contains("."))
                || (export_to.len() == 1 && (has(".") || has(&namespace)));
            let key = (namespace, host);
            let place = *places.entry(key.clone()).or_insert_with(|| {
                groups.push((key, Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(Given { object, export_to, local, private });
        }
        let mut all = Self { root_namespace: mesh.root_namespace.clone(), ..Self::default() };
        for ((namespace, host), group) in &groups {
            all.add(namespace, host, group, report);
        }
        all
    }

    fn add(&mut self, namespace: &str, host: &str, group: &[Given], report: &Report) {
        let merged = |of: &dyn Fn(&Given) -> bool| {
            let mut rules = Vec::new();
            for given in group.iter().filter(|given| of(given)) {
                merge(&mut rules, host, given, report);
            }
            rules
        };
        let put = |into: &mut Rules, rules: Vec<Arc<DestinationRule>>| {
            if !rules.is_empty() {
                into.insert(host.to_owned(), rules);
            }
        };
        let local = merged(&|given| given.local);
        // Mostly all are seen in both.
        let exported = match group.iter().all(|given| given.local && !given.private) {
            true => local.clone(),
            false => merged(&|given| !given.private),
        };
        put(self.local.entry(namespace.to_owned()).or_default(), local);
        put(self.exported.entry(namespace.to_owned()).or_default(), exported);
        if namespace == self.root_namespace {
            put(&mut self.root_local, merged(&|given| given.private));
        }
    }

    /// The rules for a service as a namespace sees them: its own, then the service's, then the root namespace's.
    pub fn of(&self, namespace: &str, service: &Service) -> Vec<&Arc<DestinationRule>> {
        let own = if namespace == self.root_namespace { Some(&self.root_local) } else { self.local.get(namespace) };
        if let Some(found) = own.and_then(|rules| rules.most_specific(&service.hostname)) {
            return found.iter().collect();
        }
        for owner in [&service.namespace, &self.root_namespace] {
            let visible: Vec<_> = self
                .exported
                .get(owner)
                .and_then(|rules| rules.most_specific(&service.hostname))
                .into_iter()
                .flatten()
                .filter(|r| r.export_to.is_empty() || r.export_to.contains("*") || r.export_to.contains(namespace))
                .collect();
            if !visible.is_empty() {
                return visible;
            }
        }
        Vec::new()
    }
}

/// A rule as it is given, and who sees it.
struct Given {
    object: Object,
    export_to: BTreeSet<String>,
    /// Its own namespace does.
    local: bool,
    /// Nobody else does.
    private: bool,
}

impl Given {
    fn has_selector(&self) -> bool {
        present(&self.object.spec()["workloadSelector"])
    }

    fn selector(&self) -> BTreeMap<String, String> {
        labels(&self.object.spec()["workloadSelector"]["matchLabels"])
    }
}

fn merge(existing: &mut Vec<Arc<DestinationRule>>, host: &str, incoming: &Given, report: &Report) {
    let mut separate = true;
    for rule in existing.iter_mut() {
        if rule.export_to != incoming.export_to {
            separate = true;
            continue;
        }
        if rule.has_selector() && incoming.has_selector() && rule.selector() != incoming.selector() {
            separate = true;
            continue;
        }
        separate = false;
        merge_into(Arc::make_mut(rule), &incoming.object, host, report);
    }
    if separate {
        existing.push(Arc::new(DestinationRule::new(incoming.object.clone(), incoming.export_to.clone())));
    }
}

fn merge_into(rule: &mut DestinationRule, incoming: &Object, host: &str, report: &Report) {
    let (mut added, mut origins) = (Vec::new(), Vec::new());
    for (index, subset) in list(&incoming.spec()["subsets"]).iter().enumerate() {
        let name = text(&subset["name"]);
        if rule.subset_places.contains_key(name) {
            let message = format!("Duplicate subset {name} found while merging destination rules for {host}");
            report.metric("pilot_destrule_subsets", host, "", &message);
        } else {
            added.push(subset.clone());
            origins.push(incoming.origin(format!("/spec/subsets/{index}")));
        }
    }
    let known = rule.subsets().len();
    for (place, subset) in added.iter().enumerate() {
        rule.subset_places.entry(text(&subset["name"]).to_owned()).or_insert(known + place);
    }
    rule.subset_origins.append(&mut origins);
    let policy = &incoming.spec()["trafficPolicy"];
    let takes_policy = !present(rule.policy()) && present(policy);
    let mut spec = into_map(std::mem::take(&mut rule.spec));
    match spec.get_mut("subsets") {
        Some(Value::Array(subsets)) => subsets.append(&mut added),
        _ if added.is_empty() => {}
        _ => {
            spec.insert("subsets".to_owned(), Value::Array(added));
        }
    }
    if takes_policy {
        spec.insert("trafficPolicy".to_owned(), policy.clone());
        rule.policy_origin = incoming.origin("/spec");
    }
    rule.spec = Value::Object(spec);
}

/// The rule of a list that applies to a workload: one whose selector takes it, else one without a selector.
pub fn choose<'a>(
    rules: &'a [Arc<DestinationRule>],
    outbound: bool,
    scope_namespace: &str,
    workload: &BTreeMap<String, String>,
) -> Option<&'a Arc<DestinationRule>> {
    let mut catch_all = None;
    for rule in rules {
        if !rule.has_selector() {
            catch_all = Some(rule);
        } else if outbound && rule.object.namespace == scope_namespace && labels_match(&rule.selector(), workload) {
            return Some(rule);
        }
    }
    catch_all
}

/// The policy for a port: port-level settings replace the rule's, all four of them.
pub fn port_policy(policy: &Value, port: u32) -> (Value, bool) {
    let level = list(&policy["portLevelSettings"])
        .iter()
        .find(|p| present(&p["port"]) && unsigned(&p["port"]["number"]) == port);
    match level {
        None => (policy.clone(), false),
        Some(level) => {
            let mut out = Map::new();
            for field in ["connectionPool", "loadBalancer", "outlierDetection", "tls"] {
                if present(&level[field]) {
                    out.insert(field.to_owned(), level[field].clone());
                }
            }
            (Value::Object(out), true)
        }
    }
}

/// The policy of a subset's port: the subset's fields over the rule's.
pub fn subset_policy(rule: &Value, subset: &Value, port: u32) -> Value {
    let (original, _) = port_policy(rule, port);
    if !present(subset) {
        return original;
    }
    let (subset, port_level) = port_policy(subset, port);
    if !present(&original) {
        return subset;
    }
    let mut merged = Map::new();
    let fields = [
        ("connectionPool", true),
        ("outlierDetection", true),
        ("loadBalancer", true),
        ("tls", true),
        ("tunnel", false),
        ("proxyProtocol", false),
        ("retryBudget", false),
    ];
    for (field, replaced) in fields {
        let value = if present(&subset[field]) || (replaced && port_level) { &subset[field] } else { &original[field] };
        if present(value) {
            merged.insert(field.to_owned(), value.clone());
        }
    }
    Value::Object(merged)
}

//! VirtualServices: short names resolved, delegates merged, and the index by gateway and visibility.

use super::Origin;
use super::host::{resolve_gateway, resolve_short};
use super::json::{fields, list, present, strings, text, unsigned};
use super::mesh_config::MeshConfig;
use super::object::{Object, sort};
use super::report::Report;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// One rule of `http`, `tls` or `tcp`, and where it was written. Hosts of destinations are full names; gateways of
/// matches are only in `http`.
#[derive(Debug, Clone)]
pub struct Rule {
    spec: Spec,
    pub origin: Origin,
}

#[derive(Debug, Clone)]
enum Spec {
    Own(Value),
    /// As it stands in an object: in which field, and which of its elements.
    In(Object, &'static str, usize),
}

impl Rule {
    pub fn spec(&self) -> &Value {
        match &self.spec {
            Spec::Own(spec) => spec,
            Spec::In(object, field, index) => &object.spec()[field][index],
        }
    }
}

#[derive(Debug, Clone)]
pub struct VirtualService {
    pub object: Object,
    pub hosts: Vec<String>,
    /// `mesh` or `ns/name`; never empty.
    pub gateways: Vec<String>,
    pub http: Vec<Rule>,
    pub tls: Vec<Rule>,
    pub tcp: Vec<Rule>,
    /// Destinations of connections.
    connections: Destinations,
}

/// Hosts with their ports (0: none given).
type Destinations = BTreeMap<String, BTreeSet<u32>>;

impl VirtualService {
    pub fn config_path(&self) -> String {
        self.object.config_path("networking.istio.io", "virtual-service")
    }

    /// Destinations by host with their ports. HTTP rules for other source namespaces are left out when `namespace`
    /// is given.
    pub fn destinations(&self, namespace: &str) -> Cow<'_, Destinations> {
        let mut out = Cow::Borrowed(&self.connections);
        let mut add = |destination: &Value| add_destination(out.to_mut(), destination);
        for rule in &self.http {
            if !namespace.is_empty() && !reachable_from(rule.spec(), namespace) {
                continue;
            }
            list(&rule.spec()["route"]).iter().for_each(|r| add(&r["destination"]));
            add(&rule.spec()["mirror"]);
            list(&rule.spec()["mirrors"]).iter().for_each(|m| add(&m["destination"]));
        }
        out
    }
}

fn add_destination(out: &mut Destinations, destination: &Value) {
    if present(destination) {
        out.entry(text(&destination["host"]).to_owned()).or_default().insert(unsigned(&destination["port"]["number"]));
    }
}

fn reachable_from(rule: &Value, namespace: &str) -> bool {
    let mut reachable = true;
    for found in list(&rule["match"]) {
        match text(&found["sourceNamespace"]) {
            "" => {}
            source if source == namespace => return true,
            _ => reachable = false,
        }
    }
    reachable
}

/// VirtualServices by gateway, split by who sees them.
#[derive(Debug, Default)]
pub struct VirtualServices {
    private: HashMap<(String, String), Vec<Arc<VirtualService>>>,
    exported: HashMap<(String, String), Vec<Arc<VirtualService>>>,
    public: HashMap<String, Vec<Arc<VirtualService>>>,
    /// All, in Istio's order.
    all: Vec<Arc<VirtualService>>,
}

impl VirtualServices {
    /// `before`: of another world with the same mesh config. What is made of one object alone is taken over from there,
    /// so that it is the same `Arc`.
    pub fn read(
        objects: &HashMap<String, Vec<Object>>,
        mesh: &MeshConfig,
        report: &Report,
        before: Option<&VirtualServices>,
    ) -> Self {
        let kept: HashMap<(&str, &str), &Arc<VirtualService>> = before
            .into_iter()
            .flat_map(|before| &before.all)
            .filter(|service| !delegates(&service.object))
            .map(|service| ((service.object.namespace.as_str(), service.object.name.as_str()), service))
            .collect();
        let mut sorted = objects.get("VirtualService").cloned().unwrap_or_default();
        sort(&mut sorted);
        let rules: HashMap<(String, String), &Object> = sorted
            .iter()
            .filter(|o| list(&o.spec()["hosts"]).is_empty())
            .map(|o| ((o.namespace.clone(), o.name.clone()), o))
            .collect();
        let mut index = Self::default();
        for object in sorted.iter().filter(|o| !list(&o.spec()["hosts"]).is_empty()) {
            let same = kept.get(&(object.namespace.as_str(), object.name.as_str())).filter(|k| k.object == *object);
            let service = same.map_or_else(|| Arc::new(resolve(object, &rules, mesh, report)), |same| (*same).clone());
            index.insert(service.clone(), mesh);
            index.all.push(service);
        }
        index
    }

    fn insert(&mut self, service: Arc<VirtualService>, mesh: &MeshConfig) {
        let namespace = &service.object.namespace;
        let export = export_to(&service.object, mesh);
        for gateway in &service.gateways {
            if export.contains("*") {
                self.public.entry(gateway.clone()).or_default().push(service.clone());
                continue;
            }
            if export.contains("~") {
                continue;
            }
            if export.contains(".") || export.contains(namespace) {
                let key = (namespace.clone(), gateway.clone());
                self.private.entry(key).or_default().push(service.clone());
            }
            for to in export.iter().filter(|to| *to != "." && *to != namespace) {
                self.exported.entry((to.clone(), gateway.clone())).or_default().push(service.clone());
            }
        }
    }

    /// Those bound to a gateway (or `mesh`) that a namespace sees: private, then exported to it, then public.
    pub fn bound_to(&self, namespace: &str, gateway: &str) -> impl Iterator<Item = &Arc<VirtualService>> {
        let key = (namespace.to_owned(), gateway.to_owned());
        let own = self.private.get(&key).into_iter().flatten();
        let exported = self.exported.get(&key).into_iter().flatten();
        own.chain(exported).chain(self.public.get(gateway).into_iter().flatten())
    }
}

/// Whether rules of other objects are part of it.
fn delegates(object: &Object) -> bool {
    list(&object.spec()["http"]).iter().any(|rule| present(&rule["delegate"]))
}

fn export_to(object: &Object, mesh: &MeshConfig) -> BTreeSet<String> {
    let given: BTreeSet<String> = strings(&object.spec()["exportTo"]).into_iter().collect();
    if given.is_empty() { mesh.default_virtual_service_export.clone() } else { given }
}

fn resolve(
    object: &Object,
    delegates: &HashMap<(String, String), &Object>,
    mesh: &MeshConfig,
    report: &Report,
) -> VirtualService {
    let spec = object.spec();
    let gateways = strings(&spec["gateways"]);
    let (tls, tcp) = (connection_rules(object, "tls", mesh), connection_rules(object, "tcp", mesh));
    let mut connections = Destinations::new();
    for rule in tcp.iter().chain(&tls) {
        list(&rule.spec()["route"]).iter().for_each(|r| add_destination(&mut connections, &r["destination"]));
    }
    VirtualService {
        hosts: strings(&spec["hosts"])
            .iter()
            .map(|h| resolve_short(h, &object.namespace, &mesh.short_name_domain))
            .collect(),
        gateways: if gateways.is_empty() {
            vec!["mesh".to_owned()]
        } else {
            gateways.iter().map(|g| resolve_gateway(g, &object.namespace)).collect()
        },
        http: http_rules(object, delegates, mesh, report),
        tls,
        tcp,
        connections,
        object: object.clone(),
    }
}

fn rules(object: &Object, field: &str, mesh: &MeshConfig) -> Vec<Rule> {
    let read = |(index, rule): (usize, &Value)| Rule {
        spec: Spec::Own(resolve_rule(rule, &object.namespace, mesh)),
        origin: object.origin(format!("/spec/{field}/{index}")),
    };
    list(&object.spec()[field]).iter().enumerate().map(read).collect()
}

/// Rules of connections. There are thousands, so they are copied only when a host in them is short.
fn connection_rules(object: &Object, field: &'static str, mesh: &MeshConfig) -> Vec<Rule> {
    let is_full = |route: &Value| {
        let host = text(&route["destination"]["host"]);
        resolve_short(host, &object.namespace, &mesh.short_name_domain) == host
    };
    let read = |(index, rule): (usize, &Value)| Rule {
        spec: match list(&rule["route"]).iter().all(is_full) {
            true => Spec::In(object.clone(), field, index),
            false => Spec::Own(resolve_rule(rule, &object.namespace, mesh)),
        },
        origin: object.origin(format!("/spec/{field}/{index}")),
    };
    list(&object.spec()[field]).iter().enumerate().map(read).collect()
}

/// The rule with full host names and gateways.
fn resolve_rule(rule: &Value, namespace: &str, mesh: &MeshConfig) -> Value {
    let mut rule = rule.clone();
    let short = |destination: &mut Value| {
        if let Some(host) = destination.get_mut("host")
            && let Some(name) = host.as_str()
        {
            *host = Value::from(resolve_short(name, namespace, &mesh.short_name_domain));
        }
    };
    for found in rule.get_mut("match").and_then(Value::as_array_mut).into_iter().flatten() {
        for gateway in found.get_mut("gateways").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(name) = gateway.as_str() {
                *gateway = Value::from(resolve_gateway(name, namespace));
            }
        }
    }
    for field in ["route", "mirrors"] {
        for route in rule.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(destination) = route.get_mut("destination") {
                short(destination);
            }
        }
    }
    if let Some(mirror) = rule.get_mut("mirror") {
        short(mirror);
    }
    rule
}

fn http_rules(
    object: &Object,
    delegates: &HashMap<(String, String), &Object>,
    mesh: &MeshConfig,
    report: &Report,
) -> Vec<Rule> {
    let mut out = Vec::new();
    for root in rules(object, "http", mesh) {
        let delegate = &root.spec()["delegate"];
        if !present(delegate) {
            out.push(root);
            continue;
        }
        let namespace = match text(&delegate["namespace"]) {
            "" => object.namespace.clone(),
            given => given.to_owned(),
        };
        let name = text(&delegate["name"]).to_owned();
        let (root_namespace, root_name) = (&object.namespace, &object.name);
        let Some(found) = delegates.get(&(namespace.clone(), name.clone())) else {
            report.warn(format!(
                "model\tdelegate virtual service {namespace}/{name} of {root_namespace}/{root_name} not found"
            ));
            continue;
        };
        let export: BTreeSet<String> =
            export_to(found, mesh).into_iter().map(|to| if to == "." { found.namespace.clone() } else { to }).collect();
        if !export.contains("*") && !export.contains(root_namespace) {
            report.warn(format!(
                "model\tdelegate virtual service {namespace}/{name} of {root_namespace}/{root_name} is not exported to {root_namespace}"
            ));
            continue;
        }
        for rule in rules(found, "http", mesh) {
            if let Some(spec) = merge_rule(root.spec(), rule.spec(), report) {
                out.push(Rule { spec: Spec::Own(spec), origin: rule.origin });
            }
        }
    }
    out
}

/// The delegate's rule with what only the root says; `None` when their matches exclude each other.
fn merge_rule(root: &Value, delegate: &Value, report: &Report) -> Option<Value> {
    let (name, root_name) = (text(&delegate["name"]), text(&root["name"]));
    let Some(matches) = merge_matches(list(&root["match"]), list(&delegate["match"])) else {
        report.warn(format!("model\tHTTPMatchRequests conflict: root route {root_name}, delegate route {name}"));
        return None;
    };
    let mut merged = delegate.as_object()?.clone();
    merged.insert("match".to_owned(), Value::Array(matches));
    let full_name = match (name, root_name) {
        ("", root) => root.to_owned(),
        (own, "") => own.to_owned(),
        (own, root) => format!("{root}-{own}"),
    };
    merged.insert("name".to_owned(), Value::from(full_name));
    for field in [
        "rewrite",
        "directResponse",
        "timeout",
        "retries",
        "fault",
        "mirror",
        "mirrorPercent",
        "mirror_percent",
        "mirrorPercentage",
        "corsPolicy",
        "mirrors",
        "headers",
    ] {
        if !present(&delegate[field]) && present(&root[field]) {
            merged.insert(field.to_owned(), root[field].clone());
        }
    }
    Some(Value::Object(merged))
}

fn merge_matches(root: &[Value], delegate: &[Value]) -> Option<Vec<Value>> {
    if root.is_empty() {
        return Some(delegate.to_vec());
    }
    if delegate.is_empty() {
        return Some(root.to_vec());
    }
    let mut out = Vec::new();
    for leaf in delegate {
        let before = out.len();
        out.extend(root.iter().filter(|r| !conflict(r, leaf)).map(|r| merge_match(r, leaf)));
        if out.len() == before {
            return None;
        }
    }
    Some(out)
}

fn merge_match(root: &Value, leaf: &Value) -> Value {
    let mut out = leaf.as_object().cloned().unwrap_or_default();
    let name = match (text(&leaf["name"]), text(&root["name"])) {
        ("", root) => root.to_owned(),
        (own, "") => own.to_owned(),
        (own, root) => format!("{root}-{own}"),
    };
    if !name.is_empty() {
        out.insert("name".to_owned(), Value::from(name));
    }
    for field in ["uri", "scheme", "method", "authority", "port", "sourceNamespace", "gateways", "statPrefix"] {
        let unset = match &leaf[field] {
            Value::Null => true,
            Value::String(s) => s.is_empty(),
            Value::Array(a) => a.is_empty(),
            Value::Number(n) => n.as_i64() == Some(0),
            _ => false,
        };
        if unset && present(&root[field]) {
            out.insert(field.to_owned(), root[field].clone());
        }
    }
    for field in ["headers", "withoutHeaders", "queryParams", "sourceLabels"] {
        let mut all = root[field].as_object().cloned().unwrap_or_default();
        all.extend(fields(&leaf[field]).map(|(k, v)| (k.clone(), v.clone())));
        if !all.is_empty() {
            out.insert(field.to_owned(), Value::Object(all));
        }
    }
    Value::Object(out)
}

fn conflict(root: &Value, leaf: &Value) -> bool {
    ["uri", "scheme", "method", "authority"].iter().any(|f| string_conflict(&root[*f], &leaf[*f]))
        || ["headers", "withoutHeaders", "queryParams"]
            .iter()
            .any(|f| fields(&leaf[*f]).any(|(key, value)| string_conflict(&root[*f][key.as_str()], value)))
        || root["ignoreUriCase"].as_bool().unwrap_or(false) != leaf["ignoreUriCase"].as_bool().unwrap_or(false)
        || (unsigned(&root["port"]) > 0
            && unsigned(&leaf["port"]) > 0
            && unsigned(&root["port"]) != unsigned(&leaf["port"]))
        || (!text(&root["sourceNamespace"]).is_empty()
            && text(&leaf["sourceNamespace"]) != text(&root["sourceNamespace"]))
        || fields(&leaf["sourceLabels"]).any(|(key, value)| {
            present(&root["sourceLabels"][key.as_str()]) && root["sourceLabels"][key.as_str()] != *value
        })
        || gateways_conflict(&strings(&root["gateways"]), &strings(&leaf["gateways"]))
}

fn gateways_conflict(root: &[String], leaf: &[String]) -> bool {
    !root.is_empty() && !leaf.is_empty() && (root.len() < leaf.len() || leaf.iter().any(|g| !root.contains(g)))
}

fn string_conflict(root: &Value, leaf: &Value) -> bool {
    if !present(root) || !present(leaf) {
        return false;
    }
    let part = |value: &Value, kind: &str| text(&value[kind]).to_owned();
    let (root_exact, root_prefix, root_regex) = (part(root, "exact"), part(root, "prefix"), part(root, "regex"));
    let (leaf_exact, leaf_prefix, leaf_regex) = (part(leaf, "exact"), part(leaf, "prefix"), part(leaf, "regex"));
    let leaf_any = !leaf_exact.is_empty() || !leaf_prefix.is_empty() || !leaf_regex.is_empty();
    let root_any = !root_exact.is_empty() || !root_prefix.is_empty() || !root_regex.is_empty();
    if (!root_regex.is_empty() && leaf_any) || (!leaf_regex.is_empty() && root_any) {
        return true;
    }
    if !root_exact.is_empty() {
        return !leaf_prefix.is_empty() || leaf_exact != root_exact;
    }
    if !root_prefix.is_empty() {
        if !leaf_prefix.is_empty() {
            return !leaf_prefix.starts_with(&root_prefix);
        }
        if !leaf_exact.is_empty() {
            return !leaf_exact.starts_with(&root_prefix);
        }
    }
    true
}

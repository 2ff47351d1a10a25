//! AuthorizationPolicy as RBAC filters: CUSTOM first, then AUDIT, DENY and ALLOW.

use super::external::{self, Provider};
use super::rbac::{Target, policy};
use super::selects;
use crate::mesh::json::{into_map, list, put, text};
use crate::mesh::listener::Class;
use crate::mesh::node::Node;
use crate::mesh::object::{Object, sort};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The policies that apply to a workload, by action.
#[derive(Debug, Default)]
pub struct Policies {
    custom: Vec<Object>,
    audit: Vec<Object>,
    deny: Vec<Object>,
    allow: Vec<Object>,
}

impl Policies {
    /// Those of the root namespace and of the workload's own.
    pub fn of(objects: &[Object], root: &str, namespace: &str, workload: &BTreeMap<String, String>) -> Self {
        let mut sorted = objects.to_vec();
        sort(&mut sorted);
        let mut all = Self::default();
        let own = if root == namespace { None } else { Some(namespace) };
        for place in std::iter::once(root).chain(own) {
            for policy in sorted.iter().filter(|p| p.namespace == place && selects(p, workload)) {
                match text(&policy.spec()["action"]) {
                    "" | "ALLOW" => all.allow.push(policy.clone()),
                    "DENY" => all.deny.push(policy.clone()),
                    "AUDIT" => all.audit.push(policy.clone()),
                    "CUSTOM" => all.custom.push(policy.clone()),
                    _ => {}
                }
            }
        }
        all
    }
}

/// Filters before a TCP proxy.
pub fn tcp_filters(node: &Node, class: Class) -> Vec<Value> {
    if class == Class::SidecarOutbound { Vec::new() } else { own_tcp_filters(node) }
}

/// The same, of a chain that has them whatever its class: towards wildcard hosts that DNS resolves by the SNI istiod
/// applies the workload's policies on the way out, too.
pub fn own_tcp_filters(node: &Node) -> Vec<Value> {
    let mut out = custom(node, true);
    out.extend(decided(node, true));
    out
}

/// Filters of an HTTP connection manager that decide by provider, before JWT authentication.
pub fn custom_http_filters(node: &Node, class: Class) -> Vec<Value> {
    if class == Class::SidecarOutbound { Vec::new() } else { custom(node, false) }
}

/// The other filters of an HTTP connection manager.
pub fn http_filters(node: &Node, class: Class) -> Vec<Value> {
    if class == Class::SidecarOutbound { Vec::new() } else { decided(node, false) }
}

fn decided(node: &Node, tcp: bool) -> Vec<Value> {
    let policies = &node.authorization;
    [(&policies.audit, "LOG"), (&policies.deny, "DENY"), (&policies.allow, "ALLOW")]
        .into_iter()
        .filter(|(all, _)| !all.is_empty())
        .map(|(all, action)| {
            let rules = Rules::build(node, all, action, tcp, "");
            let mut fields = Map::new();
            let shadow_prefix = match (rules.has_dry_run, action) {
                (true, "DENY") => "istio_dry_run_deny_",
                (true, "LOG") => "",
                _ => "istio_dry_run_allow_",
            };
            put(&mut fields, "shadowRulesStatPrefix", Value::from(shadow_prefix));
            put(&mut fields, "rules", if rules.has_enforced { rules.enforced } else { Value::Null });
            put(&mut fields, "shadowRules", if rules.has_dry_run { rules.dry_run } else { Value::Null });
            filter(fields, tcp)
        })
        .collect()
}

/// An RBAC filter for HTTP or TCP.
pub fn filter(mut fields: Map<String, Value>, tcp: bool) -> Value {
    let (name, kind) = if tcp { ("network.rbac", "network.rbac.v3.RBAC") } else { ("http.rbac", "http.rbac.v3.RBAC") };
    if tcp {
        fields.insert("statPrefix".to_owned(), Value::from("tcp."));
    }
    fields.insert("@type".to_owned(), Value::from(format!("type.googleapis.com/envoy.extensions.filters.{kind}")));
    json!({"name": format!("envoy.filters.{name}"), "typedConfig": fields})
}

/// RBAC rules, those in force and those that only log.
pub struct Rules {
    pub enforced: Value,
    pub dry_run: Value,
    pub has_enforced: bool,
    pub has_dry_run: bool,
}

impl Rules {
    /// `lead` stands before each policy's name.
    pub fn build(node: &Node, policies: &[Object], action: &str, tcp: bool, lead: &str) -> Self {
        let (mut enforced, mut dry_run) = (Map::new(), Map::new());
        let (mut has_enforced, mut has_dry_run) = (false, false);
        for object in policies {
            let dry = object
                .annotations
                .get("istio.io/dry-run")
                .is_some_and(|v| matches!(v.as_str(), "true" | "1" | "t" | "T" | "TRUE" | "True"));
            let into = if dry { &mut dry_run } else { &mut enforced };
            if dry {
                has_dry_run = true;
            } else {
                has_enforced = true;
            }
            let name = |index: usize| format!("{lead}ns[{}]-policy[{}]-rule[{index}]", object.namespace, object.name);
            let rules = list(&object.spec()["rules"]);
            if rules.is_empty() {
                into.insert(
                    name(0),
                    json!({
                        "permissions": [{"notRule": {"any": true}}],
                        "principals": [{"notId": {"any": true}}],
                    }),
                );
            }
            let target = Target { mesh: &node.push.mesh, namespace: &object.namespace, tcp, allow: action == "ALLOW" };
            for (index, rule) in rules.iter().enumerate() {
                if let Some(built) = policy(&target, rule) {
                    into.insert(name(index), built);
                }
            }
        }
        let write = |policies: Map<String, Value>| {
            let mut out = Map::new();
            put(&mut out, "action", Value::from(if action == "ALLOW" { "" } else { action }));
            if !policies.is_empty() {
                out.insert("policies".to_owned(), Value::Object(policies));
            }
            Value::Object(out)
        };
        Self { enforced: write(enforced), dry_run: write(dry_run), has_enforced, has_dry_run }
    }
}

/// Filters of CUSTOM policies, by provider; deny where the provider cannot be used.
fn custom(node: &Node, tcp: bool) -> Vec<Value> {
    let mut by_provider: BTreeMap<String, Vec<Object>> = BTreeMap::new();
    for object in &node.authorization.custom {
        by_provider.entry(text(&object.spec()["provider"]["name"]).to_owned()).or_default().push(object.clone());
    }
    let several = by_provider.len() > 1;
    if several {
        let names: Vec<&str> = by_provider.keys().map(String::as_str).collect();
        node.push.report.error(format!(
            "authorization\tProcessed authorization policy: multiple CUSTOM authorization providers per workload requires \
             PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS feature flag, found {} providers: [{}]",
            names.len(),
            names.join(" "),
        ));
    }
    let mut out = Vec::new();
    for (name, policies) in by_provider {
        let lead = if name.is_empty() { "istio-ext-authz-".to_owned() } else { format!("istio-ext-authz-{name}-") };
        let rules = Rules::build(node, &policies, "DENY", tcp, &lead);
        let provider = if several { None } else { Some(external::provider(node, &name, tcp)) };
        if let Some(Provider::Unusable(reason)) = &provider {
            node.push.report.error(format!(
                "authorization\tProcessed authorization policy: failed to process CUSTOM action for provider {name}, \
                 will generate deny configs: {reason}"
            ));
        }
        match provider {
            None | Some(Provider::Unusable(_)) => {
                let mut fields = Map::new();
                fields.insert("rules".to_owned(), denied(rules.enforced));
                out.push(filter(fields, tcp));
            }
            Some(Provider::NotForTcp) => {}
            Some(Provider::Filter(mut external)) => {
                let mut fields = Map::new();
                fields.insert("shadowRules".to_owned(), rules.enforced);
                fields.insert("shadowRulesStatPrefix".to_owned(), Value::from("istio_ext_authz_"));
                if !rules.dry_run["policies"].is_null() {
                    fields.insert("rules".to_owned(), rules.dry_run);
                }
                out.push(filter(fields, tcp));
                external["typedConfig"]["filterEnabledMetadata"] = json!({
                    "filter": if tcp { "envoy.filters.network.rbac" } else { "envoy.filters.http.rbac" },
                    "path": [{"key": "istio_ext_authz_shadow_effective_policy_id"}],
                    "value": {"stringMatch": {"prefix": format!("istio-ext-authz-{name}")}},
                });
                out.push(external);
            }
        }
    }
    out
}

/// The rules as refusals, each name saying why.
fn denied(rules: Value) -> Value {
    let mut out = into_map(rules);
    if let Some(Value::Object(policies)) = out.remove("policies") {
        let renamed: Map<String, Value> =
            policies.into_iter().map(|(k, v)| (format!("{k}-deny-due-to-bad-CUSTOM-action"), v)).collect();
        out.insert("policies".to_owned(), Value::Object(renamed));
    }
    Value::Object(out)
}

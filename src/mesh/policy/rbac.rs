//! One rule of an AuthorizationPolicy as an Envoy RBAC policy.

use super::rbac_match::{address, any_string, any_value, claim, header, quote, regex, string, string_claim};
use crate::mesh::json::{list, present, strings, text};
use crate::mesh::mesh_config::MeshConfig;
use serde_json::{Value, json};

/// A condition: an attribute with values it must have and values it must not have.
#[derive(Clone)]
struct Condition {
    key: String,
    values: Vec<String>,
    not_values: Vec<String>,
}

/// Why a rule cannot be written for a chain: it needs HTTP, or a value is malformed.
struct Unfit;

/// What a rule is written for.
pub struct Target<'a> {
    pub mesh: &'a MeshConfig,
    /// The policy's namespace, for service accounts without one.
    pub namespace: &'a str,
    pub tcp: bool,
    /// ALLOW drops a rule that does not fit; others drop only the part.
    pub allow: bool,
}

/// Whether an attribute is about the request rather than about who sends it; `None` for unknown ones.
fn is_permission(key: &str) -> Option<bool> {
    match key {
        "destination.ip" | "destination.port" | "connection.sni" => Some(true),
        "source.ip"
        | "remote.ip"
        | "source.namespace"
        | "source.trustDomain"
        | "source.serviceAccount"
        | "source.principal"
        | "request.auth.principal"
        | "request.auth.audiences"
        | "request.auth.presenter" => Some(false),
        k if k.starts_with("experimental.envoy.filters.") => Some(true),
        k if k.starts_with("request.headers") || k.starts_with("request.auth.claims") => Some(false),
        _ => None,
    }
}

/// The RBAC policy, or `None` when the rule is not valid for the chain.
pub fn policy(target: &Target, rule: &Value) -> Option<Value> {
    let (mut permissions, mut principals) = (Vec::new(), Vec::new());
    for when in list(&rule["when"]) {
        let key = text(&when["key"]);
        let condition = Condition {
            key: key.to_owned(),
            values: strings(&when["values"]),
            not_values: strings(&when["notValues"]),
        };
        let side = if is_permission(key)? { &mut permissions } else { &mut principals };
        if !condition.values.is_empty() || !condition.not_values.is_empty() {
            side.push(condition);
        }
    }
    let sources = merged(
        list(&rule["from"]),
        "source",
        &principals,
        &[
            ("source.principal", "principals"),
            ("request.auth.principal", "requestPrincipals"),
            ("source.serviceAccount", "serviceAccounts"),
            ("source.trustDomain", "trustDomains"),
            ("source.namespace", "namespaces"),
            ("remote.ip", "remoteIpBlocks"),
            ("source.ip", "ipBlocks"),
        ],
    );
    let operations = merged(
        list(&rule["to"]),
        "operation",
        &permissions,
        &[(":authority", "hosts"), (":method", "methods"), ("path", "paths"), ("destination.port", "ports")],
    );
    let write = |all: &[Vec<Condition>], sets: (&str, &str)| -> Option<Vec<Value>> {
        all.iter().map(|conditions| all_of(target, conditions, sets).ok()).collect()
    };
    let permissions = write(&operations, ("andRules", "rules"))?;
    let principals = write(&sources, ("andIds", "ids"))?;
    Some(json!({"permissions": permissions, "principals": principals}))
}

/// For each `from` or `to`, its own conditions before the rule's.
fn merged(entries: &[Value], field: &str, base: &[Condition], keys: &[(&str, &str)]) -> Vec<Vec<Condition>> {
    if entries.is_empty() {
        return vec![base.to_vec()];
    }
    entries
        .iter()
        .map(|entry| {
            let given = &entry[field];
            let own = keys.iter().filter(|_| present(given)).map(|(key, name)| Condition {
                key: (*key).to_owned(),
                values: strings(&given[*name]),
                not_values: strings(&given[negated(name).as_str()]),
            });
            own.filter(|c| !c.values.is_empty() || !c.not_values.is_empty()).chain(base.iter().cloned()).collect()
        })
        .collect()
}

/// `hosts` → `notHosts`.
fn negated(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    "not".chars().chain(first).chain(letters).collect()
}

/// All conditions together; any when there is none.
fn all_of(target: &Target, conditions: &[Condition], sets: (&str, &str)) -> Result<Value, Unfit> {
    let or_key = if sets.0 == "andRules" { "orRules" } else { "orIds" };
    let not_key = if sets.0 == "andRules" { "notRule" } else { "notId" };
    let mut all = Vec::new();
    for condition in conditions {
        for (values, inverted) in [(&condition.values, false), (&condition.not_values, true)] {
            let values = aliased(target, &condition.key, values);
            let Some(found) = one(target, &condition.key, &values, (or_key, sets.1))? else { continue };
            all.push(if inverted { json!({not_key: found}) } else { found });
        }
    }
    if all.is_empty() {
        all.push(json!({"any": true}));
    }
    Ok(json!({sets.0: {sets.1: all}}))
}

/// Principals and trust domains under every alias of the mesh's trust domain.
fn aliased(target: &Target, key: &str, values: &[String]) -> Vec<String> {
    let domains: Vec<&str> = std::iter::once(target.mesh.trust_domain.as_str())
        .chain(target.mesh.trust_domain_aliases.iter().map(String::as_str))
        .collect();
    let mut out: Vec<String> = Vec::new();
    match key {
        "source.principal" => {
            for value in values {
                let parts: Vec<&str> = value.split('/').collect();
                let own = parts.first().copied().unwrap_or("");
                let fits = |domain: &str| -> bool {
                    match own.strip_prefix('*') {
                        Some(suffix) => domain.ends_with(suffix),
                        None => domain == own,
                    }
                };
                let enforced = parts.len() == 5 && own != "*";
                if !enforced || !(domains.iter().any(|d| fits(d)) || own == "cluster.local") {
                    out.push(value.clone());
                    continue;
                }
                let mut replaced: Vec<String> = Vec::new();
                for domain in &domains {
                    let principal =
                        if fits(domain) { value.clone() } else { format!("{domain}/{}", parts[1..].join("/")) };
                    if !replaced.contains(&principal) {
                        replaced.push(principal);
                    }
                }
                out.extend(replaced);
            }
        }
        "source.trustDomain" => {
            for value in values {
                let known = domains.contains(&value.as_str());
                let add: Vec<String> =
                    if known { domains.iter().map(|d| (*d).to_owned()).collect() } else { vec![value.clone()] };
                for domain in add {
                    if !out.contains(&domain) {
                        out.push(domain);
                    }
                }
            }
        }
        _ => out.extend(values.iter().cloned()),
    }
    out
}

/// Any of the values of one attribute; `None` when nothing remains.
fn one(target: &Target, key: &str, values: &[String], sets: (&str, &str)) -> Result<Option<Value>, Unfit> {
    if values.is_empty() {
        return Ok(None);
    }
    if let Some(whole) = together(target, key, values, sets) {
        return match whole {
            Ok(found) => Ok(Some(found)),
            Err(Unfit) if target.allow => Err(Unfit),
            Err(Unfit) => Ok(None),
        };
    }
    let mut any = Vec::new();
    for value in values {
        match single(target, key, value) {
            Ok(found) => any.push(found),
            Err(Unfit) if target.allow => return Err(Unfit),
            Err(Unfit) => {}
        }
    }
    Ok((!any.is_empty()).then(|| json!({sets.0: {sets.1: any}})))
}

/// Attributes whose values are matched together.
fn together(target: &Target, key: &str, values: &[String], sets: (&str, &str)) -> Option<Result<Value, Unfit>> {
    if let Some(name) = key.strip_prefix("experimental.") {
        return Some(filter_metadata(name, values));
    }
    let path = match key {
        "request.auth.principal" => {
            return Some(if target.tcp { Err(Unfit) } else { Ok(request_principals(values, sets)) });
        }
        "request.auth.audiences" => vec!["aud".to_owned()],
        "request.auth.presenter" => vec!["azp".to_owned()],
        k if k.starts_with("request.auth.claims") => match claim_path(&k["request.auth.claims".len()..]) {
            Some(path) => path,
            None => return Some(Err(Unfit)),
        },
        _ => return None,
    };
    if target.tcp {
        return Some(Err(Unfit));
    }
    Some(Ok(json!({"metadata": claim(&path, &any_string(values))})))
}

/// `[a][b]` → a, b.
fn claim_path(brackets: &str) -> Option<Vec<String>> {
    let inner = brackets.strip_prefix('[')?.strip_suffix(']')?;
    Some(inner.split("][").map(str::to_owned).collect())
}

/// `envoy.filters.x[key]`: dynamic metadata; a value in brackets stands for a list with it.
fn filter_metadata(name: &str, values: &[String]) -> Result<Value, Unfit> {
    let (filter, key) = name.trim_end_matches(']').split_once('[').ok_or(Unfit)?;
    let matchers = values.iter().map(|v| match v.strip_prefix('[').and_then(|v| v.strip_suffix(']')) {
        Some(inner) => json!({"listMatch": {"oneOf": {"stringMatch": string(inner, "")}}}),
        None => json!({"stringMatch": string(v, "")}),
    });
    let value = any_value(matchers.collect());
    Ok(json!({"metadata": {"filter": filter, "path": [{"key": key}], "value": value}}))
}

/// `issuer/subject` pairs.
fn request_principals(values: &[String], sets: (&str, &str)) -> Value {
    let any = || regex(".+");
    let mut all: Vec<Value> = values
        .iter()
        .map(|value| {
            let pair = value.rsplit_once('/');
            let (issuer, subject) = match (value.as_str(), pair) {
                ("*", _) => (any(), any()),
                (v, Some((issuer, subject))) if v.starts_with('*') => {
                    let issuer = if issuer == "*" { any() } else { json!({"suffix": issuer.trim_start_matches('*')}) };
                    (issuer, json!({"exact": subject}))
                }
                (v, None) if v.starts_with('*') => (any(), json!({"suffix": &v[1..]})),
                (v, Some((issuer, subject))) if v.ends_with('*') => {
                    let subject = if subject == "*" { any() } else { json!({"prefix": subject.trim_end_matches('*')}) };
                    (json!({"exact": issuer}), subject)
                }
                (v, None) if v.ends_with('*') => (json!({"prefix": v.trim_end_matches('*')}), any()),
                (_, Some((issuer, subject))) => (json!({"exact": issuer}), json!({"exact": subject})),
                (v, None) => (json!({"exact": v}), json!({"exact": ""})),
            };
            json!({"andIds": {"ids": [
                {"metadata": string_claim("iss", &issuer)},
                {"metadata": string_claim("sub", &subject)},
            ]}})
        })
        .collect();
    if all.len() == 1 { all.remove(0) } else { json!({sets.0: {sets.1: all}}) }
}

fn single(target: &Target, key: &str, value: &str) -> Result<Value, Unfit> {
    let authenticated = |name: Value| json!({"authenticated": {"principalName": name}});
    Ok(match key {
        "destination.ip" => json!({"destinationIp": address(value).ok_or(Unfit)?}),
        "destination.port" => json!({"destinationPort": value.parse::<u16>().map_err(|_| Unfit)?}),
        "connection.sni" => json!({"requestedServerName": string(value, "")}),
        "source.ip" => json!({"directRemoteIp": address(value).ok_or(Unfit)?}),
        "remote.ip" => json!({"remoteIp": address(value).ok_or(Unfit)?}),
        "source.namespace" => {
            let parts: Vec<String> = value.split('*').map(quote).collect();
            authenticated(regex(&format!(".*/ns/{}/.*", parts.join(".*"))))
        }
        "source.serviceAccount" => {
            let (namespace, account) = value.split_once('/').unwrap_or((target.namespace, value));
            let pattern = format!("spiffe://.+/ns/{}/(.+/|)sa/{}(/.+)?", quote(namespace), quote(account));
            authenticated(regex(&pattern))
        }
        "source.trustDomain" => authenticated(match value.split_once('*') {
            _ if value == "*" => json!({"prefix": "spiffe://"}),
            None => json!({"prefix": format!("spiffe://{value}/")}),
            Some((before, after)) => regex(&format!("spiffe://{}[^/]*{}/.*", quote(before), quote(after))),
        }),
        "source.principal" => authenticated(string(value, "spiffe://")),
        _ if target.tcp => return Err(Unfit),
        ":authority" => json!({"header": header(":authority", value, true)}),
        ":method" => json!({"header": header(":method", value, false)}),
        "path" if value.contains("{*}") || value.contains("{**}") => json!({"uriTemplate": {
            "name": "uri-template",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
                "pathTemplate": value.replace("{**}", "**").replace("{*}", "*"),
            },
        }}),
        "path" => json!({"urlPath": {"path": string(value, "")}}),
        other => {
            let name = other.strip_prefix("request.headers").ok_or(Unfit)?;
            let name = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).ok_or(Unfit)?;
            json!({"header": header(name, value, false)})
        }
    })
}

//! Kinds as kubectl takes them: in any case, singular or plural, short, with or without their group.

use super::kind::BUILTIN;
use crate::diag::suggest::nearest;
use crate::istio::schema::schema;

/// kubectl's short names, and Istio's.
const SHORT: &[(&str, &str)] = &[
    ("po", "pod"),
    ("svc", "service"),
    ("deploy", "deployment"),
    ("cm", "configmap"),
    ("ns", "namespace"),
    ("sa", "serviceaccount"),
    ("ds", "daemonset"),
    ("sts", "statefulset"),
    ("rs", "replicaset"),
    ("ep", "endpoints"),
    ("ing", "ingress"),
    ("netpol", "networkpolicy"),
    ("crd", "customresourcedefinition"),
    ("hpa", "horizontalpodautoscaler"),
    ("se", "serviceentry"),
    ("vs", "virtualservice"),
    ("dr", "destinationrule"),
    ("gw", "gateway"),
    ("ap", "authorizationpolicy"),
    ("pa", "peerauthentication"),
    ("ra", "requestauthentication"),
    ("we", "workloadentry"),
    ("wg", "workloadgroup"),
];

fn known() -> impl Iterator<Item = String> {
    let own = ["site", "cut", "kill"].into_iter().map(str::to_string);
    let builtin = BUILTIN.iter().flat_map(|(_, kinds)| kinds.split(' ')).map(str::to_lowercase);
    builtin.chain(schema().kinds.iter().map(|k| k.name.to_lowercase())).chain(own)
}

/// The kind in lower case, in the singular, without its group.
pub fn singular(kind: &str) -> String {
    let lower = kind.to_lowercase();
    let lower = lower.split(['.', '/']).next().unwrap_or("");
    if let Some((_, long)) = SHORT.iter().find(|(short, _)| *short == lower) {
        return long.to_string();
    }
    let fits = |word: String| known().any(|k| k == word).then_some(word);
    fits(lower.to_string())
        .or_else(|| fits(lower.strip_suffix('s')?.to_string()))
        .or_else(|| fits(lower.strip_suffix("es")?.to_string()))
        .or_else(|| fits(format!("{}y", lower.strip_suffix("ies")?)))
        .unwrap_or_else(|| lower.to_string())
}

/// The kind that was most likely meant by one that is not known.
pub fn near(kind: &str) -> Option<String> {
    // Of another group kinds are known to the cluster alone.
    if kind.contains('.') {
        return None;
    }
    let kind = singular(kind);
    let all: Vec<String> = known().collect();
    if all.contains(&kind) {
        return None;
    }
    nearest(&kind, all.iter().map(String::as_str)).map(str::to_string)
}

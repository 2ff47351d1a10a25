//! AuthorizationPolicy.

use super::fields::Fields;
use super::findings::{Findings, Messages};
use super::selectors;
use super::webhook::Meta;
use crate::istio::go::{address, quote};
use serde_json::Value;

const MEANINGLESS: &str = "action without `rules` is meaningless as it will never be triggered, \
                           add an empty rule `{}` if you want it be triggered for every request";

pub(super) fn check(spec: &Value, meta: &Meta) -> Findings {
    let mut found = selectors::check_targets(spec);
    let action = spec.choice("action", "ALLOW");
    let rules = spec.items("rules");
    if action == "CUSTOM" {
        check_custom(spec, rules, &mut found);
    } else if spec.has("provider") {
        found.error(format!("`provider` must not be with non CUSTOM action, found {action}"));
    }
    if action == "DENY" && rules.is_empty() {
        found.error(format!("DENY {MEANINGLESS}"));
    }
    for (index, rule) in rules.iter().enumerate() {
        check_rule(rule, index, action, &mut found);
    }
    let prefix = format!("invalid policy {}.{}:", meta.name, meta.namespace);
    Findings { errors: found.errors.prefixed(&prefix), warnings: found.warnings }
}

/// What an external authorizer cannot be asked about.
fn check_custom(spec: &Value, rules: &[Value], found: &mut Findings) {
    if rules.is_empty() {
        found.error(format!("CUSTOM {MEANINGLESS}"));
    } else if spec.message("provider").is_none_or(|provider| provider.text("name").is_empty()) {
        found.error("`provider.name` must not be empty");
    }
    let unsupported = |name: &str| format!("{name} is currently not supported with CUSTOM action");
    for rule in rules {
        for source in rule.items("from").iter().filter_map(|from| from.message("source")) {
            for (name, shown) in [
                ("namespaces", "From.Namespaces"),
                ("notNamespaces", "From.NotNamespaces"),
                ("serviceAccounts", "From.ServiceAccounts"),
                ("notServiceAccounts", "From.NotServiceAccounts"),
                ("trustDomains", "From.TrustDomains"),
                ("notTrustDomains", "From.NotTrustDomains"),
                ("principals", "From.Principals"),
                ("notPrincipals", "From.NotPrincipals"),
                ("requestPrincipals", "From.RequestPrincipals"),
                ("notRequestPrincipals", "From.NotRequestPrincipals"),
            ] {
                if source.has(name) {
                    found.error(unsupported(shown));
                }
            }
        }
        for key in rule.items("when").iter().map(|condition| condition.text("key")) {
            let identity = ["source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal"];
            if identity.contains(&key) || key.starts_with("request.auth.") {
                found.error(unsupported(key));
            }
        }
    }
}

fn check_rule(rule: &Value, index: usize, action: &str, found: &mut Findings) {
    let (mut source_seen, mut operation_seen, mut tcp_source, mut tcp_operation) = (false, false, false, false);
    for from in rule.items("from") {
        let Some(source) = from.message("source") else {
            found.error(format!("`from.source` must not be nil, found at rule {index}"));
            continue;
        };
        source_seen = true;
        check_source(source, index, found);
        tcp_source |= [
            "notPrincipals",
            "principals",
            "ipBlocks",
            "notIpBlocks",
            "namespaces",
            "notNamespaces",
            "remoteIpBlocks",
            "notRemoteIpBlocks",
            "serviceAccounts",
            "notServiceAccounts",
        ]
        .iter()
        .any(|name| source.has(name));
    }
    for to in rule.items("to") {
        let Some(operation) = to.message("operation") else {
            found.error(format!("`to.operation` must not be nil, found at rule {index}"));
            continue;
        };
        operation_seen = true;
        check_operation(operation, index, found);
        tcp_operation |= operation.has("ports") || operation.has("notPorts");
    }
    for condition in rule.items("when") {
        found.join(check_condition(condition));
    }
    let http_only = (source_seen && !operation_seen && !tcp_source) || (operation_seen && !tcp_operation);
    if http_only && action == "DENY" {
        found.warn(
            "configured AuthorizationPolicy will deny all traffic to TCP ports under its scope due to the use of only \
             HTTP attributes in a DENY rule; it is recommended to explicitly specify the port",
        );
    }
}

fn check_source(source: &Value, index: usize, found: &mut Findings) {
    let any = |names: &[&str]| names.iter().any(|name| source.has(name));
    if any(&["principals", "notPrincipals", "namespaces", "notNamespaces"])
        && any(&["serviceAccounts", "notServiceAccounts"])
    {
        found.error(format!("cannot set serviceAccounts with namespaces or principals, found at rule {index}"));
    }
    if source.entries_len() == 0 {
        found.error(format!("`from.source` must not be empty, found at rule {index}"));
    }
    for name in ["ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"] {
        found.join(check_ips(&source.texts(name)));
    }
    for (prefix, negated) in [("", false), ("not", true)] {
        let names = [
            "Principals",
            "RequestPrincipals",
            "Namespaces",
            "ServiceAccounts",
            "TrustDomains",
            "IpBlocks",
            "RemoteIpBlocks",
        ];
        for base in names {
            let shown = if negated { format!("Not{base}") } else { base.to_string() };
            let name = if negated { format!("{prefix}{base}") } else { lower_first(base) };
            let values = source.texts(&name);
            found.check(match base {
                "ServiceAccounts" => check_service_accounts(&shown, &values),
                "TrustDomains" => check_trust_domains(&shown, &values),
                _ => check_not_empty(&shown, &values),
            });
        }
    }
}

fn check_operation(operation: &Value, index: usize, found: &mut Findings) {
    if operation.entries_len() == 0 {
        found.error(format!("`to.operation` must not be empty, found at rule {index}"));
    }
    for name in ["ports", "notPorts"] {
        found.join(check_ports(&operation.texts(name)));
    }
    for shown in ["Ports", "Methods", "Paths", "Hosts", "NotPorts", "NotMethods", "NotPaths", "NotHosts"] {
        found.check(check_not_empty(shown, &operation.texts(&lower_first(shown))));
    }
    for shown in ["Paths", "NotPaths"] {
        found.check(check_path_templates(shown, &operation.texts(&lower_first(shown))));
    }
}

fn lower_first(name: &str) -> String {
    name.char_indices().map(|(at, c)| if at == 0 { c.to_ascii_lowercase() } else { c }).collect()
}

/// How many fields of a message are set.
trait EntriesLen {
    fn entries_len(&self) -> usize;
}

impl EntriesLen for Value {
    fn entries_len(&self) -> usize {
        self.as_object().map_or(0, serde_json::Map::len)
    }
}

fn check_condition(condition: &Value) -> Messages {
    let key = condition.text("key");
    if key.is_empty() {
        return Messages::one("`key` must not be empty");
    }
    let (values, not_values) = (condition.texts("values"), condition.texts("notValues"));
    if values.is_empty() && not_values.is_empty() {
        return Messages::one(format!("at least one of `values` or `notValues` must be set for key {key}"));
    }
    let mut errors = Messages::default();
    for (what, values) in [("value", values), ("notValue", not_values)] {
        let found = check_attribute(key, &values);
        if !found.is_empty() {
            errors.add(format!("invalid `{what}` for `key` {key}: {}", found.text()));
        }
    }
    errors
}

fn check_attribute(key: &str, values: &[&str]) -> Messages {
    if let Err(error) = check_not_empty(key, values) {
        return Messages::one(error);
    }
    let outcome = match key {
        key if ["request.headers", "request.auth.claims", "experimental.envoy.filters."]
            .iter()
            .any(|prefix| key.starts_with(prefix)) =>
        {
            let open = key.find('[').unwrap_or(0);
            let named = key.ends_with(']') && open > 0 && open + 2 < key.len();
            if named { Ok(()) } else { Err(format!("bad key ({key}): should have format a[b]")) }
        }
        "source.ip" | "remote.ip" | "destination.ip" => return check_ips(values),
        "destination.port" => return check_ports(values),
        "source.serviceAccount" => check_service_accounts(key, values),
        "source.trustDomain" => check_wildcards(key, values),
        "source.namespace"
        | "source.principal"
        | "request.auth.principal"
        | "request.auth.audiences"
        | "request.auth.presenter"
        | "connection.sni" => Ok(()),
        "destination.namespace" => Err(format!("attribute {key} is replaced by the metadata.namespace")),
        key if key.starts_with("destination.labels") => {
            Err(format!("attribute {key} is replaced by the workload selector"))
        }
        "destination.name" | "destination.user" => {
            Err(format!("deprecated attribute {key}: only supported in v1alpha1"))
        }
        _ => Err(format!("unknown attribute: {key}")),
    };
    outcome.into()
}

fn check_not_empty(shown: &str, values: &[&str]) -> Result<(), String> {
    if values.contains(&"") {
        return Err(format!("empty value not allowed, found in {shown}"));
    }
    Ok(())
}

fn check_wildcards(shown: &str, values: &[&str]) -> Result<(), String> {
    check_not_empty(shown, values)?;
    for value in values {
        match value.matches('*').count() {
            0 => {}
            1 if value.starts_with('*') || value.ends_with('*') => {}
            1 => {
                return Err(format!(
                    "wildcard is only allowed at the start or end, found in {shown}: {}",
                    quote(value)
                ));
            }
            _ => return Err(format!("at most one wildcard is allowed, found in {shown}: {}", quote(value))),
        }
    }
    Ok(())
}

fn check_trust_domains(shown: &str, values: &[&str]) -> Result<(), String> {
    check_wildcards(shown, values)?;
    match values.iter().find(|value| value.contains('/')) {
        Some(value) => Err(format!("trust domain must not contain '/', found in {shown}: {}", quote(value))),
        None => Ok(()),
    }
}

fn check_service_accounts(shown: &str, values: &[&str]) -> Result<(), String> {
    if values.len() > 16 {
        return Err("may not have more than 16 values".into());
    }
    for value in values {
        let quoted = quote(value);
        let form = "expected format 'serviceAccount' or 'namespace/serviceAccount', found";
        if value.is_empty() {
            return Err(format!("empty value not allowed, found in {shown}"));
        }
        if value.contains('*') {
            return Err(format!("wildcard not allowed, found in {shown}"));
        }
        if value.matches('/').count() > 1 {
            return Err(format!("{form} {quoted} in {shown}"));
        }
        if value.len() > 320 {
            return Err(format!("value cannot exceed 320 characters, found {quoted} in {shown}"));
        }
        if value.starts_with('/') {
            return Err(format!("{form} empty namespace {quoted} in {shown}"));
        }
        if value.ends_with('/') {
            return Err(format!("{form} empty serviceAccount {quoted} in {shown}"));
        }
    }
    Ok(())
}

/// Paths with the templates `{*}` (one segment) and `{**}` (all that follow, so it stands last).
fn check_path_templates(shown: &str, paths: &[&str]) -> Result<(), String> {
    for path in paths {
        let has_template = path.contains("{*}") || path.contains("{**}");
        let path = path.trim_matches('/');
        let wrong = |why: &str| Err(format!("invalid or unsupported path {path}, found in {shown}. {why}"));
        let mut ended = false;
        for segment in path.split('/') {
            match segment {
                "{*}" | "{**}" if ended => return wrong("{**} is not the last operator"),
                "{*}" => {}
                "{**}" => ended = true,
                _ if segment.contains(['{', '}']) => {
                    return wrong("Contains '{' or '}' beyond a supported path template");
                }
                _ if has_template && !is_path_literal(segment) => {
                    return wrong(&format!("Contains segment {segment} with invalid string literal"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn is_path_literal(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&b))
}

fn check_ips(values: &[&str]) -> Messages {
    let mut errors = Messages::default();
    for value in values {
        if value.contains('/') {
            if let Err(error) = address::check_prefix(value) {
                errors.list(format!("bad CIDR range ({value}): {error}"));
            }
        } else if !address::is_address(value) {
            errors.list(format!("bad IP address ({value})"));
        }
    }
    errors
}

fn check_ports(values: &[&str]) -> Messages {
    let mut errors = Messages::default();
    for value in values {
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        let why = match value.parse::<u32>() {
            Ok(port) if digits && port <= 65535 => continue,
            Ok(_) if digits => "<nil>".to_string(),
            _ if digits => format!("strconv.ParseUint: parsing {}: value out of range", quote(value)),
            _ => format!("strconv.ParseUint: parsing {}: invalid syntax", quote(value)),
        };
        errors.list(format!("bad port ({value}): {why}"));
    }
    errors
}

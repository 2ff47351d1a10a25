//! istiod's validating webhook: decode, check the metadata, check the spec, refuse odd fields at the top.

use super::decode::decode;
use super::fields::Fields;
use super::findings::Findings;
use super::{
    authorization_policy, destination_rule, envoy_filter, gateway, peer_authentication, request_authentication,
    service_entry, sidecar, telemetry, virtual_service, wasm_plugin, workload,
};
use crate::istio::go::{json, quote};
use crate::istio::schema::{Kind, schema};
use serde_json::Value;

/// What the webhook answers.
#[derive(Debug, Default)]
pub(super) struct Ruling {
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
    pub message: String,
}

impl Ruling {
    fn refused(message: String) -> Self {
        Ruling { errors: vec![message.clone()], warnings: vec![], message }
    }
}

/// Rules on an object; `kind` is what its API group and kind name, whatever the version.
pub(super) fn rule(object: &Value, kind: Option<&Kind>) -> Ruling {
    if let Err(error) = check_metadata_types(object) {
        return Ruling::refused(format!("cannot decode configuration: {error}"));
    }
    let Some(kind) = kind else {
        let group_version = super::text(object, "apiVersion");
        return Ruling::refused(format!("unrecognized type {group_version}, Kind={}", super::text(object, "kind")));
    };
    let findings = match check(object, kind) {
        Ok(findings) => findings,
        Err(error) => return Ruling::refused(format!("error decoding configuration: {error}")),
    };
    if !findings.errors.is_empty() {
        let message = format!("configuration is invalid: {}", findings.errors.text());
        return Ruling { errors: findings.errors.into_vec(), warnings: findings.warnings.into_vec(), message };
    }
    let known = ["apiVersion", "kind", "metadata", "spec", "status"];
    let odd = object.as_object().into_iter().flatten().map(|(key, _)| key).find(|key| !known.contains(&key.as_str()));
    if let Some(key) = odd {
        let meta = Meta::of(object);
        return Ruling::refused(format!(
            "unknown field {} on {} resource {}/{}",
            quote(key),
            kind.name,
            meta.namespace,
            meta.name
        ));
    }
    Ruling { errors: vec![], warnings: findings.warnings.into_vec(), message: String::new() }
}

/// Decodes the spec and checks it.
///
/// # Errors
/// The decoder's.
fn check(object: &Value, kind: &Kind) -> Result<Findings, String> {
    let spec = decode_spec(object, kind)?;
    let meta = Meta::of(object);
    if let Err(error) = check_annotations(&meta, kind, &spec) {
        return Ok(Findings::failed(error));
    }
    Ok(check_decoded(&spec, &meta, kind))
}

/// Decodes an object's spec.
///
/// # Errors
/// The decoder's.
pub(crate) fn decode_spec(object: &Value, kind: &Kind) -> Result<Value, String> {
    decode(object.get("spec").unwrap_or(&Value::Null), &schema().messages[kind.spec])
}

/// Checks a decoded spec.
pub(crate) fn check_decoded(spec: &Value, meta: &Meta, kind: &Kind) -> Findings {
    match kind.name {
        "ServiceEntry" => service_entry::check(spec, meta),
        "Gateway" => gateway::check(spec, meta),
        "VirtualService" => virtual_service::check(spec, meta),
        "DestinationRule" => destination_rule::check(spec, meta),
        "Sidecar" => sidecar::check(spec, meta),
        "WorkloadEntry" => workload::check_entry(spec, None, true),
        "WorkloadGroup" => workload::check_group(spec),
        "EnvoyFilter" => envoy_filter::check(spec),
        "AuthorizationPolicy" => authorization_policy::check(spec, meta),
        "PeerAuthentication" => peer_authentication::check(spec),
        "RequestAuthentication" => request_authentication::check(spec),
        "Telemetry" => telemetry::check(spec),
        "WasmPlugin" => wasm_plugin::check(spec),
        "ProxyConfig" => workload::check_proxy_config(spec),
        _ => Findings::default(),
    }
}

/// The metadata that checks look at.
pub(crate) struct Meta<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    metadata: &'a Value,
}

impl<'a> Meta<'a> {
    pub fn of(object: &'a Value) -> Self {
        let metadata = object.get("metadata").unwrap_or(&Value::Null);
        Meta { name: metadata.text("name"), namespace: metadata.text("namespace"), metadata }
    }

    /// Name and namespace, as if there were no labels and annotations.
    pub fn plain(name: &'a str, namespace: &'a str) -> Self {
        Meta { name, namespace, metadata: &Value::Null }
    }

    pub fn label(&self, name: &str) -> Option<&'a str> {
        self.metadata.get("labels")?.get(name)?.as_str()
    }

    pub fn annotation(&self, name: &str) -> Option<&'a str> {
        self.metadata.get("annotations")?.get(name)?.as_str()
    }
}

fn check_annotations(meta: &Meta, kind: &Kind, spec: &Value) -> Result<(), String> {
    const DRY_RUN: &str = "istio.io/dry-run";
    if let Some(value) = meta.annotation(DRY_RUN) {
        let place = format!("{}/{}", meta.namespace, meta.name);
        if kind.name != "AuthorizationPolicy" {
            return Err(format!("{place} has unsupported annotation {DRY_RUN}, please remove the annotation"));
        }
        let action = spec.choice("action", "ALLOW");
        if action != "ALLOW" && action != "DENY" {
            return Err(format!(
                "the annotation {DRY_RUN} currently only supports action ALLOW/DENY, found action {action} in {place}"
            ));
        }
        let booleans = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
        if !booleans.contains(&value) {
            return Err(format!(
                "{place} has annotation {DRY_RUN} with invalid value ({value}): strconv.ParseBool: parsing {}: invalid syntax",
                quote(value)
            ));
        }
    }
    if meta.annotation("internal.istio.io/webhook-always-reject").is_some() {
        return Err("\"internal.istio.io/webhook-always-reject\" annotation found, rejecting".into());
    }
    for name in ["internal.istio.io/parent-namespace", "internal.istio.io/parents"] {
        if meta.annotation(name).is_some() {
            return Err(format!("\"{name}\" annotation found, this may not be set by users"));
        }
    }
    Ok(())
}

/// Metadata of the wrong type does not decode.
fn check_metadata_types(object: &Value) -> Result<(), String> {
    let cannot = |value: &Value, place: &str, wanted: &str| {
        Err(format!("json: cannot unmarshal {} into Go struct field {place} of type {wanted}", json::kind(value)))
    };
    let metadata = match object.get("metadata") {
        None | Some(Value::Null) => return Ok(()),
        Some(metadata @ Value::Object(_)) => metadata,
        Some(other) => return cannot(other, "IstioKind.metadata", "v1.ObjectMeta"),
    };
    for name in ["name", "generateName", "namespace"] {
        if let Some(value) = metadata.get(name).filter(|value| !value.is_string() && !value.is_null()) {
            return cannot(value, &format!("ObjectMeta.metadata.{name}"), "string");
        }
    }
    for name in ["labels", "annotations"] {
        let place = format!("ObjectMeta.metadata.{name}");
        match metadata.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::Object(entries)) => {
                if let Some(value) = entries.values().find(|value| !value.is_string() && !value.is_null()) {
                    return cannot(value, &place, "string");
                }
            }
            Some(other) => return cannot(other, &place, "map[string]string"),
        }
    }
    Ok(())
}

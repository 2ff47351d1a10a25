//! What makes an object invalid: names, immutable fields, the rules people meet; and the strict
//! reading of built-in kinds against their field types.

use super::failure::Cause;
use super::object;
use super::resource::Resource;
use super::schema::{Schema, Type};
use super::selector::LabelSelector;
use crate::kubernetes::types;
use serde_json::{Value, json};

/// The result of reading an object against its type.
#[derive(Debug, Default, PartialEq)]
pub struct Read {
    /// Paths of fields that do not exist.
    pub unknown: Vec<String>,
    /// Values of a wrong type, in the words of Kubernetes' decoder.
    pub wrong: Vec<String>,
}

/// Looks for unknown fields and values of a wrong type.
pub fn types(schema: &Schema, ty: &Type, value: &Value) -> Read {
    let mut read = Read::default();
    for fault in types::faults(schema, ty, value) {
        match fault.what {
            types::What::Unknown => read.unknown.push(fault.path),
            types::What::Wrong { .. } => read.wrong.extend(fault.decoder_error()),
        }
    }
    read
}

/// The faults of an object about to be stored.
pub fn object(resource: &Resource, live: Option<&Value>, body: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if live.is_none() {
        name(resource, object::name(body), &mut causes);
    }
    labels(body, &mut causes);
    for (i, owner) in object::list(body, &["metadata", "ownerReferences"]).iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if object::text(owner, &[field]).is_empty() {
                let path = format!("metadata.ownerReferences[{i}].{field}");
                causes.push(Cause::required(&path, "must not be empty"));
            }
        }
    }
    if resource.is_custom() {
        return causes;
    }
    match resource.kind.as_str() {
        "Pod" => {
            pod_spec(object::at(body, &["spec"]), "spec", &mut causes);
            if let Some(live) = live {
                pod_update(live, body, &mut causes);
            }
        }
        "Service" => service(body, &mut causes),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => workload(live, body, &mut causes),
        "Secret" => {
            if let Some(live) = live
                && live["type"] != body["type"]
            {
                causes.push(Cause::invalid("type", &body["type"], "field is immutable"));
            }
        }
        "CustomResourceDefinition" => {
            let wanted = format!(
                "{}.{}",
                object::text(body, &["spec", "names", "plural"]),
                object::text(body, &["spec", "group"])
            );
            if object::name(body) != wanted {
                let detail = "must be spec.names.plural+\".\"+spec.group";
                causes.push(Cause::invalid("metadata.name", &json!(object::name(body)), detail));
            }
        }
        _ => {}
    }
    if let Some(live) = live
        && live["immutable"] == json!(true)
        && (live["data"] != body["data"] || body["immutable"] != json!(true))
    {
        let cause = Cause {
            field: "data".into(),
            reason: "FieldValueForbidden",
            message: "Forbidden: field is immutable when `immutable` is set".into(),
        };
        causes.push(cause);
    }
    causes
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and \
     end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with \
     an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
     character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
     '[a-z]([-a-z0-9]*[a-z0-9])?')";

fn is_label(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(fine) && !text.starts_with('-') && !text.ends_with('-')
}

fn name(resource: &Resource, name: &str, causes: &mut Vec<Cause>) {
    let mut bad = |rule: &str| causes.push(Cause::invalid("metadata.name", &json!(name), rule));
    if resource.group == "rbac.authorization.k8s.io" {
        if name.contains('/') || name.contains('%') || name == "." || name == ".." {
            bad("may not contain '/' or '%'");
        }
        return;
    }
    match resource.kind.as_str() {
        "Namespace" | "Service" if !resource.is_custom() => {
            if name.len() > 63 {
                bad("must be no more than 63 characters");
            }
            let alphabetic = name.starts_with(|c: char| c.is_ascii_lowercase());
            if resource.kind == "Service" && !(is_label(name) && alphabetic) {
                bad(LABEL_1035);
            } else if !is_label(name) {
                bad(LABEL);
            }
        }
        _ => {
            if name.len() > 253 {
                bad("must be no more than 253 characters");
            }
            if !name.split('.').all(is_label) {
                bad(SUBDOMAIN);
            }
        }
    }
}

fn labels(body: &Value, causes: &mut Vec<Cause>) {
    for (key, value) in object::labels(body).into_iter().flatten() {
        let text = value.as_str().unwrap_or("");
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let ends = |t: &str| {
            t.starts_with(|c: char| c.is_ascii_alphanumeric()) && t.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        if !(text.is_empty() || text.chars().all(fine) && ends(text) && text.len() <= 63) {
            let rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
                        must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
                        regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
            let rule = if text.len() > 63 { "must be no more than 63 characters" } else { rule };
            causes.push(Cause::invalid("metadata.labels", &json!(text), rule));
        }
        let short = key.rsplit('/').next().unwrap_or(key);
        if !(short.chars().all(fine) && ends(short) && short.len() <= 63) {
            causes.push(Cause::invalid("metadata.labels", &json!(key), "name part must be a valid label key"));
        }
    }
}

fn pod_spec(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let containers = object::list(spec, &["containers"]);
    if containers.is_empty() {
        causes.push(Cause::required(&format!("{path}.containers"), ""));
    }
    let mut names: Vec<&str> = Vec::new();
    for list in ["initContainers", "containers"] {
        for (i, container) in object::list(spec, &[list]).iter().enumerate() {
            let at = format!("{path}.{list}[{i}]");
            let name = object::text(container, &["name"]);
            if name.is_empty() {
                causes.push(Cause::required(&format!("{at}.name"), ""));
            } else if !is_label(name) || name.len() > 63 {
                causes.push(Cause::invalid(&format!("{at}.name"), &json!(name), LABEL));
            } else if names.contains(&name) {
                let message = format!("Duplicate value: \"{name}\"");
                causes.push(Cause { field: format!("{at}.name"), reason: "FieldValueDuplicate", message });
            }
            names.push(name);
            if object::text(container, &["image"]).is_empty() {
                causes.push(Cause::required(&format!("{at}.image"), ""));
            }
            for (j, port) in object::list(container, &["ports"]).iter().enumerate() {
                port_number(port, "containerPort", &format!("{at}.ports[{j}]"), causes);
            }
            for (j, mount) in object::list(container, &["volumeMounts"]).iter().enumerate() {
                let volume = object::text(mount, &["name"]);
                let known = object::list(spec, &["volumes"]).iter().any(|v| object::text(v, &["name"]) == volume);
                if !known {
                    let field = format!("{at}.volumeMounts[{j}].name");
                    let message = format!("Not found: \"{volume}\"");
                    causes.push(Cause { field, reason: "FieldValueNotFound", message });
                }
            }
        }
    }
    let policy = &spec["restartPolicy"];
    if policy.as_str().is_some_and(|p| !["Always", "OnFailure", "Never"].contains(&p)) {
        causes.push(Cause::unsupported(&format!("{path}.restartPolicy"), policy, &["Always", "OnFailure", "Never"]));
    }
}

fn pod_update(live: &Value, body: &Value, causes: &mut Vec<Cause>) {
    let mut frozen = [live["spec"].clone(), body["spec"].clone()];
    for spec in &mut frozen {
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(map) = container.as_object_mut() {
                    map.shift_remove("image");
                    map.shift_remove("resources");
                }
            }
        }
        if let Some(map) = spec.as_object_mut() {
            for field in
                ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "ephemeralContainers"]
            {
                map.shift_remove(field);
            }
            if object::text(&live["spec"], &["nodeName"]).is_empty() {
                map.shift_remove("nodeName");
            }
        }
    }
    if frozen[0] != frozen[1] {
        let cause = Cause {
            field: "spec".into(),
            reason: "FieldValueForbidden",
            message: "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
                      `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
                      existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                      previously negative)"
                .into(),
        };
        causes.push(cause);
    }
}

fn port_number(port: &Value, field: &str, at: &str, causes: &mut Vec<Cause>) {
    match object::number(port, &[field]) {
        Some(n) if (1..=65535).contains(&n) => {}
        Some(n) if n != 0 => {
            causes.push(Cause::invalid(&format!("{at}.{field}"), &json!(n), "must be between 1 and 65535, inclusive"));
        }
        _ => causes.push(Cause::required(&format!("{at}.{field}"), "")),
    }
    let protocol = &port["protocol"];
    if protocol.as_str().is_some_and(|p| !["TCP", "UDP", "SCTP"].contains(&p)) {
        causes.push(Cause::unsupported(&format!("{at}.protocol"), protocol, &["SCTP", "TCP", "UDP"]));
    }
}

fn service(body: &Value, causes: &mut Vec<Cause>) {
    let ports = object::list(body, &["spec", "ports"]);
    let kind = object::text(body, &["spec", "type"]);
    if !["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"].contains(&kind) {
        let allowed = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        causes.push(Cause::unsupported("spec.type", &json!(kind), &allowed));
    }
    if ports.is_empty() && kind != "ExternalName" && object::text(body, &["spec", "clusterIP"]) != "None" {
        causes.push(Cause::required("spec.ports", ""));
    }
    if kind == "ExternalName" && object::text(body, &["spec", "externalName"]).is_empty() {
        causes.push(Cause::required("spec.externalName", ""));
    }
    for (i, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{i}]");
        if object::number(port, &["port"]).is_none_or(|n| !(1..=65535).contains(&n)) {
            let detail = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(&format!("{at}.port"), &port["port"], detail));
        } else {
            port_number(port, "port", &at, causes);
        }
        if object::number(port, &["targetPort"]).is_some_and(|n| !(1..=65535).contains(&n)) {
            let detail = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(&format!("{at}.targetPort"), &port["targetPort"], detail));
        }
        let name = object::text(port, &["name"]);
        if ports.len() > 1 && name.is_empty() {
            causes.push(Cause::required(&format!("{at}.name"), ""));
        }
        let same = |p: &&Value| p["port"] == port["port"] && p["protocol"] == port["protocol"];
        if ports[..i].iter().any(|p| same(&p)) {
            let shown = json!({ "port": port["port"], "protocol": port["protocol"] });
            let message = format!("Duplicate value: {shown}");
            causes.push(Cause { field: at.clone(), reason: "FieldValueDuplicate", message });
        }
        if !name.is_empty() && ports[..i].iter().any(|p| object::text(p, &["name"]) == name) {
            let message = format!("Duplicate value: \"{name}\"");
            causes.push(Cause { field: format!("{at}.name"), reason: "FieldValueDuplicate", message });
        }
    }
}

fn workload(live: Option<&Value>, body: &Value, causes: &mut Vec<Cause>) {
    let selector = object::at(body, &["spec", "selector"]);
    let parsed = LabelSelector::from_object(selector);
    if selector.is_null() {
        causes.push(Cause::required("spec.selector", ""));
    } else if parsed.is_empty() {
        causes.push(Cause::invalid("spec.selector", selector, "empty selector is invalid for deployment"));
    }
    let template = object::at(body, &["spec", "template"]);
    if !parsed.is_empty() && !parsed.matches(object::labels(template)) {
        let labels = object::at(template, &["metadata", "labels"]);
        causes.push(Cause::invalid(
            "spec.template.metadata.labels",
            labels,
            "`selector` does not match template `labels`",
        ));
    }
    pod_spec(object::at(template, &["spec"]), "spec.template.spec", causes);
    if let Some(n) = object::number(body, &["spec", "replicas"]).filter(|n| *n < 0) {
        causes.push(Cause::invalid("spec.replicas", &json!(n), "must be greater than or equal to 0"));
    }
    if let Some(live) = live
        && object::at(live, &["spec", "selector"]) != selector
    {
        causes.push(Cause::invalid("spec.selector", selector, "field is immutable"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_and_wrong_types_have_their_path() {
        let schema = Schema::builtin();
        let ty = schema.kind("apps", "v1", "Deployment");
        let body = json!({ "kind": "Deployment", "spec": { "replicas": "3", "foo": 1,
            "template": { "spec": { "containers": [{ "name": "a", "imagee": "x" }] } } } });
        let read = types(schema, &ty, &body);
        assert_eq!(read.unknown, ["spec.foo", "spec.template.spec.containers[0].imagee"]);
        assert_eq!(
            read.wrong,
            ["json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"]
        );
        let secret = schema.kind("", "v1", "Secret");
        assert_eq!(
            types(schema, &secret, &json!({ "data": { "a": "eA==" }, "stringData": { "b": "c" } })),
            Read::default()
        );
    }
}

//! What the server serves, for clients to find out: aggregated and legacy discovery, version, health.

use super::answer::{self, Answer};
use super::failure::Failure;
use super::request::Request;
use super::resource::{Registry, Resource};
use http::{Method, header};
use serde_json::{Value, json};

/// The Kubernetes version this subset follows.
const VERSION: &str = "v1.34.0";

/// Answers paths that are not resources; `None` for those that may be.
pub fn answer(registry: &Registry, request: &Request) -> Result<Option<Answer>, Failure> {
    let parts: Vec<&str> = request.path.split('/').filter(|p| !p.is_empty()).collect();
    let accept = request.header(header::ACCEPT);
    let value = match parts.as_slice() {
        ["readyz" | "healthz" | "livez", ..] => return Ok(Some(answer::text("ok"))),
        ["version"] => version(),
        ["api"] if aggregated(accept) => return Ok(Some(aggregated_answer(registry, false))),
        ["apis"] if aggregated(accept) => return Ok(Some(aggregated_answer(registry, true))),
        ["api"] => json!({ "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1" }] }),
        ["apis"] => json!({ "kind": "APIGroupList", "apiVersion": "v1",
            "groups": registry.groups().map(|g| group(registry, g)).collect::<Vec<_>>() }),
        ["apis", name] => {
            let Some(name) = registry.groups().find(|g| g == name) else { return Err(Failure::no_such_resource()) };
            let mut value = group(registry, name);
            value["kind"] = json!("APIGroup");
            value["apiVersion"] = json!("v1");
            value
        }
        ["api", "v1"] => resource_list(registry, "", "v1"),
        ["apis", name, version] => {
            if !registry.versions(name).iter().any(|v| v == version) {
                return Err(Failure::no_such_resource());
            }
            resource_list(registry, name, version)
        }
        [] => {
            let mut paths = vec!["/api".to_string(), "/api/v1".into(), "/apis".into()];
            for group in registry.groups() {
                paths.push(format!("/apis/{group}"));
                paths.extend(registry.versions(group).iter().map(|v| format!("/apis/{group}/{v}")));
            }
            paths.extend(["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(String::from));
            json!({ "paths": paths })
        }
        _ => return Ok(None),
    };
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err(Failure::method_not_allowed());
    }
    Ok(Some(answer::json_answer(200, &value)))
}

fn version() -> Value {
    json!({ "major": "1", "minor": "34", "gitVersion": format!("{VERSION}+egress-scn"), "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()) })
}

/// The machine's architecture under Go's name.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn aggregated(accept: &str) -> bool {
    accept
        .split(',')
        .any(|part| part.contains("as=APIGroupDiscoveryList") && part.contains("v=v2") && !part.contains("v=v2beta1"))
}

fn group(registry: &Registry, name: &str) -> Value {
    let versions: Vec<Value> = registry
        .versions(name)
        .iter()
        .map(|v| json!({ "groupVersion": format!("{name}/{v}"), "version": v }))
        .collect();
    json!({ "name": name, "versions": versions, "preferredVersion": versions.first() })
}

/// The kind, group and version of what a subresource takes, if it is not the resource's own.
fn subresource_kind(resource: &Resource, sub: &str) -> (String, String, String) {
    let own = || (resource.group.clone(), resource.storage_version().to_string(), resource.kind.clone());
    let core = |kind: &str| (String::new(), "v1".to_string(), kind.to_string());
    match sub {
        "scale" => ("autoscaling".into(), "v1".into(), "Scale".into()),
        "exec" => core("PodExecOptions"),
        "portforward" => core("PodPortForwardOptions"),
        "binding" => core("Binding"),
        "eviction" => ("policy".into(), "v1".into(), "Eviction".into()),
        "token" => ("authentication.k8s.io".into(), "v1".into(), "TokenRequest".into()),
        _ => own(),
    }
}

fn subresource_verbs(sub: &str) -> &'static [&'static str] {
    match sub {
        "status" | "scale" | "ephemeralcontainers" => &["get", "patch", "update"],
        "log" => &["get"],
        "exec" | "portforward" => &["create", "get"],
        "finalize" => &["update"],
        _ => &["create"],
    }
}

fn resource_list(registry: &Registry, group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for resource in registry.in_version(group, version) {
        let mut entry = json!({ "name": resource.plural, "singularName": resource.singular,
            "namespaced": resource.namespaced, "kind": resource.kind, "verbs": resource.verbs() });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        resources.push(entry);
        for sub in &resource.subresources {
            let (sub_group, sub_version, kind) = subresource_kind(&resource, sub);
            let mut entry = json!({ "name": format!("{}/{sub}", resource.plural), "singularName": "",
                "namespaced": resource.namespaced, "kind": kind, "verbs": subresource_verbs(sub) });
            if sub_group != group {
                entry["group"] = json!(sub_group);
                entry["version"] = json!(sub_version);
            }
            resources.push(entry);
        }
    }
    let name = if group.is_empty() { version.to_string() } else { format!("{group}/{version}") };
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources })
}

fn aggregated_answer(registry: &Registry, named: bool) -> Answer {
    let groups: Vec<&str> = if named { registry.groups().collect() } else { vec![""] };
    let items: Vec<Value> = groups
        .into_iter()
        .map(|group| {
            let versions: Vec<Value> = registry
                .versions(group)
                .iter()
                .map(|version| {
                    let resources: Vec<Value> =
                        registry.in_version(group, version).iter().map(|r| aggregated_resource(r, version)).collect();
                    json!({ "version": version, "resources": resources, "freshness": "Current" })
                })
                .collect();
            let mut metadata = json!({ "creationTimestamp": null });
            if !group.is_empty() {
                metadata["name"] = json!(group);
            }
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    let list = json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items });
    let kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    answer::with_type(200, kind, answer::full(answer::bytes(&list)))
}

fn aggregated_resource(resource: &Resource, version: &str) -> Value {
    let kind =
        |(group, version, kind): (String, String, String)| json!({ "group": group, "version": version, "kind": kind });
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|sub| {
            let mut own = subresource_kind(resource, sub);
            if own.2 == resource.kind {
                own.1 = version.to_string();
            }
            json!({ "subresource": sub, "responseKind": kind(own), "verbs": subresource_verbs(sub) })
        })
        .collect();
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": kind((resource.group.clone(), version.to_string(), resource.kind.clone())),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs(),
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    if !subresources.is_empty() {
        entry["subresources"] = json!(subresources);
    }
    entry
}

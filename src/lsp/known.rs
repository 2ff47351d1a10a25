//! What the manifests around a scenario define: hosts, subsets, workloads, gateways' ports, namespaces; each with its place.

use crate::diag::Place;
use crate::plan::ManifestObject;
use serde_json::Value;
use std::cell::LazyCell;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Host,
    Subset,
    Workload,
    Namespace,
    /// A port of a Gateway's server.
    Port,
    /// Any object, by its own name.
    Object,
}

#[derive(Debug, Clone)]
pub struct Thing {
    pub kind: Kind,
    /// As a scenario writes it: a host, `NAME` of a workload, a port's number.
    pub name: String,
    /// `ServiceEntry mesh-test/cnn-ext`.
    pub object: String,
    pub namespace: Option<String>,
    /// Ports of a host.
    pub ports: Vec<u64>,
    pub place: Place,
}

/// Read from the files when somebody asks for the first of them.
pub type Things = LazyCell<Vec<Thing>, Box<dyn FnOnce() -> Vec<Thing>>>;

/// Everything that the objects define, in their order.
pub fn things(objects: &[ManifestObject]) -> Vec<Thing> {
    objects.iter().flat_map(of_object).collect()
}

fn of_object(object: &ManifestObject) -> Vec<Thing> {
    let body = &object.body;
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
    let list = |pointer: &str| body.pointer(pointer).and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    let kind = text("/kind").unwrap_or("");
    let Some(name) = text("/metadata/name") else { return vec![] };
    let namespace = text("/metadata/namespace").map(str::to_owned);
    let described = format!("{kind} {}{name}", namespace.as_ref().map(|n| format!("{n}/")).unwrap_or_default());
    let ports =
        |pointer: &str, field: &str| list(pointer).iter().filter_map(|p| p.get(field)?.as_u64()).collect::<Vec<_>>();
    let thing = |kind: Kind, name: &str, pointer: &str, ports: Vec<u64>| Thing {
        kind,
        name: name.to_owned(),
        object: described.clone(),
        namespace: namespace.clone(),
        ports,
        place: place(object, pointer),
    };
    let own = thing(Kind::Object, name, "/metadata/name", vec![]);
    let mut out = named(kind, name, namespace.as_deref(), &list, &ports, &thing);
    out.push(own);
    out
}

type Ports<'o> = dyn Fn(&str, &str) -> Vec<u64> + 'o;
type Made<'o> = dyn Fn(Kind, &str, &str, Vec<u64>) -> Thing + 'o;

/// What an object gives a name to, beside itself.
fn named<'o>(
    kind: &str,
    name: &str,
    namespace: Option<&str>,
    list: &dyn Fn(&str) -> &'o [Value],
    ports: &Ports<'_>,
    thing: &Made<'_>,
) -> Vec<Thing> {
    match kind {
        "ServiceEntry" => list("/spec/hosts")
            .iter()
            .enumerate()
            .filter_map(|(i, host)| {
                Some(thing(Kind::Host, host.as_str()?, &format!("/spec/hosts/{i}"), ports("/spec/ports", "number")))
            })
            .collect(),
        "Service" => {
            let host = format!("{name}.{}.svc.cluster.local", namespace.unwrap_or("default"));
            vec![thing(Kind::Host, &host, "/metadata/name", ports("/spec/ports", "port"))]
        }
        "DestinationRule" => list("/spec/subsets")
            .iter()
            .enumerate()
            .filter_map(|(i, subset)| {
                Some(thing(Kind::Subset, subset.get("name")?.as_str()?, &format!("/spec/subsets/{i}/name"), vec![]))
            })
            .collect(),
        "Gateway" => list("/spec/servers")
            .iter()
            .enumerate()
            .filter_map(|(i, server)| {
                let number = server.pointer("/port/number")?.as_u64()?;
                Some(thing(Kind::Port, &number.to_string(), &format!("/spec/servers/{i}/port/number"), vec![]))
            })
            .collect(),
        "Deployment" | "StatefulSet" | "DaemonSet" | "Pod" => {
            vec![thing(Kind::Workload, name, "/metadata/name", vec![])]
        }
        "Namespace" => vec![thing(Kind::Namespace, name, "/metadata/name", vec![])],
        _ => vec![],
    }
}

/// Where a field stands; the document, when it has no place of its own.
pub fn place(object: &ManifestObject, pointer: &str) -> Place {
    let span = object.spans.iter().find(|(known, _)| known == pointer).map(|(_, span)| span.clone());
    Place { source: object.place.source.clone(), span: span.unwrap_or_else(|| object.place.span.clone()) }
}

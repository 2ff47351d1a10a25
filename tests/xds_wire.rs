//! Every resource of every golden case has a protobuf form, and comes back from it unchanged.
// Functions of a test outside `#[test]` fail by panicking.
#![allow(clippy::unwrap_used)]

mod istiod;

use egress_scn::xds::{Resource, ResourceType, wire};
use serde_json::Value;

/// `0.100s` and `0.1s` are one duration, `5` and `5.0` one number; the order of fields says nothing.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut kept: Vec<(String, Value)> = fields.iter().map(|(k, v)| (k.clone(), normal(v))).collect();
            kept.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(kept.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(normal).collect()),
        Value::String(text) => match text.strip_suffix('s').and_then(|n| n.parse::<f64>().ok()) {
            Some(seconds) => Value::String(format!("{seconds}s")),
            None => value.clone(),
        },
        Value::Number(number) => serde_json::json!(number.as_f64()),
        other => other.clone(),
    }
}

#[test]
fn every_golden_resource_comes_back_from_protobuf_unchanged() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for sent in istiod::all() {
        let of = |kind: ResourceType, list: Vec<Resource>| {
            list.into_iter().map(move |resource| (kind, resource.body.into_value()))
        };
        let resources = sent.resources;
        let bodies = of(ResourceType::Cluster, resources.clusters)
            .chain(of(ResourceType::Endpoint, resources.endpoints))
            .chain(of(ResourceType::Listener, resources.listeners))
            .chain(of(ResourceType::Route, resources.routes));
        for (kind, mut body) in bodies {
            count += 1;
            body["@type"] = kind.type_url().into();
            match wire::encode(&body).and_then(|any| wire::decode(&any)) {
                Ok(back) if normal(&back) == normal(&body) => {}
                Ok(back) => wrong.push(format!("{}: changed:\n{}\n{}", sent.place, normal(&body), normal(&back))),
                Err(error) => wrong.push(format!("{}: {error}", sent.place)),
            }
        }
    }
    assert!(count > 1000, "only {count} resources");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
}

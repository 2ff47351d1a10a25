//! Every resource of every golden dump has a protobuf form, and comes back from it unchanged.
// Functions of a test outside `#[test]` fail by panicking.
#![allow(clippy::unwrap_used)]

mod dumps;

use egress_scn::xds::wire;
use serde_json::Value;

fn resources(dump: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    for part in dump["configs"].as_array().unwrap() {
        for (list, at) in [
            ("dynamicActiveClusters", "/cluster"),
            ("dynamicListeners", "/activeState/listener"),
            ("dynamicRouteConfigs", "/routeConfig"),
            ("dynamicEndpointConfigs", "/endpointConfig"),
        ] {
            found.extend(part[list].as_array().into_iter().flatten().filter_map(|entry| entry.pointer(at)));
        }
    }
    found
}

/// `0.100s` and `0.1s` are one duration; `"5"` and `5` one 64-bit integer; absent and default one value.
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
    let files = dumps::files();
    for file in &files {
        let dump: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for body in resources(&dump) {
            count += 1;
            match wire::encode(body).and_then(|any| wire::decode(&any)) {
                Ok(back) if normal(&back) == normal(body) => {}
                Ok(back) => wrong.push(format!("{}: changed:\n{}\n{}", file.display(), normal(body), normal(&back))),
                Err(error) => wrong.push(format!("{}: {error}", file.display())),
            }
        }
    }
    assert!(count > 50, "{count} resources in {} dumps: where are they?", files.len());
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
}

//! Messages of `istioctl analyze --use-kube=false --all-namespaces` (1.30.3) over whole configurations. `objects.jsonl`
//! holds each object once; `cases.jsonl` names the objects of a configuration by line.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use egress_scn::istio::analyze::{Level, analyze};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Code, level, origin and text of a message.
type Shown = (String, String, String, String);

/// Prints the figures of docs/fidelity.md with `--nocapture`.
#[test]
fn every_configuration_gets_the_messages_of_istioctl() {
    let objects = lines(include_str!("analyze/objects.jsonl"));
    let cases = lines(include_str!("analyze/cases.jsonl"));
    let mut wrong = vec![];
    let mut by_code: BTreeMap<String, usize> = BTreeMap::new();
    for case in &cases {
        let ids = case["objects"].as_array().unwrap().iter().map(|id| usize::try_from(id.as_u64().unwrap()).unwrap());
        let world: Vec<Value> = ids.map(|id| objects[id].clone()).collect();
        let text = |message: &Value, name: &str| message[name].as_str().unwrap().to_string();
        let mut expected: Vec<Shown> = case["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| (text(m, "code"), text(m, "level"), text(m, "origin"), text(m, "message")))
            .collect();
        let mut seen: Vec<Shown> = analyze(&world, &case["mesh"])
            .into_iter()
            .map(|m| (m.code.to_string(), m.level.to_string(), m.origin.to_string(), m.message))
            .collect();
        for (code, ..) in &expected {
            *by_code.entry(code.clone()).or_default() += 1;
        }
        expected.sort();
        seen.sort();
        if seen != expected {
            wrong.push(format!("{}\n  expected {expected:?}\n  seen     {seen:?}", case["name"]));
        }
    }
    println!("{} of {} configurations; messages: {by_code:?}", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_message_points_to_the_place_that_it_is_about() {
    let objects = [
        json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
               "metadata": {"name": "v", "namespace": "a"},
               "spec": {"hosts": ["x.org"], "gateways": ["mesh", "b/gone"],
                        "http": [{"route": [{"destination": {"host": "x.org", "subset": "s"}}]}]}}),
        json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
               "metadata": {"name": "d", "namespace": "a"},
               "spec": {"host": "x.org", "trafficPolicy": {"tls": {"mode": "SIMPLE"}}}}),
    ];
    let places: Vec<_> = analyze(&objects, &Value::Null).into_iter().map(|m| (m.code, m.object, m.pointer)).collect();
    let expected = [
        ("IST0101", 0, "/spec/gateways/1"),
        ("IST0101", 0, "/spec/http/0/route/0/destination/host"),
        ("IST0128", 1, "/spec/trafficPolicy/tls"),
        ("IST0132", 0, "/spec/gateways/1"),
    ];
    assert_eq!(places, expected.map(|(code, object, pointer)| (code, object, pointer.to_string())));
}

#[test]
fn a_later_object_takes_the_place_of_an_earlier_one() {
    let entry = |protocol: &str| {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "e", "namespace": "a"},
               "spec": {"hosts": ["x.org"], "resolution": "DNS", "ports": [{"number": 80, "name": "p", "protocol": protocol}]}})
    };
    assert_eq!(analyze(&[entry("TCP"), entry("HTTP")], &Value::Null), []);
    let found = analyze(&[entry("HTTP"), entry("TCP")], &Value::Null);
    assert_eq!(found.iter().map(|m| (m.code, m.level, m.object)).collect::<Vec<_>>(), [("IST0134", Level::Warning, 1)]);
}

#[test]
fn malformed_objects_are_left_out() {
    let mut objects = lines(include_str!("analyze/objects.jsonl"));
    objects.extend([
        Value::Null,
        json!([]),
        json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "spec": 3}),
    ]);
    for (index, object) in objects.iter_mut().enumerate() {
        // One field of the spec, in turn, becomes something else.
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
            && !spec.is_empty()
        {
            let key = spec.keys().nth(index % spec.len()).unwrap().clone();
            let odd = [json!(null), json!([null]), json!({"": {}}), json!("é/*"), json!(-1), json!([[]]), json!([{}])];
            spec.insert(key, odd[index % odd.len()].clone());
        }
    }
    for mesh in [json!(null), json!("x"), json!({"defaultConfig": [], "extensionProviders": {"a": 1}})] {
        let found = analyze(&objects, &mesh);
        assert!(found.iter().all(|message| objects[message.object].pointer(&message.pointer).is_some()));
    }
}

//! What is refused, stage by stage: single objects with the verdicts of Istio 1.30.3 and of the API server, and
//! malformed objects, which get a verdict too.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use egress_scn::istio::validation::{Verdict, validate};
use serde_json::{Value, json};
use std::collections::BTreeMap;

struct Case {
    name: String,
    object: Value,
    verdict: Verdict,
}

fn cases() -> Vec<Case> {
    include_str!("validation/cases.jsonl")
        .lines()
        .map(|line| {
            let case: Value = serde_json::from_str(line).unwrap();
            let list = |name: &str| -> Vec<String> {
                let list = case["verdict"][name].as_array().cloned().unwrap_or_default();
                list.iter().map(|text| text.as_str().unwrap().to_string()).collect()
            };
            Case {
                name: case["name"].as_str().unwrap().to_string(),
                object: case["object"].clone(),
                verdict: Verdict {
                    unknown: list("unknown"),
                    schema: list("schema"),
                    errors: list("errors"),
                    warnings: list("warnings"),
                    message: case["verdict"]["message"].as_str().unwrap_or_default().to_string(),
                },
            }
        })
        .collect()
}

/// Prints the figures of docs/fidelity.md with `--nocapture`.
#[test]
fn every_object_gets_the_verdict_of_each_stage() {
    let mut wrong = vec![];
    let mut by_kind: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for case in cases() {
        let seen = validate(&case.object);
        let count = by_kind.entry(case.object["kind"].as_str().unwrap_or("-").to_string()).or_default();
        count.1 += 1;
        if seen == case.verdict {
            count.0 += 1;
        } else {
            wrong.push(format!("{}\n  expected {:?}\n  seen     {seen:?}", case.name, case.verdict));
        }
    }
    for (kind, (exact, all)) in &by_kind {
        println!("| {kind} | {exact} | {all} |");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_object_of_another_group_is_not_looked_at() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "spec": {"nonsense": true}});
    assert_eq!(validate(&service), Verdict::default());
}

#[test]
fn malformed_objects_get_a_verdict_too() {
    let mut random = Random(0x5eed);
    let donors: Vec<Value> = cases().into_iter().map(|case| case.object).collect();
    for round in 0..6 {
        for object in &donors {
            let mut mutated = object.clone();
            for _ in 0..=round {
                let donor = &donors[random.below(donors.len())];
                mutate(&mut mutated, donor, &mut random);
            }
            let verdict = validate(&mutated);
            assert_eq!(verdict.errors.is_empty(), verdict.message.is_empty(), "{mutated}");
        }
    }
}

#[test]
fn an_object_takes_well_under_a_millisecond() {
    let cases = cases();
    // The first object also reads the schema.
    validate(&cases[0].object);
    let start = std::time::Instant::now();
    for case in &cases {
        validate(&case.object);
    }
    let each = start.elapsed() / u32::try_from(cases.len()).unwrap();
    assert!(each < std::time::Duration::from_millis(1), "{each:?} an object");
}

/// A small deterministic generator (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }
}

/// Changes one place: another value, none, one more, or a piece of another object.
fn mutate(value: &mut Value, donor: &Value, random: &mut Random) {
    let children = match value {
        Value::Object(fields) => fields.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if children > 0 && random.below(4) > 0 {
        let index = random.below(children);
        let (child, donor_child) = match (&mut *value, donor) {
            (Value::Object(fields), donor) => {
                let key = fields.keys().nth(index).unwrap().clone();
                let donor_child = donor.get(&key).unwrap_or(donor);
                (fields.get_mut(&key).unwrap(), donor_child)
            }
            (Value::Array(items), donor) => (&mut items[index], donor.get(index).unwrap_or(donor)),
            _ => return,
        };
        return mutate(child, donor_child, random);
    }
    match (random.below(12), &mut *value) {
        (0, _) => *value = Value::Null,
        (1, _) => *value = json!({}),
        (2, _) => *value = json!([]),
        (3, _) => *value = json!(""),
        (4, _) => *value = json!("é*/:%{[\\\u{0}ab"),
        (5, _) => *value = json!(-1.5e300),
        (6, _) => *value = json!(u64::MAX),
        (7, _) => *value = json!(true),
        (8, Value::String(text)) => text.push_str("./*[_"),
        (9, Value::Array(items)) if !items.is_empty() => {
            let index = random.below(items.len());
            let item = items[index].clone();
            items.push(item);
        }
        (10, Value::Object(fields)) if !fields.is_empty() => {
            let key = fields.keys().nth(random.below(fields.len())).unwrap().clone();
            fields.remove(&key);
        }
        _ => *value = donor.clone(),
    }
}

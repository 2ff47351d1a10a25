//! The mesh compiler takes any JSON for objects: it never panics, and it is deterministic.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "mesh_case/mod.rs"]
mod mesh_case;

use egress_scn::mesh::{Compiler, World};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

const CASES: &[&str] =
    &["10-http-egress-gateway", "random-003", "random-041", "random-077", "mesh2-1053", "mesh2-1173"];
const CHANGES_PER_CASE: u64 = 150;

fn world(case: &str) -> World {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = golden.join("cases").join(format!("{case}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let case: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    mesh_case::world_of(&case["inputs"], &golden.join("manifests"))
}

/// Pointers to everything inside a value.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                pointers(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), out);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                pointers(inner, &format!("{at}/{index}"), out);
            }
        }
        _ => {}
    }
}

fn odd_values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("*"),
        json!("*.\u{e9}|._/"),
        json!("-9223372036854775808s"),
        json!([]),
        json!([null, "x", {}, []]),
        json!({}),
        json!({"": [{}], "x": null}),
    ]
}

fn compile(world: &World) -> Vec<String> {
    let compiler = Compiler::new(world);
    (0..mesh_case::PROXIES.len())
        .filter_map(|index| mesh_case::proxy(world, index))
        .map(|proxy| format!("{:?}", compiler.compile(&proxy)))
        .collect()
}

/// Replaces one value after another, anywhere in the objects and the mesh config.
#[test]
fn any_value_may_stand_anywhere() {
    let odd = odd_values();
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % limit
    };
    for case in CASES {
        let sound = world(case);
        for _ in 0..CHANGES_PER_CASE {
            let mut broken = sound.clone();
            let which = below(broken.objects.len() + 1);
            let mut value = broken.objects.get(which).map_or_else(|| sound.mesh_config.clone(), |o| (**o).clone());
            let mut all = Vec::new();
            pointers(&value, "", &mut all);
            let (pointer, odd) = (&all[below(all.len())], &odd[below(odd.len())]);
            *value.pointer_mut(pointer).expect("a pointer of this value") = odd.clone();
            match broken.objects.get_mut(which) {
                Some(object) => *object = Arc::new(value),
                None => broken.mesh_config = value,
            }
            let outcome = std::panic::catch_unwind(|| compile(&broken));
            assert!(outcome.is_ok(), "{case}: object {which} with {odd} at {pointer:?}");
        }
    }
}

#[test]
fn the_same_world_gives_the_same_text() {
    for case in CASES {
        let world = world(case);
        assert_eq!(compile(&world), compile(&world), "{case}");
    }
}

#[test]
fn two_thousand_service_entries_are_one_cluster_each() {
    let mut world = world("10-http-egress-gateway");
    for number in 0..2_000 {
        world.objects.push(Arc::new(json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": {"name": format!("site-{number}"), "namespace": "mesh-test"},
            "spec": {"hosts": [format!("site-{number}.example")], "location": "MESH_EXTERNAL", "resolution": "DNS",
                "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}]},
        })));
    }
    let compiler = Compiler::new(&world);
    let proxy = mesh_case::proxy(&world, 0).expect("the sidecar's pod");
    let generated = compiler.compile(&proxy);
    assert_eq!(generated.clusters.iter().filter(|c| c.name.contains("|site-")).count(), 2_000);
}

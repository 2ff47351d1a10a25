//! The mesh compiler generates exactly what istiod 1.30.3 generated for the same inputs: every listener, cluster,
//! route configuration and load assignment of each proxy, nothing more, and the same push status and log lines.
//!
//! `golden/cases/<case>.json` holds the inputs (or names of files in `golden/manifests`), push status, log, and for each proxy its resources by name;
//! `null` stands for the same body as in the case `01-base-registry-only`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "mesh_case/difference.rs"]
mod difference;
#[path = "mesh_case/mod.rs"]
mod mesh_case;

use egress_scn::mesh::{Compiler, Resource};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const BASE: &str = "01-base-registry-only";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn read(case: &str) -> Value {
    let path = golden().join("cases").join(format!("{case}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Differences of one kind of resources, each named by case, proxy and resource.
fn compare(place: &str, expected: &Value, base: &Value, got: &[Resource], out: &mut Vec<String>) {
    let mut got: BTreeMap<&str, &Value> = got.iter().map(|r| (&*r.name, &*r.body)).collect();
    for (name, body) in expected.as_object().into_iter().flatten() {
        let body = if body.is_null() { &base[name.as_str()] } else { body };
        match got.remove(name.as_str()) {
            None => out.push(format!("{place} {name}: missing")),
            Some(found) => {
                out.extend(difference::between(body, found).into_iter().map(|d| format!("{place} {name}{d}")));
            }
        }
    }
    out.extend(got.keys().map(|name| format!("{place} {name}: not expected")));
}

fn check(case: &str, base: &Value) -> Vec<String> {
    let expected = read(case);
    let world = mesh_case::world_of(&expected["inputs"], &golden().join("manifests"));
    let compiler = Compiler::reading_files(&world);
    let mut out = Vec::new();
    let mut status = json!({});
    let mut log: BTreeSet<String> = BTreeSet::new();
    for (index, (name, ..)) in mesh_case::PROXIES.iter().enumerate() {
        let resources = &expected["proxies"][*name];
        if resources.is_null() {
            continue;
        }
        let proxy = mesh_case::proxy(&world, index).unwrap_or_else(|| panic!("{case}: no pod for {name}"));
        let generated = compiler.compile(&proxy);
        let kinds = [
            ("listener", &generated.listeners),
            ("cluster", &generated.clusters),
            ("route", &generated.routes),
            ("endpoint", &generated.endpoints),
        ];
        for (kind, got) in kinds {
            let place = format!("{case} {name} {kind}");
            compare(&place, &resources[kind], &base["proxies"][*name][kind], got, &mut out);
        }
        for (metric, events) in generated.push_status.as_object().into_iter().flatten() {
            for (key, event) in events.as_object().into_iter().flatten() {
                status[metric][key] = event.clone();
            }
        }
        log.extend(generated.warnings);
    }
    out.extend(
        difference::between(&expected["pushStatus"], &status).into_iter().map(|d| format!("{case} push status {d}")),
    );
    let wanted: BTreeSet<String> =
        expected["log"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    out.extend(wanted.difference(&log).map(|l| format!("{case} log: missing {l:?}")));
    out.extend(log.difference(&wanted).map(|l| format!("{case} log: not expected {l:?}")));
    out
}

#[test]
fn generates_what_istiod_generates() {
    let base = read(BASE);
    let mut cases: Vec<String> = std::fs::read_dir(golden().join("cases"))
        .expect("the folder of cases")
        .filter_map(|e| e.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    cases.sort();
    assert!(cases.len() > 140, "only {} cases found", cases.len());
    let differences: Vec<String> = cases.iter().flat_map(|case| check(case, &base)).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

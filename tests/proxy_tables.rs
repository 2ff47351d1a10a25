//! The tables of `proxy-config` are istioctl's: each case's listeners, clusters and routes, as istioctl 1.30.3 printed
//! them from istiod's dump of the same proxy (`tests/istioctl/CASE.PROXY.txt`, the three tables after one another).

#[path = "mesh_case/mod.rs"]
mod mesh_case;

use egress_scn::envoy::{Resources, table};
use egress_scn::mesh::{Compiler, Resource};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn bodies(resources: Vec<Resource>) -> Vec<Value> {
    resources.into_iter().map(|r| r.body.into_value()).collect()
}

#[test]
fn tables_are_istioctls() {
    let mut compared = 0;
    let mut wrong = vec![];
    for entry in std::fs::read_dir(tests().join("istioctl")).expect("the folder of tables") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().and_then(|s| s.to_str()).expect("a name").to_owned();
        let (case, proxy) = stem.rsplit_once('.').expect("CASE.PROXY");
        let case: Value =
            serde_json::from_str(&read(&tests().join(format!("golden/cases/{case}.json")))).expect("a case");
        let world = mesh_case::world_of(&case["inputs"], &tests().join("golden/manifests"));
        let index = mesh_case::PROXIES.iter().position(|(name, ..)| *name == proxy).expect("a known proxy");
        let proxy = mesh_case::proxy(&world, index).expect("the proxy's pod");
        let generated = Compiler::reading_files(&world).compile(&proxy);
        let mut resources = Resources {
            listeners: bodies(generated.listeners),
            clusters: bodies(generated.clusters),
            routes: bodies(generated.routes),
            endpoints: bodies(generated.endpoints),
        };
        resources.sort();
        // With nothing to show istioctl prints no table.
        let shown = |bodies: &[Value], table: fn(&[Value]) -> String| {
            if bodies.is_empty() { String::new() } else { table(bodies) }
        };
        let got = shown(&resources.listeners, table::listeners)
            + &shown(&resources.clusters, table::clusters)
            + &shown(&resources.routes, table::routes);
        for (wanted, got) in read(&path).lines().zip(got.lines()).filter(|(wanted, got)| wanted != got) {
            wrong.push(format!("{stem}\n  istioctl {wanted}\n  got      {got}"));
        }
        assert_eq!(read(&path).lines().count(), got.lines().count(), "{stem}: number of lines\n{got}");
        compared += 1;
    }
    assert!(compared > 100, "only {compared} tables");
    assert!(wrong.is_empty(), "{} lines differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn endpoints_are_istioctls() {
    let path = tests().join("istioctl-endpoints/clusters.json");
    let clusters: Value = serde_json::from_str(&read(&path)).expect("JSON");
    let got = table::endpoints(&table::live_endpoint_rows(&clusters));
    assert_eq!(got, read(&path.with_file_name("endpoints.txt")));
}

//! What istiod 1.30.3 sent its proxies: the golden cases of this repository, and the config dumps in
//! further folders that `EGRESS_SCN_DUMPS` names.
#![allow(dead_code, reason = "each test file uses a part")]

use egress_scn::xds::{Resource, Resources};
use serde_json::Value;
use std::path::{Path, PathBuf};

const BASE: &str = "01-base-registry-only";

/// The configuration of one proxy in one case, without secrets.
pub struct Sent {
    /// Case and proxy.
    pub place: String,
    pub resources: Resources,
}

pub fn all() -> Vec<Sent> {
    let base = read(&case_file(BASE));
    let folder = case_file(BASE);
    let mut cases: Vec<PathBuf> = list(folder.parent().unwrap());
    cases.sort();
    let mut all: Vec<Sent> = cases.iter().flat_map(|file| of_case(file, &base)).collect();
    let dumps = std::env::var_os("EGRESS_SCN_DUMPS");
    let mut folders: Vec<PathBuf> = dumps.iter().flat_map(std::env::split_paths).collect();
    while let Some(folder) = folders.pop() {
        for path in list(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(".config_dump.json") {
                all.push(of_dump(&path));
            }
        }
    }
    all
}

/// The configuration of a proxy in a golden case.
pub fn one(case: &str, proxy: &str) -> Resources {
    let base = read(&case_file(BASE));
    let place = format!("{case} {proxy}");
    let found = of_case(&case_file(case), &base).into_iter().find(|sent| sent.place == place);
    found.unwrap_or_else(|| panic!("no {place}")).resources
}

fn case_file(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases").join(format!("{case}.json"))
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// A `null` stands for the same body as in the base case.
fn of_case(file: &Path, base: &Value) -> Vec<Sent> {
    let case = read(file);
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for (proxy, kinds) in case["proxies"].as_object().into_iter().flatten() {
        let take = |kind: &str| -> Vec<Resource> {
            let entries = kinds[kind].as_object().into_iter().flatten();
            entries
                .map(|(name, body)| {
                    let body = if body.is_null() { &base["proxies"][proxy][kind][name] } else { body };
                    Resource { name: name.as_str().into(), body: body.clone().into() }
                })
                .collect()
        };
        let resources = Resources {
            clusters: take("cluster"),
            endpoints: take("endpoint"),
            listeners: take("listener"),
            routes: take("route"),
            secrets: Vec::new(),
        };
        found.push(Sent { place: format!("{name} {proxy}"), resources });
    }
    found
}

fn of_dump(file: &Path) -> Sent {
    let dump = read(file);
    let take = |list: &str, at: &str, name: &str| -> Vec<Resource> {
        let entries = dump["configs"].as_array().unwrap().iter().filter_map(|part| part[list].as_array()).flatten();
        entries
            .map(|entry| entry.pointer(at).unwrap().clone())
            .map(|body| Resource { name: body[name].as_str().unwrap().into(), body: body.into() })
            .collect()
    };
    let resources = Resources {
        clusters: take("dynamicActiveClusters", "/cluster", "name"),
        endpoints: take("dynamicEndpointConfigs", "/endpointConfig", "clusterName"),
        listeners: take("dynamicListeners", "/activeState/listener", "name"),
        routes: take("dynamicRouteConfigs", "/routeConfig", "name"),
        secrets: Vec::new(),
    };
    Sent { place: file.display().to_string(), resources }
}

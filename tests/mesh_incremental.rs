//! A compiler that is led on from world to world gives exactly what a new one gives for the same world: over the golden
//! and random cases in turn (many objects differ from one to the next), and over random changes of single objects and
//! of the mesh config between them.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "mesh_case/mod.rs"]
mod mesh_case;

use egress_scn::mesh::{Compiler, Generated, Resource, World};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CHANGES_PER_CASE: usize = 4;
/// Every how many cases is one taken: `EGRESS_SCN_EVERY_CASE=1` takes them all.
fn stride() -> usize {
    std::env::var("EGRESS_SCN_EVERY_CASE").ok().and_then(|n| n.parse().ok()).unwrap_or(3)
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn worlds() -> Vec<(String, World)> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(golden().join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: &PathBuf| {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        (name, mesh_case::world_of(&case["inputs"], &golden().join("manifests")))
    };
    files.iter().map(read).collect()
}

/// A generator of numbers that is the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

fn id(object: &Value) -> [&Value; 3] {
    [&object["kind"], &object["metadata"]["namespace"], &object["metadata"]["name"]]
}

/// One change of a world, in words.
fn change(world: &mut World, pool: &[(String, World)], dice: &mut Dice) -> String {
    let donor = &pool[dice.below(pool.len())].1;
    let at = dice.below(world.objects.len());
    match dice.below(8) {
        0 => format!("without {:?}", id(&world.objects.remove(at))),
        1 => {
            let object = Arc::make_mut(&mut world.objects[at]);
            object["metadata"]["creationTimestamp"] = json!("2020-01-01T00:00:00Z");
            format!("older {:?}", id(object))
        }
        2 => {
            let object = Arc::make_mut(&mut world.objects[at]);
            object["metadata"]["labels"]["version"] = json!(format!("v{}", dice.below(3)));
            format!("labelled {:?}", id(object))
        }
        3 => {
            world.mesh_config = donor.mesh_config.clone();
            "another mesh config".to_owned()
        }
        _ => {
            let object = &donor.objects[dice.below(donor.objects.len())];
            match world.objects.iter_mut().find(|old| id(old) == id(object)) {
                Some(old) => *old = object.clone(),
                None => world.objects.push(object.clone()),
            }
            format!("with {:?}", id(object))
        }
    }
}

/// What differs, by its name.
fn differences(kept: &Generated, new: &Generated) -> Vec<String> {
    let mut out = Vec::new();
    let families = |g: &Generated| [g.listeners.clone(), g.clusters.clone(), g.routes.clone(), g.endpoints.clone()];
    for (kept, new) in families(kept).iter().zip(&families(new)) {
        let names = |all: &[Resource]| all.iter().map(|r| r.name.clone()).collect::<Vec<_>>();
        if names(kept) != names(new) {
            out.push(format!("names {:?} instead of {:?}", names(kept), names(new)));
        }
        let changed = kept.iter().zip(new).filter(|(kept, new)| kept != new);
        out.extend(changed.map(|(kept, new)| format!("{}: {} instead of {}", kept.name, kept.body, new.body)));
    }
    if kept.push_status != new.push_status {
        out.push(format!("push status {} instead of {}", kept.push_status, new.push_status));
    }
    if kept.warnings != new.warnings {
        out.push(format!("log {:?} instead of {:?}", kept.warnings, new.warnings));
    }
    out
}

#[test]
fn a_compiler_led_on_gives_what_a_new_one_gives() {
    let worlds = worlds();
    let mut dice = Dice(1);
    let mut compiler = Compiler::reading_files(&World::default());
    let (mut compiled, mut wrong) = (0, Vec::new());
    for (case, world) in worlds.iter().step_by(stride()) {
        let mut world = world.clone();
        let mut history = vec![case.clone()];
        for step in 0..=CHANGES_PER_CASE {
            if step > 0 {
                history.push(change(&mut world, &worlds, &mut dice));
            }
            compiler.update(&world);
            let new = Compiler::reading_files(&world);
            for proxy in (0..mesh_case::PROXIES.len()).filter_map(|index| mesh_case::proxy(&world, index)) {
                let differences = differences(&compiler.compile(&proxy), &new.compile(&proxy));
                compiled += 1;
                if !differences.is_empty() {
                    wrong.push(format!("{} after {history:?}:\n{}", proxy.name, differences.join("\n")));
                }
            }
        }
    }
    assert!(compiled > 500, "only {compiled} configurations were compared");
    assert!(wrong.is_empty(), "{} of {compiled} differ:\n{}", wrong.len(), wrong[..wrong.len().min(3)].join("\n\n"));
}

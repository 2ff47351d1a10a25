//! A compiler that is led on from world to world gives exactly what a new one gives for the same world: over the golden
//! cases in turn (many objects differ from one to the next), over random configurations, and over random changes of
//! single objects and of the mesh config between them.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "mesh_case/mod.rs"]
mod mesh_case;
#[path = "random_mesh/mod.rs"]
mod random_mesh;

use egress_scn::mesh::{Compiler, Generated, Resource, World};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CHANGES_PER_CASE: usize = 4;
const RANDOM_WORLDS: u64 = 40;
const CHANGES_PER_RANDOM_WORLD: usize = 30;
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
    match dice.below(16) {
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
            // Rarely: it changes everything.
            world.mesh_config = donor.mesh_config.clone();
            "another mesh config".to_owned()
        }
        4..=10 => edit(world, pool, dice),
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

/// The kinds whose objects are many, and of which pieces ask.
const ASKED: [&str; 6] = ["ServiceEntry", "VirtualService", "DestinationRule", "Gateway", "Service", "EndpointSlice"];

/// One field of one object becomes what it is in another object of the kind, or goes.
fn edit(world: &mut World, pool: &[(String, World)], dice: &mut Dice) -> String {
    let kind = ASKED[dice.below(ASKED.len())];
    let of_kind = |world: &World| -> Vec<usize> {
        (0..world.objects.len()).filter(|at| world.objects[*at]["kind"] == kind).collect()
    };
    let donors: Vec<Arc<Value>> =
        pool.iter().flat_map(|(_, world)| of_kind(world).into_iter().map(|at| world.objects[at].clone())).collect();
    let own = of_kind(world);
    if own.is_empty() || donors.is_empty() {
        return format!("no {kind} to edit");
    }
    let at = own[dice.below(own.len())];
    let part = if kind == "EndpointSlice" { "" } else { "/spec" };
    let donor = donors[dice.below(donors.len())].pointer(part).and_then(Value::as_object).unwrap();
    let fields: Vec<&String> =
        donor.keys().filter(|k| !["metadata", "kind", "apiVersion"].contains(&k.as_str())).collect();
    if fields.is_empty() {
        return format!("a {kind} without fields");
    }
    let field = fields[dice.below(fields.len())];
    let object = Arc::make_mut(&mut world.objects[at]);
    let told = format!("{field} of {:?}", id(object));
    let fields = object.pointer_mut(part).and_then(Value::as_object_mut).unwrap();
    // One element of a list more often than the whole.
    let mut value = donor[field].clone();
    if let (Some(Value::Array(own)), Some(other), true) = (fields.get(field), value.as_array(), dice.below(3) > 0)
        && let (false, false) = (own.is_empty(), other.is_empty())
    {
        let mut own = own.clone();
        let (to, from) = (dice.below(own.len()), dice.below(other.len()));
        match dice.below(3) {
            0 => drop(own.remove(to)),
            1 => own.push(other[from].clone()),
            _ => own[to] = other[from].clone(),
        }
        value = Value::Array(own);
    }
    fields.insert(field.clone(), value);
    told
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
        let changed =
            kept.iter().zip(new).filter(|(kept, new)| kept != new || kept.body.to_string() != new.body.to_string());
        out.extend(changed.map(|(kept, new)| format!("{}: {} instead of {}", kept.name, kept.body, new.body)));
    }
    // In the same order, too.
    let written = |value: &Value| value.to_string();
    if written(&kept.push_status) != written(&new.push_status) {
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
    lead_on(worlds.iter().step_by(stride()), &worlds, CHANGES_PER_CASE);
}

/// Few worlds and many changes: most of a proxy's pieces are kept at each step.
#[test]
fn random_changes_of_random_configurations_give_what_a_new_compiler_gives() {
    let worlds: Vec<(String, World)> =
        (0..RANDOM_WORLDS).map(|seed| (format!("seed {seed}"), random_mesh::world(seed))).collect();
    lead_on(worlds.iter().step_by(5), &worlds, CHANGES_PER_RANDOM_WORLD);
}

/// Leads one compiler through worlds and through changes of each.
fn lead_on<'a>(through: impl Iterator<Item = &'a (String, World)>, worlds: &[(String, World)], changes: usize) {
    let mut dice = Dice(1);
    let mut compiler = Compiler::reading_files(&World::default());
    let (mut compiled, mut wrong) = (0, Vec::new());
    for (case, world) in through {
        let mut world = world.clone();
        let mut history = vec![case.clone()];
        for step in 0..=changes {
            if step > 0 {
                history.push(change(&mut world, worlds, &mut dice));
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

/// Changes that reach a piece by one way alone: through the object that it asked for.
#[test]
fn what_a_piece_asked_for_makes_it_anew() {
    let entry = |host: &str, port: u32| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": {"name": host, "namespace": "mesh-test"},
            "spec": {"hosts": [host], "location": "MESH_EXTERNAL", "resolution": "DNS",
                "ports": [{"number": port, "name": "tls", "protocol": "TLS"}]},
        })
    };
    // From one host to another, whose only port is meant.
    let route = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "led", "namespace": "mesh-test"},
        "spec": {"hosts": ["from.example"], "tls": [{
            "match": [{"port": 443, "sniHosts": ["from.example"]}],
            "route": [{"destination": {"host": "to.example", "subset": "v1"}}],
        }]},
    });
    let rule = |tunnel: Value| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "to", "namespace": "mesh-test"},
            "spec": {"host": "to.example", "subsets": [{"name": "v1", "trafficPolicy": tunnel}]},
        })
    };
    let tunnel = json!({"tunnel": {"protocol": "POST", "targetHost": "t.example", "targetPort": 443}});
    let logs = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "logs", "namespace": "other"},
        "spec": {"clusterIP": "10.0.0.9", "ports": [{"name": "grpc", "port": 9000}]},
    });
    let (_, base) = worlds().swap_remove(0);
    let world = |objects: &[Value]| {
        let mut world = base.clone();
        world.objects.extend(objects.iter().cloned().map(Arc::new));
        world.mesh_config["extensionProviders"] = json!([{"name": "als", "envoyTcpAls": {
            "service": "logs.other.svc.cluster.local", "port": 9000,
        }}]);
        world.mesh_config["defaultProviders"] = json!({"accessLogging": ["als"]});
        world
    };
    let (from, to) = (entry("from.example", 443), entry("to.example", 8443));
    let before = [from.clone(), to.clone(), route.clone(), rule(Value::Null)];
    let changes = [
        ("the port of the service", vec![from.clone(), entry("to.example", 9443), route.clone(), rule(Value::Null)]),
        ("the service goes", vec![from.clone(), route.clone(), rule(Value::Null)]),
        ("the subset", vec![from.clone(), to.clone(), route.clone(), rule(tunnel)]),
        ("a service of a log", [&before[..], &[logs]].concat()),
    ];
    for (what, after) in changes {
        let (before, after) = (world(&before), world(&after));
        let proxy = mesh_case::proxy(&before, 0).unwrap();
        let mut compiler = Compiler::new(&before);
        let old = compiler.compile(&proxy);
        compiler.update(&after);
        let new = Compiler::new(&after).compile(&proxy);
        let listener = |generated: &Generated| {
            generated.listeners.iter().find(|l| *l.name == *"0.0.0.0_443").map(|l| l.body.to_string())
        };
        assert_ne!(listener(&old), listener(&new), "{what} changes nothing");
        assert_eq!(differences(&compiler.compile(&proxy), &new), Vec::<String>::new(), "{what}");
    }
}

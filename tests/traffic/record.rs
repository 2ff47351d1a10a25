//! What the probes of the held-out configurations did on a lab with a real istiod: taken, and read again.

use crate::case::{Case, Told};
use crate::world::World;
use crate::{held_out, say};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;

const SEEDS: std::ops::Range<u64> = 0..160;

/// A line of the record.
#[derive(Serialize, Deserialize)]
struct Line {
    case: String,
    /// Of the configuration: one that its seed no longer gives is not judged by what another did.
    objects: String,
    probes: Vec<Told>,
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traffic/held_out.jsonl")
}

/// The hash FNV-1a.
fn fingerprint(case: &Case) -> String {
    let text = json!([case.mesh, case.objects]).to_string();
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// The configurations with what was seen.
pub fn recorded() -> Vec<Case> {
    let text = std::fs::read_to_string(path()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap());
    let of_line = |line: Line| {
        let mut case = held_out::case(line.case[1..].parse().unwrap());
        let again = "the generator makes another configuration than the one recorded: tests/real/traffic records anew";
        assert_eq!(fingerprint(&case), line.objects, "{}: {again}", case.name);
        case.probes = line.probes;
        case
    };
    lines.map(of_line).collect()
}

/// Sends the probes of all seeds with a real istiod, once in their order and once the other way, and writes what they did.
pub async fn record() {
    let istiod = std::env::var_os("EGRESS_SCN_ISTIOD");
    assert!(istiod.is_some(), "a record is taken with a real istiod: EGRESS_SCN_ISTIOD names none");
    let mut cases: Vec<Case> = SEEDS.map(held_out::case).collect();
    if let Ok(named) = std::env::var("EGRESS_SCN_TRAFFIC_CASES") {
        cases.retain(|case| named.split(',').any(|name| name == case.name));
    }
    let world = World::start().await;
    let mut lines = String::new();
    for case in &cases {
        let mut first = pass(&world, case, false).await;
        let mut second = pass(&world, case, true).await;
        second.reverse();
        for (told, again) in first.iter_mut().zip(&second) {
            // Both took their name and are stable as far as they are alike.
            if told != again {
                told.stable = json!(false);
            }
        }
        let varied = first.iter().filter(|told| told.stable == false).count();
        say(&format!("{}: {} probes, {varied} varied\n", case.name, first.len()));
        let line = Line { case: case.name.clone(), objects: fingerprint(case), probes: first };
        lines += &serde_json::to_string(&line).unwrap();
        lines.push('\n');
        std::fs::write(path(), &lines).unwrap();
    }
}

async fn pass(world: &World, case: &Case, reverse: bool) -> Vec<Told> {
    let place = world.enter(case).await;
    let mut probes: Vec<&str> = case.probes.iter().map(|told| told.probe.as_str()).collect();
    if reverse {
        probes.reverse();
    }
    let mut told = Vec::new();
    for probe in probes {
        told.push(Told::of(probe, &place.run(probe).await));
    }
    world.leave(case).await;
    told
}

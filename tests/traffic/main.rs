//! Real traffic under generated configurations: each is applied to a lab through its API, real curl runs in the sleep pod,
//! and what happened is held against what a real Envoy did that was fed istiod's own configuration.
//!
//! `cases.jsonl` has 80 configurations with 651 probes. `held_out.jsonl` has what the probes of configurations did that are
//! made from seeds (`held_out/`), on a lab whose control plane was a real istiod. A part of both runs with every test run,
//! which covers each way a probe can go.
//!
//! - `EGRESS_SCN_TRAFFIC=all`: the whole of the 80; `held-out`: the whole of the others; a folder: those of it, where
//!   `random/CASE/{input,mesh}.yaml` and `traffic/TRUTH.json` are. `EGRESS_SCN_TRAFFIC_CASES=001,h007` chooses.
//! - `EGRESS_SCN_TRAFFIC=record` sends the probes of the seeds with a real istiod (`EGRESS_SCN_ISTIOD`), twice, and writes
//!   `held_out.jsonl`; `tests/real/traffic` does both.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod case;
mod held_out;
mod judge;
mod probe;
#[path = "../random_mesh/mod.rs"]
#[allow(dead_code)]
mod random_mesh;
mod record;
mod world;

use case::Case;
use judge::Tally;
use std::io::Write;
use world::World;

/// Cases that between them have every path, every reason for being blocked, and every kind of probe.
const PART: [&str; 9] = ["001", "005", "007", "023", "026", "043", "053", "056", "058"];
/// Of those that were held out.
const HELD_OUT_PART: [&str; 3] = ["h032", "h057", "h085"];
/// The share of stable probes that must go as they did.
const WANTED: f64 = 0.99;

fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn chosen(cases: Vec<Case>, part: &[&str], whole: bool) -> Vec<Case> {
    let named = std::env::var("EGRESS_SCN_TRAFFIC_CASES").ok();
    let wanted = |case: &Case| match &named {
        Some(named) => named.split(',').any(|name| name == case.name),
        None => whole || part.contains(&case.name.as_str()),
    };
    cases.into_iter().filter(wanted).collect()
}

#[test]
fn probes_go_the_way_they_went_under_istiods_configuration() {
    if std::env::var_os("EGRESS_SCN_SKIP_LAB").is_some_and(|value| value == "1") {
        say("skipped: traffic (EGRESS_SCN_SKIP_LAB=1)\n");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = match std::env::var("EGRESS_SCN_TRAFFIC").unwrap_or_default().as_str() {
        "record" => return runtime.block_on(record::record()),
        "" => {
            let mut cases = chosen(case::checked_in(), &PART, false);
            cases.extend(chosen(record::recorded(), &HELD_OUT_PART, false));
            cases
        }
        "all" => chosen(case::checked_in(), &[], true),
        "held-out" => chosen(record::recorded(), &[], true),
        folder => chosen(case::of_folder(folder.as_ref()), &[], true),
    };
    assert!(!cases.is_empty(), "no cases");
    let tally = runtime.block_on(run(&cases));
    say(&tally.text());
    assert!(tally.share() >= WANTED, "{}", tally.text());
}

async fn run(cases: &[Case]) -> Tally {
    let world = World::start().await;
    let mut tally = Tally::default();
    for case in cases {
        let place = world.enter(case).await;
        for told in &case.probes {
            let seen = place.run(&told.probe).await;
            tally.judge(&case.name, told, &seen);
        }
        world.leave(case).await;
        say(&tally.news());
    }
    tally
}

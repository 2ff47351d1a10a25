//! Real traffic under generated configurations: each is applied to a lab through its API, real curl runs in the sleep pod,
//! and what happened is held against what a real Envoy did that was fed istiod's own configuration.
//!
//! `cases.jsonl` has 80 configurations with 651 probes. A part of them runs with every test run, which covers each way a
//! probe can go; `EGRESS_SCN_TRAFFIC=all cargo test --test traffic` runs all, and `EGRESS_SCN_TRAFFIC=FOLDER` runs those of
//! a folder that holds `random/CASE/{input,mesh}.yaml` and `traffic/TRUTH.json`. `EGRESS_SCN_TRAFFIC_CASES=001,007` chooses.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod case;
mod judge;
mod probe;
mod world;

use case::Case;
use judge::Tally;
use std::io::Write;
use world::World;

/// Cases that between them have every path, every reason for being blocked, and every kind of probe.
const PART: [&str; 9] = ["001", "005", "007", "023", "026", "043", "053", "056", "058"];
/// The share of stable probes that must go as they did.
const WANTED: f64 = 0.99;

#[test]
fn probes_go_the_way_they_went_under_istiods_configuration() {
    if std::env::var_os("EGRESS_SCN_SKIP_LAB").is_some_and(|value| value == "1") {
        let _ = std::io::stderr().write_all(b"skipped: traffic (EGRESS_SCN_SKIP_LAB=1)\n");
        return;
    }
    let wanted = std::env::var("EGRESS_SCN_TRAFFIC").unwrap_or_default();
    let mut cases =
        if wanted.is_empty() || wanted == "all" { case::checked_in() } else { case::of_folder(wanted.as_ref()) };
    if let Ok(chosen) = std::env::var("EGRESS_SCN_TRAFFIC_CASES") {
        cases.retain(|case| chosen.split(',').any(|name| name == case.name));
    } else if wanted.is_empty() {
        cases.retain(|case| PART.contains(&case.name.as_str()));
    }
    assert!(!cases.is_empty(), "no cases");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tally = runtime.block_on(run(&cases));
    let _ = std::io::stderr().write_all(tally.text().as_bytes());
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
    }
    tally
}

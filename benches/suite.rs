//! The whole suite (`run --lab scenarios/*.egress`) against a bare floor of the same steps: the same
//! namespaces, the same Envoys with their configuration ready-made in a file, the same curls; no API, no
//! compiler, no expectations. Both sides alternate in one run; ratios are what counts.
//!
//! `cargo bench --bench suite`; figures in `docs/performance.md`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[cfg(target_os = "linux")]
#[path = "floor/mod.rs"]
mod floor;

#[cfg(target_os = "linux")]
fn main() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(floor::SUBCOMMAND) {
        std::process::exit(floor::main(words.next().unwrap().as_ref()));
    }
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let prepared = tempfile::Builder::new().prefix("floor").tempdir_in("/tmp").unwrap();
    let curls = floor::prepare(prepared.path());
    println!("{curls} curls, {rounds} rounds, the two sides alternating");

    let time = |command: &mut Command| {
        let begun = Instant::now();
        let output = command.stdin(Stdio::piped()).output().unwrap();
        let took = begun.elapsed();
        let seen = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{seen}");
        took
    };
    let scenarios: Vec<_> = glob::glob("scenarios/*.egress").unwrap().map(Result::unwrap).collect();
    let mut floors = vec![];
    let mut suites = vec![];
    for round in 0..=rounds {
        let mut bare = Command::new(std::env::current_exe().unwrap());
        bare.arg(floor::SUBCOMMAND).arg(prepared.path());
        // The floor's lifeline is its standard input: it stays open as long as the child lives.
        let begun = Instant::now();
        let mut child = bare.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let lifeline = child.stdin.take();
        assert!(child.wait().unwrap().success(), "the floor failed");
        drop(lifeline);
        let floor = begun.elapsed();
        let mut suite = Command::new(env!("CARGO_BIN_EXE_egress-scn"));
        let suite = time(suite.args(["run", "--lab"]).args(&scenarios));
        // The first round warms caches.
        if round > 0 {
            floors.push(floor);
            suites.push(suite);
        }
    }
    let mut ratios: Vec<f64> = suites.iter().zip(&floors).map(|(s, f)| s.as_secs_f64() / f.as_secs_f64()).collect();
    floors.sort();
    suites.sort();
    ratios.sort_by(f64::total_cmp);
    let line = |name: &str, times: &[Duration]| {
        println!(
            "{name:<6} min {:>7.0?}  median {:>7.0?}  max {:>7.0?}",
            times[0],
            times[times.len() / 2],
            times[times.len() - 1]
        );
    };
    line("floor", &floors);
    line("suite", &suites);
    println!(
        "ratio  min {:.2}  median {:.2}  max {:.2}",
        ratios[0],
        ratios[ratios.len() / 2],
        ratios[ratios.len() - 1]
    );
}

#[cfg(not(target_os = "linux"))]
fn main() {}

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
    use floor::rounds;
    use std::process::{Command, Stdio};

    let rounds = rounds::begin();
    let prepared = tempfile::Builder::new().prefix("floor").tempdir_in("/tmp").unwrap();
    let curls = floor::prepare(prepared.path());
    println!("{curls} curls, {rounds} rounds, the two sides alternating");
    let scenarios: Vec<_> = glob::glob("scenarios/*.egress").unwrap().map(Result::unwrap).collect();
    let bare = || {
        rounds::timed(|| {
            let (mut child, _lifeline, mut output) = rounds::floor(prepared.path());
            std::io::copy(&mut output, &mut std::io::sink()).unwrap();
            assert!(child.wait().unwrap().success(), "the floor failed");
        })
    };
    let suite = || {
        let mut suite = Command::new(env!("CARGO_BIN_EXE_egress-scn"));
        suite.args(["run", "--lab"]).args(&scenarios).stdin(Stdio::piped());
        rounds::timed(|| {
            let output = suite.output().unwrap();
            let seen = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{seen}");
        })
    };
    rounds::compare(rounds, "suite", bare, suite);
}

#[cfg(not(target_os = "linux"))]
fn main() {}

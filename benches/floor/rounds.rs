//! Two sides of one comparison, alternating in one run.

use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A number from the environment.
pub fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Becomes the floor when this program was started as it; else the number of rounds.
pub fn begin() -> usize {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(super::SUBCOMMAND) {
        std::process::exit(super::main(words.next().unwrap().as_ref()));
    }
    number("ROUNDS", 10)
}

/// The floor as a process of its own. Its lifeline is its standard input: it must stay open as long as it lives.
pub fn floor(prepared: &std::path::Path) -> (std::process::Child, ChildStdin, ChildStdout) {
    let mut bare = Command::new(std::env::current_exe().unwrap());
    bare.arg(super::SUBCOMMAND).arg(prepared).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = bare.spawn().unwrap();
    let (lifeline, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, lifeline, output)
}

/// Times both sides `rounds` times and prints what came of it. Each side tells how long it took, or is timed whole.
pub fn compare(rounds: usize, ours: &str, mut floor: impl FnMut() -> Duration, mut other: impl FnMut() -> Duration) {
    let mut times: [Vec<Duration>; 2] = Default::default();
    for round in 0..=rounds {
        let both = [floor(), other()];
        // The first round warms caches.
        if round > 0 {
            times.iter_mut().zip(both).for_each(|(times, took)| times.push(took));
        }
    }
    let mut ratios: Vec<f64> = times[1].iter().zip(&times[0]).map(|(o, f)| o.as_secs_f64() / f.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    for (name, times) in ["floor", ours].into_iter().zip(&mut times) {
        times.sort();
        let (least, most) = (times[0], times[times.len() - 1]);
        println!("{name:<6} min {least:>7.0?}  median {:>7.0?}  max {most:>7.0?}", times[times.len() / 2]);
    }
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    println!("ratio  min {least:.2}  median {:.2}  max {most:.2}", ratios[ratios.len() / 2]);
}

pub fn timed(what: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    what();
    begun.elapsed()
}

//! Reading scenarios: files of 10, 10,000 and 200,000 lines parsed and checked, beside hurl's own parser on a hurl file of as
//! many lines (`benches/hurl`). Every measurement is a process of its own; the sides alternate. Processor time, so that
//! other work on the machine does not count; ratios are what counts.
//!
//! `cargo bench --bench language`; figures in `docs/performance.md`. The peer needs libxml2's headers and libclang
//! (`LIBCLANG_PATH`); without it the bench ends with what is missing.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

#[cfg(target_os = "linux")]
#[path = "language/spent.rs"]
mod spent;
#[cfg(target_os = "linux")]
#[path = "language/texts.rs"]
mod texts;

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use super::{spent, texts};
    use egress_scn::{check, diag::Source, syntax};
    use std::hint::black_box;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::sync::Arc;

    /// Lines of the files, and how often one measurement reads each.
    const SIZES: [(usize, usize); 3] = [(10, 2000), (10_000, 10), (200_000, 1)];

    pub fn main() {
        let words: Vec<String> = std::env::args().skip(1).collect();
        if let [what, file, repeats] = words.as_slice() {
            return measure(what, Path::new(file), repeats.parse().unwrap());
        }
        let rounds: usize = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(7);
        // The manifests are found from there, above it.
        let folder = tempfile::tempdir_in("target").unwrap();
        let hurl = hurl();
        let own = std::env::current_exe().unwrap();
        println!("microseconds of processor time for a thousand lines, median of {rounds} rounds");
        println!("\n   lines    parse    check     hurl  hurl / parse  hurl / check");
        for (lines, repeats) in SIZES {
            let (ours, theirs) = (folder.path().join("a.egress"), folder.path().join("a.hurl"));
            std::fs::write(&ours, texts::egress(lines)).unwrap();
            std::fs::write(&theirs, texts::hurl(lines)).unwrap();
            let mut columns: [Vec<f64>; 3] = Default::default();
            // The first round warms caches.
            for round in 0..=rounds {
                let repeats = repeats.to_string();
                let mut taken = [
                    spent_by(Command::new(&own).arg("parse").arg(&ours).arg(&repeats)),
                    spent_by(Command::new(&own).arg("check").arg(&ours).arg(&repeats)),
                    spent_by(Command::new(&hurl).arg(&theirs).arg(&repeats)),
                ];
                for (column, nanoseconds) in columns.iter_mut().zip(&mut taken).filter(|_| round > 0) {
                    column.push(*nanoseconds / repeats.parse::<f64>().unwrap() / lines as f64);
                }
            }
            let [parse, check, hurl] = columns.map(median);
            let (a, b) = (hurl / parse, hurl / check);
            println!("{lines:>8} {parse:>8.0} {check:>8.0} {hurl:>8.0} {a:>13.2} {b:>13.2}");
        }
        let (lines, _) = SIZES[2];
        let file = folder.path().join("a.egress");
        let size = std::fs::metadata(&file).unwrap().len() as f64;
        println!("\npeak memory for {lines} lines ({:.1} MB), over the file's size", size / 1e6);
        for what in ["parse", "check"] {
            let base = peak_of(&own, what, Path::new("scenarios/card.egress"));
            let peak = peak_of(&own, what, &file);
            println!("{what:>8} {:>6.1} MB {:>6.1}", peak / 1e6, (peak - base) / size);
        }
    }

    fn median(mut times: Vec<f64>) -> f64 {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }

    /// Reads a file as often as asked, and prints nanoseconds and the peak of memory in bytes.
    fn measure(what: &str, file: &Path, repeats: usize) {
        let text = std::fs::read_to_string(file).unwrap();
        let source = Arc::new(Source { name: file.display().to_string(), text });
        let took = spent::processor_time(|| {
            for _ in 0..repeats {
                match what {
                    "parse" => assert!(black_box(syntax::parse(&source)).errors.is_empty()),
                    _ => {
                        let checked = black_box(check::only(&[file.to_path_buf()])).unwrap();
                        assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
                    }
                }
            }
        });
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        let peak: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        println!("{} {}", took.as_nanos(), peak * 1024.0);
    }

    fn answer(command: &mut Command) -> Vec<f64> {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().map(|n| n.parse().unwrap()).collect()
    }

    fn spent_by(command: &mut Command) -> f64 {
        answer(command)[0]
    }

    fn peak_of(own: &Path, what: &str, file: &Path) -> f64 {
        answer(Command::new(own).arg(what).arg(file).arg("1"))[1]
    }

    /// The peer's program, built when it is not there.
    fn hurl() -> PathBuf {
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release", "--locked", "--manifest-path", "benches/hurl/Cargo.toml"])
            .args(["--target-dir", "target/hurl"])
            .status();
        if !status.is_ok_and(|s| s.success()) {
            eprintln!(
                "error: hurl's parser did not build: it needs libxml2-dev and libclang (apt-get install libxml2-dev libclang-dev)"
            );
            std::process::exit(1);
        }
        PathBuf::from("target/hurl/release/hurl-peer")
    }
}

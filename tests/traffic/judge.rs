//! Whether a probe went as it did before.

use crate::case::Told;
use crate::probe::Seen;
use std::collections::BTreeSet;
use std::fmt::Write;

#[derive(Default)]
pub struct Tally {
    stable: usize,
    same: usize,
    unstable: usize,
    different: Vec<String>,
    /// How many of them have been told.
    told: usize,
}

impl Tally {
    pub fn judge(&mut self, case: &str, told: &Told, seen: &Seen) {
        // A probe that varied under the real thing proves nothing.
        if told.stable == false {
            self.unstable += 1;
            return;
        }
        self.stable += 1;
        let differences = differences(told, seen);
        if differences.is_empty() {
            self.same += 1;
        } else {
            self.different.push(format!("{case} {}\n    {}", told.probe, differences.join("\n    ")));
        }
    }

    pub fn share(&self) -> f64 {
        self.same as f64 / self.stable as f64
    }

    /// What differs and is not told yet: a long run is read while it goes on.
    pub fn news(&mut self) -> String {
        let news = self.different[self.told..].iter().map(|text| format!("{text}\n")).collect();
        self.told = self.different.len();
        news
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.different {
            let _ = writeln!(text, "{line}");
        }
        let share = self.share() * 100.0;
        let _ = writeln!(text, "{} of {} stable probes the same: {share:.2} %", self.same, self.stable);
        let _ = writeln!(text, "({} that varied under real Envoy are not judged)", self.unstable);
        text
    }
}

fn differences(told: &Told, seen: &Seen) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, expected: String, got: String| {
        if expected != got {
            found.push(format!("{what}: {expected} before, {got} here"));
        }
    };
    compare("exit", told.exit.to_string(), seen.exit.to_string());
    compare("http_code", format!("{:?}", told.http_code), format!("{:?}", seen.http_code));
    compare("path", told.path.clone(), seen.path.clone());
    compare("sleep's clusters", list(&told.sleep_cluster), list(&seen.sleep_clusters));
    compare("gateway's clusters", list(&told.gateway_cluster), list(&seen.gateway_clusters));
    // Which of several endpoints answers is not the same every time.
    // A TLS port that got plain HTTP says so, and nothing else.
    if told.stable == true && told.answered_by.is_object() && told.answered_by.get("note").is_none() {
        let of_told = |fact: &str| told.answered_by[fact].as_str().unwrap_or("-").to_string();
        compare("answered to", of_told("from"), seen.answered_to.clone().unwrap_or("-".into()));
        compare("sni at the site", of_told("sni"), seen.sni.clone().unwrap_or("-".into()));
    }
    found
}

fn list(clusters: &[String]) -> String {
    let sorted: BTreeSet<&str> = clusters.iter().map(String::as_str).collect();
    format!("{sorted:?}")
}

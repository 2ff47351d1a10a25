//! `time < 2s`, `tls 1.3`: how long curl's transfers took, and which TLS version it agreed on.

use super::explain::explained;
use super::finding::Finding;
use super::response::transfers;
use super::{Evidence, Failure, code};
use crate::plan::Comparison;
use serde_json::Value;
use std::time::Duration;

pub(super) fn time(comparison: Comparison, limit: Duration, evidence: &Evidence) -> Finding {
    let Some(probe) = evidence.probe.as_ref() else {
        return Finding::not_shown("no command ran before this line", "put an `exec` before it");
    };
    let totals: Vec<f64> = probe.transfers.iter().filter_map(|t| t.get("time_total").and_then(Value::as_f64)).collect();
    // A program that gives no account of its own took as long as it ran.
    let took = if totals.is_empty() { vec![probe.took.as_secs_f64()] } else { totals };
    match took.iter().find(|seconds| !comparison.holds(**seconds, limit.as_secs_f64())) {
        None => Finding::show(format!("time  {}", took.iter().map(|s| shown(*s)).collect::<Vec<_>>().join(", "))),
        Some(seconds) => {
            let title =
                format!("expected time {comparison} {}, it took {}", shown(limit.as_secs_f64()), shown(*seconds));
            Finding::no(explained(Failure::new(code::TIME, title), evidence))
        }
    }
}

fn shown(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds:.2} s") }
}

/// curl says it with `-v`: `* SSL connection using TLSv1.3 / TLS_AES_128_GCM_SHA256 / …`.
pub(super) fn tls(wanted: &str, evidence: &Evidence) -> Finding {
    let probe = match transfers(evidence) {
        Ok((probe, _)) => probe,
        Err(finding) => return finding,
    };
    let said = String::from_utf8_lossy(&probe.stderr);
    let seen: Vec<&str> = said.lines().filter_map(version).collect();
    let fails = |seen: String| {
        Finding::no(explained(Failure::new(code::TLS, format!("expected tls {wanted}, {seen}")), evidence))
    };
    match seen.as_slice() {
        [] if said.lines().any(|line| line.starts_with("* ")) => fails("curl agreed on none".into()),
        [] => Finding::not_shown("curl does not say which TLS version it agreed on", "add -v to curl"),
        seen => match seen.iter().find(|version| **version != wanted) {
            None => Finding::show(format!("tls  {wanted}")),
            Some(other) => fails(format!("got {other}")),
        },
    }
}

fn version(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("* ")?.split("using TLSv").nth(1)?;
    rest.split([' ', '/']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curls_own_words_tell_the_version() {
        assert_eq!(
            version("* SSL connection using TLSv1.3 / TLS_AES_256_GCM_SHA384 / X25519 / RSASSA-PSS"),
            Some("1.3")
        );
        assert_eq!(version("* TLSv1.3 (OUT), TLS handshake, Client hello (1):"), None);
    }
}

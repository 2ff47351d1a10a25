//! Envoy's config dumps and access logs: the first line is a log format, the others are log lines, unless all is a dump.
#![no_main]

use egress_scn::envoy::{Dump, LogFormat, LogFormats};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        let dump = Dump::read(&value);
        dump.listeners_on(443).count();
        dump.cluster("outbound|443||example.org");
        LogFormats::read(&value);
        return;
    }
    let (first, lines) = text.split_once('\n').unwrap_or((text, ""));
    for format in [LogFormat::text(first), LogFormat::istio_default()].into_iter().flatten() {
        for line in lines.lines() {
            if let Some(entry) = format.parse(line) {
                (entry.cluster(), entry.flags(), entry.code(), entry.upstream_host());
            }
        }
    }
});

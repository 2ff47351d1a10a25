//! Laying a text out keeps what it says, and laying it out twice changes nothing more.
#![no_main]

use egress_scn::diag::Source;
use egress_scn::syntax;
use libfuzzer_sys::fuzz_target;
use regex::Regex;
use std::sync::{Arc, LazyLock};

/// What a text says, without where it says it.
fn meaning(text: &str) -> Vec<String> {
    static SPANS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[0-9]+\.\.[0-9]+").unwrap());
    let parsed = syntax::parse(&Arc::new(Source { name: "fuzz.egress".into(), text: text.into() }));
    let verbs = parsed.statements.iter().map(|s| SPANS.replace_all(&format!("{:?}", s.verb), "").into_owned());
    // How much is said of lines that are wrong is a matter of their neighbours as they are written.
    verbs.chain([format!("wrong: {}", !parsed.errors.is_empty())]).collect()
}

fuzz_target!(|text: &str| {
    let once = syntax::format(text);
    assert_eq!(meaning(text), meaning(&once));
    assert_eq!(once, syntax::format(&once));
});

//! Every mistake has a place inside the text, and nothing of the text reaches the terminal as a control character.
#![no_main]

use egress_scn::diag::{Source, render};
use egress_scn::syntax;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|text: &str| {
    let source = Arc::new(Source { name: "fuzz.egress".into(), text: text.into() });
    let parsed = syntax::parse(&source);
    for statement in &parsed.statements {
        assert!(text.get(statement.span.clone()).is_some(), "{:?}", statement.span);
    }
    for error in &parsed.errors {
        assert!(!error.labels.is_empty(), "{} {} has no place", error.code, error.title);
        let shown = render(error, false);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
});

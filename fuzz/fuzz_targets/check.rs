//! Any text is checked to its end: variables, loops, manifests in heredocs, links between them.
#![no_main]

use egress_scn::check;
use egress_scn::diag::{Source, render};
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::Arc;

fuzz_target!(|text: &str| {
    let source = Arc::new(Source { name: "fuzz.egress".into(), text: text.into() });
    // No manifests lie there: what is applied stands in the text.
    let (_, found) = check::source(&source, Path::new("/nonexistent/fuzz.egress"));
    for diagnostic in found.iter().take(20) {
        assert!(!diagnostic.labels.is_empty(), "{} {} has no place", diagnostic.code, diagnostic.title);
        let shown = render(diagnostic, false);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
});

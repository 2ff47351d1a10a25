//! The mesh compiler takes any objects.
#![no_main]

use egress_scn::check::yaml;
use egress_scn::mesh::{compile, documents::Documents};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(read) = yaml::read(text) else { return };
    let Ok(documents) = Documents::read(read.into_iter().map(|d| d.value)) else { return };
    let pods = match documents.proxy("no-such-proxy") {
        Err(none) => none.pods,
        Ok(_) => vec![],
    };
    for name in pods.iter().take(4) {
        if let Ok(proxy) = documents.proxy(name) {
            compile(&documents.world, &proxy);
        }
    }
});

//! Any YAML is read or refused at a place inside it; what is read is judged by the schemas and the webhook.
#![no_main]

use egress_scn::check::yaml;
use egress_scn::istio::{analyze, validation};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| match yaml::read(text) {
    Ok(documents) => {
        for document in &documents {
            for (pointer, span) in &document.spans {
                assert!(document.value.pointer(pointer).is_some(), "{pointer}");
                assert!(text.get(span.clone()).is_some(), "{pointer} {span:?}");
            }
            validation::validate(&document.value);
        }
        let objects: Vec<Value> = documents.into_iter().map(|d| d.value).collect();
        analyze::analyze(&objects, &Value::Null);
    }
    Err(errors) => errors.iter().for_each(|e| assert!(text.get(e.span.clone()).is_some(), "{e:?}")),
});

//! Cutting a text into tokens loses no byte.
#![no_main]

use egress_scn::syntax;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut at = 0;
    for token in syntax::tokens(text) {
        assert_eq!(token.span.start, at, "a byte is lost or told twice");
        assert!(token.span.end > at, "an empty token at {at}");
        assert!(text.is_char_boundary(token.span.end));
        at = token.span.end;
    }
    assert_eq!(at, text.len());
});

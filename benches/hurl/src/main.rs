//! `hurl-peer FILE REPEATS`: parses the file REPEATS times and prints what it took of processor time, in nanoseconds.

use std::hint::black_box;

#[path = "../../language/spent.rs"]
mod spent;

fn main() {
    let mut words = std::env::args().skip(1);
    let text = std::fs::read_to_string(words.next().expect("FILE")).expect("a text");
    let repeats = words.next().and_then(|n| n.parse().ok()).expect("REPEATS");
    let took = spent::processor_time(|| {
        for _ in 0..repeats {
            let parsed = hurl_core::parser::parse_hurl_file(black_box(&text));
            assert!(parsed.is_ok(), "{parsed:?}");
            black_box(parsed).ok();
        }
    });
    println!("{}", took.as_nanos());
}

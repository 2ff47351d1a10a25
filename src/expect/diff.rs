//! Expected against actual, line by line: `-` is expected, `+` is what is there.

use similar::{ChangeTag, TextDiff};

/// The lines of a diff; equal ones begin with a space.
pub(super) fn lines(expected: &[String], actual: &[String]) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (expected.iter().map(String::as_str).collect(), actual.iter().map(String::as_str).collect());
    let diff = TextDiff::from_slices(&old, &new);
    diff.iter_all_changes()
        .map(|change| {
            let sign = match change.tag() {
                ChangeTag::Delete => "-",
                ChangeTag::Insert => "+",
                ChangeTag::Equal => " ",
            };
            format!("{sign} {}", super::text::printable(change.value()))
        })
        .collect()
}

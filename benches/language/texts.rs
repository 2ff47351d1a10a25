//! Texts of any length: the same ten lines over and over, with names of their own.

use std::fmt::Write;

/// Lines of one unit, in both languages.
const UNIT: usize = 10;

/// A scenario file as people write it: a title, a comment, two probes.
pub fn egress(lines: usize) -> String {
    let mut text = String::new();
    for n in 0..lines / UNIT {
        let _ = write!(
            text,
            r#"scenario "등록된 httpbin은 나가고, example.org는 막힌다 {n}" [seed, block]
  # the positive control
  apply serviceentry-httpbin-ext.yaml
  exec sleep curl -sI https://httpbin.org/get?n={n}
  expect status 200
  expect path sleep -> httpbin.org:443

  exec sleep curl -s -o /dev/null https://example.org/{n}
  expect exit 35 because "REGISTRY_ONLY"
  expect blocked by REGISTRY_ONLY
"#
        );
    }
    text
}

/// A hurl file of as many lines: a comment, a request, an option, what is asserted of the response.
pub fn hurl(lines: usize) -> String {
    let mut text = String::new();
    for n in 0..lines / UNIT {
        let _ = write!(
            text,
            r#"# 등록된 httpbin은 나간다 {n}
GET https://httpbin.org/get?n={n}
User-Agent: curl/8.5.0
[Options]
insecure: true
HTTP 200
[Asserts]
header "content-type" contains "json"
jsonpath "$.args.n" == "{n}"

"#
        );
    }
    text
}

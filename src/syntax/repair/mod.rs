//! A line that does not parse, as it was probably meant: other ways of writing it are tried until one parses, and that one is
//! proposed. Each rule knows one habit; several of them may meet on a line.

mod expect;
mod rules;
mod steps;

use super::ast::Span;
use super::grammar::{Egress, Rule};
use super::{habit, mistake};
use crate::diag::{Diagnostic, Place};
use pest::Parser;

/// More ways than this are not tried for one line.
const MOST_TRIED: usize = 200;
/// Rules that may be needed for one line.
const DEEPEST: usize = 4;

/// What one rule makes of a line's words.
pub(super) struct Rewrite {
    /// The words that are not as they should be.
    blamed: std::ops::Range<usize>,
    /// What stands beneath the caret.
    why: String,
    words: Vec<String>,
}

pub(super) type Words<'w> = &'w [String];

impl Rewrite {
    /// Replaces the words of `blamed`.
    fn replace(words: Words<'_>, blamed: std::ops::Range<usize>, with: &[&str], why: impl Into<String>) -> Rewrite {
        let mut new = words.to_vec();
        new.splice(blamed.clone(), with.iter().map(|w| w.to_string()));
        Rewrite { blamed, why: why.into(), words: new }
    }
}

/// The line as it was probably meant, as a diagnostic; none when no rule knows.
/// `words` are its words with their places in `text`; `offset` is the line's place in the file.
pub(super) fn repair(
    what: &str,
    text: &str,
    words: &[(&str, Span)],
    offset: usize,
    place: &dyn Fn(Span) -> Place,
) -> Option<Diagnostic> {
    // What spans lines (a heredoc, a continuation) is not written anew.
    if text.contains(['\n', '\r']) {
        return None;
    }
    let written: Vec<String> = words.iter().map(|(w, _)| w.to_string()).collect();
    let mut tried = 0;
    let (why, blamed, meant) = search(&written, DEEPEST, &mut tried)?;
    let first = words.get(blamed.start).map_or(text.len(), |(_, s)| s.start);
    let last = words.get(blamed.end.saturating_sub(1)).map_or(text.len(), |(_, s)| s.end).max(first);
    let narrow = written.get(blamed.clone()).unwrap_or_default().iter().any(|w| habit::ordinary(w).is_some());
    let shown = mistake::shorten(&text[first..last]);
    let title = match (narrow, blamed.is_empty()) {
        (true, _) => format!("`{shown}` is not written in ordinary characters"),
        (_, true) => format!("`{what}` is not finished"),
        _ => format!("unexpected `{shown}` in `{what}`"),
    };
    let d = Diagnostic::error(if narrow { "E0108" } else { "E0107" }, title);
    Some(d.at(place(offset + first..offset + last), why).help(format!("write {}", long(&meant.join(" ")))))
}

type Repaired = (String, std::ops::Range<usize>, Vec<String>);

/// Depth first, shallow ways before deep ones.
fn search(words: Words<'_>, depth: usize, tried: &mut usize) -> Option<Repaired> {
    let rewrites: Vec<Rewrite> = rules::ALL.iter().filter_map(|rule| rule(words)).collect();
    for rewrite in &rewrites {
        *tried += 1;
        if *tried > MOST_TRIED {
            return None;
        }
        if parses(&rewrite.words) {
            return Some((rewrite.why.clone(), rewrite.blamed.clone(), rewrite.words.clone()));
        }
    }
    if depth <= 1 {
        return None;
    }
    rewrites.into_iter().find_map(|rewrite| {
        if rewrite.words == words {
            return None;
        }
        let (_, _, meant) = search(&rewrite.words, depth - 1, tried)?;
        Some((rewrite.why, rewrite.blamed, meant))
    })
}

fn parses(words: Words<'_>) -> bool {
    let text = words.join(" ");
    // A word that no statement starts with, or nothing that can be expected, parses as little.
    Egress::parse(Rule::statement, &text).is_ok()
}

/// A whole line fit for a message.
fn long(line: &str) -> String {
    match line.char_indices().nth(160) {
        Some((i, _)) => format!("{}…", &line[..i]),
        None => line.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        let mut tried = 0;
        search(&words, DEEPEST, &mut tried).map_or(String::new(), |(_, _, meant)| meant.join(" "))
    }

    #[test]
    fn what_is_written_is_led_to_what_is_meant() {
        for (written, wanted) in [
            ("expect status == 200", "expect status 200"),
            ("expect status: 200", "expect status 200"),
            ("expect status != 200", "expect no status 200"),
            ("expect status code 200", "expect status 200"),
            ("expect status 200, 301", "expect status 200 or 301"),
            ("expect status in 200 301", "expect status 200 or 301"),
            ("expect status within 10s 200", "expect status 200 within 10s"),
            ("within 10s expect status 200", "expect status 200 within 10s"),
            ("expect status 200 --timeout=10s", "expect status 200 within 10s"),
            ("expect status 200 within 10 s", "expect status 200 within 10s"),
            ("expect status 200 for 10s", "expect status 200 within 10s"),
            ("expect status 200 stable 3 times", "expect status 200 stable 3x"),
            ("expect blocked REGISTRY_ONLY", "expect blocked by REGISTRY_ONLY"),
            ("expect blocked with registry only", "expect blocked by registry-only"),
            ("expect path sleep => gw:443 => a.b:443", "expect path sleep -> gw:443 -> a.b:443"),
            ("expect path sleep gw:443 a.b:443", "expect path sleep -> gw:443 -> a.b:443"),
            ("expect via gw 443", "expect via gw:443"),
            ("expect via gw port 443", "expect via gw:443"),
            ("expect header server: envoy", "expect header server == envoy"),
            ("expect header server is envoy", "expect header server == envoy"),
            ("expect body =~ /a b/", "expect body matches /a b/"),
            ("expect body includes url", "expect body contains url"),
            ("expect clusters on sleep less than 10", "expect clusters on sleep fewer than 10"),
            ("expect clusters count 3 on sleep", "expect clusters on sleep count 3"),
            ("expect on gw listener 443", "expect listener 443 on gw"),
            ("expect resource serviceentry/a -n b", "expect resource serviceentry a in b"),
            ("wait for deployment/sleep Ready --timeout=60s", "wait deployment sleep ready within 60s"),
            ("scale sleep --replicas=2", "scale sleep 2"),
            ("restart deployment sleep", "restart deployment/sleep"),
            ("expect not blocked", "expect no blocked"),
            ("expect listener 443 chains 1 2", ""),
            ("expect certificate httpbin.org", "expect certificate san httpbin.org"),
            ("expect rejected with hosts", "expect rejected containing hosts"),
            ("expect analysis ok", "expect analysis clean"),
            ("wait sleep ready", "wait deployment sleep ready"),
            ("exec -it sleep -- curl -s", "exec sleep -- curl -s"),
            ("skip unless lab", "only on lab"),
            ("capture a = clusters from sleep", "capture a = clusters on sleep"),
            ("let x = a b", "let x = \"a b\""),
            ("set x: a b", "set x = a b"),
            ("steps reach(host, code)", "steps reach host code"),
            ("do reach(a.b)", "do reach a.b"),
            ("for $host in a b", "for host in a b"),
            ("for host of a b", "for host in a b"),
            ("end for", "end"),
            ("scenario \"a\" seed mtls", "scenario \"a\" [seed, mtls]"),
            ("scenario \"a\" @seed", "scenario \"a\" [seed]"),
            ("scenario \"a\" {", "scenario \"a\""),
            ("only lab", "only on lab"),
            ("cut sleep httpbin.org", "cut sleep -> httpbin.org"),
            ("site httpbin.org status=503", "site httpbin.org status 503"),
            ("require outbound=REGISTRY_ONLY", "require outbound REGISTRY_ONLY"),
        ] {
            assert_eq!(meant(written), wanted, "{written}");
        }
        assert_eq!(meant("expect listener zzz zzz zzz"), "");
    }
}

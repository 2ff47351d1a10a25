//! Expectations on what the command printed: headers, body, stdout, stderr.

use super::explain::explained;
use super::finding::Finding;
use super::text::{Matcher, excerpt, quoted};
use super::{Evidence, Failure, Probe, code};
use crate::plan::TextMatch;
use serde_json::Value;

/// ` == "x"`, for titles.
pub(super) fn match_words(matches: Option<&TextMatch>, evidence: &Evidence) -> String {
    let words = matches.map(|matches| Matcher::new(matches, evidence).map(|matcher| format!(" {matcher}")));
    words.and_then(Result::ok).unwrap_or_default()
}

fn no_probe() -> Finding {
    Finding::not_shown("no command ran before this line", "put an `exec` before it")
}

fn matcher(matches: &TextMatch, evidence: &Evidence) -> Result<Matcher, Finding> {
    Matcher::new(matches, evidence).map_err(|reason| Finding::not_shown(reason, "capture it before this line"))
}

fn compare(what: &str, code: &'static str, text: &str, matches: &TextMatch, evidence: &Evidence) -> Finding {
    let matcher = match matcher(matches, evidence) {
        Ok(matcher) => matcher,
        Err(finding) => return finding,
    };
    if matcher.fits_output(text) {
        return Finding::yes();
    }
    let mut failure = Failure::new(code, format!("expected {what} {matcher}, got {}", shown(text)));
    if let Matcher::Equals(wanted) = &matcher {
        let lines = |text: &str| text.lines().map(str::to_string).collect::<Vec<_>>();
        let (expected, actual) = (lines(wanted), lines(text));
        if expected.len() + actual.len() > 2 {
            failure = failure.seen_all(super::diff::lines(&expected, &actual).into_iter().take(40));
        }
    }
    Finding::no(explained(failure, evidence))
}

fn shown(text: &str) -> String {
    match text.trim().is_empty() {
        true => "nothing".into(),
        false => quoted(text),
    }
}

pub(super) fn stdout(matches: &TextMatch, evidence: &Evidence) -> Finding {
    let Some(probe) = &evidence.probe else { return no_probe() };
    compare("stdout", code::STDOUT, &String::from_utf8_lossy(&probe.stdout), matches, evidence)
}

pub(super) fn stderr(matches: &TextMatch, evidence: &Evidence) -> Finding {
    let Some(probe) = &evidence.probe else { return no_probe() };
    compare("stderr", code::STDERR, &String::from_utf8_lossy(&probe.stderr), matches, evidence)
}

pub(super) fn body(matches: &TextMatch, evidence: &Evidence) -> Finding {
    match body_of(evidence) {
        Ok(body) => compare("body", code::BODY, &body, matches, evidence),
        Err(finding) => finding,
    }
}

/// What the command printed, without header blocks; or why there is none.
pub(super) fn body_of(evidence: &Evidence) -> Result<String, Finding> {
    let Some(probe) = &evidence.probe else { return Err(no_probe()) };
    if let Some(option) = hides_body(&probe.command) {
        return Err(Finding::not_shown(
            format!("curl's `{option}` leaves no body in its output"),
            format!("drop `{option}` from the command"),
        ));
    }
    let text = String::from_utf8_lossy(&probe.stdout);
    Ok(split_head(&text).1.to_string())
}

/// The curl option that keeps the body from stdout, if one does.
fn hides_body(command: &[String]) -> Option<&'static str> {
    command.iter().skip(1).find_map(|word| match word.as_str() {
        "--output" => Some("--output"),
        "--head" => Some("--head"),
        "--remote-name" => Some("--remote-name"),
        // Short options stand together: `-sI`, `-so /dev/null`.
        word if word.starts_with('-') && !word.starts_with("--") => {
            [('o', "-o"), ('I', "-I"), ('O', "-O")].into_iter().find_map(|(letter, name)| {
                // Letters after an option with a value are that value (`-Hoo`, `-XGET`).
                let before = word[1..]
                    .split(['H', 'X', 'd', 'A', 'w', 'u', 'm', 'e', 'x', 'F', 'K', 'b', 'c', 'T', 'r', 'E'])
                    .next();
                before.is_some_and(|letters| letters.contains(letter)).then_some(name)
            })
        }
        _ => None,
    })
}

/// Header blocks at the start of an output (`-i`, `-I`), and what follows them.
fn split_head(text: &str) -> (&str, &str) {
    let mut rest = text;
    while rest.starts_with("HTTP/") {
        let end = rest.find("\r\n\r\n").map(|at| at + 4).or_else(|| rest.find("\n\n").map(|at| at + 2));
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    text.split_at(text.len() - rest.len())
}

/// Values of a header in the last response; `None` when no header was shown at all.
fn header_values(probe: &Probe, name: &str) -> Option<Vec<String>> {
    let reported = probe.transfers.last().and_then(|transfer| transfer.get("headers")).and_then(Value::as_object);
    if let Some(headers) = reported {
        let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        return Some(match found {
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).map(str::to_string).collect(),
            Some(Value::String(value)) => vec![value.clone()],
            _ => vec![],
        });
    }
    let stdout = String::from_utf8_lossy(&probe.stdout).into_owned();
    let head = split_head(&stdout).0.to_string();
    let stderr = String::from_utf8_lossy(&probe.stderr).into_owned();
    let verbose: String = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("< "))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    let block = [head, verbose].into_iter().find(|block| !block.trim().is_empty())?;
    // The last response: after redirects, one block follows another.
    let last = block.rfind("HTTP/").map_or(block.as_str(), |at| &block[at..]);
    let values = last.lines().filter_map(|line| line.split_once(':'));
    Some(
        values
            .filter(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_string())
            .collect(),
    )
}

pub(super) fn header(name: &str, matches: Option<&TextMatch>, evidence: &Evidence) -> Finding {
    let Some(probe) = &evidence.probe else { return no_probe() };
    let matcher = match matches.map(|matches| matcher(matches, evidence)).transpose() {
        Ok(matcher) => matcher,
        Err(finding) => return finding,
    };
    let wanted = matcher.as_ref().map(|matcher| format!(" {matcher}")).unwrap_or_default();
    let failed = |seen: String| {
        Finding::no(explained(Failure::new(code::HEADER, format!("expected header {name}{wanted}, {seen}")), evidence))
    };
    if let Some(transfer) = super::curl::Transfer::last(probe).filter(|transfer| transfer.status() == 0) {
        return failed(format!("got {}", transfer.outcome(probe)));
    }
    let Some(values) = header_values(probe, name) else {
        return Finding::not_shown("the command's output shows no headers", "add `-i` or `-I` to curl");
    };
    if values.is_empty() {
        return failed("the response has no such header".into());
    }
    match &matcher {
        Some(matcher) if !values.iter().any(|value| matcher.fits(value)) => {
            failed(format!("got {}", quoted(&excerpt(&values.join(", ")))))
        }
        _ => Finding::yes(),
    }
}

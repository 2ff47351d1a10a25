//! What curl is given: URLs without a scheme, with an unknown one, or none at all; and the URLs of a probe, as curl reads them.

use super::narrow;
use crate::diag::suggest::nearest;
use crate::diag::{Diagnostic, Place};
use crate::plan::curl::{is_curl, meant, options, urls};
use crate::plan::*;
use crate::syntax::habit::is_shell;

/// Schemes that curl knows.
const SCHEMES: &[&str] =
    &["http", "https", "ftp", "ftps", "ws", "wss", "file", "telnet", "tftp", "scp", "sftp", "dict"];

/// One URL of a command: its scheme, host and port, as curl reads them.
pub struct Url {
    pub scheme: String,
    pub host: String,
    pub port: u64,
    /// As it is written.
    pub word: String,
}

/// The command's words; one that holds a capture is not known.
fn words(exec: &Exec) -> Option<Vec<String>> {
    let literal = |t: &Text| match t.0.as_slice() {
        [] => Some(String::new()),
        [Part::Literal(l)] => Some(l.clone()),
        _ => None,
    };
    exec.command.iter().map(literal).collect()
}

/// The hosts that a curl command names, whatever stands between.
pub fn hosts(exec: &Exec) -> Vec<String> {
    let Some(words) = words(exec).filter(|w| is_curl(w)) else { return vec![] };
    given(&words).into_iter().filter_map(|i| read(&words[i])).map(|url| url.host).collect()
}

/// The URLs of a curl command; none where it holds a capture, or where a proxy or another address stands between.
pub fn of(exec: &Exec) -> Vec<Url> {
    let Some(words) = words(exec).filter(|w| is_curl(w)) else { return vec![] };
    let elsewhere = ["x", "proxy", "preproxy", "socks5", "socks5-hostname", "connect-to", "resolve", "unix-socket"];
    if options(&words).iter().any(|o| elsewhere.contains(&o.name)) {
        return vec![];
    }
    let web = |url: &Url| matches!(url.scheme.as_str(), "http" | "https");
    given(&words).into_iter().filter_map(|i| read(&words[i])).filter(web).collect()
}

/// The URLs up to what is a shell's or an expectation's, which is told on its own.
fn given(words: &[String]) -> Vec<usize> {
    let last = words.len().saturating_sub(2);
    let foreign = |(i, w): (usize, &String)| {
        is_shell(w) || i >= last && matches!(w.as_str(), "within" | "every" | "stable" | "because")
    };
    let end = words.iter().enumerate().position(foreign).unwrap_or(words.len());
    urls(words).into_iter().filter(|i| *i < end).collect()
}

fn read(word: &str) -> Option<Url> {
    let (scheme, rest) = word.split_once("://").unwrap_or(("http", word));
    let authority = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !authority.starts_with('[') => (host, port.parse().ok()?),
        _ => (authority, if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 }),
    };
    let scheme = scheme.to_lowercase();
    (!host.is_empty()).then(|| Url { scheme, host: host.to_lowercase(), port, word: word.to_string() })
}

/// Doubts about the URLs of every curl.
pub fn check(scenario: &Scenario) -> Vec<Diagnostic> {
    let mut found = vec![];
    for step in &scenario.steps {
        let StepKind::Exec(exec) = &step.kind else { continue };
        let Some(words) = words(exec).filter(|w| is_curl(w)) else { continue };
        let options = options(&words);
        if options.iter().any(|o| matches!(o.name, "K" | "config" | "V" | "version" | "h" | "help" | "M" | "manual")) {
            continue;
        }
        let misspelt: Vec<(&str, String)> = options
            .iter()
            .filter(|o| words[o.words.start].starts_with("--"))
            .filter_map(|o| Some((o.name, meant(o.name)?)))
            .collect();
        for (name, meant) in &misspelt {
            found.push(
                Diagnostic::warning("W0241", format!("curl has no option `--{name}`"))
                    .at(narrow(&step.place, &format!("--{name}")), format!("did you mean `--{meant}`?"))
                    .help("curl ends with exit code 2 before anything is sent"),
            );
        }
        if !misspelt.is_empty() {
            // Its value would be read as a URL.
            continue;
        }
        let given = given(&words);
        if given.is_empty() {
            found.push(
                Diagnostic::warning("W0241", "curl is given no URL")
                    .at(step.place.clone(), "ends with exit code 2 before anything is sent")
                    .help("write the URL, e.g. curl -sI https://httpbin.org/get"),
            );
        }
        let default = options.iter().any(|o| o.name == "proto-default");
        // What is not replaced is told on its own.
        let plain = |i: &usize| !words[*i].contains(['$', '<', '{']);
        for index in given.into_iter().filter(plain) {
            one(&words[index], &step.place, default, &mut found);
        }
    }
    found
}

fn one(word: &str, place: &Place, default: bool, found: &mut Vec<Diagnostic>) {
    let at = narrow(place, word);
    let warn = |title: String, label: &str| Diagnostic::warning("W0241", title).at(at.clone(), label.to_string());
    let Some((scheme, rest)) = word.split_once("://") else {
        // `https:/host`, `https//host`, `http:host`.
        let slip = ["https", "http"].into_iter().find_map(|s| {
            let rest = word.strip_prefix(s)?;
            rest.starts_with([':', '/']).then(|| (s, rest.trim_start_matches([':', '/'])))
        });
        if let Some((scheme, rest)) = slip {
            found.push(
                warn(format!("`{word}` is no URL"), "curl takes its first part for the host")
                    .help(format!("write {scheme}://{rest}")),
            );
        } else if !default {
            found.push(
                warn(format!("`{word}` has no scheme"), "curl speaks plain HTTP to it, on port 80")
                    .help(format!("write https://{word}, or http://{word} where that is meant")),
            );
        }
        return;
    };
    if !SCHEMES.contains(&scheme.to_lowercase().as_str()) {
        let near = nearest(scheme, ["https", "http"]).unwrap_or("https");
        found.push(
            warn(format!("curl knows no scheme `{scheme}`"), "ends with exit code 1")
                .help(format!("write {near}://{rest}")),
        );
        return;
    }
    let host = read(word).map_or(String::new(), |u| u.host);
    let fits = |c: char| c.is_alphanumeric() || "-._[]:%{}*".contains(c);
    if host.is_empty() || !host.chars().all(fits) {
        let bad = host
            .chars()
            .find(|c| !fits(*c))
            .map_or("no host".to_string(), |c| format!("`{c}` is no part of a host's name"));
        found.push(
            warn(format!("`{word}` names no host"), &bad).help("write https://HOST/, e.g. https://httpbin.org/get"),
        );
    }
}

//! curl in a probe: the run adds `--write-out` fields of its own and takes them out of the output
//! again, so that a judgement has curl's own account (`%{json}`) and the user's output is unchanged.
//! Also: which commands may be repeated.

use crate::plan::curl::{is_curl, options};
use serde_json::Value;

/// A curl command with our fields added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrumented {
    pub command: Vec<String>,
    /// Stands before and after each account in the output.
    marker: String,
}

/// The file of the user's `-w @FILE`, in each part of the command, which must be read in the
/// container before [`instrument`] can merge it.
pub fn write_out_files(command: &[String]) -> Vec<String> {
    let found = options(command).into_iter().filter(|o| o.name == "w" || o.name == "write-out");
    found.filter_map(|o| o.value?.strip_prefix('@').map(str::to_owned)).collect()
}

/// Adds our fields. `file` gives the text of a `-w @FILE`; `None` leaves the command alone.
/// `marker` must not occur in what the command prints.
pub fn instrument(command: &[String], marker: &str, file: impl Fn(&str) -> Option<String>) -> Option<Instrumented> {
    if !is_curl(command) {
        return None;
    }
    // Words to drop, and words to shorten (`-sSw` FORMAT becomes `-sS`).
    let mut dropped = vec![false; command.len()];
    let mut shortened: Vec<Option<usize>> = vec![None; command.len()];
    // One operation ends where `--next` begins another: each has its own write-out.
    let mut formats = vec![String::new()];
    let mut starts = vec![];
    for option in options(command) {
        match option.name {
            "w" | "write-out" => {
                let value = option.value?;
                let text = match value.strip_prefix('@') {
                    Some(name) => file(name)?,
                    None => value.to_owned(),
                };
                // The last one wins.
                if let Some(last) = formats.last_mut() {
                    *last = text;
                }
                for word in option.words.clone() {
                    if let Some(d) = dropped.get_mut(word) {
                        *d = true;
                    }
                }
                if option.at > 1 {
                    dropped[option.words.start] = false;
                    shortened[option.words.start] = Some(option.at);
                }
            }
            "next" | ":" => {
                starts.push(option.words.start);
                formats.push(String::new());
            }
            _ => (),
        }
    }
    let ours = |format: &str| {
        // A leading @ would be read as a file's name.
        let guard = if format.starts_with('@') { "%{stdout}" } else { "" };
        // What an older curl says of a field that it does not know falls between the markers too.
        format!("{guard}{format}%{{stderr}}{marker}%{{json}}{marker}%{{header_json}}{marker}")
    };
    let mut merged = vec![command[0].clone()];
    // `-q` counts only as the first option.
    let first = match command.get(1).map(String::as_str) {
        Some(q @ ("-q" | "--disable")) => {
            merged.push(q.to_owned());
            2
        }
        _ => 1,
    };
    let mut formats = formats.iter();
    let mut add = |merged: &mut Vec<String>| {
        if let Some(format) = formats.next() {
            merged.extend(["--write-out".to_owned(), ours(format)]);
        }
    };
    add(&mut merged);
    for (i, word) in command.iter().enumerate().skip(first) {
        if !dropped[i] {
            merged.push(match shortened[i] {
                Some(at) => word[..at].to_owned(),
                None => word.clone(),
            });
        }
        if starts.contains(&i) {
            add(&mut merged);
        }
    }
    Some(Instrumented { command: merged, marker: marker.to_owned() })
}

impl Instrumented {
    /// Takes our fields out of the output; curl's account of each transfer is returned.
    pub fn strip(&self, stdout: &mut Vec<u8>, stderr: &mut Vec<u8>) -> Vec<Value> {
        let mut transfers = take(stderr, self.marker.as_bytes());
        // `--stderr -` sends it to stdout.
        transfers.extend(take(stdout, self.marker.as_bytes()));
        transfers
    }
}

/// Cuts `MARKER json MARKER headers MARKER` out of `bytes`, wherever they stand. The headers become a
/// field of the account.
fn take(bytes: &mut Vec<u8>, marker: &[u8]) -> Vec<Value> {
    let find = |from: usize, bytes: &[u8]| {
        bytes.get(from..)?.windows(marker.len()).position(|w| w == marker).map(|at| from + at)
    };
    let mut found = vec![];
    let mut from = 0;
    while let Some(begin) = find(from, bytes) {
        let Some(middle) = find(begin + marker.len(), bytes) else { break };
        let Some(end) = find(middle + marker.len(), bytes) else { break };
        let account = serde_json::from_slice::<Value>(&bytes[begin + marker.len()..middle]);
        let headers = serde_json::from_slice::<Value>(&bytes[middle + marker.len()..end]);
        if let Ok(mut account) = account {
            if let (Ok(headers), Some(fields)) = (headers, account.as_object_mut()) {
                fields.insert("headers".into(), headers);
            }
            found.push(account);
        }
        bytes.drain(begin..end + marker.len());
        from = begin;
    }
    found
}

/// Whether repeating the command changes nothing: curl that only gets. Everything else runs once,
/// unless its author gave `every`.
pub fn is_safe_to_repeat(command: &[String]) -> bool {
    if !is_curl(command) {
        return false;
    }
    let found = options(command);
    let as_query = found.iter().any(|o| matches!(o.name, "G" | "get"));
    found.iter().all(|o| match o.name {
        "X" | "request" => matches!(o.value, Some("GET" | "HEAD" | "OPTIONS")),
        "d" | "data" | "data-ascii" | "data-binary" | "data-raw" | "data-urlencode" => as_query,
        // A configuration file may say anything.
        "F" | "form" | "form-string" | "T" | "upload-file" | "json" | "Q" | "quote" | "K" | "config" | "mail-from" => {
            false
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn instrumented(line: &str) -> String {
        instrument(&words(line), "M", |_| Some("from-file\\n".into())).unwrap().command.join(" ")
    }

    const OURS: &str = "%{stderr}M%{json}M%{header_json}M";

    #[test]
    fn our_fields_come_before_the_options() {
        assert_eq!(instrumented("curl -sI https://a/"), format!("curl --write-out {OURS} -sI https://a/"));
        assert_eq!(instrumented("/usr/bin/curl -q a"), format!("/usr/bin/curl -q --write-out {OURS} a"));
    }

    #[test]
    fn the_users_write_out_is_merged_whatever_its_form() {
        for line in ["curl -w X a", "curl --write-out X a", "curl -wX a"] {
            assert_eq!(instrumented(line), format!("curl --write-out X{OURS} a"), "{line}");
        }
        assert_eq!(instrumented("curl -sSw X a"), format!("curl --write-out X{OURS} -sS a"));
        assert_eq!(instrumented("curl -sSwX a"), format!("curl --write-out X{OURS} -sS a"));
        // The last one wins, as in curl.
        assert_eq!(instrumented("curl -w X a -w Y"), format!("curl --write-out Y{OURS} a"));
        assert_eq!(instrumented("curl -w @f a"), format!("curl --write-out from-file\\n{OURS} a"));
        assert_eq!(write_out_files(&words("curl -w @f a")), ["f"]);
    }

    #[test]
    fn what_looks_like_the_option_but_is_a_value_stays() {
        assert_eq!(instrumented("curl -H -w a"), format!("curl --write-out {OURS} -H -w a"));
        assert_eq!(instrumented("curl --data -w a"), format!("curl --write-out {OURS} --data -w a"));
        assert_eq!(instrumented("curl -o/dev/nullw a"), format!("curl --write-out {OURS} -o/dev/nullw a"));
        assert_eq!(instrumented("curl -- -w"), format!("curl --write-out {OURS} -- -w"));
    }

    #[test]
    fn each_operation_has_its_own_write_out() {
        assert_eq!(
            instrumented("curl -w X a --next -s b"),
            format!("curl --write-out X{OURS} a --next --write-out {OURS} -s b")
        );
    }

    #[test]
    fn other_programs_are_left_alone() {
        assert_eq!(instrument(&words("sh -c curl"), "M", |_| None), None);
        assert_eq!(instrument(&words("wget -q a"), "M", |_| None), None);
        // A format file that cannot be read: the user's output comes first.
        assert_eq!(instrument(&words("curl -w @f a"), "M", |_| None), None);
    }

    #[test]
    fn stripping_leaves_every_other_byte() {
        let run = instrument(&words("curl a"), "<M>", |_| None).unwrap();
        let mut stderr =
            b"* \xff note\n<M>{\"http_code\":200}<M>{\"a\":[\"b\"]}<M>tail<M>{\"http_code\":0}<M>curl: unknown<M>"
                .to_vec();
        let mut stdout = b"body <M> of a page".to_vec();
        let transfers = run.strip(&mut stdout, &mut stderr);
        assert_eq!(transfers.len(), 2);
        assert_eq!(transfers[0]["http_code"], 200);
        assert_eq!(transfers[0]["headers"]["a"][0], "b");
        assert_eq!(transfers[1].get("headers"), None);
        assert_eq!(stderr, b"* \xff note\ntail");
        assert_eq!(stdout, b"body <M> of a page");
    }

    #[test]
    fn a_curl_that_only_gets_is_repeated() {
        for safe in ["curl -sI https://a/", "curl -X GET a", "curl -G -d q=1 a", "curl -o -d a", "curl -XHEAD a"] {
            assert!(is_safe_to_repeat(&words(safe)), "{safe}");
        }
        for unsafe_ in [
            "curl -d x a",
            "curl -sdx a",
            "curl --json {} a",
            "curl -F f=@x a",
            "curl -T f a",
            "curl -X POST a",
            "curl -XDELETE a",
            "curl -K file",
            "wget a",
            "sh -c true",
        ] {
            assert!(!is_safe_to_repeat(&words(unsafe_)), "{unsafe_}");
        }
    }
}

//! Holds what docs/architecture.md promises: which room may ask which, who may do I/O, who may print,
//! where `unsafe` may stand.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms that a room may name by `crate::…`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("diag", &[]),
    ("syntax", &["diag"]),
    ("plan", &["diag", "syntax"]),
    ("check", &["diag", "syntax", "plan", "mesh", "istio", "kubernetes"]),
    ("explain", &["diag", "plan"]),
    ("scaffold", &[]),
    ("lsp", &["diag", "syntax", "plan", "check", "explain"]),
    ("envoy", &[]),
    ("expect", &["diag", "plan", "envoy"]),
    ("message", &[]),
    ("mesh", &["message"]),
    ("istio", &[]),
    ("cluster", &["diag", "envoy", "mesh"]),
    ("run", &["diag", "plan", "check", "expect", "envoy", "cluster", "mesh", "istio"]),
    ("report", &["diag", "run"]),
    ("xds", &["message"]),
    ("kubernetes", &[]),
    ("api", &["kubernetes"]),
    ("lab", &["api", "mesh", "message", "xds", "envoy", "istio"]),
];

/// Rooms that are pure.
const NO_IO: &[&str] =
    &["syntax", "plan", "explain", "scaffold", "expect", "envoy", "mesh", "message", "diag", "istio", "kubernetes"];

#[test]
fn rooms_use_only_the_rooms_they_may() {
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut wrong = vec![];
    for file in rust_files() {
        let room = room_of(&file);
        let Some(may) = allowed.get(room.as_str()) else { continue };
        for (number, line) in code_lines(&file) {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if used != room && !may.contains(&used.as_str()) && allowed.contains_key(used.as_str()) {
                    wrong.push(format!("{}:{number}: {room} may not use {used}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_rooms_do_no_io() {
    forbid(
        &["std::fs", "tokio::fs", "std::net::Tcp", "std::process", "tokio::net", "tokio::process", "std::env"],
        |room| NO_IO.contains(&room),
    );
}

#[test]
fn the_language_server_only_reads() {
    let words =
        ["fs::write", "File::create", "OpenOptions", "fs::rename", "fs::remove", "std::process", "std::net", "tokio::"];
    forbid(&words, |room| room == "lsp");
}

#[test]
fn only_the_lab_holds_unsafe() {
    forbid(&["unsafe {", "unsafe fn", "unsafe impl"], |room| room != "lab");
}

#[test]
fn only_report_and_cli_print() {
    forbid(&["println!(", "eprintln!(", "print!(", "eprint!(", "io::stdout()"], |room| {
        !matches!(room, "report" | "cli" | "main.rs" | "lab")
    });
}

#[test]
fn the_api_knows_neither_istio_nor_scenarios() {
    forbid(&["istio", "Istio", "VirtualService", "scenario"], |room| room == "api");
}

#[test]
fn nothing_sleeps() {
    // An outside site is slow when its visitor asks for that; nothing else is.
    forbid_but(&["thread::sleep(", "time::sleep("], |_| true, &["src/lab/internet/"]);
}

#[test]
fn pieces_of_a_configuration_ask_the_scope_which_notes_it() {
    let words = ["push.registry()", "push.virtual_services()", "push.destination_rules()"];
    forbid_but(&words, |room| room == "mesh", &["src/mesh/scope.rs", "src/mesh/node.rs"]);
}

fn forbid(words: &[&str], applies: impl Fn(&str) -> bool) {
    forbid_but(words, applies, &[]);
}

fn forbid_but(words: &[&str], applies: impl Fn(&str) -> bool, but: &[&str]) {
    let mut wrong = vec![];
    for file in rust_files() {
        let room = room_of(&file);
        if !applies(&room) || but.iter().any(|but| file.to_string_lossy().contains(but)) {
            continue;
        }
        for (number, line) in code_lines(&file) {
            wrong.extend(
                words
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("{}:{number}: {word}", file.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines of code before a file's own tests, without comments.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).unwrap();
    let mut lines = vec![];
    for (index, line) in text.lines().enumerate() {
        if line.trim() == "#[cfg(test)]" {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        lines.push((index + 1, code.to_string()));
    }
    lines
}

fn room_of(file: &Path) -> String {
    let inside = file.strip_prefix(source_root()).unwrap();
    inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned()
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files() -> Vec<PathBuf> {
    let pattern = source_root().join("**/*.rs");
    let files: Vec<PathBuf> = glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() > 10, "found too few files beneath {}", source_root().display());
    files
}

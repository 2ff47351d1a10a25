//! Golden cases of the language: each folder of `tests/language` holds `input.egress` (and the
//! manifests it names) and `expected.txt`: every diagnostic, as it is printed, and the plan's steps
//! when there is one. `EGRESS_SCN_UPDATE=1 cargo test --test language` writes what is printed now.

#![allow(clippy::unwrap_used)]

use egress_scn::{check, diag};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = std::fs::read_dir("tests/language")
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.join("input.egress").is_file())
        .collect();
    cases.sort();
    cases
}

fn printed(case: &Path) -> String {
    match check::load(&[case.join("input.egress")]) {
        Ok(loaded) => {
            let mut out = String::new();
            for scenario in &loaded.plan.scenarios {
                out.push_str(&format!("scenario {}\n", scenario.name));
                for step in &scenario.steps {
                    out.push_str(&format!("{:4}  {}\n", step.place.line(), step.text));
                }
            }
            if !loaded.warnings.is_empty() {
                out.push('\n');
                out.push_str(&diag::render_all(&loaded.warnings, false));
            }
            out
        }
        Err(found) => diag::render_all(&found, false),
    }
}

#[test]
fn golden_cases() {
    let update = std::env::var_os("EGRESS_SCN_UPDATE").is_some();
    let mut wrong = vec![];
    let cases = cases();
    assert!(!cases.is_empty(), "no cases in tests/language");
    for case in cases {
        let got = printed(&case);
        let expected = case.join("expected.txt");
        if update {
            std::fs::write(&expected, &got).unwrap();
            continue;
        }
        let want = std::fs::read_to_string(&expected).unwrap_or_default();
        if got != want {
            wrong.push(format!("--- {} expected\n{want}\n--- got\n{got}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The project's own scenarios are an example to those who write more: nothing about them is doubtful.
#[test]
fn own_scenarios_are_clean() {
    match check::load(&[PathBuf::from("scenarios")]) {
        Ok(loaded) => assert!(loaded.warnings.is_empty(), "{}", diag::render_all(&loaded.warnings, false)),
        Err(found) => panic!("{}", diag::render_all(&found, false)),
    }
}

/// Every link that the checks find, or do not find, in configurations whose outcome on real proxies is known.
#[test]
fn links_between_manifests() {
    let update = std::env::var_os("EGRESS_SCN_UPDATE").is_some();
    let table = std::fs::read_to_string("tests/language/links.txt").unwrap();
    let mut new = String::new();
    for line in table.lines() {
        let [case, files, _] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            new.push_str(&format!("{line}\n"));
            continue;
        };
        if case.starts_with('#') {
            new.push_str(&format!("{line}\n"));
            continue;
        }
        let text = format!("apply {files}\nexec sleep true\nexpect exit 0\n");
        let source = Arc::new(diag::Source { name: "links.egress".into(), text });
        let (_, found) = check::source(&source, Path::new("tests/language/links.egress"));
        let errors: Vec<_> = found.iter().filter(|d| d.is_error()).cloned().collect();
        assert!(errors.is_empty(), "{case}:\n{}", diag::render_all(&errors, false));
        let codes: Vec<&str> = found.iter().map(|d| d.code).collect();
        new.push_str(format!("{case} | {files} | {}", codes.join(" ")).trim_end());
        new.push('\n');
    }
    if update {
        std::fs::write("tests/language/links.txt", &new).unwrap();
    } else {
        assert_eq!(table, new);
    }
}

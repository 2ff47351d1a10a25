//! `new`: what it writes passes `check` and `fmt`; nothing is ever overwritten. That it runs green is in `tests/lab`.

use crate::program::{program, said};
use std::path::Path;

const PATTERNS: [&str; 5] = ["passthrough", "mutual", "origination", "block", "scope"];

fn new(folder: &Path, arguments: &[&str]) -> crate::program::Said {
    said(program().current_dir(folder).arg("new").args(arguments))
}

#[test]
fn every_pattern_passes_check_and_is_laid_out() {
    for host in ["api.weather.example", "한글.kr"] {
        let folder = tempfile::tempdir().unwrap();
        for pattern in PATTERNS {
            let made = new(folder.path(), &[pattern, host]);
            assert_eq!((made.code, made.err.as_str()), (0, ""), "{pattern}");
            assert!(made.out.starts_with(&format!("created  {pattern}-")), "{}", made.out);
        }
        let check = said(program().current_dir(folder.path()).args(["check", "."]));
        assert_eq!((check.code, check.err.as_str()), (0, ""));
        assert!(
            check.out.starts_with("5 scenarios, ") && check.out.ends_with(", 0 warnings, no errors\n"),
            "{}",
            check.out
        );
        let fmt = said(program().current_dir(folder.path()).args(["fmt", "--check", "."]));
        assert_eq!((fmt.code, fmt.out.as_str()), (0, ""), "{}", fmt.err);
        for pattern in PATTERNS {
            let made = folder.path().join(format!("{pattern}-*"));
            let paths: Vec<_> =
                glob::glob(made.to_str().unwrap()).unwrap().map(Result::unwrap).filter(|p| p.is_dir()).collect();
            let validate = said(program().args(["validate", "-f"]).args(&paths));
            assert_eq!(validate.code, 0, "{}", validate.out);
            assert!(validate.out.ends_with(", 0 errors, 0 warnings\n"), "{}", validate.out);
        }
    }
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("block-a-com.egress");
    std::fs::write(&scenario, "note mine").unwrap();
    let refused = new(folder.path(), &["block", "a.com"]);
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    assert!(refused.err.contains("block-a-com.egress is there already"), "{}", refused.err);
    assert_eq!(std::fs::read_to_string(&scenario).unwrap(), "note mine");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["block-a-com.egress"], "a refusal writes nothing");
    // A folder of that name, and a link that leads to somebody's file.
    std::fs::create_dir(folder.path().join("scope-a-com")).unwrap();
    assert_eq!(new(folder.path(), &["scope", "a.com"]).code, 2);
    std::os::unix::fs::symlink(&scenario, folder.path().join("mutual-a-com.egress")).unwrap();
    assert_eq!(new(folder.path(), &["mutual", "a.com"]).code, 2);
    assert_eq!(std::fs::read_to_string(&scenario).unwrap(), "note mine");
    assert_eq!(new(folder.path(), &["passthrough", "a.com"]).code, 0);
    assert_eq!(new(folder.path(), &["passthrough", "a.com"]).code, 2);
}

#[test]
fn what_is_no_host_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    for (host, expected) in [
        ("*.example.com", "try  write one of its hosts: www.example.com"),
        ("https://a.com/x", "try  write a.com"),
        ("httpbin.other.svc.cluster.local", "needs no egress"),
        ("203.0.113.7", "an address has no SNI"),
        ("a\u{1b}[31m.com", "not a host name"),
    ] {
        let refused = new(folder.path(), &["passthrough", host]);
        assert_eq!(refused.code, 2);
        assert!(refused.err.contains(expected) && !refused.err.contains('\u{1b}'), "{host}: {}", refused.err);
    }
    assert_eq!(new(folder.path(), &["passthrough", "a.com", "-n", "Not_One"]).code, 2);
    assert_eq!(new(folder.path(), &["nonsense", "a.com"]).code, 2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

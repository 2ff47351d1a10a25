//! `explain FILE`: words and commands. That the commands run is in `tests/lab`.

use crate::program::{program, run, said};

#[test]
fn the_card_is_explained() {
    let explained = run(&["explain", "scenarios/card.egress"]);
    assert_eq!((explained.code, explained.err.as_str()), (0, ""));
    let want = std::fs::read_to_string("tests/tools/explain/card.txt").unwrap_or_default();
    if std::env::var_os("EGRESS_SCN_UPDATE").is_some() {
        std::fs::write("tests/tools/explain/card.txt", &explained.out).unwrap();
    } else {
        assert_eq!(explained.out, want);
    }
}

#[test]
fn every_construct_is_explained_in_both_languages() {
    let update = std::env::var_os("EGRESS_SCN_UPDATE").is_some();
    for language in ["en", "ko"] {
        let explained = run(&["explain", "--lang", language, "tests/tools/plan/every.egress"]);
        assert_eq!((explained.code, explained.err.as_str()), (0, ""));
        let path = format!("tests/tools/explain/every.{language}.txt");
        if update {
            std::fs::write(path, &explained.out).unwrap();
        } else {
            assert_eq!(explained.out, std::fs::read_to_string(path).unwrap());
        }
    }
}

/// bash reads all of it: no quote is left open, no word of the scenario is read as syntax.
#[test]
fn what_is_printed_is_a_script() {
    let mut files: Vec<String> = vec!["tests/tools/plan/every.egress".into()];
    for pattern in ["scenarios/*.egress", "scenarios/lessons/*.egress"] {
        files.extend(glob::glob(pattern).unwrap().map(|path| path.unwrap().display().to_string()));
    }
    assert!(files.len() > 9);
    let explained = said(program().args(["explain", "--lang", "ko"]).args(&files));
    assert_eq!(explained.code, 0, "{}", explained.err);
    let read = std::process::Command::new("bash").args(["--norc", "-n", "-c", &explained.out]).output().unwrap();
    assert!(read.status.success() && read.stderr.is_empty(), "{}", String::from_utf8_lossy(&read.stderr));
}

#[test]
fn the_locale_chooses_the_language() {
    let in_locale =
        |name: &str, value: &str| said(program().env(name, value).args(["explain", "scenarios/card.egress"])).out;
    assert!(in_locale("LANG", "ko_KR.UTF-8").contains("HTTP 상태는 200"));
    assert!(in_locale("LC_ALL", "ko").contains("HTTP 상태는 200"));
    assert!(in_locale("LC_ALL", "en_US.UTF-8").contains("The HTTP status is 200"));
    let asked = said(program().env("LANG", "ko_KR.UTF-8").args(["explain", "--lang", "en", "scenarios/card.egress"]));
    assert!(asked.out.contains("The HTTP status is 200"));
}

#[test]
fn nothing_of_the_input_reaches_the_terminal_or_the_shell() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.egress");
    let text = "scenario \"x\u{202e}; touch made\"\n  note \"two\\nlines; touch made\"\n  exec sleep sh -c 'echo $(touch made) `touch made`' \"a\\r\\\"\"\n  \
                expect stdout contains \"'; touch made; '\"\n";
    std::fs::write(&file, text).unwrap();
    let explained = said(program().current_dir(folder.path()).args(["explain", "a.egress"]));
    assert_eq!(explained.code, 0, "{}", explained.err);
    assert!(!explained.out.chars().any(|c| c.is_control() && c != '\n'), "{:?}", explained.out);
    // With a kubectl that does nothing, the script does nothing either.
    let script = format!("kubectl() {{ :; }}\n{}", explained.out);
    let ran =
        std::process::Command::new("bash").args(["--norc", "-c", &script]).current_dir(folder.path()).output().unwrap();
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["a.egress"], "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn codes_and_files_are_told_apart() {
    assert!(run(&["explain", "E0123", "e0101"]).out.contains("E0101"));
    let mixed = run(&["explain", "E0123", "scenarios/card.egress"]);
    assert_eq!((mixed.code, mixed.out.as_str()), (2, ""));
    let missing = run(&["explain", "nothing.egress"]);
    assert_eq!(missing.code, 2);
}

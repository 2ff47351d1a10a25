//! `fmt`: whatever the text, laying it out changes no word of it, and laying out twice changes nothing more.

use crate::mutated::{self, Chance};
use crate::program::{program, root, run, said};
use egress_scn::{diag::Source, syntax};
use std::path::PathBuf;
use std::sync::Arc;

/// Every scenario at hand: golden inputs, our own, lessons, the reference's examples, what `new` writes.
fn texts() -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = vec![];
    for pattern in [
        "tests/language/*/input.egress",
        "scenarios/**/*.egress",
        "tests/tools/plan/*.egress",
        "src/scaffold/templates/*.egress",
    ] {
        let found: Vec<PathBuf> =
            glob::glob(root().join(pattern).to_str().unwrap()).unwrap().map(Result::unwrap).collect();
        assert!(!found.is_empty(), "{pattern}");
        out.extend(
            found.into_iter().filter_map(|p| Some((p.display().to_string(), std::fs::read_to_string(&p).ok()?))),
        );
    }
    let page = std::fs::read_to_string(root().join("docs/language.md")).unwrap();
    for (index, part) in page.split("```egress").enumerate().skip(1) {
        let text = part.split_once('\n').unwrap().1.split("```").next().unwrap();
        out.push((format!("docs/language.md, example {index}"), text.to_owned()));
    }
    out
}

fn parse(text: &str) -> syntax::Parsed {
    syntax::parse(&Arc::new(Source { name: "any.egress".into(), text: text.into() }))
}

/// What a text says: its statements and mistakes without their places, heredocs line by line, comments.
fn meaning(text: &str) -> Vec<String> {
    let spans = regex::Regex::new(r"[0-9]+\.\.[0-9]+").unwrap();
    let parsed = parse(text);
    let mut out: Vec<String> =
        parsed.statements.iter().map(|s| spans.replace_all(&format!("{:?}", s.verb), "").into_owned()).collect();
    out.extend(parsed.errors.iter().map(|d| format!("{} {}", d.code, d.title)));
    for token in syntax::tokens(text) {
        let piece = &text[token.span.clone()];
        match token.kind {
            syntax::TokenKind::Comment => out.push(piece.trim_end_matches([' ', '\t', '\r']).to_owned()),
            syntax::TokenKind::Heredoc => {
                // A heredoc moves as a whole: its lines keep their indents to one another.
                let body: Vec<&str> = piece.lines().skip(1).collect();
                let body = &body[..body.len().saturating_sub(1)];
                let depth = |l: &&str| l.len() - l.trim_start_matches(' ').len();
                let common = body.iter().filter(|l| !l.trim().is_empty()).map(depth).min().unwrap_or(0);
                out.extend(body.iter().map(|l| l[common.min(depth(l))..].to_owned()));
            }
            _ => {}
        }
    }
    out
}

fn check(name: &str, text: &str) {
    let once = syntax::format(text);
    assert_eq!(meaning(text), meaning(&once), "{name}: parse(fmt(x)) is not parse(x)\n{text:?}\n{once:?}");
    assert_eq!(syntax::format(&once), once, "{name}: fmt(fmt(x)) is not fmt(x)\n{text:?}");
}

#[test]
fn every_text_at_hand() {
    texts().iter().for_each(|(name, text)| check(name, text));
}

/// Mutations of them: bytes that the cutting of lines turns on, and whole lines dropped, doubled, swapped, joined, indented.
#[test]
fn every_mutation() {
    let texts = texts();
    let mut chance = Chance::new(0x9e37_79b9_7f4a_7c15);
    for round in 0..40 {
        let (name, text) = &texts[chance.below(texts.len())];
        check(&format!("{name} (round {round})"), &mutated::lines(text, &mut chance));
    }
}

#[test]
fn a_file_keeps_its_mode_and_its_link() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("a.egress"), folder.path().join("b.egress"));
    std::fs::write(&file, "exec   sleep true\nexpect exit 0\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("a.egress", &link).unwrap();
    let laid_out = run(&["fmt", link.to_str().unwrap()]);
    assert_eq!((laid_out.code, laid_out.err.as_str()), (0, ""));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "exec sleep true\nexpect exit 0\n");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    // What cannot be read is not touched, and the other files are laid out all the same.
    let (broken, other) = (folder.path().join("c.egress"), folder.path().join("d.egress"));
    std::fs::write(&broken, "note   \"x\n").unwrap();
    std::fs::write(&other, "note   x\n").unwrap();
    let said = said(program().arg("fmt").args([&broken, &other]));
    assert_eq!(said.code, 2);
    assert_eq!(std::fs::read_to_string(&broken).unwrap(), "note   \"x\n");
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "note x\n");
    std::fs::write(&broken, b"note \xff\n").unwrap();
    assert_eq!(run(&["fmt", broken.to_str().unwrap()]).code, 2);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

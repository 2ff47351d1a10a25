//! `fmt`: whatever the text, laying it out changes no word of it, and laying out twice changes nothing more.

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
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below.max(1) as u64) as usize
    };
    let bits = [
        "\"",
        "'",
        "\\",
        "\\\n",
        "#",
        " # ",
        "<<YAML\n",
        "\nYAML\n",
        "<<'A'\n",
        "\"\"\"",
        "${",
        "}",
        "$${",
        "/",
        "|",
        "\r\n",
        "\n",
        "\t",
        " ",
        "한",
        "\u{feff}",
        "\u{1b}",
        "\u{0}",
        "end\n",
        "for\n",
        "scenario x\n",
        "expect ",
        "matches /",
        "\u{3000}",
        "\r",
        "[",
        "=",
        "->",
        "\u{a0}",
        "\u{2028}",
        "😀",
    ];
    for round in 0..40 {
        let (name, text) = &texts[next(texts.len())];
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        // A window is enough: files are long, and lines are cut one by one.
        let from = next(lines.len());
        lines = lines.into_iter().skip(from.saturating_sub(6)).take(12).collect();
        for _ in 0..next(3) {
            let (a, b) = (next(lines.len()), next(lines.len()));
            if lines.is_empty() {
                break;
            }
            match next(5) {
                0 => drop(lines.remove(a)),
                1 => lines.insert(b, lines[a].clone()),
                2 => lines.swap(a, b),
                3 => lines[a] = lines[a].trim_end().to_owned() + bits[next(bits.len())],
                _ => lines[a] = format!("{}{}", [" ", "\t", "      ", "\u{feff}"][next(4)], lines[a]),
            }
        }
        let mut text = lines.concat();
        for _ in 0..next(4) {
            let mut at = next(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text.insert_str(at, bits[next(bits.len())]);
        }
        check(&format!("{name} (round {round})"), &text);
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

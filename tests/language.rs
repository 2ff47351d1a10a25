//! Golden cases of the language: each folder of `tests/language` holds `input.egress` (and the
//! manifests it names) and `expected.txt`: every diagnostic, as it is printed, and the plan's steps
//! when there is one. `EGRESS_SCN_UPDATE=1 cargo test --test language` writes what is printed now.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod mutated;

use egress_scn::{check, diag, syntax};
use mutated::Chance;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

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
        // Two of the configurations are refused by istiod's webhook before any link matters.
        let errors: Vec<_> = found.iter().filter(|d| d.is_error() && d.code != "E0314").cloned().collect();
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

/// Every scenario text at hand: the golden cases and the project's own.
fn texts() -> Vec<(String, String)> {
    let own = std::fs::read_dir("scenarios").unwrap().map(|e| e.unwrap().path());
    let files = cases().into_iter().map(|c| c.join("input.egress")).chain(own.filter(|p| p.is_file()));
    files.filter_map(|f| Some((f.display().to_string(), std::fs::read_to_string(&f).ok()?))).collect()
}

fn heredoc(verb: &syntax::Verb) -> Option<&syntax::Heredoc> {
    match verb {
        syntax::Verb::Apply(syntax::Manifests::Heredoc(heredoc)) => Some(heredoc),
        syntax::Verb::Patch { patch, .. } => Some(patch),
        syntax::Verb::Expect(expect) => match &expect.what {
            syntax::Expectation::Config { document } => Some(document),
            syntax::Expectation::Resource { document, .. } => document.as_deref(),
            _ => None,
        },
        _ => None,
    }
}

/// What a text says, without where it says it: statements with their spans left out, heredocs as they are read.
fn meaning(name: &str, text: &str) -> Vec<String> {
    let source = Arc::new(diag::Source { name: name.into(), text: text.into() });
    static SPANS: LazyLock<regex::Regex> = LazyLock::new(|| regex::Regex::new(r"[0-9]+\.\.[0-9]+").unwrap());
    let parsed = syntax::parse(&source);
    let mut out: Vec<String> = vec![];
    for statement in &parsed.statements {
        out.push(SPANS.replace_all(&format!("{:?}", statement.verb), "").into_owned());
        if let Some(heredoc) = heredoc(&statement.verb) {
            let body = &text[heredoc.body.clone()];
            let depth = |l: &str| l.len() - l.trim_start_matches(' ').len();
            let common = body.lines().filter(|l| !l.trim().is_empty()).map(depth).min().unwrap_or(0);
            out.extend(body.lines().map(|l| l[common.min(depth(l))..].to_string()));
        }
    }
    out.extend(parsed.errors.iter().map(|d| format!("{} {}", d.code, d.title)));
    out
}

fn check_layout(name: &str, text: &str) {
    let once = syntax::format(text);
    assert_eq!(meaning(name, text), meaning(name, &once), "{name}:\n{text:?}\n{once:?}");
    assert_eq!(once, syntax::format(&once), "{name}: laid out twice\n{text:?}");
    let comments = |t: &str| {
        let of = |k: &syntax::Token| k.kind == syntax::TokenKind::Comment;
        let shown = |k: syntax::Token| t[k.span].trim_end_matches([' ', '\t', '\r']).to_string();
        syntax::tokens(t).into_iter().filter(of).map(shown).collect::<Vec<_>>()
    };
    assert_eq!(comments(text), comments(&once), "{name}: {text:?}");
}

fn check_tokens(name: &str, text: &str) {
    let mut at = 0;
    for token in syntax::tokens(text) {
        assert_eq!(token.span.start, at, "{name}: {text:?}");
        assert!(token.span.end > at, "{name}: an empty token at {at} of {text:?}");
        at = token.span.end;
    }
    assert_eq!(at, text.len(), "{name}: {text:?}");
}

#[test]
fn laying_out_keeps_the_meaning_and_settles() {
    texts().iter().for_each(|(name, text)| check_layout(name, text));
}

#[test]
fn tokens_cover_every_byte() {
    texts().iter().for_each(|(name, text)| check_tokens(name, text));
}

/// Any text at all: nothing panics, no byte is lost, laying out keeps the meaning, every mistake has a place.
#[test]
fn any_text_is_read() {
    let texts = texts();
    let mut chance = Chance::new(0x2545_f491_4f6c_dd1d);
    for round in 0..150 {
        let (name, text) = &texts[chance.below(texts.len())];
        let mut text = text.clone();
        mutated::characters(&mut text, &mut chance);
        let name = format!("{name} (round {round})");
        check_tokens(&name, &text);
        check_layout(&name, &text);
        let source = Arc::new(diag::Source { name: "any.egress".into(), text });
        let (_, found) = check::source(&source, Path::new("tests/language/any.egress"));
        for d in &found {
            assert!(!d.labels.is_empty(), "{name}: {} {} has no place", d.code, d.title);
            let shown = diag::render(d, false);
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{name}: {shown:?}");
        }
    }
}

/// The fenced examples of a page: what stands behind `egress` on the fence, the line, the text.
fn examples(page: &str) -> Vec<(String, usize, String)> {
    let mut out = vec![];
    let mut open: Option<(String, usize, String)> = None;
    for (index, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.to_string(), index + 1, String::new())),
            (Some(_), Some(_)) => out.extend(open.take().filter(|(info, ..)| info.starts_with("egress"))),
            (Some((_, _, text)), None) => text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    out
}

/// Every example of the reference is right, or wrong in just the way that it says.
#[test]
fn the_reference_is_true() {
    let page = std::fs::read_to_string("docs/language.md").unwrap();
    let examples = examples(&page);
    assert!(examples.len() > 10);
    for (info, line, text) in &examples {
        let source = Arc::new(diag::Source { name: format!("docs/language.md:{line}"), text: text.clone() });
        let (scenarios, found) = check::source(&source, Path::new("scenarios/example.egress"));
        let wanted: Vec<&str> = info.split_once('=').map(|(_, code)| code).into_iter().collect();
        let codes: Vec<&str> = found.iter().map(|d| d.code).collect();
        assert_eq!(codes, wanted, "{}", diag::render_all(&found, false));
        assert!(!wanted.is_empty() || scenarios.iter().any(|s| !s.steps.is_empty()));
    }
    let korean = std::fs::read_to_string("docs/ko/language.md").unwrap();
    let texts = |page: &str| self::examples(page).into_iter().map(|(info, _, text)| (info, text)).collect::<Vec<_>>();
    assert_eq!(texts(&page), texts(&korean), "the Korean page shows the same examples");
}

/// No verb, expectation, fact or modifier is without an example.
#[test]
fn the_reference_shows_every_word() {
    let page = std::fs::read_to_string("docs/language.md").unwrap();
    let lines: Vec<String> =
        examples(&page).into_iter().flat_map(|(.., t)| t.lines().map(str::to_string).collect::<Vec<_>>()).collect();
    let words = |line: &str| line.split_whitespace().map(str::to_string).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = lines.iter().map(|l| words(l)).collect();
    let starts = |word: &str| lines.iter().any(|l| l.first().is_some_and(|w| w == word));
    let expected = |word: &str| {
        lines.iter().any(|l| {
            l.first().is_some_and(|w| w == "expect") && l.iter().skip(1).find(|w| *w != "no").is_some_and(|w| w == word)
        })
    };
    let within = |word: &str| {
        lines.iter().any(|l| {
            l.first().is_some_and(|w| matches!(w.as_str(), "expect" | "wait")) && l.iter().skip(2).any(|w| w == word)
        })
    };
    let verbs = syntax::vocabulary::VERBS.iter().map(|v| v.word).filter(|w| !starts(w));
    let expectations = syntax::vocabulary::EXPECTATIONS.iter().map(|(w, _)| *w).filter(|w| !expected(w));
    let facts = syntax::vocabulary::FACTS.iter().chain(syntax::vocabulary::MODIFIERS).map(|(w, _)| *w);
    let missing: Vec<&str> = verbs.chain(expectations).chain(facts.filter(|w| !within(w))).collect();
    assert!(missing.is_empty(), "no example has {missing:?}");
}

/// What could be read in two ways, and the case that holds how it is read.
const SETTLED: &[(&str, &str, &str)] = &[
    ("modifiers at the end of `apply`", "modifier-at-end-of-apply", "apply "),
    ("a file that is named like a modifier, in quotes", "modifier-at-end-of-apply", "\""),
    ("`#` inside quotes and regexes", "hash-inside", "/a#b # c/"),
    ("`#` inside heredocs", "hash-in-heredoc", "# kept"),
    ("`#` inside texts", "text-block", "# not a comment"),
    ("`${}` in single quotes", "single-quotes-raw", "'${host}'"),
    ("a literal `${`", "dollar", "$${"),
    ("`\\` in comments", "hash-inside", "# a comment with \\\n"),
    ("`--` after `exec`", "dashes", "-- curl -c"),
    ("a table inside `for`", "table-in-for", "for"),
    ("blocks without `end`", "block-open", "for"),
    ("steps before the first scenario", "step-before-scenario", "scenario"),
    ("headers after steps", "header-after-step", "namespace"),
    ("`fewer than` a list", "fewer-than", "fewer than clusters on"),
    ("ports 443 and 8443", "ports", "bound 8443"),
    ("an expectation of before a change", "changes", "patch deployment"),
    ("names in NFC and NFD", "nfd", "let "),
    ("a route of what passes as TLS", "route-of-passthrough", "expect route"),
    ("a heredoc that replaces no variables", "heredoc-variables", "<<'"),
];

#[test]
fn what_is_settled_is_held() {
    for (what, folder, has) in SETTLED {
        let text = std::fs::read_to_string(format!("tests/language/{folder}/input.egress"));
        let text = text.unwrap_or_else(|e| panic!("{what}: {folder}: {e}"));
        assert!(text.contains(has), "{what}: {folder} lacks {has:?}\n{text}");
    }
}

/// The reference's grammar is the grammar.
#[test]
fn the_grammar_is_shown() {
    let path = "docs/language.md";
    let page = std::fs::read_to_string(path).unwrap();
    let grammar = std::fs::read_to_string("grammar/egress.pest").unwrap();
    let (before, rest) = page.split_once("<!-- grammar -->").unwrap();
    let (_, after) = rest.split_once("<!-- /grammar -->").unwrap();
    let want = format!("{before}<!-- grammar -->\n\n```pest\n{grammar}```\n\n<!-- /grammar -->{after}");
    if std::env::var_os("EGRESS_SCN_UPDATE").is_some() {
        std::fs::write(path, &want).unwrap();
    } else {
        assert_eq!(page, want, "EGRESS_SCN_UPDATE=1 cargo test --test language the_grammar");
    }
}

/// What is too large, too deep or never ends is a clear error with a short text, whatever its size.
#[test]
fn limits_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let sparse = |name: &str| {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
        path
    };
    let refused = |path: &Path, code: &str, words: &str| {
        let found = check::load(&[path.to_path_buf()]).err().unwrap_or_default();
        let shown = diag::render_all(&found, false);
        assert!(found.iter().any(|d| d.code == code) && shown.contains(words), "{code} {words}: {shown:.2000}");
        assert!(shown.len() < 20_000, "{} bytes are printed", shown.len());
    };
    refused(&sparse("large.egress"), "E0310", "larger than 64 MiB");
    sparse("large.yaml");
    refused(&file("a.egress", "apply large.yaml\n"), "E0303", "larger than 8 MiB");
    file("deep.yaml", &"[".repeat(1 << 20));
    refused(&file("b.egress", "apply deep.yaml\n"), "E0308", "nested more than 100 deep");
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for i in 1..12 {
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(",")));
    }
    file("bomb.yaml", &bomb);
    refused(&file("c.egress", "apply bomb.yaml\n"), "E0308", "its aliases stand for too much");
    let blocks = format!("{}{}", "for x in a\n".repeat(5000), "end\n".repeat(5000));
    refused(&file("d.egress", &blocks), "E0122", "nested");
    let line = format!("note \"{}\" more\n", "한".repeat(1 << 20));
    refused(&file("f.egress", &line), "E0107", "unexpected `more`");
    refused(&file("g.egress", &format!("{}\n", "${".repeat(1 << 16))), "E0104", "unknown verb");
    refused(&folder.path().join("\u{1b}[31mnone.egress"), "E0310", "no such file");
    let found = check::load(&[folder.path().join("\u{1b}[31mnone.egress")]).unwrap_err();
    assert!(!diag::render_all(&found, false).contains('\u{1b}'));
}

/// Thousands of mistakes are told, each at its line.
#[test]
fn many_mistakes_are_told() {
    let text = "scenario \"same\"\n  exec sleep true\n  expct exit 0\n".repeat(2000);
    let source = Arc::new(diag::Source { name: "many.egress".into(), text });
    let (_, found) = check::source(&source, Path::new("tests/language/many.egress"));
    assert_eq!(found.iter().filter(|d| d.code == "E0104").count(), 2000);
    let shown = diag::render_all(&found, false);
    assert!(shown.contains("many.egress:6000:3"));
}

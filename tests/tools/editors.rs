//! Highlighting follows the language: the word lists in `editors/` are the vocabulary's. `EGRESS_SCN_UPDATE=1` writes them.

use crate::program::root;
use egress_scn::syntax::vocabulary;
use serde_json::Value;
use std::io::Write;
use std::process::Command;

/// Group of the highlighting, and its words.
fn lists() -> [(&'static str, Vec<&'static str>); 4] {
    let names = |table: &[(&'static str, &'static str)]| table.iter().map(|(word, _)| *word).collect::<Vec<_>>();
    [
        ("verbs", vocabulary::VERBS.iter().map(|verb| verb.word).collect()),
        ("expectations", names(vocabulary::EXPECTATIONS)),
        ("facts", names(vocabulary::FACTS)),
        ("modifiers", names(vocabulary::MODIFIERS)),
    ]
}

fn updating() -> bool {
    std::env::var_os("EGRESS_SCN_UPDATE").is_some()
}

#[test]
fn the_textmate_grammar_has_the_vocabulary() {
    let path = root().join("editors/vscode/syntaxes/egress.tmLanguage.json");
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (group, words) in lists() {
        let at = text.find(&format!("\"{group}\": {{")).unwrap();
        let from = at + text[at..].find("(?:").unwrap() + 3;
        let to = from + text[from..].find(')').unwrap();
        // The verb `expect` opens its own block.
        let want =
            words.iter().copied().filter(|word| group != "verbs" || *word != "expect").collect::<Vec<_>>().join("|");
        if updating() {
            text.replace_range(from..to, &want);
        } else {
            assert_eq!(&text[from..to], want, "{group}: EGRESS_SCN_UPDATE=1 cargo test --test tools editors");
        }
    }
    if updating() {
        std::fs::write(path, &text).unwrap();
    }
    let grammar: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(grammar["scopeName"], "source.egress");
    // Every include names something that is there.
    for (_, rest) in text.match_indices("\"#").map(|(at, _)| text.split_at(at + 2)) {
        let name = rest.split('"').next().unwrap();
        assert!(grammar["repository"].get(name).is_some(), "#{name}");
    }
}

#[test]
fn vims_syntax_has_the_vocabulary() {
    let path = root().join("editors/vim/syntax/egress.vim");
    let mut text = std::fs::read_to_string(&path).unwrap();
    for ((_, words), group) in lists().into_iter().zip(["Verb", "Expectation", "Fact", "Modifier"]) {
        let start = format!("syn keyword egress{group} contained ");
        let from = text.find(&start).unwrap() + start.len();
        let to = from + text[from..].find('\n').unwrap();
        let want = words.join(" ");
        if updating() {
            text.replace_range(from..to, &want);
        } else {
            assert_eq!(&text[from..to], want, "{group}: EGRESS_SCN_UPDATE=1 cargo test --test tools editors");
        }
    }
    if updating() {
        std::fs::write(path, text).unwrap();
    }
}

/// What opens a block indents, in VS Code too.
#[test]
fn blocks_indent() {
    let text = std::fs::read_to_string(root().join("editors/vscode/language-configuration.json")).unwrap();
    let configuration: Value = serde_json::from_str(&text).unwrap();
    let pattern = configuration["indentationRules"]["increaseIndentPattern"].as_str().unwrap();
    let pattern = regex::Regex::new(pattern).unwrap();
    for verb in vocabulary::VERBS {
        assert_eq!(pattern.is_match(verb.word), verb.opens || verb.word == "scenario", "{}", verb.word);
    }
}

#[test]
fn the_extension_is_whole() {
    let folder = root().join("editors/vscode");
    let package: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("package.json")).unwrap()).unwrap();
    let contributes = &package["contributes"];
    for path in [&package["main"], &contributes["languages"][0]["configuration"], &contributes["grammars"][0]["path"]] {
        assert!(folder.join(path.as_str().unwrap()).is_file(), "{path}");
    }
    let code = std::fs::read_to_string(folder.join("extension.js")).unwrap();
    for setting in contributes["configuration"]["properties"].as_object().unwrap().keys() {
        let name = setting.strip_prefix("egress-scn.").unwrap();
        assert!(code.contains(&format!("settings.get('{name}')")), "extension.js does not read {setting}");
    }
    let Ok(node) = Command::new("node").arg("--check").arg(folder.join("extension.js")).output() else {
        let _ = std::io::stderr().write_all(b"node is not on this machine: extension.js was not read by it\n");
        return;
    };
    assert!(node.status.success(), "{}", String::from_utf8_lossy(&node.stderr));
    // Run as VS Code runs it, with the two modules it asks for: it starts `egress-scn lsp`.
    let script = "
        const Module = require('module');
        const started = [];
        const modules = {
          vscode: {
            workspace: {
              getConfiguration: () => ({ get: (name) => ({ path: '/opt/egress-scn', language: 'ko', manifests: '**/m/*.yaml' })[name] }),
              createFileSystemWatcher: () => ({}),
            },
            window: { showErrorMessage: () => {} },
          },
          'vscode-languageclient/node': {
            LanguageClient: class {
              constructor(...all) { started.push(all); }
              start() { return Promise.resolve(); }
              stop() { return Promise.resolve(); }
            },
          },
        };
        const load = Module._load;
        Module._load = (name, ...rest) => modules[name] || load(name, ...rest);
        const extension = require('./extension.js');
        extension.activate({ subscriptions: [] });
        extension.deactivate();
        const [, , server, options] = started[0];
        console.log(JSON.stringify([server, options.documentSelector, options.initializationOptions]));
    ";
    let ran = Command::new("node").args(["-e", script]).current_dir(&folder).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout).trim(),
        r#"[{"command":"/opt/egress-scn","args":["lsp"]},[{"language":"egress"},{"scheme":"file","pattern":"**/m/*.yaml"}],{"language":"ko"}]"#,
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// vim itself, asked for the group of words in a file.
#[test]
fn vim_highlights() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.egress");
    let text = "# mode\nexec sleep expect mode\nexpect listener 443 mode SIMPLE within 10s\nnote \"한글 ${이름}\"\napply <<YAML\nexpect: mode\nYAML\nend\n";
    std::fs::write(&file, text).unwrap();
    let asked = [
        (1, 3, "egressComment"),
        (2, 1, "egressVerb"),
        (2, 19, ""),
        (3, 1, "egressVerb"),
        (3, 8, "egressExpectation"),
        (3, 21, "egressFact"),
        (3, 26, "egressConstant"),
        (3, 33, "egressModifier"),
        (4, 7, "egressString"),
        (4, 14, "egressVariable"),
        (6, 2, "egressHeredoc"),
        (8, 1, "egressVerb"),
    ];
    let out = folder.path().join("out");
    let mut script = String::from("filetype plugin on\nsyntax on\n");
    script.push_str(&format!("edit {}\nlet out = [&filetype]\n", file.display()));
    for (line, column, _) in asked {
        script.push_str(&format!("call add(out, synIDattr(synID({line}, {column}, 1), 'name'))\n"));
    }
    script.push_str(&format!("call writefile(out, '{}')\nqall!\n", out.display()));
    let source = folder.path().join("ask.vim");
    std::fs::write(&source, script).unwrap();
    let ran = Command::new("vim")
        .args(["-Nu", "NONE", "-es", "--cmd"])
        .arg(format!("set runtimepath^={} encoding=utf-8", root().join("editors/vim").display()))
        .arg("-S")
        .arg(&source)
        .output();
    if ran.is_err() {
        let _ = std::io::stderr().write_all(b"vim is not on this machine: its highlighting was not tried\n");
        return;
    }
    let Ok(said) = std::fs::read_to_string(&out) else {
        // A vim without its scripting (vim.tiny).
        let _ = std::io::stderr().write_all(b"this machine's vim runs no scripts: its highlighting was not tried\n");
        return;
    };
    let groups: Vec<&str> = said.lines().collect();
    assert_eq!(groups[0], "egress");
    if Command::new("vim")
        .arg("--version")
        .output()
        .is_ok_and(|v| !String::from_utf8_lossy(&v.stdout).contains("+syntax"))
    {
        return;
    }
    for ((line, column, want), got) in asked.iter().zip(&groups[1..]) {
        assert_eq!(got, want, "line {line}, column {column}");
    }
}

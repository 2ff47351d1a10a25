//! `egress-scn lsp`, as an editor drives it: the built program, JSON-RPC over its standard input and output.

use crate::program::{program, root};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// An editor with a server of its own.
struct Editor {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    id: u64,
    /// What the server said of its own accord, in order.
    told: Vec<Value>,
    answer: Value,
    folder: PathBuf,
}

impl Editor {
    fn start(folder: &Path, options: Value) -> Editor {
        let mut child =
            program().arg("lsp").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut editor = Editor { child, to, from, id: 0, told: vec![], answer: Value::Null, folder: folder.into() };
        let mut params = json!({ "processId": null, "rootUri": null, "capabilities": {} });
        params.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        editor.answer = editor.ask("initialize", params);
        editor.tell("initialized", json!({}));
        editor
    }

    fn send(&mut self, mut message: Value) {
        message["jsonrpc"] = "2.0".into();
        let text = message.to_string();
        let to = self.to.as_mut().unwrap();
        write!(to, "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        to.flush().unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.from.read_line(&mut line).unwrap() > 0, "the server went away");
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut text = vec![0; length];
        self.from.read_exact(&mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(json!({ "method": method, "params": params }));
    }

    fn reply(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let id = self.id;
        self.send(json!({ "id": id, "method": method, "params": params }));
        loop {
            let message = self.receive();
            if message["id"] == id {
                return message;
            }
            self.told.push(message);
        }
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let mut reply = self.reply(method, params);
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        reply["result"].take()
    }

    fn uri(&self, name: &str) -> String {
        let path = self.folder.canonicalize().unwrap().join(name);
        let encode = |c: char| match c {
            '/' | '.' | '-' | '_' => c.to_string(),
            c if c.is_ascii_alphanumeric() => c.to_string(),
            c => c.encode_utf8(&mut [0; 4]).bytes().map(|b| format!("%{b:02x}")).collect(),
        };
        format!("file://{}", path.to_str().unwrap().chars().map(encode).collect::<String>())
    }

    fn open(&mut self, name: &str, language: &str, text: &str) {
        let uri = self.uri(name);
        let document = json!({ "uri": uri, "languageId": language, "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
    }

    fn change(&mut self, name: &str, version: u32, changes: Value) {
        let uri = self.uri(name);
        let document = json!({ "uri": uri, "version": version });
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
    }

    /// The next diagnostics that are told for a file.
    fn diagnostics(&mut self, name: &str) -> Value {
        let uri = self.uri(name);
        let same = |message: &Value| {
            message["method"] == "textDocument/publishDiagnostics"
                && message["params"]["uri"].as_str().is_some_and(|u| u.eq_ignore_ascii_case(&uri))
        };
        loop {
            if let Some(at) = self.told.iter().position(same) {
                return self.told.remove(at)["params"].take();
            }
            let message = self.receive();
            self.told.push(message);
        }
    }

    /// Asks about a place: the end of `needle` in `text`.
    fn at(&mut self, method: &str, name: &str, text: &str, needle: &str) -> Value {
        let uri = self.uri(name);
        let position = position(text, needle);
        self.ask(method, json!({ "textDocument": { "uri": uri }, "position": position }))
    }

    fn labels(&mut self, name: &str, text: &str, needle: &str) -> Vec<String> {
        let items = self.at("textDocument/completion", name, text, needle);
        items.as_array().into_iter().flatten().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
    }

    fn end(mut self) {
        assert_eq!(self.ask("shutdown", Value::Null), Value::Null);
        self.tell("exit", Value::Null);
        drop(self.to.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end of `needle`, in UTF-16 units.
fn position(text: &str, needle: &str) -> Value {
    let offset = text.find(needle).unwrap_or_else(|| panic!("{needle:?} is not in {text:?}")) + needle.len();
    let line = text[..offset].matches('\n').count();
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    json!({ "line": line, "character": text[start..offset].encode_utf16().count() })
}

fn codes(told: &Value) -> Vec<&str> {
    told["diagnostics"].as_array().unwrap().iter().map(|d| d["code"].as_str().unwrap()).collect()
}

/// A folder with our manifests and room for scenarios, named in Korean as people name theirs.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("실습 1");
    std::fs::create_dir_all(folder.join("manifests")).unwrap();
    for entry in std::fs::read_dir(root().join("manifests")).unwrap().map(Result::unwrap) {
        let to = folder.join("manifests").join(entry.file_name());
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to).unwrap();
        } else if entry.file_name() == "base" {
            std::fs::create_dir(&to).unwrap();
            for file in std::fs::read_dir(entry.path()).unwrap().map(Result::unwrap) {
                std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
    }
    (outer, folder)
}

const CARD: &str = "apply *cnn*.yaml\nexec sleep curl -sI https://edition.cnn.com/\nexpect status 200\n\
                    expect listener 15443 requireClientCertificate\n";

#[test]
fn diagnostics_follow_the_text_that_is_not_saved() {
    let (_outer, folder) = folder();
    let mut editor = Editor::start(&folder, json!({}));
    assert_eq!(editor.answer["capabilities"]["positionEncoding"], "utf-16");
    assert_eq!(editor.answer["serverInfo"]["name"], "egress-scn");
    editor.open("카드.egress", "egress", CARD);
    assert_eq!(editor.diagnostics("카드.egress")["diagnostics"], json!([]));

    // A misspelt verb behind Korean and an emoji, typed at a place that counts in UTF-16 units.
    editor.change("카드.egress", 2, json!([{ "text": "note \"한글 😀\"  # 끝\nexpct status 200\n" }]));
    let told = editor.diagnostics("카드.egress");
    assert_eq!((codes(&told), told["version"].as_u64()), (vec!["E0104"], Some(2)));
    assert_eq!(
        told["diagnostics"][0]["range"],
        json!({ "start": { "line": 1, "character": 0 }, "end": { "line": 1, "character": 5 } })
    );
    assert!(told["diagnostics"][0]["message"].as_str().unwrap().contains("expect"), "{told}");
    let place = |from: u32, to: u32| json!({ "start": { "line": 0, "character": from }, "end": { "line": 0, "character": to } });
    // The emoji is two units wide: what stands behind it is changed in the right place.
    editor.change("카드.egress", 3, json!([{ "range": place(9, 11), "text": "말 ${없다}" }]));
    let told = editor.diagnostics("카드.egress");
    let unknown = told["diagnostics"].as_array().unwrap().iter().find(|d| d["range"]["start"]["line"] == 0).unwrap();
    assert_eq!(unknown["range"], place(11, 16), "{told}");
    editor.end();
}

#[test]
fn utf8_is_spoken_when_the_editor_offers_it() {
    let (_outer, folder) = folder();
    let capabilities = json!({ "capabilities": { "general": { "positionEncodings": ["utf-8", "utf-16"] } } });
    let mut editor = Editor::start(&folder, capabilities);
    assert_eq!(editor.answer["capabilities"]["positionEncoding"], "utf-8");
    editor.open("a.egress", "egress", "note \"한글 ${없다}\"\nexec sleep true\nexpect exit 0\n");
    let told = editor.diagnostics("a.egress");
    assert_eq!(told["diagnostics"][0]["range"]["start"], json!({ "line": 0, "character": 13 }), "{told}");
    editor.end();
}

#[test]
fn manifests_are_checked_as_they_stand_in_the_editor() {
    let (_outer, folder) = folder();
    let mut editor = Editor::start(&folder, json!({}));
    editor.open("a.egress", "egress", CARD);
    assert_eq!(editor.diagnostics("a.egress")["diagnostics"], json!([]));
    let name = "manifests/virtualservice-egress-cnn-mtls.yaml";
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    editor.open(name, "yaml", &text);
    assert_eq!(editor.diagnostics(name)["diagnostics"], json!([]));
    // The second trap, not saved: leg 2 as `tls` behind a server that terminates TLS. The caret stands in the manifest.
    let broken = std::fs::read_to_string(root().join("manifests/lessons/virtualservice-cnn-leg2-tls.yaml")).unwrap();
    editor.change(name, 2, json!([{ "text": broken }]));
    let told = editor.diagnostics(name);
    assert!(!codes(&told).is_empty() && codes(&told).iter().all(|code| code.starts_with("W03")), "{told}");
    let line = told["diagnostics"][0]["range"]["start"]["line"].as_u64().unwrap() as usize;
    assert!(line > 10 && line < broken.lines().count(), "{told}");
    let related = &told["diagnostics"][0]["relatedInformation"][0];
    assert!(related["location"]["uri"].as_str().unwrap().ends_with("gateway-egress-cnn-mtls.yaml"), "{told}");
    // No YAML at all: told in the manifest, and to the scenario that applies it.
    editor.change(name, 3, json!([{ "text": "apiVersion: v1\nkind: [x\n" }]));
    let told = editor.diagnostics(name);
    assert!(codes(&told).contains(&"E0305"), "{told}");
    // Closed without saving: the file counts again.
    let uri = editor.uri(name);
    editor.tell("textDocument/didClose", json!({ "textDocument": { "uri": uri } }));
    assert_eq!(editor.diagnostics(name)["diagnostics"], json!([]));
    editor.end();
}

#[test]
fn completion_knows_the_language_and_the_manifests() {
    let (_outer, folder) = folder();
    let mut editor = Editor::start(&folder, json!({}));
    let text = "set cnn = serviceentry-cnn-ext.yaml\nrequire outbound \n\nscenario \"가\"\n  apply v\n  apply ${c\n  capture before = clusters on sleep\n  \
                exec sl\n  expect \n  expect blocked by \n  expect listener 15443 \n  expect listener 15443 mode \n  \
                expect cluster edi\n  expect cluster httpbin.org:443 on \n  expect cluster istio-egressgateway.istio-system.svc.cluster.local:15443 subset \n  \
                expect clusters on sleep fewer than \n  expect status 200 wi\n  expect via \n  ex # c\n";
    editor.open("a.egress", "egress", text);
    let mut has = |needle: &str, wanted: &[&str], not: &[&str]| {
        let labels = editor.labels("a.egress", text, needle);
        for word in wanted {
            assert!(labels.iter().any(|label| label == word), "{needle:?} lacks {word}: {labels:?}");
        }
        for word in not {
            assert!(!labels.iter().any(|label| label == word), "{needle:?} has {word}: {labels:?}");
        }
    };
    has("require outbound ", &["REGISTRY_ONLY", "ALLOW_ANY"], &["port", "status"]);
    has(
        "\n  apply v",
        &["virtualservice-egress.yaml", "virtualservice-egress-cnn-mtls.yaml"],
        &["gateway-egress.yaml"],
    );
    has("apply ${c", &["${cnn}"], &["${before}", "clusters"]);
    has("exec sl", &["sleep", "sleep.mesh-test", "sleep.legacy"], &["istiod", "local"]);
    has("\n  expect ", &["status", "listener", "blocked", "no"], &["apply"]);
    has("expect blocked by ", &["REGISTRY_ONLY", "sidecar-scope", "no-route"], &["by", "within"]);
    has("expect listener 15443 ", &["requireClientCertificate", "mode", "sni", "on", "within"], &["REGISTRY_ONLY"]);
    has("expect listener 15443 mode ", &["PASSTHROUGH", "ISTIO_MUTUAL"], &["mode", "within"]);
    has("expect cluster edi", &["edition.cnn.com", "edition.cnn.com:443"], &["httpbin.org"]);
    has("httpbin.org:443 on ", &["sleep", "istio-egressgateway.istio-system"], &["httpbin.org"]);
    has(":15443 subset ", &["cnn", "httpbin"], &["sleep"]);
    has("fewer than ", &["${before}", "clusters"], &["fewer"]);
    has("expect status 200 wi", &["within"], &["because"]);
    has("expect via ", &["istio-egressgateway"], &["sleep"]);
    has("\n  ex", &["exec", "expect"], &["apply"]);
    has("ex # c", &[], &["clusters", "capture"]);

    // What is chosen replaces the word that is there, in the editor's own units.
    let items = editor.at("textDocument/completion", "a.egress", text, "apply ${c");
    let edit = &items[0]["textEdit"];
    assert_eq!(edit["newText"], "${cnn}");
    assert_eq!(edit["range"]["start"], json!({ "line": 5, "character": 8 }));
    editor.end();
}

#[test]
fn hovers_speak_the_language_that_is_set() {
    let (_outer, folder) = folder();
    let text = "let host = edition.cnn.com\napply *cnn*.yaml\nexec sleep curl -sI https://edition.cnn.com/\nexpect path sleep -> \
                istio-egressgateway:15443 -> edition.cnn.com:443\nexpect listener 15443 sni ${host}\n";
    for (options, status) in [
        (json!({ "initializationOptions": { "language": "ko" } }), "전체 경로"),
        (json!({ "locale": "ko-KR" }), "전체 경로"),
        (json!({ "locale": "ko", "initializationOptions": { "language": "en" } }), "The whole way"),
        (json!({}), "The whole way"),
    ] {
        let mut editor = Editor::start(&folder, options);
        editor.open("a.egress", "egress", text);
        let mut says = |needle: &str| {
            editor.at("textDocument/hover", "a.egress", text, needle)["contents"]["value"].as_str().map(str::to_owned)
        };
        assert!(says("expect path").unwrap().contains(status));
        assert!(says("apply").unwrap().contains("apply FILE…"));
        assert!(says("*cnn*.yaml").unwrap().contains("Gateway mesh-test/istio-egressgateway-cnn"));
        assert!(says("https://edition.cnn.com/").unwrap().contains("ServiceEntry mesh-test/cnn-ext"));
        assert!(says("${host").unwrap().contains("let host = edition.cnn.com"));
        assert!(says("listener 15443 sni").unwrap().contains("sni HOST"));
        assert_eq!(says("curl"), None);
        editor.tell("workspace/didChangeConfiguration", json!({ "settings": { "egress-scn": { "language": "ko" } } }));
        let hover = editor.at("textDocument/hover", "a.egress", text, "expect path");
        assert!(hover["contents"]["value"].as_str().unwrap().contains("전체 경로"), "{hover}");
        assert_eq!(hover["range"]["start"], json!({ "line": 3, "character": 7 }));
        editor.end();
    }
}

#[test]
fn definitions_are_in_the_manifests() {
    let (_outer, folder) = folder();
    let mut editor = Editor::start(&folder, json!({}));
    let text = "set 이름 = serviceentry-cnn-ext.yaml\napply ${이름} gateway-egress-cnn-mtls.yaml\nexec sleep.mesh-test curl -sI https://edition.cnn.com/\n\
                expect cluster istio-egressgateway.istio-system.svc.cluster.local:15443 subset cnn on sleep\nfor\n  | host |\n  | a.b  |\n  \
                note ${host}\nend\n";
    editor.open("a.egress", "egress", text);
    let mut to = |needle: &str| -> Vec<(String, u64, u64)> {
        let found = editor.at("textDocument/definition", "a.egress", text, needle);
        let found = found.as_array().cloned().unwrap_or_default();
        let file = |uri: &str| uri.rsplit('/').next().unwrap().to_owned();
        let one = |location: &Value| {
            let start = &location["range"]["start"];
            (
                file(location["uri"].as_str().unwrap()),
                start["line"].as_u64().unwrap(),
                start["character"].as_u64().unwrap(),
            )
        };
        found.iter().map(one).collect()
    };
    assert_eq!(to("${이"), [("a.egress".to_owned(), 0, 4)]);
    assert_eq!(to("gateway-egress-cnn"), [("gateway-egress-cnn-mtls.yaml".to_owned(), 1, 0)]);
    assert_eq!(
        to("https://edition"),
        [
            ("serviceentry-cnn-ext.yaml".to_owned(), 8, 6),
            ("tls-origination-gateway.yaml".to_owned(), 8, 6),
            ("tls-origination-sidecar.yaml".to_owned(), 8, 6)
        ]
    );
    assert!(to("exec sleep").iter().all(|(file, ..)| file == "sleep.yaml") && to("exec sleep").len() == 1);
    assert_eq!(to("subset cnn")[0].0, "destinationrule-egress-cnn-mtls.yaml");
    assert!(to("expect cluster istio")[0].0 == "egressgateway.yaml");
    assert_eq!(to("note ${ho"), [("a.egress".to_owned(), 5, 4)]);
    assert_eq!(to("expect"), []);
    editor.end();
}

#[test]
fn named_steps_are_completed_and_found() {
    let (_outer, folder) = folder();
    std::fs::write(
        folder.join("common.egress"),
        "steps reach host\n  exec sleep curl -sI https://${host}/\n  expect status 200\nend\n",
    )
    .unwrap();
    let mut editor = Editor::start(&folder, json!({ "locale": "en" }));
    let text = "include common.egress\nsteps block host code\n  exec sleep curl -s https://${ho}\n  expect exit ${code}\nend\nscenario \"가\"\n  \
                do reach httpbin.org\n  do b\n  delete serviceentry cnn-ext\n  wait dep\n  expect resource gateway istio-egressgateway\n  include c\n";
    editor.open("a.egress", "egress", text);
    assert_eq!(editor.labels("a.egress", text, "\n  do b"), ["block"]);
    let all = editor.labels("a.egress", text, "\n  do ");
    assert!(all.contains(&"block".to_owned()) && all.contains(&"reach".to_owned()), "{all:?}");
    assert_eq!(editor.labels("a.egress", text, "https://${ho"), ["${host}"]);
    assert_eq!(editor.labels("a.egress", text, "wait dep"), ["deployment"]);
    assert_eq!(editor.labels("a.egress", text, "\n  include c"), ["common.egress"]);
    assert!(editor.labels("a.egress", text, "delete serviceentry cnn").contains(&"cnn-ext".to_owned()));
    let mut to = |needle: &str| {
        let found = editor.at("textDocument/definition", "a.egress", text, needle);
        let start = &found[0]["range"]["start"];
        let file = found[0]["uri"].as_str().unwrap_or("").rsplit('/').next().unwrap_or("").to_owned();
        (file, start["line"].as_u64(), start["character"].as_u64())
    };
    assert_eq!(to("do reach"), ("common.egress".to_owned(), Some(0), Some(6)));
    assert_eq!(to("include common"), ("common.egress".to_owned(), Some(0), Some(0)));
    assert_eq!(to("delete serviceentry cnn-ext"), ("serviceentry-cnn-ext.yaml".to_owned(), Some(4), Some(8)));
    assert_eq!(to("resource gateway istio-egress").0, "gateway-egress.yaml");
    let hover = editor.at("textDocument/hover", "a.egress", text, "do reach");
    assert!(hover["contents"]["value"].as_str().unwrap().contains("steps reach host"), "{hover}");
    editor.end();
}

#[test]
fn files_are_laid_out_and_outlined() {
    let (_outer, folder) = folder();
    let mut editor = Editor::start(&folder, json!({}));
    let text = "title \"한글\"\nscenario   \"하나 😀\"\nexec sleep \\\n curl x\nexpect exit 0\nscenario \"둘\"\nexec sleep true\nexpect exit 0\n";
    editor.open("a.egress", "egress", text);
    let uri = editor.uri("a.egress");
    let options = json!({ "textDocument": { "uri": uri }, "options": { "tabSize": 4, "insertSpaces": true } });
    let edits = editor.ask("textDocument/formatting", options.clone());
    assert_eq!(edits[0]["newText"], egress_scn::syntax::format(text));
    assert_eq!(edits[0]["range"]["start"], json!({ "line": 0, "character": 0 }));
    assert_eq!(edits[0]["range"]["end"], json!({ "line": 8, "character": 0 }));
    editor.change("a.egress", 2, json!([{ "text": edits[0]["newText"] }]));
    assert_eq!(editor.ask("textDocument/formatting", options.clone()), json!([]));
    let symbols = editor.ask("textDocument/documentSymbol", json!({ "textDocument": { "uri": uri } }));
    let names: Vec<&str> = symbols.as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["title \"한글\"", "하나 😀", "둘"]);
    assert_eq!(symbols[1]["children"][0]["name"], "exec sleep");
    assert_eq!(symbols[1]["range"]["end"]["line"], 4);
    // What cannot be read is not laid out: nothing is lost.
    editor.change("a.egress", 3, json!([{ "text": "exec   sleep \"x\n" }]));
    assert_eq!(editor.ask("textDocument/formatting", options), Value::Null);
    editor.end();
}

#[test]
fn odd_questions_are_lived_with() {
    let (_outer, folder) = folder();
    let mut editor = Editor::start(&folder, json!({}));
    let reply = editor.reply("textDocument/nonsense", json!({}));
    assert_eq!(reply["error"]["code"], -32601, "{reply}");
    let reply = editor.reply("textDocument/hover", json!({ "wrong": 1 }));
    assert_eq!(reply["error"]["code"], -32602, "{reply}");
    editor.tell("textDocument/didChange", json!({ "nothing": true }));
    editor.tell(
        "textDocument/didOpen",
        json!({ "textDocument": { "uri": "untitled:Untitled-1", "languageId": "egress", "version": 1, "text": CARD } }),
    );
    let at = |line: u64, character: u64| json!({ "textDocument": { "uri": "untitled:Untitled-1" }, "position": { "line": line, "character": character } });
    assert!(editor.ask("textDocument/hover", at(0, 2))["contents"]["value"].as_str().unwrap().contains("apply"));
    assert_eq!(editor.ask("textDocument/hover", at(4_000_000_000, 4_000_000_000)), Value::Null);
    assert!(editor.ask("textDocument/completion", at(4_000_000_000, 0)).is_array());
    // A file that is not open, and one that is none of ours.
    let uri = editor.uri("nothing.egress");
    assert_eq!(editor.ask("textDocument/documentSymbol", json!({ "textDocument": { "uri": uri } })), Value::Null);
    editor.open("a.txt", "plaintext", "apply");
    assert_eq!(editor.diagnostics("a.txt")["diagnostics"], json!([]));
    // Places of a text with everything in it.
    let text = std::fs::read_to_string(root().join("tests/tools/plan/every.egress")).unwrap();
    editor.open("every.egress", "egress", &text);
    let uri = editor.uri("every.egress");
    for (line, words) in text.lines().enumerate().filter(|(line, words)| line % 2 == 0 && !words.is_empty()) {
        let units = words.encode_utf16().count();
        let place =
            |character| json!({ "textDocument": { "uri": uri }, "position": { "line": line, "character": character } });
        editor.ask("textDocument/completion", place(units));
        editor.ask("textDocument/hover", place(units / 2));
        editor.ask("textDocument/definition", place(units - 1));
    }
    editor.end();
    // An editor that dies takes the server with it.
    let mut editor = Editor::start(&folder, json!({}));
    drop(editor.to.take());
    assert_eq!(editor.child.wait().unwrap().code(), Some(3));
}

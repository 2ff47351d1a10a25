//! The command lines of `commands.txt`, answered by the lab as recorded in `expected.txt`, whose first lines say by whom
//! and to which kubectl. `EGRESS_SCN_COMPAT_REAL=KUBECONFIG` has a cluster answer them first (a kube-apiserver with Istio's
//! definitions, an istiod, and nodes that run pods), and records that. Where the lab differs then, `differences.txt` says why.
//! `EGRESS_SCN_COMPAT_WRITE=1` writes `docs/compatibility.md` anew, and, where the record is the lab's own, the record.
//!
//! Lines of a program that this machine lacks are not tried, and that is said. Another minor version of kubectl has words of
//! its own: then the bound alone holds.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use regex::Regex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// At least so many of a hundred lines are answered alike.
const ALIKE: usize = 95;

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat").join(name)
}

fn commands() -> Vec<String> {
    let text = fs::read_to_string(here("commands.txt")).unwrap();
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_string).collect()
}

/// What a command line printed, masked, and its exit code.
fn answer(line: &str, kubeconfig: &Path, home: &Path) -> String {
    let script = line.replace("F/", &format!("{}/", here("").display().to_string().trim_end_matches('/')));
    // A kubectl that waits for ever is a finding, not a hang.
    let mut command = Command::new("timeout");
    command.args(["90", "sh", "-c", &format!("{script} 2>&1")]).stdin(Stdio::null());
    command.env("KUBECONFIG", kubeconfig).env("HOME", home).env_remove("XDG_CONFIG_HOME");
    let output = command.output().unwrap();
    let text = mask(&String::from_utf8_lossy(&output.stdout));
    format!("{text}[exit {}]\n", output.status.code().unwrap_or(-1))
}

/// Times, ids, addresses and the widths of columns that follow from them.
fn mask(text: &str) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
            (r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d ([+-]\d{4}|UTC)", "TIME"),
            (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UID"),
            (r#"(resourceVersion"?: )"\d+""#, "${1}RV"),
            (r"(Resource Version: +)\d+", "${1}RV"),
            (r"\b(sleep|istiod|istio-egressgateway)-[0-9a-f]{8,10}-[0-9a-z]{5}\b", "$1-HASH-ID"),
            (r"\b10\.(9[6-9]|10\d|11[01])\.\d+\.\d+\b", "SERVICE-IP"),
            (r"/\S+/(egress-scn-\d+)-\w+/", "/LAB/"),
            (r"\bweb-[0-9a-f]{8,10}-[0-9a-z]{5}\b", "web-HASH-ID"),
            (r"\bweb-[0-9a-f]{8,10}\b", "web-HASH"),
            (r"\bweb-[0-9a-z]{5}\b", "web-ID"),
            (r"\bkube-api-access-[0-9a-z]{5}\b", "kube-api-access-ID"),
            (r"pod-template-hash=[0-9a-f]+", "pod-template-hash=HASH"),
            // In words of one kubectl, and not of the next.
            (r"deleted from \S+ namespace", "deleted"),
            (r"(?m)^ +(ConfigMapOptional: +<nil>|Optional: +false)\n", ""),
            // Of a certificate.
            (r"\b[0-9a-f]{30,40}\b", "SERIAL"),
            (r"https://127\.0\.0\.1:\d+", "https://SERVER"),
            (r"\b10\.244\.\d+\.\d+", "POD-IP"),
            (r"\b(\d+[smhd]){1,2}\b", "AGE"),
            (r"/tmp/(LIVE|MERGED)-\d+", "/tmp/$1"),
            (r"(?m)^W\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ ", "W "),
            // How many of these are seen is a matter of time.
            (r"(?m)^Waiting for deployment .*\n", ""),
            // diff's own lines hold file times.
            (r"(?m)^(---|\+\+\+) (\S+)\t.*$", "$1 $2"),
            (r"diff -u -N .*", "diff"),
            (r" {2,}", "  "),
            (r"(?m) +$", ""),
        ]
        .map(|(pattern, with)| (Regex::new(pattern).unwrap(), with))
        .into()
    });
    let folder = here("").display().to_string();
    let mut text = text.replace(folder.trim_end_matches('/'), "F");
    for (pattern, with) in RULES.iter() {
        text = pattern.replace_all(&text, *with).into_owned();
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// All answers in order, as blocks of a file.
fn session(kubeconfig: &Path) -> Vec<(String, String)> {
    let home = tempfile::tempdir().unwrap();
    let istioctl = has_istioctl();
    let lines = commands().into_iter().filter(|line| istioctl || !line.contains("istioctl"));
    lines.map(|line| (line.clone(), answer(&line, kubeconfig, home.path()))).collect()
}

/// Ends the lab also when the test stops half-way.
struct Down<'p>(&'p Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_egress-scn"));
        let _ = command.env("XDG_RUNTIME_DIR", self.0).args(["lab", "down", "--all"]).output();
    }
}

const FROM: &str = "# answered by: ";
const LAB: &str = "the lab";
const ASKED: &str = "# asked by: kubectl ";

/// kubectl's own version, if it is here.
fn kubectl() -> Option<String> {
    let output = Command::new("kubectl").args(["version", "--client", "-o", "json"]).output().ok()?;
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    version["clientVersion"]["gitVersion"].as_str().map(String::from)
}

fn has_istioctl() -> bool {
    Command::new("istioctl").arg("--help").output().is_ok()
}

/// `v1.34` of `v1.34.4`.
fn minor(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Past the test harness's capture: what is not tried must be seen.
fn note(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}

fn written(from: &str, kubectl: &str, session: &[(String, String)]) -> String {
    session.iter().fold(format!("{FROM}{from}\n{ASKED}{kubectl}\n\n"), |mut text, (line, answer)| {
        let _ = writeln!(text, "$ {line}\n{answer}");
        text
    })
}

/// Blocks `$ COMMAND`, what was said, an empty line behind `[exit N]`.
fn recorded(text: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = vec![];
    let mut open = false;
    for line in text.lines() {
        match line.strip_prefix("$ ").filter(|_| !open) {
            Some(command) => {
                blocks.push((command.to_string(), String::new()));
                open = true;
            }
            None if open => {
                let block = &mut blocks.last_mut().unwrap().1;
                *block += line;
                block.push('\n');
                open = !(line.starts_with("[exit ") && line.ends_with(']'));
            }
            None => {}
        }
    }
    blocks
}

/// `COMMAND` lines with their reasons, indented, below.
fn reasons() -> BTreeMap<String, String> {
    let mut reasons: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in fs::read_to_string(here("differences.txt")).unwrap_or_default().lines() {
        match line.strip_prefix("    ") {
            Some(reason) => reasons.entry(last.clone()).or_default().push_str(reason),
            None if !line.is_empty() && !line.starts_with('#') => last = line.to_string(),
            None => {}
        }
    }
    reasons
}

#[test]
fn the_lab_answers_as_a_kube_apiserver_does() {
    if std::env::var_os("EGRESS_SCN_SKIP_LAB").is_some_and(|value| value == "1") {
        return note("skipped: compat (EGRESS_SCN_SKIP_LAB=1)");
    }
    let Some(kubectl) = kubectl() else {
        return note("kubectl is not on this machine: its command lines were not tried");
    };
    if !has_istioctl() {
        note("istioctl is not on this machine: its command lines were not tried");
    }
    let write = std::env::var_os("EGRESS_SCN_COMPAT_WRITE").is_some();
    let record = here("expected.txt");
    if let Some(real) = std::env::var_os("EGRESS_SCN_COMPAT_REAL") {
        assert!(has_istioctl(), "a record holds istioctl's lines too: it must be on the PATH");
        let version = Command::new("kubectl").arg("--kubeconfig").arg(&real).args(["version", "-o", "json"]).output();
        let version: serde_json::Value = serde_json::from_slice(&version.unwrap().stdout).unwrap();
        let from = format!("kube-apiserver {}", version["serverVersion"]["gitVersion"].as_str().unwrap());
        fs::write(&record, written(&from, &kubectl, &session(Path::new(&real)))).unwrap();
    }
    let place = tempfile::Builder::new().prefix("lab").tempdir_in("/tmp").unwrap();
    let lab = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_egress-scn"));
        let output = command.env("XDG_RUNTIME_DIR", place.path()).arg("lab").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let kubeconfig = place.path().join("config");
    let _down = Down(place.path());
    lab(&["up", "--detach", "--kubeconfig", kubeconfig.to_str().unwrap()]);
    let seen = session(&kubeconfig);
    lab(&["down"]);
    let text = fs::read_to_string(&record).unwrap_or_default();
    let own = text.is_empty() || text.starts_with(&format!("{FROM}{LAB}\n"));
    if own && write {
        fs::write(&record, written(LAB, &kubectl, &seen)).unwrap();
    }
    let text = fs::read_to_string(&record).unwrap();
    let header = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix)).unwrap().to_string();
    let (from, asked) = (header(FROM), header(ASKED));
    let mut real: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (line, answer) in recorded(&text) {
        real.entry(line).or_default().push(answer);
    }
    // A command line may stand twice: the nth is compared with the nth.
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut differing: BTreeMap<&str, String> = BTreeMap::new();
    for (line, answer) in &seen {
        let nth = counts.entry(line).or_default();
        let expected = real.get(line).and_then(|answers| answers.get(*nth));
        *nth += 1;
        if expected != Some(answer) {
            let expected = expected.map_or("(not recorded)\n", String::as_str);
            let diff = similar::TextDiff::from_lines(expected, answer).unified_diff().header("real", "lab").to_string();
            differing.entry(line).or_default().push_str(&diff);
        }
    }
    let reasons = reasons();
    let mut wrong = String::new();
    for (line, diff) in &differing {
        if !reasons.contains_key(*line) {
            let _ = writeln!(wrong, "$ {line}\n{diff}");
        }
    }
    let tried = |line: &str| seen.iter().any(|(seen, _)| seen == line);
    for line in reasons.keys().filter(|line| tried(line) && !differing.contains_key(line.as_str())) {
        let _ = writeln!(wrong, "$ {line}\nis answered alike: it needs no reason any more");
    }
    let total = seen.len();
    let alike = seen.iter().filter(|(line, _)| !differing.contains_key(line.as_str())).count();
    assert!(alike * 100 >= total * ALIKE, "{alike} of {total} are answered alike:\n{wrong}");
    if minor(&kubectl) != minor(&asked) {
        return note(&format!("kubectl {kubectl} asked, {asked} in the record: {alike} of {total} are answered alike"));
    }
    assert!(wrong.is_empty(), "{alike} of {total} alike; without a reason:\n{wrong}");
    if total < commands().len() {
        return;
    }
    let page = page(&from, &asked, &seen, &differing, &reasons, alike);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    if write {
        fs::write(&path, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), page, "EGRESS_SCN_COMPAT_WRITE=1 writes docs/compatibility.md anew");
}

/// docs/compatibility.md.
fn page(
    from: &str,
    asked: &str,
    seen: &[(String, String)],
    differing: &BTreeMap<&str, String>,
    reasons: &BTreeMap<String, String>,
    alike: usize,
) -> String {
    let total = seen.len();
    let lines = "[`tests/compat/commands.txt`](../tests/compat/commands.txt)";
    let answers = "[`tests/compat/expected.txt`](../tests/compat/expected.txt)";
    let state = match from {
        LAB => format!(
            "The {total} command lines of {lines}, in their order. Their answers in {answers} are the lab's own and were read line by line; \
             **they have not been compared with a running kube-apiserver yet.**"
        ),
        from => format!(
            "{alike} of {total} command lines of {lines}, in their order, are answered by the lab as by {from} with an istiod of \
             Istio 1.30: output and exit code, with times, ids and addresses masked. Their answers are {answers}."
        ),
    };
    let mut text = format!(
        "# kubectl and istioctl against the lab\n\n{state} `cargo test --test compat` has the lab answer them again; \
         `tests/compat/compare.sh` has the [real parts](real-parts.md) answer first, or the cluster of a kubeconfig, and \
         records that and this page anew.\n\n\
         kubectl 1.30 and newer is meant; the record was made with {asked}.\n\n| command line | answer |\n| --- | --- |\n"
    );
    for (line, _) in seen {
        let mark = match (differing.contains_key(line.as_str()), reasons.get(line)) {
            (false, _) => "the same".to_string(),
            (true, reason) => format!("differs: {}", reason.map_or("", String::as_str)),
        };
        let _ = writeln!(text, "| `{}` | {mark} |", line.replace('|', "\\|"));
    }
    text
}

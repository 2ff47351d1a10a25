//! What people type: the real kubectl against the server. Skipped, with a word, where there is none.

use crate::lab::{Lab, start};
use base64::Engine;
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use tokio::io::AsyncWriteExt;

struct Kubectl {
    lab: Lab,
    /// Holds the kubeconfig and kubectl's cache.
    folder: tempfile::TempDir,
    program: PathBuf,
}

/// A lab and kubectl for it, or `None` after saying why not.
fn kubectl() -> Option<Kubectl> {
    let found = std::env::split_paths(&std::env::var_os("PATH")?).map(|p| p.join("kubectl")).find(|p| p.exists());
    let Some(program) = found else {
        let _ = writeln!(std::io::stderr(), "skipped: there is no kubectl on PATH");
        return None;
    };
    let lab = start();
    let folder = tempfile::tempdir().unwrap();
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{ "name": "lab", "cluster": { "server": format!("https://{}", lab.server.address()),
            "certificate-authority-data": encode(&lab.ca) } }],
        "users": [{ "name": "lab", "user": { "client-certificate-data": encode(&lab.identity.chain_pem),
            "client-key-data": encode(&lab.identity.key_pem) } }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "lab" } }],
    });
    let path = folder.path().join("config");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(config.to_string().as_bytes()).unwrap();
    Some(Kubectl { lab, folder, program })
}

impl Kubectl {
    fn command(&self, line: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(line.split_whitespace()).kill_on_drop(true);
        command.env("KUBECONFIG", self.folder.path().join("config")).env("HOME", self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn run(&self, line: &str, input: &str) -> Output {
        let mut child = self.command(line).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        child.wait_with_output().await.unwrap()
    }

    /// Standard output of a command that must succeed.
    async fn ok(&self, line: &str, input: &str) -> String {
        let output = self.run(line, input).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {line}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a command that must fail.
    async fn fails(&self, line: &str, input: &str) -> String {
        let output = self.run(line, input).await;
        assert!(!output.status.success(), "kubectl {line}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }
}

const ENTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: httpbin-ext
spec:
  hosts: [httpbin.org]
  ports:
  - {number: 443, name: tls, protocol: TLS}
  resolution: DNS
  location: MESH_EXTERNAL
";

#[tokio::test]
async fn apply_get_and_delete_a_custom_resource() {
    let Some(kubectl) = kubectl() else { return };
    assert_eq!(kubectl.ok("apply -f -", ENTRY).await, "serviceentry.networking.istio.io/httpbin-ext created\n");
    assert_eq!(kubectl.ok("apply -f -", ENTRY).await, "serviceentry.networking.istio.io/httpbin-ext unchanged\n");
    let changed = ENTRY.replace("DNS", "NONE");
    assert_eq!(kubectl.ok("apply -f -", &changed).await, "serviceentry.networking.istio.io/httpbin-ext configured\n");
    let table = kubectl.ok("get se", "").await;
    let words: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "HOSTS", "LOCATION", "RESOLUTION", "AGE"]);
    assert_eq!(words[1][..4], ["httpbin-ext", "[\"httpbin.org\"]", "MESH_EXTERNAL", "NONE"]);
    assert_eq!(kubectl.ok("get se -o name", "").await, "serviceentry.networking.istio.io/httpbin-ext\n");
    let deleted = kubectl.ok("delete se httpbin-ext", "").await;
    assert_eq!(deleted, "serviceentry.networking.istio.io \"httpbin-ext\" deleted\n");
    let missing = kubectl.fails("get se httpbin-ext", "").await;
    assert_eq!(missing, "Error from server (NotFound): serviceentries.networking.istio.io \"httpbin-ext\" not found\n");
}

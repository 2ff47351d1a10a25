//! What people type: the real kubectl against the server. Skipped, with a word, where there is none.

use crate::lab::{Lab, start};
use base64::Engine;
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

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
        let _ = writeln!(std::io::stderr(), "kubectl is not on this machine: its command lines were not tried");
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
    // From 1.34 on with the namespace behind it.
    assert!(deleted.starts_with("serviceentry.networking.istio.io \"httpbin-ext\" deleted"), "{deleted}");
    let missing = kubectl.fails("get se httpbin-ext", "").await;
    assert_eq!(missing, "Error from server (NotFound): serviceentries.networking.istio.io \"httpbin-ext\" not found\n");
}

#[tokio::test]
async fn the_create_commands_speak_protobuf() {
    let Some(kubectl) = kubectl() else { return };
    assert_eq!(kubectl.ok("create ns demo", "").await, "namespace/demo created\n");
    assert_eq!(kubectl.ok("-n demo create cm a --from-literal=x=y", "").await, "configmap/a created\n");
    assert_eq!(kubectl.ok("-n demo create secret generic s --from-literal=a=b", "").await, "secret/s created\n");
    assert_eq!(kubectl.ok("-n demo create sa bob", "").await, "serviceaccount/bob created\n");
    let made = kubectl.ok("-n demo create deployment web --image=curlimages/curl --replicas=2 --port=80", "").await;
    assert_eq!(made, "deployment.apps/web created\n");
    let store = kubectl.lab.server.store();
    assert_eq!(store.get("secrets", "demo", "s").unwrap()["data"], json!({ "a": "Yg==" }));
    let deployment = store.get("deployments.apps", "demo", "web").unwrap();
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"], 80);
    assert_eq!(kubectl.ok("auth can-i create pods", "").await, "yes\n");
    assert_eq!(kubectl.ok("-n demo create token bob", "").await.split('.').count(), 3);
    let again = kubectl.fails("create ns demo", "").await;
    assert_eq!(again, "Error from server (AlreadyExists): namespaces \"demo\" already exists\n");
    assert_eq!(kubectl.ok("delete ns demo", "").await, "namespace \"demo\" deleted\n");
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: p}}
spec:
  nodeName: lab
  containers:
  - {name: c, image: curlimages/curl}
";

#[tokio::test]
async fn exec_logs_and_port_forward() {
    let Some(kubectl) = kubectl() else { return };
    kubectl.ok("apply -f -", POD).await;
    kubectl.ok("patch pod p --subresource=status -p {\"status\":{\"phase\":\"Running\"}}", "").await;
    let failed = kubectl.run("exec p -- ls /nowhere", "").await;
    assert_eq!(failed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&failed.stderr).ends_with("command terminated with exit code 2\n"));
    assert_eq!(kubectl.ok("exec -i p -- cat", "input").await, "input");
    assert_eq!(kubectl.ok("logs p --tail=1", "").await, "p line 5\n");
    let missing = kubectl.fails("logs nobody", "").await;
    assert_eq!(missing, "error: error from server (NotFound): pods \"nobody\" not found in namespace \"default\"\n");

    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = echo.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let mut forward = kubectl.command(&format!("port-forward pod/p :{port}")).spawn().unwrap();
    let mut lines = BufReader::new(forward.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let local: u16 = line.split(' ').nth(2).unwrap().rsplit(':').next().unwrap().parse().unwrap();
    for round in 0..3 {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", local)).await.unwrap();
        let sent = vec![b'a' + round; 200_000];
        let (mut from, mut to) = stream.split();
        let write = async {
            to.write_all(&sent).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let mut back = Vec::new();
        let (_, read) = tokio::join!(write, from.read_to_end(&mut back));
        read.unwrap();
        assert!(back == sent, "round {round}: {} bytes came back", back.len());
    }
    forward.kill().await.unwrap();
}

#[tokio::test]
async fn server_side_apply_conflicts_are_told() {
    let Some(kubectl) = kubectl() else { return };
    let apply = kubectl.ok("apply --server-side -f -", ENTRY).await;
    assert_eq!(apply, "serviceentry.networking.istio.io/httpbin-ext serverside-applied\n");
    let changed = ENTRY.replace("DNS", "NONE");
    let error = kubectl.fails("apply --server-side --field-manager=other -f -", &changed).await;
    let told = "Apply failed with 1 conflict: conflict with \"kubectl\": .spec.resolution";
    assert!(error.contains(told), "{error}");
    kubectl.ok("apply --server-side --field-manager=other --force-conflicts -f -", &changed).await;
    // An object of client-side apply is taken over: kubectl migrates its managed fields.
    kubectl.ok("delete se httpbin-ext", "").await;
    kubectl.ok("apply -f -", ENTRY).await;
    kubectl.ok("apply --server-side -f -", ENTRY).await;
    let managers = "get se httpbin-ext -o jsonpath={.metadata.managedFields[*].manager} --show-managed-fields";
    let managers = kubectl.ok(managers, "").await;
    let mut managers: Vec<&str> = managers.split(' ').collect();
    managers.sort_unstable();
    assert_eq!(managers, ["kubectl", "kubectl-last-applied"], "nothing is left of the client-side apply");
}

#[tokio::test]
async fn mistakes_are_refused_in_kubernetes_words() {
    let Some(kubectl) = kubectl() else { return };
    let typo = POD.replace("image:", "imagee:");
    let error = kubectl.fails("apply -f -", &typo).await;
    assert!(error.contains("unknown field \"spec.containers[0].imagee\""), "{error}");
    let empty = POD.replace("- {name: c, image: curlimages/curl}", "- {name: c, image: \"\"}");
    let error = kubectl.fails("create -f -", &empty).await;
    assert_eq!(error, "The Pod \"p\" is invalid: spec.containers[0].image: Required value\n");
    kubectl.ok("apply -f -", POD).await;
    let moved = kubectl.fails("patch pod p -p {\"spec\":{\"restartPolicy\":\"Never\"}}", "").await;
    assert!(
        moved.starts_with("The Pod \"p\" is invalid: spec: Forbidden: pod updates may not change fields"),
        "{moved}"
    );
    let table = kubectl.ok("get pods -o wide", "").await;
    assert!(table.starts_with("NAME   READY   STATUS    RESTARTS   AGE   IP"), "{table}");
    assert!(kubectl.ok("explain pod.spec.containers", "").await.contains("imagePullPolicy\t<string>"));
}

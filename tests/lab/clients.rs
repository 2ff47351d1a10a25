//! Real clients against a lab that is up: kubectl, and the tool itself as on a cluster.

use crate::program::{can_run, program, text};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A lab that is up until dropped.
pub struct Up {
    child: Child,
    folder: tempfile::TempDir,
}

impl Up {
    pub fn start() -> Up {
        // Short, and its own: each lab is the only one of its name there.
        let folder = crate::life::place();
        let mut command = program();
        command
            .env("XDG_RUNTIME_DIR", folder.path())
            .args(["lab", "up", "--kubeconfig"])
            .arg(folder.path().join("kubeconfig"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("kubectl get pods")), "the lab did not come up");
        Up { child, folder }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    pub fn kubectl(&self, args: &[&str]) -> Output {
        Command::new("kubectl").arg("--kubeconfig").arg(self.kubeconfig()).args(args).output().unwrap()
    }

    pub fn client(&self) -> impl Future<Output = kube::Client> + use<> {
        let kubeconfig = kube::config::Kubeconfig::read_from(self.kubeconfig()).unwrap();
        async {
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
            kube::Client::try_from(config).unwrap()
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn ok(output: Output) -> String {
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn kubectl_works_against_a_lab_that_is_up() {
    if !can_run("kubectl_works_against_a_lab_that_is_up") {
        return;
    }
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        // Not the lab's to have: the rules themselves are held by the tests that use kube's own client.
        use std::io::Write;
        let _ = std::io::stderr().write_all(b"kubectl is not on this machine: its command lines were not tried\n");
        return;
    }
    let lab = Up::start();
    let pods = ok(lab.kubectl(&["get", "pods", "-A"]));
    assert!(pods.starts_with("NAMESPACE      NAME"), "{pods}");
    let line = |name: &str| pods.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {pods}"));
    assert!(line("mesh-test      sleep-").contains("2/2     Running"), "{pods}");
    assert!(line("istio-egressgateway-").contains("1/1     Running"), "{pods}");

    ok(lab.kubectl(&["apply", "-f", "manifests/serviceentry-httpbin-ext.yaml", "-f", "manifests/gateway-egress.yaml"]));
    ok(lab.kubectl(&["apply", "-f", "manifests/virtualservice-egress.yaml"]));
    ok(lab.kubectl(&["apply", "--server-side", "-f", "manifests/destinationrule-egress.yaml"]));
    let gateways = ok(lab.kubectl(&["get", "gateways.networking.istio.io", "-A"]));
    assert!(gateways.contains("mesh-test   istio-egressgateway"), "{gateways}");

    // kubectl proves nothing about propagation: the tool does, with the scenario's own expectations.
    let run = run_on(&lab, &["scenarios/httpbin-passthrough.egress"]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));

    let curl =
        ["-n", "mesh-test", "exec", "deploy/sleep", "-c", "sleep", "--", "curl", "-sI", "https://httpbin.org/get"];
    assert!(ok(lab.kubectl(&curl)).starts_with("HTTP/2 200"));
    let refused = lab.kubectl(&[
        "-n",
        "mesh-test",
        "exec",
        "deploy/sleep",
        "-c",
        "sleep",
        "--",
        "curl",
        "-s",
        "https://example.org",
    ]);
    assert_eq!(refused.status.code(), Some(35), "{}", text(&refused));
    let log = ok(lab.kubectl(&["-n", "istio-system", "logs", "deploy/istio-egressgateway"]));
    assert!(log.contains("outbound|443||httpbin.org"), "{log}");

    // What a cluster refuses, the lab refuses, in the same words.
    let bad = lab.folder.path().join("bad.yaml");
    let entry = |spec: &str| {
        let head =
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: bad, namespace: mesh-test}\n";
        std::fs::write(&bad, format!("{head}spec: {spec}\n")).unwrap();
        let refused = lab.kubectl(&["apply", "-f", bad.to_str().unwrap()]);
        assert!(!refused.status.success(), "{}", text(&refused));
        text(&refused)
    };
    let schema = entry("{ports: [{number: 443, name: tls, protocol: TLS}]}");
    assert!(schema.contains("spec.hosts: Required value"), "{schema}");
    let webhook =
        entry("{hosts: [\"https://httpbin.org\"], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}");
    assert!(
        webhook.contains("admission webhook \"validation.istio.io\" denied the request: configuration is invalid"),
        "{webhook}"
    );

    // What kubectl had applied is still there: the run left identical objects alone.
    assert!(ok(lab.kubectl(&["get", "gateways.networking.istio.io", "-A"])).contains("istio-egressgateway"));
}

/// The gateway's certificate and the mesh's authority, valid; and the same table from istioctl where there is one.
fn secrets_are_shown_as_istioctl_shows_them(lab: &Up) {
    let arguments = ["proxy-config", "secret", "deploy/istio-egressgateway.istio-system", "--kubeconfig"];
    let shown = ok(program().args(arguments).arg(lab.kubeconfig()).output().unwrap());
    let row = |name: &str| {
        let row = shown.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {shown}"));
        row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
    };
    assert_eq!(row("default")[1..4], ["Cert Chain", "ACTIVE", "true"], "{shown}");
    assert_eq!(row("ROOTCA")[1..4], ["CA", "ACTIVE", "true"], "{shown}");
    if let Ok(theirs) = Command::new("istioctl").args(arguments).arg(lab.kubeconfig()).output() {
        assert_eq!(shown, ok(theirs));
    }
}

/// `run --context`, as on a cluster: what the scenario requires is not provided but demanded.
pub fn run_on(lab: &Up, files: &[&str]) -> Output {
    let mut command = program();
    command.args(["run", "--context", "egress-scn-lab", "--kubeconfig"]).arg(lab.kubeconfig()).args(files);
    command.env("XDG_STATE_HOME", lab.folder.path()).output().unwrap()
}

#[test]
fn without_15443_on_the_service_the_card_is_red() {
    if !can_run("without_15443_on_the_service_the_card_is_red") {
        return;
    }
    let lab = Up::start();
    secrets_are_shown_as_istioctl_shows_them(&lab);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let services: Api<Service> = Api::namespaced(lab.client().await, "istio-system");
        let ports = json!({ "spec": { "ports": [
            { "name": "http2", "port": 80, "targetPort": 8080 }, { "name": "https", "port": 443, "targetPort": 8443 },
        ] } });
        services.patch("istio-egressgateway", &PatchParams::default(), &Patch::Merge(ports)).await.unwrap();
    });
    let card = run_on(&lab, &["scenarios/card.egress"]);
    let seen = text(&card);
    assert_eq!(card.status.code(), Some(1), "{seen}");
    assert!(seen.contains("✗    3  expect status 200"), "{seen}");
    assert!(seen.contains("NC"), "{seen}");

    // The scenario that says what it requires names it, and how to get it.
    let note = run_on(&lab, &["scenarios/cnn-mtls.egress"]);
    let seen = text(&note);
    assert_eq!(note.status.code(), Some(1), "{seen}");
    assert!(seen.contains("15443"), "{seen}");
    journal_is_empty(lab.folder.path());
}

#[test]
fn a_current_context_is_not_touched_without_a_word() {
    if !can_run("a_current_context_is_not_touched_without_a_word") {
        return;
    }
    let lab = Up::start();
    // Part of it is there already, one object of it otherwise.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let names = runtime.block_on(async {
        let client = lab.client().await;
        let kind = kube::core::GroupVersionKind::gvk("networking.istio.io", "v1", "ServiceEntry");
        let resource = kube::discovery::ApiResource::from_gvk(&kind);
        let entries: Api<kube::api::DynamicObject> = Api::namespaced_with(client, "mesh-test", &resource);
        let manifest = std::fs::read_to_string("manifests/serviceentry-cnn-ext.yaml").unwrap();
        let mut object: serde_json::Value = serde_yaml::from_str(&manifest).unwrap();
        object["spec"]["ports"][0]["name"] = json!("https");
        let params = PatchParams::apply("somebody");
        entries.patch("cnn-ext", &params, &Patch::Apply(&object)).await.unwrap();
        let mut command = program();
        command.args(["run", "--kubeconfig"]).arg(lab.kubeconfig()).arg("scenarios/card.egress");
        let asked = command.stdin(Stdio::null()).output().unwrap();
        let seen = text(&asked);
        assert_eq!(asked.status.code(), Some(3), "{seen}");
        for expected in [
            "target: cluster of context egress-scn-lab",
            "+ Gateway mesh-test/istio-egressgateway-cnn",
            "~ ServiceEntry mesh-test/cnn-ext",
            "nobody can answer here",
        ] {
            assert!(seen.contains(expected), "missing {expected:?}\n{seen}");
        }
        let list = entries.list(&Default::default()).await.unwrap();
        list.items.into_iter().map(|entry| entry.metadata.name.unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(names, ["cnn-ext"]);
}

fn journal_is_empty(state: &Path) {
    let pattern = state.join("egress-scn/journal/*");
    let left: Vec<_> = glob::glob(pattern.to_str().unwrap()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

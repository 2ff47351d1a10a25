//! Connections from outside the mesh: the lesson about the ingress gateway is green and its breaks are red, all in one lab;
//! and what a client outside the cluster can reach.

use crate::program::{can_run, program, root, text};
use egress_scn::cluster::Cluster;
use egress_scn::lab::boot::{Lab, Start};
use std::fs;
use std::path::Path;
use std::time::Duration;

const LESSON: &str = "scenarios/lessons/4-ingress.egress";

/// The lesson with manifests of its own, changed.
fn broken(folder: &Path, name: &str, file: &str, text: &str, instead: &str) -> std::path::PathBuf {
    let case = folder.join(name);
    let manifests = case.join("manifests/lessons");
    fs::create_dir_all(&manifests).unwrap();
    for entry in glob::glob(root().join("manifests/lessons/ingress-*.yaml").to_str().unwrap()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(&entry, manifests.join(entry.file_name().unwrap())).unwrap();
    }
    let changed = manifests.join(file);
    let before = fs::read_to_string(&changed).unwrap();
    assert!(before.contains(text), "{name}");
    fs::write(&changed, before.replace(text, instead)).unwrap();
    let scenario = case.join(format!("{name}.egress"));
    // The first two scenarios: what comes after them is about failures.
    let lesson = fs::read_to_string(root().join(LESSON)).unwrap();
    fs::write(&scenario, lesson.split("scenario \"실패:").next().unwrap()).unwrap();
    scenario
}

#[test]
fn connections_from_outside_come_in_by_the_ingress_gateway() {
    if !can_run("connections_from_outside_come_in_by_the_ingress_gateway") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let cases = [
        broken(path, "other-gateway", "ingress-gateway.yaml", "istio: ingressgateway", "istio: egressgateway"),
        broken(path, "other-host", "ingress-virtualservice.yaml", "- web.example.com", "- web.example.net"),
        broken(
            path,
            "passed-through",
            "ingress-gateway.yaml",
            "mode: SIMPLE\n        credentialName: web-example-com",
            "mode: PASSTHROUGH",
        ),
    ];
    let output = program().args(["run", "--lab", LESSON]).args(&cases).output().unwrap();
    let seen = text(&output);
    assert_eq!(output.status.code(), Some(1), "{seen}");
    let of = |file: &str| {
        let begin = seen.find(&format!("{file}  ")).unwrap_or_else(|| panic!("{file} did not run\n{seen}"));
        let rest = &seen[begin..];
        let next = rest[file.len()..].find(".egress  ");
        rest[..next.map_or(rest.len(), |at| file.len() + at)].to_string()
    };
    let good = of("4-ingress.egress");
    assert!(!good.contains('✗'), "{good}");
    assert!(good.contains("✓") && good.contains("expect ssl_verify 0"), "{good}");
    for (case, says) in [
        // Nothing listens there: the load balancer's address leads to a closed port.
        ("other-gateway.egress", "expected status 200, got no response (curl exit 7"),
        ("other-host.egress", "expected status 200, got 404"),
        ("passed-through.egress", "expect listener 443 mode SIMPLE"),
    ] {
        let red = of(case);
        assert!(red.contains('✗') && red.contains(says), "{case}: {says}\n{red}");
    }
}

#[test]
fn who_is_outside_reaches_what_the_cluster_opens_and_no_more() {
    if !can_run("who_is_outside_reaches_what_the_cluster_opens_and_no_more") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let start = Start { ingress: true, ..Start::with(Path::new(env!("CARGO_BIN_EXE_egress-scn"))) };
        let lab = Lab::prepare(start, |_| ()).await.unwrap().boot().await.unwrap();
        let kubeconfig = kube::config::Kubeconfig::read_from(lab.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let cluster = Cluster::connect(config).unwrap();
        let patience = Duration::from_secs(60);
        let client = cluster.pods("outside", "client", patience).await.unwrap().remove(0);
        assert_eq!(client.ip, "172.18.0.1");
        let sh = async |script: &str| {
            let command = ["sh", "-c", script].map(String::from);
            let output = cluster.exec(&client, None, &command).await.unwrap();
            (output.exit, String::from_utf8(output.stdout).unwrap().trim_end().to_string())
        };
        let services = cluster.kind("v1", "Service").await.unwrap();
        let service =
            async |namespace: &str, name: &str| cluster.get(&services, Some(namespace), name).await.unwrap().unwrap();
        let gateway = service("istio-system", "istio-ingressgateway").await;
        let address = gateway["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().unwrap();
        assert_eq!(address, "172.18.255.200");
        let code = "curl -s -o /dev/null -m 5 -w '%{http_code}'";
        // The gateway's own port answers by the load balancer's address and by the node's port; its cluster address not.
        let port = &gateway["spec"]["ports"][0];
        assert_eq!((port["name"].as_str(), port["port"].as_u64()), (Some("status-port"), Some(15021)));
        let ready = "healthz/ready";
        assert_eq!(sh(&format!("{code} http://{address}:15021/{ready}")).await.1, "200");
        assert_eq!(sh(&format!("{code} http://10.244.0.1:{}/{ready}", port["nodePort"])).await.1, "200");
        let own = gateway["spec"]["clusterIP"].as_str().unwrap();
        assert_eq!(sh(&format!("{code} http://{own}:15021/{ready}")).await.0, 7);
        let sleep = cluster.pods("mesh-test", "sleep", patience).await.unwrap().remove(0);
        assert_eq!(sh(&format!("{code} http://{}:15021/{ready}", sleep.ip)).await.0, 7);
        // Nothing listens on 80 before a Gateway says so; addresses that no load balancer has lead nowhere.
        assert_eq!(sh(&format!("{code} http://{address}/")).await.0, 7);
        assert_eq!(sh(&format!("{code} http://172.18.255.201/")).await.0, 7);
        // The world is there, the cluster's names are not.
        assert_eq!(sh(&format!("{code} https://example.org/")).await.1, "200");
        assert_eq!(sh("getent ahostsv4 sleep.mesh-test.svc.cluster.local").await.0, 2);
        lab.stop().await;
    });
}

//! The subcommands that need neither a cluster nor the lab, through the built program: exact output, exit codes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The input of the golden case `06-seed-all`.
const SEED: [&str; 13] = [
    "00-namespace-sleep.yaml",
    "01-egressgateway.yaml",
    "10-runtime-pods.yaml",
    "02-extra-services.yaml",
    "serviceentry-httpbin-ext.yaml",
    "gateway-egress.yaml",
    "virtualservice-egress.yaml",
    "destinationrule-egress.yaml",
    "serviceentry-cnn-ext.yaml",
    "gateway-egress-cnn-mtls.yaml",
    "virtualservice-egress-cnn-mtls.yaml",
    "destinationrule-egress-cnn-mtls.yaml",
    "vanilla-mesh-registry-only.yaml",
];

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Runs the program where the golden manifests are, with `input` on standard input.
fn run_with(arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_egress-scn"))
        .args(arguments)
        .current_dir(tests().join("golden/manifests"))
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads, or the pipe holds it");
    let output = child.wait_with_output().expect("it ends");
    Said {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn run(arguments: &[&str]) -> Said {
    run_with(arguments, "")
}

fn with_seed<'a>(before: &[&'a str]) -> Vec<&'a str> {
    [before, &["-f"], &SEED].concat()
}

/// istioctl's tables of a proxy of the case: listeners, clusters, and routes where there are any.
fn istioctls(proxy: &str) -> String {
    std::fs::read_to_string(tests().join(format!("istioctl/06-seed-all.{proxy}.txt"))).expect("istioctl's tables")
}

#[test]
fn a_sidecars_tables_are_istioctls() {
    let table = |kind| run(&with_seed(&["proxy-config", kind, "sleep-0.mesh-test"]));
    let tables = ["listeners", "clusters", "routes"].map(table);
    assert!(tables.iter().all(|said| said.code == 0 && said.err.is_empty()), "{}", tables[0].err);
    assert_eq!(tables.map(|said| said.out).concat(), istioctls("sleep"));
}

#[test]
fn a_gateways_tables_are_istioctls() {
    let table = |kind| run(&with_seed(&["pc", kind, "deploy/istio-egressgateway.istio-system"])).out;
    assert_eq!(table("listener") + &table("cluster"), istioctls("egressgateway"));
    assert_eq!(table("route"), "NAME     VHOST NAME     DOMAINS     MATCH     VIRTUAL SERVICE\n");
}

#[test]
fn endpoints_that_only_dns_knows_stay_names() {
    let said = run(&with_seed(&["pc", "endpoints", "istio-egressgateway-0.istio-system"]));
    let last: Vec<&str> = said.out.lines().rev().take(2).collect();
    assert_eq!(
        last,
        [
            "httpbin.org:443         HEALTHY     OK                outbound|443||httpbin.org",
            "edition.cnn.com:443     HEALTHY     OK                outbound|443||edition.cnn.com",
        ]
    );
}

#[test]
fn json_is_a_list_and_all_is_a_dump() {
    let said = run(&with_seed(&["pc", "listeners", "istio-egressgateway-0.istio-system", "-o", "json"]));
    let listeners: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let names: Vec<&str> = listeners.as_array().expect("a list").iter().filter_map(|l| l["name"].as_str()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"0.0.0.0_8443") && names.contains(&"0.0.0.0_15443"));
    let said = run(&with_seed(&["pc", "all", "sleep-0.mesh-test", "-o", "json"]));
    let dump = egress_scn::envoy::Dump::read(&serde_json::from_str(&said.out).expect("JSON"));
    assert_eq!((dump.listeners.len(), dump.routes.len()), (10, 2));
    assert!(dump.endpoints.contains_key("outbound|8000||httpbin.other.svc.cluster.local"));
}

#[test]
fn filters_take_what_istioctls_take() {
    let lines = |arguments: &[&str]| -> Vec<String> {
        let said = run(&with_seed(arguments));
        assert_eq!(said.code, 0, "{}", said.err);
        said.out.lines().skip(1).map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let sleep = "sleep-0.mesh-test";
    let listeners = lines(&["pc", "listeners", sleep, "--port", "443", "--address", "0.0.0.0", "--type", "tcp"]);
    assert!(!listeners.is_empty() && listeners.iter().all(|l| l.starts_with("0.0.0.0 443 ")), "{listeners:?}");
    let clusters = lines(&["pc", "clusters", sleep, "--fqdn", "egressgateway", "--port", "15443", "--subset", "cnn"]);
    assert_eq!(clusters.len(), 1, "{clusters:?}");
    assert!(clusters[0].starts_with("istio-egressgateway.istio-system.svc.cluster.local 15443 cnn outbound"));
    assert!(lines(&["pc", "clusters", sleep, "--direction", "inbound"]).iter().all(|l| l.contains(" inbound ")));
    let routes = lines(&["pc", "routes", sleep, "--name", "80"]);
    assert!(!routes.is_empty() && routes.iter().all(|l| l.starts_with("80 ")), "{routes:?}");
    let gateway = "istio-egressgateway-0.istio-system";
    let cluster = "outbound|443||httpbin.org";
    let endpoints = lines(&["pc", "endpoints", gateway, "--cluster", cluster, "--status", "healthy"]);
    assert_eq!(endpoints, ["httpbin.org:443 HEALTHY OK outbound|443||httpbin.org"]);
    assert!(lines(&["pc", "endpoints", gateway, "--status", "unhealthy"]).is_empty());
    let said = run(&with_seed(&["pc", "endpoints", gateway, "--cluster", cluster, "-o", "json"]));
    let found: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert!(found.as_array().is_some_and(|all| all.iter().all(|a| a["clusterName"] == cluster)), "{found}");
    let odd = run(&with_seed(&["pc", "routes", sleep, "--fqdn", "x"]));
    assert_eq!(odd.code, 2);
    assert!(odd.err.contains("--fqdn is a filter of clusters, not of routes"), "{}", odd.err);
}

#[test]
fn secrets_that_the_configuration_asks_for() {
    let said = run(&with_seed(&["pc", "secret", "istio-egressgateway-0.istio-system"]));
    let rows: Vec<&str> = said.out.lines().collect();
    assert_eq!(rows, ["RESOURCE NAME     TYPE", "ROOTCA            CA", "default           Cert Chain"]);
}

/// istioctl, reading the dump that `all -o json` writes, shows the same but for endpoints that clusters hold and
/// for the sentence that stands where secrets would.
#[test]
fn all_is_every_table_with_names() {
    let wanted = std::fs::read_to_string(tests().join("istioctl-all/06-seed-all.sleep.txt")).expect("istioctl's");
    let (before, endpoints) = wanted.split_once("No active or warming secrets found.\n\n").expect("three parts");
    let said = run(&with_seed(&["pc", "all", "sleep-0.mesh-test"]));
    let rest = said.out.strip_prefix(before).unwrap_or_else(|| panic!("{}", said.out));
    let cells = |text: &str| -> Vec<Vec<String>> {
        let lines = text.lines().filter(|line| !line.contains(".org:") && !line.contains(".com:"));
        lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    assert_eq!(cells(rest), cells(endpoints));
    assert_eq!(rest.lines().count(), endpoints.lines().count() + 2);
}

#[test]
fn deployments_are_enough() {
    let said = run(&["pc", "clusters", "deploy/sleep", "-f", "00-namespace-sleep.yaml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("sleep.mesh-test.svc.cluster.local     80       -          outbound      EDS"));
    assert!(said.err.starts_with("note: pod sleep.mesh-test is made from its Deployment's template"), "{}", said.err);
    let said = run(&["pc", "endpoints", "sleep.mesh-test", "-f", "00-namespace-sleep.yaml"]);
    assert!(said.out.contains("10.244.250.1:80     HEALTHY     OK                outbound|80||sleep.mesh-test"));
}

#[test]
fn a_proxy_that_is_not_there_names_those_that_are() {
    let said = run(&with_seed(&["pc", "listeners", "nope.mesh-test"]));
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert_eq!(
        said.err,
        "error: the documents have no proxy \"nope.mesh-test\"; their pods: istio-egressgateway-0.istio-system, \
         sleep-0.mesh-test\n"
    );
}

#[test]
fn bad_files_are_named_with_the_place() {
    let said = run(&["pc", "listeners", "sleep-0.mesh-test", "-f", "nothing.yaml"]);
    assert_eq!((said.code, said.err.trim()), (2, "error[E0303]: cannot read nothing.yaml: no such file"));
    let said = run_with(&["pc", "listeners", "sleep-0.mesh-test", "-f", "-"], "kind: Pod\na: [1\n");
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.starts_with("error[E0305]: the manifest is not YAML"), "{}", said.err);
    assert!(said.err.contains("standard input:2:4"), "{}", said.err);
    let said = run(&["pc", "listeners", "-f", "00-namespace-sleep.yaml"]);
    assert_eq!(said.code, 2);
    let said = run(&["pc", "listeners", "sleep"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("-f") && said.err.contains("--context"), "{}", said.err);
}

#[test]
fn odd_objects_are_lived_with() {
    let object =
        |kind: &str, rest: &str| format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: odd}}\n{rest}\n---\n");
    let odd = [
        object("Service", "spec: 5"),
        object("Service", "spec: {ports: 5, selector: [a]}"),
        object("Service", "spec: {ports: [5, {port: x}, {}], selector: {app: odd}}"),
        object("Deployment", "spec: {template: text, selector: {matchLabels: {app: sleep}}}"),
        object("Deployment", "spec: {template: {metadata: 7, spec: []}, selector: 3}"),
        object("Deployment", "spec: {template: {metadata: {labels: [app], annotations: 1}}}"),
        object("Pod", "status: text\nspec: {containers: [1, {name: istio-proxy, args: router}]}"),
        object("EndpointSlice", "endpoints: 3\nports: {a: b}"),
    ];
    let said = run_with(&["pc", "all", "sleep-0.mesh-test", "-f", SEED[0], SEED[2], "-"], &odd.concat());
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("BlackHoleCluster"));
}

#[test]
fn a_mesh_config_may_be_a_config_map() {
    let mesh = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    \
                outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n";
    let routes =
        |input: &str| run_with(&["pc", "routes", "sleep-0.mesh-test", "-f", SEED[0], SEED[1], SEED[2], "-"], input).out;
    assert!(routes(mesh).contains("block_all") && !routes(mesh).contains("allow_any"));
    assert!(!routes("outboundTrafficPolicy: {mode: ALLOW_ANY}").contains("block_all"));
    let broken = mesh.replace("{mode: REGISTRY_ONLY}", "[");
    let said = run_with(&["pc", "routes", "sleep-0.mesh-test", "-f", SEED[2], "-"], &broken);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("ConfigMap istio"), "{}", said.err);
}

#[test]
fn a_change_of_yaml_is_a_change_of_envoy() {
    let without: Vec<&str> = SEED.into_iter().filter(|file| *file != "gateway-egress-cnn-mtls.yaml").collect();
    let gateway = "istio-egressgateway-0.istio-system";
    let said = run(&[&["diff-config", gateway, "-f"], &SEED[..], &["--to"], &without].concat());
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(
        said.out.starts_with(
            "- listener 0.0.0.0_15443  from Gateway mesh-test/istio-egressgateway-cnn, VirtualService \
             mesh-test/direct-cnn-through-egress-gateway\n--- before/listener/0.0.0.0_15443\n+++ /dev/null\n"
        ),
        "{}",
        said.out
    );
    let brief = run(&[&["diff-config", "--brief", gateway, "-f"], &SEED[..], &["--to"], &without].concat());
    assert_eq!(brief.out.lines().count(), 1, "{}", brief.out);
    let same = run(&[&["diff-config", gateway, "-f"], &SEED[..], &["--to"], &SEED].concat());
    assert_eq!((same.code, same.out.as_str(), same.err.as_str()), (0, "", ""));
    let wrong = run(&[&["diff-config", "nope", "-f"], &SEED[..], &["--to"], &SEED].concat());
    assert_eq!(wrong.code, 2);
}

const BAD_ENTRY: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.com]
  bogus: 1
  ports:
  - number: 99999
    name: x
    protocol: HTTP
";

#[test]
fn validation_speaks_stage_by_stage() {
    let said = run_with(&["validate", "-f", "-"], BAD_ENTRY);
    assert_eq!(said.code, 1);
    assert_eq!(
        said.out,
        "standard input:6: unknown field: ServiceEntry a: spec.bogus
standard input:8: schema: ServiceEntry a: spec.ports[0].number: Invalid value: 99999: port must be between 1-65535
standard input:1: webhook: ServiceEntry a: port number 99999 must be in the range 1..65535
1 document, 3 errors, 0 warnings
"
    );
    let said = run(&with_seed(&["validate"]));
    assert_eq!(said.code, 0, "{}", said.out);
}

#[test]
fn analysis_has_istios_codes_and_places() {
    let route = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: x}\nspec:\n  \
                 hosts: [a.com]\n  gateways: [absent]\n  http:\n  - route: [{destination: {host: a.com}}]\n";
    let said = run_with(&["analyze", "-f", "-"], route);
    assert_eq!(said.code, 1);
    assert!(
        said.out.contains(
            "Error [IST0101] (VirtualService x/v standard input:6) Referenced gateway not found: \"absent\"\n"
        ),
        "{}",
        said.out
    );
    let said = run(&with_seed(&["analyze"]));
    assert_eq!((said.code, said.out.as_str()), (0, "✔ No validation issues found.\n"));
}

#[test]
fn scenarios_are_laid_out() {
    let wrong = "scenario \"x\"\nexec sleep -- curl http://a.b\n   expect status 200\n";
    let right = "scenario \"x\"\n  exec sleep -- curl http://a.b\n  expect status 200\n";
    let said = run_with(&["fmt", "-"], wrong);
    assert_eq!((said.code, said.out.as_str()), (0, right));
    let said = run_with(&["fmt", "--check", "-"], wrong);
    assert_eq!((said.code, said.out.as_str()), (1, "standard input\n"));
    assert_eq!(run_with(&["fmt", "--check", "-"], right).code, 0);
    let said = run_with(&["fmt", "--diff", "-"], wrong);
    assert!(said.out.contains("-exec sleep") && said.out.contains("+  exec sleep"), "{}", said.out);
    let said = run_with(&["fmt", "-"], "foo \"\n");
    assert_eq!((said.code, said.out.as_str()), (2, ""));

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.egress");
    std::fs::write(&file, wrong).expect("written");
    let name = file.to_str().expect("UTF-8");
    assert_eq!(run(&["fmt", "--check", name]).code, 1);
    assert_eq!(std::fs::read_to_string(&file).expect("read"), wrong);
    assert_eq!(run(&["fmt", folder.path().to_str().expect("UTF-8")]).code, 0);
    assert_eq!(std::fs::read_to_string(&file).expect("read"), right);
}

#[test]
fn codes_are_explained() {
    let said = run(&["explain", "e0123"]);
    assert_eq!((said.code, said.out.as_str()), (0, "E0123: a block without steps\n\nNothing would be repeated.\n"));
    assert_eq!(run(&["explain", "E9999"]).code, 2);
    assert!(run(&["explain"]).out.lines().count() > 30);
}

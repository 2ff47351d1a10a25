//! Every behaviour of outside sites, each as an object of the API, met by real clients in a pod without a sidecar: one lab.

use crate::program::can_run;
use egress_scn::cluster::{Admin, Cluster, Pod, Propagation};
use egress_scn::lab::authority::{Authority, Leaf};
use egress_scn::lab::boot::Lab;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

struct Place {
    _lab: Lab,
    cluster: Cluster,
    client: Pod,
}

impl Place {
    async fn start() -> Place {
        let lab = Lab::start_with(Path::new(env!("CARGO_BIN_EXE_egress-scn")), |_| ()).await.unwrap();
        let kubeconfig = kube::config::Kubeconfig::read_from(lab.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let cluster = Cluster::connect(config).unwrap();
        let client = cluster.pods("legacy", "sleep", PATIENCE).await.unwrap().remove(0);
        Place { _lab: lab, cluster, client }
    }

    /// Sites, each with a name as its only host, in force.
    async fn sites(&self, sites: &[(&str, Value)]) {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("lab.egress-scn.dev", "v1", "Site"));
        let api: Api<DynamicObject> = Api::all_with(self.cluster.client().clone(), &resource);
        for (host, spec) in sites {
            let mut spec = spec.clone();
            spec["hosts"] = json!([host]);
            let name = host.replace('*', "any");
            let site = json!({"apiVersion": "lab.egress-scn.dev/v1", "kind": "Site", "metadata": {"name": name}, "spec": spec});
            api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&site)).await.unwrap();
        }
        self.settled(&[]).await;
    }

    async fn settled(&self, proxies: &[&Admin]) {
        let settled = Propagation::new(self.cluster.clone()).settle(proxies, None, PATIENCE).await;
        assert!(settled.proven && settled.rejections.is_empty(), "{settled:?}");
    }

    /// An Istio object of the sleep pod's namespace.
    async fn istio(&self, kind: &str, name: &str, spec: Value) {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", "v1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(self.cluster.client().clone(), "mesh-test", &resource);
        let object = json!({"apiVersion": "networking.istio.io/v1", "kind": kind,
            "metadata": {"name": name, "namespace": "mesh-test"}, "spec": spec});
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }

    /// A shell's exit code and output in the pod.
    async fn sh(&self, script: &str) -> (i32, String) {
        let command = ["bash", "-c", script].map(String::from);
        let output = self.cluster.exec(&self.client, None, &command).await.unwrap();
        (output.exit, String::from_utf8(output.stdout).unwrap().trim_end().to_string())
    }

    async fn curl(&self, arguments: &str) -> (i32, String) {
        self.sh(&format!("curl -s --max-time 10 {arguments}")).await
    }
}

#[test]
fn sites_do_as_their_objects_say() {
    if !can_run("sites_do_as_their_objects_say") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::start().await;
        httpbin(&place).await;
        answers(&place).await;
        tls(&place).await;
        ports(&place).await;
        reach(&place).await;
        tunnels(&place).await;
    });
}

/// What answers without any object.
async fn httpbin(place: &Place) {
    let json = async |arguments: &str| -> Value {
        let (exit, said) = place.curl(arguments).await;
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments}: {exit} {error}: {said}"))
    };
    let get = json("-H 'x-mine: a' 'https://httpbin.org/get?one=1&two=b'").await;
    assert_eq!((&get["args"], &get["headers"]["X-Mine"]), (&json!({"one": "1", "two": "b"}), &json!("a")));
    assert_eq!((&get["url"], &get["origin"]), (&json!("https://httpbin.org/get?one=1&two=b"), &json!(place.client.ip)));
    assert_eq!(json("http://httpbin.org/headers").await["headers"]["Host"], "httpbin.org");
    let posted = json("-d '{\"a\":1}' -H 'content-type: application/json' https://httpbin.org/anything/x").await;
    assert_eq!((&posted["method"], &posted["json"]), (&json!("POST"), &json!({"a": 1})));
    for status in ["204", "301", "418", "503"] {
        let code = place.curl(&format!("-o /dev/null -w '%{{http_code}}' https://httpbin.org/status/{status}")).await;
        assert_eq!(code, (0, status.into()));
    }
    let (_, late) = place.curl("-o /dev/null -w '%{time_starttransfer}' https://httpbin.org/delay/1").await;
    assert!(late.parse::<f64>().unwrap() >= 1.0, "{late}");
    let (_, page) = place.curl("https://www.example.net/some/page").await;
    assert!(page.contains("<h1>www.example.net</h1>"), "{page}");
}

async fn answers(place: &Place) {
    place
        .sites(&[
            ("busy.example", json!({"status": 503, "headers": {"retry-after": "3"}, "body": "busy"})),
            ("slow.example", json!({"delay": "400ms"})),
            ("also.example", json!({"answer": "Httpbin"})),
            ("*.wild.example", json!({"body": "wild"})),
        ])
        .await;
    let (_, said) = place.curl("-i http://busy.example/").await;
    assert!(said.starts_with("HTTP/1.1 503") && said.contains("retry-after: 3") && said.ends_with("busy"), "{said}");
    let (_, late) = place.curl("-o /dev/null -w '%{time_starttransfer}' https://slow.example/").await;
    assert!(late.parse::<f64>().unwrap() >= 0.4, "{late}");
    assert_eq!(place.curl("-o /dev/null -w '%{http_code}' https://also.example/status/429").await.1, "429");
    assert_eq!(place.curl("https://a.b.wild.example/").await, (0, "wild".into()));
}

async fn tls(place: &Place) {
    let clients = Authority::new("clients").unwrap();
    let identity = clients.issue(&Leaf { common_name: Some("me".into()), ..Leaf::default() }).unwrap();
    place
        .sites(&[
            ("old.example", json!({"tls": {"maxVersion": "1.2"}})),
            ("new.example", json!({"tls": {"minVersion": "1.3"}})),
            ("expired.example", json!({"tls": {"certificate": "Expired"}})),
            ("other.example", json!({"tls": {"certificate": "WrongHost"}})),
            ("untrusted.example", json!({"tls": {"certificate": "Untrusted"}})),
            ("named.example", json!({"tls": {"names": ["alias.example"]}})),
            ("asks.example", json!({"tls": {"clientCertificate": "Required", "clientAuthority": clients.root_pem()}})),
        ])
        .await;
    let code = "-o /dev/null -w '%{http_code}'";
    for (host, refused, taken) in
        [("old.example", "--tlsv1.3", "--tls-max 1.2"), ("new.example", "--tls-max 1.2", "--tlsv1.3")]
    {
        assert_eq!(place.curl(&format!("{code} {refused} https://{host}/")).await, (35, "000".into()), "{host}");
        assert_eq!(place.curl(&format!("{code} {taken} https://{host}/")).await, (0, "200".into()), "{host}");
    }
    for host in ["expired.example", "other.example", "untrusted.example", "named.example"] {
        assert_eq!(place.curl(&format!("{code} https://{host}/")).await.0, 60, "{host}");
        assert_eq!(place.curl(&format!("{code} -k https://{host}/")).await, (0, "200".into()), "{host}");
    }
    let written = format!("echo '{}' > /tmp/me.pem", identity.chain_pem + &identity.key_pem);
    assert_eq!(place.sh(&written).await.0, 0);
    assert_ne!(place.curl(&format!("{code} https://asks.example/")).await.0, 0);
    assert_eq!(place.curl(&format!("{code} --cert /tmp/me.pem https://asks.example/")).await, (0, "200".into()));
}

/// What ports speak: an HTTP proxy, an echo, and nothing.
async fn ports(place: &Place) {
    place
        .sites(&[
            ("proxy.example", json!({"ports": [{"number": 3128, "protocol": "PROXY"}]})),
            ("echo.example", json!({"ports": [{"number": 7, "protocol": "ECHO"}, {"number": 9, "protocol": "TCP"}, {"number": 8443, "protocol": "ANY"}]})),
        ])
        .await;
    let code = "-o /dev/null -w '%{http_connect} %{http_code}'";
    let through = place.curl(&format!("{code} -x http://proxy.example:3128 https://example.org/")).await;
    assert_eq!(through, (0, "200 200".into()));
    let unknown = place.curl(&format!("{code} -x http://proxy.example:3128 https://no.such.local/")).await;
    assert_eq!(unknown, (56, "502 000".into()));
    let said = |host: &str, port: u16| {
        format!("exec 3<>/dev/tcp/{host}/{port} && printf 'ping\\n' >&3 && timeout 1 head -n1 <&3")
    };
    assert_eq!(place.sh(&said("echo.example", 7)).await, (0, "ping".into()));
    assert_eq!(place.sh(&said("echo.example", 9)).await, (124, "".into()), "it takes all and says nothing");
    assert_eq!(place.sh(&said("echo.example", 8443)).await, (0, "ping".into()));
    assert_eq!(place.curl("-o /dev/null -w '%{http_code}' https://echo.example:8443/").await.1, "200");
    assert_eq!(place.curl("https://echo.example/").await.0, 7, "a site that names its ports has no others");
    // What is no HTTP comes back inside TLS too.
    let inside = "printf 'ping\\n' | timeout 2 openssl s_client -quiet -connect example.org:443 -servername example.org 2>/dev/null | head -n1";
    if place.sh("command -v openssl").await.0 == 0 {
        assert_eq!(place.sh(inside).await.1, "ping");
    }
}

async fn reach(place: &Place) {
    place
        .sites(&[
            ("refused.example", json!({"availability": "Refused"})),
            ("silent.example", json!({"availability": "Down"})),
            ("nameless.example", json!({"dns": false})),
            ("placed.example", json!({"addresses": ["198.51.100.7"], "answer": "Facts"})),
        ])
        .await;
    assert_eq!(place.curl("https://refused.example/").await.0, 7);
    assert_eq!(place.curl("--connect-timeout 0.5 https://silent.example/").await.0, 28);
    assert_eq!(place.curl("https://nameless.example/").await.0, 6);
    assert_eq!(place.sh("getent ahostsv4 placed.example | head -n1 | cut -d' ' -f1").await.1, "198.51.100.7");
    let facts: Value = serde_json::from_str(&place.curl("https://placed.example/x").await.1).unwrap();
    assert_eq!(
        (&facts["address"], &facts["sni"], &facts["path"]),
        (&json!("198.51.100.7"), &json!("placed.example"), &json!("/x"))
    );
    assert_eq!(
        place.curl("-o /dev/null -w '%{http_code}' https://example.org/").await.1,
        "200",
        "others are as they were"
    );
}

/// A sidecar that reaches a host through a proxy site, by either kind of tunnel.
async fn tunnels(place: &Place) {
    let proxy = json!({"addresses": ["198.51.100.20"], "ports": [{"number": 3128, "protocol": "PROXY"}]});
    place.sites(&[("forward.example", proxy), ("behind.example", json!({"answer": "Facts"}))]).await;
    let ports = |number: u32, protocol: &str| json!([{"number": number, "name": "p", "protocol": protocol}]);
    let entry = |host: &str, ports: Value| json!({"hosts": [host], "ports": ports, "resolution": "DNS"});
    place.istio("ServiceEntry", "forward", entry("forward.example", ports(3128, "TCP"))).await;
    place.istio("ServiceEntry", "behind", entry("behind.example", ports(443, "TLS"))).await;
    let to_proxy = json!({"host": "forward.example", "port": {"number": 3128}, "subset": "tunnel"});
    let route =
        json!([{"match": [{"port": 443, "sniHosts": ["behind.example"]}], "route": [{"destination": to_proxy}]}]);
    place.istio("VirtualService", "behind", json!({"hosts": ["behind.example"], "tls": route})).await;
    let sleep = place.cluster.pods("mesh-test", "sleep", PATIENCE).await.unwrap().remove(0);
    let sidecar = place.cluster.admin(&sleep);
    let mut connections = 0;
    for (protocol, host, exit) in [
        ("CONNECT", "behind.example", 0),
        ("POST", "behind.example", 0),
        // The proxy knows no such host: the tunnel does not come about.
        ("CONNECT", "no.such.local", 35),
        ("POST", "no.such.local", 35),
    ] {
        let tunnel = json!({"protocol": protocol, "targetHost": host, "targetPort": 443});
        let subset = json!([{"name": "tunnel", "trafficPolicy": {"tunnel": tunnel}}]);
        place.istio("DestinationRule", "forward", json!({"host": "forward.example", "subsets": subset})).await;
        place.settled(&[&sidecar]).await;
        let command = ["curl", "-s", "--max-time", "10", "https://behind.example/x"].map(String::from);
        let output = place.cluster.exec(&sleep, Some("sleep"), &command).await.unwrap();
        assert_eq!(output.exit, exit, "{protocol} to {host}");
        let counted = sidecar.stats("^cluster.outbound.3128.tunnel.*upstream_cx_total$").await.unwrap();
        let by_proxy = counted.iter().map(|(_, value)| value).sum::<u64>();
        assert!(by_proxy > connections, "{protocol} to {host}: not by the proxy");
        connections = by_proxy;
        if exit == 0 {
            let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!((&facts["sni"], &facts["path"]), (&json!("behind.example"), &json!("/x")), "{protocol}");
        }
    }
}

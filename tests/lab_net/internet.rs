//! The lab's internet, seen by real curl and the real resolver of the C library.

use crate::network::{pod, shell};
use egress_scn::lab::authority::{Authority, Leaf};
use egress_scn::lab::fabric::Fabric;
use egress_scn::lab::internet::{Internet, ServiceName, Site};
use egress_scn::lab::pod_files::PodFile;
use egress_scn::lab::sandbox::Sandbox;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A pod that trusts the lab's outside authority, on an internet.
async fn pod_on_internet() -> (Sandbox, Internet) {
    let fabric = Fabric::new().await.unwrap();
    let authority = Arc::new(Authority::new("outside").unwrap());
    let mut spec = pod(5);
    spec.files.extend(PodFile::trusted(&authority.root_pem()));
    let internet = Internet::start(&fabric, authority).await.unwrap();
    (fabric.sandbox(spec).await.unwrap(), internet)
}

/// curl's exit code and output; `-S` adds the reason to the second of them.
async fn curl(pod: &Sandbox, arguments: &str) -> (i32, String) {
    let (code, out, err) = shell(pod, &format!("curl -sS --max-time 10 {arguments}")).await;
    (code, out + &err)
}

const FACTS: &str = "-o /dev/null -w '%{http_code} %{ssl_verify_result} %{http_version} %{remote_ip}'";

pub async fn curl_reaches_every_site() {
    let (pod, _internet) = pod_on_internet().await;
    let start = Instant::now();
    assert_eq!(curl(&pod, &format!("{FACTS} https://httpbin.org/get")).await, (0, "200 0 2 203.0.113.10".into()));
    // No packet of a young link was lost, no name server was waited for.
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    assert_eq!(curl(&pod, &format!("-I {FACTS} https://edition.cnn.com/")).await.1, "200 0 2 203.0.113.11");
    assert_eq!(curl(&pod, &format!("{FACTS} --http1.1 https://example.org/")).await.1, "200 0 1.1 203.0.113.12");
    assert_eq!(curl(&pod, &format!("{FACTS} http://example.org/")).await.1, "200 0 1.1 203.0.113.12");
    assert!(curl(&pod, "http://example.org/").await.1.contains("<h1>example.org</h1>"));
    assert_eq!(curl(&pod, &format!("{FACTS} https://one.two.example/")).await.1, "200 0 2 203.0.113.13");
    // By address, one with a name and one without.
    assert_eq!(curl(&pod, &format!("{FACTS} http://203.0.113.10/get")).await, (0, "200 0 1.1 203.0.113.10".into()));
    assert_eq!(curl(&pod, &format!("{FACTS} https://8.8.8.8/")).await.1, "200 0 2 8.8.8.8");

    let shown: Value =
        serde_json::from_str(&curl(&pod, "'https://httpbin.org/get?a=1' -H 'x-two: b'").await.1).unwrap();
    assert_eq!(shown["args"]["a"], "1");
    assert_eq!(shown["headers"]["X-Two"], "b");
    assert_eq!(shown["headers"]["Host"], "httpbin.org");
    assert_eq!(shown["origin"], "10.244.0.5");
    assert_eq!(shown["url"], "https://httpbin.org/get?a=1");
    let posted: Value = serde_json::from_str(&curl(&pod, "https://httpbin.org/post -d 'name=값'").await.1).unwrap();
    assert_eq!(posted["form"]["name"], "값");
    for (path, code) in
        [("/status/503", "503"), ("/status/204", "204"), ("/nothing", "404"), ("/post", "405"), ("/", "200")]
    {
        let found = curl(&pod, &format!("-o /dev/null -w '%{{http_code}}' http://httpbin.org{path}")).await;
        assert_eq!(found, (0, code.to_string()), "{path}");
    }
    let start = Instant::now();
    assert_eq!(curl(&pod, "-o /dev/null http://httpbin.org/delay/0.3").await.0, 0);
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(curl(&pod, "--max-time 0.3 http://httpbin.org/delay/5").await.0, 28);
}

pub async fn names_resolve_as_in_a_cluster() {
    let (pod, internet) = pod_on_internet().await;
    let resolve = async |name: &str| {
        let (code, out, _) = shell(&pod, &format!("getent ahostsv4 {name} | grep STREAM")).await;
        if code == 0 { out.split(' ').next().unwrap().to_string() } else { format!("exit {code}") }
    };
    let addresses = |text: &str| ServiceName::Addresses(vec![text.parse().unwrap()]);
    internet.set_services(BTreeMap::from([
        ("httpbin.default.svc.cluster.local".to_string(), addresses("10.96.0.20")),
        ("httpbin.other.svc.cluster.local".to_string(), addresses("10.96.0.21")),
        ("far.default.svc.cluster.local".to_string(), ServiceName::Alias("edition.cnn.com".to_string())),
    ]));
    assert_eq!(resolve("httpbin").await, "10.96.0.20");
    assert_eq!(resolve("httpbin.default").await, "10.96.0.20");
    assert_eq!(resolve("httpbin.other").await, "10.96.0.21");
    assert_eq!(resolve("httpbin.other.svc.cluster.local").await, "10.96.0.21");
    assert_eq!(resolve("far").await, "203.0.113.11");
    assert_eq!(resolve("httpbin.org").await, "203.0.113.10");
    assert_eq!(resolve("nothing").await, "exit 1");
    assert_eq!(resolve("pod-5").await, "10.244.0.5");
    assert_eq!(curl(&pod, "http://nothing/").await.0, 6);
    // By TCP too.
    let over_tcp = "RES_OPTIONS=use-vc getent ahostsv4 example.org | head -n1";
    assert!(shell(&pod, over_tcp).await.1.starts_with("203.0.113.12"));
}

pub async fn servers_refuse_what_real_ones_refuse() {
    let (pod, _internet) = pod_on_internet().await;
    // Plain HTTP where TLS is spoken, and the other way round.
    let (code, said) = curl(&pod, "-w '%{http_code}' http://httpbin.org:443/get").await;
    assert_eq!((code, said.as_str()), (0, "The plain HTTP request was sent to HTTPS port\n400"));
    assert_eq!(curl(&pod, "https://httpbin.org:80/get").await.0, 35);
    // A server has no certificate for a stranger's name.
    let astray = "--connect-to httpbin.org:443:example.org:443 https://httpbin.org/get";
    assert_eq!(curl(&pod, astray).await.0, 60);
    // Nor are ports open that nothing serves.
    assert_eq!(curl(&pod, "http://httpbin.org:8080/").await.0, 7);
    // Without the lab's authority nothing is trusted.
    assert_eq!(curl(&pod, "--cacert /dev/null https://httpbin.org/get").await.0, 77);
}

pub async fn a_site_does_as_it_is_told() {
    let (pod, internet) = pod_on_internet().await;
    let get = "-w ' %{http_code}' https://httpbin.org/get";
    let set = async |spec: Value| {
        let mut spec = spec;
        spec["hosts"] = json!(["httpbin.org"]);
        internet.set_sites(vec![Site::read(&spec).unwrap()]).await.unwrap()
    };
    set(json!({"status": 503, "body": "busy", "headers": {"retry-after": "3"}})).await;
    assert_eq!(curl(&pod, get).await, (0, "busy 503".into()));
    assert!(curl(&pod, &format!("-I {get}")).await.1.contains("retry-after: 3"));
    set(json!({"availability": "Refused"})).await;
    assert_eq!(curl(&pod, get).await.0, 7);
    assert_eq!(curl(&pod, "-o /dev/null https://example.org/").await.0, 0, "only that site is down");
    set(json!({"availability": "Down"})).await;
    assert_eq!(curl(&pod, &format!("--connect-timeout 0.3 {get}")).await.0, 28);
    set(json!({"tls": {"minVersion": "1.3"}})).await;
    assert_eq!(curl(&pod, &format!("--tls-max 1.2 {get}")).await.0, 35);
    set(json!({"tls": {"maxVersion": "1.2"}})).await;
    assert_eq!(curl(&pod, &format!("--tlsv1.3 {get}")).await.0, 35);
    for fault in ["WrongHost", "Untrusted", "Expired"] {
        set(json!({"tls": {"certificate": fault}})).await;
        assert_eq!(curl(&pod, get).await.0, 60, "{fault}");
    }
    let clients = Authority::new("clients").unwrap();
    let identity = clients.issue(&Leaf { uris: vec!["spiffe://a/ns/b/sa/c".into()], ..Leaf::default() }).unwrap();
    let written = format!("echo '{}' > /tmp/identity.pem", identity.chain_pem + &identity.key_pem);
    assert_eq!(shell(&pod, &written).await.0, 0);
    let with = format!("--cert /tmp/identity.pem {get}");
    set(json!({"tls": {"clientCertificate": "Required", "clientAuthority": clients.root_pem()}})).await;
    assert_ne!(curl(&pod, get).await.0, 0);
    assert_eq!(curl(&pod, &format!("-o /dev/null {with}")).await, (0, " 200".into()));
    let strangers = Authority::new("strangers").unwrap();
    set(json!({"tls": {"clientCertificate": "Required", "clientAuthority": strangers.root_pem()}})).await;
    assert_ne!(curl(&pod, &with).await.0, 0);
    set(json!({"answer": "Facts", "tls": {"clientCertificate": "Optional"}})).await;
    let (code, said) = curl(&pod, &format!("{with} -H 'x-two: b'")).await;
    let facts: Value = serde_json::from_str(said.trim_end_matches(" 200").trim()).unwrap();
    assert_eq!((code, &facts["client"], &facts["tls"]), (0, &json!("spiffe://a/ns/b/sa/c"), &json!("1.3")));
    assert_eq!((&facts["sni"], &facts["host"]), (&json!("httpbin.org"), &json!("httpbin.org")));
    assert_eq!((&facts["http"], &facts["port"], &facts["source"]), (&json!("2"), &json!(443), &json!("10.244.0.5")));
    assert_eq!(facts["headers"]["x-two"], "b");
    assert!(!curl(&pod, get).await.1.contains("client"), "optional");
    internet.set_sites(vec![]).await.unwrap();
    assert_eq!(curl(&pod, &format!("-o /dev/null {get}")).await, (0, " 200".into()));
    set(json!({"dns": false})).await;
    assert_eq!(curl(&pod, get).await.0, 6);
    set(json!({"delay": "5s"})).await;
    assert_eq!(curl(&pod, &format!("--max-time 0.3 {get}")).await.0, 28);
}

/// Names, addresses and ports of a site's own; what is not its is closed, also for a name that nobody asked for before.
pub async fn a_site_is_where_it_says() {
    let (pod, internet) = pod_on_internet().await;
    let site = |spec: Value| Site::read(&spec).unwrap();
    internet
        .set_sites(vec![
            site(json!({"hosts": ["*.corp.internal"], "ports": [{"number": 444, "protocol": "HTTPS"}, {"number": 9}]})),
            site(json!({"hosts": ["vip.example"], "addresses": ["10.100.7.7", "198.51.100.0/24"], "answer": "Facts",
                "ports": [{"number": 80}, {"number": 81, "protocol": "ECHO"}, {"number": 82, "protocol": "TCP"}]})),
            site(json!({"hosts": ["*"], "answer": "Facts", "tls": {"names": ["*"]}, "ports": [{"number": 5432}]})),
        ])
        .await
        .unwrap();
    let code = "-o /dev/null -w '%{http_code} %{remote_ip}'";
    assert_eq!(curl(&pod, &format!("{code} https://a.corp.internal:444/")).await, (0, "200 203.0.113.13".into()));
    for closed in ["http://a.corp.internal/", "https://b.corp.internal/", "https://vip.example/"] {
        assert_eq!(curl(&pod, closed).await.0, 7, "{closed}");
    }
    assert_eq!(curl(&pod, &format!("{code} http://vip.example/")).await, (0, "200 10.100.7.7".into()));
    assert_eq!(curl(&pod, &format!("{code} http://198.51.100.9/")).await, (0, "200 198.51.100.9".into()));
    let echoed = "echo ping | timeout 2 bash -c 'exec 3<>/dev/tcp/10.100.7.7/81; cat >&3; head -n1 <&3'";
    assert_eq!(shell(&pod, echoed).await.1, "ping\n");
    assert_eq!(shell(&pod, &echoed.replace("/81", "/82")).await.1, "");
    // A site of every name closes nothing, and here shows any name's certificate.
    let astray = "--connect-to httpbin.org:443:example.org:443";
    assert_eq!(curl(&pod, &format!("{code} {astray} https://httpbin.org/")).await, (0, "200 203.0.113.12".into()));
    assert_eq!(curl(&pod, &format!("{code} https://x.example:5432/")).await.0, 0);
    internet.set_sites(vec![]).await.unwrap();
    assert_eq!(curl(&pod, &format!("{code} https://vip.example/")).await.1, "200 203.0.113.16");
    assert_eq!(curl(&pod, "http://10.100.7.7/").await.0, 7);
}

pub async fn further_ports_speak_what_the_client_begins_with() {
    let (pod, internet) = pod_on_internet().await;
    for port in [8080, 8443, 3128] {
        internet.open_port(port).await.unwrap();
    }
    internet.open_port(3128).await.unwrap();
    let ok = (0, "200".to_string());
    let get = "-o /dev/null -w '%{http_code}'";
    assert_eq!(curl(&pod, &format!("{get} http://httpbin.org:8080/get")).await, ok);
    assert_eq!(curl(&pod, &format!("{get} --http2-prior-knowledge http://httpbin.org:8080/get")).await, ok);
    assert_eq!(curl(&pod, "https://httpbin.org:8080/get").await.0, 35);
    assert_eq!(curl(&pod, &format!("{get} https://httpbin.org:8443/get")).await, ok);
    assert_eq!(curl(&pod, &format!("{get} http://httpbin.org:3128/get")).await, ok);
    assert_eq!(curl(&pod, &format!("{get} https://httpbin.org:3128/get")).await, ok);
    // Neither TLS nor HTTP comes back as it was.
    assert_eq!(shell(&pod, "echo ping | curl -s --max-time 5 telnet://db.example.com:3128").await.1, "ping\n");
    // A proxy, for TLS and for plain HTTP, to a host that it alone resolves.
    let proxied = "--proxytunnel -x http://proxy.example.com:3128";
    assert_eq!(curl(&pod, &format!("{get} {proxied} https://edition.cnn.com/")).await, ok);
    assert_eq!(curl(&pod, &format!("{get} {proxied} http://edition.cnn.com/")).await, ok);
    assert_eq!(curl(&pod, &format!("{get} {proxied} https://nothing.invalid/")).await.0, 56);
}

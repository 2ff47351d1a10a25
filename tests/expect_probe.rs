//! Expectations about a probe, each passing and failing, with the exact text.

#![allow(clippy::unwrap_used)]

#[path = "expect/recorded.rs"]
mod recorded;

use egress_scn::envoy::{Dump, LogFormats};
use egress_scn::expect::{Captured, Evidence, Probe};
use egress_scn::plan::{
    BlockedBy, CertificateField, Expectation, Fact, Hop, ListCompare, Part, ProxyList, StatusPattern, Text, TextMatch,
    Workload,
};
use recorded::{curl, gateway, run, sleep, told};
use serde_json::json;
use std::sync::Arc;

const CNN: &str = "https://edition.cnn.com/";

fn hop(name: &str, port: u16) -> Hop {
    Hop { name: name.into(), port: (port != 0).then_some(port) }
}

fn listener(port: u16, on: Option<Workload>, facts: Vec<Fact>) -> Expectation {
    Expectation::Listener { port, on, facts }
}

fn cluster(host: &str, port: u16, facts: Vec<Fact>) -> Expectation {
    Expectation::Cluster { host: host.into(), port: Some(port), subset: None, on: None, facts }
}

fn contains(text: &str) -> TextMatch {
    TextMatch::Contains(Text::literal(text))
}

fn equals(text: &str) -> TextMatch {
    TextMatch::Equals(Text::literal(text))
}

#[track_caller]
fn holds(what: &Expectation, evidence: &Evidence) {
    let text = told(what, false, evidence);
    assert!(text.starts_with("holds"), "{text}");
}

#[track_caller]
fn says(what: &Expectation, negated: bool, evidence: &Evidence, expected: &str) {
    let text = told(what, negated, evidence);
    assert!(text == expected, "--- got\n{text}\n--- expected\n{expected}");
}

#[track_caller]
fn title(what: &Expectation, negated: bool, evidence: &Evidence, expected: &str) {
    let text = told(what, negated, evidence);
    assert_eq!(text.lines().next().unwrap(), expected, "{text}");
}

fn seed() -> Evidence {
    curl("seed", CNN)
}

#[track_caller]
fn holds_negated(what: &Expectation, evidence: &Evidence) {
    let text = told(what, true, evidence);
    assert!(text.starts_with("holds"), "{text}");
}

// --- the way of a probe

#[test]
fn a_path_names_every_stop() {
    let hops = |last: u16| {
        Expectation::Path(vec![hop("sleep", 0), hop("istio-egressgateway", 15443), hop("edition.cnn.com", last)])
    };
    says(&hops(443), false, &seed(), "holds\n   path  sleep ✓ → istio-egressgateway:15443 ✓ → edition.cnn.com:443 ✓");
    says(
        &hops(8443),
        false,
        &seed(),
        "error[E0423]: expected path sleep -> istio-egressgateway:15443 -> edition.cnn.com:8443, but it went to istio-egressgateway:15443
   - sleep → istio-egressgateway:15443 → edition.cnn.com:8443
   + sleep → istio-egressgateway:15443 → edition.cnn.com:443
   path  sleep ✓ → istio-egressgateway:15443 ✓ → edition.cnn.com:443 ✓
   log   sidecar: no flag  outbound|15443|cnn|istio-egressgateway.istio-system.svc.cluster.local  to 10.244.0.30:15443  SNI edition.cnn.com
   log   gateway: no flag  outbound|443||edition.cnn.com  to 203.0.113.11:443  SNI edition.cnn.com",
    );
}

#[test]
fn a_path_by_a_gateway_that_was_bypassed() {
    let path = Expectation::Path(vec![hop("sleep", 0), hop("istio-egressgateway", 443), hop("httpbin.org", 443)]);
    says(
        &path,
        false,
        &curl("no-mesh-gw", "https://httpbin.org/"),
        "error[E0423]: expected path sleep -> istio-egressgateway:443 -> httpbin.org:443, but it went straight to httpbin.org:443
   - sleep → istio-egressgateway:443 → httpbin.org:443
   + sleep → httpbin.org:443
   path  sleep ✓ → httpbin.org:443 ✓
   log   sidecar: no flag  outbound|443||httpbin.org  to 203.0.113.10:443  SNI httpbin.org
   why   VirtualService mesh-test/direct-httpbin-through-egress-gateway lists `gateways` without `mesh`, so sidecars do not follow it
   try  `mesh` in its `gateways` and in the match of its first leg",
    );
    let direct = Expectation::Path(vec![hop("sleep.mesh-test", 0), hop("httpbin.org", 443)]);
    holds(&direct, &curl("no-mesh-gw", "https://httpbin.org/"));
}

#[test]
fn via_names_the_servers_port() {
    let via = |port| Expectation::Via { gateway: gateway(), port: Some(port) };
    let evidence = curl("seed", "https://httpbin.org/get");
    holds(&via(443), &evidence);
    let text = told(&via(8443), false, &evidence);
    assert!(
        text.starts_with(
            "error[E0421]: expected via istio-egressgateway:8443, but it went to istio-egressgateway:443 (bound 8443)"
        ),
        "{text}"
    );
    assert!(text.contains("why   8443 is the port that Envoy binds; `via` names the Gateway server's: 443"), "{text}");
}

#[test]
fn no_via_may_not_rest_on_a_missing_line() {
    let via = Expectation::Via { gateway: gateway(), port: None };
    let mut evidence = seed();
    for pod in evidence.proxies.get_mut(&sleep().to_string()).unwrap() {
        pod.log.clear();
    }
    title(
        &via,
        true,
        &evidence,
        "error[E0421]: expected via istio-egressgateway, but the sidecar of sleep.mesh-test has no access-log line for \
         the connection from port 39870",
    );
    let mut evidence = seed();
    evidence.proxies.get_mut(&gateway().to_string()).unwrap()[0].log.clear();
    let text = told(&via, true, &evidence);
    assert!(text.starts_with("error[E0421]"), "{text}");
    says(&via, true, &curl("no-mesh-gw", "https://httpbin.org/"), "holds\n   path  sleep ✓ → httpbin.org:443 ✓");
    title(&via, true, &seed(), "error[E0421]: expected no via istio-egressgateway, but it is so");
}

#[test]
fn the_gateways_log_is_needed_for_via() {
    let via = Expectation::Via { gateway: gateway(), port: None };
    let mut evidence = seed();
    let pod = &mut evidence.proxies.get_mut(&gateway().to_string()).unwrap()[0];
    let mut dump = Dump::clone(pod.dump.as_ref().unwrap());
    dump.log_formats = LogFormats::default();
    pod.dump = Some(Arc::new(dump));
    says(
        &via,
        false,
        &evidence,
        "not shown: the proxy of istio-egressgateway.istio-system writes no access log
   try  `require access-log` in the scenario, or `accessLogFile: /dev/stdout` in the mesh config",
    );
}

#[test]
fn the_peer_is_in_the_gateways_log_or_it_is_not_shown() {
    let peer = |id: &str| Expectation::Peer(Text::literal(id));
    let id = "spiffe://cluster.local/ns/mesh-test/sa/sleep";
    says(
        &peer(id),
        false,
        &seed(),
        "not shown: the access log of istio-egressgateway.istio-system lacks %DOWNSTREAM_PEER_URI_SAN%
   try  `require access-log peer` in the scenario, or add %DOWNSTREAM_PEER_URI_SAN% to accessLogFormat",
    );
    let with_peer = |url: &str| {
        let found = recorded::run_with("san", "seed").into_iter().find(|recorded| recorded.url == url);
        found.unwrap().evidence
    };
    says(
        &peer(id),
        false,
        &with_peer(CNN),
        &format!("holds\n   path  sleep ✓ → istio-egressgateway:15443 ✓ → edition.cnn.com:443 ✓\n   peer  {id}"),
    );
    title(
        &peer("spiffe://cluster.local/ns/other/sa/sleep"),
        false,
        &with_peer(CNN),
        &format!("error[E0424]: expected peer spiffe://cluster.local/ns/other/sa/sleep, got {id}"),
    );
    title(
        &peer(id),
        false,
        &with_peer("https://httpbin.org/"),
        &format!("error[E0424]: expected peer {id}, but istio-egressgateway saw no client certificate"),
    );
}

#[test]
fn blocked_by_its_rule_and_no_other() {
    let by = |by| Expectation::Blocked(Some(by));
    for (run, url, rule) in [
        ("seed", "https://example.org/", BlockedBy::RegistryOnly),
        ("seed", "http://example.org/", BlockedBy::RegistryOnly),
        ("sidecar-only-system", "https://httpbin.org/", BlockedBy::SidecarScope),
        ("authz-deny", CNN, BlockedBy::Authorization),
        ("no15443", CNN, BlockedBy::NoRoute),
        ("trap2", CNN, BlockedBy::NoRoute),
    ] {
        let evidence = curl(run, url);
        holds(&by(rule), &evidence);
        holds(&Expectation::Blocked(None), &evidence);
        let other = if rule == BlockedBy::Network { BlockedBy::Upstream } else { BlockedBy::Network };
        let text = told(&by(other), false, &evidence);
        assert!(text.starts_with("error[E0420]: expected blocked by network, but it was blocked by "), "{text}");
    }
    let down = recorded::run_with("upstream-down", "seed").remove(0).evidence;
    holds(&by(BlockedBy::Upstream), &down);
}

#[test]
fn an_open_policy_is_named_when_nothing_is_blocked() {
    let text =
        told(&Expectation::Blocked(Some(BlockedBy::RegistryOnly)), false, &curl("allow-any", "https://example.org/"));
    assert!(text.starts_with("error[E0420]: expected blocked by REGISTRY_ONLY, but the site answered 200"), "{text}");
    assert!(text.contains("the outbound policy is ALLOW_ANY"), "{text}");
}

#[test]
fn a_log_line_is_looked_for_on_every_pod() {
    let log = |proxy: Workload, text: &str| Expectation::Log { proxy, matches: contains(text) };
    holds(&log(gateway(), "outbound|443||edition.cnn.com"), &seed());
    title(
        &log(gateway(), "example.org"),
        false,
        &seed(),
        "error[E0425]: expected a log line of istio-egressgateway.istio-system that contains \"example.org\", got 2 lines without it",
    );
    holds_negated(&log(gateway(), "example.org"), &seed());
}

// --- curl's own account

#[test]
fn status_in_words() {
    let status = |patterns: Vec<StatusPattern>| Expectation::Status(patterns);
    let blocked = curl("seed", "https://example.org/");
    holds(&status(vec![StatusPattern::Code(0)]), &blocked);
    holds(&status(vec![StatusPattern::Class(2)]), &seed());
    title(
        &status(vec![StatusPattern::Code(301), StatusPattern::Code(302)]),
        false,
        &seed(),
        "error[E0410]: expected status 301 or 302, got 200",
    );
    title(
        &status(vec![StatusPattern::Class(2)]),
        false,
        &blocked,
        "error[E0410]: expected status 2xx, got no response (curl exit 35: TLS handshake reset)",
    );
    title(&status(vec![StatusPattern::Code(200)]), true, &seed(), "error[E0410]: expected no status 200, but it is so");
}

#[test]
fn exit_in_words() {
    holds(&Expectation::Exit(vec![0]), &seed());
    title(&Expectation::Exit(vec![35]), false, &seed(), "error[E0411]: expected exit 35, got exit 0 and status 200");
    title(
        &Expectation::Exit(vec![0]),
        false,
        &curl("seed", "https://example.org/"),
        "error[E0411]: expected exit 0, got exit 35 (TLS handshake reset)",
    );
}

#[test]
fn ssl_verify_counts_only_after_a_handshake() {
    let verify = |wanted| Expectation::SslVerify(wanted);
    holds(&verify(0), &seed());
    title(
        &verify(0),
        false,
        &curl("seed", "http://example.org/"),
        "error[E0412]: expected ssl_verify 0, got no TLS: the URL is plain http",
    );
    title(
        &verify(0),
        false,
        &curl("notls-to-mutual", CNN),
        "error[E0412]: expected ssl_verify 0, got 20 (unable to get the local issuer certificate)",
    );
    let mut refused = seed();
    let transfer = &mut refused.probe.as_mut().unwrap().transfers[0];
    transfer["exitcode"] = json!(7);
    transfer["time_appconnect"] = json!(0.0);
    let text = told(&verify(0), false, &refused);
    assert!(text.contains("no TLS handshake") && text.contains("proves nothing"), "{text}");
}

#[test]
fn the_sites_own_certificate() {
    let certificate = |field, matches| Expectation::Certificate { field, matches };
    let mut evidence = seed();
    let certs = "Subject:CN = edition.cnn.com\nIssuer:O = Lab, CN = Outside CA\n\
                 X509v3 Subject Alternative Name:DNS:edition.cnn.com, DNS:*.api.cnn.com\n-----BEGIN CERTIFICATE-----\nx";
    evidence.probe.as_mut().unwrap().transfers[0]["certs"] = json!(certs);
    holds(&certificate(CertificateField::San, equals("edition.cnn.com")), &evidence);
    holds(&certificate(CertificateField::San, equals("data.api.cnn.com")), &evidence);
    holds(&certificate(CertificateField::Issuer, equals("Outside CA")), &evidence);
    says(
        &certificate(CertificateField::San, equals("cnn.com")),
        false,
        &evidence,
        "error[E0417]: expected certificate san == \"cnn.com\", got \"edition.cnn.com, *.api.cnn.com\"
   certificate  subject \"CN = edition.cnn.com\", issuer \"O = Lab, CN = Outside CA\"
   path  sleep ✓ → istio-egressgateway:15443 ✓ → edition.cnn.com:443 ✓
   log   sidecar: no flag  outbound|15443|cnn|istio-egressgateway.istio-system.svc.cluster.local  to 10.244.0.30:15443  SNI edition.cnn.com
   log   gateway: no flag  outbound|443||edition.cnn.com  to 203.0.113.11:443  SNI edition.cnn.com",
    );
    says(
        &certificate(CertificateField::Subject, contains("cnn")),
        false,
        &seed(),
        "not shown: curl did not say which certificate it saw\n   try  curl 7.88 or newer with OpenSSL or GnuTLS says it",
    );
}

fn printed(stdout: &str, stderr: &str) -> Evidence {
    let mut evidence = seed();
    let probe = evidence.probe.as_mut().unwrap();
    probe.stdout = stdout.into();
    probe.stderr = stderr.into();
    evidence
}

#[test]
fn headers_from_wherever_they_are_shown() {
    let header = |name: &str, matches| Expectation::Header { name: name.into(), matches };
    let plain =
        printed("HTTP/1.1 301 Moved\r\nServer: first\r\n\r\nHTTP/2 200\r\nserver: envoy\r\n\r\nbody server: no\n", "");
    holds(&header("Server", Some(equals("envoy"))), &plain);
    holds(&header("server", None), &printed("", "> GET /\n< HTTP/2 200\n< server: envoy\n"));
    title(
        &header("server", Some(equals("nginx"))),
        false,
        &plain,
        "error[E0413]: expected header server == \"nginx\", got \"envoy\"",
    );
    title(
        &header("x-absent", None),
        false,
        &plain,
        "error[E0413]: expected header x-absent, the response has no such header",
    );
    says(
        &header("server", None),
        false,
        &printed("no headers", ""),
        "not shown: the command's output shows no headers\n   try  add `-i` or `-I` to curl",
    );
}

#[test]
fn bodies_and_outputs() {
    let evidence = printed("HTTP/2 200\r\nx: y\r\n\r\nline one\nline 둘\n", "a warning");
    holds(&Expectation::Body(equals("line one\nline 둘")), &evidence);
    holds(&Expectation::Stdout(contains("HTTP/2")), &evidence);
    holds(&Expectation::Stderr(TextMatch::Matches("^a w.*g$".into())), &evidence);
    let text = told(&Expectation::Body(equals("line one\nline 셋")), false, &evidence);
    assert!(
        text.starts_with("error[E0414]: expected body == \"line one\\nline 셋\", got \"line one\\nline 둘\""),
        "{text}"
    );
    assert!(text.contains("     line one\n   - line 셋\n   + line 둘"), "{text}");
    let mut silent = printed("", "");
    silent.probe.as_mut().unwrap().command = ["curl", "-so", "/dev/null", CNN].map(String::from).to_vec();
    says(
        &Expectation::Body(contains("x")),
        false,
        &silent,
        "not shown: curl's `-o` leaves no body in its output\n   try  drop `-o` from the command",
    );
}

#[test]
fn outputs_are_shown_without_their_escapes() {
    let text = told(&Expectation::Stdout(contains("absent")), false, &printed("\x1b[31mred\x07\u{202e}", ""));
    assert!(!text.contains('\x1b') && !text.contains('\x07') && text.contains("␛[31mred"), "{text}");
}

#[test]
fn captures_stand_in_texts() {
    let mut evidence = printed("value 42", "");
    let text = Text(vec![Part::Literal("value ".into()), Part::Capture("n".into())]);
    let what = Expectation::Stdout(TextMatch::Equals(text));
    says(&what, false, &evidence, "not shown: the capture `n` has no value yet\n   try  capture it before this line");
    evidence.captures.insert("n".into(), Captured::Text("42".into()));
    holds(&what, &evidence);
}

#[test]
fn other_programs_give_no_account() {
    let probe = Probe { workload: Some(sleep()), command: vec!["wget".into()], ..Probe::default() };
    let evidence = Evidence { probe: Some(probe), ..seed() };
    says(
        &Expectation::Status(vec![StatusPattern::Code(200)]),
        false,
        &evidence,
        "not shown: `wget` is not curl: it gives no account of its transfers
   try  use curl, or judge by `expect exit` and `expect stdout`",
    );
    let text = told(&Expectation::Direct, false, &evidence);
    assert!(text.starts_with("not shown: `wget` does not say which connection was its own"), "{text}");
}

#[test]
fn outside_the_mesh_there_is_no_path() {
    let mut evidence = seed();
    evidence.probe.as_mut().unwrap().workload = None;
    says(
        &Expectation::Direct,
        false,
        &evidence,
        "not shown: `exec local` runs outside the mesh: no sidecar saw it
   try  run the command in a workload of the mesh, e.g. `exec sleep curl …`",
    );
}

#[test]
fn evidence_of_nothing_never_passes() {
    let what = [
        Expectation::Status(vec![StatusPattern::Code(0)]),
        Expectation::Exit(vec![0]),
        Expectation::SslVerify(0),
        Expectation::Blocked(None),
        Expectation::Direct,
        Expectation::Path(vec![hop("a", 0), hop("b", 1)]),
        Expectation::Path(vec![]),
        Expectation::Peer(Text::literal("")),
        Expectation::Via { gateway: gateway(), port: None },
        Expectation::Log { proxy: gateway(), matches: contains("") },
        Expectation::Stdout(contains("")),
        Expectation::Header { name: String::new(), matches: None },
        listener(0, None, vec![]),
        cluster("", 0, vec![]),
        Expectation::List { list: ProxyList::Clusters, on: None, compare: ListCompare::Count(0) },
    ];
    for what in what {
        for negated in [false, true] {
            let text = told(&what, negated, &Evidence::default());
            assert!(!text.starts_with("holds"), "{what:?} {negated}: {text}");
        }
    }
}

/// Every recorded run is judged without a panic by every way of asking, with any one kind of evidence gone.
#[test]
fn missing_evidence_is_never_a_panic() {
    for mut recorded in run("seed") {
        recorded.evidence.services.clear();
        recorded.evidence.istio.clear();
        for pods in recorded.evidence.proxies.values_mut() {
            for pod in pods {
                pod.log = vec!["not an access-log line".into(), "\u{0}\u{1b}".into(), String::new()];
            }
        }
        let _ = told(&Expectation::Direct, false, &recorded.evidence);
        let _ = told(&Expectation::Blocked(None), true, &recorded.evidence);
    }
}

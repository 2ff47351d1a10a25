//! Expectations about state (listener, cluster, lists), each passing and failing, with the exact text.

#![allow(clippy::unwrap_used)]

#[path = "expect/recorded.rs"]
mod recorded;

use egress_scn::envoy::Dump;
use egress_scn::expect::{Captured, Evidence, list};
use egress_scn::plan::{Expectation, Fact, ListCompare, Operand, ProxyList, Workload};
use recorded::{curl, gateway, sleep, told};
use serde_json::json;
use std::sync::Arc;

const CNN: &str = "https://edition.cnn.com/";

fn listener(port: u16, on: Option<Workload>, facts: Vec<Fact>) -> Expectation {
    Expectation::Listener { port, on, facts }
}

fn cluster(host: &str, port: u16, facts: Vec<Fact>) -> Expectation {
    Expectation::Cluster { host: host.into(), port: Some(port), subset: None, on: None, facts }
}

fn to(host: &str) -> Fact {
    Fact::To { host: host.into(), subset: None }
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

/// The second pod of the gateway, without listeners.
fn with_second_gateway_pod(mut evidence: Evidence) -> Evidence {
    let pods = evidence.proxies.get_mut(&gateway().to_string()).unwrap();
    let mut second = pods[0].clone();
    second.pod = "istio-egressgateway-1".into();
    second.dump = Some(Arc::new(Dump::read(&json!({"configs": []}))));
    pods.push(second);
    evidence
}

// --- listener

#[test]
fn a_listener_that_requires_a_client_certificate() {
    let facts = vec![Fact::RequireClientCertificate, Fact::Mode("ISTIO_MUTUAL".into()), to("edition.cnn.com")];
    says(
        &listener(15443, None, facts),
        false,
        &seed(),
        "holds\n   listener  15443 on istio-egressgateway.istio-system: 1 chain",
    );
}

#[test]
fn a_gateway_port_is_the_servers_and_envoy_may_bind_another() {
    let facts = vec![Fact::Mode("passthrough".into()), Fact::Sni("httpbin.org".into()), Fact::Bound(8443)];
    says(
        &listener(443, None, facts),
        false,
        &seed(),
        "holds\n   listener  443 (bound 8443) on istio-egressgateway.istio-system: 1 chain",
    );
}

#[test]
fn no_listener_at_all() {
    says(
        &listener(15443, None, vec![Fact::RequireClientCertificate]),
        false,
        &curl("trap2", CNN),
        "error[E0430]: expected listener 15443 requireClientCertificate, but istio-egressgateway.istio-system has none
   listener 0.0.0.0_15443 on istio-egressgateway.istio-system
   - requireClientCertificate: true
   + (no listener)
   why   istio-egressgateway.istio-system has no listener from istiod at all: no Gateway and VirtualService fit it
   why   the server on 15443 of Gateway mesh-test/istio-egressgateway-cnn terminates TLS (ISTIO_MUTUAL), so the `tls` \
         route of VirtualService mesh-test/direct-cnn-through-egress-gateway yields no filter chain and istiod omits the \
         listener (0 chains). Behind a terminating server the leg is `tcp`.
   try  kubectl -n istio-system logs deploy/istiod | grep omitting",
    );
}

#[test]
fn a_listener_of_another_mode() {
    says(
        &listener(443, None, vec![Fact::Sni("httpbin.org".into()), Fact::Mode("ISTIO_MUTUAL".into())]),
        false,
        &seed(),
        "error[E0430]: expected listener 443 sni httpbin.org mode ISTIO_MUTUAL, but it is not so on istio-egressgateway.istio-system
   listener 0.0.0.0_8443 on istio-egressgateway.istio-system
   filter chain httpbin.org, PASSTHROUGH → httpbin.org:443
     sni: httpbin.org
   - mode: ISTIO_MUTUAL
   + mode: PASSTHROUGH",
    );
}

#[test]
fn one_plain_chain_beside_an_mtls_one_is_not_required() {
    let evidence = curl("shared443", CNN);
    title(
        &listener(443, None, vec![Fact::RequireClientCertificate]),
        false,
        &evidence,
        "error[E0430]: expected listener 443 requireClientCertificate, but it is not so on istio-egressgateway.istio-system",
    );
    let chosen = vec![Fact::RequireClientCertificate, Fact::Sni("edition.cnn.com".into()), Fact::Chains(2)];
    holds(&listener(443, None, chosen), &evidence);
}

#[test]
fn a_sidecars_listener_leads_to_the_gateways_subset() {
    let leads = |host: &str, subset: &str| Fact::To { host: host.into(), subset: Some(subset.into()) };
    let sni = || Fact::Sni("edition.cnn.com".into());
    let evidence = seed();
    for host in [
        "istio-egressgateway.istio-system.svc.cluster.local",
        "istio-egressgateway.istio-system",
        "istio-egressgateway",
    ] {
        holds(&listener(443, Some(sleep()), vec![sni(), leads(host, "cnn")]), &evidence);
    }
    says(
        &listener(443, Some(sleep()), vec![sni(), leads("istio-egressgateway", "httpbin")]),
        false,
        &evidence,
        "error[E0430]: expected listener 443 sni edition.cnn.com to istio-egressgateway subset httpbin, but it is not so on sleep.mesh-test
   listener 0.0.0.0_443 on sleep.mesh-test
   - sni: edition.cnn.com
   - to: istio-egressgateway subset httpbin
   + edition.cnn.com, PASSTHROUGH → istio-egressgateway.istio-system.svc.cluster.local:15443 subset cnn
   + httpbin.org, PASSTHROUGH → istio-egressgateway.istio-system.svc.cluster.local:443 subset httpbin
   + PassthroughFilterChain, none → BlackHoleCluster",
    );
}

#[test]
fn no_listener_is_judged_too() {
    holds_negated(&listener(15443, None, vec![]), &curl("trap2", CNN));
    says(
        &listener(15443, None, vec![]),
        true,
        &seed(),
        "error[E0430]: expected no listener 15443, but istio-egressgateway.istio-system has it
   listener  15443 on istio-egressgateway.istio-system: 1 chain",
    );
}

#[track_caller]
fn holds_negated(what: &Expectation, evidence: &Evidence) {
    let text = told(what, true, evidence);
    assert!(text.starts_with("holds"), "{text}");
}

#[test]
fn a_fact_must_hold_on_every_pod() {
    title(
        &listener(15443, None, vec![Fact::RequireClientCertificate]),
        false,
        &with_second_gateway_pod(seed()),
        "error[E0430]: expected listener 15443 requireClientCertificate, but istio-egressgateway.istio-system (pod \
         istio-egressgateway-1) has none",
    );
}

#[test]
fn without_a_dump_nothing_is_shown() {
    let mut evidence = seed();
    evidence.proxies.clear();
    says(
        &listener(15443, None, vec![]),
        true,
        &evidence,
        "not shown: istio-egressgateway.istio-system shows no Envoy configuration
   try  look at `kubectl -n istio-system get pods`: does istio-egressgateway run with a proxy?",
    );
}

// --- cluster

#[test]
fn a_cluster_and_its_facts() {
    let evidence = seed();
    holds(&cluster("httpbin.org", 443, vec![Fact::Type("STRICT_DNS".into()), Fact::Tls("none".into())]), &evidence);
    let leg = Expectation::Cluster {
        host: "istio-egressgateway.istio-system.svc.cluster.local".into(),
        port: Some(15443),
        subset: Some("cnn".into()),
        on: Some(sleep()),
        facts: vec![
            Fact::Tls("ISTIO_MUTUAL".into()),
            Fact::Sni("edition.cnn.com".into()),
            Fact::San("spiffe://cluster.local/ns/istio-system/sa/istio-egressgateway-service-account".into()),
            Fact::Alpn("istio".into()),
        ],
    };
    holds(&leg, &evidence);
    says(
        &cluster("httpbin.org", 443, vec![Fact::Type("EDS".into()), Fact::Tls("simple".into())]),
        false,
        &evidence,
        "error[E0431]: expected cluster httpbin.org:443 type EDS tls SIMPLE, but it is not so on sleep.mesh-test
   cluster outbound|443||httpbin.org on sleep.mesh-test
   - type: EDS
   - tls: SIMPLE
   + type: STRICT_DNS
   + tls: none",
    );
}

#[test]
fn a_cluster_that_is_not_there() {
    let evidence = seed();
    says(
        &cluster("httpbin.og", 443, vec![]),
        false,
        &evidence,
        "error[E0431]: expected cluster httpbin.og:443, but sleep.mesh-test has none\n   why   did you mean httpbin.org?",
    );
    says(
        &cluster("httpbin.org", 8443, vec![]),
        false,
        &evidence,
        "error[E0431]: expected cluster httpbin.org:8443, but sleep.mesh-test has none\n   why   sleep.mesh-test has httpbin.org:443",
    );
    says(
        &cluster("istio-egressgateway.istio-system", 443, vec![]),
        false,
        &evidence,
        "error[E0431]: expected cluster istio-egressgateway.istio-system:443, but sleep.mesh-test has none
   why   clusters have the whole names of Services
   try  istio-egressgateway.istio-system.svc.cluster.local",
    );
}

#[test]
fn auto_mtls_depends_on_the_endpoint() {
    says(
        &cluster("redis.other.svc.cluster.local", 6379, vec![Fact::Tls("ISTIO_MUTUAL".into())]),
        false,
        &seed(),
        "error[E0431]: expected cluster redis.other.svc.cluster.local:6379 tls ISTIO_MUTUAL, but it is not so on sleep.mesh-test
   cluster outbound|6379||redis.other.svc.cluster.local on sleep.mesh-test
   - tls: ISTIO_MUTUAL
   + tls: ISTIO_MUTUAL or none, by endpoint (auto mTLS)",
    );
}

#[test]
fn no_cluster_needs_proof_that_it_could_have_been() {
    let evidence = curl("sidecar-only-system", "https://httpbin.org/");
    says(
        &cluster("httpbin.org", 443, vec![]),
        true,
        &evidence,
        "holds\n   no cluster  httpbin.org:443 on sleep.mesh-test; ServiceEntry mesh-test/httpbin-ext has the host",
    );
    says(
        &cluster("httpbin.other.svc.cluster.local", 8000, vec![]),
        true,
        &evidence,
        "holds\n   no cluster  httpbin.other.svc.cluster.local:8000 on sleep.mesh-test; Service other/httpbin exists",
    );
    says(
        &cluster("htpbin.org", 443, vec![]),
        true,
        &evidence,
        "error[E0431]: expected no cluster htpbin.org:443 on sleep.mesh-test: it is not there, but nothing shows that it could have been
   why   no Service or ServiceEntry has this host; did you mean httpbin.org?",
    );
    title(
        &cluster("httpbin.org", 443, vec![]),
        true,
        &seed(),
        "error[E0431]: expected no cluster httpbin.org:443, but sleep.mesh-test has it",
    );
}

#[test]
fn a_capture_proves_that_a_cluster_could_have_been() {
    let mut evidence = curl("sidecar-only-system", "https://httpbin.org/");
    evidence.istio.clear();
    evidence.proxies.remove(&gateway().to_string());
    let names = vec!["outbound|443||httpbin.org".to_string()];
    evidence.captures.insert("before".into(), Captured::List(names));
    says(
        &cluster("httpbin.org", 443, vec![]),
        true,
        &evidence,
        "holds\n   no cluster  httpbin.org:443 on sleep.mesh-test; the capture `before` had it",
    );
}

// --- lists

fn compare(compare: ListCompare) -> Expectation {
    Expectation::List { list: ProxyList::Clusters, on: Some(sleep()), compare }
}

#[test]
fn lists_are_counted_and_compared() {
    let mut evidence = seed();
    let names = list(&Dump::read(&recorded::case("seed")["sleep"]), ProxyList::Clusters);
    assert_eq!(names.len(), 20, "as istiod's own dump has them");
    assert_eq!(list(&Dump::read(&recorded::case("seed")["sleep"]), ProxyList::Routes), ["80"]);
    assert!(
        list(&Dump::read(&recorded::case("seed")["egressgateway"]), ProxyList::Listeners)
            .contains(&"0.0.0.0_8443".to_string())
    );
    let mut more = names.clone();
    more.push("outbound|80||gone.example".into());
    evidence.captures.insert("before".into(), Captured::List(more));
    evidence.captures.insert("same".into(), Captured::List(names));
    let capture = |name: &str| Operand::Capture(name.into());

    holds(&compare(ListCompare::Count(20)), &evidence);
    title(
        &compare(ListCompare::Count(16)),
        false,
        &evidence,
        "error[E0432]: expected 16 clusters on sleep.mesh-test, got 20",
    );
    says(
        &compare(ListCompare::FewerThan(capture("before"))),
        false,
        &evidence,
        "holds\n   clusters  21 → 20  on sleep.mesh-test",
    );
    says(
        &compare(ListCompare::FewerThan(capture("same"))),
        false,
        &evidence,
        "error[E0432]: expected fewer than 20 clusters on sleep.mesh-test, got 20\n   20 → 20",
    );
    holds(&compare(ListCompare::SameAs(capture("same"))), &evidence);
    says(
        &compare(ListCompare::SameAs(capture("before"))),
        false,
        &evidence,
        "error[E0432]: expected the same 21 clusters on sleep.mesh-test, got 20\n   21 → 20\n   - outbound|80||gone.example",
    );
    says(
        &compare(ListCompare::FewerThan(capture("unknown"))),
        false,
        &evidence,
        "not shown: the capture `unknown` has no value yet\n   try  capture it before this line",
    );
}

//! Calls through the Envoys of Istio's own simulation tests: the compiler generates the configuration of the proxy from
//! the same inputs, and each call must end where those tests say.
//!
//! The cases are not part of this repository. `EGRESS_SCN_SIMULATION=<folder> cargo test --test simulation -- --nocapture`
//! reads them in place and prints the figures; without the variable the test says that it did not run.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "simulation/traffic.rs"]
mod traffic;

use egress_scn::mesh::{Compiler, Proxy, ProxyType, Settings, World};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use traffic::{Call, Direction, Encryption, Envoy, Failure, Outcome, Protocol};

const FOLDER: &str = "EGRESS_SCN_SIMULATION";

/// Expectations that are known to be unmet, each with the reason: `case: expectation`.
const UNMET: &[(&str, &str)] = &[];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn world(case: &Value) -> World {
    let written = serde_yaml::Deserializer::from_str(text(&case["k8sYaml"]))
        .filter_map(|document| Value::deserialize(document).ok())
        .filter(|value| !value.is_null());
    let objects = list(&case["configs"]).iter().chain(list(&case["k8sObjects"])).cloned().chain(written);
    let mut mesh_config = case["mesh"].clone();
    // Written without zero values, and REGISTRY_ONLY is the zero of its kind.
    if mesh_config["outboundTrafficPolicy"] == serde_json::json!({}) {
        mesh_config["outboundTrafficPolicy"] = serde_json::json!({"mode": "REGISTRY_ONLY"});
    }
    let mut objects: Vec<Value> = objects.collect();
    if text(&case["proxy"]["metadata"]["DNS_AUTO_ALLOCATE"]) == "true" {
        allocate(&mut objects);
    }
    World { objects: objects.into_iter().map(Arc::new).collect(), mesh_config }
}

/// Gives ServiceEntries the addresses that istiod without its allocating controller would: each entry takes a slot by
/// the FNV-1a hash of namespace and host, or by a second hash when it is taken; entries of one host share the first slot.
fn allocate(objects: &mut [Value]) {
    const SLOTS: u32 = 256 * 254;
    const PRIME: u32 = 65_011;
    let key = |o: &Value| format!("{}/{}", text(&o["metadata"]["namespace"]), text(&o["spec"]["hosts"][0]));
    let mut taken: BTreeMap<u32, String> = BTreeMap::new();
    for key in objects.iter().filter(|o| text(&o["kind"]) == "ServiceEntry").map(key) {
        let hash = key.bytes().fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
        let again = |round: u32| hash.wrapping_add(round.wrapping_mul(PRIME - hash % PRIME)) % (SLOTS - 1);
        let free = std::iter::once(hash % SLOTS).chain((1..).map(again)).find(|slot| !taken.contains_key(slot));
        taken.insert(free.expect("a free slot"), key);
    }
    for entry in objects.iter_mut().filter(|o| text(&o["kind"]) == "ServiceEntry") {
        let own = key(entry);
        let slot = taken.iter().find(|(_, key)| **key == own).map_or(0, |(slot, _)| slot + 1);
        let slot = if slot.is_multiple_of(255) { slot + 1 } else { slot };
        let value = format!("240.240.{}.{}", slot / 255, slot % 255);
        entry["status"] = serde_json::json!({"addresses": [{"host": entry["spec"]["hosts"][0], "value": value}]});
    }
}

fn proxy(of: &Value) -> Proxy {
    let strings = |value: &Value| -> BTreeMap<String, String> {
        value.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), text(v).to_owned())).collect()
    };
    let metadata = of["metadata"].as_object().cloned().unwrap_or_default();
    Proxy {
        kind: if text(&of["type"]) == "router" { ProxyType::Router } else { ProxyType::Sidecar },
        name: text(&of["id"]).split('.').next().unwrap_or("").to_owned(),
        namespace: text(&of["namespace"]).to_owned(),
        ip: text(&of["ips"][0]).to_owned(),
        labels: strings(&of["labels"]),
        service_account: "default".to_owned(),
        metadata: metadata.into_iter().collect(),
    }
}

/// A call with what the tests leave out: a mesh client's ALPN, a TLS client's SNI.
fn call(given: &Value) -> Call {
    let or =
        |value: &Value, default: &str| if text(value).is_empty() { default.to_owned() } else { text(value).to_owned() };
    let encryption = match text(&given["tls"]) {
        "tls" => Encryption::Tls,
        // Only TLS can send a server name.
        "" if !text(&given["sni"]).is_empty() => Encryption::Tls,
        "mtls" => Encryption::Mutual,
        _ => Encryption::Plaintext,
    };
    let protocol = match text(&given["protocol"]) {
        "http" => Protocol::Http,
        "http2" => Protocol::Http2,
        _ => Protocol::Tcp,
    };
    let alpn = match (encryption, protocol) {
        (Encryption::Plaintext, _) | (Encryption::Tls, Protocol::Tcp) => "",
        (Encryption::Tls, Protocol::Http) => "http/1.1",
        (Encryption::Tls, Protocol::Http2) => "h2",
        (Encryption::Mutual, Protocol::Http) => "istio-http/1.1",
        (Encryption::Mutual, Protocol::Http2) => "istio-h2",
        (Encryption::Mutual, Protocol::Tcp) => "istio",
    };
    let host = text(&given["host"]).to_owned();
    let sni = or(&given["sni"], if encryption == Encryption::Tls { &host } else { "" });
    Call {
        address: or(&given["address"], "1.3.3.7").parse().expect("an IP address"),
        port: given["port"].as_u64().expect("a port"),
        direction: if text(&given["mode"]) == "inbound" { Direction::Inbound } else { Direction::Outbound },
        protocol,
        encryption,
        alpn: or(&given["alpn"], alpn),
        sni,
        host,
        path: or(&given["path"], "/"),
    }
}

fn failure(outcome: &Outcome) -> &'static str {
    match outcome.failure {
        None => "",
        Some(Failure::NoListener) => "no listener matched",
        Some(Failure::NoFilterChain) => "no filter chains matched",
        Some(Failure::SeveralFilterChains) => "multiple filter chains matched",
        Some(Failure::NoTls) => "invalid TLS",
        Some(Failure::OtherTls) => "invalid mTLS",
        Some(Failure::Protocol) => "protocol error",
        Some(Failure::NoVirtualHost) => "no virtual host matched",
        Some(Failure::RedirectToHttps) => "tls required, sending 301",
        Some(Failure::NoRoute) => "no route matched",
    }
}

/// What an outcome has otherwise than expected; fields that are not given count only when the expectation is strict.
fn differences(expected: &Value, outcome: &Outcome) -> Vec<String> {
    let strict = expected["strict"] == true;
    let fields = [
        ("error", failure(outcome)),
        ("listener", &outcome.listener),
        ("filterChain", &outcome.filter_chain),
        ("routeConfig", &outcome.route_config),
        ("virtualHost", &outcome.virtual_host),
        ("route", &outcome.route),
        ("cluster", &outcome.cluster),
    ];
    fields
        .into_iter()
        .filter(|(name, got)| {
            let wanted = text(&expected[*name]);
            wanted != *got && (strict || *name == "error" || !wanted.is_empty())
        })
        .map(|(name, got)| format!("{name}: expected {:?}, got {got:?}", text(&expected[name])))
        .collect()
}

/// Every expectation of a case by name, with what differs.
fn run(case: &Value) -> Vec<(String, Vec<String>)> {
    let world = world(case);
    // Istio's tests of Sidecar ingress TLS switch it on.
    let settings = Settings {
        reads_files: true,
        tls_on_sidecar_ingress: text(&case["test"]).starts_with("TestInboundSidecarTLSModes"),
    };
    let generated = Compiler::with(&world, settings).compile(&proxy(&case["proxy"]));
    let envoy = Envoy {
        listeners: generated.listeners.iter().map(|l| &*l.body).collect(),
        routes: generated.routes.iter().map(|r| &*r.body).collect(),
    };
    list(&case["expect"])
        .iter()
        .map(|expect| {
            let outcome = envoy.takes(&call(&expect["call"]));
            (text(&expect["name"]).to_owned(), differences(&expect["result"], &outcome))
        })
        .collect()
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{FOLDER}={}: {e}", folder.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{FOLDER}={} holds no cases", folder.display());
    found
}

#[test]
fn calls_end_where_istios_simulation_says() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        // Written past the capture of the test's output, so that nobody takes this for a pass.
        let said =
            format!("\nNOT RUN: the simulation cases are not in this repository; {FOLDER} must name their folder.\n");
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return;
    };
    let known: BTreeMap<&str, &str> = UNMET.iter().copied().collect();
    let mut figures: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut unmet: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in cases(&folder) {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let kind = text(&case["test"]).split('/').next().unwrap_or("").to_owned();
        for (name, differs) in run(&case) {
            let of_kind = figures.entry(kind.clone()).or_default();
            of_kind.0 += 1;
            if differs.is_empty() {
                of_kind.1 += 1;
            } else {
                unmet.insert(format!("{}: {name}", text(&case["test"])), differs);
            }
        }
    }
    let (all, met) = figures.values().fold((0, 0), |(all, met), (a, m)| (all + a, met + m));
    for (kind, (all, met)) in &figures {
        println!("{kind}: {met} of {all}");
    }
    println!("all: {met} of {all}");
    let surprises: Vec<String> = unmet
        .iter()
        .filter(|(name, _)| !known.contains_key(name.as_str()))
        .map(|(name, differs)| format!("{name}\n    {}", differs.join("\n    ")))
        .collect();
    assert!(surprises.is_empty(), "{} expectations are unmet:\n{}", surprises.len(), surprises.join("\n"));
    let met_after_all: Vec<&&str> = known.keys().filter(|name| !unmet.contains_key(**name)).collect();
    assert!(met_after_all.is_empty(), "met, but listed as unmet: {met_after_all:?}");
}

/// A configuration to call into: TLS by name, HTTP by host and path.
fn small_envoy() -> (Vec<Value>, Vec<Value>) {
    let proxy = |cluster: &str| serde_json::json!([{"name": "envoy.filters.network.tcp_proxy", "typedConfig": {"cluster": cluster}}]);
    let http = serde_json::json!([{"name": "envoy.filters.network.http_connection_manager",
        "typedConfig": {"rds": {"routeConfigName": "80"}}}]);
    let listeners = serde_json::json!([
        {"name": "tls", "address": {"socketAddress": {"address": "0.0.0.0", "portValue": 443}},
         "listenerFilters": [{"name": "envoy.filters.listener.tls_inspector"}],
         "filterChains": [
            {"name": "any", "filterChainMatch": {"serverNames": ["*.example"]}, "filters": proxy("any")},
            {"name": "one", "filterChainMatch": {"serverNames": ["one.example"]}, "filters": proxy("one")}],
         "defaultFilterChain": {"name": "rest", "filters": proxy("rest")}},
        {"name": "http", "address": {"socketAddress": {"address": "0.0.0.0", "portValue": 80}},
         "filterChains": [{"filters": http}]},
    ]);
    let routes = serde_json::json!([{"name": "80", "virtualHosts": [
        {"name": "rest", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "rest"}}]},
        {"name": "one", "domains": ["one.example"], "routes": [{"match": {"prefix": "/a"}, "route": {"cluster": "a"}}]}]}]);
    (listeners.as_array().unwrap().clone(), routes.as_array().unwrap().clone())
}

#[test]
fn the_simulator_chooses_as_envoy_does() {
    let (listeners, routes) = small_envoy();
    let envoy = Envoy { listeners: listeners.iter().collect(), routes: routes.iter().collect() };
    let outcome = |fields: Value| {
        let outcome = envoy.takes(&call(&fields));
        (outcome.cluster.clone(), outcome.failure)
    };
    let tls = |sni: &str| outcome(serde_json::json!({"port": 443, "tls": "tls", "sni": sni}));
    assert_eq!(tls("one.example"), ("one".to_owned(), None));
    assert_eq!(tls("two.example"), ("any".to_owned(), None));
    assert_eq!(tls("else.where"), ("rest".to_owned(), None));
    let http = |host: &str, path: &str| {
        outcome(serde_json::json!({"port": 80, "protocol": "http", "host": host, "path": path}))
    };
    assert_eq!(http("one.example", "/a/b"), ("a".to_owned(), None));
    assert_eq!(http("one.example", "/b"), (String::new(), Some(Failure::NoRoute)));
    assert_eq!(http("two.example", "/b"), ("rest".to_owned(), None));
    assert_eq!(outcome(serde_json::json!({"port": 80, "protocol": "tcp"})).1, Some(Failure::Protocol));
    assert_eq!(outcome(serde_json::json!({"port": 81, "protocol": "tcp"})).1, Some(Failure::NoListener));
}

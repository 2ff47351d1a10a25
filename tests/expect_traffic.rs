//! Judgements against what real traffic did: each probe of `expect/traffic.json` was made by real curl through real
//! Envoys with the generated configuration of the same name (`golden/cases/random-*`). The log lines are made of the
//! fields that were recorded of them.

#![allow(clippy::unwrap_used)]

mod mesh_case;
#[path = "expect/recorded.rs"]
mod recorded;

use egress_scn::envoy::Dump;
use egress_scn::expect::{Evidence, Probe, ProxyPod};
use egress_scn::mesh::compile;
use egress_scn::plan::{BlockedBy, Expectation};
use recorded::{gateway, sleep, told};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// The fields that were recorded, and the addresses that a join needs.
const FORMAT: &str = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
    \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% \
    %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

const CLIENT: &str = "10.244.0.10:40000";
const LEG: &str = "10.244.0.10:50000";

fn json_file(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The dumps of both proxies, logging in [`FORMAT`], and the objects.
struct Case {
    dumps: Vec<Value>,
    objects: Vec<Value>,
}

fn case(name: &str) -> Case {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let inputs = json_file(&golden.join(format!("cases/random-{name}.json")));
    let world = mesh_case::world_of(&inputs["inputs"], &golden.join("manifests"));
    let dump = |index: usize| {
        let proxy = mesh_case::proxy(&world, index).unwrap();
        let mut dump = mesh_case::dump(&compile(&world, &proxy));
        without_loggers(&mut dump);
        let first = dump.pointer_mut("/configs/1/dynamicListeners/0/activeState/listener");
        if let Some(listener) = first {
            let kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
            let format = json!({"textFormatSource": {"inlineString": FORMAT}});
            listener["accessLog"] = json!([{"typedConfig": {"@type": kind, "logFormat": format}}]);
        }
        dump
    };
    Case { dumps: vec![dump(0), dump(1)], objects: world.objects.iter().map(|object| (**object).clone()).collect() }
}

fn without_loggers(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.remove("accessLog");
            object.values_mut().for_each(without_loggers);
        }
        Value::Array(items) => items.iter_mut().for_each(without_loggers),
        _ => {}
    }
}

/// A line of [`FORMAT`].
fn line(record: &Value, host: &str, local: &str, remote: &str, sni: &str, route: &str) -> String {
    let text = |name: &str| record[name].as_str().unwrap_or("-").replace(' ', "_");
    let code = match &record["code"] {
        Value::Null => "0".to_string(),
        code => code.to_string().trim_matches('"').to_string(),
    };
    format!(
        "{code} {} {} {} \"{}\" \"{host}\" {} {local} {remote} {sni} {route}",
        text("flags"),
        text("details"),
        text("term"),
        text("tls_reason"),
        text("cluster")
    )
}

fn evidence(case: &Case, probe: &Value) -> Evidence {
    let url = probe["probe"].as_str().unwrap().split(' ').next().unwrap();
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, port) = rest.split('/').next().unwrap().split_once(':').unwrap();
    let sni = if scheme == "https" { host } else { "-" };
    let record = probe["log"]["sleep"].as_array().unwrap().last().unwrap();
    let flags = |record: &Value| record["flags"].as_str().unwrap_or("-").to_string();
    let upstream = match probe["path"].as_str().unwrap() {
        "blocked" => "-".to_string(),
        path => match path.strip_prefix("via-gateway:") {
            Some(bound) => format!("10.244.0.30:{bound}"),
            None => format!("203.0.113.1:{port}"),
        },
    };
    let stood = upstream != "-" && !flags(record).contains("UF");
    let route = if probe["blocked_by"] == "direct-response" { "block_all" } else { "-" };
    let sidecar = line(record, &upstream, if stood { LEG } else { "-" }, CLIENT, sni, route);
    let onwards = |record: &Value| {
        let named = record["cluster"].as_str().is_some_and(|name| name.contains('|'));
        if named && !flags(record).contains("NC") { "203.0.113.1:443" } else { "-" }
    };
    let egress = probe["log"]["gateway"].as_array().cloned().unwrap_or_default();
    let egress =
        egress.iter().map(|record| line(record, onwards(record), "10.244.0.30:60000", LEG, sni, "-")).collect();
    let exit = i32::try_from(probe["exit"].as_i64().unwrap()).unwrap();
    let transfer = json!({
        "url_effective": url, "response_code": probe["http_code"], "exitcode": exit, "errormsg": probe["error"],
        "ssl_verify_result": probe["ssl_verify"], "local_ip": "10.244.0.10", "local_port": 40000,
    });
    let is_service = |object: &&Value| object["kind"] == "Service";
    let mut evidence = Evidence {
        probe: Some(Probe {
            workload: Some(sleep()),
            pod: "sleep-0".into(),
            command: vec!["curl".into(), url.into()],
            exit,
            transfers: vec![transfer],
            ..Probe::default()
        }),
        services: case.objects.iter().filter(is_service).cloned().collect(),
        istio: case.objects.iter().filter(|object| !is_service(object)).cloned().collect(),
        gateway: Some(gateway()),
        workload: Some(sleep()),
        ..Evidence::default()
    };
    let pod = |name: &str, ip: &str, index: usize, log: Vec<String>| {
        vec![ProxyPod {
            pod: name.into(),
            ip: ip.into(),
            dump: Some(Arc::new(Dump::read(&case.dumps[index]))),
            formats: None,
            log,
        }]
    };
    evidence.proxies.insert(sleep().to_string(), pod("sleep-0", "10.244.0.10", 0, vec![sidecar]));
    evidence.proxies.insert(gateway().to_string(), pod("istio-egressgateway-0", "10.244.0.30", 1, egress));
    evidence
}

/// What the judgements must say of a probe, by where it really went.
fn agrees(probe: &Value, evidence: &Evidence) -> bool {
    let holds = |what: &Expectation| told(what, false, evidence).starts_with("holds");
    let by = |rule: BlockedBy| holds(&Expectation::Blocked(Some(rule)));
    let blocked = || holds(&Expectation::Blocked(None));
    let direct = || holds(&Expectation::Direct);
    let via = || holds(&Expectation::Via { gateway: gateway(), port: None });
    let answered = probe["exit"] == 0 && probe["http_code"].as_i64().unwrap() < 400;
    let at_gateway = probe["log"]["gateway"].as_array().is_some_and(|lines| !lines.is_empty());
    match (probe["path"].as_str().unwrap(), probe["blocked_by"].as_str()) {
        ("blocked", Some("BlackHoleCluster" | "direct-response")) => {
            by(BlockedBy::RegistryOnly) || by(BlockedBy::SidecarScope)
        }
        ("blocked", Some("no-route" | "no-cluster")) => by(BlockedBy::NoRoute),
        ("blocked", Some("no-endpoints")) => by(BlockedBy::Upstream) || by(BlockedBy::NoRoute),
        // A redirect that the sidecar answers is an answer.
        ("blocked", _) => !blocked(),
        ("direct" | "passthrough", _) => !via() && (!answered || (direct() && !blocked())),
        (_, _) if answered => !direct() && !blocked() && (via() == at_gateway),
        _ => !direct(),
    }
}

#[test]
fn judgements_say_where_real_traffic_went() {
    let truth = json_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expect/traffic.json"));
    let (mut asked, mut wrong) = (0, vec![]);
    for (name, probes) in truth.as_object().unwrap() {
        let case = case(name);
        for probe in probes.as_array().unwrap() {
            asked += 1;
            let evidence = evidence(&case, probe);
            if !agrees(probe, &evidence) {
                let via = told(&Expectation::Via { gateway: gateway(), port: None }, false, &evidence);
                wrong.push(format!("{name} {}: {} {}\n{via}", probe["probe"], probe["path"], probe["blocked_by"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n\n"));
    assert_eq!(asked, 420);
}

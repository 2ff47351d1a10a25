#![allow(dead_code, reason = "each test binary uses a part of the recorded evidence")]
//! Evidence from recorded runs: curl's account and both proxies' access-log lines (`runs/`), with the config dumps
//! and objects of the same configuration (`cases/`).

use egress_scn::envoy::Dump;
use egress_scn::expect::{Evidence, Judgement, Probe, ProxyPod, judge};
use egress_scn::plan::{Expectation, Workload};
use serde_json::{Value, json};
use std::sync::Arc;

pub fn sleep() -> Workload {
    Workload { name: "sleep".into(), namespace: "mesh-test".into() }
}

pub fn gateway() -> Workload {
    Workload { name: "istio-egressgateway".into(), namespace: "istio-system".into() }
}

fn read(path: &str) -> String {
    let path = format!("{}/tests/expect/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The configuration of a case: both dumps and the objects that were applied.
pub fn case(name: &str) -> Value {
    serde_json::from_str(&read(&format!("cases/{name}.json"))).unwrap()
}

/// One curl of a recorded run.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub url: String,
    pub evidence: Evidence,
}

/// The format that some runs were recorded with has no addresses; they are put in front of each line here, so that
/// lines can be joined.
const BARE: &str = "flags=%RESPONSE_FLAGS% details=%RESPONSE_CODE_DETAILS% term=%CONNECTION_TERMINATION_DETAILS% \
    tfr=%UPSTREAM_TRANSPORT_FAILURE_REASON% cluster=%UPSTREAM_CLUSTER_RAW% sni=%REQUESTED_SERVER_NAME% \
    peer=%DOWNSTREAM_PEER_URI_SAN% subj=%DOWNSTREAM_PEER_SUBJECT% tls=%DOWNSTREAM_TLS_VERSION% \
    dtfr=%DOWNSTREAM_TRANSPORT_FAILURE_REASON% chain=%FILTER_CHAIN_NAME%\n";

const ADDRESSES: &str = "%DOWNSTREAM_REMOTE_ADDRESS% %UPSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST% ";

/// Every curl of a run, each with the configuration of `case`.
pub fn run_with(name: &str, case_name: &str) -> Vec<Recorded> {
    let text = read(&format!("runs/{name}.txt"));
    let (curls, logs) = text.split_once("[sidecar]").unwrap();
    let (sidecar, egress) = logs.split_once("[egw]").unwrap();
    let bare = sidecar.contains("flags=");
    let lines = |text: &str, from: u16| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.trim().is_empty()).enumerate();
        lines
            .map(|(index, line)| {
                let nth = u16::try_from(index).unwrap();
                match (bare, from) {
                    (false, _) => line.to_string(),
                    (true, 0) => {
                        let bound = if line.contains("outbound|443|") { 8443 } else { 15443 };
                        format!("10.244.0.10:{} 10.244.0.10:{} 10.244.0.30:{bound} {line}", 40000 + nth, 50000 + nth)
                    }
                    (true, _) => {
                        format!("10.244.0.10:{} 10.244.0.30:{} 203.0.113.10:443 {line}", 50000 + nth, 60000 + nth)
                    }
                }
            })
            .collect()
    };
    let (sidecar, egress) = (lines(sidecar, 0), lines(egress, 1));
    let mut case = case(case_name);
    if bare {
        let format = format!("{ADDRESSES}{BARE}");
        replace_formats(&mut case, &format);
    }
    let mut found = vec![];
    let mut rest = curls.lines().filter(|line| !line.trim().is_empty());
    while let (Some(head), Some(result)) = (rest.next(), rest.next()) {
        let url = head.strip_prefix("--- curl ").unwrap().to_string();
        // The lines are in the order of the curls.
        let local = local_port(&sidecar[found.len()], bare);
        let transfer = transfer(&url, result, local);
        let exit = i32::try_from(transfer["exitcode"].as_i64().unwrap()).unwrap();
        let probe = Probe {
            workload: Some(sleep()),
            pod: "sleep-0".into(),
            command: vec!["curl".into(), "-s".into(), url.clone()],
            exit,
            transfers: vec![transfer],
            ..Probe::default()
        };
        let pod = |name: &str, ip: &str, dump: &Value, log: &[String]| ProxyPod {
            pod: name.into(),
            ip: ip.into(),
            dump: Some(Arc::new(Dump::read(dump))),
            formats: None,
            log: log.to_vec(),
        };
        let objects = case["objects"].as_array().unwrap();
        let of =
            |services: bool| objects.iter().filter(move |o| (o["kind"] == "Service") == services).cloned().collect();
        let mut evidence = Evidence {
            probe: Some(probe),
            services: of(true),
            istio: of(false),
            gateway: Some(gateway()),
            workload: Some(sleep()),
            ..Evidence::default()
        };
        evidence.proxies.insert(sleep().to_string(), vec![pod("sleep-0", "10.244.0.10", &case["sleep"], &sidecar)]);
        evidence.proxies.insert(
            gateway().to_string(),
            vec![pod("istio-egressgateway-0", "10.244.0.30", &case["egressgateway"], &egress)],
        );
        found.push(Recorded { url, evidence });
    }
    found
}

pub fn run(name: &str) -> Vec<Recorded> {
    run_with(name, name)
}

/// The recorded curl of a host in a run.
pub fn curl(name: &str, url: &str) -> Evidence {
    let found = run(name).into_iter().find(|recorded| recorded.url == url);
    found.unwrap_or_else(|| panic!("{name} has no {url}")).evidence
}

fn replace_formats(value: &mut Value, format: &str) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match key.as_str() {
                    "inlineString" => *value = json!(format),
                    _ => replace_formats(value, format),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_formats(item, format)),
        _ => {}
    }
}

fn local_port(line: &str, bare: bool) -> u16 {
    let address = match bare {
        true => line.split(' ').next().unwrap(),
        // … UPSTREAM_LOCAL DOWNSTREAM_LOCAL DOWNSTREAM_REMOTE SNI ROUTE
        false => line.rsplit(' ').nth(2).unwrap(),
    };
    address.rsplit(':').next().unwrap().parse().unwrap()
}

/// `200 ssl_verify=0 exit=0 err=…` as curl's `%{json}` has it.
fn transfer(url: &str, result: &str, local: u16) -> Value {
    let (head, error) = result.split_once(" err=").unwrap();
    let mut words = head.split(' ');
    let status: u16 = words.next().unwrap().parse().unwrap();
    let mut number = |name: &str| -> i64 { words.next().unwrap().strip_prefix(name).unwrap().parse().unwrap() };
    let (verify, exit) = (number("ssl_verify="), number("exit="));
    let shook = url.starts_with("https") && matches!(exit, 0 | 60);
    json!({
        "url": url, "url_effective": url, "response_code": status, "http_code": status, "exitcode": exit,
        "errormsg": if error.is_empty() { Value::Null } else { json!(error) },
        "ssl_verify_result": verify, "local_ip": "10.244.0.10", "local_port": local,
        "time_appconnect": if shook { 0.004 } else { 0.0 },
    })
}

/// A judgement as text, for comparison.
pub fn told(what: &Expectation, negated: bool, evidence: &Evidence) -> String {
    match judge(what, negated, evidence) {
        Judgement::Holds { show } => show.iter().fold("holds".to_string(), |all, line| format!("{all}\n   {line}")),
        Judgement::NotShown { reason, help } => format!("not shown: {reason}\n   try  {help}"),
        Judgement::Fails(failure) => {
            let mut all = format!("error[{}]: {}", failure.code, failure.title);
            failure.evidence.iter().for_each(|line| all.push_str(&format!("\n   {line}")));
            failure.help.iter().for_each(|line| all.push_str(&format!("\n   try  {line}")));
            all
        }
    }
}

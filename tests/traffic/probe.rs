//! One probe: curl (or a few bytes of TCP) in the sleep pod, and which clusters of which Envoy it moved.

use egress_scn::cluster::{Admin, Cluster, Pod};
use serde_json::Value;
use std::collections::BTreeMap;

/// What became of a probe.
#[derive(Debug, Default)]
pub struct Seen {
    pub exit: i32,
    pub http_code: Option<u16>,
    pub path: String,
    pub sleep_clusters: Vec<String>,
    pub gateway_clusters: Vec<String>,
    /// `sleep` or `gateway`: whose address the site saw.
    pub answered_to: Option<String>,
    pub sni: Option<String>,
    pub port: Option<u64>,
}

/// The two Envoys of a case, and the pod that asks.
pub struct Place<'a> {
    pub cluster: &'a Cluster,
    pub sleep: Pod,
    pub gateway: Pod,
    pub sidecar: Admin,
    pub router: Admin,
    /// The gateway Service's ports and the container's behind them.
    pub gateway_ports: BTreeMap<String, u64>,
}

/// `scheme://host:port/path [header: value] @address`.
struct Asked<'a> {
    scheme: &'a str,
    host: &'a str,
    port: &'a str,
    url: &'a str,
    header: Option<&'a str>,
    address: Option<&'a str>,
}

type Counters = BTreeMap<String, u64>;

impl Place<'_> {
    pub async fn run(&self, probe: &str) -> Seen {
        let asked = read(probe);
        let before = (counters(&self.sidecar).await, counters(&self.router).await);
        let mut seen = if asked.scheme == "tcp" { self.tcp(&asked).await } else { self.curl(&asked).await };
        // What a connection's end still counts is in when two looks are alike.
        let (mut sidecar, mut router) = (counters(&self.sidecar).await, counters(&self.router).await);
        loop {
            let again = (counters(&self.sidecar).await, counters(&self.router).await);
            if again == (sidecar.clone(), router.clone()) {
                break;
            }
            (sidecar, router) = again;
        }
        let of_sleep = risen(&before.0, &sidecar);
        seen.path = self.path(&of_sleep);
        seen.sleep_clusters = of_sleep.into_iter().map(|(name, _)| name).collect();
        seen.gateway_clusters = risen(&before.1, &router).into_iter().map(|(name, _)| name).collect();
        seen
    }

    async fn exec(&self, command: &[String]) -> (i32, String) {
        let output = self.cluster.exec(&self.sleep, Some("sleep"), command).await.unwrap();
        (output.exit, String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn curl(&self, asked: &Asked<'_>) -> Seen {
        let mut command = vec!["curl", "-sS", "-m", "4", "-w", "\n%{json}"];
        let resolve = asked.address.map(|address| format!("{}:{}:{address}", asked.host, asked.port));
        command.extend(resolve.iter().flat_map(|resolve| ["--resolve", resolve]));
        command.extend(asked.header.iter().flat_map(|header| ["-H", header]));
        command.push(asked.url);
        let command: Vec<String> = command.into_iter().map(String::from).collect();
        let (exit, said) = self.exec(&command).await;
        let (body, facts) = said.rsplit_once('\n').unwrap_or(("", &said));
        let facts: Value = serde_json::from_str(facts).unwrap_or_else(|error| panic!("{error}: {said}"));
        let http_code = facts["http_code"].as_u64().map(|code| u16::try_from(code).unwrap());
        let mut seen = Seen { exit, http_code, ..Seen::default() };
        // Another's body, an Envoy's say, tells nothing.
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        seen.answered_to = answer["source"].as_str().map(|source| match source {
            source if source == self.sleep.ip => "sleep".to_string(),
            source if source == self.gateway.ip => "gateway".to_string(),
            other => other.to_string(),
        });
        seen.sni = answer["sni"].as_str().map(String::from);
        seen.port = answer["port"].as_u64();
        seen
    }

    /// 0: what was sent came back.
    async fn tcp(&self, asked: &Asked<'_>) -> Seen {
        let script = r#"exec 3<>/dev/tcp/$0/$1 || exit 1; echo ping >&3; [ "$(timeout 2 head -n1 <&3)" = ping ]"#;
        let target = asked.address.unwrap_or(asked.host);
        let command = ["timeout", "6", "bash", "-c", script, target, asked.port].map(String::from);
        let (exit, _) = self.exec(&command).await;
        Seen { exit: i32::from(exit != 0), ..Seen::default() }
    }

    /// Where sleep sent it, the gateway first.
    fn path(&self, risen: &[(String, bool)]) -> String {
        let sent = || risen.iter().filter(|(_, sent)| *sent).map(|(name, _)| name.as_str());
        let gateway = sent().find(|name| name.ends_with("|istio-egressgateway.istio-system.svc.cluster.local"));
        if let Some(name) = gateway {
            let port = name.split('|').nth(1).unwrap_or_default();
            let bound = self.gateway_ports.get(port).copied().unwrap_or_default();
            return format!("via-gateway:{bound}");
        }
        if sent().any(|name| name.starts_with("outbound|")) {
            return "direct".into();
        }
        if sent().any(|name| name == "PassthroughCluster") { "passthrough".into() } else { "blocked".into() }
    }
}

fn read(probe: &str) -> Asked<'_> {
    let (rest, address) = match probe.rsplit_once(" @") {
        Some((rest, address)) => (rest, Some(address)),
        None => (probe, None),
    };
    let (url, header) = match rest.split_once(" [") {
        Some((url, header)) => (url, Some(header.trim_end_matches(']'))),
        None => (rest, None),
    };
    let (scheme, place) = url.split_once("://").unwrap();
    let authority = place.split('/').next().unwrap();
    let (host, port) = authority.rsplit_once(':').unwrap();
    Asked { scheme, host, port, url, header, address }
}

/// Counters of clusters that tell of use. Envoy's name of a counter is `cluster.NAME.COUNTER`, where Istio ends NAME
/// with a semicolon.
async fn counters(envoy: &Admin) -> Counters {
    const USED: &str =
        "^cluster\\..*(upstream_cx_total|upstream_rq_total|upstream_cx_none_healthy|upstream_cx_connect_fail)$";
    let own = ["xds-grpc", "sds-grpc", "agent", "prometheus_stats"];
    let found = envoy.stats(USED).await.unwrap();
    found
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("cluster.")?.to_string(), value)))
        .filter(|(name, _)| !name.starts_with("inbound|") && !own.iter().any(|own| name.starts_with(own)))
        .collect()
}

/// The clusters whose counters rose, and whether a connection or a request left by them.
fn risen(before: &Counters, after: &Counters) -> Vec<(String, bool)> {
    let mut clusters: BTreeMap<String, bool> = BTreeMap::new();
    for (counter, value) in after {
        if *value > before.get(counter).copied().unwrap_or(0) {
            let (name, kind) = counter.rsplit_once('.').unwrap();
            let sent = matches!(kind, "upstream_cx_total" | "upstream_rq_total");
            let name = name.trim_end_matches(';');
            // The two share their statistics' name.
            let name = if name == "InboundPassthroughCluster" { "PassthroughCluster" } else { name };
            *clusters.entry(name.to_string()).or_default() |= sent;
        }
    }
    clusters.into_iter().collect()
}

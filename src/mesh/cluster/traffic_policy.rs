//! What a DestinationRule's traffic policy changes in a cluster.

use super::draft::{Draft, Kind, Upstream};
use super::tls::apply_tls;
use crate::mesh::duration::{canonical, whole_seconds};
use crate::mesh::json::{flag, float, integer, message, number, object_in, present, put, text, unsigned};
use crate::mesh::load_balancing::{self, locality_setting};
use crate::mesh::node::Node;
use crate::mesh::policy::peer_authentication::Mode;
use crate::mesh::protocol::Protocol;
use crate::mesh::registry::service::{Port, Service};
use serde_json::{Map, Value, json};

/// Which cluster a policy is applied to.
pub struct Purpose<'a> {
    /// `None` for inbound clusters.
    pub service: Option<&'a Service>,
    pub port: &'a Port,
    /// Identities that the workloads may show.
    pub accounts: &'a [String],
    /// The SNI of mutual TLS when the policy gives none.
    pub sni: String,
    /// A cluster named after an SNI: the TLS inside is not this proxy's.
    pub for_sni: bool,
    pub mesh_external: bool,
    pub external_registry: bool,
    pub mtls_mode: Mode,
    /// The rule applies by workload selector.
    pub selected: bool,
    /// A dynamic forward proxy.
    pub dynamic: bool,
}

impl<'a> Purpose<'a> {
    pub fn inbound(port: &'a Port) -> Self {
        Self {
            service: None,
            port,
            accounts: &[],
            sni: String::new(),
            for_sni: false,
            mesh_external: false,
            external_registry: false,
            mtls_mode: Mode::Unknown,
            selected: false,
            dynamic: false,
        }
    }

    fn inbound_cluster(&self) -> bool {
        self.service.is_none()
    }
}

/// `proxyHeaders.preserveHttp1HeaderCase` of the proxy config.
pub fn preserves_header_case(node: &Node) -> bool {
    flag(&node.proxy_config()["proxyHeaders"]["preserveHttp1HeaderCase"])
}

/// HTTP/2 for its protocols; what the client spoke for sniffed ports of sidecars.
pub fn set_upstream_protocol(node: &Node, draft: &mut Draft, protocol: Protocol, preserve_case: bool) {
    if protocol.is_http2() {
        set_http2(draft);
        return;
    }
    if protocol.is_http_or_sniffed() && preserve_case {
        draft.http().upstream = Some(Upstream::Http1 { preserve_case });
    }
    if node.is_sidecar() && protocol == Protocol::Auto {
        set_downstream(draft);
    }
}

fn set_http2(draft: &mut Draft) {
    let http = draft.http();
    http.upstream.get_or_insert(Upstream::Http2);
}

fn set_downstream(draft: &mut Draft) {
    let http = draft.http();
    let preserve_case = matches!(http.upstream, Some(Upstream::Http1 { preserve_case: true }));
    http.upstream = Some(Upstream::Downstream { preserve_case });
}

/// Applies connection pool, outlier detection, load balancing, TLS and proxy protocol.
pub fn apply_traffic_policy(node: &Node, draft: &mut Draft, policy: &Value, purpose: &Purpose) {
    let pool = &policy["connectionPool"];
    let inbound = purpose.inbound_cluster();
    if !inbound && upgrades_to_http2(node, purpose.port, pool) {
        set_http2(draft);
    }
    apply_connection_pool(node, draft, pool, &policy["retryBudget"]);
    if let Some(service) = purpose.service {
        apply_outlier_detection(draft, &policy["outlierDetection"], service);
        apply_load_balancer(node, draft, policy, service);
        if !purpose.for_sni {
            apply_tls(node, draft, &policy["tls"], purpose);
            apply_proxy_protocol(draft, &policy["proxyProtocol"]);
        }
    }
    if draft.kind == Kind::OriginalDst {
        draft.set_lb("CLUSTER_PROVIDED");
    }
}

fn upgrades_to_http2(node: &Node, port: &Port, pool: &Value) -> bool {
    let http = &pool["http"];
    if flag(&http["useClientProtocol"]) {
        return false;
    }
    match text(&http["h2UpgradePolicy"]) {
        "UPGRADE" => true,
        "DO_NOT_UPGRADE" => false,
        _ => port.protocol.is_http() && text(&node.push.mesh.raw["h2UpgradePolicy"]) == "UPGRADE",
    }
}

/// Circuit breakers, timeouts and keepalive; `pool` may be null.
pub fn apply_connection_pool(node: &Node, draft: &mut Draft, pool: &Value, retry_budget: &Value) {
    let (http, tcp) = (&pool["http"], &pool["tcp"]);
    let mut threshold = Map::with_capacity(4);
    for field in ["maxConnections", "maxPendingRequests", "maxRequests", "maxRetries"] {
        threshold.insert(field.to_owned(), Value::from(u32::MAX));
    }
    let limits = [
        ("maxRequests", &http["http2MaxRequests"]),
        ("maxPendingRequests", &http["http1MaxPendingRequests"]),
        ("maxRetries", &http["maxRetries"]),
        ("maxConnections", &tcp["maxConnections"]),
    ];
    for (field, limit) in limits {
        if integer(limit) > 0 {
            threshold.insert(field.to_owned(), Value::from(unsigned(limit)));
        }
    }
    if present(retry_budget) {
        let percent = if present(&retry_budget["percent"]) { float(&retry_budget["percent"]) } else { 20.0 };
        let mut budget = Map::new();
        put(&mut budget, "value", number(percent));
        let concurrency = match unsigned(&retry_budget["minRetryConcurrency"]) {
            0 => 3,
            set => set,
        };
        threshold
            .insert("retryBudget".to_owned(), json!({"budgetPercent": budget, "minRetryConcurrency": concurrency}));
    }
    draft.set("circuitBreakers", message! {"thresholds": vec![Value::Object(threshold)]});
    let timeout = match canonical(&tcp["connectTimeout"]) {
        Value::Null => node.push.mesh.connect_timeout.clone(),
        given => given,
    };
    draft.set("connectTimeout", timeout);
    for keepalive in [&node.push.mesh.raw["tcpKeepalive"], &tcp["tcpKeepalive"]] {
        apply_keepalive(draft, keepalive);
    }
    apply_http_pool(draft, http, tcp);
}

fn apply_http_pool(draft: &mut Draft, http: &Value, tcp: &Value) {
    let mut common = Map::new();
    let idle = match canonical(&http["idleTimeout"]) {
        Value::Null => canonical(&tcp["idleTimeout"]),
        given => given,
    };
    put(&mut common, "idleTimeout", idle);
    let requests = unsigned(&http["maxRequestsPerConnection"]);
    put(&mut common, "maxRequestsPerConnection", Value::from(requests));
    put(&mut common, "maxConnectionDuration", canonical(&tcp["maxConnectionDuration"]));
    let streams = unsigned(&http["maxConcurrentStreams"]);
    if !common.is_empty() || streams > 0 {
        let options = draft.http();
        options.common.extend(common);
        if options.upstream == Some(Upstream::Http2) && streams > 0 {
            options.http2.insert("maxConcurrentStreams".to_owned(), Value::from(streams));
        }
        // The message is made even when nothing in it is set.
        options.common_made = true;
    }
    if flag(&http["useClientProtocol"]) {
        set_downstream(draft);
    }
}

fn apply_keepalive(draft: &mut Draft, keepalive: &Value) {
    if !present(keepalive) {
        return;
    }
    let options = object_in(object_in(&mut draft.body, "upstreamConnectionOptions"), "tcpKeepalive");
    if unsigned(&keepalive["probes"]) > 0 {
        options.insert("keepaliveProbes".to_owned(), Value::from(unsigned(&keepalive["probes"])));
    }
    for (from, to) in [("time", "keepaliveTime"), ("interval", "keepaliveInterval")] {
        if let Some(seconds) = whole_seconds(&keepalive[from]) {
            options.insert(to.to_owned(), Value::from(seconds));
        }
    }
}

fn apply_outlier_detection(draft: &mut Draft, outlier: &Value, service: &Service) {
    if !present(outlier) {
        return;
    }
    let mut out = Map::new();
    let mut set = |key: &str, value: Value| out.insert(key.to_owned(), value);
    set("enforcingSuccessRate", json!(0));
    let errors = [
        ("consecutive5xxErrors", "consecutive5xx", "enforcingConsecutive5xx"),
        ("consecutiveGatewayErrors", "consecutiveGatewayFailure", "enforcingConsecutiveGatewayFailure"),
    ];
    for (field, threshold, enforcing) in errors {
        if present(&outlier[field]) {
            let count = unsigned(&outlier[field]);
            set(threshold, Value::from(count));
            set(enforcing, Value::from(if count > 0 { 100 } else { 0 }));
        }
    }
    for field in ["interval", "baseEjectionTime"] {
        if let given @ Value::String(_) = canonical(&outlier[field]) {
            set(field, given);
        }
    }
    if integer(&outlier["maxEjectionPercent"]) > 0 {
        set("maxEjectionPercent", Value::from(unsigned(&outlier["maxEjectionPercent"])));
    }
    if flag(&outlier["splitExternalLocalOriginErrors"]) {
        set("splitExternalLocalOriginErrors", json!(true));
        let local = unsigned(&outlier["consecutiveLocalOriginFailures"]);
        if local > 0 {
            set("consecutiveLocalOriginFailure", Value::from(local));
            set("enforcingConsecutiveLocalOriginFailure", json!(100));
        }
        set("enforcingLocalOriginSuccessRate", json!(0));
    }
    draft.set("outlierDetection", Value::Object(out));
    let minimum = integer(&outlier["minHealthPercent"]);
    if minimum >= 0 {
        let minimum = if service.sends_unready() { 0 } else { minimum };
        set_panic_threshold(draft, minimum);
    }
}

fn set_panic_threshold(draft: &mut Draft, percent: i64) {
    let mut threshold = Map::new();
    put(&mut threshold, "value", Value::from(percent));
    draft.common_lb().insert("healthyPanicThreshold".to_owned(), Value::Object(threshold));
}

fn apply_load_balancer(node: &Node, draft: &mut Draft, policy: &Value, service: &Service) {
    if draft.lb() == "CLUSTER_PROVIDED" {
        return;
    }
    let lb = &policy["loadBalancer"];
    if service.sends_unready() {
        set_panic_threshold(draft, 0);
    }
    let (setting, forced) = locality_setting(node, lb, service);
    let failover = forced || draft.body.contains_key("outlierDetection");
    let weighted = (failover && (present(&setting["failover"]) || present(&setting["failoverPriority"])))
        || present(&setting["distribute"]);
    if weighted {
        draft.common_lb().insert("localityWeightedLbConfig".to_owned(), json!({}));
    }
    if !draft.groups.is_empty() {
        let endpoints = load_balancing::apply(node, std::mem::take(&mut draft.groups), &setting, failover);
        let name = draft.name.as_str();
        draft.set("loadAssignment", message! {"clusterName": name, "endpoints": endpoints});
    }
    if draft.kind == Kind::OriginalDst {
        draft.set_lb("CLUSTER_PROVIDED");
        return;
    }
    match text(&lb["simple"]) {
        "RANDOM" => draft.set_lb("RANDOM"),
        "ROUND_ROBIN" => {
            draft.set_lb("ROUND_ROBIN");
            apply_warmup(draft, lb, "roundRobinLbConfig");
        }
        "PASSTHROUGH" => {
            draft.set_lb("CLUSTER_PROVIDED");
            draft.kind = Kind::OriginalDst;
            draft.body.remove("loadAssignment");
        }
        _ => {
            draft.set_lb("LEAST_REQUEST");
            apply_warmup(draft, lb, "leastRequestLbConfig");
        }
    }
    apply_consistent_hash(draft, &lb["consistentHash"]);
}

fn apply_warmup(draft: &mut Draft, lb: &Value, key: &str) {
    let warmup = &lb["warmup"];
    let config = if present(warmup) {
        let mut config = Map::new();
        put(&mut config, "slowStartWindow", canonical(&warmup["duration"]));
        let or = |field: &str, default: f64| {
            if present(&warmup[field]) { float(&warmup[field]) } else { default }
        };
        let mut aggression = Map::new();
        put(&mut aggression, "defaultValue", number(or("aggression", 1.0)));
        // The key is what the control plane writes; it names no runtime value.
        aggression.insert("runtimeKey".to_owned(), Value::from("("));
        config.insert("aggression".to_owned(), Value::Object(aggression));
        let mut percent = Map::new();
        put(&mut percent, "value", number(or("minimumPercent", 10.0)));
        config.insert("minWeightPercent".to_owned(), Value::Object(percent));
        Value::Object(config)
    } else if present(&lb["warmupDurationSecs"]) {
        json!({"slowStartWindow": canonical(&lb["warmupDurationSecs"])})
    } else {
        return;
    };
    draft.set(key, json!({"slowStartConfig": config}));
}

fn apply_consistent_hash(draft: &mut Draft, hash: &Value) {
    if !present(hash) {
        return;
    }
    let size = |value: &Value| Value::from(integer(value).to_string());
    if present(&hash["maglev"]) {
        draft.set_lb("MAGLEV");
        draft.body.retain(|key, _| !key.ends_with("LbConfig") || key == "commonLbConfig");
        if integer(&hash["maglev"]["tableSize"]) != 0 {
            draft.set("maglevLbConfig", json!({"tableSize": size(&hash["maglev"]["tableSize"])}));
        }
        return;
    }
    draft.set_lb("RING_HASH");
    draft.body.retain(|key, _| !key.ends_with("LbConfig") || key == "commonLbConfig");
    if present(&hash["ringHash"]) {
        if integer(&hash["ringHash"]["minimumRingSize"]) != 0 {
            draft.set("ringHashLbConfig", json!({"minimumRingSize": size(&hash["ringHash"]["minimumRingSize"])}));
        }
    } else {
        let minimum = match integer(&hash["minimumRingSize"]) {
            0 => Value::from("1024"),
            _ => size(&hash["minimumRingSize"]),
        };
        draft.set("ringHashLbConfig", json!({"minimumRingSize": minimum}));
    }
}

fn apply_proxy_protocol(draft: &mut Draft, protocol: &Value) {
    if !present(protocol) {
        return;
    }
    let wrap = |name: &str, inner: Value| {
        let mut config = Map::new();
        if text(&protocol["version"]) == "V2" {
            config.insert("version".to_owned(), Value::from("V2"));
        }
        json!({
            "name": name,
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
                "config": config,
                "transportSocket": inner,
            },
        })
    };
    let matches = draft.body.get_mut("transportSocketMatches").and_then(Value::as_array_mut);
    let has_matches = matches.as_ref().is_some_and(|m| !m.is_empty());
    for one in matches.into_iter().flatten() {
        if let Some(map) = one.as_object_mut()
            && let Some(inner) = map.remove("transportSocket")
        {
            map.insert("transportSocket".to_owned(), wrap("envoy.transport_sockets.upstream_proxy_protocol", inner));
        }
    }
    match draft.body.remove("transportSocket") {
        Some(inner) => {
            draft.set("transportSocket", wrap("envoy.transport_sockets.upstream_proxy_protocol", inner));
        }
        None if !has_matches => {
            let mut inner = crate::mesh::tls::raw_buffer();
            // Its short name here, as istiod has it.
            inner["name"] = Value::from("raw_buffer");
            draft.set("transportSocket", wrap("envoy.transport_sockets.upstream_proxy_protocol", inner));
        }
        None => {}
    }
}

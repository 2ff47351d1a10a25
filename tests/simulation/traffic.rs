//! What an Envoy does with one connection and its first request, by its configuration alone: which listener takes it,
//! which filter chain, virtual host, route and cluster.
//!
//! The rules are Envoy's own: the order of the filter chain match (destination port, address prefix, server name,
//! transport protocol, application protocol; each by the most specific value), of domains (exact, `*.suffix`,
//! `prefix.*`, `*`) and of routes (the first that matches). Paths are matched, headers and query parameters are not.

use regex::Regex;
use serde_json::Value;
use std::net::IpAddr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Redirected to 15001 in a pod with a sidecar, or straight to a gateway.
    Outbound,
    /// Redirected to 15006.
    Inbound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Http,
    Http2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    Plaintext,
    Tls,
    /// With a client certificate, as mesh clients do it.
    Mutual,
}

/// One connection with its first request.
#[derive(Debug, Clone)]
pub struct Call {
    pub address: IpAddr,
    pub port: u64,
    pub direction: Direction,
    pub protocol: Protocol,
    pub encryption: Encryption,
    /// Of the TLS handshake; empty when none is sent.
    pub alpn: String,
    pub sni: String,
    pub host: String,
    pub path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    NoListener,
    NoFilterChain,
    /// Envoy refuses a listener with two chains of the same match.
    SeveralFilterChains,
    /// Plaintext to a chain that terminates TLS.
    NoTls,
    /// Without a client certificate where one is wanted, or with one where none is.
    OtherTls,
    /// Not HTTP, or still encrypted, in a chain for HTTP.
    Protocol,
    NoVirtualHost,
    /// Answered with a redirect to HTTPS.
    RedirectToHttps,
    NoRoute,
}

/// How far the call got; names are empty where it did not get, or where Envoy's configuration has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    pub listener: String,
    pub filter_chain: String,
    pub route_config: String,
    pub virtual_host: String,
    pub route: String,
    pub cluster: String,
    pub failure: Option<Failure>,
}

/// Envoy's resources, as bodies.
pub struct Envoy<'a> {
    pub listeners: Vec<&'a Value>,
    pub routes: Vec<&'a Value>,
}

const HTTP: &str = "envoy.filters.network.http_connection_manager";
const TCP: &str = "envoy.filters.network.tcp_proxy";
const TLS_INSPECTOR: &str = "envoy.filters.listener.tls_inspector";
const HTTP_INSPECTOR: &str = "envoy.filters.listener.http_inspector";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Envoy<'_> {
    pub fn takes(&self, call: &Call) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.failure = self.follow(call, &mut outcome).err();
        outcome
    }

    fn follow(&self, call: &Call, outcome: &mut Outcome) -> Result<(), Failure> {
        let listener = self.listener(call).ok_or(Failure::NoListener)?;
        outcome.listener = text(&listener["name"]).to_owned();
        let chain = chain(listener, call)?;
        outcome.filter_chain = text(&chain["name"]).to_owned();
        let terminated = !chain["transportSocket"].is_null();
        match call.encryption {
            Encryption::Plaintext if terminated => return Err(Failure::NoTls),
            Encryption::Tls if terminated && wants_certificate(chain) => return Err(Failure::OtherTls),
            Encryption::Mutual if terminated && !wants_certificate(chain) => return Err(Failure::OtherTls),
            _ => {}
        }
        let filter = |name: &str| list(&chain["filters"]).iter().find(|f| text(&f["name"]) == name);
        if let Some(manager) = filter(HTTP) {
            if call.protocol == Protocol::Tcp || (call.encryption != Encryption::Plaintext && !terminated) {
                return Err(Failure::Protocol);
            }
            return self.request(&manager["typedConfig"], call, outcome);
        }
        if let Some(proxy) = filter(TCP) {
            outcome.cluster = text(&proxy["typedConfig"]["cluster"]).to_owned();
        }
        Ok(())
    }

    /// The listener on the destination itself, on any address of its port, else where traffic is redirected to.
    fn listener(&self, call: &Call) -> Option<&Value> {
        let named = |name: &str| self.listeners.iter().find(|l| text(&l["name"]) == name).copied();
        if call.direction == Direction::Inbound {
            return named("virtualInbound");
        }
        let on = |address: &str| {
            self.listeners.iter().find(|l| {
                let socket = &l["address"]["socketAddress"];
                text(&socket["address"]) == address && socket["portValue"].as_u64() == Some(call.port)
            })
        };
        on(&call.address.to_string()).or_else(|| on("0.0.0.0")).copied().or_else(|| named("virtualOutbound"))
    }

    fn request(&self, manager: &Value, call: &Call, outcome: &mut Outcome) -> Result<(), Failure> {
        let mut config = &manager["routeConfig"];
        if config.is_null() {
            let name = text(&manager["rds"]["routeConfigName"]);
            name.clone_into(&mut outcome.route_config);
            config = self.routes.iter().find(|r| text(&r["name"]) == name).ok_or(Failure::NoVirtualHost)?;
        }
        let host = virtual_host(config, &call.host).ok_or(Failure::NoVirtualHost)?;
        outcome.virtual_host = text(&host["name"]).to_owned();
        if text(&host["requireTls"]) == "ALL" && call.encryption == Encryption::Plaintext {
            return Err(Failure::RedirectToHttps);
        }
        let route =
            list(&host["routes"]).iter().find(|r| path_matches(&r["match"], &call.path)).ok_or(Failure::NoRoute)?;
        outcome.route = text(&route["name"]).to_owned();
        outcome.cluster = text(&route["route"]["cluster"]).to_owned();
        Ok(())
    }
}

fn wants_certificate(chain: &Value) -> bool {
    chain["transportSocket"]["typedConfig"]["requireClientCertificate"] == true
}

fn chain<'a>(listener: &'a Value, call: &Call) -> Result<&'a Value, Failure> {
    let inspects = |name: &str| {
        list(&listener["listenerFilters"]).iter().any(|f| {
            text(&f["name"]) == name && (f["filterDisabled"].is_null() || !holds(&f["filterDisabled"], call.port))
        })
    };
    // What Envoy knows of the connection when it chooses.
    let sees_tls = inspects(TLS_INSPECTOR) && call.encryption != Encryption::Plaintext;
    let transport = if sees_tls { "tls" } else { "raw_buffer" };
    let sni = if sees_tls { call.sni.to_lowercase() } else { String::new() };
    let alpn = match (call.encryption, call.protocol) {
        (Encryption::Plaintext, Protocol::Http) if inspects(HTTP_INSPECTOR) => "http/1.1",
        (Encryption::Plaintext, Protocol::Http2) if inspects(HTTP_INSPECTOR) => "h2c",
        (Encryption::Plaintext, _) => "",
        _ if sees_tls => &call.alpn,
        _ => "",
    };
    let mut left: Vec<&Value> = list(&listener["filterChains"]).iter().collect();
    keep_best(&mut left, |m| match m["destinationPort"].as_u64() {
        None => Some(0),
        Some(port) => (port == call.port).then_some(1),
    });
    keep_best(&mut left, |m| match list(&m["prefixRanges"]) {
        [] => Some(0),
        ranges => ranges.iter().filter_map(|r| covers(r, call.address)).max().map(|length| length + 1),
    });
    keep_best(&mut left, |m| match list(&m["serverNames"]) {
        [] => Some(0),
        names => names.iter().filter_map(|n| name_fits(text(n), &sni)).max(),
    });
    keep_best(&mut left, |m| match text(&m["transportProtocol"]) {
        "" => Some(0),
        wanted => (wanted == transport).then_some(1),
    });
    keep_best(&mut left, |m| match list(&m["applicationProtocols"]) {
        [] => Some(0),
        wanted => wanted.iter().any(|p| text(p) == alpn).then_some(1),
    });
    match left.as_slice() {
        [only] => Ok(only),
        [] if !listener["defaultFilterChain"].is_null() => Ok(&listener["defaultFilterChain"]),
        [] => Err(Failure::NoFilterChain),
        _ => Err(Failure::SeveralFilterChains),
    }
}

/// Keeps the chains whose criterion fits best; Envoy does not come back to the others.
fn keep_best(chains: &mut Vec<&Value>, fits: impl Fn(&Value) -> Option<usize>) {
    let best = chains.iter().filter_map(|c| fits(&c["filterChainMatch"])).max();
    chains.retain(|c| {
        let found = fits(&c["filterChainMatch"]);
        found.is_some() && found == best
    });
}

/// How specific a name is that takes an SNI: the exact one most, then the longest `*.suffix`.
fn name_fits(name: &str, sni: &str) -> Option<usize> {
    let name = name.to_lowercase();
    match name.strip_prefix('*') {
        None => (name == sni && !sni.is_empty()).then_some(usize::MAX),
        Some(suffix) => (sni.len() > suffix.len() && sni.ends_with(suffix)).then_some(suffix.len() + 1),
    }
}

/// The length of a prefix that covers an address.
fn covers(range: &Value, address: IpAddr) -> Option<usize> {
    let prefix: IpAddr = text(&range["addressPrefix"]).parse().ok()?;
    let length = usize::try_from(range["prefixLen"].as_u64().unwrap_or(0)).ok()?;
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
        IpAddr::V6(ip) => (u128::from(ip), 128),
    };
    let ((a, width), (b, other)) = (bits(prefix), bits(address));
    let same = length == 0 || (a ^ b) >> (128 - length.min(128)) == 0;
    (width == other && same).then_some(length)
}

/// A predicate of a listener filter, about the destination port.
fn holds(predicate: &Value, port: u64) -> bool {
    let range = &predicate["destinationPortRange"];
    if !range.is_null() {
        return (range["start"].as_u64().unwrap_or(0)..range["end"].as_u64().unwrap_or(0)).contains(&port);
    }
    if !predicate["orMatch"].is_null() {
        return list(&predicate["orMatch"]["rules"]).iter().any(|rule| holds(rule, port));
    }
    if !predicate["andMatch"].is_null() {
        return list(&predicate["andMatch"]["rules"]).iter().all(|rule| holds(rule, port));
    }
    if !predicate["notMatch"].is_null() {
        return !holds(&predicate["notMatch"], port);
    }
    predicate["anyMatch"].as_bool().unwrap_or(false)
}

fn virtual_host<'a>(config: &'a Value, host: &str) -> Option<&'a Value> {
    let mut host = host.to_lowercase();
    if config["ignorePortInHostMatching"] == true
        && let Some((name, port)) = host.rsplit_once(':')
        && port.parse::<u16>().is_ok()
    {
        host = name.to_owned();
    }
    let rank = |domain: &str| -> Option<(u8, usize)> {
        let domain = domain.to_lowercase();
        if domain == host {
            return Some((3, 0));
        }
        if domain == "*" {
            return Some((0, 0));
        }
        if let Some(suffix) = domain.strip_prefix('*') {
            return (host.len() > suffix.len() && host.ends_with(suffix)).then_some((2, suffix.len()));
        }
        let prefix = domain.strip_suffix('*')?;
        (host.len() > prefix.len() && host.starts_with(prefix)).then_some((1, prefix.len()))
    };
    let best = |v: &Value| list(&v["domains"]).iter().filter_map(|d| rank(text(d))).max();
    list(&config["virtualHosts"]).iter().filter(|v| best(v).is_some()).max_by_key(|v| best(v))
}

fn path_matches(found: &Value, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    if let Some(prefix) = found["prefix"].as_str() {
        return path.starts_with(prefix);
    }
    if let Some(exact) = found["path"].as_str() {
        return path == exact;
    }
    if let Some(prefix) = found["pathSeparatedPrefix"].as_str() {
        return path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    }
    found["safeRegex"]["regex"]
        .as_str()
        .and_then(|pattern| Regex::new(&format!("^(?:{pattern})$")).ok())
        .is_some_and(|pattern| pattern.is_match(path))
}

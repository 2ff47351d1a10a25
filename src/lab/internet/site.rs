//! How a site behaves, where it does not as every site does: the `spec` of a `Site` object, and which site a connection
//! or a request meets. No I/O.

use crate::lab::capture::{Prefix, prefix};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// One outside site's behaviour. Every field but `hosts` may be left out, which is then as with a healthy site.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Site {
    /// `name.example`, `*.example`, or `*`.
    pub hosts: Vec<String>,
    /// Where it is; DNS tells the single addresses.
    #[serde(deserialize_with = "ranges")]
    pub addresses: Vec<Prefix>,
    pub availability: Availability,
    /// Whether DNS knows the names.
    pub dns: bool,
    /// The ports that are open; `None`: those that are open anyway.
    pub ports: Option<Vec<SitePort>>,
    pub answer: Option<Answer>,
    /// Instead of the status it would answer.
    pub status: Option<u16>,
    /// Beside the headers it would answer, or instead of those of the same name.
    pub headers: BTreeMap<String, String>,
    /// Instead of the body it would answer.
    pub body: Option<String>,
    /// Before it answers a request; a minute at most.
    #[serde(deserialize_with = "delay")]
    pub delay: Option<Duration>,
    pub tls: SiteTls,
}

impl Default for Site {
    fn default() -> Site {
        Site {
            hosts: Vec::new(),
            addresses: Vec::new(),
            availability: Availability::Up,
            dns: true,
            ports: None,
            answer: None,
            status: None,
            headers: BTreeMap::new(),
            body: None,
            delay: None,
            tls: SiteTls::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Availability {
    #[default]
    Up,
    /// Every connection is refused.
    Refused,
    /// Packets vanish.
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SitePort {
    pub number: u16,
    pub protocol: Option<Speaks>,
}

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Speaks {
    /// HTTP/1.1 and HTTP/2 without TLS.
    Http,
    Https,
    /// HTTP or HTTPS as the client begins; what is neither comes back.
    Any,
    /// As `Any`, and CONNECT.
    Proxy,
    Echo,
    /// Takes everything, says nothing.
    Tcp,
}

impl Speaks {
    /// What a port speaks where nobody says otherwise.
    pub fn usual(port: u16) -> Speaks {
        match port {
            80 | 8000 | 8080 => Speaks::Http,
            443 | 8443 | 9443 => Speaks::Https,
            3128 => Speaks::Proxy,
            _ => Speaks::Any,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Answer {
    /// A page with the host's name.
    Page,
    Httpbin,
    /// JSON of what the site saw.
    Facts,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SiteTls {
    pub min_version: Option<TlsVersion>,
    pub max_version: Option<TlsVersion>,
    pub certificate: Certificate,
    /// In the certificate; `*` alone: whatever name the client asks for.
    pub names: Vec<String>,
    pub client_certificate: ClientCertificate,
    /// PEM. Only certificates of this authority count.
    pub client_authority: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// What is right or wrong with a site's certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Certificate {
    #[default]
    Valid,
    Expired,
    /// It is another name's.
    WrongHost,
    /// It is issued by an authority nobody trusts.
    Untrusted,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum ClientCertificate {
    #[default]
    None,
    Optional,
    Required,
}

/// A field of a `spec`, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecFault {
    pub field: String,
    pub message: String,
}

impl SpecFault {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> SpecFault {
        SpecFault { field: field.into(), message: message.into() }
    }
}

impl Site {
    /// Reads a `spec`.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn read(spec: &serde_json::Value) -> Result<Site, SpecFault> {
        let site = Site::deserialize(spec).map_err(|error| SpecFault::new("spec", error.to_string()))?;
        if site.hosts.is_empty() {
            return Err(SpecFault::new("spec.hosts", "Required value: at least one host"));
        }
        for (index, host) in site.hosts.iter().enumerate() {
            if !is_pattern(host) {
                let message = format!(
                    "Invalid value: {host:?}: a host name in lower case, *.SUFFIX, or * for every outside name"
                );
                return Err(SpecFault::new(format!("spec.hosts[{index}]"), message));
            }
        }
        let own = |address: &Ipv4Addr| [[10, 244], [172, 18]].iter().any(|own| address.octets()[..2] == *own);
        let pods = |(address, length): &Prefix| own(address) || *length < 8;
        if let Some(index) = site.addresses.iter().position(pods) {
            let message = "Invalid value: addresses of pods (10.244.0.0/16) and of the node's network \
                 (172.18.0.0/16), and ranges wider than /8, are no site's";
            return Err(SpecFault::new(format!("spec.addresses[{index}]"), message));
        }
        if let Some(index) = site.ports.iter().flatten().position(|port| port.number == 0) {
            return Err(SpecFault::new(
                format!("spec.ports[{index}].number"),
                "Invalid value: 0: must be between 1 and 65535",
            ));
        }
        if site.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return Err(SpecFault::new("spec.status", "Invalid value: must be between 200 and 599"));
        }
        for (name, value) in &site.headers {
            let fits =
                http::HeaderName::from_bytes(name.as_bytes()).is_ok() && http::HeaderValue::from_str(value).is_ok();
            if !fits {
                return Err(SpecFault::new(format!("spec.headers[{name}]"), "Invalid value: not a header of HTTP"));
            }
        }
        if site.tls.min_version.zip(site.tls.max_version).is_some_and(|(least, most)| least > most) {
            return Err(SpecFault::new("spec.tls.minVersion", "Invalid value: above maxVersion"));
        }
        if let Some(pem) = &site.tls.client_authority
            && !super::certificates::is_authority(pem)
        {
            return Err(SpecFault::new("spec.tls.clientAuthority", "Invalid value: not certificates in PEM"));
        }
        Ok(site)
    }

    pub fn open_ports(&self) -> impl Iterator<Item = u16> {
        self.ports.iter().flatten().map(|port| port.number)
    }

    /// What it speaks on a port; `None` if that port is closed.
    pub fn speaks(&self, port: u16) -> Option<Speaks> {
        let Some(ports) = &self.ports else { return Some(Speaks::usual(port)) };
        let named = ports.iter().find(|open| open.number == port);
        match named {
            Some(named) => Some(named.protocol.unwrap_or(Speaks::usual(port))),
            // A site of every name opens ports and closes none.
            None if self.is_everywhere() => Some(Speaks::usual(port)),
            None => None,
        }
    }

    pub fn is_everywhere(&self) -> bool {
        self.hosts.iter().any(|host| host == "*")
    }

    /// Addresses that DNS tells for its hosts; none: each host has one of its own.
    pub fn told_addresses(&self) -> Vec<Ipv4Addr> {
        self.addresses.iter().filter(|(_, length)| *length == 32).map(|(address, _)| *address).collect()
    }

    fn is_at(&self, address: Ipv4Addr) -> Option<u8> {
        let holds = |(network, length): &&Prefix| {
            let mask = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
            u32::from(*network) & mask == u32::from(address) & mask
        };
        self.addresses.iter().filter(holds).map(|(_, length)| *length).max()
    }

    /// Whether a host is one of its.
    pub fn has(&self, host: &str) -> bool {
        self.names(host).is_some()
    }

    /// How exactly a host is its: the longest pattern's length; an exact name beats every pattern.
    fn names(&self, host: &str) -> Option<usize> {
        let fit = |pattern: &String| match pattern.strip_prefix('*') {
            None => (pattern == host).then_some(usize::MAX),
            Some(suffix) => (host.len() > suffix.len() && host.ends_with(suffix)).then_some(suffix.len()),
        };
        self.hosts.iter().filter_map(fit).max()
    }
}

fn is_pattern(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    let rest = host.strip_prefix("*.").unwrap_or(host);
    host == "*" || !rest.is_empty() && rest.len() <= 253 && rest.bytes().all(allowed) && !rest.starts_with('.')
}

fn ranges<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Prefix>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let range =
        |text: &String| prefix(text).map_err(|expected| D::Error::custom(format!("{text:?} is not {expected}")));
    texts.iter().map(range).collect()
}

const LONGEST_DELAY: Duration = Duration::from_secs(60);

fn delay<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => f64::NAN,
    };
    let seconds = number.parse::<f64>().unwrap_or(f64::NAN) * unit;
    let found = Duration::try_from_secs_f64(seconds).ok().filter(|delay| *delay <= LONGEST_DELAY);
    let wrong = || D::Error::custom(format!("delay: {text:?} is not a time up to a minute, such as 250ms, 2s or 1m"));
    found.map(Some).ok_or_else(wrong)
}

/// Sites with a behaviour of their own.
#[derive(Debug, Default)]
pub(super) struct SiteTable {
    sites: Vec<Arc<Site>>,
    /// Counts the changes, so that what was made for an older state is known to be old.
    version: u64,
}

impl SiteTable {
    /// In place of those before; the first of equals wins.
    pub fn set(&mut self, sites: Vec<Arc<Site>>) {
        self.version += 1;
        self.sites = sites;
    }

    pub fn all(&self) -> &[Arc<Site>] {
        &self.sites
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The site a host name belongs to.
    pub fn of_host(&self, host: &str) -> Option<Arc<Site>> {
        most(self.sites.iter().filter_map(|site| Some((site.names(host)?, site))))
    }

    /// The site a request or connection to `address` for `host` (or for no name) meets; `here` is the name that DNS has
    /// for the address. A server answers for what is on it, so the address decides first, where sites say theirs.
    pub fn met(&self, address: Ipv4Addr, host: Option<&str>, here: Option<&str>) -> Option<Arc<Site>> {
        let there = most(self.sites.iter().filter_map(|site| Some((site.is_at(address)?, site))));
        let named = host.and_then(|host| self.of_host(host));
        match (there, named) {
            (Some(_), Some(named)) if named.is_at(address).is_some() => Some(named),
            (Some(there), _) => Some(there),
            (None, Some(named)) => Some(named),
            (None, None) => here.and_then(|here| self.of_host(here)).or_else(|| self.everywhere()),
        }
    }

    fn everywhere(&self) -> Option<Arc<Site>> {
        self.sites.iter().find(|site| site.is_everywhere()).cloned()
    }
}

/// The first of those with the largest number.
fn most<'a, N: Ord + Copy>(found: impl Iterator<Item = (N, &'a Arc<Site>)>) -> Option<Arc<Site>> {
    let best = found.fold(None, |best: Option<(N, &Arc<Site>)>, next| match best {
        Some(best) if best.0 >= next.0 => Some(best),
        _ => Some(next),
    });
    best.map(|(_, site)| site.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table(specs: &[serde_json::Value]) -> SiteTable {
        let mut table = SiteTable::default();
        table.set(specs.iter().map(|spec| Arc::new(Site::read(spec).unwrap())).collect());
        table
    }

    #[test]
    fn the_most_exact_host_wins_and_the_address_decides_first() {
        let table = table(&[
            json!({"hosts": ["*"], "body": "all"}),
            json!({"hosts": ["*.shop.example"], "body": "wild"}),
            json!({"hosts": ["api.shop.example"], "addresses": ["198.51.100.7"], "body": "api"}),
        ]);
        let body = |site: Option<Arc<Site>>| site.and_then(|site| site.body.clone()).unwrap();
        assert_eq!(body(table.of_host("api.shop.example")), "api");
        assert_eq!(body(table.of_host("x.y.shop.example")), "wild");
        assert_eq!(body(table.of_host("shop.example")), "all");
        let at = |address: &str, host: &str| body(table.met(address.parse().unwrap(), Some(host), None));
        assert_eq!(at("203.0.113.9", "x.shop.example"), "wild");
        assert_eq!(at("198.51.100.7", "x.shop.example"), "api");
        assert_eq!(body(table.met(Ipv4Addr::new(8, 8, 8, 8), None, None)), "all");
    }

    #[test]
    fn a_site_opens_what_it_says_and_every_site_closes_nothing() {
        let ports = json!([{"number": 444, "protocol": "HTTPS"}, {"number": 80}]);
        let one = Site::read(&json!({"hosts": ["a.example"], "ports": ports})).unwrap();
        assert_eq!([one.speaks(444), one.speaks(80), one.speaks(443)], [Some(Speaks::Https), Some(Speaks::Http), None]);
        let all = Site::read(&json!({"hosts": ["*"], "ports": ports})).unwrap();
        assert_eq!(all.speaks(443), Some(Speaks::Https));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fault = |spec: serde_json::Value| {
            let fault = Site::read(&spec).unwrap_err();
            format!("{}: {}", fault.field, fault.message)
        };
        assert!(fault(json!({})).starts_with("spec.hosts: Required value"));
        assert!(fault(json!({"hosts": ["A"]})).starts_with("spec.hosts[0]: Invalid value: \"A\""));
        assert!(fault(json!({"hosts": ["a"], "stauts": 1})).contains("unknown field `stauts`"));
        assert!(fault(json!({"hosts": ["a"], "delay": "2h"})).contains("250ms"));
        assert!(fault(json!({"hosts": ["a"], "delay": "61s"})).contains("up to a minute"));
        assert!(fault(json!({"hosts": ["a"], "addresses": ["10.244.1.1"]})).starts_with("spec.addresses[0]"));
        assert!(fault(json!({"hosts": ["a"], "addresses": ["1.2.3"]})).contains("10.96.0.0/12"));
        assert!(fault(json!({"hosts": ["a"], "tls": {"clientAuthority": "x"}})).contains("PEM"));
        assert!(fault(json!({"hosts": ["a"], "ports": [{"number": 70000}]})).contains("u16"));
        assert_eq!(
            Site::read(&json!({"hosts": ["a"], "delay": "250ms"})).unwrap().delay,
            Some(Duration::from_millis(250))
        );
    }
}

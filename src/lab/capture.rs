//! Which of a pod's TCP goes to its sidecar, as istio-init's rules say it (REDIRECT mode), in nftables' terms.
//!
//! Two things differ from istio-init: Envoy's own connections are known by their mark, since in a user namespace all run
//! as one user, and there is one chain for each way instead of several.

use super::links::LOOPBACK;
use super::netfilter::{Act, Chain, Hook, Match, Protocol, Rule};
use std::net::Ipv4Addr;

/// Envoy marks its own connections so, and they pass the capture.
pub const PROXY_MARK: u32 = 1337;
/// Where a pod's outbound TCP goes.
pub const OUTBOUND_PORT: u16 = 15001;
/// Where a pod's inbound TCP goes.
pub const INBOUND_PORT: u16 = 15006;
/// Ports of the sidecar itself, which are never captured on the way in: HBONE, status, health and statistics.
const SIDECAR_PORTS: [u16; 4] = [15008, 15020, 15021, 15090];
/// Envoy connects from here to the pod's own application.
const INBOUND_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

/// An address and the length of its prefix.
pub type Prefix = (Ipv4Addr, u8);

/// All, or those that are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Included<T> {
    All,
    Only(Vec<T>),
}

/// What is captured. The default is istio-init's: all outbound; inbound is as the node agent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureRules {
    /// `None`: inbound TCP is not captured at all.
    pub inbound_ports: Option<Included<u16>>,
    pub inbound_ports_excluded: Vec<u16>,
    pub outbound_ranges: Included<Prefix>,
    pub outbound_ranges_excluded: Vec<Prefix>,
    /// Captured wherever they lead, but for the excluded ranges.
    pub outbound_ports: Vec<u16>,
    pub outbound_ports_excluded: Vec<u16>,
}

impl Default for CaptureRules {
    fn default() -> CaptureRules {
        CaptureRules {
            inbound_ports: None,
            inbound_ports_excluded: vec![],
            outbound_ranges: Included::All,
            outbound_ranges_excluded: vec![],
            outbound_ports: vec![],
            outbound_ports_excluded: vec![],
        }
    }
}

impl CaptureRules {
    /// Reads the pod's `traffic.sidecar.istio.io/…` annotations. With `inbound`, inbound TCP is captured too.
    ///
    /// # Errors
    /// The annotation, its value, and what it should be.
    pub fn from_annotations<'a>(
        inbound: bool,
        annotation: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<CaptureRules, String> {
        let value = |name: &str| {
            let name = format!("traffic.sidecar.istio.io/{name}");
            annotation(&name).map(|value| (name, value))
        };
        let included_ports = value("includeInboundPorts").map_or(Ok(Included::All), |given| included(given, port))?;
        Ok(CaptureRules {
            inbound_ports: inbound.then_some(included_ports),
            inbound_ports_excluded: listed(value("excludeInboundPorts"), port)?,
            outbound_ranges: value("includeOutboundIPRanges")
                .map_or(Ok(Included::All), |given| included(given, prefix))?,
            outbound_ranges_excluded: listed(value("excludeOutboundIPRanges"), prefix)?,
            outbound_ports: listed(value("includeOutboundPorts"), port)?,
            outbound_ports_excluded: listed(value("excludeOutboundPorts"), port)?,
        })
    }

    pub fn chains(&self) -> Vec<Chain> {
        let inbound = self.inbound_ports.as_ref().map(|ports| self.inbound_chain(ports));
        inbound.into_iter().chain([self.outbound_chain()]).collect()
    }

    fn inbound_chain(&self, ports: &Included<u16>) -> Chain {
        let to_port = |port: &u16, then| Rule { when: vec![TCP, Match::DestinationPort(*port)], then };
        let mut rules: Vec<Rule> = Vec::new();
        match ports {
            Included::All => {
                let passed = SIDECAR_PORTS.iter().chain(&self.inbound_ports_excluded);
                rules.extend(passed.map(|port| to_port(port, Act::Pass)));
                rules.push(Rule { when: vec![TCP], then: Act::Redirect(INBOUND_PORT) });
            }
            Included::Only(ports) => rules.extend(ports.iter().map(|port| to_port(port, Act::Redirect(INBOUND_PORT)))),
        }
        Chain { name: "inbound", hook: Hook::Arriving, rules }
    }

    fn outbound_chain(&self) -> Chain {
        let rule = |when: Vec<Match>, then| Rule { when, then };
        let loopback = Match::OutLink(LOOPBACK);
        let mut rules: Vec<Rule> = Vec::new();
        let pass = |port: &u16| rule(vec![TCP, Match::DestinationPort(*port)], Act::Pass);
        rules.extend(self.outbound_ports_excluded.iter().map(pass));
        if self.inbound_ports.is_some() {
            rules.push(rule(vec![loopback, Match::Source(INBOUND_SOURCE, 32)], Act::Pass));
            // The application calls a Service of its own and Envoy chose this pod: it comes in as from elsewhere.
            let to_itself =
                vec![loopback, Match::NotDestination(Ipv4Addr::LOCALHOST, 32), TCP, Match::Mark(PROXY_MARK)];
            rules.push(rule(to_itself, Act::Redirect(INBOUND_PORT)));
        }
        rules.push(rule(vec![loopback], Act::Pass));
        rules.push(rule(vec![Match::Mark(PROXY_MARK)], Act::Pass));
        rules.push(rule(vec![Match::Destination(Ipv4Addr::LOCALHOST, 32)], Act::Pass));
        let excluded = |(address, length): &Prefix| rule(vec![Match::Destination(*address, *length)], Act::Pass);
        rules.extend(self.outbound_ranges_excluded.iter().map(excluded));
        let captured = Act::Redirect(OUTBOUND_PORT);
        rules.extend(self.outbound_ports.iter().map(|port| rule(vec![TCP, Match::DestinationPort(*port)], captured)));
        match &self.outbound_ranges {
            Included::All => rules.push(rule(vec![TCP], captured)),
            Included::Only(ranges) => {
                let to = |(address, length): &Prefix| rule(vec![TCP, Match::Destination(*address, *length)], captured);
                rules.extend(ranges.iter().map(to));
            }
        }
        Chain { name: "outbound", hook: Hook::Sent, rules }
    }
}

const TCP: Match = Match::Protocol(Protocol::Tcp);

type Given<'a> = (String, &'a str);

/// `*` for all, else a list.
fn included<T>(given: Given, read: fn(&str) -> Result<T, &'static str>) -> Result<Included<T>, String> {
    if given.1.trim() == "*" { Ok(Included::All) } else { listed(Some(given), read).map(Included::Only) }
}

/// Separated by commas; empty for none.
fn listed<T>(given: Option<Given>, read: fn(&str) -> Result<T, &'static str>) -> Result<Vec<T>, String> {
    let Some((name, value)) = given else { return Ok(vec![]) };
    let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| read(item).map_err(|expected| format!("annotation {name}: {item:?} is not {expected}"))).collect()
}

fn port(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "a port (0 to 65535)")
}

/// `10.96.0.0/12`, or one address.
pub(super) fn prefix(text: &str) -> Result<Prefix, &'static str> {
    let expected = "an IPv4 range such as 10.96.0.0/12";
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    let length = length.parse().ok().filter(|length| *length <= 32).ok_or(expected)?;
    Ok((address.parse().map_err(|_| expected)?, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn read(inbound: bool, given: &[(&str, &'static str)]) -> Result<CaptureRules, String> {
        let given: BTreeMap<String, &str> =
            given.iter().map(|(name, value)| (format!("traffic.sidecar.istio.io/{name}"), *value)).collect();
        CaptureRules::from_annotations(inbound, |name| given.get(name).copied())
    }

    #[test]
    fn without_annotations_all_outbound_is_captured_but_the_sidecars_own_and_the_pods_own() {
        let rules = read(false, &[]).unwrap();
        assert_eq!(rules, CaptureRules::default());
        let chains = rules.chains();
        let [outbound] = chains.as_slice() else { panic!("{chains:?}") };
        let acts: Vec<_> = outbound.rules.iter().map(|rule| rule.then).collect();
        assert_eq!(acts, [Act::Pass, Act::Pass, Act::Pass, Act::Redirect(15001)]);
    }

    #[test]
    fn annotations_narrow_the_capture_in_istios_order() {
        let rules = read(
            false,
            &[
                ("excludeOutboundPorts", "3306, 6379"),
                ("includeOutboundIPRanges", "203.0.113.0/24,198.18.0.1"),
                ("excludeOutboundIPRanges", "203.0.113.128/25"),
            ],
        );
        let chain = rules.unwrap().outbound_chain();
        assert_eq!(chain.rules[0].when, [TCP, Match::DestinationPort(3306)]);
        assert_eq!(chain.rules[5].when, [Match::Destination(Ipv4Addr::new(203, 0, 113, 128), 25)]);
        assert_eq!(chain.rules[6].when, [TCP, Match::Destination(Ipv4Addr::new(203, 0, 113, 0), 24)]);
        assert_eq!(chain.rules[7].when, [TCP, Match::Destination(Ipv4Addr::new(198, 18, 0, 1), 32)]);
        assert_eq!(chain.rules.len(), 8);
        let none = read(false, &[("includeOutboundIPRanges", "")]).unwrap().outbound_chain();
        assert!(none.rules.iter().all(|rule| rule.then == Act::Pass));
    }

    #[test]
    fn inbound_spares_the_sidecars_ports_or_takes_only_the_listed() {
        let all = read(true, &[("excludeInboundPorts", "9000")]).unwrap().chains();
        let passed: Vec<_> =
            all[0].rules.iter().filter(|rule| rule.then == Act::Pass).map(|rule| rule.when[1]).collect();
        assert_eq!(passed, [15008, 15020, 15021, 15090, 9000].map(Match::DestinationPort));
        let some = read(true, &[("includeInboundPorts", "80")]).unwrap().chains();
        assert_eq!(some[0].rules, [Rule { when: vec![TCP, Match::DestinationPort(80)], then: Act::Redirect(15006) }]);
    }

    #[test]
    fn a_bad_annotation_is_named() {
        let wrong = read(false, &[("excludeOutboundPorts", "80,http")]).unwrap_err();
        assert_eq!(
            wrong,
            "annotation traffic.sidecar.istio.io/excludeOutboundPorts: \"http\" is not a port (0 to 65535)"
        );
        for range in ["10.0.0.0/33", "httpbin.org", "::1/64"] {
            assert!(read(false, &[("excludeOutboundIPRanges", range)]).unwrap_err().contains("10.96.0.0/12"));
        }
    }
}

//! Which name has which address. No I/O.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// What a Service's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceName {
    /// Its cluster address, or, of a headless Service, its pods'. Empty: the name exists and has no address.
    Addresses(Vec<Ipv4Addr>),
    /// An ExternalName Service: another name.
    Alias(String),
}

/// A named port of a Service: the port, and the name of what has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlace {
    pub port: u16,
    pub target: String,
}

/// What DNS says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Addresses(Vec<Ipv4Addr>),
    Alias(String),
    NoSuchName,
}

const CLUSTER_DOMAIN: &str = "cluster.local";
/// Outside names with addresses of their own, so that they are the same in every lab.
const WELL_KNOWN: [(&str, Ipv4Addr); 3] = [
    ("httpbin.org", Ipv4Addr::new(203, 0, 113, 10)),
    ("edition.cnn.com", Ipv4Addr::new(203, 0, 113, 11)),
    ("example.org", Ipv4Addr::new(203, 0, 113, 12)),
];
/// Those names and addresses.
pub fn well_known() -> &'static [(&'static str, Ipv4Addr)] {
    &WELL_KNOWN
}

/// Addresses for the other names, in the order they are asked for: the documentation network from .13 on, then the
/// benchmark network (RFC 5737, RFC 2544). Neither is anyone's in the real internet.
const FIRST_MINTED: u32 = u32::from_be_bytes([203, 0, 113, 13]);
const LAST_MINTED: u32 = u32::from_be_bytes([203, 0, 113, 254]);
const FIRST_FURTHER: u32 = u32::from_be_bytes([198, 18, 0, 1]);
const LAST_FURTHER: u32 = u32::from_be_bytes([198, 19, 255, 254]);

/// The name table of one lab.
#[derive(Debug, Default)]
pub struct Names {
    services: BTreeMap<String, ServiceName>,
    /// What `_http._tcp.NAME` stands for.
    ports: BTreeMap<String, Vec<ServicePlace>>,
    minted: BTreeMap<String, Ipv4Addr>,
}

impl Names {
    pub fn set_services(&mut self, services: BTreeMap<String, ServiceName>) {
        self.services = services.into_iter().map(|(name, service)| (name.to_ascii_lowercase(), service)).collect();
    }

    pub fn set_service_ports(&mut self, ports: BTreeMap<String, Vec<ServicePlace>>) {
        self.ports = ports.into_iter().map(|(name, places)| (name.to_ascii_lowercase(), places)).collect();
    }

    /// What a Service's name stands for, given without the last dot.
    pub fn service(&self, name: &str) -> Option<Found> {
        self.services.get(&name.to_ascii_lowercase()).map(|service| match service {
            ServiceName::Addresses(addresses) => Found::Addresses(addresses.clone()),
            ServiceName::Alias(other) => Found::Alias(other.clone()),
        })
    }

    /// Where a Service's named port is (SRV).
    pub fn service_places(&self, name: &str) -> Vec<ServicePlace> {
        self.ports.get(&name.to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    /// The outside names that have addresses already.
    pub fn known(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        let minted = self.minted.iter().map(|(name, at)| (name.as_str(), *at));
        WELL_KNOWN.iter().map(|(name, at)| (*name, *at)).chain(minted)
    }

    /// The address of an outside name, minted at the first question; also of one that the real internet could not have,
    /// if it is `named` by a site.
    pub fn outside(&mut self, name: &str, named: bool) -> Option<Ipv4Addr> {
        let name = name.to_ascii_lowercase();
        if is_of_cluster(&name) || !named && !can_be_outside(&name) {
            return None;
        }
        if let Some((_, address)) = WELL_KNOWN.iter().find(|(known, _)| *known == name) {
            return Some(*address);
        }
        if let Some(address) = self.minted.get(&name) {
            return Some(*address);
        }
        let address = minted_address(self.minted.len() as u32)?;
        self.minted.insert(name, address);
        Some(address)
    }

    /// The outside name at an address, if one was told to be there.
    pub fn at(&self, address: Ipv4Addr) -> Option<&str> {
        self.known().find(|(_, at)| *at == address).map(|(name, _)| name)
    }
}

/// The address of the n-th name; `None` when all are given away.
pub fn minted_address(number: u32) -> Option<Ipv4Addr> {
    const FIRST_COUNT: u32 = LAST_MINTED - FIRST_MINTED + 1;
    let address = match number.checked_sub(FIRST_COUNT) {
        None => FIRST_MINTED + number,
        Some(further) => FIRST_FURTHER.checked_add(further).filter(|address| *address <= LAST_FURTHER)?,
    };
    Some(Ipv4Addr::from(address))
}

/// Whether the real internet could have such a host name: at least two labels, a top level that is not reserved
/// (RFC 6761, RFC 6762), and not the cluster's own domain.
fn can_be_outside(name: &str) -> bool {
    let reserved = ["local", "localhost", "invalid", "onion", "internal", "arpa"];
    let top = name.rsplit('.').next().unwrap_or_default();
    let is_number = top.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253 && name.contains('.') && !is_number && !reserved.contains(&top) && name.split('.').all(is_label)
}

fn is_of_cluster(name: &str) -> bool {
    name == CLUSTER_DOMAIN || name.ends_with(".cluster.local")
}

fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Names {
        fn look_up(&mut self, name: &str) -> Found {
            let outside = |names: &mut Names| names.outside(name, false).map(|found| Found::Addresses(vec![found]));
            self.service(name).or_else(|| outside(self)).unwrap_or(Found::NoSuchName)
        }
    }

    fn address(text: &str) -> Found {
        Found::Addresses(vec![text.parse().unwrap()])
    }

    #[test]
    fn outside_names_keep_their_addresses() {
        let mut names = Names::default();
        assert_eq!(names.look_up("HTTPBIN.org"), address("203.0.113.10"));
        assert_eq!(names.look_up("edition.cnn.com"), address("203.0.113.11"));
        assert_eq!(names.look_up("example.org"), address("203.0.113.12"));
        assert_eq!(names.look_up("one.example"), address("203.0.113.13"));
        assert_eq!(names.look_up("two.example"), address("203.0.113.14"));
        assert_eq!(names.look_up("one.example"), address("203.0.113.13"));
        assert_eq!(names.at(Ipv4Addr::new(203, 0, 113, 14)), Some("two.example"));
        assert_eq!(names.at(Ipv4Addr::new(203, 0, 113, 10)), Some("httpbin.org"));
        assert_eq!(names.at(Ipv4Addr::new(203, 0, 113, 15)), None);
    }

    #[test]
    fn names_that_cannot_be_outside_do_not_exist() {
        let mut names = Names::default();
        let long = format!("{}.com", "a".repeat(64));
        let absent = ["sleep", "httpbin.org.default.svc.cluster.local", "cluster.local", "a..b", "x.invalid", &long];
        for name in absent.into_iter().chain(["", "-a.com", "printer.local", "1.113.0.203.in-addr.arpa", "1.2.3.4"]) {
            assert_eq!(names.look_up(name), Found::NoSuchName, "{name}");
        }
        assert_eq!(names.look_up("first.real.name"), address("203.0.113.13"), "nothing was minted for the others");
    }

    #[test]
    fn services_have_the_addresses_given_last() {
        let mut names = Names::default();
        let service = |addresses: &[Ipv4Addr]| ServiceName::Addresses(addresses.to_vec());
        let name = "sleep.default.svc.cluster.local".to_string();
        let ip = Ipv4Addr::new(10, 96, 0, 7);
        names.set_services(BTreeMap::from([
            (name.clone(), service(&[ip])),
            ("far.default.svc.cluster.local".into(), ServiceName::Alias("httpbin.org".into())),
            ("empty.default.svc.cluster.local".into(), service(&[])),
        ]));
        assert_eq!(names.look_up(&name), Found::Addresses(vec![ip]));
        assert_eq!(names.look_up("far.default.svc.cluster.local"), Found::Alias("httpbin.org".into()));
        assert_eq!(names.look_up("empty.default.svc.cluster.local"), Found::Addresses(vec![]));
        names.set_services(BTreeMap::new());
        assert_eq!(names.look_up(&name), Found::NoSuchName);
    }

    #[test]
    fn minted_addresses_go_on_in_the_second_network_and_end() {
        assert_eq!(minted_address(241), Some(Ipv4Addr::new(203, 0, 113, 254)));
        assert_eq!(minted_address(242), Some(Ipv4Addr::new(198, 18, 0, 1)));
        assert_eq!(minted_address(242 + 0x1_fffd), Some(Ipv4Addr::new(198, 19, 255, 254)));
        assert_eq!(minted_address(242 + 0x1_fffe), None);
        assert_eq!(minted_address(u32::MAX), None);
    }
}

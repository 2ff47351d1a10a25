//! How a site behaves, where it does not as every site does.

use std::collections::BTreeMap;
use std::time::Duration;

/// One outside site's behaviour. The default is that of a healthy site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// Instead of the status it would answer.
    pub status: Option<u16>,
    /// Instead of the body it would answer.
    pub body: Option<String>,
    /// Before it answers a request; a minute at most.
    pub delay: Option<Duration>,
    /// DNS knows no such name.
    pub unresolved: bool,
    /// Its address refuses every connection.
    pub down: bool,
    pub versions: TlsVersions,
    pub certificate: Option<CertificateFault>,
    /// Only clients with a certificate of this authority (PEM) are served.
    pub client_authority: Option<String>,
}

/// Which TLS versions a site speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsVersions {
    #[default]
    Both,
    Only12,
    Only13,
}

/// What is wrong with a site's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFault {
    /// It is another name's.
    WrongName,
    /// It is issued by an authority nobody trusts.
    UnknownAuthority,
    Expired,
}

/// Sites with a behaviour of their own, by host name.
#[derive(Debug, Default)]
pub(super) struct SiteTable {
    sites: BTreeMap<String, Site>,
    /// Counts the changes, so that what was made for an older state is known to be old.
    version: u64,
}

impl SiteTable {
    pub fn set(&mut self, host: &str, site: Option<Site>) {
        self.version += 1;
        match site {
            Some(site) => drop(self.sites.insert(host.to_string(), site)),
            None => drop(self.sites.remove(host)),
        }
    }

    pub fn get(&self, host: &str) -> Site {
        self.sites.get(host).cloned().unwrap_or_default()
    }

    pub fn down(&self) -> Vec<String> {
        self.sites.iter().filter(|(_, site)| site.down).map(|(host, _)| host.clone()).collect()
    }

    pub fn version(&self) -> u64 {
        self.version
    }
}

//! The certificates sites show, and the TLS they speak. Made at the first connection to a name, then kept.

use super::World;
use super::site::{CertificateFault, Site, TlsVersions};
use crate::lab::authority::{Authority, Leaf};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// A certificate could not be made; the connection then fails as on a broken server.
pub(super) type CertificateError = Box<dyn std::error::Error + Send + Sync>;

pub(super) struct Certificates {
    world: Arc<World>,
    authority: Arc<Authority>,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    /// Of the site table's version, which it is thrown away with.
    version: u64,
    configs: BTreeMap<String, Arc<ServerConfig>>,
}

impl Certificates {
    pub fn new(world: Arc<World>, authority: Arc<Authority>) -> Certificates {
        Certificates { world, authority, made: Mutex::default() }
    }

    /// What the server at `address` shows a client that asks for `sni`.
    ///
    /// A server has certificates for its own names alone: one that is asked for another's shows its own, and the client
    /// finds it invalid. So a mesh that sends a connection to the wrong site fails here as it does in the world.
    pub fn config(&self, address: Ipv4Addr, sni: Option<&str>) -> Result<Arc<ServerConfig>, CertificateError> {
        let here = self.world.names(|names| names.at(address).map(String::from));
        let sni = sni.map(str::to_ascii_lowercase);
        let shown = match (here, sni) {
            (Some(here), Some(sni)) if same_owner(&here, &sni) => sni,
            (Some(here), _) => here,
            (None, Some(sni)) => sni,
            (None, None) => address.to_string(),
        };
        let (site, version) = self.world.sites(|sites| (sites.get(&shown), sites.version()));
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.version != version {
            *made = Made { version, ..Made::default() };
        }
        if let Some(config) = made.configs.get(&shown) {
            return Ok(config.clone());
        }
        let config = Arc::new(self.make(&shown, &site)?);
        made.configs.insert(shown, config.clone());
        Ok(config)
    }

    fn make(&self, name: &str, site: &Site) -> Result<ServerConfig, CertificateError> {
        let mut leaf = Leaf::default();
        match (site.certificate, name.parse::<IpAddr>()) {
            (Some(CertificateFault::WrongName), _) => leaf.dns.push("wrong-name.example".to_string()),
            (_, Ok(address)) => leaf.ips.push(address),
            (_, Err(_)) => leaf.dns.push(name.to_string()),
        }
        leaf.expired = site.certificate == Some(CertificateFault::Expired);
        leaf.common_name = leaf.dns.first().cloned();
        let identity = match site.certificate {
            Some(CertificateFault::UnknownAuthority) => Authority::new("An authority nobody trusts")?.issue(&leaf)?,
            _ => self.authority.issue(&leaf)?,
        };
        let chain = CertificateDer::pem_slice_iter(identity.chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
        let versions = match site.versions {
            TlsVersions::Both => &[&TLS13, &TLS12][..],
            TlsVersions::Only12 => &[&TLS12],
            TlsVersions::Only13 => &[&TLS13],
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
        let config = match &site.client_authority {
            None => config.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    roots.add(root?)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
                config.with_client_cert_verifier(verifier)
            }
        };
        let mut config = config.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Whether two names are likely on one server: the same, or under one domain, as `www` and `en` of `wikipedia.org`.
fn same_owner(one: &str, other: &str) -> bool {
    let domain = |name: &str| name.rsplit('.').take(2).map(String::from).collect::<Vec<_>>();
    domain(one) == domain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_domain_share_a_server() {
        assert!(same_owner("www.wikipedia.org", "en.wikipedia.org"));
        assert!(same_owner("wikipedia.org", "en.wikipedia.org"));
        assert!(!same_owner("httpbin.org", "example.org"));
    }
}

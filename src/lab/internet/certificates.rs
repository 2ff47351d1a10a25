//! The certificates sites show, and the TLS they speak. Made at the first connection to a name, then kept.

use super::World;
use super::any_client::AnyClient;
use super::site::{Certificate, ClientCertificate, Site, TlsVersion};
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
    configs: BTreeMap<(String, usize), Arc<ServerConfig>>,
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
        let sni = sni.map(str::to_ascii_lowercase);
        let (met, version, here) = self.world.met(address, sni.as_deref());
        // One name may be shown by two sites, in different ways. The table keeps its sites as long as its version.
        let which = met.as_ref().map_or(0, |site| Arc::as_ptr(site) as usize);
        let site = met.unwrap_or_default();
        let any_name = site.tls.names == ["*"];
        let own = here.or_else(|| site.hosts.iter().find(|host| !host.starts_with('*')).cloned());
        let is_own = |sni: &str| {
            let named = !site.is_everywhere() && site.has(sni);
            any_name || named || own.as_ref().is_none_or(|own| same_owner(own, sni))
        };
        let shown = match (&own, sni) {
            (_, Some(sni)) if is_own(&sni) => sni,
            // It would show any name, and is asked for none.
            (_, None) if any_name => "no-sni.invalid".to_string(),
            (Some(own), _) => own.clone(),
            (None, _) => address.to_string(),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.version != version {
            *made = Made { version, ..Made::default() };
        }
        let key = (shown.clone(), which);
        if let Some(config) = made.configs.get(&key) {
            return Ok(config.clone());
        }
        let names = if site.tls.names.is_empty() || any_name { vec![shown] } else { site.tls.names.clone() };
        let config = Arc::new(self.make(&names, &site)?);
        made.configs.insert(key, config.clone());
        Ok(config)
    }

    fn make(&self, names: &[String], site: &Site) -> Result<ServerConfig, CertificateError> {
        let mut leaf = Leaf::default();
        for name in names {
            match (site.tls.certificate, name.parse::<IpAddr>()) {
                (Certificate::WrongHost, _) => leaf.dns = vec!["wrong-name.example".to_string()],
                (_, Ok(address)) => leaf.ips.push(address),
                (_, Err(_)) => leaf.dns.push(name.to_string()),
            }
        }
        leaf.expired = site.tls.certificate == Certificate::Expired;
        leaf.common_name = leaf.dns.first().cloned();
        let identity = match site.tls.certificate {
            Certificate::Untrusted => Authority::new("An authority nobody trusts")?.issue(&leaf)?,
            _ => self.authority.issue(&leaf)?,
        };
        let chain = CertificateDer::pem_slice_iter(identity.chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
        let least = site.tls.min_version.unwrap_or(TlsVersion::Tls12);
        let most = site.tls.max_version.unwrap_or(TlsVersion::Tls13);
        let known = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
        let versions: Vec<_> =
            known.iter().filter(|(version, _)| (least..=most).contains(version)).map(|(_, named)| *named).collect();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions)?;
        let required = site.tls.client_certificate == ClientCertificate::Required;
        let config = match (site.tls.client_certificate, &site.tls.client_authority) {
            (ClientCertificate::None, _) => config.with_no_client_auth(),
            (_, None) => config.with_client_cert_verifier(Arc::new(AnyClient::new(&provider, required))),
            (_, Some(pem)) => {
                let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pem)?), provider);
                let builder = if required { builder } else { builder.allow_unauthenticated() };
                config.with_client_cert_verifier(builder.build()?)
            }
        };
        let mut config = config.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn roots(pem: &str) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(root?)?;
    }
    if roots.is_empty() { Err("no certificate".into()) } else { Ok(roots) }
}

/// Whether a text holds certificates of an authority, in PEM.
pub(super) fn is_authority(pem: &str) -> bool {
    roots(pem).is_ok()
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

//! Certificate authorities of the lab, made anew for each lab and never written outside its folder:
//! the mesh CA (workload SPIFFE identities), the outside CA (sites), the API server's CA. The outside one's key stands in
//! a Secret of the lab too, for certificates that its sites and clients are to trust.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use std::net::IpAddr;

/// A certificate chain (leaf first) and its private key, PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub chain_pem: String,
    pub key_pem: String,
}

/// What a leaf certificate says.
#[derive(Debug, Clone, Default)]
pub struct Leaf {
    pub common_name: Option<String>,
    /// `O=`: Kubernetes groups for API clients.
    pub organization: Option<String>,
    pub dns: Vec<String>,
    pub ips: Vec<IpAddr>,
    /// `spiffe://cluster.local/ns/NS/sa/SA`.
    pub uris: Vec<String>,
    /// Valid only in the past.
    pub expired: bool,
}

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new self-signed CA (ECDSA P-256).
    pub fn new(common_name: &str) -> Result<Authority, rcgen::Error> {
        Authority::with_key(common_name, KeyPair::generate()?)
    }

    /// The authority of that name and key, PEM: what it issues is trusted by whoever trusts the one it was made for.
    pub fn of(common_name: &str, key_pem: &str) -> Result<Authority, rcgen::Error> {
        Authority::with_key(common_name, KeyPair::from_pem(key_pem)?)
    }

    fn with_key(common_name: &str, key: KeyPair) -> Result<Authority, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(Some(common_name), Some("egress-scn lab"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, key)?;
        Ok(Authority { issuer })
    }

    pub fn root_pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a leaf for both server and client use, as istiod's workload certificates are.
    pub fn issue(&self, leaf: &Leaf) -> Result<Identity, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(leaf.common_name.as_deref(), leaf.organization.as_deref());
        for dns in &leaf.dns {
            params.subject_alt_names.push(SanType::DnsName(dns.as_str().try_into()?));
        }
        for uri in &leaf.uris {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
        }
        params.subject_alt_names.extend(leaf.ips.iter().map(|ip| SanType::IpAddress(*ip)));
        if leaf.expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { chain_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

fn name(common: Option<&str>, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(value) = organization {
        name.push(DnType::OrganizationName, value);
    }
    if let Some(value) = common {
        name.push(DnType::CommonName, value);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issues_a_workload_identity() {
        let authority = Authority::new("mesh").unwrap();
        let uris = vec!["spiffe://cluster.local/ns/mesh-test/sa/sleep".to_string()];
        let identity = authority.issue(&Leaf { uris, ..Leaf::default() }).unwrap();
        assert!(identity.chain_pem.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(identity.key_pem.contains("PRIVATE KEY"));
    }
}

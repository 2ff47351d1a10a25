//! The table of secrets, from the `SecretsConfigDump` of an Envoy.

use super::aligned;
use crate::envoy::json::{at, list, text};
use base64::Engine;
use serde_json::Value;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

/// One secret, or one trust bundle of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretRow {
    pub name: String,
    /// `Cert Chain`, `CA`, or empty when there is no certificate to read.
    pub kind: String,
    /// `ACTIVE` or `WARMING`.
    pub state: String,
    pub valid: bool,
    /// 32 hexadecimal digits.
    pub serial: String,
    /// RFC 3339.
    pub not_after: String,
    pub not_before: String,
    pub trust_domain: String,
}

/// The secrets of a config dump. `now` is in seconds since 1970: whether a certificate is valid depends on it.
pub fn secret_rows(dump: &Value, now: i64) -> Vec<SecretRow> {
    let sections = list(dump, &["configs"]).iter().filter(|s| text(s, &["@type"]).ends_with("SecretsConfigDump"));
    let mut rows = vec![];
    for section in sections {
        for (key, state) in [("dynamic_warming_secrets", "WARMING"), ("dynamic_active_secrets", "ACTIVE")] {
            for entry in list(section, &[key]) {
                rows.extend(secret(entry, state, now));
            }
        }
    }
    rows
}

fn secret(entry: &Value, state: &str, now: i64) -> Vec<SecretRow> {
    let empty = Value::Null;
    let body = at(entry, &["secret"]).unwrap_or(&empty);
    let row = SecretRow { name: text(entry, &["name"]), state: state.into(), ..SecretRow::default() };
    let chain = bytes(body, &["tls_certificate", "certificate_chain"]);
    let root = bytes(body, &["validation_context", "trusted_ca"]);
    if let Some(pem) = chain.or(root) {
        return vec![described(row, &pem, now)];
    }
    let bundles = list(body, &["validation_context", "custom_validator_config", "typed_config", "trust_domains"]);
    if bundles.is_empty() {
        return vec![row];
    }
    let of_domain = |bundle: &Value| {
        let row = SecretRow { trust_domain: text(bundle, &["name"]), ..row.clone() };
        match bytes(bundle, &["trust_bundle"]) {
            Some(pem) => described(row, &pem, now),
            None => row,
        }
    };
    bundles.iter().map(of_domain).collect()
}

/// A data source's content.
fn bytes(body: &Value, path: &[&str]) -> Option<Vec<u8>> {
    let source = at(body, path)?;
    let inline = text(source, &["inline_bytes"]);
    if !inline.is_empty() {
        return base64::engine::general_purpose::STANDARD.decode(inline).ok();
    }
    let string = text(source, &["inline_string"]);
    (!string.is_empty()).then(|| string.into_bytes())
}

/// What the first certificate says; the row as it is when there is none to read.
fn described(row: SecretRow, pem: &[u8], now: i64) -> SecretRow {
    let Ok((_, block)) = parse_x509_pem(pem) else { return row };
    let Ok(certificate) = block.parse_x509() else { return row };
    let validity = certificate.validity();
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let time = |at: i64| jiff::Timestamp::from_second(at).map(|t| t.to_string()).unwrap_or_default();
    let domain = || {
        let names = certificate.subject_alternative_name().ok()??;
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix("spiffe://")?.split('/').next().map(str::to_owned),
            _ => None,
        })
    };
    SecretRow {
        kind: if certificate.is_ca() { "CA" } else { "Cert Chain" }.into(),
        valid: from < now && now < to,
        serial: format!("{:0>32}", certificate.tbs_certificate.serial.to_str_radix(16)),
        not_after: time(to),
        not_before: time(from),
        trust_domain: if row.trust_domain.is_empty() { domain().unwrap_or_default() } else { row.trust_domain },
        name: row.name,
        state: row.state,
    }
}

/// RESOURCE NAME, TYPE, STATUS, VALID CERT, SERIAL NUMBER, NOT AFTER, NOT BEFORE; TRUST DOMAIN when every secret has one.
pub fn secrets(secrets: &[SecretRow]) -> String {
    if secrets.is_empty() {
        return "No active or warming secrets found.\n".into();
    }
    let domains = secrets.iter().all(|s| !s.trust_domain.is_empty());
    let mut heading = ["RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"]
        .map(str::to_owned)
        .to_vec();
    heading.extend(domains.then(|| "TRUST DOMAIN".to_owned()));
    let mut rows = vec![heading];
    for secret in secrets.iter().cloned() {
        let mut row = vec![
            secret.name,
            secret.kind,
            secret.state,
            secret.valid.to_string(),
            secret.serial,
            secret.not_after,
            secret.not_before,
        ];
        row.extend(domains.then_some(secret.trust_domain));
        rows.push(row);
    }
    aligned(&rows, 5)
}

/// The names of secrets that a configuration asks for, where no Envoy holds any: `Cert Chain` or `CA` by their use.
pub fn secret_names(names: &[(String, &str)]) -> String {
    if names.is_empty() {
        return "No secrets are asked for.\n".into();
    }
    let mut rows = vec![["RESOURCE NAME", "TYPE"].map(str::to_owned).to_vec()];
    rows.extend(names.iter().map(|(name, kind)| vec![name.clone(), (*kind).to_owned()]));
    aligned(&rows, 5)
}

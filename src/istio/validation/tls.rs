//! TLS settings of servers (gateways, sidecar ingress) and of clients (destination rules).

use super::fields::Fields;
use super::findings::{Findings, Messages};
use crate::istio::go::quote;
use serde_json::Value;
use std::collections::BTreeSet;

const CIPHER_SUITES: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

/// Whether the server hands TLS on as it comes.
pub(super) fn passes_through(tls: &Value) -> bool {
    matches!(tls.choice("mode", "PASSTHROUGH"), "PASSTHROUGH" | "AUTO_PASSTHROUGH")
}

/// TLS settings of a server.
pub(super) fn check_server(tls: Option<&Value>) -> Findings {
    let mut found = Findings::default();
    let Some(tls) = tls else { return found };
    let mode = tls.choice("mode", "PASSTHROUGH");
    let set = |name: &str| tls.has(name);
    check_ciphers(tls, &mut found);
    if mode == "ISTIO_MUTUAL" {
        for (name, what) in [
            ("serverCertificate", "server certificate"),
            ("privateKey", "private key"),
            ("caCertificates", "CA bundle"),
            ("tlsCertificates", "tlsCertificates"),
            ("credentialName", "credentialName"),
            ("credentialNames", "credentialNames"),
        ] {
            if set(name) {
                found.error(format!("ISTIO_MUTUAL TLS cannot have associated {what}"));
            }
        }
        return found;
    }
    let all = [
        "caCrl",
        "serverCertificate",
        "privateKey",
        "caCertificates",
        "tlsCertificates",
        "credentialName",
        "credentialNames",
    ];
    if passes_through(tls) && all.iter().any(|name| set(name)) {
        found.warn(format!("{mode} mode does not use certificates, they will be ignored"));
    }
    let sources = [
        set("serverCertificate") && set("privateKey"),
        set("credentialName"),
        set("credentialNames"),
        set("tlsCertificates"),
    ];
    if sources.iter().filter(|source| **source).count() > 1 {
        found.error(
            "only one of credential_name, credential_names, server_certificate/private_key, tls_certificates should be specified",
        );
    }
    let terminates = matches!(mode, "SIMPLE" | "MUTUAL" | "OPTIONAL_MUTUAL");
    if terminates && (set("credentialName") || set("credentialNames")) {
        return found;
    }
    if terminates {
        let what = if mode == "SIMPLE" { "SIMPLE TLS" } else { "MUTUAL TLS" };
        if mode != "SIMPLE" && !set("caCertificates") {
            found.error(format!("{what} requires a client CA bundle"));
        }
        let listed = tls.items("tlsCertificates");
        if listed.len() > 2 {
            found.warn(format!("{what} can support up to 2 server certificates"));
        }
        let own = [tls.clone()];
        for pair in if listed.is_empty() { &own } else { listed } {
            if !pair.has("serverCertificate") {
                found.error(format!("{what} requires a server certificate"));
            }
            if !pair.has("privateKey") {
                found.error(format!("{what} requires a private key"));
            }
        }
    }
    if set("caCrl") {
        if set("credentialName") {
            found.error("CRL is not supported with credentialName. CRL has to be specified in the credential");
        }
        if mode == "SIMPLE" {
            found.error("CRL is not supported with SIMPLE TLS");
        }
    }
    found
}

fn check_ciphers(tls: &Value, found: &mut Findings) {
    let suites = tls.texts("cipherSuites");
    let old = matches!(tls.choice("minProtocolVersion", "TLS_AUTO"), "TLSV1_0" | "TLSV1_1");
    if old && suites.is_empty() {
        found.warn(
            "TLS version below TLSV1_2 require setting compatible ciphers as by default they no longer include compatible ciphers.",
        );
    }
    let (mut valid, mut invalid, mut duplicate) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for suite in suites {
        if !is_cipher_suite(suite) {
            invalid.insert(suite);
        } else if !valid.insert(suite) {
            duplicate.insert(suite);
        }
    }
    let show = |set: BTreeSet<&str>| format!("[{}]", set.into_iter().collect::<Vec<_>>().join(" "));
    if !invalid.is_empty() {
        found.warn(format!("ignoring invalid cipher suites: {}", show(invalid)));
    }
    if !duplicate.is_empty() {
        found.warn(format!("ignoring duplicate cipher suites: {}", show(duplicate)));
    }
}

fn is_cipher_suite(text: &str) -> bool {
    // `-` and `+` begin an expression of the TLS library, which nobody parses here.
    let plain = text.bytes().next().is_some_and(|first| char::from(first).is_alphanumeric());
    text == "ALL" || !plain || CIPHER_SUITES.contains(&text)
}

/// TLS settings of a client, in an object of `namespace`.
pub(super) fn check_client(namespace: &str, tls: Option<&Value>) -> Messages {
    let mut errors = Messages::default();
    let Some(tls) = tls else { return errors };
    let mode = tls.choice("mode", "DISABLE");
    let set = |name: &str| tls.has(name);
    let credential = tls.text("credentialName");
    if let Some(resource) = credential.strip_prefix("configmap://") {
        errors.join(check_config_map(credential, resource, namespace).into());
    }
    if tls.truth("insecureSkipVerify") {
        if mode == "SIMPLE" && (set("caCertificates") || set("credentialName") || set("subjectAltNames")) {
            errors.add("cannot specify CaCertificates or CredentialName or SubjectAltNames when InsecureSkipVerify is set true");
        }
        if mode == "MUTUAL" && (set("caCertificates") || set("subjectAltNames")) {
            errors.add("cannot specify CaCertificates or SubjectAltNames when InsecureSkipVerify is set true");
        }
    }
    if matches!(mode, "SIMPLE" | "MUTUAL") && set("credentialName") {
        if ["clientCertificate", "caCertificates", "privateKey", "caCrl"].iter().any(|name| set(name)) {
            errors.add("cannot specify client certificates or CA certificate or CA CRL If credentialName is set");
        }
        return errors;
    }
    if mode == "MUTUAL" {
        if !set("clientCertificate") {
            errors.add("client certificate required for mutual tls");
        }
        if !set("privateKey") {
            errors.add("private key required for mutual tls");
        }
    }
    errors
}

fn check_config_map(credential: &str, resource: &str, namespace: &str) -> Result<(), String> {
    const WHAT: &str = "invalid configmap:// credentialName";
    let parts: Vec<&str> = resource.split('/').collect();
    let expected = match parts[..] {
        [_] | [] => "Expected namespace and name",
        ["", ..] => "Expected namespace",
        [_, "", ..] => "Expected name",
        [owner, ..] if owner == namespace && !namespace.is_empty() => return Ok(()),
        _ => return Err(format!("{WHAT}: namespace must match the configuration namespace {}", quote(namespace))),
    };
    Err(format!("{WHAT}: invalid resource name {}. {expected}", quote(credential)))
}

//! RequestAuthentication.

use super::fields::Fields;
use super::findings::{Findings, Messages};
use super::headers::check_strict_name;
use super::names::check_duration;
use super::selectors;
use crate::istio::go::{quote, url};
use serde_json::Value;

pub(super) fn check(spec: &Value) -> Findings {
    let mut found = selectors::check_targets(spec);
    for rule in spec.items("jwtRules") {
        found.join(check_rule(rule));
        for index in private_keys(rule.text("jwks")) {
            found.warn(format!(
                "jwks key at index {index} contains private key material; only public keys are used for verification"
            ));
        }
    }
    found
}

fn check_rule(rule: &Value) -> Messages {
    let mut errors = Messages::default();
    for audience in rule.texts("audiences") {
        if audience.is_empty() {
            errors.list("audience must be non-empty string");
        }
    }
    if !rule.has("issuer") && !rule.has("jwksUri") {
        errors.list("issuer or jwksUri must be non-empty string");
    }
    if rule.has("jwksUri")
        && let Err(error) = check_jwks_uri(rule.text("jwksUri"))
    {
        errors.list(error);
    }
    if rule.has("jwks")
        && let Err(error) = check_jwks(rule.text("jwks"))
    {
        errors.list(format!("jwks parse error: {error}"));
    }
    for header in rule.items("fromHeaders") {
        if header.text("name").is_empty() {
            errors.list("location header name must be non-empty string");
        }
    }
    for (name, why) in [
        ("fromParams", "location query must be non-empty string"),
        ("fromCookies", "cookie name must be non-empty string"),
    ] {
        for _ in rule.texts(name).iter().filter(|text| text.is_empty()) {
            errors.list(why);
        }
    }
    for output in rule.items("outputClaimToHeaders") {
        if output.text("claim").is_empty() || output.text("header").is_empty() {
            errors.list("outputClaimToHeaders header and claim value must be non-empty string");
        } else if let Err(error) = check_strict_name(output.text("header")) {
            errors.list(error);
        }
    }
    if let Some(Err(error)) = rule.get("timeout").and_then(Value::as_i64).map(check_duration) {
        errors.list(error);
    }
    errors
}

fn check_jwks_uri(uri: &str) -> Result<(), String> {
    let url = url::parse(uri)?;
    match url.scheme.as_str() {
        "http" | "https" => Ok(()),
        scheme => Err(format!("URI scheme {} is not supported", quote(scheme))),
    }
}

/// Whether inline keys can be read at all; of a single key its type must be known.
fn check_jwks(text: &str) -> Result<(), String> {
    const UNMARSHAL: &str = "failed to unmarshal JWK set";
    let keys: Value = serde_json::from_str(text).map_err(|error| {
        if error.is_eof() {
            format!("{UNMARSHAL}: unexpected EOF")
        } else {
            format!("{UNMARSHAL}: {}", scan_error(text))
        }
    })?;
    let Some(fields) = keys.as_object() else {
        return Err(format!("{UNMARSHAL}: {}", crate::istio::go::json::cannot(&keys, "jwk.keySetMarshalProxy")));
    };
    if !fields.contains_key("keys") && !fields.contains_key("kty") {
        return Err(format!("{UNMARSHAL}: failed to unmarshal key from JSON headers: invalid key type from JSON ()"));
    }
    Ok(())
}

/// What Go's scanner says of text that is no JSON, if it goes wrong at its start.
fn scan_error(text: &str) -> String {
    match crate::istio::go::json::bare(text) {
        Err(error) => error,
        Ok(_) => "unexpected EOF".into(),
    }
}

/// Indices of keys that hold private material.
fn private_keys(jwks: &str) -> Vec<usize> {
    let Ok(set) = serde_json::from_str::<Value>(jwks) else { return vec![] };
    let single = [set.clone()];
    let keys = if set.has("keys") { set.items("keys") } else { &single };
    keys.iter()
        .enumerate()
        .filter(|(_, key)| match key.text("kty") {
            "RSA" | "EC" | "OKP" => key.has("d"),
            "oct" => true,
            _ => false,
        })
        .map(|(index, _)| index)
        .collect()
}

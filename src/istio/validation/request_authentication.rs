//! RequestAuthentication.

use super::fields::Fields;
use super::findings::{Findings, Messages};
use super::headers::check_strict_name;
use super::names::check_duration;
use super::selectors;
use crate::istio::go::{json, quote, quote_char, url};
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

/// Whether inline keys can be read: the set, the type of each key and the fields that it cannot lack.
fn check_jwks(text: &str) -> Result<(), String> {
    check_key_set(text).map_err(|error| format!("failed to unmarshal JWK set: {error}"))
}

fn check_key_set(text: &str) -> Result<(), String> {
    let start = text.trim_start();
    match start.chars().next() {
        None => return Err("EOF".into()),
        Some('[') => return Err("expected '{', but got '['".into()),
        Some('{') => {}
        // Go reads one value and looks for the next.
        Some(_) => {
            let word: String = start.chars().take_while(|c| c.is_alphanumeric() || "-+.\"".contains(*c)).collect();
            let ended = |error: &String| error.contains("after top-level value");
            if word.is_empty() {
                return Err(json::bare(start).err().unwrap_or_default());
            }
            return Err(match json::bare(&word) {
                Ok(json::Bare::Other("string")) => format!("failed to decode value for key {word}: EOF"),
                Err(error) if error == "unexpected end of JSON input" => "unexpected EOF".into(),
                Err(error) if !ended(&error) => error,
                _ => "error reading token: EOF".into(),
            });
        }
    }
    let set: Value = serde_json::from_str(start).map_err(|_| {
        let key = start[1..].trim_start().chars().next();
        match key.filter(|c| !matches!(c, '"' | '}')) {
            Some(c) => format!("invalid character {} looking for beginning of object key string", quote_char(c)),
            None => "unexpected EOF".into(),
        }
    })?;
    match set.get("keys") {
        None => check_key(&set).map_err(|error| format!("failed to parse sole key in key set: {error}")),
        Some(Value::Array(keys)) => keys.iter().enumerate().try_for_each(|(index, key)| {
            check_key(key).map_err(|error| format!("failed to decode key #{index} in \"keys\": {error}"))
        }),
        Some(Value::Null) => Ok(()),
        Some(other) => Err(format!("failed to decode \"keys\": {}", json::cannot(other, "[]json.RawMessage"))),
    }
}

fn check_key(key: &Value) -> Result<(), String> {
    let private = key.has("d");
    let (name, required): (_, &[&str]) = match key.text("kty") {
        _ if !key.is_object() => {
            let hint = "struct { Kty string \"json:\\\"kty\\\"\"; D json.RawMessage \"json:\\\"d\\\"\" }";
            return Err(format!("failed to unmarshal JSON into key hint: {}", json::cannot(key, hint)));
        }
        "RSA" if private => ("rsaPrivateKey", &["d", "e", "n"]),
        "RSA" => ("rsaPublicKey", &["e", "n"]),
        "EC" if private => ("ecdsaPrivateKey", &["crv", "d", "x", "y"]),
        "EC" => ("ecdsaPublicKey", &["crv", "x", "y"]),
        "OKP" if private => ("okpPrivateKey", &["crv", "d", "x"]),
        "OKP" => ("okpPublicKey", &["crv", "x"]),
        "oct" => ("symmetricKey", &["k"]),
        other => return Err(format!("invalid key type from JSON ({other})")),
    };
    match required.iter().find(|field| !key.has(field)) {
        Some(field) => {
            Err(format!("failed to unmarshal JSON into key (*jwk.{name}): required field {field} is missing"))
        }
        None => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_sets_are_refused_where_they_are_wrong() {
        for (text, why) in [
            ("3", "error reading token: EOF"),
            ("5s", "error reading token: EOF"),
            ("foo", "invalid character 'o' in literal false (expecting 'a')"),
            ("*", "invalid character '*' looking for beginning of value"),
            ("-", "unexpected EOF"),
            ("[]", "expected '{', but got '['"),
            ("{a}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"keys\"", "unexpected EOF"),
            ("{}", "failed to parse sole key in key set: invalid key type from JSON ()"),
            ("{\"keys\":[{\"kty\":\"foo\"}]}", "failed to decode key #0 in \"keys\": invalid key type from JSON (foo)"),
        ] {
            assert_eq!(check_key_set(text), Err(why.to_string()), "{text}");
        }
        assert_eq!(check_key_set("{\"keys\":[]}"), Ok(()));
    }
}

//! WasmPlugin.

use super::fields::Fields;
use super::findings::Findings;
use super::selectors;
use crate::istio::go::url;
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn check(spec: &Value) -> Findings {
    let mut found = selectors::check_targets(spec);
    found.check(check_url(spec.text("url")));
    found.check(check_sha256(spec.text("sha256")));
    if spec.text("imagePullSecret").len() > 253 {
        found.error("imagePullSecret field must be less than 253 characters long");
    }
    if spec.text("pluginName").len() > 256 {
        found.error("pluginName field must be less than 255 characters long");
    }
    found.check(spec.message("vmConfig").map_or(Ok(()), check_environment));
    found.check(check_ports(spec.items("match")));
    found
}

fn check_url(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("url field needs to be set".into());
    }
    let parsed = match url::parse_request_uri(text) {
        Ok(parsed) => {
            url::parse(text).map_err(|error| format!("failed to strict parse url: {error}"))?;
            parsed
        }
        // A reference to an image has no scheme.
        Err(error) => {
            let with_scheme = format!("http://{text}");
            let parsed = url::parse_request_uri(&with_scheme).map_err(|_| format!("failed to parse url: {error}"))?;
            url::parse(&with_scheme).map_err(|error| format!("failed to strict parse url: {error}"))?;
            parsed
        }
    };
    match parsed.scheme.as_str() {
        "" | "file" | "http" | "https" | "oci" => Ok(()),
        scheme => Err(format!("url contains unsupported scheme: {scheme}")),
    }
}

fn check_sha256(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    if text.len() != 64 {
        return Err("sha256 field must be 64 characters long".into());
    }
    if !text.bytes().all(|b| matches!(b, b'a'..=b'f' | b'0'..=b'9')) {
        return Err("sha256 field must match [a-f0-9]{64} pattern".into());
    }
    Ok(())
}

fn check_environment(vm: &Value) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for variable in vm.items("env") {
        let name = variable.text("name");
        if name.is_empty() {
            return Err("spec.vmConfig.env invalid".into());
        }
        if name.len() > 256 {
            return Err("env.name field must be less than 255 characters long".into());
        }
        if !names.insert(name) {
            return Err("duplicate env".into());
        }
        if variable.choice("valueFrom", "INLINE") != "INLINE" && variable.has("value") {
            return Err("value may only be set when valueFrom is INLINE".into());
        }
    }
    Ok(())
}

fn check_ports(selectors: &[Value]) -> Result<(), String> {
    for (index, selector) in selectors.iter().enumerate() {
        for (port_index, port) in selector.items("ports").iter().enumerate() {
            let number = port.number("number");
            if !(1..=65535).contains(&number) {
                return Err(format!("spec.Match[{index}].Ports[{port_index}] is out of range: {number}"));
            }
        }
    }
    Ok(())
}

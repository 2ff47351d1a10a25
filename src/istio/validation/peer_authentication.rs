//! PeerAuthentication.

use super::fields::Fields;
use super::findings::Findings;
use super::selectors;
use serde_json::Value;

pub(super) fn check(spec: &Value) -> Findings {
    let mut found = Findings::default();
    let selector = spec.message("selector");
    let selects = selector.is_some_and(|selector| !selector.entries("matchLabels").is_empty());
    let ports = spec.entries("portLevelMtls");
    if !selects && !ports.is_empty() {
        found.error("mesh/namespace peer authentication cannot have port level mTLS");
    }
    if spec.has("portLevelMtls") && ports.is_empty() {
        found.error("port level mTLS, if defined, must have at least one element");
    }
    for (port, _) in ports {
        if !port.trim().parse::<u32>().is_ok_and(|port| (1..=65535).contains(&port)) {
            found.error("port must be in range 1..65535");
        }
    }
    found.join(selectors::check_match_labels(selector));
    found
}

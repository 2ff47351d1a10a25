//! Workload policies: who may connect and how.

pub mod authorization;
pub mod external;
pub mod peer_authentication;
mod rbac;
mod rbac_match;
pub mod request_authentication;

use super::json::{labels, labels_match, list, present};
use super::object::Object;
use std::collections::BTreeMap;

/// Whether a policy with a workload selector applies to a workload. A policy with targets is for others.
pub fn selects(policy: &Object, workload: &BTreeMap<String, String>) -> bool {
    let spec = policy.spec();
    list(&spec["targetRefs"]).is_empty()
        && !present(&spec["targetRef"])
        && labels_match(&labels(&spec["selector"]["matchLabels"]), workload)
}

//! What the server can tell about a node: what it was sent, accepted and refused.

use super::resource::ResourceType;
use std::collections::BTreeMap;

/// A response that Envoy refused (NACK).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The version refused.
    pub version: u64,
    /// Envoy's own words.
    pub message: String,
}

/// One type on one node (of several secret streams: together).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeStatus {
    /// The version last sent.
    pub sent: Option<u64>,
    /// The version last accepted.
    pub accepted: Option<u64>,
    pub rejected: Option<Rejection>,
    /// Something is on the way or due.
    pub pending: bool,
    /// How many resources Envoy holds.
    pub resources: usize,
    /// Names that Envoy asked for and this server has not.
    pub missing: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Envoy's node id.
    pub id: String,
    /// Whether an ADS stream is open.
    pub connected: bool,
    /// The version of the latest resources set for it.
    pub version: u64,
    /// Everything up to `version` was answered: accepted, or refused with a reason.
    pub settled: bool,
    /// Resources that have no protobuf form and were never sent.
    pub refused: Vec<String>,
    pub types: BTreeMap<ResourceType, TypeStatus>,
}

impl NodeStatus {
    /// Settled, and nothing was refused on either side.
    pub fn accepted(&self) -> bool {
        self.settled && self.errors().is_empty()
    }

    /// Every reason why this node does not have what it should, in words.
    pub fn errors(&self) -> Vec<String> {
        let rejected = self.types.iter().filter_map(|(kind, status)| {
            let rejection = status.rejected.as_ref()?;
            Some(format!("{} version {} rejected: {}", kind.service(), rejection.version, rejection.message))
        });
        self.refused.iter().cloned().chain(rejected).collect()
    }
}

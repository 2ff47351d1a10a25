//! One Envoy: what it should have, the streams it opened, and what to send next.
//!
//! Order of a push: CDS, EDS, LDS, RDS, SDS. Clusters that are no longer wanted stay until listeners
//! and routes have let go of them, so that no request meets a missing cluster on the way.

use super::message::{DiscoveryRequest, DiscoveryResponse};
use super::resource::{Resource, ResourceType, Resources, Set};
use super::status::{NodeStatus, Rejection};
use super::subscription::{Answer, Subscription};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// A stream of a node. Aggregated ones carry every type; a node has one at a time.
pub(super) struct Stream {
    pub aggregated: bool,
    types: BTreeMap<ResourceType, Subscription>,
    out: UnboundedSender<DiscoveryResponse>,
}

#[derive(Default)]
pub(super) struct Node {
    /// Nothing is sent before the control plane has set resources once.
    wanted: Option<BTreeMap<ResourceType, Arc<Set>>>,
    pub streams: BTreeMap<u64, Stream>,
    pub version: u64,
    /// The latest version at which all was settled.
    pub settled_version: u64,
    refused: Vec<String>,
}

impl Node {
    /// Takes the new wanted resources, encoding what changed. False if nothing did.
    pub fn set(&mut self, mut resources: Resources, version: u64) -> bool {
        let before = self.wanted.take();
        let first = before.is_none();
        let before = before.unwrap_or_default();
        let (mut wanted, mut refused, mut changed) = (BTreeMap::new(), Vec::new(), first);
        for kind in ResourceType::ALL {
            let offered: Vec<Resource> = resources.take(kind);
            let old = before.get(&kind).cloned().unwrap_or_default();
            let (set, errors) = Set::new(kind, offered, &old);
            refused.extend(errors.into_iter().map(|error| format!("{}: {error}", kind.service())));
            if set.same_as(&old) {
                wanted.insert(kind, old);
                continue;
            }
            changed = true;
            wanted.insert(kind, Arc::new(set));
            for stream in self.streams.values_mut() {
                stream.types.entry(kind).and_modify(Subscription::renew);
            }
        }
        changed |= refused != self.refused;
        self.wanted = Some(wanted);
        self.refused = refused;
        if changed {
            self.version = version;
        }
        changed
    }

    /// Opens a stream; an older aggregated one of the same node ends (its Envoy was replaced).
    pub fn open(&mut self, id: u64, aggregated: bool, out: UnboundedSender<DiscoveryResponse>) {
        if aggregated {
            self.streams.retain(|_, stream| !stream.aggregated);
        }
        self.streams.insert(id, Stream { aggregated, types: BTreeMap::new(), out });
    }

    /// Takes a request. A rejection is returned to be told.
    pub fn take(&mut self, stream: u64, kind: ResourceType, request: &DiscoveryRequest) -> Option<Rejection> {
        let subscription = self.streams.get_mut(&stream)?.types.entry(kind).or_insert_with(|| Subscription::new(kind));
        match subscription.take(request) {
            Answer::Rejected => subscription.rejected.clone(),
            Answer::Accepted | Answer::Asked => None,
        }
    }

    /// Sends what is due on every stream, and notes whether all is settled then.
    pub fn send_due(&mut self, version: u64, next_nonce: &mut u64) {
        let Some(wanted) = &self.wanted else { return };
        for stream in self.streams.values_mut() {
            for kind in ResourceType::ALL {
                let linger = kind == ResourceType::Cluster && stream.moves_traffic(wanted);
                stream.send(kind, &wanted[&kind], linger, version, next_nonce);
            }
        }
        if self.unsettled().is_none() {
            self.settled_version = version;
        }
    }

    pub fn is_connected(&self) -> bool {
        self.streams.values().any(|stream| stream.aggregated)
    }

    /// What is still to happen, in words; none if all is settled.
    pub fn unsettled(&self) -> Option<String> {
        let Some(wanted) = &self.wanted else { return Some("no configuration was made for it yet".to_string()) };
        let Some(stream) = self.streams.values().find(|stream| stream.aggregated) else {
            return Some("not connected".to_string());
        };
        for kind in [ResourceType::Cluster, ResourceType::Listener] {
            if !stream.types.contains_key(&kind) {
                return Some(format!("Envoy has not asked for {} yet", kind.service()));
            }
        }
        for stream in self.streams.values() {
            for (kind, subscription) in &stream.types {
                if subscription.in_flight.is_some() {
                    return Some(format!("{} is sent and not answered", kind.service()));
                }
            }
        }
        for kind in [ResourceType::Endpoint, ResourceType::Route, ResourceType::Secret] {
            if let Some(name) = self.awaited(kind, wanted) {
                return Some(format!("Envoy has not asked for {} {name:?} yet", kind.service()));
            }
        }
        None
    }

    /// A name that clusters and listeners make Envoy ask for, that exists and was not sent yet.
    fn awaited(&self, kind: ResourceType, wanted: &BTreeMap<ResourceType, Arc<Set>>) -> Option<String> {
        let sent: HashSet<&String> =
            self.streams.values().filter_map(|s| s.types.get(&kind)).flat_map(|s| s.sent.keys()).collect();
        for from in [ResourceType::Cluster, ResourceType::Listener] {
            let rejected = |s: &Stream| s.types.get(&from).is_some_and(|s| s.rejected.is_some());
            if self.streams.values().any(rejected) {
                continue;
            }
            for name in wanted[&from].order.iter().flat_map(|entry| entry.references.names(kind)) {
                if !sent.contains(name) && wanted[&kind].by_name.contains_key(name) {
                    return Some(name.clone());
                }
            }
        }
        None
    }

    pub fn status(&self, id: &str) -> NodeStatus {
        let mut status = NodeStatus {
            id: id.to_string(),
            connected: self.is_connected(),
            version: self.version,
            settled: self.unsettled().is_none(),
            refused: self.refused.clone(),
            types: BTreeMap::new(),
        };
        for stream in self.streams.values() {
            for (kind, subscription) in &stream.types {
                let of_kind = status.types.entry(*kind).or_default();
                of_kind.sent = of_kind.sent.max(subscription.version);
                of_kind.accepted = of_kind.accepted.max(subscription.accepted);
                of_kind.pending |= subscription.in_flight.is_some();
                of_kind.resources += subscription.sent.len();
                if subscription.rejected.is_some() {
                    of_kind.rejected.clone_from(&subscription.rejected);
                }
                if let Some(wanted) = &self.wanted {
                    let missing: BTreeSet<_> =
                        subscription.names.iter().filter(|name| !wanted[kind].by_name.contains_key(*name)).collect();
                    of_kind.missing.extend(missing.into_iter().cloned());
                }
            }
        }
        status
    }
}

impl Stream {
    /// Whether listeners or routes are changing: then nothing they may still use is taken away.
    fn moves_traffic(&self, wanted: &BTreeMap<ResourceType, Arc<Set>>) -> bool {
        [ResourceType::Listener, ResourceType::Route].into_iter().any(|kind| {
            let subscription = self.types.get(&kind);
            subscription.is_some_and(|s| s.in_flight.is_some() || s.due(&wanted[&kind], false).is_some())
        })
    }

    fn send(&mut self, kind: ResourceType, wanted: &Set, linger: bool, version: u64, next_nonce: &mut u64) {
        let Some(subscription) = self.types.get_mut(&kind) else { return };
        if subscription.in_flight.is_some() {
            return;
        }
        let Some(entries) = subscription.due(wanted, linger) else { return };
        *next_nonce += 1;
        let nonce = next_nonce.to_string();
        let response = DiscoveryResponse {
            version_info: version.to_string(),
            resources: entries.iter().map(|entry| entry.encoded.clone()).collect(),
            type_url: kind.type_url().to_string(),
            nonce: nonce.clone(),
        };
        let new = subscription.sending(&entries, nonce, version);
        // A closed receiver is a stream that is ending; its end removes it.
        let _ = self.out.send(response);
        // A replaced cluster or listener starts anew with the names it refers to, and Envoy's request
        // for them looks like the ones before: so they are sent again.
        for to in [ResourceType::Endpoint, ResourceType::Route, ResourceType::Secret] {
            if let Some(subscription) = self.types.get_mut(&to) {
                for name in new.iter().flat_map(|entry| entry.references.names(to)) {
                    subscription.resend(name);
                }
            }
        }
    }
}

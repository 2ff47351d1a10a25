//! One resource type on one stream: what Envoy asked for, what it was sent, what it answered.
//!
//! At most one response is in flight; what changes meanwhile goes into the next. So a request with
//! the nonce in flight is its ACK or NACK, one with an older nonce crossed it on the way.

use super::message::DiscoveryRequest;
use super::resource::{Entry, ResourceType, Set};
use super::status::Rejection;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Subscription {
    pub kind: ResourceType,
    /// Of a type that is asked for by name.
    pub names: BTreeSet<String>,
    /// What Envoy was sent last under each name.
    pub sent: HashMap<Arc<str>, Arc<Entry>>,
    /// Names to send although Envoy was sent their content before.
    resend: BTreeSet<String>,
    /// A request waits for an answer, even an empty one.
    owed: bool,
    pub in_flight: Option<InFlight>,
    last_nonce: String,
    /// The version last sent.
    pub version: Option<u64>,
    pub accepted: Option<u64>,
    pub rejected: Option<Rejection>,
    /// The names in a response that Envoy refused: of these it may have any content.
    doubtful: BTreeSet<String>,
}

#[derive(Debug)]
pub(super) struct InFlight {
    nonce: String,
    version: u64,
    names: BTreeSet<String>,
}

/// What a request was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    Rejected,
    Asked,
}

impl Subscription {
    pub fn new(kind: ResourceType) -> Subscription {
        Subscription {
            kind,
            names: BTreeSet::new(),
            sent: HashMap::new(),
            resend: BTreeSet::new(),
            owed: true,
            in_flight: None,
            last_nonce: String::new(),
            version: None,
            accepted: None,
            rejected: None,
            doubtful: BTreeSet::new(),
        }
    }

    /// Takes a request: an answer to the response in flight, a changed subscription, or both at once
    /// (Envoy merges them while a type is paused).
    pub fn take(&mut self, request: &DiscoveryRequest) -> Answer {
        let names: BTreeSet<String> = request.resource_names.iter().cloned().collect();
        let grown = !names.is_subset(&self.names);
        if !self.kind.is_wildcard() {
            self.sent.retain(|name, _| names.contains(&**name));
            self.names = names;
        }
        let answered = self.in_flight.take_if(|push| push.nonce == request.response_nonce);
        let again = answered.is_none() && self.in_flight.is_none() && request.response_nonce == self.last_nonce;
        if grown && !self.kind.is_wildcard() {
            self.owed = true;
        } else if again {
            // The last response was answered already: Envoy made a new watch of what it had.
            self.owed = true;
            self.resend = self.names.clone();
        }
        match (answered, &request.error_detail) {
            (Some(push), Some(error)) => {
                self.rejected = Some(Rejection { version: push.version, message: error.message.clone() });
                self.doubtful.extend(push.names);
                Answer::Rejected
            }
            (Some(push), None) => {
                self.accepted = Some(push.version);
                self.rejected = None;
                Answer::Accepted
            }
            (None, _) => Answer::Asked,
        }
    }

    /// New content is wanted of this type: what a refusal left in doubt is sent once more with it.
    pub fn renew(&mut self) {
        let names = std::mem::take(&mut self.doubtful);
        self.resend.extend(names.into_iter().filter(|name| self.names.contains(name)));
    }

    /// Sends `name` again if Envoy holds it, because what refers to it was replaced.
    pub fn resend(&mut self, name: &str) {
        if self.names.contains(name) {
            self.resend.insert(name.to_string());
        }
    }

    /// What there is to send now, whether or not a response is in flight. `linger` keeps what Envoy has
    /// of a wildcard type although it is no longer wanted.
    pub fn due(&self, wanted: &Set, linger: bool) -> Option<Vec<Arc<Entry>>> {
        let entries: Vec<Arc<Entry>> = if self.kind.is_wildcard() {
            let mut all = wanted.order.clone();
            if linger {
                let mut old: Vec<_> = self.sent.values().filter(|e| !wanted.by_name.contains_key(&e.name)).collect();
                old.sort_by_key(|entry| entry.id);
                all.extend(old.into_iter().cloned());
            }
            let same = all.len() == self.sent.len() && all.iter().all(|entry| self.has(entry));
            if same && self.resend.is_empty() { Vec::new() } else { return Some(all) }
        } else {
            let wanted = self.names.iter().filter_map(|name| wanted.by_name.get(name.as_str()));
            wanted.filter(|entry| !self.has(entry) || self.resend.contains(&*entry.name)).cloned().collect()
        };
        match (entries.is_empty(), self.owed) {
            (true, false) => None,
            (true, true) if self.kind.is_wildcard() => Some(wanted.order.clone()),
            // Envoy refuses an answer without the secret it asked for; it waits instead. And it does not
            // acknowledge an answer to a subscription that it has given up.
            (true, true) if self.kind == ResourceType::Secret || self.names.is_empty() => None,
            _ => Some(entries),
        }
    }

    fn has(&self, entry: &Entry) -> bool {
        self.sent.get(&entry.name).is_some_and(|sent| sent.id == entry.id)
    }

    /// Notes that `entries` go out now. Returns those whose content is new to Envoy.
    pub fn sending(&mut self, entries: &[Arc<Entry>], nonce: String, version: u64) -> Vec<Arc<Entry>> {
        let new = entries.iter().filter(|entry| !self.has(entry)).cloned().collect();
        if self.kind.is_wildcard() {
            self.sent.clear();
        }
        self.sent.extend(entries.iter().map(|entry| (entry.name.clone(), entry.clone())));
        self.resend.clear();
        self.owed = false;
        self.last_nonce = nonce.clone();
        self.version = Some(version);
        let names = if self.kind.is_wildcard() {
            BTreeSet::new()
        } else {
            entries.iter().map(|entry| entry.name.to_string()).collect()
        };
        self.in_flight = Some(InFlight { nonce, version, names });
        new
    }
}

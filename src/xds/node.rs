//! One Envoy: what it should have, the streams it opened, and what to send next.
//!
//! Order of a push: CDS, EDS, LDS, RDS, SDS. Clusters that are no longer wanted stay until listeners
//! and routes have let go of them, so that no request meets a missing cluster on the way.

use super::message::{DiscoveryRequest, DiscoveryResponse};
use super::resource::{Resource, ResourceType, Resources, Set};
use super::status::{NodeStatus, Rejection};
use super::subscription::{Answer, Subscription};
use serde_json::json;
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
            let mut offered: Vec<Resource> = resources.take(kind);
            let old = before.get(&kind).cloned().unwrap_or_default();
            if kind == ResourceType::Route {
                offered.extend(self.emptied(&old, &offered));
            }
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

    /// Routes that are no more, but are still asked for: a listener that drains goes on asking. Without an answer Envoy
    /// would keep them as they were; as istiod does, it is told that nothing is in them.
    fn emptied(&self, old: &Set, offered: &[Resource]) -> Vec<Resource> {
        let streams = self.streams.values();
        let asked: BTreeSet<&String> =
            streams.filter_map(|stream| stream.types.get(&ResourceType::Route)).flat_map(|s| &s.names).collect();
        let gone = asked.into_iter().filter(|name| {
            old.by_name.contains_key(name.as_str()) && !offered.iter().any(|resource| *resource.name == ***name)
        });
        let empty = |name: &String| Resource {
            name: name.as_str().into(),
            body: json!({ "name": name, "virtualHosts": [], "validateClusters": false }).into(),
        };
        gone.map(empty).collect()
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

    pub fn wanted_of(&self, kind: ResourceType) -> Vec<(super::wire::Any, serde_json::Value)> {
        let set = self.wanted.as_ref().and_then(|wanted| wanted.get(&kind));
        let entries = set.iter().flat_map(|set| &set.order);
        entries.map(|entry| (entry.encoded.clone(), (*entry.body).clone())).collect()
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
        let sent: HashSet<&str> = self
            .streams
            .values()
            .filter_map(|s| s.types.get(&kind))
            .flat_map(|s| s.sent.keys())
            .map(|name| &**name)
            .collect();
        for from in [ResourceType::Cluster, ResourceType::Listener] {
            let rejected = |s: &Stream| s.types.get(&from).is_some_and(|s| s.rejected.is_some());
            if self.streams.values().any(rejected) {
                continue;
            }
            for name in wanted[&from].order.iter().flat_map(|entry| entry.references.names(kind)) {
                if !sent.contains(name.as_str()) && wanted[&kind].by_name.contains_key(name.as_str()) {
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
                    let missing: BTreeSet<_> = subscription
                        .names
                        .iter()
                        .filter(|name| !wanted[kind].by_name.contains_key(name.as_str()))
                        .collect();
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

#[cfg(test)]
mod tests {
    use super::super::message;
    use super::super::resource::ResourceType::{Cluster, Endpoint, Listener, Route, Secret};
    use super::*;
    use serde_json::Value;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    /// A node with one ADS stream, and Envoy's side of it.
    struct Pair {
        node: Node,
        responses: UnboundedReceiver<DiscoveryResponse>,
        version: u64,
        nonce: u64,
    }

    impl Pair {
        fn new() -> Pair {
            let (out, responses) = unbounded_channel();
            let mut node = Node::default();
            node.open(1, true, out);
            Pair { node, responses, version: 0, nonce: 0 }
        }

        fn set(&mut self, resources: Resources) -> Vec<DiscoveryResponse> {
            if self.node.set(resources, self.version + 1) {
                self.version += 1;
            }
            self.pump()
        }

        fn pump(&mut self) -> Vec<DiscoveryResponse> {
            self.node.send_due(self.version, &mut self.nonce);
            std::iter::from_fn(|| self.responses.try_recv().ok()).collect()
        }

        /// Envoy says something; what it is sent then.
        fn say(
            &mut self,
            kind: ResourceType,
            nonce: &str,
            names: &[&str],
            error: Option<&str>,
        ) -> Vec<DiscoveryResponse> {
            let request = DiscoveryRequest {
                resource_names: names.iter().map(|name| name.to_string()).collect(),
                response_nonce: nonce.to_string(),
                error_detail: error.map(|text| message::Status { code: 13, message: text.to_string() }),
                type_url: kind.type_url().to_string(),
                ..DiscoveryRequest::default()
            };
            self.node.take(1, kind, &request);
            self.pump()
        }
    }

    fn resource(kind: ResourceType, key: &str, name: &str, more: Value) -> Resource {
        let mut body = json!({"@type": kind.type_url()});
        body[key] = name.into();
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        Resource { name: name.into(), body: body.into() }
    }

    fn eds_cluster(name: &str, timeout: &str) -> Resource {
        let eds = json!({"type": "EDS", "connectTimeout": timeout, "edsClusterConfig": {"edsConfig": {"ads": {}}}});
        resource(Cluster, "name", name, eds)
    }

    fn assignment(name: &str) -> Resource {
        resource(Endpoint, "clusterName", name, json!({}))
    }

    fn world(names: &[&str], timeout: &str) -> Resources {
        Resources {
            clusters: names.iter().map(|name| eds_cluster(name, timeout)).collect(),
            endpoints: names.iter().map(|name| assignment(name)).collect(),
            ..Resources::default()
        }
    }

    fn told(responses: &[DiscoveryResponse]) -> Vec<(ResourceType, usize)> {
        let kind = |response: &DiscoveryResponse| ResourceType::from_type_url(&response.type_url).unwrap();
        responses.iter().map(|response| (kind(response), response.resources.len())).collect()
    }

    /// Up to where everything of `world(["a"], "1s")` is accepted.
    fn settled() -> Pair {
        let mut pair = Pair::new();
        assert!(pair.set(world(&["a"], "1s")).is_empty(), "nothing was asked for");
        let clusters = pair.say(Cluster, "", &[], None);
        assert_eq!(told(&clusters), [(Cluster, 1)]);
        assert!(pair.say(Cluster, &clusters[0].nonce, &[], None).is_empty());
        let endpoints = pair.say(Endpoint, "", &["a"], None);
        pair.say(Endpoint, &endpoints[0].nonce, &["a"], None);
        let listeners = pair.say(Listener, "", &[], None);
        assert_eq!(told(&listeners), [(Listener, 0)], "an empty answer is an answer");
        assert!(pair.node.unsettled().is_some());
        pair.say(Listener, &listeners[0].nonce, &[], None);
        assert_eq!(pair.node.unsettled(), None);
        pair
    }

    #[test]
    fn settled_waits_for_what_clusters_make_envoy_ask_for() {
        let mut pair = settled();
        let sent = pair.set(world(&["a", "b"], "1s"));
        assert_eq!(told(&sent), [(Cluster, 2)]);
        pair.say(Cluster, &sent[0].nonce, &[], None);
        assert_eq!(pair.node.unsettled(), Some("Envoy has not asked for EDS \"b\" yet".to_string()));
        // The old nonce, more names: only the new one is sent.
        let more = pair.say(Endpoint, "2", &["a", "b"], None);
        assert_eq!(told(&more), [(Endpoint, 1)]);
        pair.say(Endpoint, &more[0].nonce, &["a", "b"], None);
        assert_eq!(pair.node.unsettled(), None);
    }

    #[test]
    fn a_replaced_cluster_gets_its_endpoints_again() {
        let mut pair = settled();
        let sent = pair.set(world(&["a"], "2s"));
        assert_eq!(told(&sent), [(Cluster, 1), (Endpoint, 1)]);
        // Envoy's request for them, made before it saw the answer, is not another question.
        assert!(pair.say(Cluster, &sent[0].nonce, &[], None).is_empty());
        assert!(pair.say(Endpoint, "2", &["a"], None).is_empty());
        assert!(pair.say(Endpoint, &sent[1].nonce, &["a"], None).is_empty());
        assert_eq!(pair.node.unsettled(), None);
        // After the ACK the same words are a new watch.
        assert_eq!(told(&pair.say(Endpoint, &sent[1].nonce, &["a"], None)), [(Endpoint, 1)]);
    }

    #[test]
    fn changes_wait_for_the_answer_in_flight_and_go_out_together() {
        let mut pair = settled();
        let sent = pair.set(world(&["a"], "2s"));
        assert!(pair.set(world(&["a"], "3s")).is_empty());
        assert!(pair.set(world(&["a"], "4s")).is_empty());
        pair.say(Endpoint, &sent[1].nonce, &["a"], None);
        let next = pair.say(Cluster, &sent[0].nonce, &[], None);
        assert_eq!(told(&next), [(Cluster, 1), (Endpoint, 1)]);
        assert_eq!(next[0].version_info, pair.version.to_string());
    }

    #[test]
    fn clusters_go_after_listeners_and_routes_let_go_of_them() {
        let mut pair = settled();
        let mut changed = world(&["b"], "1s");
        changed.listeners.push(resource(Listener, "name", "l", json!({})));
        let sent = pair.set(changed);
        assert_eq!(told(&sent), [(Cluster, 2), (Listener, 1)], "a and b");
        assert!(pair.say(Cluster, &sent[0].nonce, &[], None).is_empty());
        assert_eq!(told(&pair.say(Listener, &sent[1].nonce, &[], None)), [(Cluster, 1)]);
    }

    #[test]
    fn a_refusal_is_kept_until_newer_content_is_accepted() {
        let mut pair = settled();
        let sent = pair.set(world(&["a"], "2s"));
        pair.say(Endpoint, &sent[1].nonce, &["a"], None);
        let after = pair.say(Cluster, &sent[0].nonce, &[], Some("bad timeout"));
        assert!(after.is_empty(), "a refused response is not repeated");
        assert_eq!(pair.node.unsettled(), None, "a refusal is an answer");
        assert_eq!(pair.node.status("n").errors(), ["CDS version 2 rejected: bad timeout"]);
        let mended = pair.set(world(&["a"], "1s"));
        pair.say(Endpoint, &mended[1].nonce, &["a"], None);
        pair.say(Cluster, &mended[0].nonce, &[], None);
        assert!(pair.node.status("n").accepted());
    }

    #[test]
    fn what_a_refusal_left_in_doubt_is_sent_with_the_next_change() {
        let route = |name: &str, domain: &str| {
            let host = json!({"virtualHosts": [{"name": "v", "domains": [domain]}]});
            resource(Route, "name", name, host)
        };
        let routes = |a: &str, b: &str| Resources { routes: vec![route("a", a), route("b", b)], ..world(&["a"], "1s") };
        let mut pair = settled();
        pair.set(routes("x", "y"));
        let sent = pair.say(Route, "", &["a", "b"], None);
        assert_eq!(told(&sent), [(Route, 2)]);
        assert!(pair.say(Route, &sent[0].nonce, &["a", "b"], Some("a is bad")).is_empty());
        // Envoy may have stopped before it took b.
        assert_eq!(told(&pair.set(routes("z", "y"))), [(Route, 2)]);
    }

    #[test]
    fn the_same_resources_again_send_nothing_and_one_type_goes_alone() {
        let mut pair = settled();
        assert!(pair.set(world(&["a"], "1s")).is_empty());
        let mut changed = world(&["a"], "1s");
        changed.endpoints[0].body.make_mut()["endpoints"] = json!([{"priority": 1}]);
        assert_eq!(told(&pair.set(changed)), [(Endpoint, 1)]);
    }

    #[test]
    fn a_route_that_is_gone_and_still_asked_for_is_sent_empty() {
        let route = resource(Route, "name", "r", json!({"virtualHosts": [{"name": "v", "domains": ["*"]}]}));
        let mut pair = settled();
        pair.set(Resources { routes: vec![route], ..world(&["a"], "1s") });
        let sent = pair.say(Route, "", &["r"], None);
        pair.say(Route, &sent[0].nonce, &["r"], None);
        let sent = pair.set(world(&["a"], "1s"));
        assert_eq!(told(&sent), [(Route, 1)]);
        let (_, body) = &pair.node.wanted_of(Route)[0];
        assert_eq!(*body, json!({"name": "r", "virtualHosts": [], "validateClusters": false}));
        // The listener is gone: nobody asks any more.
        pair.say(Route, &sent[0].nonce, &["other"], None);
        pair.set(world(&["a"], "2s"));
        assert!(pair.node.wanted_of(Route).is_empty());
    }

    #[test]
    fn a_secret_that_does_not_exist_is_answered_when_it_does() {
        let mut pair = settled();
        assert!(pair.say(Secret, "", &["late"], None).is_empty());
        assert_eq!(pair.node.status("n").types[&Secret].missing, ["late"]);
        let late = resource(Secret, "name", "late", json!({}));
        let sent = pair.set(Resources { secrets: vec![late], ..world(&["a"], "1s") });
        assert_eq!(told(&sent), [(Secret, 1)]);
    }

    #[test]
    fn a_new_stream_of_the_same_node_starts_anew_and_ends_the_old() {
        let mut pair = settled();
        let (out, responses) = unbounded_channel();
        pair.node.open(2, true, out);
        assert!(matches!(pair.responses.try_recv(), Err(tokio::sync::mpsc::error::TryRecvError::Disconnected)));
        assert!(pair.node.unsettled().is_some());
        pair.responses = responses;
        let request = DiscoveryRequest { type_url: Cluster.type_url().to_string(), ..DiscoveryRequest::default() };
        pair.node.take(2, Cluster, &request);
        assert_eq!(told(&pair.pump()), [(Cluster, 1)]);
    }
}

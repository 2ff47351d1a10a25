//! What was made of a service for one proxy, kept for the next world. A piece (a cluster or a load assignment) is
//! taken over when everything that it is made of is equal by value: the service with its endpoints and identities,
//! the DestinationRule but for its other subsets, the subset, and the ground that all pieces of a proxy stand on.

use super::Resource;
use super::destination_rule::DestinationRule;
use super::json::{fields, text};
use super::mesh_config::MeshConfig;
use super::node::Node;
use super::policy::peer_authentication::PeerAuthentications;
use super::registry::endpoint::Endpoint;
use super::registry::service::Service;
use super::report::{Event, Report};
use super::{Origin, Proxy};
use crate::message::{Body, Template};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// What any piece of a proxy may depend on beside its service and rule.
#[derive(Debug)]
struct Ground {
    proxy: Proxy,
    mesh: Arc<MeshConfig>,
    peer_authentications: Arc<PeerAuthentications>,
    locality: String,
}

impl Ground {
    fn holds(&self, node: &Node) -> bool {
        self.proxy == *node.proxy
            && self.locality == node.locality
            && Arc::ptr_eq(&self.mesh, &node.push.mesh)
            && Arc::ptr_eq(&self.peer_authentications, &node.push.peer_authentications)
    }
}

/// The pieces of one proxy.
#[derive(Debug, Default)]
pub struct Memo {
    ground: Option<Ground>,
    before: HashMap<String, Pieces>,
    now: HashMap<String, Pieces>,
}

impl Memo {
    /// Begins a new world: what is not asked for in it is forgotten at the next one.
    pub fn begin(&mut self, node: &Node) {
        self.before = std::mem::take(&mut self.now);
        if self.ground.as_ref().is_some_and(|ground| ground.holds(node)) {
            return;
        }
        self.before.clear();
        self.ground = Some(Ground {
            proxy: node.proxy.clone(),
            mesh: node.push.mesh.clone(),
            peer_authentications: node.push.peer_authentications.clone(),
            locality: node.locality.clone(),
        });
    }

    /// Lends the pieces of a service, those that may still be valid. To be given back.
    pub fn lend(&mut self, node: &Node, service: &Arc<Service>, rule: Option<&Arc<DestinationRule>>) -> Pieces {
        if let Some(pieces) = self.now.remove(&service.hostname) {
            return pieces;
        }
        let basis = Basis {
            service: service.clone(),
            endpoints: node.push.registry.endpoints(service).to_vec(),
            accounts: node.push.registry.accounts(service).to_vec(),
            rule: rule.cloned(),
        };
        let before = self.before.remove(&service.hostname).filter(|pieces| pieces.basis.same_but_subsets(&basis));
        let mut pieces = Pieces {
            basis,
            old_rule: None,
            old: HashMap::new(),
            now: HashMap::new(),
            kinds: Vec::new(),
            templates: HashMap::new(),
        };
        if let Some(before) = before {
            (pieces.old_rule, pieces.old) = (before.basis.rule, before.now);
            (pieces.kinds, pieces.templates) = (before.kinds, before.templates);
        }
        pieces
    }

    pub fn give_back(&mut self, pieces: Pieces) {
        self.now.insert(pieces.basis.service.hostname.clone(), pieces);
    }
}

/// What all pieces of a service are made of.
#[derive(Debug)]
struct Basis {
    service: Arc<Service>,
    endpoints: Vec<Arc<Endpoint>>,
    accounts: Vec<String>,
    rule: Option<Arc<DestinationRule>>,
}

impl Basis {
    fn same_but_subsets(&self, other: &Basis) -> bool {
        let same_rule = match (&self.rule, &other.rule) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a.same_but_subsets(b),
            (None, None) => true,
            _ => false,
        };
        same_rule
            && self.service == other.service
            && self.endpoints == other.endpoints
            && self.accounts == other.accounts
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    Cluster,
    SniCluster,
    Assignment,
    SniAssignment,
}

/// The port, the subset's name (empty for the whole service), and what it is.
type Key = (u32, String, What);

#[derive(Debug)]
struct Piece {
    /// The subset's place in its rule.
    place: Option<usize>,
    resource: Option<Resource>,
    said: Vec<Event>,
}

/// Subsets beyond this many kinds get no templates.
const KINDS: usize = 16;

/// The pieces of one service.
#[derive(Debug)]
pub struct Pieces {
    basis: Basis,
    old_rule: Option<Arc<DestinationRule>>,
    old: HashMap<Key, Piece>,
    now: HashMap<Key, Piece>,
    /// Subsets that differ in more than their names, the first of each kind.
    kinds: Vec<Value>,
    /// By port and place in `kinds`. They depend on the basis and the subset's kind alone, so they last as long.
    templates: HashMap<(u32, usize, What), Option<Arc<Template>>>,
}

impl Pieces {
    pub fn hostname(&self) -> &str {
        &self.basis.service.hostname
    }

    /// The body of a subset's piece, from a template that all subsets share that differ in their names alone. `make` is
    /// told a name to use; what it makes may depend on it only in strings that contain it. `None` where there is no
    /// such template: for too many kinds of subsets, or when the making has something to say.
    pub fn filled(
        &mut self,
        report: &Report,
        what: What,
        port: u32,
        subset: &Value,
        make: impl FnOnce() -> Option<Value>,
    ) -> Option<Body> {
        let same = |kind: &Value| {
            let but_name = |of| fields(of).filter(|(key, _)| *key != "name");
            but_name(kind).eq(but_name(subset))
        };
        let kind = match self.kinds.iter().position(same) {
            Some(kind) => kind,
            None if self.kinds.len() == KINDS => return None,
            None => {
                self.kinds.push(subset.clone());
                self.kinds.len() - 1
            }
        };
        let template = self.templates.entry((port, kind, what)).or_insert_with(|| {
            let mark = report.mark();
            let made = make();
            if report.retract(mark) { None } else { made.and_then(Template::new).map(Arc::new) }
        });
        Some(Body::filled(template.clone()?, text(&subset["name"])))
    }

    /// The piece as it was made before, or made now. `origins`: those of the cluster that an assignment is for.
    pub fn get(
        &mut self,
        report: &Report,
        what: What,
        port: u32,
        subset: &str,
        origins: Option<&Arc<[Origin]>>,
        make: impl FnOnce() -> Option<Resource>,
    ) -> Option<Resource> {
        let rule = self.basis.rule.as_deref();
        let place = if subset.is_empty() { None } else { rule.and_then(|r| r.subset_place(subset)) };
        let key = (port, subset.to_owned(), what);
        let valid = self.old.remove(&key).filter(|piece| {
            let of_cluster = match (&piece.resource, origins) {
                (Some(resource), Some(origins)) => resource.origins == *origins,
                _ => true,
            };
            of_cluster && same_subset(self.old_rule.as_deref(), piece.place, rule, place)
        });
        let piece = match valid {
            Some(piece) => {
                report.say_again(&piece.said);
                Piece { place, ..piece }
            }
            None => {
                let mark = report.mark();
                let resource = make();
                Piece { place, resource, said: report.since(mark) }
            }
        };
        let resource = piece.resource.clone();
        self.now.insert(key, piece);
        resource
    }
}

fn same_subset(
    old: Option<&DestinationRule>,
    old_place: Option<usize>,
    new: Option<&DestinationRule>,
    new_place: Option<usize>,
) -> bool {
    match (old_place, new_place) {
        (None, None) => true,
        (Some(old_place), Some(new_place)) => {
            let (Some(old), Some(new)) = (old, new) else { return false };
            old.subsets().get(old_place) == new.subsets().get(new_place)
                && old.subset_origins.get(old_place) == new.subset_origins.get(new_place)
        }
        _ => false,
    }
}

//! What was made for one proxy, kept for the next world. Each piece remembers what it was given and what was asked of
//! the scope while it was made. It is taken over when it is given the same again and every question has the same
//! answer; else it is made anew. What a piece may depend on beside that is its ground, which nobody asks for: when the
//! ground differs, nothing is kept.

use super::asked::Question;
use super::gateway::listener::Leg;
use super::gateway::merge::Server;
use super::listener::chain::Written;
use super::node::Node;
use super::object::Object;
use super::push::{Inputs, Push};
use super::registry::service::{Port, Service};
use super::report::Event;
use super::scope::Scope;
use super::{Proxy, Resource};
use crate::message::Template;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// What any piece of a proxy may depend on without asking.
#[derive(Debug)]
struct Ground {
    proxy: Proxy,
    locality: String,
    inputs: Inputs,
}

/// The pieces of one proxy.
#[derive(Debug, Default)]
pub struct Memo {
    ground: Option<Ground>,
    /// What was in scope when the pieces were last valid.
    before: Option<Scope>,
    /// Questions that were asked again, and whether the answer was the same.
    asked_again: RefCell<HashMap<Question, bool>>,
    /// How many worlds there have been.
    world: u64,
    pub pieces: Pieces,
}

#[derive(Debug, Default)]
pub struct Pieces {
    /// What a service's port adds to a sidecar's listener.
    pub chains: Kept<ChainsOf, ChainsGiven, Arc<[Arc<Written>]>>,
    /// Listeners by their names, and what all pieces of a listener give it.
    pub listeners: Kept<String, ListenerOf, Resource>,
    /// The servers of Gateways.
    pub servers: Kept<ServerOf, Object, Arc<Server>>,
    /// What a server's VirtualServices add to a gateway's listener.
    pub legs: Kept<LegsOf, Same<Server>, Arc<[Leg]>>,
    /// The clusters of a service, or those named after an SNI.
    pub clusters: Kept<ClustersOf, Arc<Service>, Resources>,
    /// What the clusters or load assignments of a service's subsets have in common: those of a port whose subsets
    /// differ in their names alone.
    pub templates: Kept<TemplateOf, Arc<Service>, Option<Arc<Template>>>,
    /// The load assignments of those clusters.
    pub assignments: Kept<ClustersOf, AssignmentsGiven, Resources>,
}

type Resources = Arc<[Resource]>;
/// A Gateway's namespace and name, the server's place, and the port behind the gateway's Service.
type ServerOf = (String, String, usize, u32);
/// A Gateway as it is bound to, the server's place, and the listener's port.
type LegsOf = (String, usize, u32);
/// A service's host, and whether the clusters are those named after an SNI.
type ClustersOf = (String, bool);
/// A service's host and port, and the subset but for its name.
type TemplateOf = (String, u32, What, String);
/// The service, and the clusters that ask.
type AssignmentsGiven = (Arc<Service>, Same<[Resource]>);

/// Egress listener, service, port, address, and whether it is the chain of HTTP.
pub type ChainsOf = (usize, String, u32, String, bool);

/// What such chains are made of beside.
#[derive(Debug, PartialEq)]
pub struct ChainsGiven {
    pub service: Arc<Service>,
    /// Which of the service's, else the egress listener's.
    pub port: Result<usize, Port>,
    pub to_port: bool,
    pub destinations: Vec<String>,
}

/// Bound to its port, and its chains.
#[derive(Debug, PartialEq)]
pub struct ListenerOf(pub bool, pub Vec<Same<Written>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    Cluster,
    SniCluster,
    Assignment,
    SniAssignment,
}

/// What is compared by where it is: made once, and kept.
#[derive(Debug)]
pub struct Same<T: ?Sized>(pub Arc<T>);

impl<T: ?Sized> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Memo {
    /// Begins a world.
    pub fn begin(&mut self, push: &Push, proxy: &Proxy, locality: &str) {
        self.world += 1;
        let holds = self.ground.as_ref().is_some_and(|ground| {
            ground.proxy == *proxy && ground.locality == locality && push.inputs.same_ground(&ground.inputs, proxy)
        });
        if !holds {
            self.pieces = Pieces::default();
        }
        self.ground = Some(Ground { proxy: proxy.clone(), locality: locality.to_owned(), inputs: push.inputs.clone() });
    }

    /// Ends a world: pieces that were not used in it are forgotten.
    pub fn end(&mut self, scope: Scope) {
        self.before = Some(scope);
        self.asked_again.get_mut().clear();
        let Pieces { chains, listeners, servers, legs, clusters, templates, assignments } = &mut self.pieces;
        chains.sweep(self.world);
        listeners.sweep(self.world);
        servers.sweep(self.world);
        legs.sweep(self.world);
        clusters.sweep(self.world);
        templates.sweep(self.world);
        assignments.sweep(self.world);
    }

    fn same_answer(&self, scope: &Scope, question: &Question) -> bool {
        let Some(before) = &self.before else { return false };
        if scope.answers_at_once(before, question) {
            return true;
        }
        if let Some(same) = self.asked_again.borrow().get(question) {
            return *same;
        }
        let same = scope.answers_as(before, question);
        self.asked_again.borrow_mut().insert(question.clone(), same);
        same
    }
}

/// Pieces of one sort. The key says which piece it is, `Given` what it is made of beside what is asked.
#[derive(Debug)]
pub struct Kept<Key, Given, Made> {
    pieces: RefCell<HashMap<Key, Piece<Given, Made>>>,
}

impl<Key, Given, Made> Default for Kept<Key, Given, Made> {
    fn default() -> Self {
        Self { pieces: RefCell::default() }
    }
}

#[derive(Debug)]
struct Piece<Given, Made> {
    given: Given,
    asked: Vec<Question>,
    /// What the making had to say.
    said: Vec<Event>,
    made: Made,
    /// The last world that it was valid in.
    world: u64,
}

impl<Key: Eq + Hash, Given: PartialEq, Made: Clone> Kept<Key, Given, Made> {
    /// The piece as it was made before, or made now. Beside what is `given`, `make` may use the ground, and what it
    /// asks the node's scope for.
    pub fn get(&self, node: &Node, key: Key, given: Given, make: impl FnOnce() -> Made) -> Made {
        let (asked, report) = (&node.scope.asked, &node.push.report);
        if let Some(piece) = self.pieces.borrow_mut().get_mut(&key) {
            let valid = || piece.asked.iter().all(|question| node.memo.same_answer(&node.scope, question));
            if piece.given == given && (piece.world == node.memo.world || valid()) {
                piece.world = node.memo.world;
                asked.note_all(&piece.asked);
                report.say_again(&piece.said);
                return piece.made.clone();
            }
        }
        let mark = report.mark();
        asked.begin();
        let made = make();
        let piece =
            Piece { given, asked: asked.end(), said: report.since(mark), made: made.clone(), world: node.memo.world };
        self.pieces.borrow_mut().insert(key, piece);
        made
    }

    fn sweep(&mut self, world: u64) {
        self.pieces.get_mut().retain(|_, piece| piece.world == world);
    }
}

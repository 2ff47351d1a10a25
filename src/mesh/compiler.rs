//! A world read once, for several proxies, and led on from world to world: an index is read again only when objects of
//! its kinds changed, a proxy is compiled again only when something it may see changed, and of its pieces (chains,
//! listeners, clusters, load assignments) only those that depend on the change are made anew (`memo`).
//! What comes out is what reading and compiling the new world from scratch would give.

use super::memo::Memo;
use super::node::Node;
use super::push::{Inputs, Push};
use super::{Generated, Proxy, ProxyType, Settings, World};
use super::{cluster, endpoint, gateway, json, report, sidecar};
use std::cell::RefCell;
use std::collections::HashMap;

#[derive(Debug)]
pub struct Compiler {
    push: Push,
    /// By pod name and namespace.
    kept: RefCell<HashMap<(String, String), Kept>>,
}

/// What a proxy got last.
#[derive(Debug)]
struct Kept {
    proxy: Proxy,
    inputs: Inputs,
    generated: Generated,
    memo: Memo,
    /// In the present world.
    used: bool,
}

impl Compiler {
    /// As istiod with a cluster: a short host name means a Service of the object's namespace.
    pub fn new(world: &World) -> Self {
        Self::with(world, Settings::default())
    }

    /// As istiod that reads its objects from files. The reference data were made so.
    pub fn reading_files(world: &World) -> Self {
        Self::with(world, Settings { reads_files: true, ..Settings::default() })
    }

    pub fn with(world: &World, settings: Settings) -> Self {
        Self { push: Push::new(world, settings, None), kept: RefCell::default() }
    }

    /// Goes on to another world. Objects that are the same in both should be the same `Arc`: they are compared by value
    /// else. Proxies that were not compiled in the world before are forgotten.
    pub fn update(&mut self, world: &World) {
        self.push = Push::new(world, self.push.settings, Some(&self.push));
        self.kept.get_mut().retain(|_, kept| std::mem::take(&mut kept.used));
    }

    /// Generates the configuration of one proxy.
    pub fn compile(&self, proxy: &Proxy) -> Generated {
        let name = (proxy.name.clone(), proxy.namespace.clone());
        let before = self.kept.borrow_mut().remove(&name);
        let (generated, memo) = match before {
            Some(kept) if kept.proxy == *proxy && self.push.inputs.same_for(&kept.inputs, proxy) => {
                (kept.generated, kept.memo)
            }
            before => self.compile_anew(proxy, before.map(|kept| kept.memo).unwrap_or_default()),
        };
        let inputs = self.push.inputs.clone();
        let kept = Kept { proxy: proxy.clone(), inputs, generated: generated.clone(), memo, used: true };
        self.kept.borrow_mut().insert(name, kept);
        generated
    }

    fn compile_anew(&self, proxy: &Proxy, memo: Memo) -> (Generated, Memo) {
        // A compile that was broken off may have left something unsaid.
        self.push.report.take();
        let node = Node::new(&self.push, proxy, memo);
        let (listeners, routes, passes_through) = match proxy.kind {
            ProxyType::Sidecar => {
                let listeners = node.patches.listeners(&node, sidecar::listeners(&node));
                let routes = sidecar::route::build(&node, &listeners);
                (listeners, routes, false)
            }
            ProxyType::Router => gateway::build(&node),
        };
        let routes = node.patches.routes(&node, routes);
        let clusters = cluster::build(&node, passes_through);
        let endpoints = endpoint::build(&node, &clusters);
        let clusters = clusters.all;
        let (mut push_status, log) = report::read(self.push.report.take());
        let (said, mut warnings) = report::read(self.push.said());
        for (name, events) in json::fields(&said) {
            push_status[name.as_str()] = events.clone();
        }
        warnings.extend(log);
        let generated = Generated { listeners, clusters, routes, endpoints, push_status, warnings };
        let Node { mut memo, scope, .. } = node;
        memo.end(scope);
        (generated, memo)
    }
}

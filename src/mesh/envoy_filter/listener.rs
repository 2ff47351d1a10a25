//! Patches to listeners, their filter chains and filters.

use super::edit::{edit, give, merge_any, merge_filter, take};
use super::{Context, Kind, Operation, Patch, Patches, note, route};
use crate::mesh::json::{list, strings, text, unsigned};
use crate::mesh::node::Node;
use crate::mesh::{Origin, Resource};
use serde_json::Value;

pub fn patch(patches: &Patches, node: &Node, listeners: Vec<Resource>) -> Vec<Resource> {
    let mut out = Vec::with_capacity(listeners.len());
    for mut listener in listeners {
        let context = match (node.is_sidecar(), text(&listener.body["trafficDirection"])) {
            (false, _) => Context::Gateway,
            (true, "INBOUND") => Context::SidecarInbound,
            (true, _) => Context::SidecarOutbound,
        };
        let mut from = Vec::new();
        if context == Context::SidecarInbound {
            patch_inline_routes(patches, node, listener.body.make_mut(), &mut from);
        }
        let port = unsigned(&listener.body["address"]["socketAddress"]["portValue"]);
        let place = Place { name: text(&listener.body["name"]).to_owned(), port };
        if (Work { patches, context, from: &mut from }).listener(&place, listener.body.make_mut()) {
            note(&mut listener.origins, from);
            out.push(listener);
        }
    }
    let contexts: &[Context] =
        if node.is_sidecar() { &[Context::SidecarOutbound, Context::SidecarInbound] } else { &[Context::Gateway] };
    for context in contexts {
        for added in patches.kind(Kind::Listener).iter().filter(|p| p.adds_to(*context)) {
            let origins = vec![added.origin.clone()];
            out.push(Resource::new(text(&added.value["name"]), added.value.clone(), origins));
        }
    }
    out
}

/// Inbound routes stand in the listener; they are patched first.
fn patch_inline_routes(patches: &Patches, node: &Node, listener: &mut Value, from: &mut Vec<Origin>) {
    let patch = |chain: &mut Value, from: &mut Vec<Origin>| {
        for filter in chain.get_mut("filters").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(routes) = filter.pointer_mut("/typedConfig/routeConfig") {
                route::patch(patches, node, Context::SidecarInbound, routes, from);
            }
        }
    };
    for chain in listener.get_mut("filterChains").and_then(Value::as_array_mut).into_iter().flatten() {
        patch(chain, from);
    }
    if let Some(chain) = listener.get_mut("defaultFilterChain") {
        patch(chain, from);
    }
}

/// What matching needs to know of a listener.
struct Place {
    name: String,
    port: u32,
}

impl Place {
    fn is_virtual(&self) -> bool {
        matches!(self.name.as_str(), "virtualInbound" | "virtualOutbound")
    }

    /// `match.listener`; inside the virtual listeners the port is a chain's.
    fn taken_by(&self, wanted: &Value, whole: bool) -> bool {
        let (name, port) = (text(&wanted["name"]), unsigned(&wanted["portNumber"]));
        (name.is_empty() || name == self.name) && (port == 0 || (!whole && self.is_virtual()) || port == self.port)
    }

    /// `match.listener.filterChain`.
    fn chain_taken_by(&self, wanted: &Value, chain: &Value) -> bool {
        let is = &chain["filterChainMatch"];
        let port = unsigned(&wanted["portNumber"]);
        if self.is_virtual() && port > 0 && unsigned(&is["destinationPort"]) != port {
            return false;
        }
        let of = &wanted["filterChain"];
        let agrees = |key: &str, test: &dyn Fn(&str) -> bool| text(&of[key]).is_empty() || test(text(&of[key]));
        let to = unsigned(&of["destinationPort"]);
        agrees("name", &|name| name == text(&chain["name"]))
            && agrees("sni", &|sni| list(&is["serverNames"]).iter().any(|s| text(s) == sni))
            && agrees("transportProtocol", &|protocol| text(&is["transportProtocol"]) == protocol)
            && agrees("applicationProtocols", &|all| {
                let has = strings(&is["applicationProtocols"]);
                all.split(',').all(|p| has.iter().any(|h| h == p))
            })
            && (to == 0 || unsigned(&is["destinationPort"]) == to)
    }
}

fn wanted_filter(patch: &Patch) -> &Value {
    &patch.at["listener"]["filterChain"]["filter"]
}

fn takes_filter(patch: &Patch, filter: &Value) -> bool {
    !wanted_filter(patch).is_object() || text(&wanted_filter(patch)["name"]) == text(&filter["name"])
}

fn takes_http_filter(patch: &Patch, filter: &Value) -> bool {
    let wanted = &wanted_filter(patch)["subFilter"];
    !wanted.is_object() || text(&wanted["name"]) == text(&filter["name"])
}

struct Work<'a> {
    patches: &'a Patches,
    context: Context,
    from: &'a mut Vec<Origin>,
}

impl<'a> Work<'a> {
    fn of_listener(&self, kind: Kind, place: &'a Place) -> impl Iterator<Item = &'a Patch> + use<'a> {
        let (context, whole) = (self.context, kind == Kind::Listener);
        let all: &'a Patches = self.patches;
        all.kind(kind).iter().filter(move |p| p.in_context(context) && place.taken_by(&p.at["listener"], whole))
    }

    fn used(&mut self, patch: &Patch) {
        self.from.push(patch.origin.clone());
    }
}

impl<'a> Work<'a> {
    /// Tells whether the listener stays.
    fn listener(&mut self, place: &'a Place, listener: &mut Value) -> bool {
        for patch in self.of_listener(Kind::Listener, place) {
            match patch.operation {
                Operation::Remove => return false,
                Operation::Merge => {
                    patch.merge(Kind::Listener, listener);
                    self.used(patch);
                }
                _ => {}
            }
        }
        self.listener_filters(place, listener);
        let mut chains = take(listener, "filterChains");
        chains.retain_mut(|chain| self.chain(place, chain));
        if let Some(chain) = listener.get_mut("defaultFilterChain")
            && !self.chain(place, chain)
        {
            give(listener, "defaultFilterChain", Vec::new());
        }
        for patch in self.of_listener(Kind::FilterChain, place).filter(|p| p.operation == Operation::Add) {
            chains.push(patch.value.clone());
            self.used(patch);
        }
        give(listener, "filterChains", chains);
        true
    }

    fn listener_filters(&mut self, place: &'a Place, listener: &mut Value) {
        let mut filters = take(listener, "listenerFilters");
        for patch in self.of_listener(Kind::ListenerFilter, place) {
            let wanted = text(&patch.at["listener"]["listenerFilter"]);
            let found = |filter: &Value| text(&filter["name"]) == wanted;
            let changed = match (patch.operation, wanted) {
                (Operation::Merge, "") => false,
                // Istiod merges into every listener filter, whatever its name, where the types agree.
                (Operation::Merge, _) => {
                    let merged = filters.iter_mut().filter_map(|f| merge_filter(f, &patch.value, false).then_some(()));
                    merged.count() > 0
                }
                (_, wanted) => edit(&mut filters, patch, !wanted.is_empty(), found),
            };
            if changed {
                self.used(patch);
            }
        }
        give(listener, "listenerFilters", filters);
    }

    /// Tells whether the chain stays.
    fn chain(&mut self, place: &'a Place, chain: &mut Value) -> bool {
        for patch in self.of_listener(Kind::FilterChain, place) {
            if !place.chain_taken_by(&patch.at["listener"], chain) {
                continue;
            }
            match patch.operation {
                Operation::Remove => return false,
                Operation::Merge => {
                    merge_chain(chain, patch);
                    self.used(patch);
                }
                _ => {}
            }
        }
        self.network_filters(place, chain);
        true
    }

    fn network_filters(&mut self, place: &'a Place, chain: &mut Value) {
        let mut filters = take(chain, "filters");
        let of_chain = |patch: &&Patch, chain: &Value| place.chain_taken_by(&patch.at["listener"], chain);
        for patch in self.of_listener(Kind::NetworkFilter, place).filter(|p| of_chain(p, chain)) {
            let specific = wanted_filter(patch).is_object();
            if edit(&mut filters, patch, specific, |f| takes_filter(patch, f)) {
                self.used(patch);
            }
        }
        for filter in &mut filters {
            for patch in self.of_listener(Kind::NetworkFilter, place).filter(|p| of_chain(p, chain)) {
                if patch.operation == Operation::Merge
                    && takes_filter(patch, filter)
                    && merge_filter(filter, &patch.value, true)
                {
                    self.used(patch);
                }
            }
            if text(&filter["name"]) == "envoy.filters.network.http_connection_manager" {
                self.http_filters(place, chain, filter);
            }
        }
        give(chain, "filters", filters);
    }

    fn http_filters(&mut self, place: &'a Place, chain: &Value, manager: &mut Value) {
        if !manager["typedConfig"].is_object() {
            return;
        }
        let mut filters = take(&mut manager["typedConfig"], "httpFilters");
        let applicable: Vec<&Patch> = self
            .of_listener(Kind::HttpFilter, place)
            .filter(|p| place.chain_taken_by(&p.at["listener"], chain) && takes_filter(p, manager))
            .collect();
        for patch in &applicable {
            let specific = wanted_filter(patch)["subFilter"].is_object();
            if edit(&mut filters, patch, specific, |f| takes_http_filter(patch, f)) {
                self.used(patch);
            }
        }
        for filter in &mut filters {
            for patch in applicable.iter().filter(|p| p.operation == Operation::Merge) {
                if takes_http_filter(patch, filter) && merge_filter(filter, &patch.value, true) {
                    self.used(patch);
                }
            }
        }
        give(&mut manager["typedConfig"], "httpFilters", filters);
    }
}

/// A patch with a transport socket of the chain's own name changes only that.
fn merge_chain(chain: &mut Value, patch: &Patch) {
    let socket = &patch.value["transportSocket"];
    if socket.is_object() && chain["transportSocket"].is_object() && chain["transportSocket"]["name"] == socket["name"]
    {
        merge_any(&mut chain["transportSocket"]["typedConfig"], &socket["typedConfig"]);
    } else {
        patch.merge(Kind::FilterChain, chain);
    }
}

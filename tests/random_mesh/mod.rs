//! Random configurations: a seed gives the same objects and mesh config for ever. Egress weighs most; every field that
//! changes what an Envoy gets has a chance to be set, together with any other.
//!
//! Objects that a cluster would refuse are left out, so that the rest is what a control plane would work with.

mod base;
mod flows;
mod gateways;
mod mesh_config;
mod policies;
mod routes;
mod rules;
mod services;

use egress_scn::istio::validation::validate;
use egress_scn::mesh::World;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A linear congruential generator: the same numbers on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
        random.below(2);
        random
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    pub fn one(&mut self, of: &[Value]) -> Value {
        of[self.below(of.len())].clone()
    }

    /// A few different ones, in their order.
    pub fn some(&mut self, of: &[&str], percent: usize) -> Vec<String> {
        of.iter().filter(|_| self.chance(percent)).map(|s| (*s).to_owned()).collect()
    }

    pub fn number(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }
}

/// Fields that are set by chance.
#[derive(Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    pub fn maybe(&mut self, random: &mut Random, percent: usize, name: &str, value: impl FnOnce(&mut Random) -> Value) {
        if random.chance(percent) {
            let value = value(random);
            self.set(name, value);
        }
    }

    pub fn done(self) -> Value {
        Value::Object(self.0)
    }
}

pub fn object(group: &str, kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{group}/v1"),
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

pub const NETWORKING: &str = "networking.istio.io";
pub const SECURITY: &str = "security.istio.io";
/// The namespace of the proxies' pods, another one, and the root.
pub const NAMESPACES: &[&str] = &["mesh-test", "other", "istio-system"];
pub const OUTSIDE: &[&str] = &[
    "httpbin.org",
    "edition.cnn.com",
    "api.saas.example",
    "db.partner.example",
    "a.wild.example",
    "Mixed.Case.example",
];
pub const WILDCARDS: &[&str] = &["*.wild.example", "*.example", "*.saas.example"];
pub const INSIDE: &[&str] = &[
    "httpbin.mesh-test.svc.cluster.local",
    "sleep.mesh-test.svc.cluster.local",
    "web.other.svc.cluster.local",
    "redis.other.svc.cluster.local",
    "headless.other.svc.cluster.local",
    "alias.other.svc.cluster.local",
    "istio-egressgateway.istio-system.svc.cluster.local",
    "db.internal",
];

/// Mostly the proxies' own namespace.
pub fn namespace(random: &mut Random) -> &'static str {
    if random.chance(70) { "mesh-test" } else { random.pick(NAMESPACES) }
}

/// Any host that a rule may be about.
pub fn host(random: &mut Random) -> String {
    match random.below(10) {
        0..=4 => random.pick(OUTSIDE).to_owned(),
        5 => random.pick(WILDCARDS).to_owned(),
        6..=8 => random.pick(INSIDE).to_owned(),
        _ => random.pick(&["httpbin", "istio-egressgateway.istio-system", "nowhere.example"]).to_owned(),
    }
}

/// The configuration of a seed: any objects side by side.
pub fn world(seed: u64) -> World {
    let mut random = Random::new(seed);
    let objects = base::objects(&mut random);
    let mut made: Vec<Value> = Vec::new();
    for number in 0..random.number(1, 4) {
        made.push(services::service_entry(&mut random, number));
    }
    for number in 0..random.below(3) {
        made.push(gateways::gateway(&mut random, number));
    }
    for number in 0..random.number(1, 4) {
        made.push(routes::virtual_service(&mut random, number));
    }
    for number in 0..random.number(0, 4) {
        made.push(rules::destination_rule(&mut random, number));
    }
    if random.chance(30) {
        made.push(rules::sidecar(&mut random));
    }
    if random.chance(25) {
        made.extend(services::workload_entries(&mut random));
    }
    made.extend(policies::some(&mut random));
    admitted(objects, made, mesh_config::mesh_config(&mut random))
}

/// The configuration of a seed: flows of egress whose objects fit together.
#[allow(dead_code)]
pub fn flows(seed: u64) -> World {
    let (objects, made, mesh_config) = flows::made(&mut Random::new(seed));
    admitted(objects, made, mesh_config)
}

/// What a cluster would hold of it.
fn admitted(mut objects: Vec<Value>, made: Vec<Value>, mesh_config: Value) -> World {
    // Of several objects of one name a cluster would have the last.
    let key = |o: &Value| format!("{}/{}/{}", o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]);
    let mut kept: Vec<Value> = Vec::new();
    for object in made {
        let verdict = validate(&object);
        if verdict.unknown.is_empty() && verdict.schema.is_empty() && verdict.errors.is_empty() {
            kept.retain(|other| key(other) != key(&object));
            kept.push(object);
        }
    }
    objects.extend(kept);
    World { objects: objects.into_iter().map(Arc::new).collect(), mesh_config }
}

//! Random configurations: whatever they say, names are single, every cluster that is named exists or dangles for a reason
//! that istiod has too, the order of the inputs does not matter, and nothing panics.
//!
//! `EGRESS_SCN_RANDOM=FROM..TO` runs other seeds than the usual ones.

#![allow(clippy::unwrap_used)]

#[path = "mesh_case/mod.rs"]
mod mesh_case;
#[path = "random_mesh/mod.rs"]
mod random_mesh;

use egress_scn::mesh::{Compiler, Generated, ProxyType, Resource, World};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

fn seeds() -> std::ops::Range<u64> {
    let Some(given) = std::env::var("EGRESS_SCN_RANDOM").ok() else { return 0..300 };
    let (from, to) = given.split_once("..").expect("EGRESS_SCN_RANDOM=FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn kinds(generated: &Generated) -> [(&'static str, &[Resource]); 4] {
    [
        ("listener", &generated.listeners),
        ("cluster", &generated.clusters),
        ("route", &generated.routes),
        ("endpoint", &generated.endpoints),
    ]
}

/// Every name that is there twice, of resources and inside of them.
fn duplicates(generated: &Generated) -> Vec<String> {
    let mut out = Vec::new();
    let mut check = |what: String, names: Vec<&str>| {
        let mut seen = BTreeSet::new();
        out.extend(names.into_iter().filter(|n| !seen.insert(*n)).map(|n| format!("{what} {n:?} is there twice")));
    };
    for (kind, resources) in kinds(generated) {
        check(kind.to_owned(), resources.iter().map(|r| &*r.name).collect());
    }
    for route in &generated.routes {
        let hosts = list(&route.body["virtualHosts"]);
        check(format!("{}: virtual host", route.name), hosts.iter().map(|h| text(&h["name"])).collect());
        let domains = hosts.iter().flat_map(|h| list(&h["domains"])).map(text).collect();
        check(format!("{}: domain", route.name), domains);
    }
    // A gateway may have two servers for one port and host that only differ in their bind: istiod writes both.
    for listener in generated.listeners.iter().filter(|l| l.body["bindToPort"] == false) {
        let matches: Vec<String> =
            list(&listener.body["filterChains"]).iter().map(|c| c["filterChainMatch"].to_string()).collect();
        check(format!("{}: match", listener.name), matches.iter().map(String::as_str).collect());
    }
    out
}

/// The clusters that a body sends traffic to.
fn clusters<'a>(body: &'a Value, out: &mut BTreeSet<&'a str>) {
    match body {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("cluster", Value::String(cluster)) => drop(out.insert(cluster)),
                    ("weightedClusters", _) => {
                        out.extend(list(&value["clusters"]).iter().map(|c| text(&c["name"])));
                    }
                    _ => {}
                }
                clusters(value, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| clusters(inner, out)),
        _ => {}
    }
}

/// Why a cluster that is named may be absent: `Some` for those that nothing excuses.
fn unexcused(cluster: &str, world: &World) -> Option<String> {
    let mut parts = cluster.split('|');
    let (Some("outbound"), Some(port), Some(subset), Some(host)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Some(format!("{cluster} is no outbound cluster of a service"));
    };
    // Addresses that only selected workloads would have, and there are none: no cluster, but listeners and routes.
    let same = |value: &Value| text(value).eq_ignore_ascii_case(host);
    let mut entries = world.objects.iter().filter(|o| text(&o["kind"]) == "ServiceEntry");
    // Routes have host names in lower case, clusters as they are written.
    let excuses = |entry: &Value| {
        let hosts = list(&entry["spec"]["hosts"]);
        hosts.iter().any(|h| same(h) && (text(h) != host || !entry["spec"]["workloadSelector"].is_null()))
    };
    // Of several entries for a host all have listeners, but the clusters are those of one.
    let of_host = entries.clone().filter(|e| list(&e["spec"]["hosts"]).iter().any(same)).count();
    if of_host > 1 || entries.any(|entry| excuses(entry)) {
        return None;
    }
    // A route may name a service, a port or a subset that is not there, or that is not exported: so does istiod's.
    let named = |kinds: &[&str]| {
        world.objects.iter().filter(|o| kinds.contains(&text(&o["kind"]))).any(|o| {
            let spec = o["spec"].to_string();
            let short = host.split('.').next().unwrap_or(host);
            spec.contains(host) || spec.contains(&format!("\"{short}\"")) || spec.contains(&format!("\"{short}."))
        })
    };
    let by_route = named(&["VirtualService", "Sidecar"]);
    (!by_route)
        .then(|| format!("{cluster}: no VirtualService or Sidecar sends to {host}, port {port}, subset {subset:?}"))
}

fn dangling(generated: &Generated, world: &World) -> Vec<String> {
    let known: BTreeSet<&str> = generated.clusters.iter().map(|c| &*c.name).collect();
    let removed = world.objects.iter().any(|o| text(&o["kind"]) == "EnvoyFilter" && o.to_string().contains("REMOVE"));
    let mut named = BTreeSet::new();
    for resource in generated.listeners.iter().chain(&generated.routes) {
        clusters(&resource.body, &mut named);
    }
    named
        .into_iter()
        // Named by EnvoyFilters, access loggers and tracers of the mesh config.
        .filter(|c| !removed || *c != "PassthroughCluster")
        .filter(|c| !known.contains(c) && !c.is_empty() && !c.contains(".istio-system.svc.") && *c != "xds-grpc")
        .filter_map(|c| unexcused(c, world))
        .collect()
}

/// Load assignments are for clusters that ask for them, and each such cluster has one.
fn assignments(generated: &Generated) -> Vec<String> {
    let asking: BTreeSet<&str> =
        generated.clusters.iter().filter(|c| text(&c.body["type"]) == "EDS").map(|c| &*c.name).collect();
    let given: BTreeSet<&str> = generated.endpoints.iter().map(|e| &*e.name).collect();
    asking.symmetric_difference(&given).map(|name| format!("{name}: EDS and load assignments differ")).collect()
}

/// Route configurations are those that listeners ask for.
fn asked_routes(generated: &Generated) -> Vec<String> {
    let mut asked = BTreeSet::new();
    for chain in generated
        .listeners
        .iter()
        .flat_map(|l| list(&l.body["filterChains"]).iter().chain(std::iter::once(&l.body["defaultFilterChain"])))
    {
        asked.extend(list(&chain["filters"]).iter().map(|f| text(&f["typedConfig"]["rds"]["routeConfigName"])));
    }
    asked.remove("");
    let given: BTreeSet<&str> = generated.routes.iter().map(|r| &*r.name).collect();
    asked.symmetric_difference(&given).map(|name| format!("route {name}: asked for and given differ")).collect()
}

/// Written without what the order of the inputs may change: nothing but provenance.
fn written(generated: &Generated) -> String {
    let mut out = String::new();
    for (kind, resources) in kinds(generated) {
        for resource in resources {
            out.push_str(&format!("{kind} {} {}\n", resource.name, resource.body));
        }
    }
    out
}

#[test]
fn whatever_is_configured_the_result_is_sound() {
    let mut wrong = Vec::new();
    for seed in seeds() {
        let world = random_mesh::world(seed);
        let mut turned = world.clone();
        turned.objects.reverse();
        let (compiler, other) = (Compiler::new(&world), Compiler::new(&turned));
        for (index, (name, kind, ..)) in mesh_case::PROXIES.iter().enumerate() {
            let Some(proxy) = mesh_case::proxy(&world, index) else { continue };
            let generated = compiler.compile(&proxy);
            let mut found = duplicates(&generated);
            found.extend(dangling(&generated, &world));
            found.extend(assignments(&generated));
            found.extend(asked_routes(&generated));
            if *kind == ProxyType::Sidecar && !generated.listeners.iter().any(|l| *l.name == *"virtualOutbound") {
                found.push("no virtualOutbound".to_owned());
            }
            if written(&generated) != written(&other.compile(&proxy)) {
                found.push("the order of the inputs changes the result".to_owned());
            }
            wrong.extend(found.into_iter().map(|why| format!("seed {seed} {name}: {why}")));
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_seed_gives_the_same_configuration_for_ever() {
    let fingerprint = |world: &World| {
        let all = world.objects.iter().map(|o| o.to_string()).chain([world.mesh_config.to_string()]);
        all.flat_map(String::into_bytes)
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    assert_eq!(fingerprint(&random_mesh::world(7)), fingerprint(&random_mesh::world(7)));
    assert_ne!(fingerprint(&random_mesh::world(7)), fingerprint(&random_mesh::world(8)));
}

/// Each check goes red for the fault that it is for.
#[test]
fn faults_are_found() {
    let world = random_mesh::world(1);
    let proxy = mesh_case::proxy(&world, 0).unwrap();
    let sound = Compiler::new(&world).compile(&proxy);
    let mut twice = sound.clone();
    twice.clusters.push(twice.clusters[0].clone());
    assert_eq!(duplicates(&twice).len(), duplicates(&sound).len() + 1);
    let mut lost = sound.clone();
    lost.clusters.retain(|c| *c.name != *"BlackHoleCluster" && *c.name != *"PassthroughCluster");
    assert!(!dangling(&lost, &world).is_empty());
    let mut unasked = sound.clone();
    let stray = Resource { name: "stray".into(), body: Value::Null.into(), origins: Vec::new().into() };
    unasked.routes.push(stray.clone());
    unasked.endpoints.push(stray);
    assert_eq!((asked_routes(&unasked).len(), assignments(&unasked).len()), (1, 1));
    let mut other = world.clone();
    other.objects.retain(|o| text(&o["kind"]) != "Service");
    other.objects.push(Arc::new(Value::Null));
    assert_ne!(written(&sound), written(&Compiler::new(&other).compile(&proxy)));
}

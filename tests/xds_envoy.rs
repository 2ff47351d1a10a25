//! The xDS server and the bootstrap, shown on a real Envoy: every type is accepted, a refusal comes back
//! in Envoy's words, an update goes out alone, a lost connection heals.
// Functions of a test outside `#[test]` fail by panicking, and a skip is printed.
#![allow(clippy::unwrap_used, clippy::print_stderr)]
#![cfg(target_os = "linux")]

mod istiod;
mod mesh_case;
mod random_mesh;
mod real_envoy;

use egress_scn::lab::authority::{Authority, Leaf};
use egress_scn::mesh::{self, Compiler, Generated};
use egress_scn::xds::{Event, Events, NodeStatus, Resource, ResourceType, Resources, Server};
use k8s_openapi::api::core::v1::Pod;
use real_envoy::{PATIENCE, admin};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SLEEP: &str = "sidecar~10.244.0.10~sleep-0.mesh-test~mesh-test.svc.cluster.local";
/// The pod that the Envoy plays.
fn sleep() -> Pod {
    let pod = "{metadata: {name: sleep-0, namespace: mesh-test, labels: {app: sleep}}, spec: {serviceAccountName: sleep, containers: []}}";
    serde_yaml::from_str(pod).unwrap()
}

const CASE: &str = "03-cnn-mtls-leg2-tcp";

/// What istiod sent, with secrets of ours.
fn golden(proxy: &str) -> Resources {
    with_secrets(istiod::one(CASE, proxy))
}

fn with_secrets(resources: Resources) -> Resources {
    Resources { secrets: secrets(&[&resources.clusters, &resources.listeners]), ..resources }
}

/// A secret for every name that resources refer to, of the kind that the name says.
fn secrets(bodies: &[&[Resource]]) -> Vec<Resource> {
    let authority = Authority::new("mesh").unwrap();
    let uris = vec!["spiffe://cluster.local/ns/mesh-test/sa/sleep".to_string()];
    let identity = authority.issue(&Leaf { uris, ..Leaf::default() }).unwrap();
    let url = ResourceType::Secret.type_url();
    let mut names = BTreeSet::new();
    bodies.iter().flat_map(|list| list.iter()).for_each(|resource| secret_names(&resource.body, &mut names));
    let secret = |name: String| {
        let body = if name == "ROOTCA" || name.starts_with("file-root") || name.ends_with("-cacert") {
            json!({"@type": url, "name": name, "validationContext": {"trustedCa": {"inlineString": authority.root_pem()}}})
        } else {
            json!({"@type": url, "name": name, "tlsCertificate": {
                "certificateChain": {"inlineString": identity.chain_pem},
                "privateKey": {"inlineString": identity.key_pem}}})
        };
        Resource { name: name.into(), body: body.into() }
    };
    names.into_iter().map(secret).collect()
}

fn secret_names(body: &Value, names: &mut BTreeSet<String>) {
    match body {
        Value::Object(fields) => {
            if fields.contains_key("sdsConfig") {
                names.insert(fields["name"].as_str().unwrap().to_string());
            }
            fields.values().for_each(|inner| secret_names(inner, names));
        }
        Value::Array(items) => items.iter().for_each(|inner| secret_names(inner, names)),
        _ => {}
    }
}

async fn connected(events: &mut Events) -> String {
    let wait = async {
        loop {
            match events.recv().await.expect("the server lives") {
                Event::Connected(node) => return node.id,
                _ => continue,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("Envoy connects")
}

async fn synced(server: &Server, version: u64) -> NodeStatus {
    match tokio::time::timeout(PATIENCE, server.synced(version)).await {
        Ok(nodes) => nodes.into_iter().find(|node| node.id == SLEEP).unwrap(),
        Err(_) => panic!("{:?}: {:#?}", server.waiting_for(SLEEP), server.status()),
    }
}

#[tokio::test]
async fn a_real_envoy_takes_what_istiod_would_send() {
    let Some(envoy) = real_envoy::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (server, mut events) = Server::start(&folder.path().join("xds.sock")).unwrap();
    let process = real_envoy::start(&envoy, folder.path(), &sleep());
    assert_eq!(connected(&mut events).await, SLEEP);
    let wanted = golden("sleep");
    let version = server.set(SLEEP, wanted.clone());
    let status = synced(&server, version).await;
    assert_eq!(status.errors(), Vec::<String>::new());
    let held: Vec<(ResourceType, usize)> = status.types.iter().map(|(kind, s)| (*kind, s.resources)).collect();
    let expected = [
        (ResourceType::Cluster, wanted.clusters.len()),
        (ResourceType::Endpoint, wanted.endpoints.len()),
        (ResourceType::Listener, wanted.listeners.len()),
        (ResourceType::Route, wanted.routes.len()),
        (ResourceType::Secret, wanted.secrets.len()),
    ];
    assert_eq!(held, expected);
    assert_eq!(admin(folder.path(), "/ready").await, "LIVE\n");
    let listeners = admin(folder.path(), "/listeners").await;
    assert!(listeners.contains("virtualOutbound::0.0.0.0:15001"), "{listeners}");

    // The same again: nothing goes out.
    assert_eq!(server.set(SLEEP, wanted.clone()), version);

    // One more cluster: CDS alone.
    let mut more = wanted.clone();
    let extra = json!({"@type": ResourceType::Cluster.type_url(), "name": "extra", "type": "STATIC"});
    more.clusters.push(Resource { name: "extra".into(), body: extra.into() });
    let newer = server.set(SLEEP, more.clone());
    let status = synced(&server, newer).await;
    let versions =
        |status: &NodeStatus| status.types.iter().map(|(k, s)| (*k, s.accepted.unwrap())).collect::<Vec<_>>();
    assert_eq!(status.types[&ResourceType::Cluster].accepted, Some(newer));
    assert!(versions(&status)[1..].iter().all(|(_, v)| *v == version), "{:?}", versions(&status));

    // A listener that Envoy refuses: its words come back, the rest stands.
    let mut broken = more.clone();
    broken.listeners.push(Resource {
        name: "broken".into(),
        body: json!({"@type": ResourceType::Listener.type_url(), "name": "broken",
            "address": {"socketAddress": {"address": "not-an-address", "portValue": 9}}, "filterChains": [{}]})
        .into(),
    });
    let refused = server.set(SLEEP, broken);
    let status = synced(&server, refused).await;
    let rejection = status.types[&ResourceType::Listener].rejected.clone().expect("a NACK");
    assert!(rejection.message.contains("malformed IP address: not-an-address"), "{}", rejection.message);
    assert_eq!(rejection.version, refused);
    assert!(!status.accepted());

    // A type or field that has no protobuf form is told too, and never sent.
    let mut unknown = more.clone();
    unknown.clusters.push(Resource {
        name: "odd".into(),
        body: json!({"@type": ResourceType::Cluster.type_url(), "name": "odd", "no_such": 1}).into(),
    });
    let status = synced(&server, server.set(SLEEP, unknown)).await;
    assert!(status.errors().iter().any(|error| error.contains("no_such")), "{:?}", status.errors());

    // Mended: no error is left, and what was added goes, clusters after listeners and routes.
    let status = synced(&server, server.set(SLEEP, wanted.clone())).await;
    assert_eq!(status.errors(), Vec::<String>::new());
    assert_eq!(status.types[&ResourceType::Cluster].resources, wanted.clusters.len());

    // Other content, every type at once, clusters replaced and listeners dropped.
    let gateway = golden("egressgateway");
    let status = synced(&server, server.set(SLEEP, gateway.clone())).await;
    assert_eq!(status.errors(), Vec::<String>::new());
    let status = synced(&server, server.set(SLEEP, wanted.clone())).await;
    assert_eq!(status.errors(), Vec::<String>::new());
    let names = admin(folder.path(), "/clusters?format=json").await;
    assert!(!names.contains("\"extra\""));

    // The server is replaced: Envoy comes back by itself.
    drop((server, events));
    let (server, mut events) = Server::start(&folder.path().join("xds.sock")).unwrap();
    let version = server.set(SLEEP, wanted.clone());
    assert_eq!(connected(&mut events).await, SLEEP);
    assert_eq!(synced(&server, version).await.errors(), Vec::<String>::new());

    // Envoy is killed: told, and no longer waited for.
    drop(process);
    let gone = async {
        loop {
            if let Event::Disconnected { id } = events.recv().await.unwrap() {
                return id;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, gone).await.unwrap(), SLEEP);
}

/// One after the other on one Envoy.
#[tokio::test]
async fn a_real_envoy_accepts_every_golden_case() {
    let Some(envoy) = real_envoy::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (server, mut events) = Server::start(&folder.path().join("xds.sock")).unwrap();
    let _process = real_envoy::start(&envoy, folder.path(), &sleep());
    connected(&mut events).await;
    let mut wrong = Vec::new();
    for sent in istiod::all() {
        let wanted = with_secrets(sent.resources);
        let metrics = wanted.listeners.iter().any(|listener| listener.body.to_string().contains("istio.stats"));
        let status = synced(&server, server.set(SLEEP, wanted)).await;
        // Istio's own filters are not in an upstream Envoy: that it says so is right.
        let errors = status.errors().into_iter().filter(|error| !(metrics && error.contains("istio.stats")));
        wrong.extend(errors.map(|error| format!("{}: {error}", sent.place)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn resources(generated: Generated) -> Resources {
    let take = |all: Vec<mesh::Resource>| all.into_iter().map(|r| Resource { name: r.name, body: r.body }).collect();
    with_secrets(Resources {
        clusters: take(generated.clusters),
        endpoints: take(generated.endpoints),
        listeners: take(generated.listeners),
        routes: take(generated.routes),
        secrets: Vec::new(),
    })
}

/// One Envoy plays all proxies of all of them, one after the other. What has no protobuf form is an error here too.
#[tokio::test]
async fn a_real_envoy_accepts_random_configurations() {
    let Some(envoy) = real_envoy::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (server, mut events) = Server::start(&folder.path().join("xds.sock")).unwrap();
    let _process = real_envoy::start(&envoy, folder.path(), &sleep());
    connected(&mut events).await;
    let (mut wrong, mut given) = (Vec::new(), 0);
    for seed in 0..16 {
        let world = random_mesh::world(seed);
        let compiler = Compiler::new(&world);
        for (index, (name, ..)) in mesh_case::PROXIES.iter().enumerate() {
            let Some(proxy) = mesh_case::proxy(&world, index) else { continue };
            let wanted = resources(compiler.compile(&proxy));
            let metrics = wanted.listeners.iter().any(|listener| listener.body.to_string().contains("istio.stats"));
            let status = synced(&server, server.set(SLEEP, wanted)).await;
            given += 1;
            let errors = status.errors().into_iter().filter(|error| !(metrics && error.contains("istio.stats")));
            wrong.extend(errors.map(|error| format!("seed {seed} {name}: {error}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(given >= 48, "only {given} configurations");
}

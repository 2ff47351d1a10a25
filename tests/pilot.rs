//! The pilot between the lab's own API and a real Envoy: what is written to the API is in Envoy when
//! `/debug/lab/synced` answers, and what Envoy refuses is told.
#![cfg(target_os = "linux")]
// Functions of a test outside `#[test]` fail by panicking, and a skip is printed.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "api/lab.rs"]
#[allow(dead_code, reason = "this test needs the server and a client only")]
mod api;
mod real_envoy;
mod relay;

use egress_scn::lab::authority::Authority;
use egress_scn::lab::pilot::{Follower, MONITORING_PORT, Pilot, PilotConfig};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use real_envoy::{PATIENCE, admin};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A pilot with its debug interface and its log.
struct Control {
    _pilot: Pilot,
    debug: SocketAddr,
    log: UnboundedReceiver<String>,
}

async fn pilot(client: kube::Client, folder: &Path) -> Control {
    let (sink, log) = unbounded_channel();
    let pilot = Pilot::start(PilotConfig {
        client,
        xds_socket: folder.join(real_envoy::SOCKET),
        mesh_authority: Arc::new(Authority::new("mesh").unwrap()),
        outside_root_pem: Authority::new("outside").unwrap().root_pem(),
        log: Arc::new(move |line: &str| {
            let _ = sink.send(line.to_string());
        }),
        network: Follower::of_nothing(),
    })
    .await
    .unwrap();
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let debug = listener.local_addr().unwrap();
    pilot.serve("istiod-0", MONITORING_PORT, listener).unwrap();
    Control { _pilot: pilot, debug, log }
}

impl Control {
    async fn get(&self, path: &str) -> Value {
        let stream = tokio::net::TcpStream::connect(self.debug).await.unwrap();
        serde_json::from_str(&real_envoy::get(stream, path).await).unwrap()
    }

    /// Waits as the runner does. What the one proxy says.
    async fn synced(&self, version: &str) -> Value {
        let path = format!("/debug/lab/synced?rv={version}");
        let Ok(answer) = tokio::time::timeout(PATIENCE, self.get(&path)).await else {
            panic!("{:#}", self.get("/debug/lab/state").await)
        };
        assert_eq!(answer["proxies"].as_array().unwrap().len(), 1, "{answer:#}");
        answer["proxies"][0].clone()
    }

    /// The next line of the log that contains `text`.
    async fn says(&mut self, text: &str) -> String {
        let mut before = Vec::new();
        loop {
            match tokio::time::timeout(PATIENCE, self.log.recv()).await {
                Ok(Some(line)) if line.contains(text) => return line,
                Ok(Some(line)) => before.push(line),
                _ => panic!("{text:?} was never said:\n{}", before.join("\n")),
            }
        }
    }
}

async fn apply(client: &kube::Client, object: Value) -> String {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let name = object.metadata.name.clone().unwrap();
    let params = PatchParams::apply("test").force();
    let written = api(client, &object).patch(&name, &params, &Patch::Apply(&object)).await.unwrap();
    written.metadata.resource_version.unwrap()
}

fn api(client: &kube::Client, object: &DynamicObject) -> Api<DynamicObject> {
    let types = object.types.clone().unwrap();
    let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
    match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

fn mesh_config(format: &str) -> Value {
    let mesh = json!({"accessLogFile": "/dev/stdout", "accessLogFormat": format,
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": mesh.to_string()}})
}

fn service_entry(name: &str) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "mesh-test"},
        "spec": {"hosts": [format!("{name}.example")], "location": "MESH_EXTERNAL", "resolution": "DNS",
            "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}]}})
}

/// The namespaces, a mesh config and one pod, which is given back.
async fn mesh_with_sleep(client: &kube::Client) -> Pod {
    for name in ["istio-system", "mesh-test"] {
        apply(client, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await;
    }
    apply(client, mesh_config("%RESPONSE_CODE%\n")).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "sleep-0", "namespace": "mesh-test", "labels": {"app": "sleep"}},
        "spec": {"serviceAccountName": "sleep", "containers": [{"name": "sleep", "image": "curl"}]}});
    apply(client, pod.clone()).await;
    serde_json::from_value(pod).unwrap()
}

fn cluster_of(name: &str) -> String {
    format!("outbound|443||{name}.example::")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_to_the_api_is_in_envoy_when_synced_answers() {
    let Some(envoy) = real_envoy::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let lab = api::start();
    let client = lab.client.clone();
    let pod = mesh_with_sleep(&client).await;

    let mut control = pilot(client.clone(), folder).await;
    let _envoy = real_envoy::start(&envoy, folder, &pod);
    let line = control.says("new connection").await;
    assert!(line.ends_with("\tinfo\tads\tADS: new connection for node:sleep-0.mesh-test"), "{line}");

    for round in 0..5 {
        let name = format!("site-{round}");
        let entry = service_entry(&name);
        let version = apply(&client, entry.clone()).await;
        let proxy = control.synced(&version).await;
        assert_eq!(proxy["acked"], true, "{proxy:#}");
        assert!(admin(folder, "/clusters").await.contains(&cluster_of(&name)));

        let object: DynamicObject = serde_json::from_value(entry).unwrap();
        api(&client, &object).delete(&name, &DeleteParams::default()).await.unwrap();
        // The answer to a deletion carries no version; the API's present one is high enough.
        let namespaces = Api::<Namespace>::all(client.clone()).list(&ListParams::default()).await.unwrap();
        let after = namespaces.metadata.resource_version.unwrap();
        control.synced(&after).await;
        assert!(!admin(folder, "/clusters").await.contains(&cluster_of(&name)), "deleted at {after}");
    }

    // A mesh config that Envoy cannot read: its words are in the answer and in the log.
    let version = apply(&client, mesh_config("%NO_SUCH_COMMAND%\n")).await;
    let proxy = control.synced(&version).await;
    assert_eq!(proxy["acked"], false);
    assert!(proxy["errors"][0].as_str().unwrap().contains("NO_SUCH_COMMAND"), "{proxy:#}");
    let line = control.says("ACK ERROR").await;
    assert!(line.contains("ADS:LDS: ACK ERROR sleep-0.mesh-test Internal:"), "{line}");
    let version = apply(&client, mesh_config("%RESPONSE_FLAGS%\n")).await;
    assert_eq!(control.synced(&version).await["acked"], true);

    // A status that only counts is seen, and compiles nothing.
    let pushes = control.get("/debug/lab/state").await["pushes"].clone();
    let event =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "namespace": "mesh-test"}});
    let version = apply(&client, event).await;
    control.synced(&version).await;
    assert_eq!(control.get("/debug/lab/state").await["pushes"], pushes);

    // The pilot is replaced: Envoy finds the new one, which knows everything again.
    drop(control);
    let mut control = pilot(client.clone(), folder).await;
    control.says("new connection").await;
    let version = apply(&client, service_entry("late")).await;
    assert_eq!(control.synced(&version).await["acked"], true);
    assert!(admin(folder, "/clusters").await.contains(&cluster_of("late")));
    assert_eq!(control.get("/debug/syncz").await[0]["proxy"], "sleep-0.mesh-test");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_the_way_to_the_api_is_cut_is_not_lost() {
    let Some(envoy) = real_envoy::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let lab = api::start();
    let client = lab.client.clone();
    let pod = mesh_with_sleep(&client).await;
    let relay = relay::Relay::to(lab.server.address()).await;
    let mut control = pilot(api::client_at(relay.address, &lab.ca, Some(&lab.identity)), folder).await;
    let _envoy = real_envoy::start(&envoy, folder, &pod);
    control.says("new connection").await;
    let gone = service_entry("gone");
    let version = apply(&client, gone.clone()).await;
    control.synced(&version).await;
    assert!(admin(folder, "/clusters").await.contains(&cluster_of("gone")));

    relay.cut();
    let gone: DynamicObject = serde_json::from_value(gone).unwrap();
    api(&client, &gone).delete("gone", &DeleteParams::default()).await.unwrap();
    apply(&client, service_entry("first")).await;
    let version = apply(&client, service_entry("second")).await;
    // Nobody answers for what cannot be known.
    let state = control.get("/debug/lab/state").await;
    assert!(state["seen"].as_u64().is_none_or(|seen| seen < version.parse().unwrap()), "{state:#}");
    relay.mend();
    let proxy = control.synced(&version).await;
    assert_eq!(proxy["acked"], true, "{proxy:#}");
    let clusters = admin(folder, "/clusters").await;
    assert!(clusters.contains(&cluster_of("first")) && clusters.contains(&cluster_of("second")), "{clusters}");
    assert!(!clusters.contains(&cluster_of("gone")), "{clusters}");
}

//! The scheduler of a cluster with one node: each pod without a node goes there. It also declares the
//! node.

use super::Config;
use super::mirror::events;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};

pub async fn run(config: Config) {
    if let Err(error) = declare_node(&config).await {
        config.complain("declaring the node", &error);
    }
    let unscheduled = watcher::Config::default().fields("spec.nodeName=");
    let mut pods = events(Api::<Pod>::all(config.client.clone()), unscheduled);
    while let Some(event) = pods.next().await {
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => bind(&config, &pod).await,
            Ok(_) => {}
            Err(error) => config.complain("watching pods without a node", &error),
        }
    }
}

async fn bind(config: &Config, pod: &Pod) {
    let metadata = &pod.metadata;
    if metadata.deletion_timestamp.is_some() {
        return;
    }
    let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else { return };
    let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name, "namespace": namespace },
        "target": { "apiVersion": "v1", "kind": "Node", "name": config.node } });
    let request = http::Request::post(format!("/api/v1/namespaces/{namespace}/pods/{name}/binding"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(binding.to_string().into_bytes());
    let Ok(request) = request else { return };
    match config.client.request::<Value>(request).await {
        Ok(_) => {
            let message = format!("Successfully assigned {namespace}/{name} to {}", config.node);
            config.events.of("default-scheduler").normal(pod, "Scheduled", message);
        }
        Err(error) if super::is_overtaken(&error) => {}
        Err(error) => config.complain(&format!("scheduling pod {namespace}/{name}"), &error),
    }
}

async fn declare_node(config: &Config) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(config.client.clone());
    let labels = json!({ "kubernetes.io/hostname": config.node, "kubernetes.io/os": "linux",
        "kubernetes.io/arch": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" } });
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": config.node, "labels": labels },
        "spec": { "podCIDR": "10.244.0.0/16", "podCIDRs": ["10.244.0.0/16"] } });
    let params = PatchParams::apply("kubelet").force();
    nodes.patch(&config.node, &params, &Patch::Apply(&node)).await?;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut addresses = json!([{ "type": "InternalIP", "address": "10.244.0.1" },
        { "type": "Hostname", "address": config.node }]);
    let mut endpoints = json!({});
    if let (Some(port), Some(addresses)) = (config.kubelet_port, addresses.as_array_mut()) {
        // The node's processes are this machine's, on its loopback.
        addresses.push(json!({ "type": "ExternalIP", "address": "127.0.0.1" }));
        endpoints = json!({ "kubeletEndpoint": { "Port": port } });
    }
    let status = json!({ "status": {
        "addresses": addresses, "daemonEndpoints": endpoints,
        "capacity": { "pods": "110" }, "allocatable": { "pods": "110" },
        "nodeInfo": { "architecture": std::env::consts::ARCH, "operatingSystem": "linux", "kubeletVersion": "v1.34.0",
            "kubeProxyVersion": "", "containerRuntimeVersion": "egress-scn://1", "osImage": "lab", "kernelVersion": "",
            "machineID": "", "systemUUID": "", "bootID": "" },
        "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the lab's node agent runs",
            "lastHeartbeatTime": now, "lastTransitionTime": now }] } });
    nodes.patch_status(&config.node, &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}

//! The proxies' configuration as files: asked of a lab once, then everything dynamic in it made static.

use super::{Pod, identity};
use egress_scn::cluster::Cluster;
use egress_scn::lab::authority::Authority;
use egress_scn::lab::boot::Lab;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

const WORKLOADS: [(&str, &str, &str); 3] = [
    ("sleep", "mesh-test", "sleep"),
    ("istio-egressgateway", "istio-system", "istio-egressgateway-service-account"),
    ("sleep", "legacy", ""),
];

pub async fn pods(folder: &Path) -> Vec<Pod> {
    let lab = Lab::start_with(Path::new(env!("CARGO_BIN_EXE_egress-scn")), |_| ()).await.unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(lab.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let cluster = Cluster::connect(config).unwrap();
    apply_the_note(cluster.client()).await;
    let mesh = Authority::new("mesh").unwrap();
    let mut pods = vec![];
    for (workload, namespace, account) in WORKLOADS {
        let set = cluster.pods(namespace, workload, Duration::from_secs(10)).await.unwrap();
        let pod = &set[0];
        let ip: Ipv4Addr = pod.ip.parse().unwrap();
        let mut made = Pod {
            workload: workload.into(),
            namespace: namespace.into(),
            ip,
            sidecar: workload == "sleep" && namespace == "mesh-test",
            envoy: None,
        };
        if !account.is_empty() {
            let admin = cluster.admin(pod);
            let dump = dump_with(&admin).await;
            let identity = identity(&mesh, namespace, account);
            let secrets = json!([
                { "name": "default", "tls_certificate": {
                    "certificate_chain": { "inline_string": identity.chain_pem },
                    "private_key": { "inline_string": identity.key_pem } } },
                { "name": "ROOTCA", "validation_context": { "trusted_ca": { "inline_string": mesh.root_pem() } } },
                { "name": "file-root:system", "validation_context": { "trusted_ca": { "inline_string": mesh.root_pem() } } },
            ]);
            let path = folder.join(format!("{workload}.{namespace}.json"));
            std::fs::write(&path, fixed(&dump, secrets).to_string()).unwrap();
            made.envoy = Some(path);
        }
        pods.push(made);
    }
    lab.stop().await;
    pods
}

/// The dump once both hosts' configuration is in: asked again as long as it is on its way.
async fn dump_with(admin: &egress_scn::cluster::Admin) -> Value {
    loop {
        let dump = admin.config_dump_with_endpoints().await.unwrap();
        let text = dump.to_string();
        if text.contains("outbound|443||edition.cnn.com") && text.contains("outbound|443||httpbin.org") {
            return dump;
        }
    }
}

async fn apply_the_note(client: &kube::Client) {
    for path in glob::glob("manifests/*.yaml").unwrap().map(Result::unwrap) {
        // One proxy cannot have all of it at once; these would change what the others do.
        if path.ends_with("sidecar-scope.yaml") || path.to_str().unwrap().contains("tls-origination") {
            continue;
        }
        for document in serde_yaml::Deserializer::from_str(&std::fs::read_to_string(&path).unwrap()) {
            let object = DynamicObject::deserialize(document).unwrap();
            let kind =
                kube::core::GroupVersionKind::gvk("networking.istio.io", "v1", &object.types.clone().unwrap().kind);
            let resource = kube::discovery::ApiResource::from_gvk(&kind);
            let namespace = object.metadata.namespace.clone().unwrap();
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
            let name = object.metadata.name.clone().unwrap();
            api.patch(&name, &PatchParams::apply("bench"), &Patch::Apply(&object)).await.unwrap();
        }
    }
}

/// A bootstrap in which everything that came by xDS is static.
fn fixed(dump: &Value, secrets: Value) -> Value {
    let section = |kind: &str| {
        let configs = dump["configs"].as_array().unwrap();
        configs.iter().find(|config| config["@type"].as_str().unwrap().ends_with(kind)).cloned().unwrap_or_default()
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut bootstrap = section("BootstrapConfigDump")["bootstrap"].clone();
    let mut endpoints: HashMap<String, Value> = HashMap::new();
    let eds = section("EndpointsConfigDump");
    for entry in list(&eds["dynamic_endpoint_configs"]).into_iter().chain(list(&eds["static_endpoint_configs"])) {
        let assignment = &entry["endpoint_config"];
        endpoints.insert(assignment["cluster_name"].as_str().unwrap().to_string(), strip(assignment.clone()));
    }
    let mut routes: HashMap<String, Value> = HashMap::new();
    for entry in list(&section("RoutesConfigDump")["dynamic_route_configs"]) {
        let route = strip(entry["route_config"].clone());
        routes.insert(route["name"].as_str().unwrap().to_string(), route);
    }
    let mut clusters = vec![];
    for entry in list(&section("ClustersConfigDump")["dynamic_active_clusters"]) {
        let mut cluster = strip(entry["cluster"].clone());
        if cluster["type"] == "EDS" {
            let name = cluster["name"].as_str().unwrap().to_string();
            let none = json!({ "cluster_name": name });
            cluster.as_object_mut().unwrap().remove("eds_cluster_config");
            cluster["type"] = json!("STATIC");
            cluster["load_assignment"] = endpoints.get(&name).cloned().unwrap_or(none);
        }
        without_sds(&mut cluster);
        clusters.push(cluster);
    }
    let mut listeners = vec![];
    for entry in list(&section("ListenersConfigDump")["dynamic_listeners"]) {
        let mut listener = strip(entry["active_state"]["listener"].clone());
        with_routes(&mut listener, &routes);
        without_sds(&mut listener);
        listeners.push(listener);
    }
    let fields = bootstrap.as_object_mut().unwrap();
    fields.remove("dynamic_resources");
    let kept = list(&bootstrap["static_resources"]["clusters"]);
    clusters.extend(kept.into_iter().filter(|cluster| !cluster["name"].as_str().unwrap().ends_with("-grpc")));
    let mut all = list(&bootstrap["static_resources"]["listeners"]);
    all.extend(listeners);
    bootstrap["static_resources"] = json!({ "clusters": clusters, "listeners": all, "secrets": secrets });
    bootstrap
}

fn strip(mut message: Value) -> Value {
    if let Some(fields) = message.as_object_mut() {
        fields.remove("@type");
    }
    message
}

/// A secret that is named without a source is a static one.
fn without_sds(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("sds_config");
            fields.values_mut().for_each(without_sds);
        }
        Value::Array(items) => items.iter_mut().for_each(without_sds),
        _ => {}
    }
}

fn with_routes(value: &mut Value, routes: &HashMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            if let Some(rds) = fields.remove("rds") {
                let name = rds["route_config_name"].as_str().unwrap();
                fields.insert("route_config".into(), routes.get(name).cloned().unwrap_or(json!({ "name": name })));
            }
            fields.values_mut().for_each(|value| with_routes(value, routes));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| with_routes(item, routes)),
        _ => {}
    }
}

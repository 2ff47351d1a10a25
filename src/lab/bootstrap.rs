//! What a pod's Envoy starts with: its bootstrap document and its command line, as istio-proxy's
//! agent would make them. Reaches nothing; the node agent writes and runs it.

use super::real::certificate_request::ISTIOD;
use super::real::istiod::Credentials;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::Path;

/// The Istio version this lab speaks for.
pub const ISTIO_VERSION: &str = "1.30.3";
/// The mark on packets that Envoy itself sends: the pod's redirect lets them pass.
pub const SO_MARK: u32 = 1337;
/// Envoy's admin interface, on the pod's loopback.
pub const ADMIN_PORT: u16 = 15000;
/// `/healthz/ready`, on every address of the pod.
pub const READINESS_PORT: u16 = 15021;
/// `/stats/prometheus`, on every address of the pod.
pub const PROMETHEUS_PORT: u16 = 15090;

const SOL_SOCKET: u32 = 1;
const SO_MARK_OPTION: u32 = 36;

/// The bootstrap document of the Envoy in `pod`. A pod whose proxy container has the argument `router`
/// is a gateway; any other a sidecar. `xds_socket` is where ADS is served (at most 107 bytes), and SDS too unless
/// `credentials` for an istiod are given.
pub fn document(pod: &Pod, ip: Ipv4Addr, xds_socket: &Path, credentials: Option<&Credentials>) -> Value {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let pipe = |socket: &Path| json!({"pipe": {"path": socket.display().to_string()}});
    let secrets_socket = credentials.map_or(xds_socket, |credentials| &credentials.secrets_socket);
    let mut control_plane = static_cluster("xds-grpc", &pipe(xds_socket), true);
    let mut ads = json!({"envoyGrpc": {"clusterName": "xds-grpc"}});
    if let Some(credentials) = credentials {
        control_plane["transportSocket"] = tls_to_istiod(&credentials.root_pem);
        let header = |key: &str, value: String| json!({"key": key, "value": value});
        ads["initialMetadata"] = json!([
            header("authorization", format!("Bearer {}", credentials.token)),
            header("clusterid", "Kubernetes".into())
        ]);
    }
    let admin = json!({"socketAddress": {"address": "127.0.0.1", "portValue": ADMIN_PORT}});
    json!({
        "node": {
            "id": node_id(pod, ip),
            "cluster": format!("{}.{namespace}", canonical_name(pod)),
            "metadata": metadata(pod, ip),
        },
        "admin": {"address": admin, "ignoreGlobalConnLimit": true},
        "clusterManager": {"upstreamBindConfig": {
            "sourceAddress": {"address": "0.0.0.0", "portValue": 0},
            "socketOptions": [{"description": "mark what Envoy sends", "level": SOL_SOCKET, "name": SO_MARK_OPTION,
                "intValue": SO_MARK, "state": "STATE_PREBIND"}],
        }},
        "dynamicResources": {
            "adsConfig": {
                "apiType": "GRPC",
                "transportApiVersion": "V3",
                "setNodeOnFirstMessageOnly": true,
                "grpcServices": [ads],
            },
            "cdsConfig": {"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"},
            "ldsConfig": {"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"},
        },
        "staticResources": {
            "listeners": [
                static_listener(PROMETHEUS_PORT, "/stats/prometheus", "/stats/prometheus", "prometheus_stats"),
                static_listener(READINESS_PORT, "/healthz/ready", "/ready", "agent"),
            ],
            "clusters": [
                static_cluster("prometheus_stats", &admin, false),
                static_cluster("agent", &admin, false),
                static_cluster("sds-grpc", &pipe(secrets_socket), true),
                control_plane,
            ],
        },
    })
}

/// `TYPE~IP~POD.NAMESPACE~DOMAIN`: how control planes know the pod's Envoy.
pub fn node_id(pod: &Pod, ip: Ipv4Addr) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let kind = if is_router(pod) { "router" } else { "sidecar" };
    format!("{kind}~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local")
}

/// As Istio's agent connects: istiod proves itself by the mesh's root, the client by its token.
fn tls_to_istiod(root_pem: &str) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": ISTIOD,
            "commonTlsContext": {
                "alpnProtocols": ["h2"],
                "validationContext": {
                    "trustedCa": {"inlineString": root_pem},
                    "matchTypedSubjectAltNames": [{"sanType": "DNS", "matcher": {"exact": ISTIOD}}],
                },
            },
        },
    })
}

/// The command line of an Envoy with that bootstrap file. It says `starting workers` on standard error
/// when its first configuration is warm.
pub fn command(envoy: &Path, bootstrap: &Path) -> Vec<String> {
    let mut argv = vec![envoy.display().to_string(), "--config-path".into(), bootstrap.display().to_string()];
    let flags = [
        "--disable-hot-restart",
        "--concurrency 1",
        // As Istio's agent says: after a change of configuration, connections of the old one are asked to end at once and
        // cut after 45 s. Envoy's end waits for none of it.
        "--drain-time-s 45",
        "--drain-strategy immediate",
        // An access log line is on disk as soon as the request is over; the default is 10 s.
        "--file-flush-interval-msec 1",
        // A field that this Envoy does not know is our mistake: refuse it loudly.
        "--reject-unknown-dynamic-fields",
        "--skip-deprecated-logs",
        "--log-level error",
        "--component-log-level config:info",
    ];
    argv.extend(flags.iter().flat_map(|flag| flag.split(' ')).map(str::to_string));
    argv
}

/// Whether the pod's proxy is a gateway: its proxy container is told `proxy router`.
pub fn is_router(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.filter(|c| c.name == "istio-proxy").flat_map(|c| c.args.iter().flatten()).any(|arg| arg == "router")
}

/// Node metadata, with istiod's names.
fn metadata(pod: &Pod, ip: Ipv4Addr) -> Value {
    let meta = &pod.metadata;
    let workload = workload_name(pod);
    let namespace = meta.namespace.clone().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let account = spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_else(|| "default".to_string());
    let app_containers: Vec<&str> = spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|c| c.name.as_str())
        .filter(|n| *n != "istio-proxy")
        .collect();
    let mut metadata = json!({
        "NAME": meta.name,
        "NAMESPACE": namespace,
        "LABELS": meta.labels.clone().unwrap_or_default(),
        "SERVICE_ACCOUNT": account,
        "INSTANCE_IPS": ip.to_string(),
        "WORKLOAD_NAME": workload,
        "OWNER": format!("kubernetes://apis/apps/v1/namespaces/{namespace}/deployments/{workload}"),
        "CLUSTER_ID": "Kubernetes",
        "ISTIO_VERSION": ISTIO_VERSION,
        "MESH_ID": "cluster.local",
        "ENVOY_PROMETHEUS_PORT": PROMETHEUS_PORT,
        "ENVOY_STATUS_PORT": READINESS_PORT,
    });
    if let Some(annotations) = meta.annotations.as_ref().filter(|annotations| !annotations.is_empty()) {
        metadata["ANNOTATIONS"] = json!(annotations);
    }
    if let Some(node) = spec.and_then(|spec| spec.node_name.as_ref()) {
        metadata["NODE_NAME"] = json!(node);
    }
    if !is_router(pod) {
        metadata["INTERCEPTION_MODE"] = json!("REDIRECT");
        metadata["APP_CONTAINERS"] = json!(app_containers.join(","));
    }
    metadata
}

/// The Deployment's name: the ReplicaSet that owns the pod, less its hash; else the pod's own name.
pub fn workload_name(pod: &Pod) -> String {
    let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    match owner {
        Some(owner) if owner.kind == "ReplicaSet" => match owner.name.rsplit_once('-') {
            Some((deployment, _hash)) => deployment.to_string(),
            None => owner.name.clone(),
        },
        Some(owner) => owner.name.clone(),
        None => pod.metadata.name.clone().unwrap_or_default(),
    }
}

fn canonical_name(pod: &Pod) -> String {
    let label = |name: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(name).cloned());
    label("service.istio.io/canonical-name").or_else(|| label("app")).unwrap_or_else(|| workload_name(pod))
}

fn static_cluster(name: &str, address: &Value, grpc: bool) -> Value {
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connectTimeout": "1s",
        "loadAssignment": {"clusterName": name, "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address}}]}]},
    });
    if grpc {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        cluster["typedExtensionProtocolOptions"] = json!({options: {
            "@type": format!("type.googleapis.com/{options}"),
            "explicitHttpConfig": {"http2ProtocolOptions": {}},
        }});
    }
    cluster
}

fn static_listener(port: u16, path: &str, upstream_path: &str, cluster: &str) -> Value {
    let mut route = json!({"cluster": cluster});
    if path != upstream_path {
        route["prefixRewrite"] = json!(upstream_path);
    }
    json!({
        "address": {"socketAddress": {"address": "0.0.0.0", "portValue": port}},
        "filterChains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "codecType": "AUTO",
                "statPrefix": cluster,
                "routeConfig": {"virtualHosts": [{"name": "backend", "domains": ["*"],
                    "routes": [{"match": {"prefix": path}, "route": route}]}]},
                "httpFilters": [{"name": "envoy.filters.http.router",
                    "typedConfig": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
            },
        }]}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(text: &str) -> Pod {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn a_sidecar_tells_who_it_is() {
        let sleep = pod("
metadata:
  name: sleep-5d4f-x
  namespace: mesh-test
  labels: {app: sleep}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: sleep-5d4f, uid: u, controller: true}]
spec: {serviceAccountName: sleep, containers: [{name: sleep}, {name: istio-proxy, args: [proxy, sidecar]}]}");
        let document = document(&sleep, Ipv4Addr::new(10, 244, 0, 10), Path::new("/run/xds.sock"), None);
        assert_eq!(document["node"]["id"], "sidecar~10.244.0.10~sleep-5d4f-x.mesh-test~mesh-test.svc.cluster.local");
        assert_eq!(document["node"]["cluster"], "sleep.mesh-test");
        let metadata = &document["node"]["metadata"];
        assert_eq!(metadata["WORKLOAD_NAME"], "sleep");
        assert_eq!(metadata["SERVICE_ACCOUNT"], "sleep");
        assert_eq!(metadata["LABELS"]["app"], "sleep");
        assert_eq!(metadata["APP_CONTAINERS"], "sleep");
    }

    #[test]
    fn an_istiod_is_shown_a_token_and_believed_by_its_root() {
        let sleep = pod("metadata: {name: sleep-0, namespace: mesh-test}");
        let secrets_socket = "/run/sds.sock".into();
        let credentials = Credentials { token: "t".into(), root_pem: "root".into(), secrets_socket };
        let document = document(&sleep, Ipv4Addr::LOCALHOST, Path::new("/run/xds.sock"), Some(&credentials));
        let ads = &document["dynamicResources"]["adsConfig"]["grpcServices"][0];
        assert_eq!(ads["initialMetadata"][0], json!({"key": "authorization", "value": "Bearer t"}));
        let clusters = document["staticResources"]["clusters"].as_array().unwrap();
        let of = |name: &str| clusters.iter().find(|cluster| cluster["name"] == name).unwrap();
        let tls = &of("xds-grpc")["transportSocket"]["typedConfig"];
        assert_eq!(tls["commonTlsContext"]["validationContext"]["trustedCa"]["inlineString"], "root");
        let text = of("sds-grpc").to_string();
        assert!(text.contains("/run/sds.sock"), "{text}");
    }

    #[test]
    fn a_gateway_is_a_router() {
        let gateway = pod("
metadata: {name: gw-0, namespace: istio-system, labels: {istio: egressgateway}}
spec: {containers: [{name: istio-proxy, args: [proxy, router]}]}");
        let document = document(&gateway, Ipv4Addr::LOCALHOST, Path::new("/run/xds.sock"), None);
        assert_eq!(document["node"]["id"], "router~127.0.0.1~gw-0.istio-system~istio-system.svc.cluster.local");
        assert!(document["node"]["metadata"].get("INTERCEPTION_MODE").is_none());
    }
}

//! The project's own API server in this process, with a node that runs commands as processes of the host.
//! What a pod's Envoy would do is not shown here.

use bytes::Bytes;
use egress_scn::api::kubelet::{ExecProcess, ExecRequest, Kubelet, LogRequest, Refusal, Stream};
use egress_scn::api::{Config, CustomResource, Server};
use egress_scn::cluster::Cluster;
use egress_scn::lab::authority::{Authority, Leaf};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

/// A target to run on: `deploy/client` in namespace `test` runs commands on the host.
pub struct Target {
    pub cluster: Cluster,
    /// Ends when dropped.
    server: Mutex<Option<Server>>,
}

struct Host;

impl Kubelet for Host {
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecProcess, Refusal>> {
        async move {
            let mut command = tokio::process::Command::new(&request.command[0]);
            command.args(&request.command[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command
                .kill_on_drop(true)
                .spawn()
                .map_err(|e| Refusal { status: 500, message: format!("exec: \"{}\": {e}", request.command[0]) })?;
            Ok(ExecProcess {
                stdin: None,
                stdout: Box::new(child.stdout.take().unwrap()),
                stderr: Box::new(child.stderr.take().unwrap()),
                exit: async move { Ok(child.wait().await?.code().unwrap_or(137)) }.boxed(),
                resize: None,
                keeps_stdin: false,
            })
        }
        .boxed()
    }

    fn logs(&self, _: LogRequest) -> BoxFuture<'_, Result<BoxStream<'static, Bytes>, Refusal>> {
        async { Ok(futures::stream::pending().boxed()) }.boxed()
    }

    fn port_forward(&self, _: String, _: String, port: u16) -> BoxFuture<'_, Result<Box<dyn Stream>, Refusal>> {
        async move { Err(Refusal { status: 500, message: format!("nothing listens on {port} here") }) }.boxed()
    }
}

impl Target {
    pub async fn start() -> Target {
        let authority = Authority::new("test API").unwrap();
        let issue = |leaf: &Leaf| authority.issue(leaf).unwrap();
        let server = issue(&Leaf {
            common_name: Some("api".into()),
            ips: vec!["127.0.0.1".parse().unwrap()],
            ..Leaf::default()
        });
        let admin = issue(&Leaf {
            common_name: Some("admin".into()),
            organization: Some("system:masters".into()),
            ..Leaf::default()
        });
        let config = Config {
            listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
            chain_pem: server.chain_pem,
            key_pem: server.key_pem,
            client_ca_pem: authority.root_pem(),
            custom_resources: vec![gateways()],
            admission: vec![],
        };
        let server = Server::start(config, Arc::new(Host)).unwrap();
        for object in objects() {
            server.seed(object).unwrap();
        }
        let url = format!("https://{}", server.address());
        let config = client(&url, &authority.root_pem(), &admin.chain_pem, &admin.key_pem).await;
        Target { cluster: Cluster::connect(config).unwrap(), server: Mutex::new(Some(server)) }
    }

    /// The API server is gone.
    pub fn stop(&self) {
        self.server.lock().unwrap().take();
    }

    /// The workload's pod is replaced by another.
    pub async fn replace_pod(&self) {
        let request = http::Request::delete("/api/v1/namespaces/test/pods/client-0?gracePeriodSeconds=0");
        let _: Value = self.cluster.client().request(request.body(vec![]).unwrap()).await.unwrap();
        let server = self.server.lock().unwrap();
        server.as_ref().unwrap().seed(pod("client-1")).unwrap();
    }

    /// An object as the API has it now.
    pub async fn get(&self, api_version: &str, kind: &str, name: &str) -> Option<Value> {
        let kind = self.cluster.kind(api_version, kind).await.unwrap();
        self.cluster.get(&kind, Some("test"), name).await.unwrap()
    }

    /// Creates an object as another hand would, with `kubectl` as its field manager.
    pub async fn kubectl_create(&self, object: &Value) -> Value {
        self.kubectl("POST", "", object).await
    }

    /// Replaces it likewise.
    pub async fn kubectl_replace(&self, object: &Value) -> Value {
        self.kubectl("PUT", &format!("/{}", object["metadata"]["name"].as_str().unwrap()), object).await
    }

    async fn kubectl(&self, method: &str, tail: &str, object: &Value) -> Value {
        let kind = object["kind"].as_str().unwrap();
        let kind = self.cluster.kind(object["apiVersion"].as_str().unwrap(), kind).await.unwrap();
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{tail}?fieldManager=kubectl", kind.path(Some("test"))))
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())
            .unwrap();
        self.cluster.client().request(request).await.unwrap()
    }
}

fn gateways() -> CustomResource {
    CustomResource {
        group: "networking.istio.io".into(),
        versions: vec!["v1".into()],
        kind: "Gateway".into(),
        plural: "gateways".into(),
        singular: "gateway".into(),
        short_names: vec!["gw".into()],
        categories: vec![],
        namespaced: true,
        columns: vec![],
        status: false,
        schemas: Default::default(),
    }
}

/// A namespace and a workload whose one pod is ready.
fn objects() -> Vec<Value> {
    let labels = json!({"app": "client"});
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "test"}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "client", "namespace": "test"},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "client", "image": "host"}]}}}}),
        pod("client-0"),
    ]
}

/// A ready pod of the workload.
fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "test", "labels": {"app": "client"}},
        "spec": {"nodeName": "host", "containers": [{"name": "client", "image": "host"}]},
        "status": {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}})
}

async fn client(url: &str, root: &str, chain: &str, key: &str) -> kube::Config {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": encode(root)}}],
        "users": [{"name": "admin", "user": {
            "client-certificate-data": encode(chain), "client-key-data": encode(key)}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test"
    }))
    .unwrap();
    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

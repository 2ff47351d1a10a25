//! A real istiod in the pod of the lab's Deployment `istiod`: how it is started, how it reaches the API, how Envoys
//! and the node agent reach it.

use super::certificate_request::{self, ISTIOD};
use crate::lab::node::NodeConfig;
use crate::lab::node::pod::Pod;
use crate::lab::pilot::certificates::{MESH_ROOT, SYSTEM_ROOTS, WORKLOAD, authorities, certificate};
use crate::lab::sandbox::Sandbox;
use crate::xds::{Resources, Server};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::watch;

/// Where istiod serves xDS and certificates, by TLS.
const SECURE_PORT: u16 = 15012;
/// Where istiod says that it is ready.
const READY_PORT: u16 = 8080;
/// Between two looks whether istiod is ready, as a kubelet's probe does.
const LOOK: Duration = Duration::from_millis(100);
const MESH_ROOT_MAP: &str = "istio-ca-root-cert";
const TOKEN_SECONDS: i64 = 30 * 24 * 3600;
/// Half of a certificate's day: then the next is asked for.
const RENEWAL: Duration = Duration::from_secs(12 * 3600);

/// What upstream's Envoy lacks is left out of the configuration, and the lab does what istiod's charts would.
const SETTINGS: &[(&str, &str)] = &[
    ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
    ("PILOT_ENABLE_ALPN_FILTER", "false"),
    ("PILOT_CERT_PROVIDER", "istiod"),
    ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
    ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
    ("POD_NAMESPACE", "istio-system"),
    ("REVISION", "default"),
    ("CLUSTER_ID", "Kubernetes"),
];

/// The lab's side of a real istiod.
pub struct RealIstiod {
    pub program: PathBuf,
    kubeconfig: PathBuf,
    api: SocketAddr,
    /// The sandbox that istiod is ready in.
    place: watch::Sender<Weak<Sandbox>>,
    /// Serves each Envoy its own identity.
    secrets: Server,
    secrets_socket: PathBuf,
}

/// What an Envoy needs to be known to istiod.
pub struct Credentials {
    pub token: String,
    pub root_pem: String,
    pub secrets_socket: PathBuf,
}

impl RealIstiod {
    /// Begins to pass Envoys' connections on from `xds.sock` in the folder of sockets, and to serve secrets there. The lab's
    /// kubeconfig is in its folder.
    pub fn start(program: PathBuf, folder: &Path, sockets: &Path, api: SocketAddr) -> std::io::Result<Arc<RealIstiod>> {
        let secrets_socket = sockets.join("sds.sock");
        let (secrets, mut events) = Server::start(&secrets_socket)?;
        // Nobody opens an aggregated stream there.
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        let this = Arc::new(RealIstiod {
            program,
            kubeconfig: folder.join(crate::lab::boot::KUBECONFIG),
            api,
            place: watch::Sender::new(Weak::new()),
            secrets,
            secrets_socket,
        });
        let listener = UnixListener::bind(sockets.join("xds.sock"))?;
        let forwarding = this.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let this = forwarding.clone();
                tokio::spawn(async move {
                    let mut istiod = this.connect().await?;
                    tokio::io::copy_bidirectional(&mut stream, &mut istiod).await.map(drop)
                });
            }
        });
        Ok(this)
    }

    /// istiod's command line and what its environment has beyond the pod's.
    pub fn command(&self, pod_name: &str) -> (Vec<String>, Vec<(String, String)>) {
        let argv = [
            self.program.display().to_string(),
            "discovery".into(),
            format!("--kubeconfig={}", self.kubeconfig.display()),
            "--domain=cluster.local".into(),
            "--clusterID=Kubernetes".into(),
            "--log_output_level=default:info".into(),
            "--keepaliveMaxServerConnectionAge=24h".into(),
        ];
        let mut env: Vec<(String, String)> =
            SETTINGS.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        env.push(("POD_NAME".into(), pod_name.into()));
        (argv.to_vec(), env)
    }

    /// Makes the API, on the host's loopback, reachable at the same address of the pod's. Ends with the pod.
    pub async fn lend_api(&self, sandbox: &Sandbox) -> Result<impl Future<Output = ()> + Send + use<>, String> {
        let SocketAddr::V4(address) = self.api else { return Err("the API is not on IPv4".into()) };
        let listener = sandbox.listen_tcp(address).await.map_err(|error| error.to_string())?;
        Ok(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut api = TcpStream::connect(address).await?;
                    tokio::io::copy_bidirectional(&mut stream, &mut api).await.map(drop)
                });
            }
        })
    }

    /// Waits until istiod in this sandbox says that it is ready; from then on Envoys are passed to it.
    pub async fn wait_ready(&self, sandbox: &Arc<Sandbox>) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            if answers_ready(sandbox).await.is_some() {
                self.place.send_replace(Arc::downgrade(sandbox));
                return;
            }
        }
    }

    /// A connection to istiod's secure port, once istiod is ready.
    async fn connect(&self) -> std::io::Result<TcpStream> {
        let mut place = self.place.subscribe();
        let sandbox = place.wait_for(|place| place.strong_count() > 0).await.map_err(std::io::Error::other)?.upgrade();
        match sandbox {
            Some(sandbox) => sandbox.connect(SECURE_PORT).await,
            None => Err(std::io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Gets a pod's identity and serves it to the Envoy whose node id is given. Waits for what istiod and the
    /// controllers make: the mesh's root, the ServiceAccount.
    pub async fn admit(self: &Arc<Self>, pod: &Pod, config: &NodeConfig, node: String) -> Result<Credentials, String> {
        let client = config.client.clone();
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &pod.namespace);
        let root = await_condition(maps, MESH_ROOT_MAP, has_root).await.map_err(|error| error.to_string())?;
        let root_pem = root.as_ref().and_then(root_of).unwrap_or_default().to_string();
        let spec = pod.object.spec.as_ref();
        let account = spec.and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let accounts: Api<ServiceAccount> = Api::namespaced(client, &pod.namespace);
        await_condition(accounts.clone(), account, exists).await.map_err(|error| error.to_string())?;
        let answer = accounts.create_token_request(account, &PostParams::default(), &token_request(pod)).await;
        let answer = answer.map_err(|error| format!("a token of ServiceAccount {account}: {error}"))?;
        let workload = Workload {
            node,
            spiffe: format!("spiffe://cluster.local/ns/{}/sa/{account}", pod.namespace),
            token: answer.status.map(|status| status.token).unwrap_or_default(),
            root_pem,
            outside_root_pem: config.outside_root_pem.clone(),
        };
        self.certify(&workload).await?;
        let credentials = Credentials {
            token: workload.token.clone(),
            root_pem: workload.root_pem.clone(),
            secrets_socket: self.secrets_socket.clone(),
        };
        tokio::spawn(self.clone().renew(workload, pod.ending.subscribe()));
        Ok(credentials)
    }

    /// Has istiod sign a new key of the workload, and offers it to its Envoy.
    async fn certify(&self, workload: &Workload) -> Result<(), String> {
        let stream = self.connect().await.map_err(|error| format!("connecting to istiod: {error}"))?;
        let Workload { node, spiffe, token, root_pem, outside_root_pem } = workload;
        let identity = certificate_request::certify(stream, root_pem, token, spiffe).await?;
        let secrets = vec![
            certificate(WORKLOAD, &identity.chain_pem, &identity.key_pem),
            authorities(MESH_ROOT, root_pem),
            authorities(SYSTEM_ROOTS, outside_root_pem),
        ];
        self.secrets.set(node, Resources { secrets, ..Resources::default() });
        Ok(())
    }

    /// A new certificate each half day, for the pod's life.
    async fn renew(self: Arc<Self>, workload: Workload, mut ending: watch::Receiver<bool>) {
        while tokio::time::timeout(RENEWAL, ending.wait_for(|ending| *ending)).await.is_err() {
            // What fails is tried again at the next turn; the certificate in use is good for as long again.
            let _ = self.certify(&workload).await;
        }
        self.secrets.forget(&workload.node);
    }
}

/// Whose certificate is kept fresh.
struct Workload {
    node: String,
    spiffe: String,
    token: String,
    root_pem: String,
    outside_root_pem: String,
}

fn token_request(pod: &Pod) -> TokenRequest {
    let bound_object_ref = Some(BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.clone()),
    });
    let audiences = vec!["istio-ca".into()];
    let spec = TokenRequestSpec { audiences, expiration_seconds: Some(TOKEN_SECONDS), bound_object_ref };
    TokenRequest { spec, ..TokenRequest::default() }
}

fn root_of(map: &ConfigMap) -> Option<&str> {
    map.data.as_ref()?.get("root-cert.pem").map(String::as_str)
}

fn has_root(map: Option<&ConfigMap>) -> bool {
    map.and_then(root_of).is_some()
}

fn exists(account: Option<&ServiceAccount>) -> bool {
    account.is_some()
}

/// istiod's own `/ready`.
async fn answers_ready(sandbox: &Sandbox) -> Option<()> {
    let stream = sandbox.connect(READY_PORT).await.ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.ok()?;
    let request =
        http::Request::get("/ready").header("host", ISTIOD).body(http_body_util::Empty::<bytes::Bytes>::new());
    let answered = tokio::select! {
        answered = sender.send_request(request.ok()?) => answered.ok()?,
        _ = connection => return None,
    };
    (answered.status() == http::StatusCode::OK).then_some(())
}

//! A real kube-apiserver on a real etcd, with the part of the kube-controller-manager that the lab's own controllers
//! do not play. All on loopback or on sockets in the lab's folder, all by certificates of the lab's API authority.

use super::RealParts;
use super::part::Part;
use crate::lab::api_door::SERVICE_ADDRESS;
use crate::lab::authority::{Authority, Identity, Leaf};
use crate::lab::folder::write_private;
use crate::lab::{kubeconfig, server};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

/// Names in the lab's folder.
const CLIENT_CA: &str = "api-ca.pem";
const ACCOUNT_KEY: &str = "service-accounts.key";
const ACCOUNT_PUBLIC_KEY: &str = "service-accounts.pub";
/// Who issues the tokens of ServiceAccounts, and whom they are for.
const ISSUER: &str = "https://kubernetes.default.svc";
const AUDIENCES: &str = "https://kubernetes.default.svc,istio-ca";
/// As the lab's network has it.
const SERVICES: &str = "10.96.0.0/12";

/// The parts that run. They end when dropped.
pub struct RealApiServer {
    pub address: SocketAddr,
    parts: Vec<Part>,
}

impl RealApiServer {
    /// Starts etcd, kube-apiserver and kube-controller-manager, writes the lab's kubeconfig, and waits until the API
    /// is ready.
    pub async fn start(
        parts: &RealParts,
        folder: &Path,
        context: &str,
        ca: &Authority,
    ) -> Result<(RealApiServer, kube::Client), String> {
        let (Some(kube_apiserver), Some(etcd), Some(controllers)) =
            (&parts.kube_apiserver, &parts.etcd, &parts.kube_controller_manager)
        else {
            return Err("kube-apiserver, etcd and kube-controller-manager go together".into());
        };
        let at = |name: &str| folder.join(name).display().to_string();
        let keep = |name: &str, text: &str| {
            write_private(&folder.join(name), text).map_err(|error| format!("writing {name}: {error}"))
        };
        let identity = |name: &str, leaf: Leaf| -> Result<Identity, String> {
            let identity = ca.issue(&leaf).map_err(|error| format!("issuing a certificate for {name}: {error}"))?;
            keep(&format!("{name}.crt"), &identity.chain_pem)?;
            keep(&format!("{name}.key"), &identity.key_pem)?;
            Ok(identity)
        };
        keep(CLIENT_CA, &ca.root_pem())?;
        let account_key = rcgen::KeyPair::generate().map_err(|error| format!("making a key: {error}"))?;
        keep(ACCOUNT_KEY, &account_key.serialize_pem())?;
        keep(ACCOUNT_PUBLIC_KEY, &account_key.public_key_pem())?;
        identity("kube-apiserver", server_leaf())?;
        identity("kube-apiserver-client", administrator("kube-apiserver-kubelet-client"))?;

        let etcd_socket = format!("unix://{}", at("etcd.sock"));
        // What stands for host and port here is a file of the working directory, the lab's folder. Nobody else joins.
        let (clients, peers) = ("unix://localhost:2379".to_string(), "unix://localhost:2380".to_string());
        let mut argv = vec![etcd.display().to_string()];
        argv.extend(
            [
                ("data-dir", at("etcd")),
                ("listen-client-urls", etcd_socket.clone()),
                ("advertise-client-urls", clients),
                ("listen-peer-urls", peers.clone()),
                ("initial-advertise-peer-urls", peers.clone()),
                ("initial-cluster", format!("default={peers}")),
                // What a crash of the machine would lose, the lab loses anyway.
                ("unsafe-no-fsync", "true".into()),
                ("watch-progress-notify-interval", "5s".into()),
                ("log-level", "warn".into()),
            ]
            .map(|(flag, value)| format!("--{flag}={value}")),
        );
        let etcd = Part::start("etcd", argv, folder)?;

        let address = free_port()?;
        let mut argv = vec![kube_apiserver.display().to_string()];
        argv.extend(
            [
                ("etcd-servers", etcd_socket),
                ("bind-address", address.ip().to_string()),
                ("secure-port", address.port().to_string()),
                ("tls-cert-file", at("kube-apiserver.crt")),
                ("tls-private-key-file", at("kube-apiserver.key")),
                ("client-ca-file", at(CLIENT_CA)),
                ("service-account-issuer", ISSUER.into()),
                ("service-account-key-file", at(ACCOUNT_PUBLIC_KEY)),
                ("service-account-signing-key-file", at(ACCOUNT_KEY)),
                ("api-audiences", AUDIENCES.into()),
                ("service-cluster-ip-range", SERVICES.into()),
                ("authorization-mode", "RBAC".into()),
                ("anonymous-auth", "false".into()),
                ("allow-privileged", "true".into()),
                ("endpoint-reconciler-type", "none".into()),
                ("kubelet-preferred-address-types", "ExternalIP".into()),
                ("kubelet-certificate-authority", at(CLIENT_CA)),
                ("kubelet-client-certificate", at("kube-apiserver-client.crt")),
                ("kubelet-client-key", at("kube-apiserver-client.key")),
                ("profiling", "false".into()),
            ]
            .map(|(flag, value)| format!("--{flag}={value}")),
        );
        let mut api = Part::start("kube-apiserver", argv, folder)?;
        let admin = ca
            .issue(&administrator("kubernetes-admin"))
            .map_err(|error| format!("issuing a certificate for kubernetes-admin: {error}"))?;
        let client = server::write_kubeconfig(folder, context, address, ca, &admin).await?;
        api.wait_until(|| is_ready(&client)).await?;

        let manager = ca
            .issue(&administrator("system:kube-controller-manager"))
            .map_err(|error| format!("issuing a certificate for the kube-controller-manager: {error}"))?;
        let document =
            kubeconfig::document(context, address, &ca.root_pem(), &manager).map_err(|error| error.to_string())?;
        keep("controller-manager.kubeconfig", &document)?;
        let mut argv = vec![controllers.display().to_string()];
        argv.extend(
            [
                ("kubeconfig", at("controller-manager.kubeconfig")),
                ("controllers", "namespace,garbagecollector".into()),
                ("leader-elect", "false".into()),
                ("secure-port", "0".into()),
                ("profiling", "false".into()),
            ]
            .map(|(flag, value)| format!("--{flag}={value}")),
        );
        let controllers = Part::start("kube-controller-manager", argv, folder)?;
        Ok((RealApiServer { address, parts: vec![api, etcd, controllers] }, client))
    }

    /// Resolves when one of them ends: then the lab cannot go on.
    pub async fn fails(self) -> String {
        let ends = self.parts.into_iter().map(|part| Box::pin(part.fails()));
        futures::future::select_all(ends).await.0
    }
}

/// As the API server proves itself to clients.
pub fn server_leaf() -> Leaf {
    Leaf {
        common_name: Some("kube-apiserver".into()),
        dns: [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ]
        .map(String::from)
        .to_vec(),
        ips: vec![Ipv4Addr::LOCALHOST.into(), SERVICE_ADDRESS.into()],
        ..Leaf::default()
    }
}

/// A client that may do everything.
pub fn administrator(name: &str) -> Leaf {
    Leaf { common_name: Some(name.into()), organization: Some("system:masters".into()), ..Leaf::default() }
}

/// A port that was free a moment ago: a kube-apiserver takes no listener and tells no port.
fn free_port() -> Result<SocketAddr, String> {
    let found = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    found.map_err(|error| format!("finding a port for the kube-apiserver: {error}"))
}

async fn is_ready(client: &kube::Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(vec![]) else { return false };
    client.request_text(request).await.is_ok()
}

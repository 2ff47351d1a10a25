//! The API for pods: `kubernetes.default.svc`, a Service whose endpoint is an address of the lab's network from which
//! connections are passed on to the API server, as they are. Who connects must show a token or a certificate there.

use super::fabric::{Fabric, GATEWAY};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use tokio::net::TcpStream;

/// Where kubeadm puts it.
pub const SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
pub const SERVICE_PORT: u16 = 443;
const PORT: u16 = 6443;

/// Passes connections on for the lab's life.
///
/// # Errors
/// The address is taken.
pub async fn open(fabric: &Fabric, api: SocketAddr) -> Result<(), String> {
    let place = SocketAddrV4::new(GATEWAY, PORT);
    let listener = fabric.listen_tcp(place).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut api = TcpStream::connect(api).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut api).await.map(drop)
            });
        }
    });
    Ok(())
}

/// The Service, as an API server makes it itself.
pub fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "default", "name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"type": "ClusterIP", "clusterIP": SERVICE_ADDRESS, "ports": [{"name": "https", "port": SERVICE_PORT, "targetPort": PORT}]}})
}

/// What is behind it.
pub fn endpoints() -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": "default", "name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "endpoints": [{"addresses": [GATEWAY], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": PORT, "protocol": "TCP"}]})
}

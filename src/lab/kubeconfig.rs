//! The kubeconfig of a lab: admin's client certificate inline, 0600.

use super::authority::Identity;
use base64::Engine;
use serde_json::json;
use std::net::SocketAddr;

/// Name of the cluster, user and context.
pub const NAME: &str = "egress-scn-lab";

/// The kubeconfig document as YAML.
pub fn document(api: SocketAddr, ca_pem: &str, admin: &Identity) -> Result<String, serde_yaml::Error> {
    let encode = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
    serde_yaml::to_string(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": NAME,
            "cluster": { "server": format!("https://{api}"), "certificate-authority-data": encode(ca_pem) },
        }],
        "users": [{
            "name": NAME,
            "user": {
                "client-certificate-data": encode(&admin.chain_pem),
                "client-key-data": encode(&admin.key_pem),
            },
        }],
        "contexts": [{ "name": NAME, "context": { "cluster": NAME, "user": NAME, "namespace": "mesh-test" } }],
        "current-context": NAME,
    }))
}

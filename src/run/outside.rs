//! What is outside the mesh: the address that the ingress gateway is reached at, and where `exec local` runs.

use crate::cluster::{Cluster, Error, Pod};
use crate::plan::INGRESS_GATEWAY;
use serde_json::Value;
use std::time::Duration;

const NAMESPACE: &str = "istio-system";
/// A load balancer's address may take its provider a while; a lab's comes at once.
const PATIENCE: Duration = Duration::from_secs(30);
const NO_ADDRESS: &str = "it has no external address; a cluster without load balancers needs one (MetalLB, \
                          cloud-provider-kind), or the address of a `kubectl port-forward` in place of ${ingress}";
/// Of the lab's outside client, and of nothing that a cluster has.
const CLIENT: (&str, &str) = ("outside", "client");
const PLACE: &str = "lab.egress-scn.dev/place";

/// `${ingress}`: the load balancer's address or name. Waits for it.
///
/// # Errors
/// There is no ingress gateway, or its Service gets no address.
pub async fn ingress(cluster: &Cluster) -> Result<String, Error> {
    let kind = cluster.kind("v1", "Service").await?;
    let addressed = |service: Option<&Value>| match service {
        // Nobody makes one while a probe waits: the caller hears of it at once.
        None => Ok(()),
        Some(service) => address(service).map(drop).ok_or_else(|| NO_ADDRESS.to_string()),
    };
    let wanted = "reachable from outside";
    let found = cluster.wait_for(&kind, Some(NAMESPACE), INGRESS_GATEWAY, wanted, PATIENCE, &addressed).await?;
    found.as_ref().and_then(address).ok_or_else(|| Error::Absent {
        message: format!("${{ingress}} is the address of service {INGRESS_GATEWAY} in {NAMESPACE}, and there is none"),
        help: "install Istio's ingress gateway; in a lab that is up: `egress-scn lab up --ingress`".into(),
    })
}

fn address(service: &Value) -> Option<String> {
    let place = service.pointer("/status/loadBalancer/ingress/0")?;
    place["ip"].as_str().or(place["hostname"].as_str()).map(str::to_owned)
}

/// The lab's outside client, where the target is a lab; `None`: this machine.
///
/// # Errors
/// A lab that has none.
pub async fn client(cluster: &Cluster, lab: bool) -> Result<Option<Pod>, Error> {
    let (namespace, name) = CLIENT;
    let deployments = cluster.kind("apps/v1", "Deployment").await?;
    let deployment = cluster.get(&deployments, Some(namespace), name).await?;
    let labels = deployment.as_ref().and_then(|d| d.pointer("/spec/template/metadata/labels"));
    if labels.is_some_and(|labels| labels[PLACE] == "outside") {
        return Ok(cluster.pods(namespace, name, PATIENCE).await?.into_iter().next());
    }
    let is_lab = lab || cluster.kind("lab.egress-scn.dev/v1", "Site").await.is_ok();
    if !is_lab {
        return Ok(None);
    }
    Err(Error::Absent {
        message: "`exec local` needs an outside client, and this lab was started without one".into(),
        help: "egress-scn lab up --ingress".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_load_balancer_has_an_address_or_a_name() {
        let service = |place: Value| json!({"status": {"loadBalancer": {"ingress": [place]}}});
        assert_eq!(address(&service(json!({"ip": "172.18.255.200"}))).as_deref(), Some("172.18.255.200"));
        assert_eq!(address(&service(json!({"hostname": "lb.example"}))).as_deref(), Some("lb.example"));
        assert_eq!(address(&json!({"status": {"loadBalancer": {}}})), None);
    }
}

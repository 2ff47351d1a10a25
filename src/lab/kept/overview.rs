//! What a kept lab holds, for `lab status`: pods, ports, sites, and where its files are.

use super::Kept;
use crate::lab::internet;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A look at a lab. Serialized, it is what `lab status -o json` prints.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    pub name: String,
    pub ready: bool,
    pub detached: bool,
    pub process: u32,
    /// RFC 3339.
    pub since: String,
    pub kubeconfig: PathBuf,
    pub context: String,
    /// The user's own kubeconfig that has the context too.
    pub added_to: Option<PathBuf>,
    /// `https://127.0.0.1:PORT`.
    pub server: String,
    pub log: PathBuf,
    pub pods: Vec<PodRow>,
    pub services: Vec<ServiceRow>,
    pub sites: Vec<SiteRow>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRow {
    pub namespace: String,
    pub name: String,
    pub ready: usize,
    pub containers: usize,
    /// As kubectl's STATUS column says it.
    pub status: String,
    pub ip: String,
    /// `NAME:PORT` of its containers.
    pub ports: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRow {
    pub namespace: String,
    pub name: String,
    pub address: String,
    /// `15443/TCP`.
    pub ports: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SiteRow {
    pub host: String,
    pub address: String,
}

impl Overview {
    pub fn all_ready(&self) -> bool {
        self.ready && self.pods.iter().all(|pod| pod.ready == pod.containers || pod.status == "Completed")
    }
}

impl Kept {
    /// A client of the lab's API.
    ///
    /// # Errors
    /// A sentence for the user.
    pub async fn client(&self) -> Result<(kube::Client, String), String> {
        let path = self.kubeconfig();
        let broken = |error: &dyn std::fmt::Display| format!("cannot use {}: {error}", path.display());
        let parsed = kube::config::Kubeconfig::read_from(&path).map_err(|error| broken(&error))?;
        let config = kube::Config::from_custom_kubeconfig(parsed, &Default::default()).await;
        let config = config.map_err(|error| broken(&error))?;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_string();
        Ok((kube::Client::try_from(config).map_err(|error| broken(&error))?, server))
    }

    /// Looks at the lab through its API.
    ///
    /// # Errors
    /// A sentence for the user: the API does not answer.
    pub async fn overview(&self) -> Result<Overview, String> {
        let (client, server) = self.client().await?;
        let silent = |error: kube::Error| format!("the lab's API at {server} does not answer: {error}");
        let all = ListParams::default();
        let pods = Api::<Pod>::all(client.clone()).list(&all).await.map_err(silent)?;
        let services = Api::<Service>::all(client.clone()).list(&all).await.map_err(silent)?;
        let kind = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("networking.istio.io", "v1", "ServiceEntry"),
            "serviceentries",
        );
        let entries = Api::<DynamicObject>::all_with(client.clone(), &kind).list(&all).await.map_err(silent)?;
        // Sites with a behaviour of their own.
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("lab.egress-scn.dev", "v1", "Site"));
        let given = Api::<DynamicObject>::all_with(client, &kind).list(&all).await.map_err(silent)?;
        let record = &self.record;
        Ok(Overview {
            name: record.name.clone(),
            ready: record.ready,
            detached: record.detached,
            process: record.process,
            since: record.since.to_string(),
            kubeconfig: self.kubeconfig(),
            context: crate::lab::kubeconfig::context_name(&record.name),
            added_to: record.added_to.clone(),
            log: self.log(),
            pods: pods.iter().map(pod).collect(),
            services: services.iter().map(service).collect(),
            sites: sites(entries.items.iter().chain(&given.items)),
            server,
        })
    }
}

fn pod(pod: &Pod) -> PodRow {
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let states: Vec<_> = status.container_statuses.iter().flatten().collect();
    let ready_sidecars = status
        .init_container_statuses
        .iter()
        .flatten()
        .filter(|c| c.ready && sidecars.clone().any(|sidecar| sidecar.name == c.name));
    let waiting = states.iter().find_map(|c| c.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let ports = spec.containers.iter().flat_map(|c| {
        c.ports.iter().flatten().map(|port| match &port.name {
            Some(name) => format!("{name}:{}", port.container_port),
            None => port.container_port.to_string(),
        })
    });
    let phase = status.phase.unwrap_or_else(|| "Pending".into());
    PodRow {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        ready: states.iter().filter(|c| c.ready).count() + ready_sidecars.count(),
        containers: spec.containers.len() + sidecars.clone().count(),
        status: waiting.unwrap_or(if phase == "Succeeded" { "Completed".into() } else { phase }),
        ip: status.pod_ip.unwrap_or_default(),
        ports: ports.collect(),
    }
}

fn service(service: &Service) -> ServiceRow {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.iter().flatten();
    ServiceRow {
        namespace: service.metadata.namespace.clone().unwrap_or_default(),
        name: service.metadata.name.clone().unwrap_or_default(),
        address: spec.cluster_ip.clone().or(spec.external_name.clone()).unwrap_or_default(),
        ports: ports.map(|p| format!("{}/{}", p.port, p.protocol.as_deref().unwrap_or("TCP"))).collect(),
    }
}

/// The sites with addresses of their own, and the hosts of ServiceEntries and Sites: every other outside name has one too.
fn sites<'a>(objects: impl Iterator<Item = &'a DynamicObject>) -> Vec<SiteRow> {
    let mut hosts: BTreeSet<String> = BTreeSet::new();
    for entry in objects {
        let given = entry.data["spec"]["hosts"].as_array().into_iter().flatten();
        hosts.extend(given.filter_map(|host| host.as_str()).filter(|host| !host.contains('*')).map(str::to_string));
    }
    let known = internet::well_known();
    let mut rows: Vec<SiteRow> =
        known.iter().map(|(host, address)| SiteRow { host: host.to_string(), address: address.to_string() }).collect();
    hosts.retain(|host| !known.iter().any(|(known, _)| known == host));
    // Their addresses are given at the first question, which this is not.
    rows.extend(hosts.into_iter().map(|host| SiteRow { host, address: String::new() }));
    rows
}

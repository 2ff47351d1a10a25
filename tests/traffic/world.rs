//! The lab that all cases share, and the entering and leaving of a case: its objects, its mesh config, two fresh Envoys.

use crate::case::Case;
use crate::probe::Place;
use egress_scn::cluster::{Cluster, Propagation};
use egress_scn::lab::authority::{Authority, Leaf};
use egress_scn::lab::base::OUTSIDE_CA;
use egress_scn::lab::boot::Lab;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const SLEEP: (&str, &str) = ("mesh-test", "sleep");
const GATEWAY: (&str, &str) = ("istio-system", "istio-egressgateway");
/// The `credentialName` of gateways' servers in all cases.
const SERVER_CREDENTIAL: &str = "egress-cert";

pub struct World {
    _lab: Lab,
    cluster: Cluster,
    propagation: Propagation,
    outside_pem: String,
    /// The outside's own, and a third one.
    outside: Authority,
    third: Authority,
}

/// Answers on every address and port that cases use, whatever name is asked for.
fn everywhere() -> Value {
    let ports = [80, 443, 5432, 3128, 8080, 8000, 8443, 9443].map(|number| json!({"number": number}));
    json!({"apiVersion": "lab.egress-scn.dev/v1", "kind": "Site", "metadata": {"name": "everywhere"}, "spec": {
        "hosts": ["*"],
        "addresses": ["10.100.0.0/15", "10.117.0.0/16", "10.200.0.0/16", "240.11.0.0/16"],
        "ports": ports,
        "answer": "Facts",
        "tls": {"names": ["*"], "clientCertificate": "Optional"}}})
}

impl World {
    pub async fn start() -> World {
        let lab = Lab::start_with(Path::new(env!("CARGO_BIN_EXE_egress-scn")), |_| ()).await.unwrap();
        let kubeconfig = kube::config::Kubeconfig::read_from(lab.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let cluster = Cluster::connect(config).unwrap();
        let sleep = cluster.pods(SLEEP.0, SLEEP.1, PATIENCE).await.unwrap().remove(0);
        let roots = ["sh", "-c", "cat $CURL_CA_BUNDLE"].map(String::from);
        let outside_pem = String::from_utf8(cluster.exec(&sleep, Some("sleep"), &roots).await.unwrap().stdout).unwrap();
        let secrets: Api<Secret> = Api::namespaced(cluster.client().clone(), "kube-system");
        let outside_ca = secrets.get("outside-ca").await.unwrap().data.unwrap();
        let key = String::from_utf8(outside_ca["tls.key"].0.clone()).unwrap();
        let outside = Authority::of(OUTSIDE_CA, &key).unwrap();
        let third = Authority::new("a third authority").unwrap();
        let propagation = Propagation::new(cluster.clone());
        let world = World { _lab: lab, cluster, propagation, outside_pem, outside, third };
        world.apply(&everywhere()).await;
        world.mount_authority().await;
        world
    }

    async fn api(&self, object: &Value) -> Api<DynamicObject> {
        let kind = object["kind"].as_str().unwrap();
        let kind = self.cluster.kind(object["apiVersion"].as_str().unwrap(), kind).await.unwrap();
        let (group, version) = kind.api_version.split_once('/').unwrap_or(("", &kind.api_version));
        let named = GroupVersionKind::gvk(group, version, &kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&named, &kind.plural);
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.cluster.client().clone(), namespace, &resource),
            None => Api::all_with(self.cluster.client().clone(), &resource),
        }
    }

    async fn apply(&self, object: &Value) {
        let params = PatchParams::apply("traffic").force();
        let name = object["metadata"]["name"].as_str().unwrap();
        if let Err(error) = self.api(object).await.patch(name, &params, &Patch::Apply(object)).await {
            panic!("{error}\n{object}");
        }
    }

    /// `/etc/certs/ca.pem` in both proxies: configurations name it.
    async fn mount_authority(&self) {
        for namespace in ["istio-system", "mesh-test"] {
            self.apply(&json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"namespace": namespace, "name": "certs"},
                "stringData": {"ca.pem": self.outside_pem}}))
                .await;
        }
        let volume = json!({"secret": {"secretName": "certs"}});
        let mount = json!({"mountPath": "/etc/certs"});
        let annotations = json!({"sidecar.istio.io/userVolume": json!({"certs": volume}).to_string(),
            "sidecar.istio.io/userVolumeMount": json!({"certs": mount}).to_string()});
        let client = self.cluster.client().clone();
        let of_namespace = |namespace| Api::<Deployment>::namespaced(client.clone(), namespace);
        let sleep = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        of_namespace(SLEEP.0).patch(SLEEP.1, &PatchParams::default(), &Patch::Strategic(sleep)).await.unwrap();
        let gateway = json!({"spec": {"template": {"spec": {
            "volumes": [{"name": "certs", "secret": {"secretName": "certs"}}],
            "containers": [{"name": "istio-proxy", "volumeMounts": [{"name": "certs", "mountPath": "/etc/certs"}]}]}}}});
        of_namespace(GATEWAY.0).patch(GATEWAY.1, &PatchParams::default(), &Patch::Strategic(gateway)).await.unwrap();
        for (namespace, name) in [SLEEP, GATEWAY] {
            // The Deployment's old pod has gone when the roll-over is complete.
            let whole = |deployment: Option<&Deployment>| {
                deployment.is_some_and(|deployment| {
                    let status = deployment.status.clone().unwrap_or_default();
                    status.observed_generation == deployment.metadata.generation
                        && (status.updated_replicas, status.available_replicas, status.replicas)
                            == (Some(1), Some(1), Some(1))
                })
            };
            kube::runtime::wait::await_condition(of_namespace(namespace), name, whole).await.unwrap();
        }
    }

    /// Puts the case into force.
    pub async fn enter(&self, case: &Case) -> Place<'_> {
        let mesh = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "istio-system", "name": "istio"},
            "data": {"mesh": case.mesh}});
        self.apply(&mesh).await;
        self.same_services(case).await;
        for secret in self.secrets(case) {
            self.apply(&secret).await;
        }
        // Istio takes the older first, and of equals the first by name. The cases' objects were all of one moment: made
        // in the order of their names, they are taken in that order however long it takes.
        let mut objects: Vec<&Value> = case.objects.iter().collect();
        objects.sort_by_key(|object| ["name", "namespace"].map(|key| object["metadata"][key].as_str()));
        for object in objects {
            let mut object = object.clone();
            // Addresses of Services are the lab's to give.
            if object["kind"] == "Service" {
                object["spec"].as_object_mut().unwrap().shift_remove("clusterIP");
            }
            // Only a control plane writes a status.
            object.as_object_mut().unwrap().shift_remove("status");
            self.apply(&object).await;
        }
        self.fresh(SLEEP.0, SLEEP.1).await;
        self.fresh(GATEWAY.0, GATEWAY.1).await;
        let sleep = self.cluster.pods(SLEEP.0, SLEEP.1, PATIENCE).await.unwrap().remove(0);
        let gateway = self.cluster.pods(GATEWAY.0, GATEWAY.1, PATIENCE).await.unwrap().remove(0);
        for (namespace, name, ip) in [(SLEEP.0, SLEEP.1, &sleep.ip), (GATEWAY.0, GATEWAY.1, &gateway.ip)] {
            if case.objects.iter().any(|object| object["kind"] == "Service" && object["metadata"]["name"] == name) {
                self.endpoint(namespace, name, ip).await;
            }
        }
        let (sidecar, router) = (self.cluster.admin(&sleep), self.cluster.admin(&gateway));
        let settled = self.propagation.settle(&[&sidecar, &router], None, PATIENCE).await;
        // A real istiod does not say what has arrived: there it is the quiet of the proxies.
        let proven = settled.proven || !self.propagation.can_prove().await;
        assert!(proven, "{}: {settled:?}", case.name);
        // What istiod generates, an Envoy need not take: an address that is not the gateway's, say.
        assert!(case.generated || settled.rejections.is_empty(), "{}: {settled:?}", case.name);
        let mut gateway_ports = BTreeMap::new();
        for service in case.objects.iter().filter(|o| o["kind"] == "Service" && o["metadata"]["name"] == GATEWAY.1) {
            for port in service["spec"]["ports"].as_array().unwrap() {
                gateway_ports.insert(port["port"].to_string(), port["targetPort"].as_u64().unwrap());
            }
        }
        Place { cluster: &self.cluster, sleep, gateway, sidecar, router, gateway_ports }
    }

    /// Waits until the Service of that name has this pod: a pod is ready before its Service knows it.
    async fn endpoint(&self, namespace: &str, service: &str, ip: &str) {
        let slices: Api<EndpointSlice> = Api::namespaced(self.cluster.client().clone(), namespace);
        let config = watcher::Config::default().labels(&format!("kubernetes.io/service-name={service}"));
        let mut events = pin!(watcher(slices, config).applied_objects());
        while let Some(slice) = events.next().await {
            let endpoints = slice.unwrap().endpoints;
            let ready =
                endpoints.iter().filter(|endpoint| endpoint.conditions.as_ref().is_some_and(|c| c.ready == Some(true)));
            if ready.flat_map(|endpoint| &endpoint.addresses).any(|address| address == ip) {
                return;
            }
        }
        panic!("{namespace}/{service}: {ip} is not among its endpoints");
    }

    /// Takes the case's objects away.
    pub async fn leave(&self, case: &Case) {
        for object in case.objects.iter().filter(|object| object["kind"] != "Service") {
            let name = object["metadata"]["name"].as_str().unwrap();
            self.api(object).await.delete(name, &DeleteParams::default()).await.unwrap();
        }
    }

    /// No Service but the case's: they shape listeners.
    async fn same_services(&self, case: &Case) {
        let client = self.cluster.client().clone();
        let all: Api<Service> = Api::all(client.clone());
        for service in all.list(&ListParams::default()).await.unwrap() {
            let of_namespace: Api<Service> = Api::namespaced(client.clone(), &service.metadata.namespace.unwrap());
            of_namespace.delete(&service.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap();
        }
        let wanted = case.objects.iter().filter_map(|object| object["metadata"]["namespace"].as_str());
        let namespaces: Api<Namespace> = Api::all(client);
        for namespace in wanted.collect::<BTreeSet<_>>() {
            if namespaces.get_opt(namespace).await.unwrap().is_none() {
                self.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
            }
        }
    }

    /// Every credential that the case names exists, for both namespaces: a server's is the outside authority's, for every
    /// host; others are client certificates of an authority that nobody trusts.
    fn secrets(&self, case: &Case) -> Vec<Value> {
        let mut names = BTreeSet::new();
        case.objects.iter().for_each(|object| credentials(object, &mut names));
        let hosts = case.probes.iter().map(|told| {
            let place = told.probe.split_once("://").unwrap().1;
            place.split([':', '/']).next().unwrap().to_string()
        });
        let leaf = Leaf {
            common_name: Some("client".into()),
            dns: hosts.collect::<BTreeSet<_>>().into_iter().collect(),
            ..Leaf::default()
        };
        let mut secrets = Vec::new();
        for name in names {
            let issuer = if name == SERVER_CREDENTIAL { &self.outside } else { &self.third };
            let identity = issuer.issue(&leaf).unwrap();
            for namespace in ["istio-system", "mesh-test"] {
                let data =
                    json!({"tls.crt": identity.chain_pem, "tls.key": identity.key_pem, "ca.crt": self.outside_pem});
                secrets.push(json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": data,
                    "metadata": {"namespace": namespace, "name": name}}));
            }
        }
        secrets
    }

    /// A new pod in the place of the one there is.
    async fn fresh(&self, namespace: &str, name: &str) {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client().clone(), namespace);
        for old in self.cluster.pods(namespace, name, PATIENCE).await.unwrap() {
            let gone = kube::runtime::wait::await_condition(
                pods.clone(),
                &old.name,
                kube::runtime::wait::conditions::is_deleted(&old.uid),
            );
            pods.delete(&old.name, &DeleteParams::default().grace_period(0)).await.unwrap();
            gone.await.unwrap();
        }
    }
}

fn credentials(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) = fields.get("credentialName").and_then(Value::as_str) {
                names.insert(name.trim_end_matches("-cacert").to_string());
            }
            fields.values().for_each(|inner| credentials(inner, names));
        }
        Value::Array(items) => items.iter().for_each(|inner| credentials(inner, names)),
        _ => {}
    }
}

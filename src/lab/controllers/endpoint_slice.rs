//! Services with a selector → EndpointSlices from the pods it selects.

use super::mirror::{Mirror, Name, events, name_of};
use super::reconcile::{self, Reconciler};
use super::replica_set::is_ready;
use super::{Config, is_overtaken};
use crate::api::LabelSelector;
use futures::StreamExt;
use futures::stream::{BoxStream, select_all};
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::watcher::{Config as Watch, Event};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const SERVICE: &str = "kubernetes.io/service-name";
const MANAGED: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpointslice-controller.k8s.io";
/// As many as a cluster puts into one slice.
const MAX_ENDPOINTS: usize = 100;

enum News {
    Service(Box<Event<Service>>),
    Pod(Box<Event<Pod>>),
    Slice(Box<Event<EndpointSlice>>),
    Trouble(String),
}

impl News {
    /// The kind (0 to 2) whose listing this event ends.
    fn ends_listing(&self) -> Option<usize> {
        let (kind, ends) = match self {
            News::Service(event) => (0, matches!(**event, Event::InitDone)),
            News::Pod(event) => (1, matches!(**event, Event::InitDone)),
            News::Slice(event) => (2, matches!(**event, Event::InitDone)),
            News::Trouble(_) => return None,
        };
        ends.then_some(kind)
    }
}

struct Controller {
    config: Config,
    services: Mirror<Service>,
    pods: Mirror<Pod>,
    slices: Mirror<EndpointSlice>,
    /// Before all three kinds are listed, slices that exist would be taken for missing.
    listed: [bool; 3],
}

pub async fn run(config: Config) {
    let client = config.client.clone();
    let trouble = |error: kube::runtime::watcher::Error| News::Trouble(error.to_string());
    let own = Watch::default().labels(&format!("{MANAGED}={CONTROLLER}"));
    let streams: [BoxStream<'static, News>; 3] = [
        events(Api::<Service>::all(client.clone()), Watch::default())
            .map(move |e| e.map_or_else(trouble, |e| News::Service(Box::new(e))))
            .boxed(),
        events(Api::<Pod>::all(client.clone()), Watch::default())
            .map(move |e| e.map_or_else(trouble, |e| News::Pod(Box::new(e))))
            .boxed(),
        events(Api::<EndpointSlice>::all(client), own)
            .map(move |e| e.map_or_else(trouble, |e| News::Slice(Box::new(e))))
            .boxed(),
    ];
    let this = Controller {
        config,
        services: Mirror::default(),
        pods: Mirror::default(),
        slices: Mirror::default(),
        listed: [false; 3],
    };
    reconcile::run(this, select_all(streams)).await;
}

impl Reconciler for Controller {
    type News = News;

    fn is_ready(&self) -> bool {
        self.listed == [true; 3]
    }

    fn see(&mut self, event: News, todo: &mut BTreeSet<Name>) {
        if let Some(kind) = event.ends_listing() {
            self.listed[kind] = true;
        }
        match event {
            News::Service(event) => todo.extend(self.services.see(*event).iter().map(|s| name_of(s.as_ref()))),
            News::Pod(event) => {
                // A pod whose labels changed leaves services too, so all of its namespace are looked at.
                for pod in self.pods.see(*event) {
                    let namespace = name_of(pod.as_ref()).0;
                    let services = self.services.in_namespace(&namespace);
                    todo.extend(services.filter(|s| selector(s).is_some()).map(|s| name_of(s.as_ref())));
                }
            }
            News::Slice(event) => {
                for slice in self.slices.see(*event) {
                    let service = slice.metadata.labels.as_ref().and_then(|l| l.get(SERVICE)).cloned();
                    todo.extend(service.map(|s| (name_of(slice.as_ref()).0, s)));
                }
            }
            News::Trouble(error) => self.config.complain("watching Services", &error),
        }
    }

    async fn reconcile(&mut self, name: &Name) -> bool {
        self.make_so(name).await;
        true
    }
}

impl Controller {
    async fn make_so(&mut self, name: &Name) {
        let existing: Vec<Arc<EndpointSlice>> = self
            .slices
            .in_namespace(&name.0)
            .filter(|s| s.metadata.labels.as_ref().and_then(|l| l.get(SERVICE)) == Some(&name.1))
            .cloned()
            .collect();
        let service = self.services.get(name).filter(|s| s.metadata.deletion_timestamp.is_none());
        let pods: Vec<&Arc<Pod>> = self.pods.in_namespace(&name.0).collect();
        let wanted = service.as_ref().map(|s| slices_of(s, &pods)).unwrap_or_default();
        let api: Api<EndpointSlice> = Api::namespaced(self.config.client.clone(), &name.0);
        let mut left = existing;
        let params = PostParams { field_manager: Some(super::MANAGER.into()), ..PostParams::default() };
        for mut slice in wanted {
            // A slice with the same ports is changed; else any that is left over.
            let place = left.iter().position(|s| json!(s.ports) == slice["ports"]).or(if left.is_empty() {
                None
            } else {
                Some(0)
            });
            let result = match place.map(|i| left.remove(i)) {
                Some(old) if same(&old, &slice) => continue,
                Some(old) => {
                    let old_name = name_of(old.as_ref()).1;
                    slice["metadata"]["name"] = json!(old_name);
                    slice["metadata"].as_object_mut().map(|m| m.shift_remove("generateName"));
                    slice["metadata"]["resourceVersion"] = json!(old.metadata.resource_version);
                    match serde_json::from_value(slice) {
                        Ok(slice) => api.replace(&old_name, &params, &slice).await,
                        Err(_) => continue,
                    }
                }
                None => match serde_json::from_value(slice) {
                    Ok(slice) => api.create(&params, &slice).await,
                    Err(_) => continue,
                },
            };
            match result {
                Ok(slice) => {
                    self.slices.learn(slice);
                }
                Err(error) if is_overtaken(&error) => {}
                // The namespace is ending.
                Err(kube::Error::Api(refusal)) if refusal.code == 403 => {}
                Err(error) => self.config.complain(&format!("endpoints of {}/{}", name.0, name.1), &error),
            }
        }
        for surplus in left {
            let surplus = name_of(surplus.as_ref());
            match api.delete(&surplus.1, &DeleteParams::background()).await {
                Ok(_) => self.slices.forget(&surplus),
                Err(error) if is_overtaken(&error) => self.slices.forget(&surplus),
                Err(error) => self.config.complain(&format!("endpoints of {}/{}", name.0, name.1), &error),
            }
        }
    }
}

fn same(old: &EndpointSlice, new: &Value) -> bool {
    json!(old.ports) == new["ports"]
        && json!(old.endpoints) == new["endpoints"]
        && json!(old.metadata.labels) == new["metadata"]["labels"]
}

/// The selector of a Service whose endpoints are made here.
fn selector(service: &Service) -> Option<LabelSelector> {
    let spec = service.spec.as_ref().filter(|s| s.type_.as_deref() != Some("ExternalName"))?;
    let selector = spec.selector.as_ref().filter(|s| !s.is_empty())?;
    Some(LabelSelector::from_object(&json!({ "matchLabels": selector })))
}

/// The slices a Service should have. Pods that resolve its ports alike share one.
fn slices_of(service: &Service, pods: &[&Arc<Pod>]) -> Vec<Value> {
    let (Some(selector), Some(spec)) = (selector(service), service.spec.as_ref()) else { return Vec::new() };
    let unready_too = spec.publish_not_ready_addresses == Some(true);
    let mut groups: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
    for pod in pods {
        let labels = json!(pod.metadata.labels);
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        let address = pod.status.as_ref().and_then(|s| s.pod_ip.clone()).filter(|ip| !ip.is_empty());
        let Some(address) = address.filter(|_| !matches!(phase, Some("Succeeded" | "Failed"))) else { continue };
        if !selector.matches(labels.as_object()) {
            continue;
        }
        let ports = ports_of(spec.ports.as_deref().unwrap_or(&[]), pod);
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let serving = is_ready(pod);
        let endpoint = json!({
            "addresses": [address],
            "conditions": { "ready": (serving && !terminating) || unready_too, "serving": serving, "terminating": terminating },
            "nodeName": pod.spec.as_ref().and_then(|s| s.node_name.clone()),
            "targetRef": { "kind": "Pod", "namespace": pod.metadata.namespace, "name": pod.metadata.name, "uid": pod.metadata.uid },
        });
        groups.entry(ports.to_string()).or_insert_with(|| (ports, Vec::new())).1.push(typed(endpoint));
    }
    if groups.is_empty() {
        // Without endpoints there is one empty slice: clients see that the Service is known.
        return vec![slice(service, &Value::Null, Vec::new())];
    }
    let mut slices = Vec::new();
    for (ports, endpoints) in groups.into_values() {
        for chunk in endpoints.chunks(MAX_ENDPOINTS) {
            slices.push(slice(service, &ports, chunk.to_vec()));
        }
    }
    slices
}

/// An endpoint as it reads back: without absent fields.
fn typed(mut endpoint: Value) -> Value {
    if let Some(map) = endpoint.as_object_mut() {
        map.retain(|_, v| !v.is_null());
    }
    match serde_json::from_value::<k8s_openapi::api::discovery::v1::Endpoint>(endpoint.clone()) {
        Ok(read) => json!(read),
        Err(_) => endpoint,
    }
}

/// The Service's ports as this pod has them: named target ports are looked up in its containers. A
/// port the pod does not have is left out.
fn ports_of(ports: &[ServicePort], pod: &Pod) -> Value {
    let list: Vec<Value> = ports
        .iter()
        .filter_map(|port| {
            let number = match &port.target_port {
                None => port.port,
                Some(IntOrString::Int(n)) => *n,
                Some(IntOrString::String(name)) => named_port(pod, name, port.protocol.as_deref().unwrap_or("TCP"))?,
            };
            let mut entry = json!({ "name": port.name.clone().unwrap_or_default(), "port": number,
                "protocol": port.protocol.as_deref().unwrap_or("TCP") });
            if let Some(protocol) = &port.app_protocol {
                entry["appProtocol"] = json!(protocol);
            }
            serde_json::from_value::<k8s_openapi::api::discovery::v1::EndpointPort>(entry).ok().map(|p| json!(p))
        })
        .collect();
    Value::Array(list)
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    ports
        .into_iter()
        .find(|p| p.name.as_deref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol)
        .map(|p| p.container_port)
}

fn slice(service: &Service, ports: &Value, endpoints: Vec<Value>) -> Value {
    let (namespace, name) = name_of(service);
    let mut labels: Map<String, Value> =
        service.metadata.labels.iter().flatten().map(|(k, v)| (k.clone(), json!(v))).collect();
    if service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()) == Some("None") {
        labels.insert("service.kubernetes.io/headless".into(), json!(""));
    }
    labels.insert(MANAGED.into(), json!(CONTROLLER));
    labels.insert(SERVICE.into(), json!(name));
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": format!("{name}-"),
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Service", "name": name, "uid": service.metadata.uid,
                "controller": true, "blockOwnerDeletion": true }],
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": endpoints,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_ports_are_resolved_by_pod() {
        let service: Service =
            serde_json::from_value(json!({ "metadata": { "name": "s", "namespace": "a", "uid": "1" },
            "spec": { "selector": { "app": "x" }, "ports": [{ "name": "http", "port": 80, "targetPort": "web" }] } }))
            .unwrap();
        let pod = |name: &str, port: i32, ready: &str| -> Arc<Pod> {
            Arc::new(
                serde_json::from_value(
                    json!({ "metadata": { "name": name, "namespace": "a", "labels": { "app": "x" } },
                    "spec": { "containers": [{ "name": "c", "ports": [{ "name": "web", "containerPort": port }] }] },
                    "status": { "podIP": "10.244.0.1", "conditions": [{ "type": "Ready", "status": ready }] } }),
                )
                .unwrap(),
            )
        };
        let (one, two) = (pod("p", 8080, "True"), pod("q", 9090, "False"));
        let slices = slices_of(&service, &[&one, &two]);
        assert_eq!(slices.len(), 2, "other numbers need another slice");
        assert_eq!(slices[0]["ports"][0]["port"], 8080);
        assert_eq!(slices[0]["endpoints"][0]["conditions"]["ready"], true);
        assert_eq!(slices[1]["endpoints"][0]["conditions"]["ready"], false);
        assert_eq!(slices[0]["metadata"]["labels"][SERVICE], "s");
        let nobody = slices_of(&service, &[]);
        assert_eq!((nobody.len(), &nobody[0]["endpoints"]), (1, &json!([])));
    }
}

//! Creating, changing and deleting objects.

use crate::lab::{self, start};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use serde_json::{Value, json};

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn refusal(error: kube::Error) -> (u16, String, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.reason.to_string(), status.message.to_string()),
        other => panic!("not an API error: {other}"),
    }
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    object(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "k": value } }))
}

fn pod(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "containers": [{ "name": "c", "image": "curlimages/curl:8" }] } })
}

pub fn service_entries(client: &kube::Client, version: &str, namespace: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("networking.istio.io", version, "ServiceEntry");
    let resource = ApiResource::from_gvk_with_plural(&gvk, "serviceentries");
    Api::namespaced_with(client.clone(), namespace, &resource)
}

#[tokio::test]
async fn no_certificate_is_401() {
    let lab = start();
    let stranger = lab::client(&lab.server, &lab.ca, None);
    let error = Api::<Namespace>::all(stranger).list(&ListParams::default()).await.unwrap_err();
    assert_eq!(refusal(error), (401, "Unauthorized".into(), "Unauthorized".into()));
}

#[tokio::test]
async fn errors_speak_kubernetes() {
    let lab = start();
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client.clone());
    let not_found = maps.get("x").await.unwrap_err();
    assert_eq!(refusal(not_found), (404, "NotFound".into(), "configmaps \"x\" not found".into()));
    maps.create(&PostParams::default(), &config_map("x", "1")).await.unwrap();
    let twice = maps.create(&PostParams::default(), &config_map("x", "1")).await.unwrap_err();
    assert_eq!(refusal(twice), (409, "AlreadyExists".into(), "configmaps \"x\" already exists".into()));
    let entries = service_entries(&lab.client, "v1", "default");
    let (code, _, message) = refusal(entries.get("y").await.unwrap_err());
    assert_eq!((code, message.as_str()), (404, "serviceentries.networking.istio.io \"y\" not found"));
    let nowhere: Api<ConfigMap> = Api::namespaced(lab.client.clone(), "nowhere");
    let (code, _, message) = refusal(nowhere.create(&PostParams::default(), &config_map("x", "1")).await.unwrap_err());
    assert_eq!((code, message.as_str()), (404, "namespaces \"nowhere\" not found"));
    let services: Api<Service> = Api::default_namespaced(lab.client.clone());
    let bad = object(
        json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "port": 80 }, { "port": 0, "name": "b" }] } }),
    );
    let (code, reason, message) = refusal(services.create(&PostParams::default(), &bad).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert!(
        message.starts_with("Service \"s\" is invalid: [spec.ports[0].name: Required value, spec.ports[1].port:"),
        "{message}"
    );
}

#[tokio::test]
async fn an_old_resource_version_conflicts() {
    let lab = start();
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client.clone());
    let first = maps.create(&PostParams::default(), &config_map("x", "1")).await.unwrap();
    let mut next = first.clone();
    next.data.as_mut().unwrap().insert("k".into(), "2".into());
    let second = maps.replace("x", &PostParams::default(), &next).await.unwrap();
    assert_ne!(first.metadata.resource_version, second.metadata.resource_version);
    let (code, reason, message) = refusal(maps.replace("x", &PostParams::default(), &next).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(
        message,
        "Operation cannot be fulfilled on configmaps \"x\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
    let same = maps.replace("x", &PostParams::default(), &second).await.unwrap();
    assert_eq!(same.metadata.resource_version, second.metadata.resource_version, "a write of the same changes nothing");
}

#[tokio::test]
async fn patches_of_each_kind() {
    let lab = start();
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client.clone());
    maps.create(&PostParams::default(), &config_map("x", "1")).await.unwrap();
    let params = PatchParams::default();
    maps.patch("x", &params, &Patch::Merge(json!({ "data": { "l": "2" } }))).await.unwrap();
    maps.patch("x", &params, &Patch::Strategic(json!({ "data": { "k": null } }))).await.unwrap();
    let add = json!([{ "op": "add", "path": "/data/m", "value": "3" }]);
    let request = http::Request::patch("/api/v1/namespaces/default/configmaps/x")
        .header("Content-Type", "application/json-patch+json")
        .body(add.to_string().into_bytes())
        .unwrap();
    let map: ConfigMap = lab.client.request(request).await.unwrap();
    assert_eq!(json!(map.data), json!({ "l": "2", "m": "3" }));
    let entries = service_entries(&lab.client, "v1", "default");
    let entry =
        object(json!({ "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": { "name": "e" },
        "spec": { "hosts": ["a"] } }));
    entries.create(&PostParams::default(), &entry).await.unwrap();
    let strategic = entries.patch("e", &params, &Patch::Strategic(json!({ "spec": { "hosts": ["b"] } }))).await;
    assert_eq!(refusal(strategic.unwrap_err()).0, 415, "custom resources have no strategic merge");
}

#[tokio::test]
async fn server_side_apply_conflicts_and_force() {
    let lab = start();
    let entries = service_entries(&lab.client, "v1", "default");
    let entry = |resolution: &str| {
        json!({ "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": { "name": "e" },
            "spec": { "hosts": ["a.example"], "resolution": resolution } })
    };
    let first = entries.patch("e", &PatchParams::apply("one"), &Patch::Apply(entry("DNS"))).await.unwrap();
    let managed = first.metadata.managed_fields.clone().unwrap();
    assert_eq!((managed[0].manager.as_deref(), managed[0].operation.as_deref()), (Some("one"), Some("Apply")));
    let again = entries.patch("e", &PatchParams::apply("one"), &Patch::Apply(entry("DNS"))).await.unwrap();
    assert_eq!(first.metadata.resource_version, again.metadata.resource_version, "an unchanged apply changes nothing");
    let error = entries.patch("e", &PatchParams::apply("two"), &Patch::Apply(entry("NONE"))).await.unwrap_err();
    let (code, reason, message) = refusal(error);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"one\": .spec.resolution");
    let forced = entries.patch("e", &PatchParams::apply("two").force(), &Patch::Apply(entry("NONE"))).await.unwrap();
    assert_eq!(forced.data["spec"]["resolution"], "NONE");
    assert_eq!(forced.metadata.generation, Some(2));
    // The first no longer owns the resolution; what only the second owns goes when it lets go.
    let less = json!({ "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": { "name": "e" },
        "spec": { "hosts": ["a.example"] } });
    let after = entries.patch("e", &PatchParams::apply("two"), &Patch::Apply(less)).await.unwrap();
    assert_eq!(after.data["spec"], json!({ "hosts": ["a.example"] }));
}

#[tokio::test]
async fn a_custom_resource_is_read_in_each_served_version() {
    let lab = start();
    let entry = object(
        json!({ "apiVersion": "networking.istio.io/v1beta1", "kind": "ServiceEntry", "metadata": { "name": "e" },
        "spec": { "hosts": ["a"] } }),
    );
    service_entries(&lab.client, "v1beta1", "default").create(&PostParams::default(), &entry).await.unwrap();
    let seen = service_entries(&lab.client, "v1alpha3", "default").get("e").await.unwrap();
    assert_eq!(seen.types.unwrap().api_version, "networking.istio.io/v1alpha3");
    let stored = lab.server.store().get("serviceentries.networking.istio.io", "default", "e").unwrap();
    assert_eq!(stored["apiVersion"], "networking.istio.io/v1");
}

#[tokio::test]
async fn a_dry_run_leaves_nothing_behind() {
    let lab = start();
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client.clone());
    let before = lab.server.store().revision();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let shown = maps.create(&dry, &config_map("x", "1")).await.unwrap();
    assert!(shown.metadata.uid.is_some());
    assert_eq!(lab.server.store().revision(), before);
    assert!(maps.get_opt("x").await.unwrap().is_none());
}

#[tokio::test]
async fn defaults_that_clients_rely_on() {
    let lab = start();
    let services: Api<Service> = Api::default_namespaced(lab.client.clone());
    let service = object(
        json!({ "metadata": { "name": "s" }, "spec": { "selector": { "app": "a" }, "ports": [{ "port": 80 }] } }),
    );
    let spec = json!(services.create(&PostParams::default(), &service).await.unwrap().spec);
    assert_eq!(spec["ports"], json!([{ "port": 80, "protocol": "TCP", "targetPort": 80 }]));
    assert!(spec["clusterIP"].as_str().unwrap().starts_with("10.96."), "{spec}");
    let taken = object(
        json!({ "metadata": { "name": "t" }, "spec": { "clusterIP": spec["clusterIP"], "ports": [{ "port": 80 }] } }),
    );
    assert_eq!(refusal(services.create(&PostParams::default(), &taken).await.unwrap_err()).0, 422);
    let deployments: Api<Deployment> = Api::default_namespaced(lab.client.clone());
    let deployment = object(
        json!({ "metadata": { "name": "d" }, "spec": { "selector": { "matchLabels": { "app": "d" } },
        "template": { "metadata": { "labels": { "app": "d" } }, "spec": { "containers": [{ "name": "c", "image": "i:1" }] } } } }),
    );
    let deployment = json!(deployments.create(&PostParams::default(), &deployment).await.unwrap());
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
    let scale = deployments.get_scale("d").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(1));
    deployments
        .patch_scale("d", &PatchParams::default(), &Patch::Merge(json!({ "spec": { "replicas": 3 } })))
        .await
        .unwrap();
    assert_eq!(deployments.get("d").await.unwrap().spec.unwrap().replicas, Some(3));
}

#[tokio::test]
async fn status_is_written_only_through_its_door() {
    let lab = start();
    let pods: Api<Pod> = Api::default_namespaced(lab.client.clone());
    pods.create(&PostParams::default(), &object(pod("p"))).await.unwrap();
    let status = json!({ "status": { "phase": "Running", "podIP": "10.244.0.7" } });
    pods.patch("p", &PatchParams::default(), &Patch::Merge(status.clone())).await.unwrap();
    assert_eq!(pods.get("p").await.unwrap().status.unwrap().phase.as_deref(), Some("Pending"));
    pods.patch_status("p", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let seen = pods.get("p").await.unwrap().status.unwrap();
    assert_eq!((seen.phase.as_deref(), seen.pod_ip.as_deref()), (Some("Running"), Some("10.244.0.7")));
}

#[tokio::test]
async fn owners_take_their_dependents_and_namespaces_all() {
    let lab = start();
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client.clone());
    let owner = maps.create(&PostParams::default(), &config_map("owner", "1")).await.unwrap();
    let mut owned = config_map("owned", "1");
    owned.metadata.owner_references = Some(object(json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
        "uid": owner.metadata.uid }])));
    maps.create(&PostParams::default(), &owned).await.unwrap();
    let foreground = DeleteParams::foreground();
    maps.delete("owner", &foreground).await.unwrap();
    assert!(maps.list(&ListParams::default()).await.unwrap().items.is_empty());

    let namespaces: Api<Namespace> = Api::all(lab.client.clone());
    namespaces.create(&PostParams::default(), &object(json!({ "metadata": { "name": "mesh-test" } }))).await.unwrap();
    let inside: Api<ConfigMap> = Api::namespaced(lab.client.clone(), "mesh-test");
    let mut held = config_map("held", "1");
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    inside.create(&PostParams::default(), &held).await.unwrap();
    namespaces.delete("mesh-test", &DeleteParams::default()).await.unwrap();
    let ending = namespaces.get("mesh-test").await.unwrap();
    assert_eq!(ending.status.unwrap().phase.as_deref(), Some("Terminating"));
    let (code, _, message) =
        refusal(inside.create(&PostParams::default(), &config_map("late", "1")).await.unwrap_err());
    assert_eq!(code, 403, "{message}");
    let free = json!({ "metadata": { "finalizers": null } });
    inside.patch("held", &PatchParams::default(), &Patch::Merge(free)).await.unwrap();
    assert!(namespaces.get_opt("mesh-test").await.unwrap().is_none());
}

#[tokio::test]
async fn a_pod_on_a_node_ends_when_its_node_says_so() {
    let lab = start();
    let pods: Api<Pod> = Api::default_namespaced(lab.client.clone());
    let mut body = pod("p");
    body["spec"]["nodeName"] = json!("lab");
    pods.create(&PostParams::default(), &object(body)).await.unwrap();
    pods.delete("p", &DeleteParams::default()).await.unwrap();
    assert!(pods.get("p").await.unwrap().metadata.deletion_timestamp.is_some());
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(pods.get_opt("p").await.unwrap().is_none());
}

#[tokio::test]
async fn lists_are_selected_and_paged() {
    let lab = start();
    let pods: Api<Pod> = Api::default_namespaced(lab.client.clone());
    for name in ["a", "b", "c"] {
        pods.create(&PostParams::default(), &object(pod(name))).await.unwrap();
    }
    let names = |list: kube::api::ObjectList<Pod>| -> Vec<String> {
        list.items.into_iter().map(|p| p.metadata.name.unwrap()).collect()
    };
    assert_eq!(names(pods.list(&ListParams::default().labels("app in (a,c)")).await.unwrap()), ["a", "c"]);
    assert_eq!(names(pods.list(&ListParams::default().fields("metadata.name=b")).await.unwrap()), ["b"]);
    let first = pods.list(&ListParams::default().limit(2)).await.unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    assert_eq!(names(first), ["a", "b"]);
    assert_eq!(names(pods.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap()), ["c"]);
}

#[tokio::test]
async fn strict_decoding_names_the_unknown_field() {
    let lab = start();
    let mut body = pod("p");
    body["spec"]["containers"][0]["imagePulPolicy"] = json!("Always");
    let request = http::Request::post("/api/v1/namespaces/default/pods?fieldValidation=Strict")
        .header("Content-Type", "application/json")
        .body(body.to_string().into_bytes())
        .unwrap();
    let (code, _, message) = refusal(lab.client.request::<Value>(request).await.unwrap_err());
    assert_eq!(code, 400);
    assert_eq!(
        message,
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \
         \"spec.containers[0].imagePulPolicy\""
    );
}

#[tokio::test]
async fn bodies_that_are_too_big_or_unknown_are_refused() {
    let lab = start();
    let post = |content_type: &str, body: Vec<u8>| {
        http::Request::post("/api/v1/namespaces/default/configmaps")
            .header("Content-Type", content_type)
            .body(body)
            .unwrap()
    };
    let big = post("application/json", vec![b' '; 3 * 1024 * 1024 + 1]);
    assert_eq!(refusal(lab.client.request::<Value>(big).await.unwrap_err()).0, 413);
    let odd = post("application/vnd.kubernetes.protobuf", vec![1, 2, 3]);
    assert_eq!(refusal(lab.client.request::<Value>(odd).await.unwrap_err()).0, 400);
    let unknown = post("text/csv", b"a,b".to_vec());
    assert_eq!(refusal(lab.client.request::<Value>(unknown).await.unwrap_err()).0, 415);
    let broken = post("application/json", b"{\"a\":".to_vec());
    assert_eq!(refusal(lab.client.request::<Value>(broken).await.unwrap_err()).0, 400);
}

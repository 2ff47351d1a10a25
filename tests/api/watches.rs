//! Watches: order, bookmarks, the initial state, forgotten revisions.

use crate::lab::{Lab, start};
use crate::objects::service_entries;
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};

async fn lines(lab: &Lab, path: &str) -> impl futures::Stream<Item = Value> + Unpin + use<> {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    let lines = lab.client.request_stream(request).await.unwrap().lines();
    Box::pin(lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

#[tokio::test]
async fn events_come_in_order_and_bookmarks_follow_other_kinds() {
    let lab = start();
    let revision = lab.server.store().revision();
    let path = format!(
        "/apis/networking.istio.io/v1/serviceentries?watch=true&allowWatchBookmarks=true&resourceVersion={revision}"
    );
    let mut events = lines(&lab, &path).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client.clone());
    let map = maps.create(&PostParams::default(), &config_map("x")).await.unwrap();
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    let wanted = map.metadata.resource_version.unwrap();
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], json!(wanted));
    let entry = serde_json::from_value(json!({ "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": { "name": "e" }, "spec": { "hosts": ["a"] } }))
    .unwrap();
    let entries = service_entries(&lab.client, "v1", "default");
    entries.create(&PostParams::default(), &entry).await.unwrap();
    assert_eq!(events.next().await.unwrap()["type"], "ADDED");
    entries.delete("e", &Default::default()).await.unwrap();
    let deleted = events.next().await.unwrap();
    assert_eq!((&deleted["type"], &deleted["object"]["spec"]["hosts"]), (&json!("DELETED"), &json!(["a"])));
}

#[tokio::test]
async fn the_initial_state_ends_with_its_bookmark() {
    let lab = start();
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client.clone());
    maps.create(&PostParams::default(), &config_map("x")).await.unwrap();
    let path = "/api/v1/configmaps?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut events = lines(&lab, path).await;
    assert_eq!(events.next().await.unwrap()["type"], "ADDED");
    let end = events.next().await.unwrap();
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn an_object_that_leaves_the_selection_is_deleted_for_the_watcher() {
    let lab = start();
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client.clone());
    let labelled = serde_json::from_value(json!({ "metadata": { "name": "x", "labels": { "a": "1" } } })).unwrap();
    maps.create(&PostParams::default(), &labelled).await.unwrap();
    let mut events = lines(&lab, "/api/v1/namespaces/default/configmaps?watch=1&labelSelector=a%3D1").await;
    assert_eq!(events.next().await.unwrap()["type"], "ADDED");
    let patch = kube::api::Patch::Merge(json!({ "metadata": { "labels": { "a": "2" } } }));
    maps.patch("x", &Default::default(), &patch).await.unwrap();
    assert_eq!(events.next().await.unwrap()["type"], "DELETED");
}

#[tokio::test]
async fn a_revision_from_before_the_history_is_gone() {
    let lab = start();
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client.clone());
    maps.create(&PostParams::default(), &config_map("x")).await.unwrap();
    let mut events = lines(&lab, "/api/v1/configmaps?watch=1&resourceVersion=0").await;
    assert_eq!(events.next().await.unwrap()["type"], "ADDED");
    let store = lab.server.store();
    let key = egress_scn::api::Key { resource: "configmaps".into(), namespace: "default".into(), name: "x".into() };
    let live = store.get("configmaps", "default", "x").unwrap();
    let start = store.revision();
    for _ in 0..20_100 {
        store.lock().put(&key, (*live).clone());
    }
    let mut late = lines(&lab, &format!("/api/v1/configmaps?watch=1&resourceVersion={start}")).await;
    let error = late.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert!(late.next().await.is_none(), "the watch ends after the error");
}

#[tokio::test]
async fn the_watcher_of_kube_rs_sees_all() {
    let lab = start();
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client.clone());
    maps.create(&PostParams::default(), &config_map("x")).await.unwrap();
    for streaming in [false, true] {
        let config = if streaming { watcher::Config::default().streaming_lists() } else { watcher::Config::default() };
        let mut events = Box::pin(watcher::watcher(maps.clone(), config));
        let mut initial = Vec::new();
        while let Some(event) = events.try_next().await.unwrap() {
            match event {
                Event::Init => {}
                Event::InitApply(map) => initial.push(map.metadata.name.unwrap()),
                Event::InitDone => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(initial, ["x"]);
        let later = format!("later-{streaming}");
        maps.create(&PostParams::default(), &config_map(&later)).await.unwrap();
        assert!(
            matches!(events.try_next().await.unwrap(), Some(Event::Apply(m)) if m.metadata.name == Some(later.clone()))
        );
        maps.delete(&later, &Default::default()).await.unwrap();
        assert!(matches!(events.try_next().await.unwrap(), Some(Event::Delete(_))));
    }
}

//! What each namespace gets: ServiceAccount `default`, ConfigMaps `kube-root-ca.crt` and, as from istiod,
//! `istio-ca-root-cert` and `istio-ca-crl`. They come back when they are deleted or changed.

use super::mirror::events;
use super::{Config, MANAGER};
use futures::StreamExt;
use futures::stream::select_all;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::watcher::{Config as Watch, Event};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const ACCOUNT: &str = "default";
const API_ROOT: &str = "kube-root-ca.crt";
const MESH_ROOT: &str = "istio-ca-root-cert";
const MESH_REVOKED: &str = "istio-ca-crl";

enum News {
    Namespace(Event<Namespace>),
    Account(Event<ServiceAccount>),
    Roots(Event<ConfigMap>),
    Trouble(String),
}

fn news<K>(event: Result<Event<K>, impl std::fmt::Display>, form: fn(Event<K>) -> News) -> News {
    event.map_or_else(|error| News::Trouble(error.to_string()), form)
}

pub async fn run(config: Config) {
    let client = &config.client;
    let named = |name: &str| Watch::default().fields(&format!("metadata.name={name}"));
    let mut all = select_all([
        events(Api::<Namespace>::all(client.clone()), Watch::default()).map(|e| news(e, News::Namespace)).boxed(),
        events(Api::<ServiceAccount>::all(client.clone()), named(ACCOUNT)).map(|e| news(e, News::Account)).boxed(),
        events(Api::<ConfigMap>::all(client.clone()), named(API_ROOT)).map(|e| news(e, News::Roots)).boxed(),
        events(Api::<ConfigMap>::all(client.clone()), named(MESH_ROOT)).map(|e| news(e, News::Roots)).boxed(),
        events(Api::<ConfigMap>::all(client.clone()), named(MESH_REVOKED)).map(|e| news(e, News::Roots)).boxed(),
    ]);
    let mut active: BTreeSet<String> = BTreeSet::new();
    while let Some(event) = all.next().await {
        match event {
            News::Namespace(Event::Apply(namespace) | Event::InitApply(namespace)) => {
                let Some(name) = namespace.metadata.name.clone() else { continue };
                if namespace.metadata.deletion_timestamp.is_some() {
                    active.remove(&name);
                } else if active.insert(name.clone()) {
                    fill(&config, &name).await;
                }
            }
            News::Namespace(Event::Delete(namespace)) => {
                active.remove(&namespace.metadata.name.unwrap_or_default());
            }
            News::Account(Event::Delete(account)) => {
                let namespace = account.metadata.namespace.unwrap_or_default();
                if active.contains(&namespace) {
                    make_account(&config, &namespace).await;
                }
            }
            News::Roots(Event::Delete(map)) => restore(&config, &active, &map).await,
            News::Roots(Event::Apply(map)) => {
                let name = map.metadata.name.as_deref().unwrap_or("");
                if map.data != Some(data(&config, name)) {
                    restore(&config, &active, &map).await;
                }
            }
            News::Trouble(error) => config.complain("watching namespaces", &error),
            _ => {}
        }
    }
}

async fn restore(config: &Config, active: &BTreeSet<String>, map: &ConfigMap) {
    let namespace = map.metadata.namespace.clone().unwrap_or_default();
    let other = map.metadata.name.as_deref() != Some(API_ROOT) && config.mesh_root_pem.is_none();
    if active.contains(&namespace) && !other {
        make_roots(config, &namespace, map.metadata.name.as_deref().unwrap_or("")).await;
    }
}

async fn fill(config: &Config, namespace: &str) {
    tokio::join!(make_account(config, namespace), make_roots(config, namespace, API_ROOT), async {
        if config.mesh_root_pem.is_some() {
            tokio::join!(make_roots(config, namespace, MESH_ROOT), make_roots(config, namespace, MESH_REVOKED));
        }
    },);
}

fn data(config: &Config, name: &str) -> BTreeMap<String, String> {
    let (key, pem) = match name {
        API_ROOT => ("ca.crt", config.api_root_pem.clone()),
        // The lab's mesh CA revokes nothing.
        MESH_REVOKED => ("ca-crl.pem", String::new()),
        _ => ("root-cert.pem", config.mesh_root_pem.clone().unwrap_or_default()),
    };
    BTreeMap::from([(key.to_string(), pem)])
}

async fn make_roots(config: &Config, namespace: &str, name: &str) {
    let api: Api<ConfigMap> = Api::namespaced(config.client.clone(), namespace);
    let mut map =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data(config, name) });
    let manager = if name == API_ROOT { MANAGER } else { "pilot-discovery" };
    if name != API_ROOT {
        map["metadata"]["labels"] = json!({ "istio.io/config": "true" });
    }
    let done = api.patch(name, &PatchParams::apply(manager).force(), &Patch::Apply(&map)).await;
    report(config, namespace, name, done.err());
}

async fn make_account(config: &Config, namespace: &str) {
    let api: Api<ServiceAccount> = Api::namespaced(config.client.clone(), namespace);
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": ACCOUNT } });
    let done = api.patch(ACCOUNT, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&account)).await;
    report(config, namespace, ACCOUNT, done.err());
}

fn report(config: &Config, namespace: &str, name: &str, error: Option<kube::Error>) {
    match error {
        // The namespace is ending or gone.
        Some(kube::Error::Api(refusal)) if [403, 404, 409].contains(&refusal.code) => {}
        Some(error) => config.complain(&format!("making {name} in namespace {namespace}"), &error),
        None => {}
    }
}

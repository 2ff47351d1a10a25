//! The secrets a proxy is given by SDS: its workload identity, the mesh's root, the outside's roots, and
//! certificates from Kubernetes Secrets that its configuration names.

use super::store::Store;
use crate::lab::authority::{Authority, Leaf};
use crate::mesh::Proxy;
use crate::message::Body;
use crate::xds::{Resource, ResourceType};
use base64::Engine as _;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Names that Istio's generated configuration uses.
pub const WORKLOAD: &str = "default";
pub const MESH_ROOT: &str = "ROOTCA";
pub const SYSTEM_ROOTS: &str = "file-root:system";
/// `caCertificates: /etc/certs/ca.pem`, and a client certificate's two files.
const ROOT_FILE: &str = "file-root:";
const CERTIFICATE_FILES: &str = "file-cert:";
const FROM_KUBERNETES: &str = "kubernetes://";
const CA_SUFFIX: &str = "-cacert";

pub struct Certificates {
    authority: Arc<Authority>,
    outside_root_pem: String,
    /// By SPIFFE identity: a proxy keeps its certificate from push to push.
    issued: HashMap<String, Resource>,
}

impl Certificates {
    pub fn new(authority: Arc<Authority>, outside_root_pem: String) -> Certificates {
        Certificates { authority, outside_root_pem, issued: HashMap::new() }
    }

    /// The secrets of a proxy whose configuration names `names`. What does not exist is left out: Envoy
    /// waits for it, as it does for istiod. An `Err` says why the identity cannot be issued.
    pub fn secrets(&mut self, store: &Store, proxy: &Proxy, names: &BTreeSet<String>) -> Result<Vec<Resource>, String> {
        let mut found = vec![self.identity(store, proxy)?, authorities(MESH_ROOT, &self.authority.root_pem())];
        for name in names {
            if name == SYSTEM_ROOTS {
                found.push(authorities(name, &self.outside_root_pem));
            } else if let Some(credential) = name.strip_prefix(FROM_KUBERNETES) {
                found.extend(from_kubernetes(store, &proxy.namespace, name, credential));
            } else if let Some(path) = name.strip_prefix(ROOT_FILE) {
                found.extend(file_of(store, proxy, path).map(|pem| authorities(name, &pem)));
            } else if let Some((chain, key)) =
                name.strip_prefix(CERTIFICATE_FILES).and_then(|both| both.split_once('~'))
            {
                let pem = |path: &str| file_of(store, proxy, path);
                found.extend(pem(chain).zip(pem(key)).map(|(chain, key)| certificate(name, &chain, &key)));
            }
        }
        Ok(found)
    }

    fn identity(&mut self, store: &Store, proxy: &Proxy) -> Result<Resource, String> {
        let trust_domain = store.mesh_config()["trustDomain"].as_str().unwrap_or("cluster.local");
        let uri = format!("spiffe://{trust_domain}/ns/{}/sa/{}", proxy.namespace, proxy.service_account);
        if let Some(issued) = self.issued.get(&uri) {
            return Ok(issued.clone());
        }
        let leaf = Leaf { uris: vec![uri.clone()], ..Leaf::default() };
        let identity = self.authority.issue(&leaf).map_err(|error| format!("cannot issue {uri}: {error}"))?;
        let secret = certificate(WORKLOAD, &identity.chain_pem, &identity.key_pem);
        self.issued.insert(uri, secret.clone());
        Ok(secret)
    }
}

/// The names of secrets that generated resources refer to.
pub fn named_in<'a>(bodies: impl Iterator<Item = &'a Body>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut before: *const Value = std::ptr::null();
    for body in bodies {
        // No secret is named after what differs between bodies of one template, and they stand together.
        let shape = body.shape();
        if !std::ptr::eq(shape, before) {
            search(shape, &mut names);
            before = shape;
        }
        for element in body.as_listing().into_iter().flat_map(|listing| &listing.elements) {
            search(element, &mut names);
        }
    }
    names
}

fn search(body: &Value, names: &mut BTreeSet<String>) {
    match body {
        Value::Object(fields) => {
            if let (Some(Value::String(name)), true) = (fields.get("name"), fields.contains_key("sdsConfig")) {
                names.insert(name.clone());
            }
            fields.values().for_each(|inner| search(inner, names));
        }
        Value::Array(items) => items.iter().for_each(|inner| search(inner, names)),
        _ => {}
    }
}

/// A `credentialName`: `NAME` or `NAMESPACE/NAME`, with `-cacert` where the authority is meant. That may
/// stand in a Secret of its own or beside the certificate. Keys as Istio reads them.
fn from_kubernetes(store: &Store, namespace: &str, full_name: &str, credential: &str) -> Option<Resource> {
    let (namespace, name) = credential.split_once('/').unwrap_or((namespace, credential));
    let secret = |name: &str| store.get("Secret", namespace, name);
    if let Some(base) = name.strip_suffix(CA_SUFFIX) {
        let of = |name: &str| secret(name).and_then(|s| data(s, &["ca.crt", "cacert"]));
        return Some(authorities(full_name, &of(name).or_else(|| of(base))?));
    }
    let secret = secret(name)?;
    Some(certificate(full_name, &data(secret, &["tls.crt", "cert"])?, &data(secret, &["tls.key", "key"])?))
}

/// A file of the proxy's container, as istio-agent would read it: one that a Secret is mounted for.
fn file_of(store: &Store, proxy: &Proxy, path: &str) -> Option<String> {
    let pod = store.get("Pod", &proxy.namespace, &proxy.name)?;
    let lists = ["containers", "initContainers"];
    let containers = lists.iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
    let mut mounts = containers
        .filter(|container| container["name"] == "istio-proxy")
        .flat_map(|container| container["volumeMounts"].as_array().into_iter().flatten());
    let (mount, file) = mounts.find_map(|mount| {
        let file = path.strip_prefix(mount["mountPath"].as_str()?.trim_end_matches('/'))?.strip_prefix('/')?;
        Some((mount, file))
    })?;
    let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let volume = volumes.find(|volume| volume["name"] == mount["name"])?;
    let secret = store.get("Secret", &proxy.namespace, volume["secret"]["secretName"].as_str()?)?;
    data(secret, &[file])
}

fn data(secret: &Value, keys: &[&str]) -> Option<String> {
    let text = keys.iter().find_map(|key| secret["data"][key].as_str())?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    String::from_utf8(bytes).ok()
}

/// As Istio's agent gives it: `istioctl proxy-config secret` reads certificates from bytes alone.
fn inline(pem: &str) -> Value {
    json!({"inlineBytes": base64::engine::general_purpose::STANDARD.encode(pem)})
}

pub fn certificate(name: &str, chain_pem: &str, key_pem: &str) -> Resource {
    let body = json!({
        "@type": ResourceType::Secret.type_url(),
        "name": name,
        "tlsCertificate": {"certificateChain": inline(chain_pem), "privateKey": inline(key_pem)},
    });
    Resource { name: name.into(), body: body.into() }
}

pub fn authorities(name: &str, pem: &str) -> Resource {
    let body = json!({
        "@type": ResourceType::Secret.type_url(),
        "name": name,
        "validationContext": {"trustedCa": inline(pem)},
    });
    Resource { name: name.into(), body: body.into() }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::KINDS;
    use super::super::watch::{Change, What};
    use super::*;

    #[test]
    fn a_credential_comes_from_the_proxys_namespace() {
        let mut store = Store::default();
        let kind = KINDS.iter().position(|k| k.kind == "Secret").unwrap();
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let secret = json!({"metadata": {"namespace": "edge", "name": "site"},
            "data": {"tls.crt": encode("chain"), "tls.key": encode("key"), "ca.crt": encode("root")}});
        store.take(Change { kind, version: 1, what: What::Applied(secret) }).unwrap();
        let found = |namespace: &str, name: &str| {
            from_kubernetes(&store, namespace, &format!("kubernetes://{name}"), name).map(|r| r.body)
        };
        assert_eq!(found("edge", "site").unwrap()["tlsCertificate"]["privateKey"]["inlineBytes"], encode("key"));
        assert_eq!(
            found("edge", "site-cacert").unwrap()["validationContext"]["trustedCa"]["inlineBytes"],
            encode("root")
        );
        assert!(found("other", "site").is_none());
        assert!(found("other", "edge/site").is_some());
    }

    #[test]
    fn names_are_found_wherever_they_stand() {
        let body = json!({"a": [{"x": {"name": "kubernetes://c", "sdsConfig": {}}}], "name": "not this"});
        assert_eq!(named_in([&Body::from(body)].into_iter()), BTreeSet::from(["kubernetes://c".to_string()]));
    }
}

//! Kinds: how `apiVersion` and `kind`, or a word that a person writes (`se`, `gateways`), become a
//! resource path. Discovery is asked once for each group and version.

use super::{Cluster, Error};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResource};
use std::collections::HashMap;
use std::sync::Mutex;

/// A resource of the API.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kind {
    pub api_version: String,
    pub kind: String,
    pub plural: String,
    pub namespaced: bool,
}

/// What discovery said, by `apiVersion`; absent groups are remembered for the run too.
#[derive(Default)]
pub(super) struct Kinds {
    by_version: Mutex<HashMap<String, Vec<Named>>>,
}

#[derive(Debug, Clone)]
struct Named {
    kind: Kind,
    singular: String,
    short: Vec<String>,
}

impl Named {
    /// Whether a word in lower case means it: `gateway`, `gateways`, `gw`, `gateways.networking.istio.io`,
    /// `gateway.v1.networking.istio.io`.
    fn is(&self, wanted: &str) -> bool {
        let of = |word: &str| {
            self.kind.kind.to_lowercase() == word
                || self.kind.plural == word
                || self.singular == word
                || self.short.iter().any(|short| short == word)
        };
        let (group, version) = self.kind.api_version.split_once('/').unwrap_or(("", &self.kind.api_version));
        match wanted.split_once('.') {
            None => of(wanted),
            Some((word, rest)) => of(word) && (rest == group || rest == format!("{version}.{group}")),
        }
    }
}

/// Group versions asked, in this order, when a person gives a kind without its apiVersion.
const USUAL: &[&str] = &[
    "v1",
    "networking.istio.io/v1",
    "security.istio.io/v1",
    "telemetry.istio.io/v1",
    "apps/v1",
    "networking.k8s.io/v1",
    "discovery.k8s.io/v1",
    "networking.istio.io/v1alpha3",
];

impl Kind {
    /// The path of the collection.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = match self.api_version.contains('/') {
            true => format!("/apis/{}", self.api_version),
            false => format!("/api/{}", self.api_version),
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{}", self.plural),
            None => format!("{root}/{}", self.plural),
        }
    }

    fn fixed(api_version: &str, kind: &str, plural: &str, namespaced: bool) -> Kind {
        Kind { api_version: api_version.into(), kind: kind.into(), plural: plural.into(), namespaced }
    }
}

/// Kinds that every Kubernetes has, so that they cost no discovery.
fn built_in(api_version: &str, kind: &str) -> Option<Kind> {
    let (plural, namespaced) = match (api_version, kind) {
        ("v1", "Pod") => ("pods", true),
        ("v1", "Service") => ("services", true),
        ("v1", "ServiceAccount") => ("serviceaccounts", true),
        ("v1", "ConfigMap") => ("configmaps", true),
        ("v1", "Secret") => ("secrets", true),
        ("v1", "Namespace") => ("namespaces", false),
        ("apps/v1", "Deployment") => ("deployments", true),
        _ => return None,
    };
    Some(Kind::fixed(api_version, kind, plural, namespaced))
}

impl Cluster {
    /// The resource of an `apiVersion` and `kind` as manifests write them.
    ///
    /// # Errors
    /// [`Error::Absent`] names the kind and, for Istio's, what is not installed.
    pub async fn kind(&self, api_version: &str, kind: &str) -> Result<Kind, Error> {
        if let Some(known) = built_in(api_version, kind) {
            return Ok(known);
        }
        let found = self.named(api_version).await?;
        found.into_iter().find(|n| n.kind.kind == kind).map(|n| n.kind).ok_or_else(|| absent(api_version, kind))
    }

    /// The resource that a person means: `se`, `serviceentry`, `ServiceEntry`, `serviceentries`.
    pub async fn kind_by_word(&self, word: &str) -> Result<Kind, Error> {
        let wanted = word.to_lowercase();
        for api_version in USUAL {
            if let Some(found) = self.named(api_version).await?.into_iter().find(|named| named.is(&wanted)) {
                return Ok(found.kind);
            }
        }
        // Of whatever else the target serves, each group's own preference.
        let doing = "asking which groups the target serves".to_owned();
        let groups = self.client().list_api_groups().await.map_err(|e| Error::from_kube(doing, e))?;
        let preferred = |g: &APIGroup| Some(g.preferred_version.as_ref().or(g.versions.first())?.group_version.clone());
        let others = groups.groups.iter().filter_map(preferred).filter(|version| !USUAL.contains(&version.as_str()));
        for api_version in others {
            if let Some(found) = self.named(&api_version).await?.into_iter().find(|named| named.is(&wanted)) {
                return Ok(found.kind);
            }
        }
        Err(Error::Absent {
            message: format!("the target has no kind {word}"),
            help: "list them with `kubectl api-resources`".into(),
        })
    }

    /// The kinds of one group and version; none where the target does not serve it.
    async fn named(&self, api_version: &str) -> Result<Vec<Named>, Error> {
        if let Some(known) = self.inner.kinds.by_version.lock().unwrap_or_else(|e| e.into_inner()).get(api_version) {
            return Ok(known.clone());
        }
        let doing = format!("asking which kinds {api_version} has");
        let answer = match api_version.contains('/') {
            true => self.client().list_api_group_resources(api_version).await,
            false => self.client().list_core_api_resources(api_version).await,
        };
        let found = match answer.map_err(|e| Error::from_kube(doing, e)) {
            Ok(list) => list.resources.into_iter().filter_map(|r| named(api_version, r)).collect(),
            Err(error) if error.is_not_found() => vec![],
            Err(error) => return Err(error),
        };
        let mut known = self.inner.kinds.by_version.lock().unwrap_or_else(|e| e.into_inner());
        known.insert(api_version.to_owned(), found.clone());
        Ok(found)
    }

    /// Forgets what discovery said: after a CustomResourceDefinition was applied or deleted.
    pub fn forget_kinds(&self) {
        self.inner.kinds.by_version.lock().unwrap_or_else(|e| e.into_inner()).clear();
    }
}

fn named(api_version: &str, resource: APIResource) -> Option<Named> {
    // Subresources are listed as `pods/log`.
    if resource.name.contains('/') {
        return None;
    }
    Some(Named {
        kind: Kind::fixed(api_version, &resource.kind, &resource.name, resource.namespaced),
        singular: resource.singular_name,
        short: resource.short_names.unwrap_or_default(),
    })
}

fn absent(api_version: &str, kind: &str) -> Error {
    let help = match api_version.split('/').next().unwrap_or_default().ends_with("istio.io") {
        true => "install Istio, or its CustomResourceDefinitions (`istioctl install` or the chart istio/base)",
        false => "see `kubectl api-resources`; a CustomResourceDefinition may be missing",
    };
    Error::Absent { message: format!("the target has no kind {kind} in {api_version}"), help: help.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_group_and_the_scope() {
        let pod = built_in("v1", "Pod").unwrap();
        assert_eq!(pod.path(Some("mesh-test")), "/api/v1/namespaces/mesh-test/pods");
        assert_eq!(pod.path(None), "/api/v1/pods");
        let namespace = built_in("v1", "Namespace").unwrap();
        assert_eq!(namespace.path(Some("ignored")), "/api/v1/namespaces");
        let gateway = Kind::fixed("networking.istio.io/v1", "Gateway", "gateways", true);
        assert_eq!(gateway.path(Some("a")), "/apis/networking.istio.io/v1/namespaces/a/gateways");
    }
}

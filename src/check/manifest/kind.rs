//! `apiVersion` and `kind`: whether there is such a thing, as far as that can be known without a cluster.

use super::place;
use crate::diag::Diagnostic;
use crate::diag::suggest::nearest;
use crate::istio::schema::{Kind, schema};
use crate::kubernetes::schema::{Schema, Type};
use crate::plan::ManifestObject;

/// Kubernetes' own kinds by group.
pub(super) const BUILTIN: &[(&str, &str)] = &[
    (
        "",
        "ConfigMap Endpoints Event LimitRange Namespace Node Pod ReplicationController ResourceQuota Secret Service ServiceAccount PersistentVolumeClaim PodTemplate PersistentVolume Binding",
    ),
    ("apps", "DaemonSet Deployment ReplicaSet StatefulSet ControllerRevision"),
    ("batch", "Job CronJob"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("policy", "PodDisruptionBudget"),
    ("networking.k8s.io", "NetworkPolicy Ingress IngressClass IPAddress ServiceCIDR"),
    ("rbac.authorization.k8s.io", "ClusterRole ClusterRoleBinding Role RoleBinding"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("coordination.k8s.io", "Lease"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
];

/// The field types of a kind; open for kinds that are not Kubernetes' own.
pub fn type_of(api_version: &str, kind: &str) -> Type {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let own = !group.contains('.') || group.ends_with(".k8s.io");
    Schema::builtin().kind(if own { group } else { "custom" }, version, kind)
}

pub fn check(object: &ManifestObject, api_version: &str, kind: &str) -> Vec<Diagnostic> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if group.ends_with(".istio.io") {
        return istio(object, group, api_version, kind).into_iter().collect();
    }
    let here = BUILTIN.iter().find(|(g, _)| *g == group);
    let at_version = || place::of_value(object, "/apiVersion");
    let at_kind = || place::of_value(object, "/kind");
    let refuse = |title: String| Diagnostic::error("E0315", title);
    let Some((_, kinds)) = here else {
        // A group of some other definition, unless it is a known one misspelt.
        let known = schema().kind_named(kind).filter(|k| group == "istio.io" || nearest(group, [k.group]).is_some());
        let d = known.map(|k| {
            refuse(format!("no such apiVersion: {api_version}"))
                .at(at_version(), format!("did you mean `{}`?", preferred(k)))
        });
        return d.into_iter().collect();
    };
    if kinds.split(' ').any(|k| k == kind) {
        let stable = version == "v1" || matches!(group, "autoscaling" | "batch" | "policy" | "networking.k8s.io");
        if stable {
            return vec![];
        }
        let right = if group.is_empty() { "v1".to_string() } else { format!("{group}/v1") };
        return vec![
            refuse(format!("{kind} is not served as {api_version}")).at(at_version(), format!("write `{right}`")),
        ];
    }
    if let Some(right) = elsewhere(kind) {
        let d = refuse(format!("{kind} is not of {api_version}")).at(at_version(), format!("write `{right}`"));
        return vec![d];
    }
    let all = BUILTIN.iter().flat_map(|(_, kinds)| kinds.split(' ')).chain(schema().kinds.iter().map(|k| k.name));
    let title = format!("no such kind in {api_version}: {kind}");
    match nearest(kind, all) {
        Some(near) => vec![refuse(title).at(at_kind(), format!("did you mean `{near}`?"))],
        None if group.is_empty() => vec![refuse(title).at(at_kind(), "Kubernetes has no such kind")],
        None => vec![],
    }
}

fn istio(object: &ManifestObject, group: &str, api_version: &str, kind: &str) -> Option<Diagnostic> {
    let at_version = || place::of_value(object, "/apiVersion");
    let known = schema().kind_named(kind);
    let title = format!("no such kind in {api_version}: {kind}");
    let d = Diagnostic::error("E0315", title);
    match known {
        Some(known) if known.serves(api_version) => None,
        Some(known) => Some(d.at(at_version(), format!("write `{}`", preferred(known))).help(format!(
            "{kind} is served as {}",
            known.versions.iter().map(|v| format!("{}/{v}", known.group)).collect::<Vec<_>>().join(", ")
        ))),
        // Newer definitions than these may be there; of the groups that are known all kinds are known.
        None if !schema().kinds.iter().any(|k| k.group == group) => None,
        None => {
            let near = nearest(kind, schema().kinds.iter().map(|k| k.name));
            let label = near.map_or("Istio has no such kind".into(), |near| format!("did you mean `{near}`?"));
            Some(d.at(place::of_value(object, "/kind"), label))
        }
    }
}

fn preferred(kind: &Kind) -> String {
    format!("{}/{}", kind.group, kind.versions.first().copied().unwrap_or("v1"))
}

/// The apiVersion of a kind that belongs to another group.
fn elsewhere(kind: &str) -> Option<String> {
    let builtin =
        BUILTIN.iter().find(|(_, kinds)| kinds.split(' ').any(|k| k == kind)).map(|(group, _)| match *group {
            "" => "v1".to_string(),
            "autoscaling" => "autoscaling/v2".to_string(),
            group => format!("{group}/v1"),
        });
    builtin.or_else(|| schema().kind_named(kind).map(preferred))
}

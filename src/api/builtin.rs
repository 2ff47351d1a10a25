//! The built-in resources.

use super::resource::{Resource, resource_id};

/// group, version, kind, plural, short names, categories, namespaced, subresources
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, bool, &'static str);

const ADMISSION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

const ROWS: &[Row] = &[
    ("", "v1", "ConfigMap", "configmaps", "cm", "", true, ""),
    ("", "v1", "Endpoints", "endpoints", "ep", "", true, ""),
    ("", "v1", "Event", "events", "ev", "", true, ""),
    ("", "v1", "LimitRange", "limitranges", "limits", "", true, ""),
    ("", "v1", "Namespace", "namespaces", "ns", "", false, "status finalize"),
    ("", "v1", "Node", "nodes", "no", "", false, "status"),
    ("", "v1", "PersistentVolume", "persistentvolumes", "pv", "", false, "status"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", "", true, "status"),
    ("", "v1", "PodTemplate", "podtemplates", "", "", true, ""),
    (
        "",
        "v1",
        "Pod",
        "pods",
        "po",
        "all",
        true,
        "status log exec attach portforward binding eviction ephemeralcontainers",
    ),
    ("", "v1", "ReplicationController", "replicationcontrollers", "rc", "all", true, "status scale"),
    ("", "v1", "ResourceQuota", "resourcequotas", "quota", "", true, "status"),
    ("", "v1", "Secret", "secrets", "", "", true, ""),
    ("", "v1", "ServiceAccount", "serviceaccounts", "sa", "", true, "token"),
    ("", "v1", "Service", "services", "svc", "all", true, "status"),
    ("apps", "v1", "ControllerRevision", "controllerrevisions", "", "", true, ""),
    ("apps", "v1", "DaemonSet", "daemonsets", "ds", "all", true, "status"),
    ("apps", "v1", "Deployment", "deployments", "deploy", "all", true, "status scale"),
    ("apps", "v1", "ReplicaSet", "replicasets", "rs", "all", true, "status scale"),
    ("apps", "v1", "StatefulSet", "statefulsets", "sts", "all", true, "status scale"),
    ("batch", "v1", "CronJob", "cronjobs", "cj", "all", true, "status"),
    ("batch", "v1", "Job", "jobs", "", "all", true, "status"),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "", "", true, ""),
    ("coordination.k8s.io", "v1", "Lease", "leases", "", "", true, ""),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", "netpol", "", true, ""),
    ("networking.k8s.io", "v1", "Ingress", "ingresses", "ing", "", true, "status"),
    ("networking.k8s.io", "v1", "IngressClass", "ingressclasses", "", "", false, ""),
    (RBAC, "v1", "ClusterRole", "clusterroles", "", "", false, ""),
    (RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", "", "", false, ""),
    (RBAC, "v1", "Role", "roles", "", "", true, ""),
    (RBAC, "v1", "RoleBinding", "rolebindings", "", "", true, ""),
    (ADMISSION, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "", "api-extensions", false, ""),
    (
        ADMISSION,
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "",
        "api-extensions",
        false,
        "",
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "crd crds",
        "api-extensions",
        false,
        "status",
    ),
];

/// Kinds that are only ever created, and answered at once.
const REVIEWS: &[(&str, &str, &str)] = &[
    ("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
    ("authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews"),
    ("authentication.k8s.io", "TokenReview", "tokenreviews"),
    ("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews"),
];

pub fn resources() -> Vec<Resource> {
    let words = |s: &str| s.split_whitespace().map(str::to_string).collect::<Vec<_>>();
    let mut all: Vec<Resource> = ROWS
        .iter()
        .map(|(group, version, kind, plural, short, categories, namespaced, subresources)| Resource {
            id: resource_id(group, plural),
            group: group.to_string(),
            versions: vec![version.to_string()],
            kind: kind.to_string(),
            plural: plural.to_string(),
            singular: kind.to_lowercase(),
            short_names: words(short),
            categories: words(categories),
            namespaced: *namespaced,
            subresources: words(subresources),
            columns: None,
            create_only: false,
            schemas: Default::default(),
        })
        .collect();
    all.extend(REVIEWS.iter().map(|(group, kind, plural)| Resource {
        id: resource_id(group, plural),
        group: group.to_string(),
        versions: vec!["v1".into()],
        kind: kind.to_string(),
        plural: plural.to_string(),
        singular: kind.to_lowercase(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: false,
        subresources: Vec::new(),
        columns: None,
        create_only: true,
        schemas: Default::default(),
    }));
    all
}

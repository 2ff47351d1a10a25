//! Istio's custom resources as the API server is told about them: names, versions and printer columns
//! of Istio 1.30's CustomResourceDefinitions.

use super::istio_openapi;
use crate::api::{Column, CustomResource, Schemas};
use crate::istio::schema::schema;
use std::sync::Arc;

const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set \
     in happens-before order across separate operations. Clients may not set this value. It is represented in \
     RFC3339 form and is in UTC. Populated by the system. Read-only. Null for lists. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// kind, plural, singular, short names, columns (name, path, description)
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str, &'static str)],
);

const NETWORKING: &[Row] = &[
    (
        "DestinationRule",
        "destinationrules",
        "destinationrule",
        &["dr"],
        &[("Host", ".spec.host", "The name of a service from the service registry"), ("Age", "", "")],
    ),
    ("Gateway", "gateways", "gateway", &["gw"], &[]),
    (
        "ServiceEntry",
        "serviceentries",
        "serviceentry",
        &["se"],
        &[
            ("Hosts", ".spec.hosts", "The hosts associated with the ServiceEntry"),
            (
                "Location",
                ".spec.location",
                "Whether the service is external to the mesh or part of the mesh (MESH_EXTERNAL or MESH_INTERNAL)",
            ),
            ("Resolution", ".spec.resolution", "Service resolution mode for the hosts (NONE, STATIC, or DNS)"),
            ("Age", "", ""),
        ],
    ),
    ("Sidecar", "sidecars", "sidecar", &[], &[]),
    (
        "VirtualService",
        "virtualservices",
        "virtualservice",
        &["vs"],
        &[
            ("Gateways", ".spec.gateways", "The names of gateways and sidecars that should apply these routes"),
            ("Hosts", ".spec.hosts", "The destination hosts to which traffic is being sent"),
            ("Age", "", ""),
        ],
    ),
    (
        "WorkloadEntry",
        "workloadentries",
        "workloadentry",
        &["we"],
        &[("Age", "", ""), ("Address", ".spec.address", "Address associated with the network endpoint.")],
    ),
    ("WorkloadGroup", "workloadgroups", "workloadgroup", &["wg"], &[("Age", "", "")]),
];

const SECURITY: &[Row] = &[
    (
        "AuthorizationPolicy",
        "authorizationpolicies",
        "authorizationpolicy",
        &["ap"],
        &[("Action", ".spec.action", "The operation to take."), ("Age", "", "")],
    ),
    (
        "PeerAuthentication",
        "peerauthentications",
        "peerauthentication",
        &["pa"],
        &[("Mode", ".spec.mtls.mode", "Defines the mTLS mode used for peer authentication."), ("Age", "", "")],
    ),
    ("RequestAuthentication", "requestauthentications", "requestauthentication", &["ra"], &[]),
];

const TELEMETRY: &[Row] = &[("Telemetry", "telemetries", "telemetry", &["telemetry"], &[("Age", "", "")])];
const EXTENSIONS: &[Row] = &[
    ("TrafficExtension", "trafficextensions", "trafficextension", &[], &[("Age", "", "")]),
    ("WasmPlugin", "wasmplugins", "wasmplugin", &[], &[("Age", "", "")]),
];
const FILTERS: &[Row] = &[("EnvoyFilter", "envoyfilters", "envoyfilter", &[], &[])];
const PROXY_CONFIGS: &[Row] = &[("ProxyConfig", "proxyconfigs", "proxyconfig", &[], &[])];

/// All of Istio's resources, each served in its versions and stored in the first.
pub fn istio_kinds() -> Vec<CustomResource> {
    let tables: [(&str, &[&str], &[Row]); 6] = [
        ("networking.istio.io", &["v1", "v1beta1", "v1alpha3"], NETWORKING),
        ("networking.istio.io", &["v1alpha3"], FILTERS),
        ("networking.istio.io", &["v1beta1"], PROXY_CONFIGS),
        ("security.istio.io", &["v1", "v1beta1"], SECURITY),
        ("telemetry.istio.io", &["v1alpha1", "v1"], TELEMETRY),
        ("extensions.istio.io", &["v1alpha1"], EXTENSIONS),
    ];
    let mut all = Vec::new();
    for (group, versions, rows) in tables {
        for row in rows {
            all.push(resource(group, versions, row));
        }
    }
    all
}

fn resource(group: &str, versions: &[&str], row: &Row) -> CustomResource {
    let (kind, plural, singular, short_names, columns) = row;
    let words = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    CustomResource {
        group: group.into(),
        versions: words(versions),
        kind: kind.to_string(),
        plural: plural.to_string(),
        singular: singular.to_string(),
        short_names: words(short_names),
        categories: vec!["istio-io".into(), format!("{}-istio-io", group.split('.').next().unwrap_or(group))],
        namespaced: true,
        columns: columns
            .iter()
            .map(|(name, path, description)| match *path {
                "" => Column::new(name, "date", ".metadata.creationTimestamp", AGE),
                path => Column::new(name, "string", path, description),
            })
            .collect(),
        status: true,
        schemas: schemas(kind, versions),
    }
}

/// What values are refused is `istio_admission`'s to say: in the words of the schema, then of istiod's webhook.
fn schemas(kind: &str, versions: &[&str]) -> Schemas {
    let Some(described) = schema().kind_named(kind) else { return Schemas::default() };
    let document = Arc::new(istio_openapi::of(described));
    let versions = versions.iter().map(|version| (version.to_string(), document.clone())).collect();
    Schemas { versions, checked: false }
}

//! The objects by kind, with their places, and the parts of them that links are made of.

use super::host;
use crate::diag::Place;
use crate::plan::{ManifestObject, ObjectRef};
use serde_json::Value;

/// An object and its identity.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    object: &'a ManifestObject,
    pub namespace: &'a str,
    pub name: &'a str,
    /// Known to be there, and not to be judged.
    pub ambient: bool,
}

impl<'a> Object<'a> {
    pub fn get(&self, pointer: &str) -> Option<&'a Value> {
        self.object.body.pointer(pointer)
    }

    /// Whether its `exportTo` lets another namespace see it.
    pub fn is_visible_from(&self, namespace: &str) -> bool {
        let to: Vec<&str> = self.list("/spec/exportTo").iter().filter_map(Value::as_str).collect();
        to.is_empty() || to.iter().any(|t| *t == "*" || *t == namespace || *t == "." && self.namespace == namespace)
    }

    pub fn kind(&self) -> &'a str {
        &self.object.identity.kind
    }

    /// The labels of a workload's pods.
    pub fn labels(&self) -> Option<&'a Value> {
        self.get(if self.kind() == "Pod" { "/metadata/labels" } else { "/spec/template/metadata/labels" })
    }

    pub fn text(&self, pointer: &str) -> Option<&'a str> {
        self.get(pointer).and_then(Value::as_str)
    }

    pub fn list(&self, pointer: &str) -> &'a [Value] {
        self.get(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Where a pointer stands, or the nearest thing around it that is written.
    pub fn at(&self, pointer: &str) -> Place {
        place(self.object, pointer)
    }
}

/// Where a JSON pointer of an object stands in its manifest, or the nearest thing around it.
pub fn place(object: &ManifestObject, pointer: &str) -> Place {
    let mut pointer = pointer;
    loop {
        if let Ok(i) = object.spans.binary_search_by(|(p, _)| p.as_str().cmp(pointer)) {
            return Place { source: object.place.source.clone(), span: object.spans[i].1.clone() };
        }
        match pointer.rfind('/') {
            Some(i) => pointer = &pointer[..i],
            None => return object.place.clone(),
        }
    }
}

/// One server of a Gateway.
#[derive(Clone)]
pub struct Server<'a> {
    pub gateway: Object<'a>,
    /// `/spec/servers/0`.
    pub pointer: String,
    pub port: u64,
    pub protocol: String,
    /// `tls.mode`; empty without TLS. `SIMPLE` when TLS is given without a mode.
    pub mode: &'a str,
    pub hosts: Vec<&'a str>,
}

impl Server<'_> {
    /// The gateway ends the client's TLS, so what is inside is routed, not the SNI.
    pub fn terminates(&self) -> bool {
        matches!(self.mode, "SIMPLE" | "MUTUAL" | "ISTIO_MUTUAL" | "OPTIONAL_MUTUAL")
    }

    pub fn passes(&self) -> bool {
        matches!(self.mode, "PASSTHROUGH" | "AUTO_PASSTHROUGH")
    }

    /// Carries HTTP behind the TLS it ends.
    pub fn is_http(&self) -> bool {
        matches!(self.protocol.as_str(), "HTTP" | "HTTP2" | "GRPC" | "HTTPS" | "GRPC-WEB")
    }

    pub fn serves(&self, host: &str) -> bool {
        self.hosts.iter().any(|h| host::overlap(host::without_namespace(h), host))
    }
}

/// A `route` entry of a VirtualService: where traffic goes.
#[derive(Clone)]
pub struct Destination<'a> {
    pub pointer: String,
    /// In full: short names with the VirtualService's namespace.
    pub host: String,
    pub written: &'a str,
    pub subset: Option<&'a str>,
    pub port: Option<u64>,
}

/// One `match` of a route, or the route itself when it has none.
#[derive(Clone)]
pub struct Leg<'a> {
    pub kind: &'static str,
    pub route: String,
    pub pointer: String,
    /// Names as written; those of the VirtualService when the match names none.
    pub gateways: Vec<&'a str>,
    pub port: Option<u64>,
    pub sni_hosts: Vec<&'a str>,
}

#[derive(Default)]
pub struct Index<'a> {
    pub gateways: Vec<Object<'a>>,
    pub virtual_services: Vec<Object<'a>>,
    pub destination_rules: Vec<Object<'a>>,
    pub service_entries: Vec<Object<'a>>,
    pub services: Vec<Object<'a>>,
    /// Sidecars, and policies that select workloads.
    pub selecting: Vec<Object<'a>>,
    /// Deployments and their like, and pods.
    pub workloads: Vec<Object<'a>>,
}

impl<'a> Index<'a> {
    /// The last of several objects with one identity counts: it was applied last.
    pub fn new(objects: &'a [ManifestObject], ambient: &'a [ManifestObject], namespace: &'a str) -> Self {
        let mut index = Index::default();
        ambient.iter().for_each(|object| index.add(object, true, namespace));
        objects.iter().for_each(|object| index.add(object, false, namespace));
        index
    }

    /// Adds an object, in the stead of one with the same identity; `namespace` is where one is that names none.
    pub fn add(&mut self, object: &'a ManifestObject, ambient: bool, namespace: &'a str) {
        let identity = &*object.identity;
        let namespace = if identity.namespace.is_empty() { namespace } else { &identity.namespace };
        let new = Object { object, namespace, name: &identity.name, ambient };
        let place = |list: &mut Vec<Object<'a>>| {
            list.retain(|o| (o.name, o.namespace, o.kind()) != (new.name, new.namespace, new.kind()));
            list.push(new);
        };
        match (identity.group(), identity.kind.as_str()) {
            ("networking.istio.io", "Gateway") => place(&mut self.gateways),
            ("networking.istio.io", "VirtualService") => place(&mut self.virtual_services),
            ("networking.istio.io", "DestinationRule") => {
                place(&mut self.destination_rules);
                // A rule may select, too.
                if new.get("/spec/workloadSelector").is_some() {
                    place(&mut self.selecting);
                }
            }
            ("networking.istio.io", "ServiceEntry") => place(&mut self.service_entries),
            ("v1", "Service") => place(&mut self.services),
            ("networking.istio.io", "Sidecar" | "EnvoyFilter")
            | ("security.istio.io", _)
            | ("telemetry.istio.io", "Telemetry")
            | ("extensions.istio.io", "WasmPlugin") => place(&mut self.selecting),
            ("apps", "Deployment" | "StatefulSet" | "DaemonSet") | ("v1", "Pod") => place(&mut self.workloads),
            _ => {}
        }
    }

    /// Takes out what a `delete` step names.
    pub fn remove(&mut self, gone: &ObjectRef) {
        let stays = |o: &Object<'a>| {
            o.name != gone.name
                || !o.kind().eq_ignore_ascii_case(&gone.kind)
                || gone.namespace.as_ref().is_some_and(|n| n != o.namespace)
        };
        for list in [
            &mut self.gateways,
            &mut self.virtual_services,
            &mut self.destination_rules,
            &mut self.service_entries,
            &mut self.services,
            &mut self.selecting,
            &mut self.workloads,
        ] {
            list.retain(stays);
        }
    }

    pub fn servers(&self) -> impl Iterator<Item = Server<'a>> {
        self.gateways.iter().flat_map(|g| servers(*g))
    }

    /// The gateway that a VirtualService names: `name`, or `namespace/name`.
    pub fn gateway(&self, name: &str, namespace: &str) -> Option<Object<'a>> {
        let (namespace, name) = name.split_once('/').unwrap_or((namespace, name));
        self.gateways.iter().find(|g| g.namespace == namespace && g.name == name).copied()
    }

    pub fn service(&self, host: &str) -> Option<Object<'a>> {
        self.services.iter().find(|s| format!("{}.{}.svc.cluster.local", s.name, s.namespace) == host).copied()
    }

    pub fn entries_of(&self, host: &str) -> Vec<Object<'a>> {
        let names =
            |e: &Object<'a>| e.list("/spec/hosts").iter().filter_map(Value::as_str).any(|h| host::matches(h, host));
        self.service_entries.iter().filter(|e| names(e)).copied().collect()
    }

    pub fn rules_of(&self, host: &str) -> Vec<Object<'a>> {
        let names =
            |r: &Object<'a>| r.text("/spec/host").is_some_and(|h| host::matches(&host::full(h, r.namespace), host));
        self.destination_rules.iter().filter(|r| names(r)).copied().collect()
    }
}

pub fn servers(gateway: Object<'_>) -> Vec<Server<'_>> {
    let list = gateway.list("/spec/servers").iter().enumerate();
    list.map(|(i, server)| {
        let text = |p: &str| server.pointer(p).and_then(Value::as_str).unwrap_or("");
        let tls =
            server.get("tls").is_some_and(|t| t.is_object() && t.get("httpsRedirect") != Some(&Value::Bool(true)));
        Server {
            gateway,
            pointer: format!("/spec/servers/{i}"),
            port: server.pointer("/port/number").and_then(Value::as_u64).unwrap_or(0),
            protocol: text("/port/protocol").to_uppercase(),
            mode: match text("/tls/mode") {
                "" if tls => "SIMPLE",
                mode => mode,
            },
            hosts: server
                .get("hosts")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect(),
        }
    })
    .collect()
}

/// The gateways that a VirtualService names; `mesh` alone when it names none.
pub fn gateways_of<'a>(service: &Object<'a>) -> Vec<&'a str> {
    let named: Vec<&str> = service.list("/spec/gateways").iter().filter_map(Value::as_str).collect();
    if named.is_empty() { vec!["mesh"] } else { named }
}

/// The legs of a VirtualService: every match of its `http`, `tls` and `tcp` routes.
pub fn legs<'a>(service: &Object<'a>) -> Vec<Leg<'a>> {
    let own = gateways_of(service);
    let mut out = vec![];
    for kind in ["http", "tls", "tcp"] {
        for (i, route) in service.list(&format!("/spec/{kind}")).iter().enumerate() {
            let at = format!("/spec/{kind}/{i}");
            let matches = route.get("match").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            if matches.is_empty() {
                let leg =
                    Leg { kind, route: at.clone(), pointer: at, gateways: own.clone(), port: None, sni_hosts: vec![] };
                out.push(leg);
                continue;
            }
            for (j, m) in matches.iter().enumerate() {
                let words = |f: &str| {
                    m.get(f)
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .collect::<Vec<_>>()
                };
                let named = words("gateways");
                out.push(Leg {
                    kind,
                    route: at.clone(),
                    pointer: format!("{at}/match/{j}"),
                    gateways: if named.is_empty() { own.clone() } else { named },
                    port: m.get("port").and_then(Value::as_u64),
                    sni_hosts: words("sniHosts"),
                });
            }
        }
    }
    out
}

/// The destinations of one route (`/spec/tls/0`).
pub fn destinations<'a>(service: &Object<'a>, route: &str) -> Vec<Destination<'a>> {
    let list = service.list(&format!("{route}/route")).iter().enumerate();
    list.filter_map(|(i, entry)| {
        let written = entry.pointer("/destination/host").and_then(Value::as_str)?;
        Some(Destination {
            pointer: format!("{route}/route/{i}/destination"),
            host: host::full(written, service.namespace),
            written,
            subset: entry.pointer("/destination/subset").and_then(Value::as_str),
            port: entry.pointer("/destination/port/number").and_then(Value::as_u64),
        })
    })
    .collect()
}

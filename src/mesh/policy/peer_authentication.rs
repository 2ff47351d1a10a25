//! PeerAuthentication: which mutual TLS mode a workload's port has.

use crate::mesh::json::{fields, labels, labels_match, present, text};
use crate::mesh::mesh_config::MeshConfig;
use crate::mesh::object::{Object, sort};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// No policy says anything.
    #[default]
    Unknown,
    Disable,
    Permissive,
    Strict,
}

impl Mode {
    /// `None` for UNSET and anything else.
    fn read(mtls: &Value) -> Option<Self> {
        match text(&mtls["mode"]) {
            "DISABLE" => Some(Self::Disable),
            "PERMISSIVE" => Some(Self::Permissive),
            "STRICT" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// What applies to one workload.
#[derive(Debug, Clone)]
pub struct Composed {
    mode: Mode,
    pub ports: BTreeMap<u32, Mode>,
}

impl Composed {
    pub fn for_port(&self, port: u32) -> Mode {
        self.ports.get(&port).copied().unwrap_or(self.mode)
    }
}

#[derive(Debug, Default)]
pub struct PeerAuthentications {
    by_namespace: HashMap<String, Vec<Object>>,
    namespace_mode: HashMap<String, Mode>,
    global: Mode,
    root_namespace: String,
}

fn selector(policy: &Object) -> BTreeMap<String, String> {
    labels(&policy.spec()["selector"]["matchLabels"])
}

impl PeerAuthentications {
    pub fn read(objects: &HashMap<String, Vec<Object>>, mesh: &MeshConfig) -> Self {
        let mut all = Self { root_namespace: mesh.root_namespace.clone(), ..Self::default() };
        let mut sorted = objects.get("PeerAuthentication").cloned().unwrap_or_default();
        sort(&mut sorted);
        let mut namespaces: HashMap<String, Option<Mode>> = HashMap::new();
        for policy in sorted {
            if selector(&policy).is_empty() {
                // Only the oldest policy without a selector counts in a namespace.
                if namespaces.contains_key(&policy.namespace) {
                    continue;
                }
                let mode = Mode::read(&policy.spec()["mtls"]);
                if policy.namespace == all.root_namespace {
                    all.global = mode.unwrap_or(Mode::Permissive);
                }
                namespaces.insert(policy.namespace.clone(), mode);
            }
            all.by_namespace.entry(policy.namespace.clone()).or_default().push(policy);
        }
        let inherited = if all.global == Mode::Unknown { Mode::Permissive } else { all.global };
        all.namespace_mode = namespaces
            .into_iter()
            .filter(|(ns, _)| *ns != all.root_namespace)
            .map(|(ns, mode)| (ns, mode.unwrap_or(inherited)))
            .collect();
        all
    }

    /// The mode that a client assumes for services of a namespace.
    pub fn namespace_mode(&self, namespace: &str) -> Mode {
        self.namespace_mode.get(namespace).copied().unwrap_or(self.global)
    }

    /// Mesh, namespace and workload policies of one workload, the nearer over the farther.
    pub fn compose(&self, namespace: &str, workload: &BTreeMap<String, String>) -> Composed {
        let of = |ns: &str| self.by_namespace.get(ns).map_or(&[][..], Vec::as_slice);
        let plain = |ns: &str| of(ns).iter().find(|p| selector(p).is_empty());
        let mut mode = Mode::Permissive;
        let mesh = plain(&self.root_namespace);
        let own = if namespace == self.root_namespace { None } else { plain(namespace) };
        let selected = if namespace == self.root_namespace {
            None
        } else {
            of(namespace).iter().find(|p| !selector(p).is_empty() && labels_match(&selector(p), workload))
        };
        for policy in [mesh, own, selected].into_iter().flatten() {
            mode = Mode::read(&policy.spec()["mtls"]).unwrap_or(mode);
        }
        let mut ports = BTreeMap::new();
        if let Some(policy) = selected.filter(|p| present(&p.spec()["portLevelMtls"])) {
            for (port, mtls) in fields(&policy.spec()["portLevelMtls"]) {
                if let Ok(port) = port.parse() {
                    ports.insert(port, Mode::read(mtls).unwrap_or(mode));
                }
            }
        }
        Composed { mode, ports }
    }
}

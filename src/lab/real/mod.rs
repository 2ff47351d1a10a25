//! Real parts in place of the lab's own: kube-apiserver on etcd, and istiod. The rest of the lab is the same, and
//! knows them through the Kubernetes API and xDS only. `docs/real-parts.md` has the options.

pub mod api_server;
pub mod certificate_request;
pub mod istio_crds;
pub mod istiod;
pub mod part;
pub mod webhook;

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The programs to use. What is `None` is played by the lab itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealParts {
    /// With `etcd`.
    pub kube_apiserver: Option<PathBuf>,
    pub etcd: Option<PathBuf>,
    /// For what the lab's controllers leave to the lab's API server: garbage collection and the end of namespaces.
    pub kube_controller_manager: Option<PathBuf>,
    /// `pilot-discovery`.
    pub istiod: Option<PathBuf>,
    /// Istio's CustomResourceDefinitions, for the kube-apiserver; without it, definitions without schemas.
    pub istio_crds: Option<PathBuf>,
}

/// (variable, what it names), in the order of [`RealParts`]'s fields.
pub const VARIABLES: [(&str, &str); 5] = [
    ("EGRESS_SCN_KUBE_APISERVER", "kube-apiserver"),
    ("EGRESS_SCN_ETCD", "etcd"),
    ("EGRESS_SCN_KUBE_CONTROLLER_MANAGER", "kube-controller-manager"),
    ("EGRESS_SCN_ISTIOD", "istiod (pilot-discovery)"),
    ("EGRESS_SCN_ISTIO_CRDS", "Istio's CustomResourceDefinitions"),
];

impl RealParts {
    /// What the environment names.
    ///
    /// # Errors
    /// A variable names no file, or a kube-apiserver lacks what it cannot be without.
    pub fn of_environment() -> Result<RealParts, String> {
        RealParts::read(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn read(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<RealParts, String> {
        let mut found = vec![];
        for (name, what) in VARIABLES {
            let path = match variable(name) {
                None => None,
                // The lab's process runs elsewhere.
                Some(path) => match std::fs::canonicalize(&path) {
                    Ok(path) if path.is_file() => Some(path),
                    _ => return Err(format!("{name} should name {what}, and {} is no file", path.display())),
                },
            };
            found.push(path);
        }
        let mut found = found.into_iter();
        let mut next = || found.next().flatten();
        let parts = RealParts {
            kube_apiserver: next(),
            etcd: next(),
            kube_controller_manager: next(),
            istiod: next(),
            istio_crds: next(),
        };
        let together = [&parts.kube_apiserver, &parts.etcd, &parts.kube_controller_manager];
        let given = together.iter().filter(|part| part.is_some()).count();
        if given != 0 && given != together.len() {
            let missing: Vec<&str> =
                VARIABLES.iter().zip(together).filter(|(_, part)| part.is_none()).map(|((name, _), _)| *name).collect();
            return Err(format!(
                "kube-apiserver, etcd and kube-controller-manager go together: set {} too",
                missing.join(" and ")
            ));
        }
        if parts.istio_crds.is_some() && given == 0 {
            return Err("EGRESS_SCN_ISTIO_CRDS is for a real kube-apiserver: set EGRESS_SCN_KUBE_APISERVER too".into());
        }
        Ok(parts)
    }

    /// The real parts in words, or nothing when all parts are the lab's own.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = vec![];
        if self.kube_apiserver.is_some() {
            names.push("kube-apiserver on etcd");
        }
        if self.istiod.is_some() {
            names.push("istiod");
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[&str]) -> Result<RealParts, String> {
        RealParts::read(|name| set.contains(&name).then(|| PathBuf::from("/proc/self/exe")))
    }

    #[test]
    fn parts_that_go_together_are_asked_for() {
        assert_eq!(read(&[]).unwrap(), RealParts::default());
        assert!(read(&["EGRESS_SCN_ISTIOD"]).unwrap().istiod.is_some());
        let alone = read(&["EGRESS_SCN_KUBE_APISERVER"]).unwrap_err();
        assert!(alone.contains("EGRESS_SCN_ETCD and EGRESS_SCN_KUBE_CONTROLLER_MANAGER"), "{alone}");
        assert!(read(&["EGRESS_SCN_ISTIO_CRDS"]).unwrap_err().contains("kube-apiserver"));
        let absent = RealParts::read(|name| (name == "EGRESS_SCN_ISTIOD").then(|| PathBuf::from("/nowhere/istiod")));
        assert!(absent.unwrap_err().contains("/nowhere/istiod is no file"));
    }
}

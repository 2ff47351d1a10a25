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

/// A part as users name it.
struct Named {
    /// Of `lab up`.
    option: &'static str,
    variable: &'static str,
    what: &'static str,
}

/// In the order of [`RealParts`]'s fields.
const PARTS: [Named; 5] = [
    Named { option: "--kube-apiserver", variable: "EGRESS_SCN_KUBE_APISERVER", what: "kube-apiserver" },
    Named { option: "--etcd", variable: "EGRESS_SCN_ETCD", what: "etcd" },
    Named {
        option: "--kube-controller-manager",
        variable: "EGRESS_SCN_KUBE_CONTROLLER_MANAGER",
        what: "kube-controller-manager",
    },
    Named { option: "--istiod", variable: "EGRESS_SCN_ISTIOD", what: "istiod (pilot-discovery)" },
    Named { option: "--istio-crds", variable: "EGRESS_SCN_ISTIO_CRDS", what: "Istio's CustomResourceDefinitions" },
];

impl RealParts {
    /// These, and for each that is `None` what the environment names.
    ///
    /// # Errors
    /// A path is no file, or a kube-apiserver lacks what it cannot be without.
    pub fn or_of_environment(self) -> Result<RealParts, String> {
        self.or(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn or(self, variable: impl Fn(&str) -> Option<PathBuf>) -> Result<RealParts, String> {
        let given = [self.kube_apiserver, self.etcd, self.kube_controller_manager, self.istiod, self.istio_crds];
        let mut found = [const { None }; PARTS.len()];
        for ((part, given), found) in PARTS.iter().zip(given).zip(&mut found) {
            let (name, path) = match given {
                Some(path) => (part.option, Some(path)),
                None => (part.variable, variable(part.variable)),
            };
            *found = match path {
                None => None,
                // The lab's process runs elsewhere.
                Some(path) => match std::fs::canonicalize(&path) {
                    Ok(path) if path.is_file() => Some(path),
                    _ => return Err(format!("{name} should name {}, and {} is no file", part.what, path.display())),
                },
            };
        }
        let [kube_apiserver, etcd, kube_controller_manager, istiod, istio_crds] = found;
        let together = [&kube_apiserver, &etcd, &kube_controller_manager];
        let given = together.iter().filter(|part| part.is_some()).count();
        if given != 0 && given != together.len() {
            let missing: Vec<String> = PARTS
                .iter()
                .zip(together)
                .filter(|(_, path)| path.is_none())
                .map(|(part, _)| format!("{} ({})", part.option, part.variable))
                .collect();
            return Err(format!(
                "kube-apiserver, etcd and kube-controller-manager go together: give {} too",
                missing.join(" and ")
            ));
        }
        if istio_crds.is_some() && given == 0 {
            return Err("--istio-crds (EGRESS_SCN_ISTIO_CRDS) is for a real kube-apiserver: give --kube-apiserver \
                 (EGRESS_SCN_KUBE_APISERVER) too"
                .into());
        }
        Ok(RealParts { kube_apiserver, etcd, kube_controller_manager, istiod, istio_crds })
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

    const SELF: &str = "/proc/self/exe";

    fn read(set: &[&str]) -> Result<RealParts, String> {
        RealParts::default().or(|name| set.contains(&name).then(|| PathBuf::from(SELF)))
    }

    #[test]
    fn parts_that_go_together_are_asked_for() {
        assert_eq!(read(&[]).unwrap(), RealParts::default());
        assert!(read(&["EGRESS_SCN_ISTIOD"]).unwrap().istiod.is_some());
        let alone = read(&["EGRESS_SCN_KUBE_APISERVER"]).unwrap_err();
        assert!(
            alone.contains(
                "--etcd (EGRESS_SCN_ETCD) and --kube-controller-manager (EGRESS_SCN_KUBE_CONTROLLER_MANAGER)"
            ),
            "{alone}"
        );
        assert!(read(&["EGRESS_SCN_ISTIO_CRDS"]).unwrap_err().contains("kube-apiserver"));
        let nowhere = |_: &str| Some(PathBuf::from("/nowhere/etcd"));
        let absent = RealParts::default().or(|name| nowhere(name).filter(|_| name == "EGRESS_SCN_ETCD"));
        assert_eq!(absent.unwrap_err(), "EGRESS_SCN_ETCD should name etcd, and /nowhere/etcd is no file");
    }

    #[test]
    fn an_option_goes_before_its_variable() {
        let given = || RealParts { etcd: Some(SELF.into()), ..RealParts::default() };
        let all = given().or(|name| (name != "EGRESS_SCN_ETCD").then(|| PathBuf::from(SELF))).unwrap();
        assert!(all.etcd.is_some() && all.istio_crds.is_some());
        // The variable is not even looked at.
        let broken = |name: &str| Some(PathBuf::from(if name == "EGRESS_SCN_ETCD" { "/nowhere/etcd" } else { SELF }));
        assert!(given().or(broken).is_ok());
        let absent = RealParts { istiod: Some("/nowhere/istiod".into()), ..RealParts::default() };
        assert!(absent.or(|_| None).unwrap_err().starts_with("--istiod should name istiod"));
    }
}

//! A reason why this machine cannot run the lab, with the command that mends it.
//! Shared by `doctor`, which looks for reasons beforehand, and by the lab, which meets them.

use nix::errno::Errno;
use std::fmt;

/// One reason, for a person: what is wrong and the one command (or act) that mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    pub problem: String,
    pub mend: Option<String>,
}

impl Obstacle {
    pub fn new(problem: impl Into<String>) -> Obstacle {
        Obstacle { problem: problem.into(), mend: None }
    }

    pub fn mended_by(problem: impl Into<String>, mend: impl Into<String>) -> Obstacle {
        Obstacle { problem: problem.into(), mend: Some(mend.into()) }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mend {
            Some(mend) => write!(f, "{}\n  to allow it: {mend}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for Obstacle {}

/// What the kernel lets its administrators forbid, as far as an ordinary user can read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Restrictions {
    /// `kernel.apparmor_restrict_unprivileged_userns` is 1 (Ubuntu 23.10 and later).
    apparmor: bool,
    /// `user.max_user_namespaces` is 0.
    none_left: bool,
    /// `kernel.unprivileged_userns_clone` is 0 (older Debian).
    debian: bool,
    container: bool,
}

impl Restrictions {
    fn read() -> Restrictions {
        let sysctl = |path: &str, value: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
        Restrictions {
            apparmor: sysctl("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
            none_left: sysctl("/proc/sys/user/max_user_namespaces", "0"),
            debian: sysctl("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            container: ["/.dockerenv", "/run/.containerenv"].iter().any(|path| std::path::Path::new(path).exists()),
        }
    }
}

/// Why a namespace could not be made, or a right inside it not be had.
pub fn namespace_refused(step: &str, errno: Errno) -> Obstacle {
    explain(step, errno, &Restrictions::read())
}

fn explain(step: &str, errno: Errno, found: &Restrictions) -> Obstacle {
    let denied = matches!(errno, Errno::EPERM | Errno::EACCES);
    if found.none_left && matches!(errno, Errno::ENOSPC | Errno::EPERM | Errno::EUSERS) {
        return Obstacle::mended_by(
            "this machine allows no user namespaces (user.max_user_namespaces is 0)",
            "sudo sysctl -w user.max_user_namespaces=10000",
        );
    }
    if errno == Errno::ENOSPC || errno == Errno::EUSERS {
        return Obstacle::mended_by(
            format!("{step}: this machine's limit of namespaces is reached ({errno})"),
            "sudo sysctl -w user.max_user_namespaces=10000 user.max_net_namespaces=10000 user.max_mnt_namespaces=10000",
        );
    }
    if denied && found.debian {
        return Obstacle::mended_by(
            "this machine allows user namespaces to root alone (kernel.unprivileged_userns_clone is 0)",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        );
    }
    if denied && found.apparmor {
        return Obstacle::mended_by(
            "AppArmor denies user namespaces to ordinary programs here \
             (kernel.apparmor_restrict_unprivileged_userns is 1, as on Ubuntu 24.04)",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        );
    }
    if denied && found.container {
        return Obstacle::mended_by(
            format!("{step}: this container's seccomp filter or missing CAP_SYS_ADMIN denies namespaces ({errno})"),
            "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
             --security-opt systempaths=unconfined ...",
        );
    }
    if errno == Errno::ENOSYS || errno == Errno::EINVAL {
        return Obstacle::new(format!("{step}: this kernel was built without the namespaces the lab needs ({errno})"));
    }
    Obstacle::new(format!("{step}: {errno}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_refusal_names_its_own_mend() {
        let mend = |errno, found: Restrictions| explain("unshare", errno, &found).mend.unwrap_or_default();
        let none = Restrictions::default;
        assert!(mend(Errno::ENOSPC, Restrictions { none_left: true, ..none() }).contains("max_user_namespaces=10000"));
        assert!(mend(Errno::EPERM, Restrictions { apparmor: true, ..none() }).contains("apparmor_restrict"));
        assert!(mend(Errno::EACCES, Restrictions { apparmor: true, ..none() }).contains("apparmor_restrict"));
        assert!(mend(Errno::EPERM, Restrictions { debian: true, ..none() }).contains("unprivileged_userns_clone=1"));
        assert!(mend(Errno::EPERM, Restrictions { container: true, ..none() }).contains("seccomp=unconfined"));
    }

    #[test]
    fn an_unknown_refusal_says_the_step_and_the_error_and_promises_nothing() {
        let found = explain("unshare", Errno::EPERM, &Restrictions::default());
        assert_eq!(found.problem, "unshare: EPERM: Operation not permitted");
        assert_eq!(found.mend, None);
    }
}

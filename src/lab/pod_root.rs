//! A pod's root directory: in memory, with the host's programs and libraries and what those read, and nothing of the host's
//! users. What a container has of an image, a pod has of the host, read-only.

use super::obstacle::Obstacle;
use super::pod_files::{make_file, mount_memory};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot, pivot_root};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What a pod has of the host's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// A root of its own, and these of the host in it: programs, sockets' folders. Those that are missing are left out.
    Container(Vec<PathBuf>),
    /// All, as who stands at this machine: an outside client, or a control plane that was brought along.
    Host,
}

impl Default for View {
    fn default() -> View {
        View::Container(Vec::new())
    }
}

/// While the pod's root is put together, the host's is beneath it here.
pub(super) const HOST: &str = "/.host";
/// Where it is put together: a folder that every host has.
const WORKSHOP: &str = "/tmp";

/// Folders of programs and libraries. Links among them (`/bin` to `usr/bin`) stay links.
const PROGRAMS: [&str; 11] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt", "nix", "gnu", "sys"];

/// What programs read of `/etc`, and names no user's secret.
const SETTINGS: [&str; 38] = [
    "alternatives",
    "bash.bashrc",
    "bash_completion.d",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "environment",
    "gai.conf",
    "group",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "ld-musl-x86_64.path",
    "locale.alias",
    "locale.conf",
    "localtime",
    "lsb-release",
    "magic",
    "mime.types",
    "networks",
    "nix",
    "openssl",
    "os-release",
    "passwd",
    "perl",
    "pki",
    "profile",
    "profile.d",
    "protocols",
    "rpc",
    "services",
    "shells",
    "ssl",
    "static",
    "terminfo",
];

/// Devices that every container has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Folders that are there and empty, and their modes.
const EMPTY: [(&str, u32); 15] = [
    ("etc", 0o755),
    ("dev", 0o755),
    ("dev/pts", 0o755),
    ("dev/shm", 0o1777),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("var/tmp", 0o1777),
];

/// What pods may write into memory: each of `/tmp` and `/dev/shm`.
const SCRATCH: &str = "mode=1777,size=268435456";

const NOTHING: Option<&str> = None;

/// Gives the calling thread a root of its own, with the host's still in sight at [`HOST`]; [`leave_host`] ends that.
pub(super) fn enter(shown: &[PathBuf]) -> Result<(), Obstacle> {
    let failed = |error: io::Error| Obstacle::new(format!("a pod's root directory: {error}"));
    put_together(Path::new(WORKSHOP), shown).map_err(failed)?;
    change_root(Path::new(WORKSHOP)).map_err(|errno| failed(errno.into()))
}

/// The host's files are out of sight from now on.
pub(super) fn leave_host() -> Result<(), Obstacle> {
    let left = umount2(HOST, MntFlags::MNT_DETACH).map_err(io::Error::from).and_then(|()| fs::remove_dir(HOST));
    left.map_err(|error| Obstacle::new(format!("leaving the host's root directory: {error}")))
}

fn put_together(root: &Path, shown: &[PathBuf]) -> io::Result<()> {
    // Opened beforehand: they may lie in the folder that is about to be covered.
    let shown: Vec<(&PathBuf, fs::File)> =
        shown.iter().filter_map(|path| Some((path, fs::File::open(path).or_else(|_| open_path(path)).ok()?))).collect();
    mount_memory(root)?;
    for (name, mode) in EMPTY {
        make_folder(&root.join(name), mode)?;
    }
    fs::create_dir(root.join(HOST.trim_start_matches('/')))?;
    symlink("/run", root.join("var/run"))?;
    for place in ["tmp", "dev/shm"] {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), &root.join(place), Some("tmpfs"), flags, Some(SCRATCH))?;
    }
    for name in PROGRAMS {
        show(&Path::new("/").join(name), &root.join(name))?;
    }
    for name in SETTINGS {
        show(&Path::new("/etc").join(name), &root.join("etc").join(name))?;
    }
    for name in DEVICES {
        show(&Path::new("/dev").join(name), &root.join("dev").join(name))?;
    }
    // Terminals of the pod's own. Where there can be none, who asks for one is told.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let options = Some("newinstance,ptmxmode=0666,mode=0620");
    if mount(Some("devpts"), &root.join("dev/pts"), Some("devpts"), flags, options).is_ok() {
        symlink("pts/ptmx", root.join("dev/ptmx"))?;
    }
    for (name, target) in DEVICE_LINKS {
        symlink(target, root.join("dev").join(name))?;
    }
    mount_processes(&root.join("proc"))?;
    for (path, open) in shown {
        let place = root.join(path.strip_prefix("/").unwrap_or(path));
        if place.exists() {
            continue;
        }
        if open.metadata()?.is_dir() {
            fs::create_dir_all(&place)?;
        } else {
            place.parent().map_or(Ok(()), fs::create_dir_all)?;
            make_file(&place)?;
        }
        bind(&PathBuf::from(format!("/proc/thread-self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open))), &place)?;
    }
    Ok(())
}

/// A folder or file that is to be shown, not read: also one that may not be read.
fn open_path(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_PATH).open(path)
}

fn make_folder(place: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir(place)?;
    fs::set_permissions(place, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

/// What the host has there, if it has anything: a link as a link, all else bound.
fn show(of_host: &Path, place: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(of_host) else { return Ok(()) };
    if metadata.is_symlink() {
        return symlink(fs::read_link(of_host)?, place);
    }
    if metadata.is_dir() {
        fs::create_dir(place)?
    } else {
        make_file(place)?
    }
    bind(of_host, place)
}

fn bind(source: &Path, place: &Path) -> io::Result<()> {
    match mount(Some(source), place, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING) {
        // What this user may not look into, or what vanished meanwhile, stays empty.
        Ok(()) | Err(Errno::EACCES | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Processes, but for those that are more than a pod's: the lab's own are out of sight. Kernels before 5.8 show all.
fn mount_processes(place: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let with = |options: Option<&str>| mount(Some("proc"), place, Some("proc"), flags, options);
    if with(Some("hidepid=ptraceable")).or_else(|_| with(None)).is_ok() {
        return Ok(());
    }
    // Where the host's own is covered in parts, no new one is allowed.
    bind(Path::new("/proc"), place)
}

fn change_root(root: &Path) -> Result<(), Errno> {
    chdir(root)?;
    match pivot_root(".", HOST.trim_start_matches('/')) {
        // In a chroot, and on an initial RAM disk, the root is no mount that could be moved.
        Err(Errno::EINVAL) => {
            let beneath = root.join(HOST.trim_start_matches('/'));
            mount(Some("/"), &beneath, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)?;
            chroot(".")?;
        }
        changed => changed?,
    }
    chdir("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_users_is_in_sight() {
        for name in PROGRAMS {
            assert!(!["home", "root", "var", "run", "tmp", "etc", "mnt", "srv"].contains(&name));
        }
        for name in SETTINGS {
            assert!(!name.contains("shadow") && !name.contains("ssh") && !name.contains("kubernetes"), "{name}");
        }
    }
}

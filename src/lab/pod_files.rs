//! What a pod sees in place of the host's files: its resolver, its host table, its trusted authorities, its volumes.
//! All of it is in the pod's own mount namespace; nothing is written to the host's disk. And nothing can be by what runs
//! in the pod: what it has of the host (`pod_root`) is there to be read, as programs and their libraries must be.
#![allow(unsafe_code)]

use super::obstacle::Obstacle;
use super::pod_root::{self, View};
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Certificate bundles of the usual distributions. Those that exist are replaced, so that programs trust the lab's
/// outside authority and no other.
const CERTIFICATE_BUNDLES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// Folders of the host's own resolvers, which programs would ask instead of the lab's.
const HOST_RESOLVERS: [&str; 2] = ["/run/systemd/resolve", "/run/nscd"];

const NOTHING: Option<&str> = None;

/// A file or folder in a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFile {
    /// Absolute. Folders that are missing on the way are made, in the pod alone.
    pub at: PathBuf,
    pub content: PodContent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodContent {
    Text(String),
    /// A file or folder of the host, seen as it is and as it changes.
    Host(PathBuf),
}

impl PodFile {
    pub fn text(at: impl Into<PathBuf>, text: impl Into<String>) -> PodFile {
        PodFile { at: at.into(), content: PodContent::Text(text.into()) }
    }

    pub fn host(at: impl Into<PathBuf>, source: impl Into<PathBuf>) -> PodFile {
        PodFile { at: at.into(), content: PodContent::Host(source.into()) }
    }

    /// What a cluster gives each pod for names: resolver, host table, and their order.
    pub fn names(namespace: &str, hostname: &str, ip: Ipv4Addr, dns: Ipv4Addr) -> Vec<PodFile> {
        let search = format!("search {namespace}.svc.cluster.local svc.cluster.local cluster.local");
        PodFile::resolving(format!("{search}\nnameserver {dns}\noptions ndots:5\n"), hostname, ip)
    }

    /// What a machine outside the cluster has for names.
    pub fn outside_names(hostname: &str, ip: Ipv4Addr, dns: Ipv4Addr) -> Vec<PodFile> {
        PodFile::resolving(format!("nameserver {dns}\n"), hostname, ip)
    }

    fn resolving(resolver: String, hostname: &str, ip: Ipv4Addr) -> Vec<PodFile> {
        vec![
            PodFile::text("/etc/resolv.conf", resolver),
            PodFile::text(
                "/etc/hosts",
                format!("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n{ip}\t{hostname}\n"),
            ),
            PodFile::text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ]
    }

    /// The certificate bundles of this host, each holding the lab's outside authority alone.
    pub fn trusted(authority_pem: &str) -> Vec<PodFile> {
        let mut seen = BTreeSet::new();
        let bundles = CERTIFICATE_BUNDLES.iter().filter_map(|path| fs::canonicalize(path).ok());
        bundles.filter(|path| seen.insert(path.clone())).map(|path| PodFile::text(path, authority_pem)).collect()
    }
}

/// Gives the calling thread's mounts the view that the pod is to have, and puts the files in their places there.
pub(super) fn show_files(files: &[PodFile], view: &View) -> Result<(), Obstacle> {
    let host = match view {
        View::Container(shown) => {
            pod_root::enter(shown)?;
            Path::new(pod_root::HOST)
        }
        View::Host => Path::new("/"),
    };
    let of_host = |source: &Path| host.join(source.strip_prefix("/").unwrap_or(source));
    // Links are followed while what they lead to is still in sight.
    let places: Vec<PathBuf> = files.iter().map(|file| follow_links(&file.at)).collect();
    for folder in HOST_RESOLVERS.iter().filter(|folder| *view == View::Host && Path::new(folder).is_dir()) {
        mount_memory(Path::new(folder)).map_err(|errno| Obstacle::new(format!("hiding {folder}: {errno}")))?;
    }
    let failed =
        |file: &PodFile, error: io::Error| Obstacle::new(format!("showing {} to the pod: {error}", file.at.display()));
    for (file, place) in files.iter().zip(&places) {
        let is_folder = matches!(&file.content, PodContent::Host(source) if of_host(source).is_dir());
        make_place(place, is_folder).map_err(|error| failed(file, error))?;
        if let PodContent::Host(source) = &file.content {
            mount(Some(&of_host(source)), place, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
                .map_err(|errno| failed(file, errno.into()))?;
        }
    }
    show_texts(files, &places).map_err(|(file, error)| failed(file, error))?;
    let given = files.iter().zip(&places).filter(|(file, _)| matches!(file.content, PodContent::Host(_)));
    let given = given.map(|(_, place)| place.as_path());
    let temporary = Path::new("/tmp");
    if let View::Container(_) = view {
        pod_root::leave_host()?;
        return protect_host(["/", "/tmp", "/dev/shm"].map(Path::new).into_iter().chain(given));
    }
    // A mount of its own, or it could not differ from what it is in.
    mount(Some(temporary), temporary, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
        .map_err(|errno| Obstacle::new(format!("a pod's /tmp: {errno}")))?;
    protect_host([temporary].into_iter().chain(given))
}

/// Makes all that is mounted read-only, but for these. A `rm -rf` in a pod is then the pod's loss.
fn protect_host<'a>(writable: impl Iterator<Item = &'a Path>) -> Result<(), Obstacle> {
    let failed = |step: &str, errno: Errno| Obstacle::new(format!("protecting the host's files: {step}: {errno}"));
    let read_only = libc::MOUNT_ATTR_RDONLY;
    match change_mount(Path::new("/"), libc::AT_RECURSIVE, libc::mount_attr { attr_set: read_only, ..NO_CHANGE }) {
        // Before Linux 5.12.
        Err(Errno::ENOSYS) => return Ok(()),
        changed => changed.map_err(|errno| failed("/", errno))?,
    }
    for place in writable {
        match change_mount(place, 0, libc::mount_attr { attr_clr: read_only, ..NO_CHANGE }) {
            // The host itself has it read-only.
            Ok(()) | Err(Errno::EPERM) => {}
            Err(errno) => return Err(failed(&place.display().to_string(), errno)),
        }
    }
    Ok(())
}

const NO_CHANGE: libc::mount_attr = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: 0, userns_fd: 0 };

fn change_mount(at: &Path, flags: libc::c_int, change: libc::mount_attr) -> Result<(), Errno> {
    let path = std::ffi::CString::new(at.as_os_str().as_encoded_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the path is a C string and `change` a whole mount_attr, both alive during the call, with its true size.
    let changed = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            std::ptr::from_ref(&change),
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(changed).map(drop)
}

/// The texts live in memory: in a file system mounted over `/proc` while they are bound to their places, then no longer
/// in sight.
fn show_texts<'a>(files: &'a [PodFile], places: &[PathBuf]) -> Result<(), (&'a PodFile, io::Error)> {
    let desk = Path::new("/proc");
    let Some(first) = files.first() else { return Ok(()) };
    mount_memory(desk).map_err(|errno| (first, errno.into()))?;
    let mut shown = Ok(());
    for (number, (file, place)) in files.iter().zip(places).enumerate() {
        let PodContent::Text(text) = &file.content else { continue };
        let written = desk.join(number.to_string());
        let bound = fs::write(&written, text)
            .and_then(|()| Ok(mount(Some(&written), place, NOTHING, MsFlags::MS_BIND, NOTHING)?));
        if let Err(error) = bound {
            shown = Err((file, error));
            break;
        }
    }
    umount2(desk, MntFlags::MNT_DETACH).map_err(|errno| (first, errno.into()))?;
    shown
}

/// Where `path` leads, whether or not it exists there.
fn follow_links(path: &Path) -> PathBuf {
    const MOST_LINKS: usize = 40;
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        if let Ok(real) = fs::canonicalize(&path) {
            return real;
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return path };
        let folder = follow_links(folder);
        match fs::read_link(&path) {
            Ok(target) => path = folder.join(target),
            Err(_) => return folder.join(name),
        }
    }
    path
}

/// Makes sure that something exists at `place` to mount over. What is missing is made in memory, over a copy of the
/// nearest folder that exists.
fn make_place(place: &Path, is_folder: bool) -> io::Result<()> {
    if place.exists() {
        return Ok(());
    }
    let existing = place.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    if !in_memory(existing)? {
        mirror(existing)?;
    }
    let folder = if is_folder { place } else { place.parent().unwrap_or(place) };
    fs::create_dir_all(folder)?;
    if is_folder { Ok(()) } else { make_file(place) }
}

/// Whether the folder is in a file system of memory that was made for the pod: only those are marked by this size.
fn in_memory(folder: &Path) -> io::Result<bool> {
    let found = nix::sys::statfs::statfs(folder).map_err(io::Error::from)?;
    Ok(found.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC
        && found.blocks() * found.block_size() as u64 == MEMORY_BYTES)
}

/// An unusual size, by which the lab's own file systems are known.
const MEMORY_BYTES: u64 = 4096 * 4099;

pub(super) fn mount_memory(at: &Path) -> Result<(), Errno> {
    let options = format!("mode=755,size={MEMORY_BYTES}");
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options.as_str()))
}

/// An empty file to mount over. It is never open: a process that is being started just then would hold a copy, and a mount
/// with a file open for writing cannot be made read-only.
pub(super) fn make_file(place: &Path) -> io::Result<()> {
    use nix::sys::stat::{Mode, SFlag, mknod};
    mknod(place, SFlag::S_IFREG, Mode::S_IRUSR | Mode::S_IWUSR, 0).map_err(io::Error::from)
}

/// Covers a folder with one in memory that holds the same things, and where more can be made.
fn mirror(folder: &Path) -> io::Result<()> {
    if folder == Path::new("/") {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a pod's new files must lie under a folder of the host",
        ));
    }
    // Held open, the covered folder can still be reached.
    let covered = fs::File::open(folder)?;
    let entries: Vec<fs::DirEntry> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    let kinds: Vec<fs::FileType> = entries.iter().map(fs::DirEntry::file_type).collect::<io::Result<_>>()?;
    let links: Vec<Option<PathBuf>> = entries.iter().map(|entry| fs::read_link(entry.path()).ok()).collect();
    mount_memory(folder)?;
    for ((entry, kind), link) in entries.iter().zip(kinds).zip(links) {
        let new = entry.path();
        if let Some(target) = link {
            symlink(target, &new)?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&new)?
        } else {
            make_file(&new)?
        }
        let old = PathBuf::from(format!("/proc/thread-self/fd/{}", covered.as_raw_fd())).join(entry.file_name());
        match mount(Some(&old), &new, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING) {
            // What this user may not look into, or what vanished meanwhile, stays empty.
            Ok(()) | Err(Errno::EACCES | Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

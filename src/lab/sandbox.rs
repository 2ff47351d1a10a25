//! A pod's sandbox: its own network, mounts and host name, and the processes in it.

use super::capture::CaptureRules;
use super::fabric::{Fabric, Port, bind_udp, listen_tcp, no_ipv6, set_up_pod_link};
use super::namespace::{NamespaceThread, own_network, set_parameter};
use super::netfilter;
use super::obstacle::Obstacle;
use super::pod_files::{PodFile, show_files};
use super::pod_root::View;
use super::process::{LiveProcesses, Process, ProcessSpec, SpawnError, nothing_starts};
use super::rights::Rights;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

/// Which of a pod's traffic goes to its sidecar, as istio-init arranges it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Capture {
    #[default]
    None,
    /// All outbound TCP.
    Outbound,
    /// As the pod's annotations say.
    Rules(CaptureRules),
}

/// A sandbox to be made.
#[derive(Debug, Clone)]
pub struct SandboxSpec {
    /// For messages: the pod's namespace and name.
    pub name: String,
    pub hostname: String,
    /// Of the pods' subnet, and no other sandbox's.
    pub ip: Ipv4Addr,
    pub capture: Capture,
    /// What the pod sees in place of the host's files.
    pub files: Vec<PodFile>,
    pub view: View,
    pub rights: Rights,
}

/// A pod's sandbox. Dropping it ends its processes and takes its network away.
pub struct Sandbox {
    thread: NamespaceThread,
    live: LiveProcesses,
    ip: Ipv4Addr,
    /// Taken away last.
    _port: Port,
}

impl Sandbox {
    pub(super) async fn start(fabric: Fabric, spec: SandboxSpec) -> Result<Sandbox, Obstacle> {
        let SandboxSpec { name, hostname, ip, capture, files, view, rights } = spec;
        let of_pod =
            |obstacle: Obstacle| Obstacle { problem: format!("sandbox of {name}: {}", obstacle.problem), ..obstacle };
        let thread = NamespaceThread::start(&name).await.map_err(of_pod)?;
        let network = thread.run(move || prepare(&hostname, &capture, &files, &view, rights)).await?.map_err(of_pod)?;
        let port = fabric.attach(network, ip).await.map_err(of_pod)?;
        let link_up = thread.run(move || set_up_pod_link(ip)).await?;
        link_up.map_err(|error| of_pod(Obstacle::new(error.to_string())))?;
        port.wait_operational().await.map_err(of_pod)?;
        Ok(Sandbox { thread, live: LiveProcesses::default(), ip, _port: port })
    }

    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Starts a process in the sandbox.
    pub async fn spawn(&self, spec: ProcessSpec) -> Result<Process, SpawnError> {
        let live = self.live.clone();
        let program = spec.argv.first().cloned().unwrap_or_default();
        let started = self.thread.run(move || Process::start(&spec, live)).await;
        started.map_err(|gone| SpawnError::Failed { program, source: io::Error::other(gone) })?
    }

    /// Listens in the sandbox: on its address, its loopback or all (0.0.0.0).
    pub async fn listen_tcp(&self, address: SocketAddrV4) -> Result<TcpListener, Obstacle> {
        self.thread.run(move || listen_tcp(address)).await?
    }

    /// Receives datagrams in the sandbox.
    pub async fn bind_udp(&self, address: SocketAddrV4) -> Result<UdpSocket, Obstacle> {
        self.thread.run(move || bind_udp(address)).await?
    }

    /// Connects to a port of the sandbox's loopback.
    ///
    /// # Errors
    /// As the kernel tells: refused when nothing listens there.
    pub async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        self.connect_to(Ipv4Addr::LOCALHOST, port).await
    }

    /// Connects from within the sandbox.
    ///
    /// # Errors
    /// As the kernel tells.
    pub async fn connect_to(&self, address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
        // The socket is of the sandbox; connecting it may take place anywhere, and may take time.
        let socket = self.thread.run(TcpSocket::new_v4).await.map_err(io::Error::other)??;
        socket.connect(SocketAddrV4::new(address, port).into()).await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let live = self.live.clone();
        self.thread.post(move || {
            live.kill_all();
            kill_strays();
        });
    }
}

/// In the sandbox's thread: everything that needs no link. Returns the network, to be linked.
fn prepare(
    hostname: &str,
    capture: &Capture,
    files: &[PodFile],
    view: &View,
    rights: Rights,
) -> Result<OwnedFd, Obstacle> {
    // Kubernetes truncates names that are too long for a host name.
    let hostname: String = hostname.chars().take(63).collect();
    // A pod's own root has no file open for writing while it is put together.
    let _alone = (*view == View::Host).then(nothing_starts);
    nix::unistd::sethostname(&hostname).map_err(|errno| Obstacle::new(format!("host name {hostname}: {errno}")))?;
    no_ipv6();
    // As in a cluster: a container without rights listens on 80, and pings. Where /proc/sys is read-only, rights of the
    // lab's own suffice for the first and the second is done without.
    let _ = set_parameter("net/ipv4/ip_unprivileged_port_start", "0");
    let _ = set_parameter("net/ipv4/ping_group_range", "0 0");
    let chains = match capture {
        Capture::None => vec![],
        Capture::Outbound => CaptureRules::default().chains(),
        Capture::Rules(rules) => rules.chains(),
    };
    if !chains.is_empty() {
        netfilter::replace(&chains).map_err(|error| Obstacle::new(error.to_string()))?;
    }
    show_files(files, view)?;
    let network = own_network()?;
    rights.bound()?;
    Ok(network)
}

/// Ends what left its process group: whatever still uses this thread's network.
fn kill_strays() {
    let own = |path: &Path| std::fs::read_link(path).ok();
    let here = own(Path::new("/proc/thread-self/ns/net"));
    // With the host's /proc in place of the lab's, its numbers are of other processes.
    let of_lab =
        own(Path::new("/proc/self")).is_some_and(|me| me.as_os_str() == std::process::id().to_string().as_str());
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    if here.is_none() || !of_lab {
        return;
    }
    for process in processes.flatten() {
        let Some(number) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let is_self = number == std::process::id() as i32;
        if !is_self && own(&process.path().join("ns/net")) == here {
            let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
        }
    }
}

//! Network, mount and host-name namespaces, each held by a thread of its own.
//!
//! On Linux these are a thread's, not a process's. A thread that lives as long as the namespace does work in it on
//! request: the processes it starts inherit the namespaces, and the sockets it makes keep the network they were
//! made in, whoever uses them afterwards. No other thread of the lab ever changes namespace.

use super::obstacle::{Obstacle, namespace_refused};
use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A namespace and the thread that holds it. The thread ends when this is dropped, and the namespace with its last user.
pub struct NamespaceThread {
    jobs: mpsc::Sender<Job>,
}

impl NamespaceThread {
    /// A new thread in new network, mount and host-name namespaces; the network has a loopback link, down.
    /// Must be called within a tokio runtime, which serves the pipes and sockets made by jobs.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    pub async fn start(name: &str) -> Result<NamespaceThread, Obstacle> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (started, outcome) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let hold = move || {
            let _entered = runtime.enter();
            let wanted = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
            let made = unshare(wanted).map_err(|errno| namespace_refused("a pod's network namespace", errno));
            let failed = made.is_err();
            if started.send(made).is_err() || failed {
                return;
            }
            queue.into_iter().for_each(|job| job());
        };
        std::thread::Builder::new()
            // The kernel cuts names at 15 bytes.
            .name(name.chars().take(15).collect())
            .spawn(hold)
            .map_err(|error| Obstacle::new(format!("a thread for {name}: {error}")))?;
        outcome.await.map_err(|_| Obstacle::new(format!("the thread of {name} ended before it began")))??;
        Ok(NamespaceThread { jobs })
    }

    /// Runs `job` in the namespace and waits for its result. Jobs run one at a time and should be short.
    ///
    /// # Errors
    /// Only if an earlier job panicked, which ends the thread.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Obstacle> {
        let gone = || Obstacle::new("the namespace's thread has ended");
        let (done, outcome) = oneshot::channel();
        self.post(move || drop(done.send(job())));
        outcome.await.map_err(|_| gone())
    }

    /// Runs `job` in the namespace, sometime soon, waiting for nothing. For ends and clearings.
    pub fn post(&self, job: impl FnOnce() + Send + 'static) {
        // Fails only when the thread has ended, and then nobody awaits the job.
        let _ = self.jobs.send(Box::new(job));
    }
}

/// The calling thread's network namespace, to be named to the kernel.
pub fn own_network() -> Result<OwnedFd, Obstacle> {
    let path = "/proc/thread-self/ns/net";
    File::open(path).map(OwnedFd::from).map_err(|error| Obstacle::new(format!("{path}: {error}")))
}

/// Sets a kernel parameter of the calling thread's network namespace, such as `net/ipv4/ip_forward`.
pub fn set_parameter(name: &str, value: &str) -> Result<(), Obstacle> {
    std::fs::write(format!("/proc/sys/{name}"), value)
        .map_err(|error| Obstacle::new(format!("setting {} to {value}: {error}", name.replace('/', "."))))
}

//! The lab's process tree, and how it ends.
//!
//! ```text
//! tool ──pipe──▶ outer (watches the pipe) ──▶ init (process 1 of the lab) ──▶ server (tokio, the lab itself)
//! ```
//!
//! The kernel ends every process of a PID namespace with its process 1, so whatever dies, all ends: the tool (the pipe's
//! end is seen by the outer process, which kills init), the outer process (init has it as parent-death signal), init
//! (the kernel), the server (init leaves with its exit code). No process, mount or namespace is left, even by `kill -9`.
//!
//! The server has its own mounts and process ids, but the host's network: it serves on the host's loopback. Only pods
//! have networks of their own. Must be entered before any thread exists: `unshare` of a user namespace is refused
//! to a process with threads, and a forked copy of one is unsound.
#![allow(unsafe_code)]

use super::obstacle::{Obstacle, namespace_refused};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getegid, geteuid, pipe2, setsid};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::exit;

/// Exit code of the tree when it could not be set up; the reason is then returned by [`enter`].
const NOT_STARTED: i32 = 70;

/// Makes this process the lab's outer process, and runs `serve` as the lab's server.
///
/// Standard input is the lifeline: the caller's parent holds the write end of a pipe, and the lab ends when it closes.
/// Returns in the outer process only, when all of the lab has ended: the exit code of `serve` (128 + N if signal N
/// ended it, so 137 if the lifeline closed first). `serve` has no standard input; its standard output and error are the caller's.
///
/// # Errors
/// The reason why this machine or this process cannot have a lab. Nothing is left behind then either.
pub fn enter(serve: impl FnOnce() -> i32) -> Result<i32, Obstacle> {
    let threads = thread_count();
    if threads != 1 {
        return Err(Obstacle::new(format!("the lab must start before any thread does, and {threads} threads run")));
    }
    // A terminal's Ctrl-C goes to the tool, which has an orderly end to make; the lab outlives it until then.
    let _ = setsid();
    unshare_all()?;
    let broken = |step: &'static str| move |errno: Errno| Obstacle::new(format!("{step}: {errno}"));
    let (reason_in, reason_out) = pipe2(OFlag::O_CLOEXEC).map_err(broken("a pipe to the lab's init"))?;
    let outer = pidfd_open(Pid::this()).map_err(broken("pidfd_open (the lab needs Linux 5.3 or later)"))?;
    // SAFETY: one thread, as counted above, so the child may allocate and run any code.
    match unsafe { fork() }.map_err(|errno| namespace_refused("starting the lab's init", errno))? {
        ForkResult::Child => {
            drop(reason_in);
            init(&outer, reason_out, serve)
        }
        ForkResult::Parent { child } => {
            drop((outer, reason_out));
            let code = watch(child).map_err(broken("watching the lab's init"))?;
            let mut reason = String::new();
            let _ = File::from(reason_in).read_to_string(&mut reason);
            match reason.split_once('\n') {
                None => Ok(code),
                Some((problem, "")) => Err(Obstacle::new(problem)),
                Some((problem, mend)) => Err(Obstacle::mended_by(problem, mend)),
            }
        }
    }
}

/// Own user (where needed), mount and PID namespaces.
///
/// Root keeps its user namespace, unless the container it is in denies it the rights: then it does as others do.
fn unshare_all() -> Result<(), Obstacle> {
    // To be read first: in the new user namespace both are 65534 until the maps are written.
    let (user, group) = (geteuid(), getegid());
    let wanted = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    if user.is_root() && unshare(wanted).is_ok() {
        return Ok(());
    }
    unshare(wanted | CloneFlags::CLONE_NEWUSER).map_err(|errno| namespace_refused("a user namespace", errno))?;
    // The kernel lets an unprivileged process map its group only after it gave up `setgroups`.
    for (path, text) in [
        ("/proc/self/setgroups", "deny".to_string()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ] {
        std::fs::write(path, text).map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            namespace_refused(&format!("writing {path} of the lab's user namespace"), errno)
        })?;
    }
    Ok(())
}

/// Process 1 of the lab: sets the stage, starts the server, reaps orphans, leaves with the server's exit code.
fn init(outer: &OwnedFd, reason_out: OwnedFd, serve: impl FnOnce() -> i32) -> ! {
    let mut reason_out = File::from(reason_out);
    let mut fail = |obstacle: Obstacle| -> ! {
        let _ = writeln!(reason_out, "{}", obstacle.problem);
        let _ = reason_out.write_all(obstacle.mend.unwrap_or_default().as_bytes());
        exit(NOT_STARTED)
    };
    if let Err(errno) = set_pdeathsig(Signal::SIGKILL) {
        fail(Obstacle::new(format!("parent-death signal of the lab's init: {errno}")));
    }
    // The outer process may have died before the signal was asked for.
    if poll(&mut [PollFd::new(outer.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) != Ok(0) {
        exit(NOT_STARTED);
    }
    if let Err(obstacle) = own_mounts().and_then(|()| no_standard_input()) {
        fail(obstacle);
    }
    // SAFETY: still the only thread of this process.
    let server = match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            drop(reason_out);
            exit(serve())
        }
        Ok(ForkResult::Parent { child }) => child,
        Err(errno) => fail(Obstacle::new(format!("starting the lab's server: {errno}"))),
    };
    drop(reason_out);
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid() == Some(server) => {
                if let Some(code) = exit_code(status) {
                    exit(code)
                }
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => exit(NOT_STARTED),
        }
    }
}

/// Keeps mounts from spreading to the host, and shows the lab its own processes in `/proc`.
fn own_mounts() -> Result<(), Obstacle> {
    const NOTHING: Option<&str> = None;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
        .map_err(|errno| namespace_refused("making the lab's mounts private", errno))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(Some("proc"), "/proc", Some("proc"), flags, NOTHING) {
        // A container that masks parts of /proc has no new one; the lab lives with the old, which shows more processes.
        Ok(()) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(namespace_refused("mounting the lab's /proc", errno)),
    }
}

/// The lifeline is the outer process's alone.
fn no_standard_input() -> Result<(), Obstacle> {
    let null = File::open("/dev/null").map_err(|error| Obstacle::new(format!("/dev/null: {error}")))?;
    nix::unistd::dup2_stdin(null).map_err(|errno| Obstacle::new(format!("standard input: {errno}")))
}

/// Waits for the end of init, and brings it about when the lifeline closes.
fn watch(init: Pid) -> nix::Result<i32> {
    let ended = pidfd_open(init)?;
    let stdin = std::io::stdin();
    let mut killed = false;
    loop {
        let mut events = [PollFd::new(ended.as_fd(), PollFlags::POLLIN), PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        // A closed lifeline stays readable: once seen, only init is waited for.
        let watched = if killed { &mut events[..1] } else { &mut events[..] };
        match poll(watched, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let happened = |event: &PollFd| event.revents().is_some_and(|events| !events.is_empty());
        if happened(&events[0]) {
            return waitpid(init, None).map(|status| exit_code(status).unwrap_or(NOT_STARTED));
        }
        if !killed && happened(&events[1]) && lifeline_closed() {
            kill(init, Signal::SIGKILL)?;
            killed = true;
        }
    }
}

/// Whatever is written to the lifeline means nothing; only its end does.
fn lifeline_closed() -> bool {
    let mut unread = [0; 512];
    match nix::unistd::read(std::io::stdin(), &mut unread) {
        Ok(0) => true,
        Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => false,
        Err(_) => true,
    }
}

/// As a shell tells it: the code, or 128 + N for signal N. `None` if the process has not ended.
fn exit_code(status: WaitStatus) -> Option<i32> {
    match status {
        WaitStatus::Exited(_, code) => Some(code),
        WaitStatus::Signaled(_, signal, _) => Some(128 + signal as i32),
        _ => None,
    }
}

/// A descriptor that becomes readable when the process ends.
fn pidfd_open(process: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: a system call with two integers; the kernel sets close-on-exec by itself.
    let opened = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, process.as_raw(), 0) };
    let raw = Errno::result(opened)?;
    // SAFETY: just opened, owned by nothing else; descriptors fit an int.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

fn thread_count() -> usize {
    // Without /proc nothing else of the lab works either; say one and let the first real step explain.
    std::fs::read_dir("/proc/self/task").map_or(1, |tasks| tasks.count())
}

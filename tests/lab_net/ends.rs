//! However the lab ends, nothing of it is left.

use crate::{in_lab, this_program};
use egress_scn::lab::fabric::Fabric;
use egress_scn::lab::process::ProcessSpec;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Plays the tool: starts a lab, tells its process id, holds its lifeline until it ends.
pub fn tool() -> ExitCode {
    let mut lab = this_program(&["--idle"], None).stdin(Stdio::piped()).spawn().unwrap();
    let _lifeline: Option<ChildStdin> = lab.stdin.take();
    println!("outer {}", lab.id());
    let code = lab.wait().unwrap().code().unwrap_or(-1);
    ExitCode::from(code as u8)
}

/// A lab with a process in a pod, which neither would end by itself.
pub fn idle() -> ExitCode {
    in_lab(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let fabric = Fabric::new().await.unwrap();
            let pod = fabric.sandbox(crate::network::pod(5)).await.unwrap();
            let argv = vec!["sleep".to_string(), "1000".to_string()];
            let mut sleeper = pod.spawn(ProcessSpec { argv, ..ProcessSpec::default() }).await.unwrap();
            println!("ready");
            std::io::stdout().flush().unwrap();
            sleeper.wait().await.unwrap()
        })
    })
}

pub fn leave_with_code() -> ExitCode {
    in_lab(|| 42)
}

pub fn the_exit_code_is_the_servers(user: Option<u32>) {
    let mut lab = this_program(&["--code"], user).stdin(Stdio::piped()).spawn().unwrap();
    let _lifeline = lab.stdin.take();
    assert_eq!(lab.wait().unwrap().code(), Some(42));
}

/// Each process of the lab is killed in turn, and the lifeline closed; each time every process of it ends, at once.
pub fn the_lab_ends_with_each_of_its_processes(user: Option<u32>) {
    for victim in ["tool", "outer", "init", "server"] {
        // Every process inherits the write end, those in pods too: its end of file means that all have ended.
        let (alive, held) = nix::unistd::pipe().unwrap();
        nix::fcntl::fcntl(&alive, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).unwrap();
        let mut tool = this_program(&["--tool"], user).stdout(Stdio::piped()).spawn().unwrap();
        drop(held);
        let mut lines = BufReader::new(tool.stdout.take().unwrap()).lines();
        let outer: i32 = lines.next().unwrap().unwrap().strip_prefix("outer ").unwrap().parse().unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        let init = only_child(outer);
        let server = only_child(init);
        let target = match victim {
            "tool" => tool.id() as i32,
            "outer" => outer,
            "init" => init,
            _ => server,
        };
        let start = Instant::now();
        kill(Pid::from_raw(target), Signal::SIGKILL).unwrap();
        assert_eq!(File::from(alive).read(&mut [0]).unwrap(), 0);
        assert!(start.elapsed() < Duration::from_secs(2), "{victim}: {:?}", start.elapsed());
        tool.wait().unwrap();
    }
}

fn only_child(parent: i32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    children.trim().parse().unwrap_or_else(|_| panic!("children of {parent}: {children:?}"))
}

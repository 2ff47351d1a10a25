//! Processes in pods: their ends and their pipes.

use crate::network::{pod, shell};
use egress_scn::lab::fabric::Fabric;
use egress_scn::lab::process::{ProcessSpec, SpawnError};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn command(argv: &[&str]) -> ProcessSpec {
    ProcessSpec { argv: argv.iter().map(ToString::to_string).collect(), ..ProcessSpec::default() }
}

pub async fn exit_codes_and_pipes() {
    let fabric = Fabric::new().await.unwrap();
    let pod = fabric.sandbox(pod(5)).await.unwrap();
    assert_eq!(shell(&pod, "echo out; echo err >&2; exit 3").await, (3, "out\n".into(), "err\n".into()));
    // Envoy opens these by name, which fails unless they are pipes or files.
    assert_eq!(shell(&pod, "echo named >/dev/stdout").await, (0, "named\n".into(), "".into()));
    assert_eq!(shell(&pod, "pwd; env | grep -v -e ^PATH= -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=").await.1, "/\n");
    assert_eq!(shell(&pod, "kill -TERM $$").await.0, 128 + 15);

    let mut cat = pod.spawn(ProcessSpec { stdin: true, ..command(&["cat"]) }).await.unwrap();
    let (mut stdin, mut stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    stdin.write_all("무엇이든".as_bytes()).await.unwrap();
    drop(stdin);
    let mut echoed = String::new();
    stdout.read_to_string(&mut echoed).await.unwrap();
    assert_eq!((echoed.as_str(), cat.wait().await.unwrap()), ("무엇이든", 0));
    // Again, and a signal after the end is nobody's.
    assert_eq!(cat.wait().await.unwrap(), 0);
    cat.signal(Signal::SIGKILL);

    let mut sleeper = pod.spawn(command(&["sh", "-c", "sleep 1000 & wait"])).await.unwrap();
    sleeper.signal(Signal::SIGKILL);
    assert_eq!(sleeper.wait().await.unwrap(), 128 + 9);
    // The group's other process held the pipe, and is gone too.
    assert_eq!(sleeper.stdout.take().unwrap().read(&mut [0]).await.unwrap(), 0);

    let missing = pod.spawn(command(&["no-such-program"])).await.err().unwrap();
    assert_eq!(missing.to_string(), "\"no-such-program\": executable file not found in $PATH");
    let denied = pod.spawn(command(&["/etc/passwd"])).await.err().unwrap();
    assert!(matches!(denied, SpawnError::Failed { .. }), "{denied}");
    assert!(matches!(pod.spawn(command(&[])).await.err().unwrap(), SpawnError::NotFound(_)));
}

pub async fn a_dropped_sandbox_leaves_no_process() {
    let fabric = Fabric::new().await.unwrap();
    let (one, two) = (fabric.sandbox(pod(5)).await.unwrap(), fabric.sandbox(pod(6)).await.unwrap());
    let mut group = one.spawn(command(&["sleep", "1000"])).await.unwrap();
    let mut other = two.spawn(command(&["sleep", "1000"])).await.unwrap();
    // One that leaves its group and its parent, and keeps the pipe.
    let mut parent = one.spawn(command(&["sh", "-c", "setsid sleep 1000 & exit 0"])).await.unwrap();
    assert_eq!(parent.wait().await.unwrap(), 0);
    let mut held = parent.stdout.take().unwrap();
    drop(one);
    assert_eq!(group.wait().await.unwrap(), 128 + 9);
    assert_eq!(held.read(&mut [0]).await.unwrap(), 0);
    // The other pod's goes on.
    other.signal(Signal::SIGTERM);
    assert_eq!(other.wait().await.unwrap(), 128 + 15);
}

/// A process that is being started holds, for a moment, the lab's open files: a pod that is made in that moment must
/// not mind.
pub async fn pods_are_made_while_processes_start() {
    let fabric = Fabric::new().await.unwrap();
    let busy = fabric.sandbox(pod(5)).await.unwrap();
    let made = async {
        for number in 6..106 {
            // Seen as an error: EBUSY, "protecting the host's files".
            fabric.sandbox(pod(number)).await.unwrap_or_else(|obstacle| panic!("pod {number}: {obstacle}"));
        }
    };
    let started = async {
        loop {
            let mut process = busy.spawn(command(&["true"])).await.unwrap();
            assert_eq!(process.wait().await.unwrap(), 0);
        }
    };
    tokio::select! {
        () = made => (),
        () = started => (),
    }
}

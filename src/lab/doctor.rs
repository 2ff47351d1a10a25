//! Whether this machine can run the lab, found out by trying: a child process makes what the lab would make.
//! Each reason against it comes with the one command that mends it.

use super::capture::CaptureRules;
use super::envoy_binary::Surroundings;
use super::fabric::Fabric;
use super::netfilter;
use super::obstacle::Obstacle;
use super::supervisor;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// The reasons why this machine cannot run the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reasons(pub Vec<Obstacle>);

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, obstacle) in self.0.iter().enumerate() {
            let line_break = if number > 0 { "\n" } else { "" };
            write!(f, "{line_break}{obstacle}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Reasons {}

/// Tries everything the lab needs. `probe` runs this program so that it calls [`probe`] before any thread exists.
/// Blocks for some tens of milliseconds.
///
/// # Errors
/// All the reasons found, so that one round of mending is enough.
pub fn check(probe: Command) -> Result<(), Reasons> {
    let surroundings = Surroundings::of_process();
    let envoy = match surroundings.present() {
        Ok(Some(_)) => Ok(()),
        Ok(None) => surroundings.can_fetch(),
        Err(obstacle) => Err(obstacle),
    };
    let reasons: Vec<_> = [try_lab(probe), curl(), envoy].into_iter().filter_map(Result::err).collect();
    if reasons.is_empty() { Ok(()) } else { Err(Reasons(reasons)) }
}

/// The trying child's whole life: a lab with nothing in it, made and unmade. Returns its exit code. What is wrong goes
/// to `report`, the problem on the first line and the mending command on the second.
pub fn probe(report: &mut dyn std::io::Write) -> i32 {
    let (mut from_lab, to_lab) = match std::io::pipe() {
        Ok(ends) => ends,
        Err(error) => return told(report, &Obstacle::new(format!("a pipe: {error}"))),
    };
    // The server is a process of its own: what it finds comes by a pipe.
    let entered = supervisor::enter(move || match try_network() {
        Ok(()) => 0,
        Err(obstacle) => told(&mut &to_lab, &obstacle),
    });
    let mut said = String::new();
    match entered {
        Ok(0) => 0,
        Err(obstacle) => told(report, &obstacle),
        Ok(code) => {
            let _ = from_lab.read_to_string(&mut said);
            if said.is_empty() {
                said = format!("the lab's processes could not be started (exit code {code})\n");
            }
            let _ = report.write_all(said.as_bytes());
            1
        }
    }
}

fn told(report: &mut dyn std::io::Write, obstacle: &Obstacle) -> i32 {
    let mend = obstacle.mend.as_deref().unwrap_or_default();
    let _ = write!(report, "{}\n{mend}", obstacle.problem);
    1
}

/// In a lab: its network, and a pod's capture.
fn try_network() -> Result<(), Obstacle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Obstacle::new(format!("starting the lab's runtime: {error}")))?;
    runtime.block_on(async {
        let fabric = Fabric::new().await?;
        fabric.route_services(vec![]).await.map_err(|error| without_netfilter(&error.problem))?;
        let thread = super::namespace::NamespaceThread::start("doctor").await?;
        let captured = thread.run(|| netfilter::replace(&CaptureRules::default().chains())).await?;
        captured.map_err(|error| without_netfilter(&error.to_string()))
    })
}

fn without_netfilter(why: &str) -> Obstacle {
    Obstacle::mended_by(
        format!("this kernel does not redirect a pod's traffic (nftables with nat and redirect): {why}"),
        "sudo modprobe -a nf_tables nft_chain_nat nft_redir nft_nat nft_numgen veth",
    )
}

fn try_lab(mut probe: Command) -> Result<(), Obstacle> {
    let broken = |error: std::io::Error| Obstacle::new(format!("this program cannot start itself: {error}"));
    let mut child = probe.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(broken)?;
    // Closing it would end the attempt.
    let lifeline = child.stdin.take();
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut said).map_err(broken)?;
    }
    let status = child.wait().map_err(broken)?;
    drop(lifeline);
    if status.success() {
        return Ok(());
    }
    let (problem, mend) = said.split_once('\n').unwrap_or((&said, ""));
    Err(match (problem, mend) {
        ("", _) => Obstacle::new(format!("the attempt to make a lab ended with {status}")),
        (problem, "") => Obstacle::new(problem),
        (problem, mend) => Obstacle::mended_by(problem, mend),
    })
}

/// The client that scenarios send their requests with.
fn curl() -> Result<(), Obstacle> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).any(|folder| Path::new(&folder).join("curl").is_file());
    if found { Ok(()) } else { Err(Obstacle::mended_by("there is no curl on PATH", "sudo apt install curl")) }
}

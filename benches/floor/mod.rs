//! The floor: what the suite's Envoys and curls need with nothing else around them.

mod ready_made;
// Each bench uses a part of it.
#[allow(dead_code)]
pub mod rounds;

use egress_scn::lab::authority::{Authority, Leaf};
use egress_scn::lab::bootstrap;
use egress_scn::lab::envoy_binary::Surroundings;
use egress_scn::lab::fabric::{DNS_ADDRESS, Fabric};
use egress_scn::lab::internet::Internet;
use egress_scn::lab::pod_files::PodFile;
use egress_scn::lab::pod_root::View;
use egress_scn::lab::process::{Process, ProcessSpec};
use egress_scn::lab::rights::Rights;
use egress_scn::lab::sandbox::{Capture, Sandbox, SandboxSpec};
use egress_scn::lab::supervisor;
use egress_scn::plan::{Part, StepKind};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

pub const SUBCOMMAND: &str = "__floor";
/// Said on standard output when every pod stands.
pub const READY: &str = "ready";

/// What the floor runs, written to the prepared folder.
#[derive(Serialize, Deserialize)]
struct Work {
    envoy: PathBuf,
    pods: Vec<Pod>,
    /// (index of the pod, command).
    execs: Vec<(usize, Vec<String>)>,
}

#[derive(Serialize, Deserialize)]
struct Pod {
    workload: String,
    namespace: String,
    ip: Ipv4Addr,
    sidecar: bool,
    /// Bootstrap with everything static.
    envoy: Option<PathBuf>,
}

/// Asks a lab once for the configuration that its proxies get, and writes it down. Gives the number of curls.
pub fn prepare(folder: &Path) -> usize {
    let files: Vec<PathBuf> = glob::glob("scenarios/*.egress").unwrap().map(Result::unwrap).collect();
    let plan = egress_scn::check::load(&files).unwrap().plan;
    let envoy = Surroundings::of_process().find(&mut |_| ()).unwrap().path;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let pods = runtime.block_on(ready_made::pods(folder));
    let mut execs = vec![];
    for step in plan.scenarios.iter().flat_map(|scenario| &scenario.steps) {
        let StepKind::Exec(exec) = &step.kind else { continue };
        let workload = exec.workload.clone().unwrap();
        let pod = pods.iter().position(|pod| pod.workload == workload.name && pod.namespace == workload.namespace);
        let word = |text: &egress_scn::plan::Text| match text.0.as_slice() {
            [Part::Literal(word)] => word.clone(),
            other => panic!("{other:?}"),
        };
        execs.push((pod.unwrap(), exec.command.iter().map(word).collect()));
    }
    let count = execs.len();
    let work = Work { envoy, pods, execs };
    std::fs::write(folder.join("work.json"), serde_json::to_string(&work).unwrap()).unwrap();
    count
}

/// Leaves the prepared floor with its pods alone.
#[allow(dead_code, reason = "each bench uses a part")]
pub fn without_curls(folder: &Path) {
    let path = folder.join("work.json");
    let work: Work = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    std::fs::write(path, serde_json::to_string(&Work { execs: vec![], ..work }).unwrap()).unwrap();
}

/// One round of the floor, in a process of its own.
pub fn main(folder: &Path) -> i32 {
    let serve = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(round(folder));
        0
    };
    supervisor::enter(serve).unwrap()
}

async fn round(folder: &Path) {
    let work: Work = serde_json::from_str(&std::fs::read_to_string(folder.join("work.json")).unwrap()).unwrap();
    let outside = Arc::new(Authority::new("outside").unwrap());
    let fabric = Fabric::new().await.unwrap();
    let _internet = Internet::start(&fabric, outside.clone()).await.unwrap();
    let roots = outside.root_pem();
    let started = work.pods.iter().map(|pod| start(&fabric, pod, &work.envoy, &roots));
    let pods = futures::future::join_all(started).await;
    println!("{READY}");
    for (pod, argv) in work.execs {
        let env = vec![
            ("PATH".to_string(), std::env::var("PATH").unwrap()),
            ("HOME".to_string(), "/nonexistent".to_string()),
        ];
        let spec = ProcessSpec { argv, env, cwd: None, ..ProcessSpec::default() };
        let mut process = pods[pod].0.spawn(spec).await.unwrap();
        let mut output = vec![];
        process.stdout.take().unwrap().read_to_end(&mut output).await.unwrap();
        process.wait().await.unwrap();
    }
}

async fn start(fabric: &Fabric, pod: &Pod, envoy: &Path, roots: &str) -> (Sandbox, Option<Process>) {
    let mut files = PodFile::names(&pod.namespace, &pod.workload, pod.ip, DNS_ADDRESS);
    files.extend(PodFile::trusted(roots));
    let capture = if pod.sidecar { Capture::Outbound } else { Capture::None };
    let name = format!("{}/{}", pod.namespace, pod.workload);
    let spec = SandboxSpec {
        name,
        hostname: pod.workload.clone(),
        ip: pod.ip,
        capture,
        files,
        view: View::Host,
        rights: Rights::Proxy,
    };
    let sandbox = fabric.sandbox(spec).await.unwrap();
    let Some(bootstrap) = &pod.envoy else { return (sandbox, None) };
    let argv = bootstrap::command(envoy, bootstrap);
    let mut process =
        sandbox.spawn(ProcessSpec { argv, env: vec![], cwd: None, ..ProcessSpec::default() }).await.unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut stdout = process.stdout.take().unwrap();
    tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await });
    let mut said = String::new();
    loop {
        let line = lines.next_line().await.unwrap();
        let line = line.unwrap_or_else(|| panic!("Envoy of {name} ended:\n{said}", name = pod.workload));
        if line.contains("starting workers") {
            break;
        }
        said.push_str(&line);
        said.push('\n');
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (sandbox, Some(process))
}

/// A workload's identity, as the pilot would issue it.
fn identity(mesh: &Authority, namespace: &str, account: &str) -> egress_scn::lab::authority::Identity {
    let uris = vec![format!("spiffe://cluster.local/ns/{namespace}/sa/{account}")];
    mesh.issue(&Leaf { uris, ..Leaf::default() }).unwrap()
}

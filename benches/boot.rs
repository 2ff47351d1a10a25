//! A lab's boot to ready (API, pilot, sleep and the egress gateway with their Envoys, DNS, sites) against a bare floor of the
//! same namespaces and the same Envoys with their configuration ready-made in a file; both sides alternate in one run. Then
//! thirty pods with Envoys in one lab: how long until all are ready, and what each keeps in memory.
//!
//! `cargo bench --bench boot`; figures in `docs/performance.md`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[cfg(target_os = "linux")]
#[path = "floor/mod.rs"]
mod floor;

#[cfg(target_os = "linux")]
fn main() {
    use floor::rounds;
    use std::io::{BufRead, BufReader};
    use std::time::Instant;

    let rounds = rounds::begin();
    let prepared = tempfile::Builder::new().prefix("floor").tempdir_in("/tmp").unwrap();
    floor::prepare(prepared.path());
    floor::without_curls(prepared.path());
    println!("{rounds} rounds, the two sides alternating");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // Both are timed until they are ready; that they end takes part in neither.
    let bare = || {
        let begun = Instant::now();
        let (mut child, _lifeline, output) = rounds::floor(prepared.path());
        let mut lines = BufReader::new(output).lines();
        assert!(lines.any(|line| line.unwrap() == floor::READY), "the floor failed");
        let took = begun.elapsed();
        child.wait().unwrap();
        took
    };
    let lab = || {
        runtime.block_on(async {
            let begun = Instant::now();
            let lab = many::lab().await;
            let took = begun.elapsed();
            lab.stop().await;
            took
        })
    };
    rounds::compare(rounds, "lab", bare, lab);
    runtime.block_on(many::pods(rounds::number("PODS", 30)));
}

#[cfg(target_os = "linux")]
mod many {
    use egress_scn::lab::boot::Lab;
    use k8s_openapi::api::apps::v1::Deployment;
    use kube::api::{Api, Patch, PatchParams};
    use serde_json::json;
    use std::path::Path;
    use std::time::Instant;

    pub async fn lab() -> Lab {
        Lab::start_with(Path::new(env!("CARGO_BIN_EXE_egress-scn")), |_| ()).await.unwrap()
    }

    /// `count` pods with sidecars beside those that a lab has anyway.
    pub async fn pods(count: usize) {
        let lab = lab().await;
        let kubeconfig = kube::config::Kubeconfig::read_from(lab.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let folder = lab.folder().display().to_string();
        let before = memory(&folder);
        let api: Api<Deployment> = Api::namespaced(client, "mesh-test");
        let begun = Instant::now();
        let scale = json!({"spec": {"replicas": count + 1}});
        api.patch("sleep", &PatchParams::default(), &Patch::Merge(scale)).await.unwrap();
        let wanted = i32::try_from(count + 1).unwrap();
        let ready = |deployment: Option<&Deployment>| {
            let status = deployment.and_then(|deployment| deployment.status.as_ref());
            status.and_then(|status| status.available_replicas) == Some(wanted)
        };
        kube::runtime::wait::await_condition(api, "sleep", ready).await.unwrap();
        let took = begun.elapsed();
        let after = memory(&folder);
        let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
        println!("{count} further pods with Envoy: {took:.0?}, {:.0?} each", took / u32::try_from(count).unwrap());
        let each = mib(after.0 - before.0) / count as f64;
        println!("memory of their Envoys, shared pages counted by their share: {each:.1} MiB each");
        println!("the lab's own process: {:.0} MiB, {:.0} MiB before", mib(after.1), mib(before.1));
        lab.stop().await;
    }

    /// Bytes that the Envoys, and the lab's processes, of the lab in that folder keep (proportional set size).
    fn memory(folder: &str) -> (u64, u64) {
        let (mut envoys, mut labs) = (0, 0);
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let command = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            let words: Vec<&str> = command.split('\0').collect();
            let rollup = std::fs::read_to_string(process.path().join("smaps_rollup")).unwrap_or_default();
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kib: u64 = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
            if words.iter().any(|word| word.starts_with(folder) && word.ends_with("envoy.json")) {
                envoys += kib * 1024;
            } else if words.get(1..3) == Some(&["__lab", folder]) {
                labs += kib * 1024;
            }
        }
        (envoys, labs)
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {}

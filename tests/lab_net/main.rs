//! The lab's substrate, with real namespaces, real processes and real curl: as root and as an ordinary user alike.
//! Without a harness, since a lab must start in a process without threads: each test runs this program anew.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod doctor;
mod ends;
mod envoy;
mod internet;
mod network;
mod processes;

use egress_scn::lab::envoy_binary::{Surroundings, VARIABLE};
use egress_scn::lab::supervisor;
use std::future::Future;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;

type Inside = fn() -> Pin<Box<dyn Future<Output = ()>>>;

/// Tests that run within a lab.
const INSIDE: &[(&str, Inside)] = &[
    ("a_pod_has_its_own_name_files_and_loopback", || Box::pin(network::a_pod_has_its_own_name_files_and_loopback())),
    ("pods_reach_each_other_and_nothing_else", || Box::pin(network::pods_reach_each_other_and_nothing_else())),
    ("services_lead_to_pods_in_turn", || Box::pin(network::services_lead_to_pods_in_turn())),
    ("capture_takes_outbound_tcp", || Box::pin(network::capture_takes_outbound_tcp())),
    ("capture_follows_istios_rules", || Box::pin(network::capture_follows_istios_rules())),
    ("a_hundred_pods", || Box::pin(network::a_hundred_pods())),
    ("exit_codes_and_pipes", || Box::pin(processes::exit_codes_and_pipes())),
    ("a_dropped_sandbox_leaves_no_process", || Box::pin(processes::a_dropped_sandbox_leaves_no_process())),
    ("pods_are_made_while_processes_start", || Box::pin(processes::pods_are_made_while_processes_start())),
    ("curl_reaches_every_site", || Box::pin(internet::curl_reaches_every_site())),
    ("names_resolve_as_in_a_cluster", || Box::pin(internet::names_resolve_as_in_a_cluster())),
    ("servers_refuse_what_real_ones_refuse", || Box::pin(internet::servers_refuse_what_real_ones_refuse())),
    ("further_ports_speak_what_the_client_begins_with", || {
        Box::pin(internet::further_ports_speak_what_the_client_begins_with())
    }),
    ("a_site_does_as_it_is_told", || Box::pin(internet::a_site_does_as_it_is_told())),
    ("a_site_is_where_it_says", || Box::pin(internet::a_site_is_where_it_says())),
    ("filters_keep_packets_from_where_they_may_not_go", || {
        Box::pin(network::filters_keep_packets_from_where_they_may_not_go())
    }),
    ("a_real_sidecar_passes_captured_connections", || Box::pin(envoy::a_real_sidecar_passes_captured_connections())),
    ("a_pod_cannot_write_the_hosts_files", || Box::pin(network::a_pod_cannot_write_the_hosts_files())),
    ("a_pod_sees_no_file_it_does_not_need", || Box::pin(network::a_pod_sees_no_file_it_does_not_need())),
    ("the_hosts_resolver_is_out_of_sight", || Box::pin(network::the_hosts_resolver_is_out_of_sight())),
    ("the_doctor_names_what_is_forbidden", || Box::pin(doctor::the_doctor_names_what_is_forbidden())),
];

/// Tests of the whole process tree, from outside.
type Outside = fn(Option<u32>);

const OUTSIDE: &[(&str, Outside)] = &[
    ("the_lab_ends_with_each_of_its_processes", ends::the_lab_ends_with_each_of_its_processes),
    ("the_doctor_finds_this_machine_fit", doctor::the_doctor_finds_this_machine_fit),
    ("the_exit_code_is_the_servers", ends::the_exit_code_is_the_servers),
];

/// An ordinary user without rights or files: `nobody`.
const NOBODY: u32 = 65534;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--inside") => inside(&arguments[1]),
        Some("--tool") => ends::tool(),
        Some("--probe") => doctor::probe(),
        Some("--idle") => ends::idle(),
        Some("--connect") => {
            let further = |index: usize| arguments.get(index).map(String::as_str);
            network::connect(&arguments[1], further(2), further(3))
        }
        Some("--code") => ends::leave_with_code(),
        // What `cargo test -- NAME` and IDEs ask.
        Some("--list") => ExitCode::SUCCESS,
        filter => run_all(filter.filter(|filter| !filter.starts_with('-')).unwrap_or_default()),
    }
}

/// This program and an Envoy where every user can read them: root's own folders may be closed to others.
static STAGE: OnceLock<PathBuf> = OnceLock::new();

fn stage(folder: &Path) {
    let envoy = Surroundings::of_process().find(&mut |_| ()).unwrap_or_else(|why| panic!("{why}")).path;
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::copy(envoy, folder.join("envoy")).unwrap();
    std::fs::copy(std::env::current_exe().unwrap(), folder.join("tests")).unwrap();
    STAGE.set(folder.to_owned()).unwrap();
}

fn run_all(filter: &str) -> ExitCode {
    if std::env::var_os("EGRESS_SCN_SKIP_LAB").is_some_and(|value| value == "1") {
        eprintln!("skipped: lab_net (EGRESS_SCN_SKIP_LAB=1)");
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    stage(folder.path());
    let users = if nix::unistd::geteuid().is_root() { vec![None, Some(NOBODY)] } else { vec![None] };
    let mut failed = 0;
    for user in users {
        let who = user.map_or("as started", |_| "as nobody");
        for (name, _) in INSIDE.iter().filter(|(name, _)| name.contains(filter)) {
            let mut lab = this_program(&["--inside", name], user);
            let mut child = lab.stdin(Stdio::piped()).spawn().unwrap();
            // Waiting would close the lifeline first.
            let lifeline = child.stdin.take();
            let status = child.wait().unwrap();
            drop(lifeline);
            println!("test {name} ({who}) ... {}", if status.success() { "ok" } else { "FAILED" });
            failed += usize::from(!status.success());
        }
        for (name, test) in OUTSIDE.iter().filter(|(name, _)| name.contains(filter)) {
            let passed = std::panic::catch_unwind(|| test(user)).is_ok();
            println!("test {name} ({who}) ... {}", if passed { "ok" } else { "FAILED" });
            failed += usize::from(!passed);
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn inside(name: &str) -> ExitCode {
    let (_, test) = INSIDE.iter().find(|(known, _)| *known == name).unwrap();
    in_lab(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(test());
        0
    })
}

pub fn in_lab(serve: impl FnOnce() -> i32) -> ExitCode {
    match supervisor::enter(serve) {
        Ok(code) => ExitCode::from(code as u8),
        Err(obstacle) => {
            eprintln!("{obstacle}");
            ExitCode::from(70)
        }
    }
}

/// This test program, in another of its parts, as another user if need be.
pub fn this_program(arguments: &[&str], user: Option<u32>) -> Command {
    let staged = STAGE.get().map(|folder| folder.join("tests"));
    let mut command = Command::new(staged.unwrap_or_else(|| std::env::current_exe().unwrap()));
    command.args(arguments).current_dir("/");
    if let Some(folder) = STAGE.get() {
        command.env(VARIABLE, folder.join("envoy"));
    }
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command
}

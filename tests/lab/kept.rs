//! A lab that is kept: left behind, looked at, used from a shell, ended; and what it leaves open to others.

use crate::life::{Down, folders, gone, place, processes};
use crate::program::{can_run, program, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

const THEIRS: &str = "apiVersion: v1\nkind: Config\nclusters: [{name: prod, cluster: {server: 'https://prod'}}]\n\
    users: [{name: me, user: {}}]\ncontexts: [{name: prod, context: {cluster: prod, user: me}}]\n\
    current-context: prod\n";

/// `egress-scn lab …`, with labs in `place` only.
fn lab(place: &Path, arguments: &[&str]) -> Output {
    let mut command = program();
    command.env("XDG_RUNTIME_DIR", place).env("XDG_STATE_HOME", place.join("state")).arg("lab").args(arguments);
    command.stdin(std::process::Stdio::null()).output().unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn status(place: &Path) -> Value {
    let seen = lab(place, &["status", "-o", "json"]);
    assert_eq!(code(&seen), Some(0), "{}", text(&seen));
    serde_json::from_slice(&seen.stdout).unwrap()
}

#[test]
fn a_detached_lab_lives_until_it_is_told_to_end() {
    if !can_run("a_detached_lab_lives_until_it_is_told_to_end") {
        return;
    }
    let place = place();
    let place = place.path();
    let _down = Down(place);
    let file = place.join("config");
    fs::write(&file, THEIRS).unwrap();
    let none = lab(place, &["status"]);
    assert_eq!(code(&none), Some(3), "{}", text(&none));
    assert!(text(&none).contains("no lab is up; `egress-scn lab up --detach` starts one"), "{}", text(&none));

    let up = lab(place, &["up", "--detach", "--kubeconfig", file.to_str().unwrap()]);
    assert_eq!(code(&up), Some(0), "{}", text(&up));
    assert!(text(&up).contains("`egress-scn lab down` ends it"), "{}", text(&up));

    // What it is: its keeper has a session of its own, so a terminal's end does not reach it.
    let seen = &status(place)[0];
    let keeper = seen["process"].as_i64().unwrap();
    let stat = fs::read_to_string(format!("/proc/{keeper}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!((fields[3], fields[4]), (keeper.to_string().as_str(), "0"), "session and terminal: {stat}");
    let names: Vec<&str> = seen["pods"].as_array().unwrap().iter().map(|pod| pod["name"].as_str().unwrap()).collect();
    for wanted in ["sleep-", "istio-egressgateway-", "istiod-"] {
        assert!(names.iter().any(|name| name.starts_with(wanted)), "{wanted}: {names:?}");
    }
    let shown = text(&lab(place, &["status"]));
    for wanted in ["mesh-test/sleep-", "2/2", "15443/TCP", "httpbin.org", "203.0.113.10", "context egress-scn-lab"] {
        assert!(shown.contains(wanted), "{wanted}:\n{shown}");
    }

    // The user's kubeconfig has it, beside what was there.
    let config: Value = serde_yaml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(config["current-context"], "egress-scn-lab");
    assert_eq!(config["contexts"][0]["name"], "prod");

    let shell = lab(place, &["shell", "--", "sh", "-c", "echo $KUBECONFIG; exit 7"]);
    assert_eq!(code(&shell), Some(7), "{}", text(&shell));
    assert_eq!(text(&shell).trim(), seen["kubeconfig"].as_str().unwrap());
    prompt(place);
    assert_eq!(code(&lab(place, &["logs"])), Some(0));

    let again = lab(place, &["up"]);
    assert_eq!(code(&again), Some(3), "{}", text(&again));
    assert!(text(&again).contains("a lab of the name \"lab\" is up already"), "{}", text(&again));

    closed_to_others(place);

    let down = lab(place, &["down"]);
    assert_eq!(code(&down), Some(0), "{}", text(&down));
    gone(place);
    let config: Value = serde_yaml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(config, serde_yaml::from_str::<Value>(THEIRS).unwrap());
    fs::remove_file(file).unwrap();
    assert_eq!(folders(place), Vec::<std::path::PathBuf>::new());
    assert_eq!(code(&lab(place, &["down"])), Some(3));
}

/// An interactive bash shows whose shell it is.
fn prompt(place: &Path) {
    if !Path::new("/bin/bash").exists() {
        return;
    }
    let mut command = program();
    command
        .env("XDG_RUNTIME_DIR", place)
        .env("SHELL", "/bin/bash")
        .env("HOME", place)
        .env("HISTFILE", "/dev/null")
        .args(["lab", "shell"]);
    let (input, mut into) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut into, b"echo \"PS1=$PS1\"; exit 5\n").unwrap();
    drop(into);
    let shell = command.stdin(input).output().unwrap();
    assert_eq!(code(&shell), Some(5), "{}", text(&shell));
    assert!(text(&shell).contains("PS1=(egress-scn-lab) "), "{}", text(&shell));
}

/// Files and sockets are their owner's alone, and nothing listens but on loopback.
fn closed_to_others(place: &Path) {
    let mut walked = 0;
    let mut open = vec![];
    let mut folders = vec![place.join(folders(place).iter().find(|f| f.join("kubeconfig").exists()).unwrap())];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let found = entry.metadata().unwrap();
            walked += 1;
            if found.permissions().mode() & 0o077 != 0 && !found.is_symlink() {
                open.push(format!("{:o} {}", found.permissions().mode(), entry.path().display()));
            }
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    assert!(walked > 8, "the lab's folder was not walked");
    assert!(open.is_empty(), "{open:#?}");

    let ours: BTreeSet<String> = sockets(place);
    let mut seen = 0;
    for (table, listening) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        for line in fs::read_to_string(format!("/proc/net/{table}")).unwrap().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] != listening || !ours.contains(fields[9]) {
                continue;
            }
            seen += 1;
            let address = fields[1].split(':').next().unwrap();
            let loopback = address == "0100007F" || address == "00000000000000000000000001000000";
            assert!(loopback, "{table} listens on {}", fields[1]);
        }
    }
    // The API, at the least.
    assert!(seen >= 1, "no listening socket of the lab was seen");
}

/// The socket inodes that the lab's processes hold.
fn sockets(place: &Path) -> BTreeSet<String> {
    let mut inodes = BTreeSet::new();
    for process in pids(place) {
        let Ok(entries) = fs::read_dir(format!("/proc/{process}/fd")) else { continue };
        for entry in entries.flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let target = target.to_string_lossy().into_owned();
            inodes.extend(target.strip_prefix("socket:[").map(|rest| rest.trim_end_matches(']').to_string()));
        }
    }
    inodes
}

/// The processes whose command line names the place.
fn pids(place: &Path) -> Vec<i32> {
    let named = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&place.display().to_string())
    };
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    all.filter(named).collect()
}

#[test]
fn a_lab_that_ends_by_itself_leaves_its_log() {
    if !can_run("a_lab_that_ends_by_itself_leaves_its_log") {
        return;
    }
    let place = place();
    let place = place.path();
    let _down = Down(place);
    let up = lab(place, &["up", "-d", "--name", "second"]);
    assert_eq!(code(&up), Some(0), "{}", text(&up));
    assert_eq!(status(place)[0]["context"], "egress-scn-second");
    // The oldest of them is the outer process: it takes the rest with it, and the keeper sees it go.
    let server = pids(place).into_iter().min().unwrap();
    kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
    gone(place);
    let begun = std::time::Instant::now();
    while folders(place).iter().any(|folder| !folder.ends_with("state")) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", processes(place));
        std::thread::yield_now();
    }
    let seen = lab(place, &["status", "--name", "second"]);
    assert_eq!(code(&seen), Some(3), "{}", text(&seen));
    assert!(text(&seen).contains("ended by itself; its log: "), "{}", text(&seen));
    let log = lab(place, &["logs", "--name", "second"]);
    assert_eq!(code(&log), Some(0), "{}", text(&log));
}

#[test]
fn an_envoy_that_takes_no_configuration_ends_the_boot_with_what_it_said() {
    if !can_run("an_envoy_that_takes_no_configuration_ends_the_boot_with_what_it_said") {
        return;
    }
    let place = place();
    let place = place.path();
    let _down = Down(place);
    let envoy = place.join("envoy");
    // Starts, says something, and never asks for a configuration.
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && echo 'envoy  version: 0/1.40.0/Clean/RELEASE/none' && exit\n\
        echo 'this one takes no configuration' >&2\nexec tail -f /dev/null\n";
    fs::write(&envoy, script).unwrap();
    fs::set_permissions(&envoy, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = program();
    command.env("XDG_RUNTIME_DIR", place).env("EGRESS_SCN_ENVOY", &envoy).args(["lab", "up", "-d", "--wait", "3"]);
    let refused = command.output().unwrap();
    let seen = text(&refused);
    assert_eq!(code(&refused), Some(3), "{seen}");
    for wanted in [
        "pods are not ready, and nothing has changed for 3 s",
        "pod istio-egressgateway-",
        "container istio-proxy: ",
        "this one takes no configuration",
    ] {
        assert!(seen.contains(wanted), "{wanted}:\n{seen}");
    }
    fs::remove_file(envoy).unwrap();
    gone(place);
    assert_eq!(folders(place), Vec::<std::path::PathBuf>::new());
}

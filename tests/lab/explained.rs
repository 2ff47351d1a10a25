//! Every command that `explain` prints, against a lab that is up: with the real kubectl, and with istioctl where it is
//! on this machine.

use crate::clients::Up;
use crate::program::{can_run, root};
use egress_scn::cluster::{Cluster, Propagation};
use egress_scn::explain::{Language, explain};
use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// A command that only gives a variable its value.
fn is_setting(command: &str) -> bool {
    command.split_once("=$(").is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

fn uses(command: &str, variable: &str) -> bool {
    command.contains(&format!("${{{variable}}}")) || command.contains(&format!("\"${variable}\""))
}

fn say(text: &str) {
    // Past the test harness's capture: what was not tried must be seen.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A folder to type the commands in: the project's files, and room for what commands write.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["scenarios", "manifests"] {
        std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn every_command_that_is_explained_runs() {
    if !can_run("every_command_that_is_explained_runs") {
        return;
    }
    if !on_path("kubectl") {
        say("kubectl is not on this machine: the commands of `explain` were not tried\n");
        return;
    }
    let istioctl = on_path("istioctl");
    if !istioctl {
        say("istioctl is not on this machine: its commands among those of `explain` were not tried\n");
    }
    let jq = on_path("jq");
    if !jq {
        say("jq is not on this machine: commands of `explain` with it were not tried\n");
    }
    let mut files: Vec<PathBuf> = glob::glob("scenarios/*.egress").unwrap().map(Result::unwrap).collect();
    files.push("tests/lab/language/explained.egress".into());
    let loaded = egress_scn::check::load(&files).unwrap();
    let explained = explain(&loaded.plan, Language::English, &egress_scn::check::ambient(&files[0]));
    let lab = Up::start();
    let folder = folder();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let propagation = runtime.block_on(async { Propagation::new(Cluster::new(lab.client().await, "the lab")) });
    assert!(runtime.block_on(propagation.can_prove()));
    let (mut tried, mut programs) = (0, HashSet::new());
    for scenario in &explained {
        let mut kept: Vec<&str> = vec![];
        for step in &scenario.steps {
            // `port=$(…)`: for the commands behind it, which are typed into the same shell.
            for (index, command) in step.commands.iter().enumerate() {
                kept.extend(Some(command.as_str()).filter(|c| is_setting(c) && (jq || !c.contains("| jq "))));
                if index + 1 < step.commands.len() && is_setting(command) {
                    continue;
                }
                if command.contains("| jq ") && !jq {
                    continue;
                }
                let used = kept.iter().filter(|s| s.split_once('=').is_some_and(|(name, _)| uses(command, name)));
                let command = &format!("{}\n{command}", used.copied().collect::<Vec<_>>().join("\n"));
                if command.contains("istioctl ") && !istioctl {
                    continue;
                }
                // A list that an istioctl command would have written.
                if command.contains(".txt") && !istioctl {
                    continue;
                }
                // The logs of a connection are written when it ends, which may be behind the command that made it:
                // then the command is typed again, as a person does.
                let mut last = None;
                for _ in 0..20 {
                    let output = Command::new("bash")
                        .args(["--norc", "-c", command])
                        .current_dir(folder.path())
                        .env("KUBECONFIG", lab.kubeconfig())
                        .output()
                        .unwrap();
                    // A bare exec ends as its curl does; the expectations behind it judge that.
                    let bare = step.text.starts_with("exec ");
                    let found = !String::from_utf8_lossy(&output.stderr).contains("command not found");
                    let done = found && (output.status.success() || bare);
                    last = Some(output);
                    if done {
                        last = None;
                        break;
                    }
                }
                if let Some(output) = last {
                    panic!(
                        "{}: {}\n{command}\n{}{}",
                        scenario.name,
                        step.text,
                        String::from_utf8_lossy(&output.stdout),
                        String::from_utf8_lossy(&output.stderr)
                    );
                }
                tried += 1;
                programs.extend(["kubectl ", "istioctl ", " curl "].into_iter().filter(|p| command.contains(p)));
                let changes = ["apply", "patch", "delete", "restart", "scale", "site", "cut", "kill"];
                if changes.iter().any(|verb| step.text.starts_with(verb)) || step.place.is_none() {
                    let settled = runtime.block_on(propagation.settle(&[], None, Duration::from_secs(30)));
                    assert!(settled.proven, "{settled:?}");
                }
            }
        }
    }
    assert!(tried > 60 && programs.contains("kubectl ") && programs.contains(" curl "), "{tried} {programs:?}");
    say(&format!(
        "{tried} commands of `explain` were run, istioctl's {}\n",
        if istioctl { "among them" } else { "not" }
    ));
    // The undo has put all back.
    let left = lab.kubectl(&[
        "get",
        "gateways.networking.istio.io,virtualservices,destinationrules,serviceentries,sidecars,sites",
        "-A",
        "-o",
        "name",
    ]);
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

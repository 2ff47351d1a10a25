//! How a lab begins and ends: by Ctrl-C, by `kill -9`, beside another, as an ordinary user.

use crate::program::{can_run, program, root, text};
use egress_scn::lab::envoy_binary::Surroundings;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A folder of its own for a lab's folders, so that what one leaves can be told from all others. Short: the
/// paths of sockets are.
pub fn place() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("lab").tempdir_in("/tmp").unwrap()
}

/// Ends what `lab up --detach` left in the place, also when its test stops half-way.
pub struct Down<'p>(pub &'p Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _ = program().env("XDG_RUNTIME_DIR", self.0).args(["lab", "down", "--all"]).output();
    }
}

pub fn spawn(command: &mut Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// Reads lines until one has the words.
pub fn read_until(out: &mut impl BufRead, words: &str) -> String {
    let mut seen = String::new();
    let mut line = String::new();
    while out.read_line(&mut line).unwrap() > 0 {
        seen.push_str(&line);
        if line.contains(words) {
            return seen;
        }
        line.clear();
    }
    panic!("ended before {words:?}:\n{seen}");
}

/// Command lines of all processes that name the place: the tool's lab, its Envoys.
pub fn processes(place: &Path) -> Vec<String> {
    let mut found = vec![];
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&place.display().to_string()) {
            found.push(line);
        }
    }
    found
}

pub fn gone(place: &Path) {
    let begun = Instant::now();
    while !processes(place).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "still there: {:#?}", processes(place));
        std::thread::yield_now();
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&place.display().to_string()), "{mounts}");
}

pub fn folders(place: &Path) -> Vec<PathBuf> {
    fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn ctrl_c_undoes_and_leaves_nothing() {
    if !can_run("ctrl_c_undoes_and_leaves_nothing") {
        return;
    }
    let place = place();
    let scenario = place.path().join("long.egress");
    fs::write(&scenario, "apply <<YAML\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: mine\n  namespace: mesh-test\nYAML\nexec sleep sleep 600\nexpect exit 0\n").unwrap();
    let (mut child, mut out) =
        spawn(program().env("XDG_RUNTIME_DIR", place.path()).args(["run", "--lab"]).arg(&scenario));
    read_until(&mut out, "apply");
    assert!(!processes(place.path()).is_empty(), "this test cannot see the lab's processes");
    signal(&child, Signal::SIGINT);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    gone(place.path());
    fs::remove_file(scenario).unwrap();
    assert_eq!(folders(place.path()), Vec::<PathBuf>::new());
}

#[test]
fn kill_9_leaves_files_only_and_the_next_run_sweeps_them() {
    if !can_run("kill_9_leaves_files_only_and_the_next_run_sweeps_them") {
        return;
    }
    let place = place();
    let (mut child, mut out) = spawn(program().env("XDG_RUNTIME_DIR", place.path()).args(["lab", "up"]));
    read_until(&mut out, "kubectl get pods");
    assert!(processes(place.path()).len() >= 4, "{:#?}", processes(place.path()));
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    gone(place.path());
    let left = folders(place.path());
    assert_eq!(left.len(), 1, "{left:?}");

    let (mut child, mut out) = spawn(program().env("XDG_RUNTIME_DIR", place.path()).args(["lab", "up"]));
    read_until(&mut out, "kubectl get pods");
    assert!(!left[0].exists(), "{} was not swept", left[0].display());
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    gone(place.path());
    assert_eq!(folders(place.path()), Vec::<PathBuf>::new());
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other() {
    if !can_run("two_runs_at_once_do_not_disturb_each_other") {
        return;
    }
    let place = place();
    let start = || {
        let mut command = program();
        command.env("XDG_RUNTIME_DIR", place.path()).args(["run", "--lab", "scenarios/card.egress"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for run in [start(), start()] {
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
    gone(place.path());
    assert_eq!(folders(place.path()), Vec::<PathBuf>::new());
}

/// Tests run as root here and there; then this one becomes somebody else. Run by an ordinary user, every
/// other test is this test.
#[test]
fn an_ordinary_user_runs_the_lab() {
    if !can_run("an_ordinary_user_runs_the_lab") || !nix::unistd::geteuid().is_root() {
        return;
    }
    const NOBODY: u32 = 65534;
    let place = place();
    std::os::unix::fs::chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    // Root's own folders may be closed to others: copies that are not.
    let envoy = Surroundings::of_process().find(&mut |_| ()).unwrap().path;
    let copies = tempfile::tempdir().unwrap();
    fs::set_permissions(copies.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let copy = |from: &Path, name: &str| {
        let to = copies.path().join(name);
        fs::copy(from, &to).unwrap();
        to
    };
    let tool = copy(Path::new(env!("CARGO_BIN_EXE_egress-scn")), "egress-scn");
    let envoy = copy(&envoy, "envoy");
    fs::create_dir(copies.path().join("scenarios")).unwrap();
    fs::create_dir(copies.path().join("manifests")).unwrap();
    let scenario = copy(&root().join("scenarios/card.egress"), "scenarios/card.egress");
    for manifest in glob::glob(root().join("manifests/*cnn*.yaml").to_str().unwrap()).unwrap() {
        let manifest = manifest.unwrap();
        copy(&manifest, &format!("manifests/{}", manifest.file_name().unwrap().to_str().unwrap()));
    }
    let output = Command::new(tool)
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", place.path())
        .env("XDG_RUNTIME_DIR", place.path())
        .env("EGRESS_SCN_ENVOY", envoy)
        .args(["run", "--lab"])
        .arg(scenario)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    gone(place.path());
}

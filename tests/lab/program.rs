//! The program under test, and whether this machine can run the lab.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program, with no cluster in sight.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_egress-scn"));
    command.current_dir(root()).env("KUBECONFIG", "/nonexistent").env_remove("EGRESS_SCN_SKIP_LAB");
    command
}

/// False only where the lab's tests are to be skipped, and then it says so.
pub fn can_run(test: &str) -> bool {
    if std::env::var_os("EGRESS_SCN_SKIP_LAB").is_some_and(|value| value == "1") {
        // Past the test harness's capture: a skip must be seen.
        let _ = std::io::stderr().write_all(format!("skipped: {test} (EGRESS_SCN_SKIP_LAB=1)\n").as_bytes());
        return false;
    }
    let doctor = program().arg("doctor").output().unwrap();
    assert!(doctor.status.success(), "{}", text(&doctor));
    true
}

/// Both outputs, as a person would see them.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn scenarios() -> Vec<PathBuf> {
    let pattern = root().join("scenarios/*.egress");
    let found: Vec<PathBuf> = glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap).collect();
    assert!(found.len() >= 6, "{found:?}");
    found
}

//! The program under test.

use std::path::Path;
use std::process::Command;

pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program in the project's folder, with no cluster in sight and English as the language.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_egress-scn"));
    command.current_dir(root()).env("KUBECONFIG", "/nonexistent").env("LANG", "C.UTF-8");
    command.env_remove("LC_ALL").env_remove("LC_MESSAGES").env_remove("LANGUAGE");
    command
}

pub fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub fn run(arguments: &[&str]) -> Said {
    said(program().args(arguments))
}

//! `lab shell`: the user's shell with `KUBECONFIG` set, and a prompt that says so.

use crate::cli::fail;
use crate::lab::folder::write_private;
use crate::lab::kept::Kept;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Becomes the shell, or the given command.
pub fn run(name: Option<&str>, command: &[OsString]) -> i32 {
    let lab = match super::find(name) {
        Ok(lab) => lab,
        Err(code) => return code,
    };
    let context = crate::lab::kubeconfig::context_name(&lab.record.name);
    let (program, prepared) = match command.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments);
            (PathBuf::from(program), Ok(command))
        }
        None => {
            let shell = PathBuf::from(std::env::var_os("SHELL").filter(|s| !s.is_empty()).unwrap_or("/bin/sh".into()));
            let prepared = shell_command(&shell, &lab, &context);
            (shell, prepared)
        }
    };
    let mut prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return fail(&format!("cannot prepare the shell: {error}"), 3),
    };
    prepared.env("KUBECONFIG", lab.kubeconfig()).env("EGRESS_SCN_LAB", &lab.record.name);
    // Signals, terminal and exit code are the shell's own: this process becomes it.
    let error = prepared.exec();
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    fail(&format!("cannot run {}: {error}", program.display()), code)
}

/// A shell whose prompt begins with the lab's context, after the user's own settings.
fn shell_command(shell: &Path, lab: &Kept, context: &str) -> io::Result<Command> {
    let mut command = Command::new(shell);
    match shell.file_name().and_then(|name| name.to_str()) {
        Some("bash") => {
            let settings = lab.folder.join("shell.bashrc");
            let text = "[ -f ~/.bashrc ] && . ~/.bashrc\nPS1=\"(CONTEXT) $PS1\"\n".replace("CONTEXT", context);
            write_private(&settings, &text)?;
            command.arg("--rcfile").arg(settings).arg("-i");
        }
        Some("zsh") => {
            let folder = lab.folder.join("zsh");
            std::fs::create_dir_all(&folder)?;
            let text = "ZDOTDIR=${EGRESS_SCN_ZDOTDIR:-$HOME}\n[ -f \"$ZDOTDIR/.zshrc\" ] && . \"$ZDOTDIR/.zshrc\"\n\
                        PROMPT=\"(CONTEXT) $PROMPT\"\n";
            write_private(&folder.join(".zshrc"), &text.replace("CONTEXT", context))?;
            if let Some(given) = std::env::var_os("ZDOTDIR") {
                command.env("EGRESS_SCN_ZDOTDIR", given);
            }
            command.env("ZDOTDIR", folder);
        }
        Some("fish") => {
            let text =
                "functions -c fish_prompt __lab_prompt; function fish_prompt; echo -n '(CONTEXT) '; __lab_prompt; end";
            command.arg("--init-command").arg(text.replace("CONTEXT", context));
        }
        _ => {
            command.env("PS1", format!("({context}) $ "));
        }
    }
    Ok(command)
}

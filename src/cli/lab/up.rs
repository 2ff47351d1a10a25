//! `lab up`: in this terminal, or left behind by `--detach`.

use super::{Parts, Up};
use crate::cli::{fail, interrupted};
use crate::lab::boot::Word;
use crate::lab::kept::keeper::{End, KeepError, Keeper, Keeping};
use crate::lab::real::RealParts;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

impl Up {
    fn keeping(&self) -> Keeping {
        let ready_within = Duration::from_secs(self.wait);
        let kubeconfig = self.kubeconfig.as_ref().map(|path| absolute(path));
        let real = self.parts.real();
        let (detached, ingress) = (self.detach, self.ingress);
        Keeping { name: self.name.clone(), detached, kubeconfig, ready_within, ingress, real }
    }

    /// What a user does next.
    fn next(&self, kubeconfig: &Path) -> String {
        let name = if self.name == "lab" { String::new() } else { format!(" --name {}", self.name) };
        let end = if self.detach { format!("`egress-scn lab down{name}` ends it.") } else { "Ctrl-C ends it.".into() };
        let lines = match &self.kubeconfig {
            Some(file) if default_kubeconfig().is_some_and(|default| default == *file) => String::new(),
            given => format!("  export KUBECONFIG={}\n", given.as_deref().unwrap_or(kubeconfig).display()),
        };
        format!("The lab is up. {end}\n\n{lines}  kubectl get pods -A\n\nor: egress-scn lab shell{name}\n")
    }
}

/// The keeper of a detached lab stands elsewhere.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl Parts {
    fn real(&self) -> RealParts {
        let path = |given: &Option<PathBuf>| given.as_deref().map(absolute);
        RealParts {
            kube_apiserver: path(&self.kube_apiserver),
            etcd: path(&self.etcd),
            kube_controller_manager: path(&self.kube_controller_manager),
            istiod: path(&self.istiod),
            istio_crds: path(&self.istio_crds),
        }
    }

    /// The same, for the command line of the keeper.
    fn words(&self) -> Vec<OsString> {
        let options = [
            ("--istiod", &self.istiod),
            ("--kube-apiserver", &self.kube_apiserver),
            ("--etcd", &self.etcd),
            ("--kube-controller-manager", &self.kube_controller_manager),
            ("--istio-crds", &self.istio_crds),
        ];
        let given = options.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)));
        given.flat_map(|(option, path)| [option.into(), absolute(path).into_os_string()]).collect()
    }
}

/// What kubectl reads when nothing is said.
fn default_kubeconfig() -> Option<PathBuf> {
    match std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        Some(value) => Some(PathBuf::from(value)),
        None => Some(PathBuf::from(std::env::var_os("HOME")?).join(".kube/config")),
    }
}

fn code_of(error: &KeepError) -> i32 {
    match error {
        KeepError::Kubeconfig(..) => 2,
        KeepError::Ended => 130,
        _ => 3,
    }
}

/// In this terminal, until Ctrl-C.
#[allow(clippy::print_stderr)]
pub async fn here(up: Up) -> i32 {
    // Heard from now on: a Ctrl-C must not fall between the boot and what comes after.
    let stopped = interrupted();
    let keeper = match Keeper::start(up.keeping(), |text| eprintln!("{text}"), interrupted()).await {
        Ok(keeper) => keeper,
        Err(error) => return fail(&error.to_string(), code_of(&error)),
    };
    crate::cli::output::print(&up.next(&keeper.kubeconfig()));
    match keeper.keep(stopped).await {
        End::Asked => 0,
        End::ByItself(log) => {
            let log = log.map_or(String::new(), |log| format!("; its log: {}", log.display()));
            fail(&format!("the lab ended by itself{log}"), 3)
        }
    }
}

/// In the background: starts the keeper and waits until its lab is up.
#[allow(clippy::print_stderr)]
pub async fn detached(up: Up) -> i32 {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return fail(&format!("cannot find this program: {error}"), 3),
    };
    let mut command = tokio::process::Command::new(program);
    command.args(["lab", "__keep", "--detach", "--name", &up.name, "--wait", &up.wait.to_string()]);
    if let Some(file) = &up.kubeconfig {
        command.arg("--kubeconfig").arg(file);
    }
    command.args(up.ingress.then_some("--ingress"));
    command.args(up.parts.words());
    // Nothing of this terminal stays with the keeper: its input tells it that we are here, its output us how far it is.
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return fail(&format!("cannot start the lab's keeper: {error}"), 3),
    };
    let (Some(here), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return fail("cannot talk to the lab's keeper", 3);
    };
    let mut words = BufReader::new(stdout).lines();
    let told = async {
        while let Ok(Some(line)) = words.next_line().await {
            match serde_json::from_str::<Told>(&line) {
                Ok(Told::Word(Word::Doing(text))) => eprintln!("{text}"),
                Ok(Told::Word(Word::Failed(why))) => return Err((why, 3)),
                Ok(Told::Failed { why, code }) => return Err((why, code)),
                Ok(Told::Up { kubeconfig }) => return Ok(kubeconfig),
                Ok(Told::Word(Word::Ready)) | Err(_) => {}
            }
        }
        Err(("the lab's keeper ended without a word".to_string(), 3))
    };
    let outcome = tokio::select! {
        outcome = told => outcome,
        () = interrupted() => {
            drop(here);
            // It ends its lab now.
            let _ = child.wait().await;
            return 130;
        }
    };
    match outcome {
        Ok(kubeconfig) => {
            crate::cli::output::print(&up.next(&kubeconfig));
            0
        }
        Err((why, code)) => {
            let _ = child.wait().await;
            fail(&why, code)
        }
    }
}

/// What a keeper tells the `lab up --detach` that started it, a JSON line each.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Told {
    Up { kubeconfig: PathBuf },
    Failed { why: String, code: i32 },
    Word(Word),
}

fn tell(told: &Told) {
    if let Ok(line) = serde_json::to_string(told) {
        crate::cli::output::print(&(line + "\n"));
    }
}

/// The keeper that `--detach` leaves behind: no terminal, no folder, nothing open of the one who started it.
pub async fn keep(up: Up) -> i32 {
    let _ = nix::unistd::setsid();
    let keeping = up.keeping();
    if std::env::set_current_dir("/").is_err() {
        return 3;
    }
    let stopped = interrupted();
    let doing = |text: String| tell(&Told::Word(Word::Doing(text)));
    let abandoned = async {
        tokio::select! {
            () = interrupted() => {}
            () = input_closed() => {}
        }
    };
    let keeper = match Keeper::start(keeping, doing, abandoned).await {
        Ok(keeper) => keeper,
        Err(error) => {
            tell(&Told::Failed { why: error.to_string(), code: code_of(&error) });
            return code_of(&error);
        }
    };
    tell(&Told::Up { kubeconfig: keeper.kubeconfig() });
    match keeper.keep(stopped).await {
        End::Asked => 0,
        End::ByItself(_) => 3,
    }
}

async fn input_closed() {
    let mut input = tokio::io::stdin();
    let mut byte = [0];
    while input.read(&mut byte).await.is_ok_and(|n| n > 0) {}
}

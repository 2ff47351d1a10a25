//! `egress-scn lab up`: the embedded lab for kubectl, istioctl and curl.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Lab {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Start the lab and keep it until Ctrl-C.
    Up {
        /// Also write the kubeconfig to this file.
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
    },
}

impl Lab {
    pub async fn run(self) -> i32 {
        let LabCommand::Up { kubeconfig } = self.command;
        #[cfg(target_os = "linux")]
        return up(kubeconfig).await;
        #[cfg(not(target_os = "linux"))]
        {
            let _ = kubeconfig;
            super::fail("the lab runs on Linux only; give a cluster with --context NAME", 3)
        }
    }
}

#[cfg(target_os = "linux")]
#[allow(clippy::print_stdout, clippy::print_stderr)]
async fn up(kubeconfig: Option<PathBuf>) -> i32 {
    use crate::lab::{boot, folder};
    let mut lab = match boot::Lab::start(|text| eprintln!("{text}")).await {
        Ok(lab) => lab,
        Err(error) => return super::fail(&error.to_string(), 3),
    };
    let mut path = lab.kubeconfig();
    if let Some(copy) = kubeconfig {
        let written = std::fs::read_to_string(&path).and_then(|text| folder::write_private(&copy, &text));
        if let Err(error) = written {
            lab.stop().await;
            return super::fail(&format!("cannot write {}: {error}", copy.display()), 2);
        }
        path = copy;
    }
    let interrupted = super::interrupted();
    println!("The lab is up. Ctrl-C ends it.\n\n  export KUBECONFIG={}\n  kubectl get pods -A", path.display());
    let ended = tokio::select! {
        ended = lab.ended() => { let () = ended; true }
        () = interrupted => false,
    };
    if ended {
        return super::fail("the lab ended by itself", 3);
    }
    lab.stop().await;
    0
}

//! `egress-scn run`: scenarios on a target.

use super::fail;
use super::select::Select;
use super::target::{Choice, TargetArgs};
use crate::check::Loaded;
use crate::cluster::Cluster;
#[cfg(target_os = "linux")]
use crate::lab::boot::{Lab, Start};
use crate::report::{self, Reporter};
use crate::run::event::Event;
use crate::run::journal::Keeping;
use crate::run::{self, TargetInfo};
use clap::Args;
use std::path::PathBuf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The lab, as the first line of a run names it.
const LAB: &str = "the embedded lab (touches no cluster)";

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    target: TargetArgs,
    /// Change nothing: show the target, the steps, and on a cluster what they would change.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before a cluster is changed.
    #[arg(short, long)]
    yes: bool,
    /// On a cluster, provide what scenarios require and it lacks, and undo that after each scenario.
    #[arg(long)]
    provide: bool,
    /// On a cluster, run scenarios that change what others depend on too.
    #[arg(long)]
    disruptive: bool,
    /// Show versions and more evidence.
    #[arg(short, long)]
    verbose: bool,
    /// Write the run as a Markdown test report.
    #[arg(long, value_name = "FILE.md")]
    report: Option<PathBuf>,
}

impl Run {
    pub async fn run(self) -> i32 {
        let loaded = match self.select.load() {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        let (events, received) = mpsc::unbounded_channel();
        match self.target.choose().await {
            Err(message) => fail(&message, 3),
            Ok(Choice::Lab { reason }) if self.dry_run => {
                super::check::show(&loaded.warnings, 0);
                super::confirm::steps(LAB, &reason, &loaded.plan);
                0
            }
            Ok(Choice::Lab { reason }) => self.on_lab(loaded, reason, events, received).await,
            Ok(Choice::Cluster { config, context, reason, confirmed }) => {
                let cluster = match Cluster::connect(*config) {
                    Ok(cluster) => cluster,
                    Err(error) => return fail(&format!("cannot use context \"{context}\": {error}"), 3),
                };
                let name = format!("cluster of context {context}, {}", cluster.server());
                if let (false, Some(scenario)) =
                    (self.disruptive || self.dry_run, loaded.plan.scenarios.iter().find(|s| s.disruptive.is_some()))
                {
                    let why = scenario.disruptive.as_ref().and_then(|d| d.because.clone());
                    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
                    return fail(
                        &format!(
                            "the scenario \"{}\" changes what others on {name} depend on{why}; --disruptive runs it all the same",
                            scenario.name
                        ),
                        2,
                    );
                }
                if self.dry_run {
                    super::check::show(&loaded.warnings, 0);
                    super::confirm::steps(&name, &reason, &loaded.plan);
                    return match run::preview(&loaded.plan, &cluster).await {
                        Ok(preview) => super::confirm::show(&preview),
                        Err(error) => fail(&format!("cannot look at {name}: {error}"), 3),
                    };
                }
                if !confirmed && !self.yes {
                    let preview = match run::preview(&loaded.plan, &cluster).await {
                        Ok(preview) => preview,
                        Err(error) => return fail(&format!("cannot look at {name}: {error}"), 3),
                    };
                    if let Some(code) = super::confirm::ask(&name, &reason, &preview) {
                        return code;
                    }
                }
                let Some(journal) = Keeping::of_user() else {
                    return fail("no place for the undo journal: set HOME or XDG_STATE_HOME", 3);
                };
                let target = TargetInfo { name, reason, lab: false, provide: self.provide, journal };
                self.on(loaded, cluster, target, events, received).await
            }
        }
    }

    #[cfg(target_os = "linux")]
    async fn on_lab(
        &self,
        loaded: Loaded,
        reason: String,
        events: mpsc::UnboundedSender<Event>,
        received: mpsc::UnboundedReceiver<Event>,
    ) -> i32 {
        let name = LAB.to_string();
        let reporting = self.begin_reports(&loaded, &name, &reason, &events, received);
        let progress = events.clone();
        let ingress = loaded.plan.wants_ingress();
        let booting = async {
            let start = Start { ingress, ..Start::new()? };
            let told = move |text| drop(progress.send(Event::Setup { text, progress: None }));
            Lab::prepare(start, told).await?.boot().await
        };
        let lab = tokio::select! {
            lab = booting => lab,
            () = super::interrupted() => return 130,
        };
        let lab = match lab {
            Ok(lab) => lab,
            Err(error) => return fail(&error.to_string(), 3),
        };
        let code = match connect_to_lab(&lab).await {
            Err(message) => fail(&message, 3),
            Ok(cluster) => {
                let journal = Keeping { folder: lab.folder().join("journal"), durable: false };
                let target = TargetInfo { name, reason, lab: true, provide: true, journal };
                go(&loaded, cluster, target, events, reporting).await
            }
        };
        lab.stop().await;
        code
    }

    #[cfg(not(target_os = "linux"))]
    async fn on_lab(
        &self,
        _: Loaded,
        reason: String,
        _: mpsc::UnboundedSender<Event>,
        _: mpsc::UnboundedReceiver<Event>,
    ) -> i32 {
        fail(&format!("the lab ({reason}) runs on Linux only; give a cluster with --context NAME"), 3)
    }

    async fn on(
        &self,
        loaded: Loaded,
        cluster: Cluster,
        target: TargetInfo,
        events: mpsc::UnboundedSender<Event>,
        received: mpsc::UnboundedReceiver<Event>,
    ) -> i32 {
        let reporting = self.begin_reports(&loaded, &target.name, &target.reason, &events, received);
        go(&loaded, cluster, target, events, reporting).await
    }

    /// Starts the reports: the terminal, and the Markdown file beside it when one is asked for. The first
    /// line says which target and why.
    fn begin_reports(
        &self,
        loaded: &Loaded,
        name: &str,
        reason: &str,
        events: &mpsc::UnboundedSender<Event>,
        mut received: mpsc::UnboundedReceiver<Event>,
    ) -> JoinHandle<()> {
        // The receiver lives in the task below.
        let _ = events.send(Event::Target { name: name.to_string(), reason: reason.to_string() });
        let mut reporters: Vec<Box<dyn Reporter + Send>> = vec![Box::new(report::terminal(self.verbose))];
        if let Some(path) = &self.report {
            reporters.push(Box::new(report::markdown(path)));
        }
        let warnings = loaded.warnings.clone();
        tokio::spawn(async move {
            while let Some(event) = received.recv().await {
                reporters.iter_mut().for_each(|reporter| complain(reporter.event(&event)));
                if matches!(event, Event::Target { .. }) {
                    super::check::show(&warnings, 0);
                }
            }
            reporters.iter_mut().for_each(|reporter| complain(reporter.finish()));
        })
    }
}

fn complain(written: std::io::Result<()>) {
    if let Err(error) = written {
        fail(&format!("the report cannot be written: {error}"), 0);
    }
}

/// Runs the plan, with Ctrl-C as the word to stop and undo.
async fn go(
    loaded: &Loaded,
    cluster: Cluster,
    target: TargetInfo,
    events: mpsc::UnboundedSender<Event>,
    reporting: JoinHandle<()>,
) -> i32 {
    let (handle, control) = run::control();
    tokio::spawn(async move {
        super::interrupted().await;
        handle.interrupt();
        // Asked twice: the undo is in the journal, and the user wants out now.
        super::interrupted().await;
        std::process::exit(130);
    });
    let counts = run::run(&loaded.plan, cluster, target, events, control).await;
    // The runner has dropped its end: the reports finish with what is left to read.
    let _ = reporting.await;
    run::exit_code(&counts)
}

#[cfg(target_os = "linux")]
async fn connect_to_lab(lab: &Lab) -> Result<Cluster, String> {
    let kubeconfig = kube::config::Kubeconfig::read_from(lab.kubeconfig()).map_err(|error| error.to_string())?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await;
    Cluster::connect(config.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}

//! `egress-scn doctor`: can this machine run the lab? With `--context`: can scenarios run on that cluster?

use super::output::print;
use super::target::{Choice, TargetArgs};
use super::{fail, output};
use crate::cluster::Cluster;
use crate::cluster::doctor::{Finding, ROOT_NAMESPACE, State, Subject};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Doctor {
    /// Look at the cluster of this kubeconfig context instead of this machine.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Read this kubeconfig instead of $KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "FILE", requires = "context")]
    kubeconfig: Option<PathBuf>,
    /// The workload that sends requests.
    #[arg(long, value_name = "NAME.NAMESPACE", default_value = "sleep.mesh-test", value_parser = workload)]
    from: (String, String),
    /// The egress gateway.
    #[arg(long, value_name = "NAME.NAMESPACE", default_value = "istio-egressgateway.istio-system", value_parser = workload)]
    gateway: (String, String),
    /// Ports that the gateway's Service should expose.
    #[arg(long = "port", value_name = "PORT", default_values_t = [80, 443, 15443])]
    ports: Vec<u16>,
    /// Outside hosts that should answer over HTTPS.
    #[arg(long = "site", value_name = "HOST", default_values_t = ["httpbin.org".to_string(), "edition.cnn.com".to_string()])]
    sites: Vec<String>,
    /// As text, or as JSON.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Text,
    Json,
}

/// `NAME`, `NAME.NAMESPACE`, `deploy/NAME.NAMESPACE`.
fn workload(text: &str) -> Result<(String, String), String> {
    let name = text.rsplit('/').next().unwrap_or(text);
    let (name, namespace) = name.split_once('.').unwrap_or((name, ROOT_NAMESPACE));
    if name.is_empty() || namespace.is_empty() {
        return Err("write it as NAME.NAMESPACE".into());
    }
    Ok((name.to_string(), namespace.to_string()))
}

impl Doctor {
    pub async fn run(self) -> i32 {
        match self.context.clone() {
            Some(context) => self.of_cluster(context).await,
            None => of_machine(),
        }
    }

    async fn of_cluster(self, context: String) -> i32 {
        let target = TargetArgs { lab: false, context: Some(context), kubeconfig: self.kubeconfig };
        let cluster = match target.choose().await {
            Ok(Choice::Cluster { config, .. }) => Cluster::connect(*config).map_err(|error| error.to_string()),
            Ok(Choice::Lab { reason }) => Err(reason),
            Err(message) => Err(message),
        };
        let subject = Subject {
            source: self.from.0,
            namespace: self.from.1,
            gateway: self.gateway.0,
            gateway_namespace: self.gateway.1,
            ports: self.ports,
            sites: self.sites,
        };
        let cluster = match cluster {
            Ok(cluster) => cluster,
            Err(message) => return fail(&message, 3),
        };
        let findings = tokio::select! {
            findings = cluster.diagnose(&subject) => findings,
            () = super::interrupted() => return 130,
        };
        let findings = match findings {
            Ok(findings) => findings,
            Err(error) => return fail(&error.to_string(), 3),
        };
        match self.output {
            Form::Text => print(&text(&findings)),
            Form::Json => {
                print(&output::document(&serde_json::to_value(&findings).unwrap_or_default(), output::Format::Json));
            }
        }
        match findings.iter().map(|finding| finding.state).max() {
            Some(State::Refused) => 3,
            Some(State::Lacking) => 1,
            _ => 0,
        }
    }
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.state {
            State::Good => "✓",
            State::Lacking => "!",
            State::Refused => "✗",
        };
        text += &format!("{mark} {:<16} {}\n", finding.about, finding.seen);
        for mend in &finding.mend {
            mend.lines().for_each(|line| text += &format!("      {line}\n"));
        }
    }
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    let (refused, lacking) = (count(State::Refused), count(State::Lacking));
    text += &match (refused, lacking) {
        (0, 0) => "\nScenarios can run here.\n".to_string(),
        (0, n) => format!("\nScenarios can run here; {n} of what they may need is lacking (!).\n"),
        (n, _) => format!("\nScenarios cannot run here: {n} of what they need is missing (✗).\n"),
    };
    text
}

fn of_machine() -> i32 {
    #[cfg(target_os = "linux")]
    {
        match crate::lab::server::check_machine() {
            Ok(()) => {
                print("✓ this machine can run the lab\n");
                0
            }
            Err(reasons) => {
                print(&format!("✗ this machine cannot run the lab\n{reasons}\n"));
                3
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    fail("the lab runs on Linux only; give a cluster with --context NAME", 3)
}

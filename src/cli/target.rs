//! Which target a run uses, and why: `--lab`, `--context NAME`, a confirmed current context, or the lab.

use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::PathBuf;

/// What the user asked for.
#[derive(Debug, Clone, clap::Args)]
pub struct TargetArgs {
    /// Run on the embedded lab: real Envoys in namespaces of this machine; touches no cluster.
    #[arg(long, conflicts_with = "context")]
    pub lab: bool,
    /// Run on the cluster of this kubeconfig context.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Read this kubeconfig instead of $KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// The decision, before anything is touched.
#[derive(Debug)]
pub enum Choice {
    Lab { reason: String },
    Cluster { config: Box<kube::Config>, context: String, reason: String, confirmed: bool },
}

impl TargetArgs {
    /// Decides. Errors are sentences for the user.
    pub async fn choose(&self) -> Result<Choice, String> {
        if self.lab {
            return Ok(Choice::Lab { reason: "--lab".into() });
        }
        let read = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let kubeconfig = match read {
            Ok(kubeconfig) => kubeconfig,
            Err(error) if self.context.is_some() || self.kubeconfig.is_some() => {
                return Err(format!("cannot read the kubeconfig: {error}"));
            }
            Err(_) => return Ok(Choice::Lab { reason: "no kubeconfig was found".into() }),
        };
        let (context, reason, confirmed) = match (&self.context, &kubeconfig.current_context) {
            (Some(context), _) => (context.clone(), format!("--context {context}"), true),
            (None, Some(current)) if !current.is_empty() => {
                (current.clone(), format!("the kubeconfig's current context is {current}"), false)
            }
            (None, _) => return Ok(Choice::Lab { reason: "the kubeconfig has no current context".into() }),
        };
        if !kubeconfig.contexts.iter().any(|known| known.name == context) {
            let known: Vec<&str> = kubeconfig.contexts.iter().map(|known| known.name.as_str()).collect();
            return Err(format!("the kubeconfig has no context \"{context}\"; it has: {}", known.join(", ")));
        }
        let options = KubeConfigOptions { context: Some(context.clone()), ..Default::default() };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| format!("cannot use context \"{context}\": {error}"))?;
        Ok(Choice::Cluster { config: Box::new(config), context, reason, confirmed })
    }
}

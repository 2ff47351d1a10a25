//! `egress-scn diff-config`: what a change of YAML changes in a proxy's Envoy.

use super::{offline, output};
use crate::mesh::{self, Change, Resource};
use clap::Args;
use similar::TextDiff;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct DiffConfig {
    /// `NAME.NAMESPACE` or `deploy/NAME.NAMESPACE`, in both sets of documents.
    proxy: Option<String>,
    /// All documents as they are before: files or folders.
    #[arg(short, long = "filename", value_name = "FILE", num_args = 1.., required = true)]
    files: Vec<PathBuf>,
    /// All documents as they are afterwards.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    to: Vec<PathBuf>,
    /// Only say which resources differ.
    #[arg(short, long)]
    brief: bool,
}

impl DiffConfig {
    pub fn run(mut self) -> i32 {
        match self.compare() {
            Ok(code) | Err(code) => code,
        }
    }

    fn compare(&mut self) -> Result<i32, i32> {
        let proxy = offline::proxy_of(self.proxy.take(), &mut self.to)?;
        let before = offline::generate(&self.files, &proxy)?;
        let after = offline::generate(&self.to, &proxy)?;
        let changes = mesh::changes(&before, &after);
        let mut out = String::new();
        for change in &changes {
            out.push_str(&heading(change));
            if !self.brief {
                let (old, new) = (yaml(change.before), yaml(change.after));
                let diff = TextDiff::from_lines(old.as_str(), new.as_str());
                let (from, to) = (label("before", change.before, change), label("after", change.after, change));
                out.push_str(&diff.unified_diff().context_radius(3).header(&from, &to).to_string());
                out.push('\n');
            }
        }
        output::print(&out);
        Ok(i32::from(!changes.is_empty()))
    }
}

/// `~ listener 0.0.0.0_443  from Gateway istio-system/egress`.
fn heading(change: &Change) -> String {
    let mark = match (change.before, change.after) {
        (None, _) => '+',
        (_, None) => '-',
        _ => '~',
    };
    let objects = change.objects();
    let from = if objects.is_empty() { String::new() } else { format!("  from {}", objects.join(", ")) };
    format!("{mark} {} {}{from}\n", change.kind, change.name)
}

fn label(side: &str, resource: Option<&Resource>, change: &Change) -> String {
    match resource {
        Some(_) => format!("{side}/{}/{}", change.kind, change.name),
        None => "/dev/null".into(),
    }
}

fn yaml(resource: Option<&Resource>) -> String {
    // A JSON value has nothing that YAML lacks.
    resource.map(|r| serde_yaml::to_string(&*r.body).unwrap_or_default()).unwrap_or_default()
}

//! `egress-scn analyze`: what `istioctl analyze --use-kube=false` finds.

use super::{fail, output};
use crate::check;
use crate::istio::analyze::{self, Level};
use crate::mesh::documents::Documents;
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Analyze {
    /// Kubernetes and Istio documents, or folders of them; `-` is standard input.
    #[arg(short, long = "filename", value_name = "FILE", num_args = 1.., required = true)]
    files: Vec<PathBuf>,
}

impl Analyze {
    pub fn run(self) -> i32 {
        let (configs, objects): (Vec<_>, Vec<_>) = match check::documents(&self.files) {
            Ok(objects) => objects.into_iter().partition(|object| object.body.get("kind").is_none()),
            Err(problems) => return output::problems(&problems, 2),
        };
        let bodies: Vec<Value> = objects.iter().map(|object| (*object.body).clone()).collect();
        let all = configs.into_iter().map(|config| (*config.body).clone()).chain(bodies.iter().cloned());
        let mesh_config = match Documents::read(all) {
            Ok(documents) => documents.world.mesh_config,
            Err(message) => return fail(&message, 2),
        };
        let messages = analyze::analyze(&bodies, &mesh_config);
        let mut out = String::new();
        for message in &messages {
            let object = &objects[message.object];
            let span = object.spans.iter().find(|(pointer, _)| *pointer == message.pointer).map(|(_, s)| s.clone());
            let mut place = object.place.clone();
            if !message.pointer.is_empty() {
                place.span = span.unwrap_or(place.span);
            }
            let at = format!("{}:{}", place.source.name, place.line());
            let (level, code, origin) = (message.level, message.code, &message.origin);
            out.push_str(&format!("{level} [{code}] ({origin} {at}) {}\n", message.message));
        }
        if messages.is_empty() {
            out.push_str("✔ No validation issues found.\n");
        }
        output::print(&out);
        i32::from(messages.iter().any(|message| message.level == Level::Error))
    }
}

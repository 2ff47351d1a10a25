//! `egress-scn validate`: what an API server with Istio's definitions and istiod's webhook would refuse, by stage.

use super::output;
use crate::check;
use crate::istio::validation;
use crate::plan::ManifestObject;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Validate {
    /// Istio documents (others are passed over), or folders of them; `-` is standard input.
    #[arg(short, long = "filename", value_name = "FILE", num_args = 1.., required = true)]
    files: Vec<PathBuf>,
}

impl Validate {
    pub fn run(self) -> i32 {
        let objects = match check::documents(&self.files) {
            Ok(objects) => objects,
            Err(problems) => return output::problems(&problems, 2),
        };
        let mut out = String::new();
        let (mut errors, mut warnings) = (0, 0);
        for object in &objects {
            let verdict = validation::validate(&object.body);
            let name = name(object);
            let stages = [
                ("unknown field", &verdict.unknown),
                ("schema", &verdict.schema),
                ("webhook", &verdict.errors),
                ("warning", &verdict.warnings),
            ];
            for (stage, messages) in stages {
                for message in messages {
                    let line = check::line_of_path(object, message);
                    let text = message.trim().replace('\n', "\n    ");
                    out.push_str(&format!("{}:{line}: {stage}: {name}: {text}\n", object.place.source.name));
                }
                match stage {
                    "warning" => warnings += messages.len(),
                    _ => errors += messages.len(),
                }
            }
        }
        let s = |n: usize| if n == 1 { "" } else { "s" };
        let (count, e, w) = (objects.len(), s(errors), s(warnings));
        out.push_str(&format!("{count} document{}, {errors} error{e}, {warnings} warning{w}\n", s(count)));
        output::print(&out);
        i32::from(errors > 0)
    }
}

/// `Kind NAMESPACE/NAME`, or what a document without a name is.
pub(super) fn name(object: &ManifestObject) -> String {
    let text = |pointer: &str| object.body.pointer(pointer).and_then(|v| v.as_str());
    match (text("/kind"), text("/metadata/name"), text("/metadata/namespace")) {
        (Some(kind), Some(name), Some(namespace)) => format!("{kind} {namespace}/{name}"),
        (Some(kind), Some(name), None) => format!("{kind} {name}"),
        _ => "MeshConfig".into(),
    }
}

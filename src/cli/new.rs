//! `egress-scn new`: a scenario and its manifests to begin with.

use super::{fail, output};
use crate::scaffold::{self, File, Host, Pattern};
use clap::{Args, ValueEnum};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct New {
    /// What the scenario shows.
    #[arg(value_enum)]
    pattern: Named,
    /// The outside host that it is about: `www.example.com`.
    host: String,
    /// The namespace of its objects, where the workload `sleep` runs.
    #[arg(short, long, default_value = crate::plan::DEFAULT_NAMESPACE)]
    namespace: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Named {
    /// Through the egress gateway by SNI; TLS stays the app's own.
    Passthrough,
    /// The same, wrapped in mesh mTLS up to the gateway.
    Mutual,
    /// Plain HTTP in the app; the egress gateway begins TLS.
    Origination,
    /// Blocked by REGISTRY_ONLY until a ServiceEntry registers it.
    Block,
    /// A Sidecar narrows what the proxies see; the host stays reachable.
    Scope,
}

impl New {
    pub fn run(self) -> i32 {
        let pattern = match self.pattern {
            Named::Passthrough => Pattern::Passthrough,
            Named::Mutual => Pattern::Mutual,
            Named::Origination => Pattern::Origination,
            Named::Block => Pattern::Block,
            Named::Scope => Pattern::Scope,
        };
        let host = match Host::read(&self.host) {
            Ok(host) => host,
            Err(refused) => {
                let host = crate::diag::render::visible(&self.host).replace('\n', " ");
                return fail(&format!("\"{host}\": {}\n   try  {}", refused.why, refused.help), 2);
            }
        };
        if !crate::plan::is_label(&self.namespace) {
            return fail("a namespace has lower-case letters, digits and `-`, at most 63", 2);
        }
        let folder = scaffold::folder(pattern, &host);
        let files = scaffold::scaffold(pattern, &host, &self.namespace);
        match write(&folder, &files) {
            Ok(()) => {
                let scenario = &files[0].path;
                let mut out: String = files.iter().map(|file| format!("created  {}\n", file.path)).collect();
                out.push_str(&format!("\nNext:\n  egress-scn run --lab {scenario}\n  egress-scn explain {scenario}\n"));
                output::print(&out);
                0
            }
            Err(message) => fail(&message, 2),
        }
    }
}

/// Writes all or nothing, and never over what is there.
fn write(folder: &str, files: &[File]) -> Result<(), String> {
    let there: Vec<&str> =
        files.iter().map(|f| f.path.as_str()).chain([folder]).filter(|p| fs::symlink_metadata(p).is_ok()).collect();
    if !there.is_empty() {
        return Err(format!("{} is there already, and nothing is overwritten; nothing was written", there.join(", ")));
    }
    let mut made: Vec<PathBuf> = vec![];
    let written = (|| {
        fs::create_dir(folder).map_err(|error| format!("cannot make the folder {folder}: {error}"))?;
        for file in files {
            let path = Path::new(&file.path);
            let create = OpenOptions::new().write(true).create_new(true).open(path);
            made.extend(create.is_ok().then(|| path.to_path_buf()));
            let done = create.and_then(|mut to| to.write_all(file.text.as_bytes()));
            done.map_err(|error| format!("cannot write {}: {error}", file.path))?;
        }
        Ok(())
    })();
    if written.is_err() {
        // Only what this very call has made; the folder only when nothing else came into it meanwhile.
        made.iter().for_each(|path| drop(fs::remove_file(path)));
        let _ = fs::remove_dir(folder);
    }
    written
}

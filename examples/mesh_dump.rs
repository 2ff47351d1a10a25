//! Writes what the mesh compiler generates for folders of cases, as Envoy config dumps:
//! `mesh_dump CASES MANIFESTS OUT`, where CASES holds one folder for each case. Push status and log lines go
//! beside the dumps.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "../tests/mesh_case/mod.rs"]
mod mesh_case;

use egress_scn::mesh::Compiler;
use serde_json::{Value, json};
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [cases, manifests, out] = arguments.as_slice() else {
        return Err(std::io::Error::other("usage: mesh_dump CASES MANIFESTS OUT"));
    };
    for entry in std::fs::read_dir(cases)? {
        let case = entry?.path();
        if !case.join("case.json").exists() && !case.join("input.yaml").exists() {
            continue;
        }
        let to = out.join(case.file_name().unwrap_or_default());
        std::fs::create_dir_all(&to)?;
        let world = mesh_case::world(&case, manifests);
        let compiler = Compiler::reading_files(&world);
        let mut status = json!({});
        let mut log: Vec<String> = Vec::new();
        for (index, (name, ..)) in mesh_case::PROXIES.iter().enumerate() {
            let Some(proxy) = mesh_case::proxy(&world, index) else { continue };
            let generated = compiler.compile(&proxy);
            let dump = serde_json::to_string(&mesh_case::dump(&generated)).map_err(std::io::Error::other)?;
            std::fs::write(to.join(format!("{name}.config_dump.json")), dump)?;
            for (metric, events) in generated.push_status.as_object().into_iter().flatten() {
                for (key, event) in events.as_object().into_iter().flatten() {
                    status[metric][key] = event.clone();
                }
            }
            log.extend(generated.warnings);
        }
        write_status(&to.join("push_status.json"), &status)?;
        std::fs::write(to.join("istiod_warnings.log"), log.join("\n"))?;
    }
    Ok(())
}

fn write_status(path: &std::path::Path, status: &Value) -> std::io::Result<()> {
    std::fs::write(path, serde_json::to_string_pretty(status).map_err(std::io::Error::other)?)
}

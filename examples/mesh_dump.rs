//! Writes what the mesh compiler generates for folders of cases, as Envoy config dumps:
//! `mesh_dump CASES MANIFESTS OUT [DOMAIN]`, where CASES holds one folder for each case. Push status and log lines go
//! beside the dumps in `OUT/got`; `OUT/input` holds the same inputs for istiod's own generating code.
//! With DOMAIN short host names are completed as in a cluster, without it as for objects from files.

#![allow(clippy::unwrap_used)]

#[path = "../tests/mesh_case/mod.rs"]
mod mesh_case;
#[path = "../tests/mesh_case/written.rs"]
mod written;

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (cases, manifests, out, in_cluster) = match arguments.as_slice() {
        [cases, manifests, out] => (cases, manifests, out, false),
        [cases, manifests, out, _] => (cases, manifests, out, true),
        _ => return Err(std::io::Error::other("usage: mesh_dump CASES MANIFESTS OUT [DOMAIN]")),
    };
    for entry in std::fs::read_dir(cases)? {
        let case = entry?.path();
        if case.join("case.json").exists() || case.join("input.yaml").exists() {
            let name = case.file_name().unwrap_or_default().to_string_lossy();
            written::case(out, &name, &mesh_case::world(&case, manifests), in_cluster)?;
        }
    }
    Ok(())
}

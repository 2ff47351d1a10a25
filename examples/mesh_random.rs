//! Writes random configurations and what the mesh compiler generates for them: `mesh_random KIND FROM TO OUT [DOMAIN]`, where
//! KIND is `any` (any objects side by side) or `flows` (egress as guides tell it). For each seed `OUT/input/<seed>` holds the objects, the mesh config and the proxies, and `OUT/got/<seed>` the Envoy config dumps,
//! push status and log lines. With DOMAIN short host names are completed as in a cluster, without it as for objects from files.

#![allow(clippy::unwrap_used)]

#[path = "../tests/mesh_case/mod.rs"]
mod mesh_case;
#[path = "../tests/random_mesh/mod.rs"]
mod random_mesh;
#[path = "../tests/mesh_case/written.rs"]
mod written;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (kind, from, to, out, in_cluster) = match arguments.as_slice() {
        [kind, from, to, out] => (kind, from, to, out, false),
        [kind, from, to, out, _] => (kind, from, to, out, true),
        _ => return Err(std::io::Error::other("usage: mesh_random KIND FROM TO OUT [DOMAIN]")),
    };
    let world = match kind.as_str() {
        "any" => random_mesh::world,
        "flows" => random_mesh::flows,
        other => return Err(std::io::Error::other(format!("no kind {other:?}: there are any and flows"))),
    };
    let seed = |text: &str| text.parse::<u64>().map_err(std::io::Error::other);
    for seed in seed(from)?..seed(to)? {
        written::case(Path::new(out), &format!("{seed:04}"), &world(seed), in_cluster)?;
    }
    Ok(())
}

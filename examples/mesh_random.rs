//! Writes random configurations and what the mesh compiler generates for them: `mesh_random FROM TO OUT`. For each seed
//! `OUT/input/<seed>` holds the objects, the mesh config and the proxies, and `OUT/got/<seed>` the Envoy config dumps.

#![allow(clippy::unwrap_used)]

#[path = "../tests/mesh_case/mod.rs"]
mod mesh_case;
#[path = "../tests/random_mesh/mod.rs"]
mod random_mesh;

use egress_scn::mesh::{Compiler, Proxy, ProxyType};
use serde_json::{Value, json};
use std::path::PathBuf;

fn described(file: &str, proxy: &Proxy) -> Value {
    json!({
        "file": file,
        "kind": if proxy.kind == ProxyType::Router { "router" } else { "sidecar" },
        "name": proxy.name,
        "namespace": proxy.namespace,
        "ip": proxy.ip,
        "labels": proxy.labels,
        "serviceAccount": proxy.service_account,
        "metadata": proxy.metadata,
    })
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, out] = arguments.as_slice() else {
        return Err(std::io::Error::other("usage: mesh_random FROM TO OUT"));
    };
    let seed = |text: &str| text.parse::<u64>().map_err(std::io::Error::other);
    for seed in seed(from)?..seed(to)? {
        let world = random_mesh::world(seed);
        let [input, got] = ["input", "got"].map(|part| PathBuf::from(out).join(part).join(format!("{seed:04}")));
        std::fs::create_dir_all(&input)?;
        std::fs::create_dir_all(&got)?;
        let objects: Vec<String> = world.objects.iter().map(|o| o.to_string()).collect();
        std::fs::write(input.join("input.yaml"), objects.join("\n---\n"))?;
        std::fs::write(input.join("mesh.yaml"), world.mesh_config.to_string())?;
        let compiler = Compiler::reading_files(&world);
        let mut proxies = Vec::new();
        for (index, (name, ..)) in mesh_case::PROXIES.iter().enumerate() {
            let Some(proxy) = mesh_case::proxy(&world, index) else { continue };
            proxies.push(described(name, &proxy));
            let dump = mesh_case::dump(&compiler.compile(&proxy));
            std::fs::write(got.join(format!("{name}.config_dump.json")), dump.to_string())?;
        }
        std::fs::write(input.join("proxies.json"), json!(proxies).to_string())?;
    }
    Ok(())
}

//! Writing a case: its inputs for istiod's own generating code, and what the compiler makes of them.

use super::mesh_case;
use egress_scn::mesh::{Compiler, Proxy, ProxyType, World};
use serde_json::{Value, json};
use std::path::Path;

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

/// `OUT/input/NAME` gets objects, mesh config and proxies; `OUT/got/NAME` dumps, push status and log lines.
pub fn case(out: &Path, name: &str, world: &World, in_cluster: bool) -> std::io::Result<()> {
    let [input, got] = ["input", "got"].map(|part| out.join(part).join(name));
    std::fs::create_dir_all(&input)?;
    std::fs::create_dir_all(&got)?;
    let objects: Vec<String> = world.objects.iter().map(|o| o.to_string()).collect();
    std::fs::write(input.join("input.yaml"), objects.join("\n---\n"))?;
    std::fs::write(input.join("mesh.yaml"), world.mesh_config.to_string())?;
    let compiler = if in_cluster { Compiler::new(world) } else { Compiler::reading_files(world) };
    let mut proxies = Vec::new();
    let mut status = json!({});
    let mut log: Vec<String> = Vec::new();
    for (index, (file, ..)) in mesh_case::PROXIES.iter().enumerate() {
        let Some(proxy) = mesh_case::proxy(world, index) else { continue };
        proxies.push(described(file, &proxy));
        let generated = compiler.compile(&proxy);
        let dump = mesh_case::dump(&generated);
        std::fs::write(got.join(format!("{file}.config_dump.json")), dump.to_string())?;
        for (metric, events) in generated.push_status.as_object().into_iter().flatten() {
            for (key, event) in events.as_object().into_iter().flatten() {
                status[metric][key] = event.clone();
            }
        }
        log.extend(generated.warnings);
    }
    std::fs::write(input.join("proxies.json"), json!(proxies).to_string())?;
    std::fs::write(got.join("push_status.json"), status.to_string())?;
    std::fs::write(got.join("istiod_warnings.log"), log.join("\n"))
}

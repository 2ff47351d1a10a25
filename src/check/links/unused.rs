//! Objects that nobody uses: a VirtualService that no proxy sees, a ServiceEntry without an address behind it.

use super::index::Index;
use crate::diag::Diagnostic;
use serde_json::Value;

/// `namespace` is the scenario's: its clients are there, whatever is known of them.
pub fn check(index: &Index<'_>, namespace: &str, found: &mut Vec<Diagnostic>) {
    let clients = || index.workloads.iter().map(|w| w.namespace).chain([namespace]);
    for service in index.virtual_services.iter().filter(|s| !s.ambient && s.get("/spec/exportTo").is_some()) {
        if clients().any(|client| service.is_visible_from(client)) {
            continue;
        }
        found.push(
            Diagnostic::warning("W0347", format!("no proxy sees the VirtualService {}", service.name))
                .at(service.at("/spec/exportTo"), "exported to no namespace with a workload")
                .help("add the client's namespace (`.` is its own) and the gateway's, or leave `exportTo` out"),
        );
    }
    for entry in index.service_entries.iter().filter(|e| !e.ambient) {
        let fixed = entry.text("/spec/resolution").unwrap_or("NONE") == "STATIC";
        if !fixed || !entry.list("/spec/endpoints").is_empty() || entry.get("/spec/workloadSelector").is_some() {
            continue;
        }
        let host = entry.list("/spec/hosts").first().and_then(Value::as_str).unwrap_or("");
        found.push(
            Diagnostic::warning("W0348", format!("the ServiceEntry {} has no endpoints", entry.name))
                .at(
                    entry.at("/spec/resolution"),
                    format!("no address is behind {host}: requests end with UH (no healthy upstream)"),
                )
                .help("give it `endpoints: [{address: …}]`, or write `resolution: DNS`"),
        );
    }
}

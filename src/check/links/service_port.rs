//! Ports of Gateways' servers that the gateway's Service does not expose: nobody reaches them.

use super::host;
use super::index::{Index, Object, Server, destinations, legs};
use crate::diag::Diagnostic;
use serde_json::Value;

pub fn check(index: &Index<'_>, found: &mut Vec<Diagnostic>) {
    for server in index.servers().filter(|s| !s.gateway.ambient) {
        let services = services_of(index, &server);
        let Some(service) = services.first() else { continue };
        let ports = || services.iter().flat_map(|s| s.list("/spec/ports")).filter_map(|p| p.get("port")?.as_u64());
        // A route that names the port says so itself.
        if ports().any(|p| p == server.port) || services.iter().any(|s| is_routed(index, s, server.port)) {
            continue;
        }
        let listed: Vec<String> = ports().map(|p| p.to_string()).collect();
        let port = server.port;
        found.push(
            Diagnostic::warning("W0323", format!("the gateway's Service has no port {port}"))
                .at(
                    server.gateway.at(&format!("{}/port/number", server.pointer)),
                    "no traffic comes to this server: the Service does not expose its port",
                )
                .at(service.at("/spec/ports"), format!("its ports: {}", listed.join(", ")))
                .help(format!("add port {port} to the Service {}, or serve on one of its ports", service.name)),
        );
    }
}

/// The Services in front of the pods that a server's Gateway selects.
fn services_of<'a>(index: &Index<'a>, server: &Server<'a>) -> Vec<Object<'a>> {
    let Some(selector) = server.gateway.get("/spec/selector").and_then(Value::as_object).filter(|s| !s.is_empty())
    else {
        return vec![];
    };
    let fits = |selector: &serde_json::Map<String, Value>, labels: &Value| {
        selector.iter().all(|(k, v)| labels.get(k) == Some(v))
    };
    let pods: Vec<&Object<'a>> =
        index.workloads.iter().filter(|w| w.labels().is_some_and(|l| fits(selector, l))).collect();
    let in_front = |service: &&Object<'a>| {
        service.get("/spec/selector").and_then(Value::as_object).filter(|s| !s.is_empty()).is_some_and(|s| {
            pods.iter().any(|p| p.namespace == service.namespace && p.labels().is_some_and(|l| fits(s, l)))
        })
    };
    index.services.iter().filter(in_front).copied().collect()
}

fn is_routed(index: &Index<'_>, service: &Object<'_>, port: u64) -> bool {
    let name = format!("{}.{}.svc.cluster.local", service.name, service.namespace);
    index.virtual_services.iter().any(|v| {
        legs(v)
            .iter()
            .flat_map(|l| destinations(v, &l.route))
            .any(|d| d.port == Some(port) && host::matches(&name, &d.host))
    })
}

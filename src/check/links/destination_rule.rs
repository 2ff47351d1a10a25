//! DestinationRules that no proxy applies: where istiod does not look for them, or for a host that nobody registers.

use super::host;
use super::index::{Index, Object};
use crate::diag::Diagnostic;
use crate::diag::suggest::nearest;
use serde_json::Value;

const ROOT: &str = "istio-system";

/// `namespace` is the scenario's: its clients are there, whatever is known of them.
pub fn check(index: &Index<'_>, namespace: &str, found: &mut Vec<Diagnostic>) {
    let mut clients: Vec<&str> = index.workloads.iter().map(|w| w.namespace).chain([namespace]).collect();
    clients.sort_unstable();
    clients.dedup();
    for rule in index.destination_rules.iter().filter(|r| !r.ambient) {
        let Some(written) = rule.text("/spec/host") else { continue };
        let name = host::full(written, rule.namespace);
        if unregistered(index, rule, written, &name, found) {
            continue;
        }
        unseen(index, rule, written, &name, &clients, found);
    }
}

fn unregistered(index: &Index<'_>, rule: &Object<'_>, written: &str, name: &str, found: &mut Vec<Diagnostic>) -> bool {
    if host::is_service(name) {
        return unknown_service(index, rule, written, name, found);
    }
    let hosts = || index.service_entries.iter().flat_map(|e| e.list("/spec/hosts")).filter_map(Value::as_str);
    if hosts().any(|h| host::overlap(h, name)) {
        return false;
    }
    // Said of the route to it already.
    let routed = index.virtual_services.iter().any(|v| {
        super::index::legs(v).iter().any(|l| super::index::destinations(v, &l.route).iter().any(|d| d.host == name))
    });
    if routed {
        return true;
    }
    let why = match nearest(name, hosts()) {
        Some(near) => format!("no ServiceEntry registers it; did you mean {near}?"),
        None => "no ServiceEntry registers it, so no proxy has a cluster that this applies to".to_string(),
    };
    found.push(
        Diagnostic::warning("W0322", format!("{written} is not registered"))
            .at(rule.at("/spec/host"), why)
            .help("apply a ServiceEntry for this host, or name one that is registered"),
    );
    true
}

/// A Service that is not known may be there all the same; one that is nearly named like a known one is a slip.
fn unknown_service(
    index: &Index<'_>,
    rule: &Object<'_>,
    written: &str,
    name: &str,
    found: &mut Vec<Diagnostic>,
) -> bool {
    if index.service(name).is_some() || index.entries_of(name).iter().any(|_| true) {
        return false;
    }
    let known: Vec<String> =
        index.services.iter().map(|s| format!("{}.{}.svc.cluster.local", s.name, s.namespace)).collect();
    let Some(near) = nearest(name, known.iter().map(String::as_str)) else { return false };
    found.push(
        Diagnostic::warning("W0322", format!("{written} is no Service that is known"))
            .at(rule.at("/spec/host"), format!("did you mean {near}?"))
            .help("a DestinationRule for a host that does not exist applies to nothing"),
    );
    true
}

/// istiod looks for rules in the namespaces of the client, of the service, and in the root namespace.
fn unseen(
    index: &Index<'_>,
    rule: &Object<'_>,
    written: &str,
    name: &str,
    clients: &[&str],
    found: &mut Vec<Diagnostic>,
) {
    let own = name.split('.').nth(1).filter(|_| host::is_service(name));
    let entries = index.entries_of(name);
    let looked_in =
        rule.namespace == ROOT || Some(rule.namespace) == own || entries.iter().any(|e| e.namespace == rule.namespace);
    let seen = clients.iter().any(|c| rule.is_visible_from(c) && (looked_in || rule.namespace == *c));
    if seen {
        return;
    }
    let exported = rule.get("/spec/exportTo").is_some();
    let elsewhere = !looked_in && !clients.contains(&rule.namespace);
    let (pointer, why) = match (exported && !elsewhere, rule.get("/metadata/namespace").is_some()) {
        (true, _) => ("/spec/exportTo", "exported to no namespace with a workload".to_string()),
        (false, true) => ("/metadata/namespace", format!("no proxy looks in {} for this host", rule.namespace)),
        (false, false) => ("/metadata/name", format!("no proxy looks in {} for this host", rule.namespace)),
    };
    // Told where its subset is missing.
    if found.iter().any(|d| d.code == "W0321" && d.labels.iter().any(|l| l.place == rule.at("/metadata/namespace"))) {
        return;
    }
    found.push(
        Diagnostic::warning("W0344", format!("no proxy applies the DestinationRule {} for {written}", rule.name))
            .at(rule.at(pointer), why)
            .help(format!(
                "istiod looks in the client's namespace, in the service's and in {ROOT}: put it into one of {}",
                clients.join(", ")
            )),
    );
}

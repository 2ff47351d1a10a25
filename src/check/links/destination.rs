//! Where routes go: is the host known, does the port exist, does a DestinationRule define the subset.

use super::host;
use super::index::{Destination, Index, Object, destinations, legs};
use crate::diag::Diagnostic;
use crate::diag::suggest::nearest;
use serde_json::Value;

pub fn check(index: &Index<'_>, found: &mut Vec<Diagnostic>) {
    for service in index.virtual_services.iter().filter(|s| !s.ambient) {
        let mut routes: Vec<String> = legs(service).into_iter().map(|l| l.route).collect();
        routes.dedup();
        for route in routes {
            for destination in destinations(service, &route) {
                if unknown_service(index, service, &destination, found) {
                    continue;
                }
                registered(index, service, &destination, found);
                subset(index, service, &destination, found);
            }
        }
    }
}

/// A Service that is not known may be there all the same; one that is nearly named like a known one is a slip.
fn unknown_service(index: &Index<'_>, service: &Object<'_>, d: &Destination<'_>, found: &mut Vec<Diagnostic>) -> bool {
    if !host::is_service(&d.host) || index.service(&d.host).is_some() || !index.entries_of(&d.host).is_empty() {
        return false;
    }
    let known: Vec<String> =
        index.services.iter().map(|s| format!("{}.{}.svc.cluster.local", s.name, s.namespace)).collect();
    // A short name is of the VirtualService's own namespace.
    let elsewhere = known.iter().find(|k| !d.written.contains('.') && k.split('.').next() == Some(d.written));
    let Some(near) = elsewhere.map(String::as_str).or_else(|| nearest(&d.host, known.iter().map(String::as_str)))
    else {
        return false;
    };
    let label = match elsewhere {
        Some(_) => format!("a short name stands for {}; did you mean {near}?", d.host),
        None => format!("did you mean {near}?"),
    };
    found.push(
        Diagnostic::warning("W0322", format!("{} is no Service that is known", d.written))
            .at(service.at(&format!("{}/host", d.pointer)), label)
            .help("a route to a Service that does not exist has no cluster, and the sidecar logs NC (no cluster)"),
    );
    true
}

fn registered(index: &Index<'_>, service: &Object<'_>, d: &Destination<'_>, found: &mut Vec<Diagnostic>) {
    let (entries, hidden): (Vec<_>, Vec<_>) =
        index.entries_of(&d.host).into_iter().partition(|e| e.is_visible_from(service.namespace));
    let kube = index.service(&d.host);
    if let Some(owner) = kube.as_ref().or(entries.first()) {
        port(service, d, owner, kube.is_some(), &entries, found);
        return;
    }
    // Services of the cluster may exist without being applied here.
    if host::is_service(&d.host) {
        return;
    }
    if let Some(entry) = hidden.first() {
        let namespace = service.namespace;
        found.push(
            Diagnostic::warning("W0339", format!("{} is not visible from {namespace}", d.written))
                .at(service.at(&format!("{}/host", d.pointer)), "no proxy of this namespace has a cluster for it")
                .at(entry.at("/spec/exportTo"), format!("its ServiceEntry stays in {}", entry.namespace))
                .help(format!("add `{namespace}` or `*` to its exportTo, or put a ServiceEntry into {namespace}")),
        );
        return;
    }
    let known: Vec<&str> =
        index.service_entries.iter().flat_map(|e| e.list("/spec/hosts")).filter_map(Value::as_str).collect();
    let why = match nearest(&d.host, known) {
        Some(near) => format!("no ServiceEntry registers it; did you mean {near}?"),
        None => "no ServiceEntry registers it, so no proxy has a cluster for it".to_string(),
    };
    found.push(
        Diagnostic::warning("W0322", format!("{} is not registered", d.written))
            .at(service.at(&format!("{}/host", d.pointer)), why)
            .help("apply a ServiceEntry for this host, with the port that the route names"),
    );
}

fn port(
    service: &Object<'_>,
    d: &Destination<'_>,
    owner: &Object<'_>,
    kube: bool,
    entries: &[Object<'_>],
    found: &mut Vec<Diagnostic>,
) {
    let Some(port) = d.port else { return };
    let field = if kube { "port" } else { "number" };
    let owners: Vec<Object<'_>> = if kube { vec![*owner] } else { entries.to_vec() };
    let ports: Vec<u64> = owners
        .iter()
        .flat_map(|o| o.list("/spec/ports"))
        .filter_map(|p| p.get(field).and_then(Value::as_u64))
        .collect();
    if ports.contains(&port) {
        return;
    }
    let what = if kube { "Service" } else { "ServiceEntry" };
    let listed: Vec<String> = ports.iter().map(u64::to_string).collect();
    found.push(
        Diagnostic::warning("W0323", format!("the {what} of {} has no port {port}", d.written))
            .at(
                service.at(&format!("{}/port/number", d.pointer)),
                "no cluster is made for this port, and the sidecar logs NC (no cluster)",
            )
            .at(owner.at("/spec/ports"), format!("its ports: {}", listed.join(", ")))
            .help(format!("add port {port} to the {what} {}, or name one of its ports", owner.name)),
    );
}

/// A rule for the Service's short name, which means another Service.
fn short_named<'a>(index: &Index<'a>, host: &str) -> Option<(Object<'a>, &'a str)> {
    let first = host.split('.').next()?;
    index.destination_rules.iter().find_map(|r| Some((*r, r.text("/spec/host").filter(|h| *h == first)?)))
}

fn subset(index: &Index<'_>, service: &Object<'_>, d: &Destination<'_>, found: &mut Vec<Diagnostic>) {
    let Some(subset) = d.subset else { return };
    let host_name = d.host.clone();
    // istiod looks for rules in the namespaces of the client, of the service, and in the root namespace.
    let own = d.host.split('.').nth(1).filter(|_| host::is_service(&d.host));
    let entries = index.entries_of(&d.host);
    let counts = |n: &str| {
        n == service.namespace || n == "istio-system" || Some(n) == own || entries.iter().any(|e| e.namespace == n)
    };
    let (rules, elsewhere): (Vec<_>, Vec<_>) = index.rules_of(&d.host).into_iter().partition(|r| counts(r.namespace));
    let defines =
        |r: &&Object<'_>| r.list("/spec/subsets").iter().any(|s| s.get("name").and_then(Value::as_str) == Some(subset));
    let names: Vec<&str> = rules
        .iter()
        .flat_map(|r| r.list("/spec/subsets"))
        .filter_map(|s| s.get("name").and_then(Value::as_str))
        .collect();
    if names.contains(&subset) {
        return;
    }
    let why = match (nearest(subset, names.iter().copied()), rules.first()) {
        (Some(near), _) => format!("no DestinationRule defines it (did you mean `{near}`?)"),
        (None, Some(_)) if !names.is_empty() => {
            format!("no DestinationRule defines it (defined: {})", names.join(", "))
        }
        _ => "no DestinationRule for this host defines it".to_string(),
    };
    let mut d = Diagnostic::warning("W0321", format!("the subset `{subset}` of {} is not defined", d.written)).at(
        service.at(&format!("{}/subset", d.pointer)),
        format!("{why}, so no cluster is made and the sidecar logs NC (no cluster)"),
    );
    if let Some(rule) = elsewhere.iter().find(defines) {
        let why = format!("defined in {}, where no proxy of {} looks", rule.namespace, service.namespace);
        d = d.at(rule.at("/metadata/namespace"), why);
    } else if let Some(rule) = rules.first() {
        d = d.at(rule.at("/spec/subsets"), "the host's subsets");
    } else if let Some((rule, short)) = short_named(index, &host_name) {
        let means = host::full(short, rule.namespace);
        d = d.at(rule.at("/spec/host"), format!("a short name is of the rule's own namespace: this is {means}"));
    }
    found.push(d.help(format!("apply a DestinationRule with a subset `{subset}` for this host")));
}

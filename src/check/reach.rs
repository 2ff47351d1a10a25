//! Whether a probe can reach what it expects: a Sidecar that hides the host from the client, TLS that a DestinationRule
//! starts around the client's own.

use super::links::{Index, Object, host_matches};
use super::narrow;
use super::soundness::{Probe, expects_success, probes};
use super::url::{self, Url};
use crate::diag::Diagnostic;
use crate::diag::suggest::nearest;
use crate::plan::*;
use serde_json::Value;

/// All doubts about the probes of one scenario; each sees what is applied before it. `closed` is [`is_closed`] of what is ambient.
pub fn check(scenario: &Scenario, ambient: &[ManifestObject], closed: bool) -> Vec<Diagnostic> {
    let mut found = vec![];
    // Without REGISTRY_ONLY what a Sidecar hides is reached all the same.
    let open = scenario.requires.iter().any(|r| matches!(r.what, Requirement::Outbound(OutboundPolicy::AllowAny)));
    let asked = scenario.requires.iter().any(|r| matches!(r.what, Requirement::Outbound(OutboundPolicy::RegistryOnly)));
    let closed = asked || closed;
    let mut index = Index::new(&[], ambient, &scenario.namespace);
    let mut led = 0;
    for probe in probes(scenario).iter().filter(|p| expects_success(p)) {
        let Some(workload) = &probe.exec.workload else { continue };
        for step in &scenario.steps[led..probe.index] {
            match &step.kind {
                StepKind::Apply(applied) => applied.iter().for_each(|o| index.add(o, false, &scenario.namespace)),
                StepKind::Delete(gone) => gone.iter().for_each(|object| index.remove(object)),
                _ => {}
            }
        }
        led = probe.index;
        let meshed = is_meshed(workload, ambient);
        for url in url::of(probe.exec) {
            let Url { scheme, host, port, .. } = &url;
            if !open {
                hidden(&index, scenario, probe, workload, host, &mut found);
                if meshed {
                    unregistered(&index, scenario, probe, &url, closed, &mut found);
                }
            }
            if scheme == "https" {
                twice(&index, scenario, probe, workload, host, *port, &mut found);
            }
            if meshed {
                other_protocol(&index, scenario, probe, &url, &mut found);
            }
        }
    }
    found
}

/// Whether the workload's namespace gets sidecars, as far as that is known.
fn is_meshed(workload: &Workload, ambient: &[ManifestObject]) -> bool {
    ambient.iter().any(|o| {
        let text = |p: &str| o.body.pointer(p).and_then(Value::as_str);
        o.identity.kind == "Namespace"
            && o.identity.name == workload.namespace
            && (text("/metadata/labels/istio-injection") == Some("enabled")
                || o.body.pointer("/metadata/labels/istio.io~1rev").is_some())
    })
}

/// Whether the mesh config that a target starts with lets out what is registered alone.
pub fn is_closed(ambient: &[ManifestObject]) -> bool {
    let config = ambient.iter().find(|o| o.identity.kind == "ConfigMap" && o.identity.name == "istio");
    let mesh = config.and_then(|o| o.body.pointer("/data/mesh").and_then(Value::as_str));
    let mesh = mesh.and_then(|text| super::yaml::read(text).ok());
    mesh.iter()
        .flatten()
        .any(|m| m.value.pointer("/outboundTrafficPolicy/mode").and_then(Value::as_str) == Some("REGISTRY_ONLY"))
}

/// A host that is expected to answer, and that no ServiceEntry registers: misspelt, or not where REGISTRY_ONLY holds.
fn unregistered(
    index: &Index<'_>,
    scenario: &Scenario,
    probe: &Probe<'_>,
    url: &Url,
    closed: bool,
    found: &mut Vec<Diagnostic>,
) {
    let host = url.host.as_str();
    let outside = host.contains('.')
        && host.parse::<std::net::IpAddr>().is_err()
        && !host.contains(".svc")
        && !index.services.iter().any(|s| host == format!("{}.{}", s.name, s.namespace));
    if !outside {
        return;
    }
    let at = narrow(&probe.place(scenario), &url.word);
    let entries = index.entries_of(host);
    if let Some(entry) = entries.first() {
        let ports: Vec<u64> = entries
            .iter()
            .flat_map(|e| e.list("/spec/ports"))
            .filter_map(|p| p.get("number").and_then(Value::as_u64))
            .collect();
        // Without a scheme the port is a slip of its own.
        if url.word.contains("://") && !ports.is_empty() && !ports.contains(&url.port) {
            let listed: Vec<String> = ports.iter().map(u64::to_string).collect();
            found.push(
                Diagnostic::warning("W0243", format!("port {} of {host} is not registered", url.port))
                    .at(at, "expects to reach it")
                    .at(entry.at("/spec/ports"), format!("its ports: {}", listed.join(", ")))
                    .help(format!(
                        "add port {} to the ServiceEntry {}, or ask for one of its ports",
                        url.port, entry.name
                    )),
            );
        }
        return;
    }
    let known: Vec<&str> =
        index.service_entries.iter().flat_map(|e| e.list("/spec/hosts")).filter_map(Value::as_str).collect();
    let near = nearest(host, known);
    if near.is_none() && !closed {
        return;
    }
    let label = match near {
        Some(near) => format!("no ServiceEntry registers it; did you mean {near}?"),
        None => "no ServiceEntry that is applied before registers it".to_string(),
    };
    found.push(
        Diagnostic::warning("W0243", format!("{host} is not registered"))
            .at(at, label)
            .help("apply a ServiceEntry for this host, or expect the request to be blocked (where all may leave: require outbound ALLOW_ANY)"),
    );
}

/// TLS to a port that is declared HTTP, or plain HTTP to one that is declared TLS.
fn other_protocol(index: &Index<'_>, scenario: &Scenario, probe: &Probe<'_>, url: &Url, found: &mut Vec<Diagnostic>) {
    for entry in index.entries_of(&url.host) {
        let ports = entry.list("/spec/ports").iter().enumerate();
        let port = ports.clone().find(|(_, p)| p.get("number").and_then(Value::as_u64) == Some(url.port));
        let Some((i, protocol)) = port.and_then(|(i, p)| Some((i, p.get("protocol")?.as_str()?))) else { continue };
        let upper = protocol.to_uppercase();
        let wrong = match url.scheme.as_str() {
            "https" => matches!(upper.as_str(), "HTTP" | "HTTP2" | "GRPC"),
            "http" => matches!(upper.as_str(), "TLS" | "HTTPS"),
            _ => false,
        };
        if wrong {
            let (sends, right) = if url.scheme == "https" { ("TLS", "TLS") } else { ("plain HTTP", "HTTP") };
            found.push(
                Diagnostic::warning(
                    "W0246",
                    format!("{sends} to port {} of {}, which is declared {protocol}", url.port, url.host),
                )
                .at(narrow(&probe.place(scenario), &url.word), format!("sends {sends}"))
                .at(entry.at(&format!("/spec/ports/{i}/protocol")), "the sidecar reads it so")
                .help(format!("declare the port `protocol: {right}`, or ask for a port that is {protocol}")),
            );
            return;
        }
    }
}

fn hidden(
    index: &Index<'_>,
    scenario: &Scenario,
    probe: &Probe<'_>,
    workload: &Workload,
    host: &str,
    found: &mut Vec<Diagnostic>,
) {
    let entries = index.entries_of(host);
    let Some(entry) = entries.first() else { return };
    let Some(sidecar) = sidecar_of(index, workload) else { return };
    // A listener with hosts of its own narrows further; here it counts as showing what any of them shows.
    let shown: Vec<&str> = sidecar
        .list("/spec/egress")
        .iter()
        .flat_map(|e| e.get("hosts").and_then(Value::as_array).into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    let allows_any = sidecar.text("/spec/outboundTrafficPolicy/mode") == Some("ALLOW_ANY");
    let shows = |entry: &Object<'_>| {
        shown.iter().any(|s| {
            let (namespace, pattern) = s.split_once('/').unwrap_or(("*", s));
            let here = match namespace {
                "*" => true,
                "." => entry.namespace == workload.namespace,
                "~" => false,
                other => other == entry.namespace,
            };
            here && host_matches(pattern, host)
        })
    };
    // A VirtualService in sight brings the hosts it routes to with it, under whatever name.
    let routed = index.virtual_services.iter().any(|v| {
        let hosts = v.list("/spec/hosts").iter().filter_map(Value::as_str);
        let seen = shown.iter().any(|s| {
            let (namespace, pattern) = s.split_once('/').unwrap_or(("*", s));
            (namespace == "*" || namespace == v.namespace || namespace == "." && v.namespace == workload.namespace)
                && host_matches(pattern, host)
        });
        seen && hosts.clone().any(|h| host_matches(h, host))
    });
    if shown.is_empty() || allows_any || routed || entries.iter().any(shows) {
        return;
    }
    found.push(
        Diagnostic::warning("W0237", format!("the Sidecar {} hides {host} from {workload}", sidecar.name))
            .at(probe.place(scenario), "expects to reach it")
            .at(sidecar.at("/spec/egress"), format!("shows {} only", shown.join(", ")))
            .at(entry.at("/spec/hosts"), format!("registered in {}", entry.namespace))
            .help(format!(
                "add `{}/{host}` to the Sidecar's hosts, or expect the request to be blocked",
                entry.namespace
            )),
    );
}

/// The Sidecar that counts for a workload: one that selects it before the namespace's own.
fn sidecar_of<'a>(index: &Index<'a>, workload: &Workload) -> Option<Object<'a>> {
    let here: Vec<Object<'a>> = index
        .selecting
        .iter()
        .filter(|o| o.kind() == "Sidecar" && o.namespace == workload.namespace)
        .copied()
        .collect();
    let labels = index
        .workloads
        .iter()
        .find(|w| w.name == workload.name && w.namespace == workload.namespace)
        .and_then(|w| w.labels());
    let selector =
        |o: &Object<'a>| o.get("/spec/workloadSelector/labels").and_then(Value::as_object).filter(|s| !s.is_empty());
    let chosen = here
        .iter()
        .find(|o| selector(o).is_some_and(|s| labels.is_some_and(|l| s.iter().all(|(k, v)| l.get(k) == Some(v)))));
    chosen.or_else(|| here.iter().find(|o| selector(o).is_none())).copied()
}

/// The client speaks TLS, and its sidecar starts TLS for the same host and port.
fn twice(
    index: &Index<'_>,
    scenario: &Scenario,
    probe: &Probe<'_>,
    workload: &Workload,
    host: &str,
    port: u64,
    found: &mut Vec<Diagnostic>,
) {
    let entries = index.entries_of(host);
    // Told of the manifests alone where no plain port is there at all.
    let plain = entries
        .iter()
        .flat_map(|e| e.list("/spec/ports"))
        .any(|p| p.get("protocol").and_then(Value::as_str).is_some_and(|p| p.starts_with("HTTP") && p != "HTTPS"));
    let served = entries
        .iter()
        .flat_map(|e| e.list("/spec/ports"))
        .any(|p| p.get("number").and_then(Value::as_u64) == Some(port));
    // Traffic that a VirtualService takes through a gateway does not meet the rule at the sidecar.
    let led_away = index.virtual_services.iter().any(|v| {
        super::links::legs(v).iter().any(|leg| {
            leg.kind != "http"
                && leg.gateways.contains(&"mesh")
                && leg.port.is_none_or(|p| p == port)
                && (leg.sni_hosts.is_empty() || leg.sni_hosts.iter().any(|h| host_matches(h, host)))
                && v.list("/spec/hosts").iter().filter_map(Value::as_str).any(|h| host_matches(h, host))
        })
    });
    if !plain || !served || led_away {
        return;
    }
    for rule in index.rules_of(host) {
        let here = rule.namespace == workload.namespace
            || entries.iter().any(|e| e.namespace == rule.namespace)
            || rule.namespace == "istio-system";
        let selects = rule.get("/spec/workloadSelector").is_none();
        let ports = rule.list("/spec/trafficPolicy/portLevelSettings");
        let at_port = ports.iter().position(|p| p.pointer("/port/number").and_then(Value::as_u64) == Some(port));
        let place = match at_port {
            Some(i) => format!("/spec/trafficPolicy/portLevelSettings/{i}/tls/mode"),
            None => "/spec/trafficPolicy/tls/mode".to_string(),
        };
        let starts = matches!(rule.text(&place), Some("SIMPLE" | "MUTUAL" | "ISTIO_MUTUAL"));
        if !here || !selects || !starts || !rule.is_visible_from(&workload.namespace) {
            continue;
        }
        found.push(
            Diagnostic::warning("W0236", format!("TLS twice: {} speaks HTTPS to {host}, and its sidecar starts TLS too", workload.name))
                .at(probe.place(scenario), "the request arrives as TLS inside TLS (curl: wrong version number)")
                .at(rule.at(&place), "starts TLS for this port")
                .help(format!("speak plain HTTP to it (`curl http://{host}/`), or limit the rule's `tls` to the port that carries HTTP")),
        );
    }
}

//! Expectations about what proxies and the API server hold, beside listeners and clusters: routes, endpoints, secrets, what
//! changed, parts of the configuration, objects, refusals, Istio's analysis.

use super::commands::{self, proxy_config};
use super::shell::{self, escaped, quote};
use super::step::Context;
use crate::plan::*;
use serde_json::Value;

/// Values of a document that are looked for, at most.
const LEAVES: usize = 12;

type Explained = (String, Vec<String>);

fn colon(port: Option<u16>) -> String {
    port.map(|port| format!(":{port}")).unwrap_or_default()
}

pub fn route(c: &Context<'_>, name: &str, on: &Workload, to: &[RouteTarget]) -> Explained {
    let table = proxy_config("routes", on, "");
    let mut lines = vec![format!("{table} | grep -F {}", quote(name))];
    let mut said = vec![];
    for target in to {
        let subset = target.subset.as_deref().map(escaped).unwrap_or_default();
        let pattern = format!("outbound\\|[0-9]+\\|{subset}\\|{}", escaped(&target.host));
        lines.push(format!("{table} -o json | grep -E {}", quote(&pattern)));
        said.push(target.host.clone());
    }
    let words = match said.as_slice() {
        [] => c.say(format!("{} has a route {name}", on.name), format!("{}에 {name} route가 있다", on.name)),
        hosts => c.say(
            format!("The route {name} of {} leads to {}", on.name, hosts.join(", ")),
            format!("{}의 {name} route는 {}(으)로 보낸다", on.name, hosts.join(", ")),
        ),
    };
    (words, lines)
}

pub fn endpoint(
    c: &Context<'_>,
    host: &str,
    port: Option<u16>,
    subset: Option<&str>,
    on: &Workload,
    facts: &[EndpointFact],
) -> Explained {
    let all = match port {
        Some(port) => {
            let cluster = format!("outbound|{port}|{}|{host}", subset.unwrap_or(""));
            format!("{} | tail -n +2", proxy_config("endpoints", on, &format!("--cluster {}", quote(&cluster))))
        }
        None => {
            let pattern =
                format!("outbound\\|[0-9]+\\|{}\\|{}", subset.map(escaped).unwrap_or_default(), escaped(host));
            format!("{} | grep -E {}", proxy_config("endpoints", on, ""), quote(&pattern))
        }
    };
    let mut said = vec![];
    let mut lines = vec![format!("{all} | grep .")];
    for fact in facts {
        let (words, line) = match fact {
            EndpointFact::Count(count) => {
                (c.say(format!("{count} of them"), format!("{count}개")), format!("{all} | wc -l | grep -x {count}"))
            }
            EndpointFact::Address { address, port } => {
                let address = format!("{address}{}", colon(*port));
                (address.clone(), format!("{all} | grep -F {}", quote(&address)))
            }
            EndpointFact::Healthy => (c.say("all healthy", "모두 HEALTHY"), format!("! {all} | grep -v ' HEALTHY '")),
        };
        said.push(words);
        lines.push(line);
    }
    let said = if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) };
    let words = c.say(
        format!("{} has endpoints of {host}{}{said}", on.name, colon(port)),
        format!("{}에 {host}{}의 endpoint가 있다{said}", on.name, colon(port)),
    );
    (words, lines)
}

pub fn secret(c: &Context<'_>, name: &str, on: &Workload) -> Explained {
    let words = c.say(
        format!("{} has the SDS secret {name}, and uses it", on.name),
        format!("{}에 SDS secret {name}이 있고 쓰인다", on.name),
    );
    let pattern = format!("^{} .*ACTIVE", escaped(name));
    (words, vec![format!("{} | grep -E {}", proxy_config("secret", on, ""), quote(&pattern))])
}

pub fn only(c: &Context<'_>, list: ProxyList, name: &str, on: &Workload) -> Explained {
    let words = c.say(
        format!("Since the list was kept, nothing of {} but {name} has come, gone or moved", on.name),
        format!("목록을 남긴 뒤로 {}에서 {name} 말고는 생기거나 없어진 것이 없다", on.name),
    );
    // The newest list of this proxy, if need be of another kind.
    let of_proxy = || c.lists.iter().rev().filter(|kept| kept.on == *on);
    let Some(kept) = of_proxy().find(|kept| kept.list == list).or_else(|| of_proxy().next()) else {
        return (words, vec![]);
    };
    let now = commands::list(kept.list, on);
    let host = name.split(':').next().unwrap_or(name);
    let file = commands::capture_file(kept.name);
    (words, vec![format!("! diff {file} <({now}) | grep '^[<>]' | grep -vF {}", quote(host))])
}

pub fn config(c: &Context<'_>, on: &Workload, document: &Value) -> Explained {
    let words = c.say(
        format!("The configuration of {} holds this part", on.name),
        format!("{}의 설정에 이 부분이 있다", on.name),
    );
    let mut lines = vec![];
    for kind in ["listeners", "clusters", "routes"] {
        let Some(part) = document.get(kind) else { continue };
        let json = proxy_config(kind, on, "-o json");
        for (_, leaf) in leaves(part).into_iter().take(LEAVES) {
            lines.push(format!("{json} | grep -F {}", quote(&leaf.to_string())));
        }
    }
    (words, lines)
}

pub fn resource(c: &Context<'_>, object: &ObjectRef, document: Option<&Value>) -> Explained {
    let namespace = c.namespace_of(object);
    let name = format!("{} {namespace}/{}", object.kind, object.name);
    let get = format!("kubectl -n {} get {} {}", quote(&namespace), quote(&object.kind), quote(&object.name));
    let Some(document) = document else {
        return (c.say(format!("{name} is there"), format!("{name}이 있다")), vec![get]);
    };
    let words = c.say(format!("{name} is there, and holds this"), format!("{name}이 있고, 이 내용이 들어 있다"));
    let mut lines = vec![];
    for (path, leaf) in leaves(document).into_iter().take(LEAVES) {
        let template = |path: &str| quote(&format!("{{{path}}}"));
        lines.push(match (leaf, path) {
            (Value::Null, Some(path)) => format!("! {get} -o jsonpath={} | grep .", template(&path)),
            (Value::Null, None) => continue,
            (Value::String(text), Some(path)) => {
                format!("{get} -o jsonpath={} | grep -Fx -e {}", template(&path), quote(&text))
            }
            (other, Some(path)) => format!("{get} -o jsonpath={} | grep -Fx -e {other}", template(&path)),
            // An item of a list may stand anywhere in it.
            (Value::String(text), None) => format!("{get} -o yaml | grep -F -e {}", quote(&text)),
            (other, None) => format!("{get} -o yaml | grep -F -e {other}"),
        });
    }
    if lines.is_empty() {
        lines.push(get);
    }
    (words, lines)
}

/// The scalars of a document, with their paths as kubectl writes them; none beneath a list.
fn leaves(document: &Value) -> Vec<(Option<String>, Value)> {
    let mut out = vec![];
    let mut open = vec![(Some(String::new()), document)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(fields) => {
                open.extend(fields.iter().rev().map(|(key, value)| {
                    (path.as_ref().map(|path| format!("{path}.{}", key.replace('.', "\\."))), value)
                }))
            }
            Value::Array(items) => open.extend(items.iter().rev().map(|item| (None, item))),
            scalar => out.push((path, scalar.clone())),
        }
    }
    out
}

/// The change above, once more: its refusal is what is looked at.
pub fn rejected(c: &Context<'_>, containing: Option<&Text>) -> Explained {
    let words = match containing {
        Some(text) => {
            let text = shell::text(text);
            c.say(
                format!("The change above is refused, and the message says {text}"),
                format!("위의 변경은 거절되고, 메시지에 {text}가 있다"),
            )
        }
        None => c.say("The change above is refused", "위의 변경은 거절된다"),
    };
    let line = match (&c.last_refused, containing) {
        (Some((command, rest)), Some(text)) => Some(format!("{command} 2>&1 | grep -F -e {}{rest}", shell::text(text))),
        (Some((command, rest)), None) => Some(format!("! {command}{rest}")),
        (None, _) => None,
    };
    (words, line.into_iter().collect())
}

pub fn analysis(c: &Context<'_>, wanted: &Analysis) -> Explained {
    let mut namespaces = vec![c.scenario.namespace.as_str(), c.scenario.gateway.namespace.as_str()];
    namespaces.dedup();
    match wanted {
        Analysis::Clean => (
            c.say("`istioctl analyze` finds no error and no warning", "`istioctl analyze`가 오류도 경고도 찾지 않는다"),
            namespaces.iter().map(|n| format!("istioctl analyze -n {n} --failure-threshold Warning")).collect(),
        ),
        Analysis::Contains(code) => {
            let all: Vec<String> = namespaces.iter().map(|n| format!("istioctl analyze -n {n};")).collect();
            (
                c.say(format!("`istioctl analyze` says {code}"), format!("`istioctl analyze`가 {code}를 말한다")),
                vec![format!("{{ {} }} 2>&1 | grep -F {code}", all.join(" "))],
            )
        }
    }
}

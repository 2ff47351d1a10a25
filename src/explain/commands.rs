//! The command lines that steps and expectations share.

use super::shell::{self, quote};
use crate::plan::{Exec, Part, ProxyList, Text, Workload};

/// The container of every Envoy that Istio starts.
const PROXY: &str = "istio-proxy";
/// Lines of an access log that are looked at: a probe's own are among the last.
const TAIL: usize = 100;

/// `kubectl … exec … -- COMMAND`, or the command alone for `exec local`. `more` goes behind curl's own words.
pub fn exec(exec: &Exec, container: Option<&str>, more: &str) -> String {
    let words: Vec<String> = exec.command.iter().map(shell::text).collect();
    let mut command = words.join(" ");
    if !more.is_empty() {
        command.push(' ');
        command.push_str(more);
    }
    match &exec.workload {
        None => command,
        Some(Workload { name, namespace }) => {
            let container = container.map(|c| format!(" -c {}", quote(c))).unwrap_or_default();
            format!("kubectl -n {namespace} exec deploy/{name}{container} -- {command}")
        }
    }
}

fn literal(text: &Text) -> Option<&str> {
    match text.0.as_slice() {
        [Part::Literal(text)] => Some(text),
        _ => None,
    }
}

/// True when the command is curl, by the name of its program.
pub fn is_curl(exec: &Exec) -> bool {
    exec.command.first().and_then(literal).is_some_and(|program| program.rsplit('/').next() == Some("curl"))
}

/// What makes curl print only `format`: its own output goes nowhere, unless the command says where.
pub fn write_out(exec: &Exec, format: &str) -> String {
    let says_where = |word: &str| {
        matches!(word, "--output" | "--remote-name")
            || (word.starts_with('-') && !word.starts_with("--") && word.contains(['o', 'O']))
    };
    let nowhere = if exec.command.iter().filter_map(literal).any(says_where) { "" } else { "-o /dev/null " };
    format!("{nowhere}-w {}", quote(&format!("{format}\\n")))
}

/// The host of the last URL that curl is given.
pub fn host(exec: &Exec) -> Option<String> {
    let url = exec.command.iter().filter_map(literal).rfind(|word| word.contains("://"))?;
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    (!host.is_empty()).then(|| host.to_owned())
}

/// A proxy's access log.
pub fn log(proxy: &Workload) -> String {
    format!("kubectl -n {} logs deploy/{} -c {PROXY} --tail={TAIL}", proxy.namespace, proxy.name)
}

/// The lines of a proxy's log that speak of `host`.
pub fn log_of(proxy: &Workload, host: Option<&str>) -> String {
    match host {
        Some(host) => format!("{} | grep -F {}", log(proxy), quote(host)),
        None => log(proxy),
    }
}

/// istioctl's view of a proxy: `kind` is `listeners`, `clusters`, `routes`.
pub fn proxy_config(kind: &str, proxy: &Workload, more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(" {more}") };
    format!("istioctl proxy-config {kind} deploy/{}.{}{more}", proxy.name, proxy.namespace)
}

/// A proxy's resources, one a line, without istioctl's heading.
pub fn list(list: ProxyList, on: &Workload) -> String {
    let kind = match list {
        ProxyList::Clusters => "clusters",
        ProxyList::Listeners => "listeners",
        ProxyList::Routes => "routes",
    };
    format!("{} | tail -n +2", proxy_config(kind, on, ""))
}

/// The file that a captured list is kept in.
pub fn capture_file(name: &str) -> String {
    format!("{}.txt", shell::variable(name))
}

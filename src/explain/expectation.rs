//! Expectations, in words and in the command that shows each.

use super::commands::{self, is_curl};
use super::shell::{self, escaped, quote};
use super::state;
use super::step::Context;
use crate::plan::*;

/// The words, and the commands that end with 0 when it holds.
pub fn expectation(c: &Context<'_>, expect: &Expect) -> (String, Vec<String>) {
    let (words, commands) = what(c, &expect.what);
    let words = match expect.negated {
        true => c.say(format!("It must not hold: {words}"), format!("다음이 아니어야 한다: {words}")),
        false => words,
    };
    let words = match &expect.because {
        Some(because) => format!("{words} — {because}"),
        None => words,
    };
    let commands = match expect.negated {
        true => commands
            .into_iter()
            .map(|command| if is_setting(&command) { command } else { format!("! {command}") })
            .collect(),
        false => commands,
    };
    (words, commands)
}

fn what(c: &Context<'_>, what: &Expectation) -> (String, Vec<String>) {
    match what {
        Expectation::Status(patterns) => {
            let shown = patterns.iter().map(|p| match p {
                StatusPattern::Code(code) => (format!("{code:03}"), format!("{code:03}")),
                StatusPattern::Class(class) => (format!("{class}xx"), format!("{class}[0-9][0-9]")),
            });
            let (names, regexes): (Vec<String>, Vec<String>) = shown.unzip();
            let names = names.join(c.language.say(" or ", " 또는 ").as_str());
            let words = c.say(
                format!("The HTTP status is {names} (000: no response)"),
                format!("HTTP 상태는 {names} (000은 응답 없음)"),
            );
            (words, curl(c, "%{http_code}", &format!("grep -xE '{}'", regexes.join("|"))))
        }
        Expectation::Exit(codes) => {
            let codes: Vec<String> = codes.iter().map(i32::to_string).collect();
            let words = c.say(
                format!("It ends with exit code {}", codes.join(" or ")),
                format!("exit code는 {}", codes.join(" 또는 ")),
            );
            let check = format!("echo \"exit code $?\" | grep -xE 'exit code ({})'", codes.join("|"));
            (words, probe(c, "").map(|command| format!("{{ {command}; {check}; }}")).into_iter().collect())
        }
        Expectation::SslVerify(result) => {
            let words = c.say(
                format!("curl's verification of the chain is {result} (0: verified)"),
                format!("curl의 인증서 체인 검증 결과는 {result} (0은 검증됨)"),
            );
            (words, curl(c, "%{ssl_verify_result}", &format!("grep -x -e {result}")))
        }
        Expectation::Header { name, matches } => {
            let line = quote(&format!("^{name}:"));
            let more = matches.as_ref().map(|m| format!(" | {}", grep(m))).unwrap_or_default();
            let words = c.say(format!("The response has the header {name}"), format!("응답에 {name} 헤더가 있다"));
            let command = probe(c, "-D /dev/stderr").map(|command| format!("{command} 2>&1 | grep -i {line}{more}"));
            (words + &told(c, matches.as_ref()), command.into_iter().collect())
        }
        Expectation::Body(matches) | Expectation::Stdout(matches) => {
            let words = c.say("What it prints", "출력");
            let command = probe(c, "").map(|command| format!("{command} | {}", grep(matches)));
            (words + &told(c, Some(matches)), command.into_iter().collect())
        }
        Expectation::Stderr(matches) => {
            let words = c.say("What it says on standard error", "표준 오류 출력");
            let command = probe(c, "").map(|command| format!("{command} 2>&1 >/dev/null | {}", grep(matches)));
            (words + &told(c, Some(matches)), command.into_iter().collect())
        }
        Expectation::Certificate { field, matches } => {
            let (name, line) = match field {
                CertificateField::San => ("subject alternative name", "^X509v3 Subject Alternative Name:"),
                CertificateField::Subject => ("subject", "^Subject:"),
                CertificateField::Issuer => ("issuer", "^Issuer:"),
            };
            let matches = match matches {
                // curl prints all names of a certificate on one line.
                TextMatch::Equals(text) => TextMatch::Contains(text.clone()),
                other => other.clone(),
            };
            let words =
                c.say(format!("The {name} of the certificate that curl saw"), format!("curl이 본 인증서의 {name}"));
            let filter = format!("grep -i {} | {} | head -n 1", quote(line), grep(&matches));
            (words + &told(c, Some(&matches)), curl(c, "%{certs}", &filter))
        }
        Expectation::Blocked(cause) => blocked(c, *cause),
        Expectation::Via { gateway, port } => {
            let words = c.say(
                format!("It went through the gateway {}{}", gateway.name, colon(*port)),
                format!("gateway {}{}를 거쳤다", gateway.name, colon(*port)),
            );
            (words, via(c, gateway, *port))
        }
        Expectation::Direct => {
            let words = c.say(
                "It went straight to the site, past every gateway: the upstream in the sidecar's log is the site",
                "gateway를 거치지 않고 바로 나갔다: sidecar 로그의 upstream이 그 사이트다",
            );
            let client = client(c);
            let gateway = quote(&c.scenario.gateway.name);
            let command = format!("{} | tail -n 1 | grep -vF {gateway}", commands::log_of(client, host(c).as_deref()));
            (words, vec![command])
        }
        Expectation::Path(hops) => path(c, hops),
        Expectation::Peer(id) => {
            let shown = shell::text(id);
            let words = c.say(
                format!("The gateway saw the client certificate of {shown}"),
                format!("gateway가 본 클라이언트 인증서는 {shown}"),
            );
            (words, vec![format!("{} | grep -F {shown}", commands::log_of(&c.scenario.gateway, host(c).as_deref()))])
        }
        Expectation::Log { proxy, matches } => {
            let words = c.say(format!("A line of the access log of {proxy}"), format!("{proxy}의 access log 한 줄"));
            let command = format!("{} | {}", commands::log(proxy), grep(matches));
            (words + &told(c, Some(matches)), vec![command])
        }
        Expectation::Listener { port, on, facts } => listener(c, *port, c.proxy(on.as_ref()), facts),
        Expectation::Cluster { host, port, subset, on, facts } => {
            cluster(c, host, *port, subset.as_deref(), c.proxy(on.as_ref()), facts)
        }
        Expectation::List { list, on, compare } => list_compare(c, *list, c.proxy(on.as_ref()), compare),
        Expectation::Json { path, matches } => {
            let words = c.say(format!("The answer has a value at {path}"), format!("응답의 {path}에 값이 있다"));
            let check = match matches {
                None => " | grep -vx null".to_owned(),
                Some(TextMatch::Equals(text)) => format!(" | grep -Fx -e {}", shell::text(text)),
                Some(other) => format!(" | {}", grep(other)),
            };
            let line = shell::jq(path).zip(probe(c, "")).map(|(jq, command)| format!("{command} | jq -r {jq}{check}"));
            (words + &told(c, matches.as_ref()), line.into_iter().collect())
        }
        Expectation::Time { comparison, limit } => {
            let sign = super::step::sign(*comparison);
            let seconds = limit.as_secs_f64();
            let words = c.say(
                format!("The transfer takes {sign} {seconds} s"),
                format!("전송에 걸린 시간이 {sign} {seconds}초"),
            );
            (words, curl(c, "%{time_total}", &format!("awk '{{ print; exit !($1 {sign} {seconds}) }}'")))
        }
        Expectation::Tls(version) => {
            let words = c.say(
                format!("curl and the other end agreed on TLS {version}"),
                format!("curl과 상대가 TLS {version}로 합의했다"),
            );
            let line = probe(c, "")
                .map(|command| format!("{command} 2>&1 >/dev/null | grep -F 'SSL connection using TLSv{version}'"));
            (words, line.into_iter().collect())
        }
        Expectation::Route { name, on, to } => state::route(c, name, c.proxy(on.as_ref()), to),
        Expectation::Endpoint { host, port, subset, on, facts } => {
            state::endpoint(c, host, *port, subset.as_deref(), c.proxy(on.as_ref()), facts)
        }
        Expectation::Secret { name, on } => state::secret(c, name, c.proxy(on.as_ref())),
        Expectation::Only { list, name, on } => state::only(c, *list, name, on),
        Expectation::Config { on, document } => state::config(c, on, document),
        Expectation::Resource { object, document } => state::resource(c, object, document.as_ref()),
        Expectation::Rejected { containing } => state::rejected(c, containing.as_ref()),
        Expectation::Analysis(wanted) => state::analysis(c, wanted),
    }
}

/// A command that only gives a shell variable its value.
fn is_setting(command: &str) -> bool {
    command.split_once("=$(").is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// The probe's command; none when no exec was readable.
fn probe(c: &Context<'_>, more: &str) -> Option<String> {
    let exec = c.probe?;
    let more = if is_curl(exec) { more } else { "" };
    Some(commands::exec(exec, c.container(exec), more))
}

/// curl asked to print one of its own values; another program's output is looked at as it is.
fn curl(c: &Context<'_>, format: &str, filter: &str) -> Vec<String> {
    let Some(exec) = c.probe else { return vec![] };
    let more = if is_curl(exec) { commands::write_out(exec, format) } else { String::new() };
    vec![format!("{} | {filter}", commands::exec(exec, c.container(exec), &more))]
}

fn host(c: &Context<'_>) -> Option<String> {
    c.probe.and_then(commands::host)
}

fn client<'c>(c: &'c Context<'_>) -> &'c Workload {
    c.proxy(None)
}

fn colon(port: Option<u16>) -> String {
    port.map(|port| format!(":{port}")).unwrap_or_default()
}

fn grep(matches: &TextMatch) -> String {
    match matches {
        TextMatch::Equals(text) | TextMatch::Contains(text) => format!("grep -F -e {}", shell::text(text)),
        TextMatch::Matches(regex) => format!("grep -P -e {}", quote(regex)),
    }
}

fn told(c: &Context<'_>, matches: Option<&TextMatch>) -> String {
    match matches {
        None => String::new(),
        Some(TextMatch::Equals(text)) => {
            c.say(format!(" is {}", shell::text(text)), format!(": {}", shell::text(text)))
        }
        Some(TextMatch::Contains(text)) => {
            c.say(format!(" contains {}", shell::text(text)), format!("에 {}가 들어 있다", shell::text(text)))
        }
        Some(TextMatch::Matches(regex)) => c.say(format!(" matches /{regex}/"), format!("이 /{regex}/에 맞는다")),
    }
}

fn blocked(c: &Context<'_>, cause: Option<BlockedBy>) -> (String, Vec<String>) {
    let sidecar = || commands::log_of(client(c), host(c).as_deref());
    let gateway = || commands::log_of(&c.scenario.gateway, host(c).as_deref());
    let (words, log, pattern) = match cause {
        Some(BlockedBy::RegistryOnly) => (
            c.say(
                "It is blocked by REGISTRY_ONLY: no ServiceEntry registers the host, and the sidecar's log says BlackHoleCluster \
                 (TLS) or block_all (HTTP)",
                "REGISTRY_ONLY가 막는다: 등록한 ServiceEntry가 없고, sidecar 로그에 BlackHoleCluster(TLS) 또는 block_all(HTTP)이 찍힌다",
            ),
            sidecar(),
            "BlackHoleCluster|block_all",
        ),
        Some(BlockedBy::SidecarScope) => (
            c.say(
                "It is blocked by a Sidecar that hides the host: the sidecar does not know it",
                "Sidecar 범위가 막는다: 프록시가 그 host를 모른다",
            ),
            sidecar(),
            "BlackHoleCluster|block_all",
        ),
        Some(BlockedBy::Authorization) => (
            c.say("It is denied by an AuthorizationPolicy", "AuthorizationPolicy가 거절한다"),
            gateway(),
            "rbac|RBAC",
        ),
        Some(BlockedBy::NoRoute) => (
            c.say("No filter chain or route takes it", "받는 filter chain이나 route가 없다"),
            gateway(),
            "NR|filter_chain_not_found",
        ),
        Some(BlockedBy::Network) => {
            (c.say("The network lets nothing through", "네트워크가 막는다"), sidecar(), "UF|URX|UH|UC")
        }
        Some(BlockedBy::Upstream) => (c.say("The site itself refuses", "사이트가 거절한다"), sidecar(), "UF|UC|UPE| 5[0-9][0-9] "),
        None => {
            let words = c.say("Nothing comes through", "아무것도 통과하지 못한다");
            return (words, probe(c, "").map(|command| format!("! {command}")).into_iter().collect());
        }
    };
    (words, vec![format!("{log} | grep -E '{pattern}'")])
}

/// That the client's sidecar chose the gateway, and that the gateway saw the host.
fn via(c: &Context<'_>, gateway: &Workload, port: Option<u16>) -> Vec<String> {
    let port = port.map_or("[0-9]+".into(), |port| port.to_string());
    let service = escaped(&format!("{}.{}.", gateway.name, gateway.namespace));
    let host = host(c);
    vec![
        format!("{} | grep -E 'outbound\\|{port}\\|[^|]*\\|{service}'", commands::log_of(client(c), host.as_deref())),
        format!("{} | grep -F 'outbound|'", commands::log_of(gateway, host.as_deref())),
    ]
}

fn path(c: &Context<'_>, hops: &[Hop]) -> (String, Vec<String>) {
    let shown: Vec<String> = hops.iter().map(|hop| format!("{}{}", hop.name, colon(hop.port))).collect();
    let shown = shown.join(" → ");
    let words = c.say(
        format!("The whole way is {shown}, read from the access logs"),
        format!("access log로 본 전체 경로는 {shown}"),
    );
    let mut lines = vec![];
    let mut last: &Workload = client(c);
    let gateways: Vec<Workload> = hops.iter().skip(1).rev().skip(1).rev().map(|hop| gateway_of(c, &hop.name)).collect();
    for (gateway, hop) in gateways.iter().zip(&hops[1..]) {
        lines.extend(via(c, gateway, hop.port).into_iter().take(1));
        last = gateway;
    }
    if let Some(end) = hops.last() {
        let port = end.port.map_or("[0-9]+".into(), |port| port.to_string());
        lines.push(format!("{} | grep -E 'outbound\\|{port}\\|[^|]*\\|{}'", commands::log(last), escaped(&end.name)));
    }
    (words, lines)
}

/// A gateway that a path names: the scenario's own, or `NAME.NAMESPACE`.
fn gateway_of(c: &Context<'_>, name: &str) -> Workload {
    let gateway = &c.scenario.gateway;
    match name.split_once('.') {
        Some((name, namespace)) => Workload { name: name.into(), namespace: namespace.into() },
        None => Workload { name: name.into(), namespace: gateway.namespace.clone() },
    }
}

fn listener(c: &Context<'_>, port: u16, on: &Workload, facts: &[Fact]) -> (String, Vec<String>) {
    let Workload { name, namespace } = on;
    let gateway = *on == c.scenario.gateway;
    let mut lines = vec![];
    let mut bound = port.to_string();
    if gateway {
        // Envoy binds the Service's targetPort.
        lines.push(format!(
            "port=$(kubectl -n {namespace} get service {name} -o jsonpath='{{.spec.ports[?(@.port=={port})].targetPort}}')"
        ));
        bound = "\"$port\"".into();
    }
    let table = commands::proxy_config("listeners", on, &format!("--port {bound}"));
    let json = format!("{table} -o json");
    let mut said = vec![];
    for fact in facts {
        let (words, line) = match fact {
            Fact::RequireClientCertificate => (
                c.say("it asks clients for a certificate", "클라이언트 인증서를 요구한다"),
                format!("{json} | grep -i requireClientCertificate"),
            ),
            Fact::Mode(mode) if mode == "PASSTHROUGH" => (
                c.say(
                    "mode PASSTHROUGH: a chain that matches by SNI and has no transportSocket of its own",
                    "mode PASSTHROUGH: SNI로 고르고 transportSocket이 없는 chain",
                ),
                format!("{json} | grep -E '\"(serverNames|transportSocket)\"'"),
            ),
            Fact::Mode(mode) => (
                c.say(format!("mode {mode}: it ends TLS"), format!("mode {mode}: TLS를 끝낸다")),
                format!("{json} | grep -F transportSocket"),
            ),
            Fact::Sni(sni) => (
                c.say(format!("SNI {sni}"), format!("SNI {sni}")),
                format!("{json} | grep -F {}", quote(&format!("\"{sni}\""))),
            ),
            Fact::Chains(count) => (
                c.say(format!("filter chains: {count}"), format!("filter chain {count}개")),
                format!("{json} | grep -c '\"filterChainMatch\"'"),
            ),
            Fact::To { host, subset } => (
                c.say(format!("it sends to {host}"), format!("{host}(으)로 보낸다")),
                format!(
                    "{table} | grep -E {}",
                    quote(&format!(
                        "outbound\\|[0-9]+\\|{}\\|{}",
                        subset.as_deref().map(escaped).unwrap_or_default(),
                        escaped(host)
                    ))
                ),
            ),
            Fact::Bound(port) => (
                c.say(format!("bound to {port}"), format!("{port}에 묶인다")),
                format!("{} | grep -w {port}", commands::proxy_config("listeners", on, &format!("--port {port}"))),
            ),
            Fact::San(text) | Fact::Alpn(text) | Fact::Type(text) | Fact::Tls(text) => {
                (text.clone(), format!("{json} | grep -F {}", quote(text)))
            }
        };
        said.push(words);
        lines.push(line);
    }
    if facts.is_empty() {
        // Where there is none, `$port` still names a port and istioctl prints its heading alone.
        lines.push(format!("{table} | tail -n +2 | grep ."));
    }
    let said = if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) };
    let words =
        c.say(format!("The listener of port {port} on {name}{said}"), format!("{name}의 {port} 포트 listener{said}"));
    (words, lines)
}

fn cluster(
    c: &Context<'_>,
    host: &str,
    port: Option<u16>,
    subset: Option<&str>,
    on: &Workload,
    facts: &[Fact],
) -> (String, Vec<String>) {
    let port_option = port.map(|port| format!(" --port {port}")).unwrap_or_default();
    let subset_option = subset.map(|subset| format!(" --subset {}", quote(subset))).unwrap_or_default();
    let table = commands::proxy_config("clusters", on, &format!("--fqdn {}{port_option}{subset_option}", quote(host)));
    let json = format!("{table} -o json");
    let mut lines = vec![format!("{table} | grep -F {}", quote(host))];
    let mut said = vec![];
    for fact in facts {
        let (words, line) = match fact {
            Fact::Type(kind) => (format!("type {kind}"), format!("{json} | grep -F {}", quote(kind))),
            Fact::Tls(mode) if mode == "none" => {
                (c.say("without TLS", "TLS 없음"), format!("! {json} | grep -F transportSocket"))
            }
            Fact::Tls(mode) => (
                c.say(format!("it begins TLS: {mode}"), format!("TLS 시작: {mode}")),
                format!("{json} | grep -F transportSocket"),
            ),
            Fact::Sni(text) | Fact::San(text) | Fact::Alpn(text) | Fact::Mode(text) => {
                (text.clone(), format!("{json} | grep -F {}", quote(text)))
            }
            Fact::RequireClientCertificate | Fact::Chains(_) | Fact::To { .. } | Fact::Bound(_) => continue,
        };
        said.push(words);
        lines.push(line);
    }
    let said = if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) };
    let words = c.say(
        format!("{} has a cluster for {host}{}{said}", on.name, colon(port)),
        format!("{}에 {host}{} cluster가 있다{said}", on.name, colon(port)),
    );
    (words, lines)
}

fn list_compare(c: &Context<'_>, list: ProxyList, on: &Workload, compare: &ListCompare) -> (String, Vec<String>) {
    let now = commands::list(list, on);
    let lines = |operand: &Operand| match operand {
        Operand::Number(number) => number.to_string(),
        operand => format!("\"$(cat {} | wc -l)\"", c.as_file(operand)),
    };
    let other = |operand: &Operand| match operand {
        Operand::Number(number) => number.to_string(),
        Operand::Capture(name) => format!("${{{name}}}"),
        Operand::List { on, .. } => c.proxy(on.as_ref()).to_string(),
    };
    match compare {
        ListCompare::Count(count) => (
            c.say(format!("The list of {on} has {count} lines"), format!("{on}의 목록은 {count}줄")),
            vec![format!("[ \"$({now} | wc -l)\" -eq {count} ]")],
        ),
        ListCompare::FewerThan(operand) => (
            c.say(
                format!("The list of {on} is shorter than that of {}", other(operand)),
                format!("{on}의 목록이 {}의 것보다 짧다", other(operand)),
            ),
            vec![format!("[ \"$({now} | wc -l)\" -lt {} ] && echo fewer", lines(operand))],
        ),
        ListCompare::SameAs(operand) => (
            c.say(
                format!("The list of {on} is the same as that of {}", other(operand)),
                format!("{on}의 목록이 {}의 것과 같다", other(operand)),
            ),
            vec![format!("diff <({now} | sort) <(sort {}) && echo same", c.as_file(operand))],
        ),
    }
}

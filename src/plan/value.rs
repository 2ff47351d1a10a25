//! What single words mean: durations, ports, statuses, workloads. Each says what it takes.

use super::expected::{BlockedBy, Stable, StatusPattern};
use super::step::{OutboundPolicy, Version, Workload};
use std::time::Duration;

/// Why a word does not fit: beneath the caret, and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    pub why: String,
    pub help: Option<String>,
}

type Fit<T> = Result<T, Unfit>;

fn unfit<T>(why: impl Into<String>, help: impl Into<String>) -> Fit<T> {
    Err(Unfit { why: why.into(), help: Some(help.into()) })
}

/// `500ms`, `10s`, `1.5s`, `2m`, `1h`; more than nothing, at most a day.
pub fn duration(word: &str) -> Fit<Duration> {
    let split = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let (number, unit) = word.split_at(split);
    let Ok(number) = number.parse::<f64>() else {
        return unfit("not a duration", "write a number and a unit: 500ms, 10s, 2m");
    };
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        "" => {
            return unfit("a duration needs its unit", format!("write {word}s for seconds, {word}ms for milliseconds"));
        }
        "x" => return unfit("not a duration", "a number of times stands behind `stable`: stable 3x"),
        "sec" | "secs" | "seconds" | "second" | "초" => {
            return unfit(format!("unknown unit `{unit}`"), format!("write {}s", &word[..split]));
        }
        _ => return unfit(format!("unknown unit `{unit}`"), "units are ms, s, m and h"),
    };
    match seconds > 0.0 && seconds <= 86_400.0 {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => unfit("out of range", "a duration is more than 0 and at most 24h"),
    }
}

/// `2s` or `3x`.
pub fn stable(word: &str) -> Fit<Stable> {
    if let Some(times) = word.strip_suffix('x') {
        return match times.parse::<u32>() {
            Ok(n) if (1..=1000).contains(&n) => Ok(Stable::Times(n)),
            _ => unfit("not a number of times", "write stable 3x (1 to 1000), or stable 2s"),
        };
    }
    if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
        return unfit("how often, or how long?", format!("write {word}x for {word} times, {word}s for seconds"));
    }
    duration(word).map(Stable::For)
}

pub fn port(word: &str) -> Fit<u16> {
    match word.parse::<u16>() {
        Ok(n) if n > 0 => Ok(n),
        _ => unfit("not a port", "a port is a number from 1 to 65535"),
    }
}

pub fn count(word: &str) -> Fit<usize> {
    match word.parse::<u32>() {
        Ok(n) => Ok(n as usize),
        Err(_) => unfit("not a number", "write a count: 0, 1, 2 …"),
    }
}

pub fn exit(word: &str) -> Fit<i32> {
    match word.parse::<i32>() {
        Ok(n) if (0..=255).contains(&n) => Ok(n),
        _ => match word.to_lowercase().as_str() {
            "non-zero" | "nonzero" | "failure" | "fail" | "error" => {
                unfit("not an exit code", "write expect no exit 0")
            }
            "ok" | "success" | "zero" => unfit("not an exit code", "write expect exit 0"),
            "timeout" => unfit("not an exit code", "curl's for a timeout is 28: write expect exit 28"),
            _ => {
                unfit("not an exit code", "an exit code is a number from 0 to 255; curl's 35 is a failed TLS handshake")
            }
        },
    }
}

pub fn integer(word: &str) -> Fit<i64> {
    word.parse::<i64>().or_else(|_| match word.to_lowercase().as_str() {
        "ok" | "true" | "verified" | "success" => {
            unfit("not a number", "write expect ssl_verify 0: 0 is a verified chain")
        }
        _ => unfit("not a number", "0 is a verified chain; other numbers are OpenSSL's verify results"),
    })
}

/// `200`, `2xx`, `000`.
pub fn status(word: &str) -> Fit<StatusPattern> {
    let bytes = word.as_bytes();
    if let [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] = bytes {
        return Ok(StatusPattern::Class(u16::from(class - b'0')));
    }
    match word.parse::<u16>() {
        Ok(0) if word == "000" => Ok(StatusPattern::Code(0)),
        Ok(n) if (100..=599).contains(&n) && bytes.len() == 3 => Ok(StatusPattern::Code(n)),
        _ if word.contains(['|', ',', '/']) && word.split(['|', ',', '/']).all(|w| status(w).is_ok()) => unfit(
            "`or` stands between several",
            format!("write expect status {}", word.replace(['|', ',', '/'], " or ")),
        ),
        _ if word.len() > 3 && word.contains(' ') && word.get(..3).is_some_and(|w| status(w).is_ok()) => {
            unfit("the number alone is compared", format!("write expect status {}", &word[..3]))
        }
        _ if word.eq_ignore_ascii_case("ok") => unfit("not a status", "write expect status 200, or 2xx for 200 to 299"),
        _ => unfit("not a status", "a status is 200, 2xx, 301 or 302, or 000 for no response at all"),
    }
}

/// `REGISTRY_ONLY` and so on, upper or lower case, `-` or `_`.
pub fn blocked_by(word: &str) -> Fit<BlockedBy> {
    let plain = word.to_lowercase().replace('_', "-");
    Ok(match plain.as_str() {
        "registry-only" => BlockedBy::RegistryOnly,
        "sidecar-scope" => BlockedBy::SidecarScope,
        "authorization" => BlockedBy::Authorization,
        "no-route" => BlockedBy::NoRoute,
        "network" => BlockedBy::Network,
        "upstream" => BlockedBy::Upstream,
        _ => {
            let known = ["REGISTRY_ONLY", "sidecar-scope", "authorization", "no-route", "network", "upstream"];
            let meant = match plain.as_str() {
                "denied" | "rbac" | "authorizationpolicy" | "authz" | "policy" | "forbidden" => Some("authorization"),
                "sidecar" | "scope" => Some("sidecar-scope"),
                "blackhole" | "blackholecluster" | "registry" | "outbound" => Some("REGISTRY_ONLY"),
                "route" | "404" | "nr" => Some("no-route"),
                "firewall" | "networkpolicy" | "timeout" | "reset" => Some("network"),
                "site" | "server" => Some("upstream"),
                _ => crate::diag::suggest::nearest(word, known),
            };
            return match meant {
                Some(m) => unfit(format!("did you mean `{m}`?"), format!("causes are: {}", known.join(" "))),
                None => unfit("not a cause", format!("causes are: {}", known.join(" "))),
            };
        }
    })
}

pub fn outbound(word: &str) -> Fit<OutboundPolicy> {
    match word.to_lowercase().replace('-', "_").as_str() {
        "registry_only" => Ok(OutboundPolicy::RegistryOnly),
        "allow_any" => Ok(OutboundPolicy::AllowAny),
        _ => match crate::diag::suggest::nearest(word, ["REGISTRY_ONLY", "ALLOW_ANY"]) {
            Some(near) => unfit(format!("did you mean `{near}`?"), "policies are: REGISTRY_ONLY ALLOW_ANY"),
            None => unfit("not an outbound policy", "write REGISTRY_ONLY or ALLOW_ANY"),
        },
    }
}

/// `NAME`, `NAME.NAMESPACE`, `deploy/NAME`, `deploy/NAME.NAMESPACE`. A bare name that is the default
/// gateway's means the gateway; any other is looked up in `namespace`.
pub fn workload(word: &str, namespace: &str, gateway: Option<&Workload>) -> Fit<Workload> {
    let (kind, rest) = word.split_once('/').unwrap_or(("deploy", word));
    if matches!(kind, "pod" | "pods" | "po") {
        return unfit(
            "one pod is not a workload",
            "write the NAME of its Deployment: all pods of a workload are meant",
        );
    }
    let known = ["svc", "service", "sts", "statefulset", "ds", "daemonset", "rs", "replicaset", "job"];
    if is_label(kind)
        && is_label(rest)
        && !known.contains(&kind)
        && !matches!(kind, "deploy" | "deployment" | "deployments")
    {
        return unfit(
            "a namespace stands behind the name",
            match kind.contains("gateway") || rest.ends_with("-system") {
                true => format!("write {kind}.{rest}"),
                false => format!("write {rest}.{kind}"),
            },
        );
    }
    if let Some((short, _)) = word.split_once(".svc") {
        return unfit("a Service's host, and a workload is named here", format!("write {short}"));
    }
    if !matches!(kind, "deploy" | "deployment" | "deployments") {
        return unfit(
            format!("`{kind}/…` is not a workload here"),
            "write NAME, NAME.NAMESPACE or deploy/NAME; all its pods are meant",
        );
    }
    let (name, own) = match rest.split_once('.') {
        Some((name, namespace)) => (name, Some(namespace)),
        None => (rest, None),
    };
    for part in [Some(name), own].into_iter().flatten() {
        if !is_label(part) {
            let why = if part.is_empty() {
                "a name is missing".to_string()
            } else {
                format!("`{part}` cannot name a workload")
            };
            return unfit(why, "write NAME or NAME.NAMESPACE: lower-case letters, digits and `-`");
        }
    }
    let namespace = match (own, gateway) {
        (Some(own), _) => own,
        (None, Some(gateway)) if gateway.name == name => &gateway.namespace,
        _ => namespace,
    };
    Ok(Workload { name: name.to_string(), namespace: namespace.to_string() })
}

/// `HOST[:PORT]`.
pub fn host_port(word: &str) -> Fit<(String, Option<u16>)> {
    if word.contains("://") {
        let host = word.split("://").nth(1).unwrap_or("").split('/').next().unwrap_or("");
        return unfit("a host, not a URL", format!("write {host}, or {host}:443"));
    }
    match word.rsplit_once(':') {
        Some((host, number)) if !host.is_empty() => Ok((host.to_string(), Some(port(number)?))),
        Some(_) => unfit("the host is missing", "write HOST or HOST:PORT"),
        None if word.is_empty() => unfit("the host is missing", "write HOST or HOST:PORT"),
        None => Ok((word.to_string(), None)),
    }
}

/// A JSONPath: `$.status.phase`, or as kubectl writes it: `.status.phase`, `{.status.phase}`.
pub fn json_path(word: &str) -> Fit<String> {
    let inner = word.strip_prefix('{').and_then(|w| w.strip_suffix('}')).unwrap_or(word).trim();
    let path = match inner.chars().next() {
        Some('.' | '[') => format!("${inner}"),
        Some('$') => inner.to_string(),
        _ => return unfit("not a JSONPath", format!("write $.{inner}, as in $.status.phase or $.items[*].name")),
    };
    if path.len() > MAX_JSON_PATH {
        return unfit("too long", format!("a JSONPath has at most {MAX_JSON_PATH} characters"));
    }
    match jsonpath_rust::parser::parse_json_path(&path) {
        Ok(_) => Ok(path),
        Err(_) => {
            unfit("not a JSONPath", "write $.field, $.list[0], $.list[*].field or $.list[?(@.a == 'b')].c (RFC 9535)")
        }
    }
}

/// The parser's recursion is bounded by the path's length.
const MAX_JSON_PATH: usize = 500;

/// `1.30`, `1.30.3`.
pub fn version(word: &str) -> Fit<Version> {
    let parts: Result<Vec<u64>, _> = word.trim_start_matches('v').split('.').map(str::parse).collect();
    match parts {
        Ok(parts) if (1..=3).contains(&parts.len()) => Ok(Version(parts)),
        _ => unfit("not a version of Istio", "write 1.28 or 1.30.3"),
    }
}

/// The name of a CustomResourceDefinition: `PLURAL.GROUP`.
pub fn crd(word: &str) -> Fit<String> {
    match word.split_once('.') {
        Some((plural, group)) if !plural.is_empty() && group.contains('.') => Ok(word.to_string()),
        _ => unfit("not the name of a CustomResourceDefinition", "write PLURAL.GROUP: wasmplugins.extensions.istio.io"),
    }
}

/// `Ready`, or `Ready=False`.
pub fn condition(word: &str) -> Fit<(String, String)> {
    let (condition, status) = word.split_once('=').unwrap_or((word, "True"));
    let status = ["True", "False", "Unknown"].into_iter().find(|s| s.eq_ignore_ascii_case(status));
    match (condition.is_empty(), status) {
        (false, Some(status)) => Ok((condition.to_string(), status.to_string())),
        _ => unfit("not a condition", "write condition=Available, or condition=Available=False"),
    }
}

/// The TLS versions that can be told apart.
pub fn tls_version(word: &str) -> Fit<String> {
    let plain = word.to_lowercase();
    let plain = plain.trim_start_matches("tls").trim_start_matches('v');
    match ["1.0", "1.1", "1.2", "1.3"].contains(&plain) {
        true => Ok(plain.to_string()),
        false => unfit("not a version of TLS", "write 1.2 or 1.3"),
    }
}

pub fn analysis_code(word: &str) -> Fit<String> {
    let upper = word.to_uppercase();
    match upper.strip_prefix("IST").is_some_and(|n| n.len() == 4 && n.bytes().all(|b| b.is_ascii_digit())) {
        true => Ok(upper),
        false => unfit("not a code of Istio's analysis", "write IST0101; `istioctl analyze -L` lists them"),
    }
}

pub fn replicas(word: &str) -> Fit<u32> {
    match word.parse::<u32>() {
        Ok(n) if n <= 1000 => Ok(n),
        _ => match word.rsplit(['=', ' ']).next().filter(|n| *n != word && n.parse::<u32>().is_ok()) {
            Some(number) => unfit("not a number of replicas", format!("write {number} alone: scale WORKLOAD {number}")),
            None => unfit("not a number of replicas", "write 0, 1, 2 …"),
        },
    }
}

/// A label of RFC 1123, as names of namespaces and workloads are.
pub fn is_label(text: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= 63 && text.chars().all(ok) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["10", "0s", "s", "-1s", "10 s", "1e9s", "99h", "..s", "10sec", ""] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn statuses() {
        assert_eq!(status("200"), Ok(StatusPattern::Code(200)));
        assert_eq!(status("000"), Ok(StatusPattern::Code(0)));
        assert_eq!(status("2xx"), Ok(StatusPattern::Class(2)));
        for bad in ["0", "20", "2000", "6xx", "0xx", "ok", "한글", "+20"] {
            assert!(status(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_paths_are_those_of_the_rfc_and_of_kubectl() {
        assert_eq!(json_path("$.a").as_deref(), Ok("$.a"));
        assert_eq!(json_path("{.status.phase}").as_deref(), Ok("$.status.phase"));
        assert_eq!(json_path(".items[*].metadata.name").as_deref(), Ok("$.items[*].metadata.name"));
        assert_eq!(json_path("$.a[?(@.b == 'c')].d").as_deref(), Ok("$.a[?(@.b == 'c')].d"));
        for bad in ["", "a.b", "$..", "$[", "$.a[", "{}", &format!("$.{}", "a".repeat(600))] {
            assert!(json_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_conditions_codes() {
        assert_eq!(version("1.30").map(|v| v.0), Ok(vec![1, 30]));
        assert!(version("1.x").is_err());
        assert_eq!(condition("Ready"), Ok(("Ready".into(), "True".into())));
        assert_eq!(condition("Ready=false"), Ok(("Ready".into(), "False".into())));
        assert!(condition("=True").is_err());
        assert_eq!(tls_version("TLSv1.3").as_deref(), Ok("1.3"));
        assert_eq!(analysis_code("ist0101").as_deref(), Ok("IST0101"));
        assert!(analysis_code("0101").is_err());
    }

    #[test]
    fn workloads() {
        let gateway = Workload { name: "istio-egressgateway".into(), namespace: "istio-system".into() };
        let read = |w: &str| workload(w, "mesh-test", Some(&gateway)).map(|w| w.to_string()).ok();
        assert_eq!(read("sleep").as_deref(), Some("sleep.mesh-test"));
        assert_eq!(read("sleep.other").as_deref(), Some("sleep.other"));
        assert_eq!(read("deploy/sleep").as_deref(), Some("sleep.mesh-test"));
        assert_eq!(read("istio-egressgateway").as_deref(), Some("istio-egressgateway.istio-system"));
        for bad in ["", "a.b.c", "Sleep", "pod/x", "sleep.", "a b"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}

//! The words of the language, as tables: what exists, how it is used, what people write instead,
//! and what a later version will know. One place, so that errors, completion and docs agree.

/// A verb, how it is written, and whether it opens a block that `end` closes.
pub struct VerbEntry {
    pub word: &'static str,
    pub usage: &'static str,
    pub opens: bool,
}

const fn verb(word: &'static str, usage: &'static str) -> VerbEntry {
    VerbEntry { word, usage, opens: false }
}

/// Every verb of this version.
pub const VERBS: &[VerbEntry] = &[
    verb("title", "title \"TEXT\""),
    verb("namespace", "namespace NAME"),
    verb("gateway", "gateway NAME.NAMESPACE"),
    verb(
        "require",
        "require outbound REGISTRY_ONLY|ALLOW_ANY, gateway port N, access-log [peer], secret NAME [in NAMESPACE], version >= V, or crd NAME",
    ),
    verb("set", "set NAME = WORD…"),
    verb("let", "let NAME = WORD"),
    verb("within", "within 10s"),
    verb("include", "include FILE"),
    verb("only", "only on lab|cluster [because \"TEXT\"]"),
    verb("skip", "skip if [no] REQUIREMENT [because \"TEXT\"], a requirement as behind `require`"),
    verb("disruptive", "disruptive [because \"TEXT\"]"),
    verb("scenario", "scenario \"TITLE\" [tag, tag]"),
    verb("criteria", "criteria \"TEXT\""),
    verb("see", "see NAME…"),
    verb("note", "note \"TEXT\""),
    verb("pause", "pause \"TEXT\""),
    verb("trap", "trap \"SYMPTOM\" \"CAUSE\" \"MEND\""),
    VerbEntry { word: "for", usage: "for NAME in WORD… (steps) end", opens: true },
    VerbEntry { word: "steps", usage: "steps NAME PARAMETER… (steps) end", opens: true },
    VerbEntry { word: "setup", usage: "setup (steps) end", opens: true },
    VerbEntry { word: "cleanup", usage: "cleanup (steps) end", opens: true },
    verb("end", "end"),
    verb("apply", "apply FILE…, or apply <<YAML"),
    verb("delete", "delete KIND NAME [in NAMESPACE], or delete FILE…"),
    verb("patch", "patch KIND NAME [in NAMESPACE] <<YAML"),
    verb("restart", "restart WORKLOAD"),
    verb("scale", "scale WORKLOAD N"),
    verb("wait", "wait KIND NAME [in NAMESPACE] ready|available|condition=TYPE|gone [within 60s]"),
    verb("exec", "exec WORKLOAD [-c CONTAINER] [--] COMMAND…, or exec local COMMAND…"),
    verb("do", "do NAME WORD…"),
    verb(
        "capture",
        "capture NAME = clusters|listeners|routes on PROXY, = stdout, = header NAME, = json PATH, or = KIND NAME PATH",
    ),
    verb("diff", "diff A B, each a ${capture} or clusters|listeners|routes [on PROXY]"),
    verb(
        "site",
        "site HOST [down|refused|unresolved] [status N] [body TEXT] [delay 2s] [tls 1.2|1.3] [certificate expired|wrong-host|untrusted] [client-certificate optional|required] [answer page|httpbin|facts] [address IP]",
    ),
    verb("cut", "cut WORKLOAD -> WORKLOAD|HOST|dns[:PORT] [refuse]"),
    verb("kill", "kill WORKLOAD [-c CONTAINER]"),
    verb("expect", "expect [no] WHAT… [within 10s] [because \"TEXT\"]"),
];

/// What can follow `expect`, and how it is written.
pub const EXPECTATIONS: &[(&str, &str)] = &[
    ("status", "expect status 200 (or 2xx, 301 or 302, 000)"),
    ("exit", "expect exit 35"),
    ("ssl_verify", "expect ssl_verify 0"),
    ("header", "expect header NAME [== TEXT | contains TEXT | matches /REGEX/]"),
    ("body", "expect body == TEXT | contains TEXT | matches /REGEX/"),
    ("stdout", "expect stdout == TEXT | contains TEXT | matches /REGEX/"),
    ("stderr", "expect stderr == TEXT | contains TEXT | matches /REGEX/"),
    ("json", "expect json PATH [== TEXT | contains TEXT | matches /REGEX/]"),
    ("time", "expect time < 2s"),
    ("tls", "expect tls 1.3"),
    ("certificate", "expect certificate san|subject|issuer TEXT"),
    ("blocked", "expect blocked [by REGISTRY_ONLY|sidecar-scope|authorization|no-route|network|upstream]"),
    ("direct", "expect direct"),
    ("via", "expect via GATEWAY[:PORT]"),
    ("path", "expect path CLIENT -> GATEWAY:PORT -> HOST:PORT"),
    ("peer", "expect peer spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT"),
    ("log", "expect log PROXY contains TEXT | matches /REGEX/"),
    ("listener", "expect listener PORT [on PROXY] [FACT…]"),
    ("cluster", "expect cluster HOST[:PORT] [subset NAME] [on PROXY] [FACT…]"),
    ("route", "expect route HOST|NAME [on PROXY] [to HOST [subset NAME]]"),
    ("endpoint", "expect endpoint HOST[:PORT] [subset NAME] [on PROXY] [count N] [address ADDRESS] [healthy]"),
    ("secret", "expect secret NAME [on PROXY]"),
    ("clusters", "expect clusters [on PROXY] count N | fewer than X | same as X"),
    ("listeners", "expect listeners [on PROXY] count N | fewer than X | same as X"),
    ("routes", "expect routes [on PROXY] count N | fewer than X | same as X"),
    ("only", "expect only cluster|listener|route NAME [on PROXY] changed"),
    ("config", "expect config [on PROXY] matches <<YAML"),
    ("resource", "expect resource KIND NAME [in NAMESPACE] [matches <<YAML]"),
    ("rejected", "expect rejected [containing TEXT]"),
    ("analysis", "expect analysis clean | contains CODE"),
];

/// Facts of a listener, a cluster, a route or an endpoint, and how they are written.
pub const FACTS: &[(&str, &str)] = &[
    ("requireClientCertificate", "requireClientCertificate"),
    ("mode", "mode PASSTHROUGH|ISTIO_MUTUAL|SIMPLE|MUTUAL"),
    ("sni", "sni HOST"),
    ("chains", "chains N"),
    ("to", "to HOST [subset NAME]"),
    ("type", "type STRICT_DNS|LOGICAL_DNS|EDS|ORIGINAL_DST|STATIC"),
    ("tls", "tls none|SIMPLE|MUTUAL|ISTIO_MUTUAL"),
    ("san", "san TEXT"),
    ("alpn", "alpn TEXT"),
    ("bound", "bound PORT"),
    ("count", "count N"),
    ("address", "address ADDRESS[:PORT]"),
    ("healthy", "healthy"),
];

/// Words that stand before a value at the end of an expectation.
pub const MODIFIERS: &[(&str, &str)] = &[
    ("within", "within 10s"),
    ("every", "every 500ms"),
    ("stable", "stable 2s, or stable 3x"),
    ("because", "because \"TEXT\""),
    ("on", "on PROXY"),
];

/// Reserved at the end of `apply`, `expect` and `wait`.
pub const RESERVED: &[&str] = &["within", "every", "stable", "because", "on", "in", "as"];

/// Verbs that are read and planned, and that this version does not run yet.
pub const LATER_VERBS: &[&str] = &[
    "wait",
    "patch",
    "restart",
    "scale",
    "setup",
    "cleanup",
    "site",
    "cut",
    "kill",
    "trap",
    "skip",
    "only",
    "disruptive",
];

/// Expectations that are read, and that this version does not judge yet.
pub const LATER_EXPECTATIONS: &[&str] =
    &["json", "time", "tls", "endpoint", "secret", "only", "config", "resource", "rejected", "analysis"];

/// What can follow `require` in a later version.
pub const LATER_REQUIREMENTS: &[&str] = &["secret", "version", "crd"];

/// Sources of `capture` in a later version.
pub const LATER_CAPTURES: &[&str] = &["json", "object"];

/// First words that people write instead of a verb, and what they mean here.
pub const GUESSED_VERBS: &[(&str, &str)] = &[
    ("assert", "`expect …`"),
    ("check", "`expect …`"),
    ("verify", "`expect …`"),
    ("should", "`expect …`"),
    ("ensure", "`expect …`"),
    ("curl", "`exec WORKLOAD curl …`: say which workload it runs in, e.g. `exec sleep curl …`"),
    ("kubectl", "`apply FILE…`, `delete KIND NAME` or `exec WORKLOAD …`: the run speaks to Kubernetes itself"),
    ("istioctl", "`expect listener …` or `expect cluster …`: the run reads the proxies itself"),
    ("run", "`exec WORKLOAD COMMAND…`"),
    ("create", "`apply FILE…`"),
    ("remove", "`delete KIND NAME`"),
    ("test", "`scenario \"TITLE\"`"),
    ("it", "`scenario \"TITLE\"`"),
    ("describe", "`scenario \"TITLE\"`"),
    ("feature", "`title \"TEXT\"`"),
    ("name", "`title \"TEXT\"`"),
    ("ns", "`namespace NAME`"),
    ("foreach", "`for NAME in WORD…`"),
    ("var", "`let NAME = WORD`, or `set NAME = WORD…` for several words"),
    ("export", "`let NAME = WORD`, or `set NAME = WORD…` for several words"),
    ("echo", "`note \"TEXT\"`"),
    ("print", "`note \"TEXT\"`"),
    ("sleep", "`expect … within 10s`: an expectation waits by itself until it holds; there is no fixed sleep"),
    ("timeout", "`within 10s`"),
    ("retry", "`expect … within 10s`: an expectation is tried again by itself until it holds"),
    ("given", "the step itself, without `given`"),
    ("when", "the step itself, without `when`"),
    ("then", "`expect …`"),
    ("and", "the step itself, without `and`"),
    ("get", "`exec WORKLOAD curl …`, and `expect status 200` behind it"),
    ("post", "`exec WORKLOAD curl -X POST …`, and `expect status 200` behind it"),
    ("put", "`exec WORKLOAD curl -X PUT …`, and `expect status 200` behind it"),
    ("head", "`exec WORKLOAD curl -I …`, and `expect status 200` behind it"),
    ("http", "`expect status 200`"),
    ("[asserts]", "`expect …` behind an `exec`"),
    ("[captures]", "`capture NAME = …`"),
    ("[options]", "`within 10s` at the end of an `expect`"),
    ("done", "`end`"),
    ("fi", "`end`"),
    ("esac", "`end`"),
    ("}", "`end`"),
    ("endfor", "`end`"),
    ("while", "`for NAME in WORD…`"),
    ("loop", "`for NAME in WORD…`"),
    ("repeat", "`for NAME in WORD…`"),
    ("적용", "`apply FILE…`: verbs are English, texts may be Korean"),
    ("실행", "`exec WORKLOAD COMMAND…`: verbs are English, texts may be Korean"),
    ("기대", "`expect …`: verbs are English, texts may be Korean"),
    ("확인", "`expect …`: verbs are English, texts may be Korean"),
    ("검증", "`expect …`: verbs are English, texts may be Korean"),
    ("시나리오", "`scenario \"TITLE\"`: verbs are English, texts may be Korean"),
    ("제목", "`title \"TEXT\"`: verbs are English, texts may be Korean"),
    ("삭제", "`delete KIND NAME`: verbs are English, texts may be Korean"),
    ("반복", "`for NAME in WORD…`: verbs are English, texts may be Korean"),
    ("끝", "`end`"),
    ("메모", "`note \"TEXT\"`: verbs are English, texts may be Korean"),
    ("if", "`require …` for what a scenario needs, or `skip if …`; there is no other condition"),
    ("call", "`do NAME WORD…`"),
    ("def", "`steps NAME PARAMETER…`"),
    ("define", "`steps NAME PARAMETER…`"),
    ("function", "`steps NAME PARAMETER…`"),
    ("macro", "`steps NAME PARAMETER…`"),
    ("import", "`include FILE`"),
    ("source", "`include FILE`"),
    ("before", "`setup`"),
    ("beforeeach", "`setup`"),
    ("after", "`cleanup`"),
    ("aftereach", "`cleanup`"),
    ("teardown", "`cleanup`"),
    ("finally", "`cleanup`"),
    ("rollout", "`restart WORKLOAD`, or `wait deployment NAME ready`"),
    ("edit", "`patch KIND NAME <<YAML`"),
    ("waitfor", "`wait KIND NAME ready|available|condition=TYPE|gone`"),
    ("save", "`capture NAME = …`"),
    ("store", "`capture NAME = …`"),
];

/// Words behind `expect` (and `expect no`) that people guess.
pub const GUESSED_EXPECTATIONS: &[(&str, &str)] = &[
    ("denied", "expect blocked by authorization"),
    ("forbidden", "expect blocked by authorization"),
    ("unauthorized", "expect blocked by authorization"),
    ("rbac", "expect blocked by authorization"),
    ("refused", "expect blocked by network"),
    ("unreachable", "expect blocked by network"),
    ("timeout", "expect blocked by network"),
    ("fail", "expect exit 35 (curl's code), or expect blocked"),
    ("failure", "expect exit 35 (curl's code), or expect blocked"),
    ("error", "expect exit 35 (curl's code), or expect stderr contains TEXT"),
    ("success", "expect status 200, or expect exit 0"),
    ("ok", "expect status 200, or expect exit 0"),
    ("code", "expect status 200 for HTTP's code, expect exit 0 for the command's"),
    ("http_code", "expect status 200"),
    ("http", "expect status 200"),
    ("response", "expect status 200, or expect body contains TEXT"),
    ("output", "expect stdout contains TEXT"),
    ("contains", "expect stdout contains TEXT"),
    ("exitcode", "expect exit 35"),
    ("exit_code", "expect exit 35"),
    ("ssl_verify_result", "expect ssl_verify 0"),
    ("allowed", "expect status 200"),
    ("gateway", "expect via GATEWAY[:PORT]"),
    ("through", "expect via GATEWAY[:PORT]"),
    ("spiffe", "expect peer spiffe://…"),
    ("identity", "expect peer spiffe://…"),
    ("san", "expect certificate san TEXT"),
    ("issuer", "expect certificate issuer TEXT"),
    ("requireClientCertificate", "expect listener PORT requireClientCertificate"),
    ("mtls", "expect listener PORT mode ISTIO_MUTUAL, or expect peer spiffe://…"),
    ("bypass", "expect direct"),
    ("not", "expect no WHAT"),
    ("that", "expect WHAT, without `that`"),
    ("to", "expect WHAT, without `to`"),
    ("ready", "wait deployment NAME ready, without `expect`"),
    ("available", "wait deployment NAME available, without `expect`"),
    ("gone", "wait KIND NAME gone, without `expect`"),
    ("analyze", "expect analysis clean, or expect analysis contains CODE"),
    ("invalid", "expect rejected [containing TEXT]"),
    ("object", "expect resource KIND NAME [matches <<YAML]"),
    ("duration", "expect time < 2s"),
    ("latency", "expect time < 2s"),
    ("jsonpath", "expect json PATH == TEXT"),
];

/// The entry of a verb.
pub fn find_verb(word: &str) -> Option<&'static VerbEntry> {
    VERBS.iter().find(|v| v.word == word)
}

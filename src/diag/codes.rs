//! The codes of diagnostics and what each means. A code never changes its meaning and is never
//! used again for another.

/// One code. `E…` is an error, `W…` a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    pub code: &'static str,
    /// One line: what is wrong.
    pub title: &'static str,
    /// Why it matters and how it is mended.
    pub text: &'static str,
}

const fn code(code: &'static str, title: &'static str, text: &'static str) -> Code {
    Code { code, title, text }
}

/// The entry of a code, upper or lower case.
pub fn explain(wanted: &str) -> Option<&'static Code> {
    CODES.iter().find(|c| c.code.eq_ignore_ascii_case(wanted))
}

/// Every code that reading and checking gives, in order.
pub const CODES: &[Code] = &[
    code(
        "E0101",
        "a quote is not closed",
        "A quote closes on the line on which it opens. A text of several lines stands between \"\"\" and \"\"\"; an apostrophe inside a text needs double quotes around it.",
    ),
    code(
        "E0102",
        "a block `<<TAG` is not closed",
        "The closing word stands alone on its line, at any indent, spelt as behind `<<`.",
    ),
    code("E0103", "a text `\"\"\"` is not closed", "A teaching text starts and ends with three double quotes."),
    code(
        "E0104",
        "unknown verb",
        "A line starts with a verb of the language. The message names the nearest one, or what is written instead of a word that other tools use.",
    ),
    code(
        "E0106",
        "not in this version",
        "The word belongs to the language, but this version does not run it. Nothing is skipped in silence: remove the line, or use a newer version.",
    ),
    code(
        "E0107",
        "the words do not fit the verb",
        "The verb is known, and something is missing, too much or in the wrong place. The message shows the verb's form.",
    ),
    code(
        "E0108",
        "a character that cannot stand here",
        "Control characters, blanks that are none (U+00A0, U+3000) and typographic quotes look right and are not. Type the ordinary character, or put the word in quotes.",
    ),
    code(
        "E0109",
        "unknown escape",
        "In double quotes \\n \\t \\r \\\" \\\\ and \\$ are known. In single quotes nothing is special.",
    ),
    code(
        "E0110",
        "`${…}` names no variable",
        "A name is letters, digits, `_` and `-`, and starts with a letter. `$${` stands for the characters `${`.",
    ),
    code(
        "E0111",
        "a `\\` that does not continue",
        "A line is continued by a `\\` as its very last character; a blank or a comment behind it ends the statement.",
    ),
    code(
        "E0113",
        "a block is not closed",
        "`for` and its like are closed by a line `end` before the next scenario and before the file's end.",
    ),
    code(
        "E0114",
        "`end` closes nothing",
        "No block is open. A scenario needs no `end`: it ends where the next one starts.",
    ),
    code(
        "E0115",
        "a step before the first scenario",
        "In a file with `scenario` lines each step belongs to one. Without such lines the whole file is one scenario.",
    ),
    code(
        "E0116",
        "a header behind a step",
        "Headers (title, namespace, gateway, require, set, let, within, include, only, skip, disruptive, and the blocks steps and setup) hold for a whole file or scenario, so they stand before its first step.",
    ),
    code("E0117", "given twice", "A header or modifier that can hold only one value is given a second time."),
    code(
        "E0118",
        "unknown expectation",
        "Nothing can be expected by this name. The message names the nearest one, or what is written instead.",
    ),
    code(
        "E0119",
        "unknown or misplaced fact",
        "Listeners have requireClientCertificate, mode, sni, chains, to, san, alpn, bound; clusters have type, tls, sni, san, alpn.",
    ),
    code(
        "E0121",
        "a table is not right",
        "A table stands directly below a line with `for` alone: the first row names the variables, every further row has as many cells.",
    ),
    code("E0122", "nested too deep", "Blocks may be nested 32 deep."),
    code("E0123", "a block without steps", "Nothing would be repeated."),
    code("E0124", "too many steps", "Loops multiply. A file repeats to 1000000 steps at most."),
    code(
        "E0125",
        "a block where it has no place",
        "`steps`, `setup` and `cleanup` stand in a file or a scenario, never in another block.",
    ),
    code(
        "E0126",
        "not a file to be included",
        "An included file holds named steps (`steps NAME … end`), `set`, `let` and `include`. Anything else in it would never run.",
    ),
    code(
        "E0127",
        "steps that do themselves",
        "`do` puts the named steps where it stands; steps that name themselves would never end.",
    ),
    code("E0201", "unknown name", "No `set`, `let`, `for` or `capture` above gives this name a value."),
    code(
        "E0202",
        "a set where one word stands",
        "A set is several words; it can only be a whole word, without quotes, where several may stand.",
    ),
    code(
        "E0203",
        "a capture is not known yet",
        "What a capture holds is known only when the run reaches it. It can stand in a command, in texts to compare with, behind `fewer than` and `same as`, and in `diff`.",
    ),
    code("E0204", "named twice", "Names of one level differ, and so do the scenarios of a file."),
    code(
        "E0205",
        "a value does not fit",
        "The word is not a port, status, duration, workload, … as its place asks. The message says what is.",
    ),
    code(
        "E0207",
        "the regex cannot be read",
        "Regexes are those of Rust's `regex` crate: no look-around, no back-references.",
    ),
    code(
        "E0208",
        "an expectation without an exec",
        "Status, exit code, headers, path and the like are about what an `exec` did, so one stands before them.",
    ),
    code(
        "E0209",
        "an expectation of before a change",
        "Between the exec and this line something was applied or deleted. What the exec saw is of before; repeat it.",
    ),
    code(
        "E0210",
        "a modifier where it has no place",
        "`within every stable because on in as` are reserved at the end of apply, expect and wait. Quote a file that is so named.",
    ),
    code(
        "E0211",
        "on which proxy?",
        "Without `on NAME` a list or cluster is that of the last exec's workload, and there is none.",
    ),
    code("E0212", "no such steps", "`do` names steps of this file or of a file that it includes."),
    code("E0213", "as many words as parameters", "`do NAME` takes one word for each parameter of `steps NAME …`."),
    code(
        "E0214",
        "changed since when?",
        "`expect only … changed` compares with the last `capture NAME = clusters|listeners|routes on PROXY` of that proxy.",
    ),
    code(
        "E0215",
        "rejected: which change?",
        "`expect rejected` stands right below the `apply`, `patch`, `scale` or `delete` that is to be refused.",
    ),
    code("E0216", "curl does not say", "Which TLS version was agreed on is told by `curl -v` only."),
    code(
        "E0240",
        "a route asked of TLS passthrough",
        "Traffic that passes as TLS is matched by SNI in a listener's filter chains; no route is ever looked at. Ask `expect listener PORT sni HOST` and `expect path …`.",
    ),
    code(
        "E0301",
        "no manifest matches",
        "Words of `apply` are files, folders or globs beside the scenario, then in the nearest `manifests/` folder above it.",
    ),
    code(
        "E0302",
        "outside of the manifests",
        "Nothing outside the scenario's folder and the nearest `manifests/` is read: no absolute path, no `..`, no link that leads out.",
    ),
    code("E0303", "a manifest cannot be read", "It is missing, a folder, too large, or not UTF-8."),
    code(
        "E0304",
        "a URL is never applied",
        "What it serves can change; a scenario must not. Keep a copy beside the scenario.",
    ),
    code("E0305", "not YAML", "The place is where the parser gave up; the mistake is there or just before."),
    code("E0306", "a key is given twice", "kubectl refuses it too: one of the values would be lost."),
    code("E0307", "not a Kubernetes object", "An object has apiVersion, kind and metadata.name."),
    code("E0308", "too deep or too much", "Nesting, the number of values and what aliases stand for are bounded."),
    code(
        "E0309",
        "a value that JSON cannot hold",
        "Kubernetes speaks JSON: no infinity, no NaN, no binary or custom tags.",
    ),
    code(
        "E0310",
        "a scenario cannot be read",
        "The file is missing, too large or not UTF-8, or a folder holds no `.egress` file.",
    ),
    code(
        "E0311",
        "a field that does not exist",
        "The kind has no such field at this place, so kubectl refuses the manifest and an API server would drop it in silence: it is misspelt, or indented too much or too little.",
    ),
    code(
        "E0312",
        "a value of a wrong type",
        "The field wants text, a number, true or false, a list or a map, and something else stands there. YAML reads unquoted 443 as a number and on, yes, y as true.",
    ),
    code(
        "E0313",
        "the definition's schema refuses it",
        "The resource definition names required fields, allowed values, ranges and rules; the API server refuses the object.",
    ),
    code(
        "E0314",
        "istiod's webhook refuses it",
        "istiod validates Istio's objects when they are applied. The message is istiod's own; `egress-scn validate -f FILE` shows all stages.",
    ),
    code(
        "E0315",
        "no such kind",
        "The API server does not know this kind in this apiVersion: one of the two is misspelt, or the version is not served any more.",
    ),
    code("W0230", "a capture is never used", "It would be read and forgotten."),
    code("W0231", "a `for` variable is never used", "The same steps would run several times."),
    code(
        "W0232",
        "only negative evidence",
        "A request that fails can fail for any reason. A positive control (a request by the same client that succeeds, or by another client to the same host) shows that client, DNS and network work, so that the block is what was meant.",
    ),
    code(
        "W0233",
        "a status alone",
        "For a host with a gateway applied, 200 also comes when the traffic goes past the gateway. `via` or `path` shows the way it took; a fact of a listener or cluster is at least a second witness.",
    ),
    code(
        "W0234",
        "a scenario checks nothing",
        "Without an `expect` nothing can fail; a run in which nothing is checked does not pass.",
    ),
    code(
        "W0235",
        "a modifier is handed to the command",
        "Behind `exec` all words belong to the command. `within` and its like stand on an `expect`.",
    ),
    code(
        "W0236",
        "TLS twice",
        "The client speaks HTTPS, and a DestinationRule makes its sidecar start TLS to the same port: the site gets TLS inside TLS. Origination is for clients that speak plain HTTP.",
    ),
    code(
        "W0237",
        "a Sidecar hides what a probe needs",
        "A Sidecar's `egress.hosts` say which ServiceEntries and Services a workload's proxy knows. What they leave out is unregistered for it, and blocked under REGISTRY_ONLY.",
    ),
    code(
        "W0238",
        "no shell reads the command",
        "Behind `exec` words go to the program as they are: pipes, redirections and `&&` mean nothing to it. `sh -c '…'` runs a shell; `expect stdout …` judges output without one.",
    ),
    code("W0239", "steps that are never done", "No `do` names them: they would never run."),
    code(
        "W0320",
        "a `tls` route behind a terminating server",
        "Behind a server that ends TLS there is no SNI left to match: istiod makes no filter chain from a `tls` route and omits a listener without chains. The leg is `tcp`.",
    ),
    code(
        "W0321",
        "a subset nobody defines",
        "A route to a subset needs a DestinationRule for the same host that defines it; otherwise there is no cluster and requests end with NC.",
    ),
    code(
        "W0322",
        "a host that is not registered",
        "Proxies have clusters only for Services and ServiceEntries: a route or a DestinationRule for another host has no effect.",
    ),
    code(
        "W0323",
        "a port that is not there",
        "The Service or ServiceEntry of the destination has no such port, so there is no cluster for it; a gateway's server on a port that its Service does not expose is reached by nobody.",
    ),
    code(
        "W0324",
        "an SNI that the server does not serve",
        "A passthrough server makes chains only for SNIs among its own hosts.",
    ),
    code(
        "W0325",
        "a gateway that does not exist",
        "A VirtualService names Gateways of its own namespace by name, others as NAMESPACE/NAME.",
    ),
    code(
        "W0326",
        "traffic bypasses the gateway",
        "Sidecars use a VirtualService only when `mesh` is among its gateways (or none is named).",
    ),
    code(
        "W0327",
        "ISTIO_MUTUAL without `sni`",
        "The sidecar then sends outbound_.PORT_.SUBSET_.HOST, and a server with named hosts has no chain for it.",
    ),
    code(
        "W0328",
        "two hosts behind one terminating server",
        "One server is one filter chain with one `tcp` route, whatever its hosts. Give each host a server.",
    ),
    code(
        "W0329",
        "a host served twice on a port",
        "istiod skips the later TLS server of the same workload and port (duplicate host names).",
    ),
    code(
        "W0330",
        "a `tcp` leg behind an HTTP server",
        "`protocol: HTTPS` with TLS ended at the gateway reads HTTP. Bytes are passed on by `protocol: TLS`.",
    ),
    code("W0332", "a match for a gateway that is not named above", "A match's gateways are a part of spec.gateways."),
    code(
        "W0333",
        "an SNI that no server takes",
        "The DestinationRule's `sni` must be one of the hosts of the server on that port.",
    ),
    code("W0334", "no server on that port", "A match's port is the port of the Gateway's server."),
    code(
        "W0335",
        "a Gateway selects no workload",
        "Its selector matches the labels of no pod, so no proxy gets its servers.",
    ),
    code(
        "W0336",
        "TLS that nobody ends",
        "The sidecar wraps the client's TLS, and a passthrough server hands it on to the site as it is.",
    ),
    code(
        "W0337",
        "no mesh mTLS where it is asked for",
        "A server with ISTIO_MUTUAL needs a DestinationRule with `tls.mode: ISTIO_MUTUAL` for the gateway's Service: auto-mTLS does not reach a gateway without a sidecar label.",
    ),
    code(
        "W0338",
        "TLS twice",
        "The client already speaks TLS; a DestinationRule that starts TLS again wraps it a second time.",
    ),
    code("W0339", "a host that is not visible", "Its ServiceEntry is exported only to other namespaces."),
    code("W0341", "in the clear and TLS on one port", "istiod keeps one of the two servers."),
    code(
        "W0342",
        "istiod's webhook warns",
        "The object is admitted, and istiod says that something in it has no effect or not the one that is meant.",
    ),
    code(
        "W0343",
        "a selector that matches no workload",
        "The labels of a Sidecar's, policy's, DestinationRule's or Service's selector are those of no pod of its namespace, so it applies to none.",
    ),
    code(
        "W0344",
        "a DestinationRule that no proxy applies",
        "istiod looks for the rules of a host in the client's namespace, in the service's (or ServiceEntry's) and in istio-system, and only where `exportTo` lets it. Elsewhere a rule is admitted and never used.",
    ),
    code(
        "W0345",
        "a link that istioctl analyze names",
        "istioctl's own message, with its code (https://istio.io/latest/docs/reference/config/analysis/).",
    ),
];

#[cfg(test)]
mod tests {
    use super::CODES;

    #[test]
    fn codes_are_unique_and_sorted() {
        let all: Vec<&str> = CODES.iter().map(|c| c.code).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(all, sorted);
    }

    /// Every code that is given anywhere in reading and checking is explained.
    #[test]
    fn every_code_in_use_is_explained() {
        fn visit(folder: &std::path::Path, out: &mut String) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    visit(&path, out);
                } else {
                    out.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let mut text = String::new();
        for room in ["src/syntax", "src/plan", "src/check"] {
            visit(std::path::Path::new(room), &mut text);
        }
        let used = regex::Regex::new(r#""([EW]0\d{3})""#).unwrap();
        let unknown: Vec<&str> =
            used.captures_iter(&text).map(|c| c.extract::<1>().1[0]).filter(|c| super::explain(c).is_none()).collect();
        assert!(unknown.is_empty(), "not in the table: {unknown:?}");
    }
}

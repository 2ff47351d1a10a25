//! A green scenario must be able to go red, for the right reason: each break of the note's manifests, all in
//! one run (which also shows that every scenario leaves the lab as it found it).

use crate::program::{can_run, program, root, text};
use std::fs;
use std::path::Path;

struct Break {
    name: &'static str,
    scenario: &'static str,
    /// (file beneath the case's folder, text, replacement); an empty text removes the file.
    edits: &'static [(&'static str, &'static str, &'static str)],
    /// All of these are said.
    says: &'static [&'static str],
    /// None of these is.
    silent: &'static [&'static str],
}

const BREAKS: &[Break] = &[
    Break {
        name: "httpbin-without-serviceentry",
        scenario: "httpbin-passthrough",
        edits: &[("scenarios/httpbin-passthrough.egress", "apply serviceentry-httpbin-ext.yaml ", "apply ")],
        says: &["✗   20  expect status 200"],
        silent: &[],
    },
    Break {
        name: "httpbin-without-gateway",
        scenario: "httpbin-passthrough",
        edits: &[("scenarios/httpbin-passthrough.egress", "gateway-egress.yaml ", "")],
        says: &["✗   17  expect listener 443", "+ (no listener)", "the gateway `istio-egressgateway` does not exist"],
        silent: &[],
    },
    Break {
        name: "httpbin-without-virtualservice",
        scenario: "httpbin-passthrough",
        edits: &[("scenarios/httpbin-passthrough.egress", "virtualservice-egress.yaml ", "")],
        says: &["✗   17  expect listener 443", "no Gateway and VirtualService fit it"],
        silent: &[],
    },
    Break {
        name: "httpbin-without-destinationrule",
        scenario: "httpbin-passthrough",
        edits: &[("scenarios/httpbin-passthrough.egress", "destinationrule-egress.yaml", "")],
        says: &["✗   20  expect status 200", "NC"],
        silent: &[],
    },
    Break {
        name: "httpbin-virtualservice-without-mesh",
        scenario: "httpbin-passthrough",
        edits: &[("manifests/virtualservice-egress.yaml", "    - mesh\n    - istio", "    - istio")],
        says: &["✓   20  expect status 200", "✗   22  expect via istio-egressgateway:443", "✗   23  expect path"],
        silent: &[],
    },
    Break {
        name: "httpbin-other-sni",
        scenario: "httpbin-passthrough",
        edits: &[("manifests/gateway-egress.yaml", "        - httpbin.org", "        - www.httpbin.org")],
        says: &["✗   17  expect listener 443", "httpbin.org is not among the hosts of the server on 443"],
        silent: &[],
    },
    Break {
        name: "cnn-without-serviceentry",
        scenario: "cnn-mtls",
        edits: &[("scenarios/cnn-mtls.egress", "set cnn = serviceentry-cnn-ext.yaml ", "set cnn = ")],
        says: &["✗   24  expect status 200"],
        silent: &[],
    },
    Break {
        name: "cnn-without-gateway",
        scenario: "cnn-mtls",
        edits: &[("scenarios/cnn-mtls.egress", "gateway-egress-cnn-mtls.yaml ", "")],
        says: &["✗   20  expect listener 15443 requireClientCertificate", "+ (no listener)"],
        silent: &[],
    },
    Break {
        name: "cnn-without-destinationrule",
        scenario: "card",
        edits: &[("manifests/destinationrule-egress-cnn-mtls.yaml", "", "")],
        says: &["✗    3  expect status 200", "NC"],
        silent: &[],
    },
    Break {
        name: "cnn-without-virtualservice",
        scenario: "card",
        edits: &[("manifests/virtualservice-egress-cnn-mtls.yaml", "", "")],
        says: &["✗    4  expect listener 15443 requireClientCertificate", "+ (no listener)"],
        silent: &[],
    },
    Break {
        name: "cnn-leg-2-tls",
        scenario: "card",
        edits: &[(
            "manifests/virtualservice-egress-cnn-mtls.yaml",
            "  tcp:\n    - match:\n        - gateways:\n            - istio-egressgateway-cnn\n          port: 15443\n",
            "    - match:\n        - gateways:\n            - istio-egressgateway-cnn\n          port: 15443\n          sniHosts:\n            - edition.cnn.com\n",
        )],
        says: &[
            "✗    3  expect status 200",
            "sleep ✓ → istio-egressgateway:15443 ✗ no listener → edition.cnn.com",
            "Behind a terminating server the leg is `tcp`",
        ],
        silent: &[],
    },
    Break {
        name: "cnn-other-sni",
        scenario: "card",
        edits: &[("manifests/destinationrule-egress-cnn-mtls.yaml", "sni: edition.cnn.com", "sni: edition.cnn.net")],
        says: &["✗    3  expect status 200", "edition.cnn.net"],
        silent: &[],
    },
    Break {
        name: "both-without-cnn-gateway",
        scenario: "both-at-once",
        edits: &[("manifests/gateway-egress-cnn-mtls.yaml", "", "")],
        says: &["✓   12  expect status 200", "✗   18  expect status 200", "no Gateway has a server on port 15443"],
        silent: &[],
    },
    Break {
        name: "registry-allow-any",
        scenario: "registry-only",
        edits: &[("scenarios/registry-only.egress", "outbound REGISTRY_ONLY", "outbound ALLOW_ANY")],
        says: &[
            "✗   16  expect exit 35",
            "✗   18  expect blocked by REGISTRY_ONLY",
            "✗   31  expect blocked by REGISTRY_ONLY",
        ],
        silent: &[],
    },
    Break {
        name: "registry-without-serviceentry",
        scenario: "registry-only",
        edits: &[("scenarios/registry-only.egress", "  apply serviceentry-httpbin-ext.yaml\n", "\n")],
        says: &["✗   11  expect status 200"],
        silent: &[],
    },
    Break {
        name: "origination-without-tls",
        scenario: "tls-origination",
        edits: &[
            ("manifests/tls-origination-gateway.yaml", "mode: SIMPLE", "mode: DISABLE"),
            ("manifests/tls-origination-sidecar.yaml", "mode: SIMPLE", "mode: DISABLE"),
        ],
        says: &[
            "✗   14  expect cluster edition.cnn.com:443 on istio-egressgateway tls SIMPLE",
            "✗   23  expect cluster edition.cnn.com:80 on sleep tls SIMPLE",
        ],
        silent: &[],
    },
    Break {
        name: "scope-not-applied",
        scenario: "sidecar-scope",
        edits: &[("scenarios/sidecar-scope.egress", "  apply sidecar-scope.yaml\n", "\n")],
        says: &["✗   16  expect clusters on sleep fewer than"],
        silent: &[],
    },
    Break {
        name: "scope-too-narrow",
        scenario: "sidecar-scope",
        edits: &[("manifests/sidecar-scope.yaml", "        - ./*\n", "")],
        says: &["✓   16  expect clusters on sleep fewer than", "✗   17  expect cluster httpbin.org:443 on sleep"],
        silent: &[],
    },
];

#[test]
fn every_break_turns_its_scenario_red_for_the_right_reason() {
    if !can_run("every_break_turns_its_scenario_red_for_the_right_reason") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = BREAKS.iter().map(|case| prepare(case, folder.path())).collect();
    let output = program().args(["run", "--lab"]).args(&files).output().unwrap();
    let seen = text(&output);
    assert_eq!(output.status.code(), Some(1), "{seen}");
    let mut wrong = vec![];
    for (case, file) in BREAKS.iter().zip(&files) {
        let section = section(&seen, file.to_str().unwrap());
        let missing =
            case.says.iter().filter(|words| !section.contains(**words)).map(|words| format!("missing {words:?}"));
        let extra = case.silent.iter().filter(|words| section.contains(**words)).map(|words| format!("says {words:?}"));
        let problems: Vec<String> = missing.chain(extra).collect();
        if !problems.is_empty() {
            wrong.push(format!("## {}\n{}\n{section}", case.name, problems.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A copy of the scenario and all manifests, with the case's edits. Gives the scenario's path.
fn prepare(case: &Break, folder: &Path) -> std::path::PathBuf {
    let folder = folder.join(case.name);
    fs::create_dir_all(folder.join("scenarios")).unwrap();
    fs::create_dir_all(folder.join("manifests")).unwrap();
    let scenario = format!("scenarios/{}.egress", case.scenario);
    fs::copy(root().join(&scenario), folder.join(&scenario)).unwrap();
    for manifest in glob::glob(root().join("manifests/*.yaml").to_str().unwrap()).unwrap() {
        let manifest = manifest.unwrap();
        fs::copy(&manifest, folder.join("manifests").join(manifest.file_name().unwrap())).unwrap();
    }
    for (file, from, to) in case.edits {
        let path = folder.join(file);
        if from.is_empty() {
            fs::remove_file(path).unwrap();
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{}: {file} has no {from:?}", case.name);
        fs::write(&path, text.replace(from, to)).unwrap();
    }
    folder.join(scenario)
}

/// What was printed about one scenario file.
fn section<'a>(seen: &'a str, file: &str) -> &'a str {
    let heading = |from: &str| from.find(&format!("\n{file}"));
    let Some(start) = heading(seen) else { return "" };
    let rest = &seen[start + 1..];
    let end = rest
        .match_indices("\n/")
        .map(|(at, _)| at)
        .find(|at| rest[at + 1..].lines().next().unwrap().contains(".egress"));
    &rest[..end.unwrap_or(rest.len())]
}

//! `list`, `plan`, `run --dry-run`, `--tag` and `--scenario`.

use crate::program::{root, run};
use serde_json::Value;

fn names(said: &crate::program::Said) -> Vec<String> {
    let all: Value = serde_json::from_str(&said.out).unwrap();
    all.as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn scenarios_are_listed_with_place_tags_and_title() {
    let said = run(&["list", "scenarios/cnn-mtls.egress", "scenarios/card.egress"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(
        said.out,
        "FILE                           SCENARIO                                                 TAGS        TITLE
scenarios/cnn-mtls.egress:12   edition.cnn.com: HTTPS 그대로, gateway까지는 mesh mTLS   seed,mtls   20 — Egress gateway: HTTPS over mTLS
scenarios/cnn-mtls.egress:30   15443은 mesh 인증서가 없는 클라이언트를 거절한다         seed,mtls   20 — Egress gateway: HTTPS over mTLS
scenarios/card.egress:1        card
"
    );
    let said = run(&["list", "-o", "json", "scenarios/card.egress"]);
    let want = "[
    {
        \"name\": \"card\",
        \"title\": null,
        \"file\": \"scenarios/card.egress\",
        \"line\": 1,
        \"tags\": [],
        \"steps\": 4
    }
]
";
    assert_eq!((said.code, said.out.as_str()), (0, want));
    let said = run(&["list", "-o", "yaml", "scenarios/card.egress"]);
    assert!(said.out.starts_with("- name: card\n"), "{}", said.out);
}

#[test]
fn tags_and_names_choose() {
    let list = |more: &[&str]| run(&[&["list", "-o", "json", "scenarios"], more].concat());
    let all = names(&list(&[])).len();
    let blocked = names(&list(&["--tag", "block"]));
    assert_eq!(blocked.len(), 2);
    assert_eq!(names(&list(&["--tag", "block", "--tag", "mtls"])).len(), 4);
    assert_eq!(names(&list(&["--tag", "!block"])).len(), all - 2);
    // The whole name, and a part of it in other letters.
    assert_eq!(names(&list(&["--scenario", &blocked[0]])), blocked[..1]);
    assert_eq!(names(&list(&["--scenario", "SIDECAR SCOPE"])).len(), 1);
    assert_eq!(names(&list(&["--scenario", "card"])), ["card"]);
    // What fits nothing is an error, never an empty run.
    let said = list(&["--tag", "blok"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("no scenario has the tag \"blok\"; did you mean \"block\"?"), "{}", said.err);
    let said = list(&["--scenario", "nothing so named"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("there are:\n") && said.err.contains("\n  card"), "{}", said.err);
    let said = list(&["--scenario", "card", "--tag", "block"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{}", said.err);
    let said = run(&["run", "--lab", "--tag", "nope", "scenarios/card.egress"]);
    assert_eq!(said.code, 2, "{}", said.err);
}

#[test]
fn a_dry_run_shows_the_target_and_the_steps() {
    let said = run(&["run", "--lab", "--dry-run", "scenarios/card.egress"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(
        said.out,
        "dry run: nothing is changed
target  the embedded lab (touches no cluster) (--lab)

scenarios/card.egress  card
     1  apply *cnn*.yaml
     2  exec sleep curl -sI https://edition.cnn.com/
     3  expect status 200
     4  expect listener 15443 requireClientCertificate

"
    );
    let said = run(&["run", "--lab", "--dry-run", "tests/language/no-such-folder"]);
    assert_eq!(said.code, 2, "what check refuses, a dry run refuses");
}

/// Every construct of the language, as `plan` writes it. `EGRESS_SCN_UPDATE=1` writes what is printed now: a changed
/// name is a new version of the schema.
#[test]
fn the_plan_is_a_versioned_document() {
    let said = run(&["plan", "--format", "json", "tests/tools/plan/every.egress"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let path = root().join("tests/tools/plan/every.json");
    if std::env::var_os("EGRESS_SCN_UPDATE").is_some() {
        std::fs::write(&path, &said.out).unwrap();
    }
    assert_eq!(said.out, std::fs::read_to_string(path).unwrap());
    let plan: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((plan["apiVersion"].as_str(), plan["kind"].as_str()), (Some("egress-scn/v1"), Some("Plan")));
    let yaml = run(&["plan", "tests/tools/plan/every.egress"]);
    assert_eq!(serde_yaml::from_str::<Value>(&yaml.out).unwrap(), plan);

    // The example leaves no verb and no expectation out.
    let text = std::fs::read_to_string(root().join("tests/tools/plan/every.egress")).unwrap();
    let source = std::sync::Arc::new(egress_scn::diag::Source { name: "every".into(), text });
    let parsed = egress_scn::syntax::parse(&source);
    let starts = |words: &str| parsed.statements.iter().any(|s| source.text[s.span.clone()].starts_with(words));
    for verb in egress_scn::syntax::vocabulary::VERBS {
        assert!(starts(verb.word) || verb.word == "end", "tests/tools/plan/every.egress has no `{}`", verb.word);
    }
    for (word, _) in egress_scn::syntax::vocabulary::EXPECTATIONS {
        let there = starts(&format!("expect {word}")) || starts(&format!("expect no {word}"));
        assert!(there, "tests/tools/plan/every.egress has no `expect {word}`");
    }
}

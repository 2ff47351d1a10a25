//! istiod's webhooks as an installation registers them, for `kubectl get` and istioctl. The lab's own API server calls the
//! functions behind them within a write; a kube-apiserver calls them where the lab serves them.

use super::lab_kinds;
use serde_json::{Value, json};

pub const INJECT: &str = "/inject";
pub const VALIDATE: &str = "/validate";
pub const VALIDATE_LAB: &str = "/validate-lab";
/// The groups of Istio's kinds.
const ISTIO_GROUPS: [&str; 4] =
    ["networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io"];
const INJECTION: &str = "istio-injection";
const INJECT_LABEL: &str = "sidecar.istio.io/inject";
const REVISION: &str = "istio.io/rev";

/// Both configurations. `client` gives the `clientConfig` of a path; with `of_lab` the lab's own kinds are checked too.
pub fn configurations(client: impl Fn(&str) -> Value, of_lab: bool) -> [Value; 2] {
    let webhook = |name: &str, path: &str, groups: &[&str], resources: &[&str], operations: &[&str]| {
        json!({
            "name": name,
            "clientConfig": client(path),
            "rules": [{ "apiGroups": groups, "apiVersions": ["*"], "resources": resources, "operations": operations }],
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
        })
    };
    let injection = selectors().map(|(name, namespaces, pods)| {
        let name = format!("{name}.sidecar-injector.istio.io");
        let mut webhook = webhook(&name, INJECT, &[""], &["pods"], &["CREATE"]);
        webhook["namespaceSelector"] = json!({ "matchExpressions": namespaces });
        webhook["objectSelector"] = json!({ "matchExpressions": pods });
        webhook
    });
    let mut validation = vec![webhook("validation.istio.io", VALIDATE, &ISTIO_GROUPS, &["*"], &["CREATE", "UPDATE"])];
    if of_lab {
        let name = "validation.lab.egress-scn.dev";
        validation.push(webhook(name, VALIDATE_LAB, &[lab_kinds::GROUP], &["*"], &["CREATE", "UPDATE"]));
    }
    let group = "admissionregistration.k8s.io/v1";
    [
        json!({ "apiVersion": group, "kind": "MutatingWebhookConfiguration", "webhooks": injection,
            "metadata": { "name": "istio-sidecar-injector", "labels": { "app": "sidecar-injector", "istio.io/rev": "default" } } }),
        json!({ "apiVersion": group, "kind": "ValidatingWebhookConfiguration", "webhooks": validation,
            "metadata": { "name": "istio-validator-istio-system", "labels": { "app": "istiod", "istio.io/rev": "default" } } }),
    ]
}

/// Name, namespaces and pods of each, as Istio's chart has them for the default revision. A pod is of one at most;
/// [`wanted`](super::controllers::injection::wanted) is their sum.
fn selectors() -> [(&'static str, Vec<Value>, Vec<Value>); 4] {
    let has = |key: &str, values: &[&str]| json!({ "key": key, "operator": "In", "values": values });
    let lacks = |key: &str| json!({ "key": key, "operator": "DoesNotExist" });
    let not_false = || json!({ "key": INJECT_LABEL, "operator": "NotIn", "values": ["false"] });
    let silent = || vec![lacks(INJECTION), lacks(REVISION)];
    [
        ("rev.namespace", vec![has(REVISION, &["default"]), lacks(INJECTION)], vec![not_false()]),
        ("rev.object", silent(), vec![not_false(), has(REVISION, &["default"])]),
        ("namespace", vec![has(INJECTION, &["enabled"])], vec![not_false()]),
        ("object", silent(), vec![has(INJECT_LABEL, &["true"]), lacks(REVISION)]),
    ]
}

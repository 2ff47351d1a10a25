//! What this user may do, by access reviews, and the Role that would allow what is missing.

use super::{Finding, ROOT_NAMESPACE, State, Subject};
use crate::cluster::{Cluster, Error};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use std::collections::{BTreeMap, BTreeSet};

/// A permission that scenarios need.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    /// Empty: of the whole cluster.
    namespace: String,
    group: &'static str,
    /// With its subresource: `pods/exec`.
    resource: &'static str,
    verb: &'static str,
}

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 3] = ["create", "patch", "delete"];

fn rights(subject: &Subject) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    let mut add = |namespace: &str, group, resource, verbs: &[&'static str]| {
        let namespace = namespace.to_string();
        rights.extend(verbs.iter().map(|verb| Right { namespace: namespace.clone(), group, resource, verb }));
    };
    // Without it a cluster is told from another by its address alone.
    add("", "", "namespaces", &["get"]);
    for namespace in [&subject.namespace, &subject.gateway_namespace] {
        add(namespace, "", "pods", &READ);
        add(namespace, "", "pods/log", &["get"]);
        add(namespace, "", "pods/portforward", &["create"]);
        add(namespace, "", "services", &["get"]);
        add(namespace, "apps", "deployments", &["get"]);
    }
    add(&subject.namespace, "", "pods/exec", &["create"]);
    add(&subject.namespace, "", "configmaps", &[&READ[..], &WRITE].concat());
    for resource in ["serviceentries", "gateways", "virtualservices", "destinationrules", "sidecars"] {
        add(&subject.namespace, "networking.istio.io", resource, &[&READ[..], &WRITE].concat());
    }
    // The mesh config, and istiod's log and debug port.
    add(ROOT_NAMESPACE, "", "configmaps", &["get"]);
    add(ROOT_NAMESPACE, "", "pods", &READ);
    add(ROOT_NAMESPACE, "", "pods/log", &["get"]);
    add(ROOT_NAMESPACE, "", "pods/portforward", &["create"]);
    rights
}

impl Cluster {
    pub(super) async fn look_at_access(&self, subject: &Subject) -> Vec<Finding> {
        const ABOUT: &str = "permissions";
        let rights: Vec<Right> = rights(subject).into_iter().collect();
        let answers = futures::future::join_all(rights.iter().map(|right| self.may(right))).await;
        let mut missing = vec![];
        for (right, answer) in rights.iter().zip(answers) {
            match answer {
                Ok(true) => {}
                Ok(false) => missing.push(right.clone()),
                Err(error) => return vec![Finding::unanswered(ABOUT, &error)],
            }
        }
        if missing.is_empty() {
            return vec![Finding::good(ABOUT, format!("all {} that scenarios use", rights.len()))];
        }
        let named: Vec<String> = missing.iter().map(Right::to_string).collect();
        let seen = format!("{} of {} are missing: {}", missing.len(), rights.len(), named.join(", "));
        vec![Finding { about: ABOUT, state: State::Lacking, seen, mend: vec![roles(&missing)] }]
    }

    async fn may(&self, right: &Right) -> Result<bool, Error> {
        let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
        let some = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
        let attributes = ResourceAttributes {
            namespace: some(&right.namespace),
            group: some(right.group),
            resource: some(resource),
            subresource: some(subresource),
            verb: some(right.verb),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client().clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| Error::from_kube("asking for this user's permissions", error))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let place = if self.namespace.is_empty() { String::new() } else { format!(" in {}", self.namespace) };
        write!(f, "{} {}{group}{place}", self.verb, self.resource)
    }
}

/// Roles (a ClusterRole for what is of no namespace) with what is missing, to be bound to the user by an administrator.
fn roles(missing: &[Right]) -> String {
    let mut by_namespace: BTreeMap<&str, BTreeMap<(&str, &str), BTreeSet<&str>>> = BTreeMap::new();
    for right in missing {
        let rules = by_namespace.entry(&right.namespace).or_default();
        rules.entry((right.group, right.resource)).or_default().insert(right.verb);
    }
    let mut text = String::from("kubectl apply -f - <<'EOF'\n");
    for (nth, (namespace, rules)) in by_namespace.iter().enumerate() {
        let (kind, place) = match namespace.is_empty() {
            true => ("ClusterRole", String::new()),
            false => ("Role", format!(", namespace: {namespace}")),
        };
        let separator = if nth > 0 { "---\n" } else { "" };
        text += &format!(
            "{separator}apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: egress-scn{place}}}\nrules:\n"
        );
        // Resources of a group with the same verbs share a rule.
        let mut shared: BTreeMap<(&str, Vec<&str>), Vec<&str>> = BTreeMap::new();
        for ((group, resource), verbs) in rules {
            shared.entry((group, verbs.iter().copied().collect())).or_default().push(resource);
        }
        for ((group, verbs), resources) in shared {
            text += &format!(
                "- {{apiGroups: [\"{group}\"], resources: [{}], verbs: [{}]}}\n",
                resources.join(", "),
                verbs.join(", ")
            );
        }
    }
    text += "EOF\n";
    for namespace in by_namespace.keys() {
        text += &match namespace.is_empty() {
            true => "kubectl create clusterrolebinding egress-scn --clusterrole egress-scn --user USER\n".to_string(),
            false => format!("kubectl -n {namespace} create rolebinding egress-scn --role egress-scn --user USER\n"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_role_holds_what_is_missing_and_no_more() {
        let right =
            |namespace: &str, group, resource, verb| Right { namespace: namespace.into(), group, resource, verb };
        let text = roles(&[
            right("", "", "namespaces", "get"),
            right("a", "", "pods", "list"),
            right("a", "", "pods", "get"),
            right("a", "", "pods/exec", "create"),
            right("a", "networking.istio.io", "gateways", "create"),
            right("a", "networking.istio.io", "sidecars", "create"),
        ]);
        let documents: Vec<&str> = text.split("EOF").nth(1).unwrap().trim_start_matches("'\n").split("---").collect();
        let cluster: serde_json::Value = serde_yaml::from_str(documents[0]).unwrap();
        assert_eq!(
            (&cluster["kind"], &cluster["rules"][0]["resources"][0]),
            (&"ClusterRole".into(), &"namespaces".into())
        );
        let role: serde_json::Value = serde_yaml::from_str(documents[1]).unwrap();
        assert_eq!(role["metadata"]["namespace"], "a");
        let rules = role["rules"].as_array().unwrap();
        assert_eq!(rules.len(), 3, "{rules:#?}");
        assert!(rules.iter().any(|r| r["resources"] == serde_json::json!(["gateways", "sidecars"])), "{rules:#?}");
        assert!(text.ends_with("kubectl -n a create rolebinding egress-scn --role egress-scn --user USER\n"), "{text}");
    }

    #[test]
    fn every_right_is_asked_once() {
        let subject = Subject {
            source: "sleep".into(),
            namespace: "istio-system".into(),
            gateway: "g".into(),
            gateway_namespace: "istio-system".into(),
            ports: vec![],
            sites: vec![],
        };
        // All in one namespace: the sets fall together.
        let rights = rights(&subject);
        let namespaces: BTreeSet<&str> = rights.iter().map(|right| right.namespace.as_str()).collect();
        assert_eq!(namespaces, BTreeSet::from(["", "istio-system"]));
    }
}

//! Who asks, and whether they may. A client with a certificate of the lab's CA may do everything; a ServiceAccount, by the
//! token that its pods have, what Roles and ClusterRoles that are bound to it allow (RBAC).

use super::context::Context;
use super::failure::Failure;
use super::object;
use super::request::{Request, Target};
use super::resource::Resource;
use super::review;
use http::{HeaderMap, Method, header};
use serde_json::{Value, json};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    Administrator,
    Account { namespace: String, name: String },
}

/// What is asked for, in the words of rules.
#[derive(Debug, Default)]
struct Asked<'a> {
    verb: &'a str,
    group: &'a str,
    resource: &'a str,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl Caller {
    /// `certified`: the client has shown a certificate. `None`: nobody that is known.
    pub fn of(ctx: &Context, certified: bool, headers: &HeaderMap) -> Option<Caller> {
        if certified {
            return Some(Caller::Administrator);
        }
        let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = given.split_once(' ')?;
        let (namespace, name) = review::account(ctx, token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
        Some(Caller::Account { namespace, name })
    }

    fn username(&self) -> String {
        match self {
            Caller::Administrator => "kubernetes-admin".into(),
            Caller::Account { namespace, name } => format!("system:serviceaccount:{namespace}:{name}"),
        }
    }

    /// `status.userInfo` of a SelfSubjectReview.
    pub fn user(&self) -> Value {
        match self {
            Caller::Administrator => {
                json!({ "username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"] })
            }
            Caller::Account { namespace, .. } => json!({ "username": self.username(), "groups": groups(namespace) }),
        }
    }

    /// Whether the review's question is to be answered with yes.
    pub fn may(&self, ctx: &Context, spec: &Value) -> bool {
        let attributes = object::at(spec, &["resourceAttributes"]);
        let text = |key: &str| object::text(attributes, &[key]);
        let asked = Asked {
            verb: text("verb"),
            group: text("group"),
            resource: text("resource"),
            subresource: text("subresource"),
            namespace: text("namespace"),
            name: text("name"),
        };
        *self == Caller::Administrator || (attributes.is_object() && self.allowed(ctx, &asked))
    }

    /// # Errors
    /// 403, in Kubernetes' words.
    pub fn check(&self, ctx: &Context, target: &Target, request: &Request) -> Result<(), Failure> {
        let resource = &target.resource;
        if *self == Caller::Administrator || is_about_oneself(resource) {
            return Ok(());
        }
        let named = target.name.is_some();
        let verb = match request.method {
            Method::GET if request.query.flag("watch") => "watch",
            Method::GET if named => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if named => "delete",
            Method::DELETE => "deletecollection",
            _ => "",
        };
        let asked = Asked {
            verb,
            group: &resource.group,
            resource: &resource.plural,
            subresource: target.subresource(),
            namespace: target.namespace.as_deref().unwrap_or(""),
            name: target.name.as_deref().unwrap_or(""),
        };
        if self.allowed(ctx, &asked) { Ok(()) } else { Err(self.refusal(&asked)) }
    }

    fn allowed(&self, ctx: &Context, asked: &Asked<'_>) -> bool {
        let wide = |binding: &Value| self.is_subject(binding, "");
        let cluster = ctx.store.list(&id("clusterrolebindings"));
        if cluster.iter().any(|binding| wide(binding) && role_allows(ctx, binding, asked)) {
            return true;
        }
        let bindings = ctx.store.list(&id("rolebindings"));
        let here = bindings.iter().filter(|binding| object::namespace(binding) == asked.namespace);
        let mut here = here.filter(|_| !asked.namespace.is_empty());
        here.any(|binding| self.is_subject(binding, asked.namespace) && role_allows(ctx, binding, asked))
    }

    fn is_subject(&self, binding: &Value, of_binding: &str) -> bool {
        let Caller::Account { namespace, name } = self else { return true };
        object::list(binding, &["subjects"]).iter().any(|subject| {
            let given = object::text(subject, &["name"]);
            match object::text(subject, &["kind"]) {
                "ServiceAccount" => {
                    let place = object::text(subject, &["namespace"]);
                    given == name && namespace == if place.is_empty() { of_binding } else { place }
                }
                "Group" => groups(namespace).iter().any(|group| group == given),
                "User" => given == self.username(),
                _ => false,
            }
        })
    }

    fn refusal(&self, asked: &Asked<'_>) -> Failure {
        let Asked { verb, group, resource, subresource, namespace, name } = asked;
        let full = if subresource.is_empty() { resource.to_string() } else { format!("{resource}/{subresource}") };
        let named = if name.is_empty() { full.clone() } else { format!("{full} \"{name}\"") };
        let scope = match namespace.is_empty() {
            true => "at the cluster scope".to_string(),
            false => format!("in the namespace \"{namespace}\""),
        };
        let message = format!(
            "{} is forbidden: User \"{}\" cannot {verb} resource \"{full}\" in API group \"{group}\" {scope}",
            if group.is_empty() { named } else { named.replacen(resource, &format!("{resource}.{group}"), 1) },
            self.username()
        );
        Failure { details: json!({ "kind": resource, "name": name }), ..Failure::new(403, "Forbidden", message) }
    }
}

fn id(plural: &str) -> String {
    super::resource::resource_id(GROUP, plural).to_string()
}

fn groups(namespace: &str) -> [String; 3] {
    [
        "system:serviceaccounts".to_string(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_string(),
    ]
}

/// What everybody who is known may ask (`system:basic-user`).
fn is_about_oneself(resource: &Resource) -> bool {
    resource.create_only && resource.kind.starts_with("SelfSubject")
}

/// Whether the role that a binding names has a rule for it. Of a cluster's own roles, three are known without an object.
fn role_allows(ctx: &Context, binding: &Value, asked: &Asked<'_>) -> bool {
    let name = object::text(binding, &["roleRef", "name"]);
    let (plural, namespace) = match object::text(binding, &["roleRef", "kind"]) {
        "ClusterRole" => ("clusterroles", ""),
        _ => ("roles", object::namespace(binding)),
    };
    if let Some(role) = ctx.store.get(&id(plural), namespace, name) {
        return object::list(&role, &["rules"]).iter().any(|rule| rule_allows(rule, asked));
    }
    let reads = ["get", "list", "watch"].contains(&asked.verb);
    let inner = asked.group == GROUP || (asked.resource == "secrets" && asked.group.is_empty());
    match (plural, name) {
        ("clusterroles", "cluster-admin") => true,
        ("clusterroles", "view") => reads && !inner,
        ("clusterroles", "edit" | "admin") => asked.group != GROUP || reads,
        _ => false,
    }
}

fn rule_allows(rule: &Value, asked: &Asked<'_>) -> bool {
    let has = |key: &str, wanted: &[&str]| {
        object::list(rule, &[key]).iter().filter_map(Value::as_str).any(|given| wanted.contains(&given))
    };
    let (of_all, full) = (format!("*/{}", asked.subresource), format!("{}/{}", asked.resource, asked.subresource));
    let resources = match asked.subresource {
        "" => vec!["*", asked.resource],
        _ => vec!["*", of_all.as_str(), full.as_str()],
    };
    let named = object::list(rule, &["resourceNames"]).is_empty() || has("resourceNames", &[asked.name]);
    has("verbs", &["*", asked.verb]) && has("apiGroups", &["*", asked.group]) && has("resources", &resources) && named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_means_what_it_says() {
        let rule = json!({ "verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"] });
        let asked = |verb, resource, subresource| Asked { verb, resource, subresource, ..Asked::default() };
        assert!(rule_allows(&rule, &asked("get", "pods", "")));
        assert!(rule_allows(&rule, &asked("get", "pods", "log")));
        for (verb, resource, subresource) in [("create", "pods", ""), ("get", "pods", "exec"), ("get", "secrets", "")] {
            assert!(!rule_allows(&rule, &asked(verb, resource, subresource)), "{verb} {resource} {subresource}");
        }
        let other_group = Asked { group: "apps", ..asked("get", "pods", "") };
        assert!(!rule_allows(&rule, &other_group));
        let one = json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["a"] });
        assert!(rule_allows(&one, &Asked { name: "a", ..asked("get", "pods", "") }));
        assert!(!rule_allows(&one, &asked("list", "pods", "")));
    }

    #[test]
    fn a_subject_is_an_account_its_groups_or_its_name() {
        let caller = Caller::Account { namespace: "a".into(), name: "web".into() };
        let subject = |subject: Value| caller.is_subject(&json!({ "subjects": [subject] }), "b");
        assert!(subject(json!({ "kind": "ServiceAccount", "name": "web", "namespace": "a" })));
        assert!(!subject(json!({ "kind": "ServiceAccount", "name": "web" })), "the binding's namespace is another");
        assert!(subject(json!({ "kind": "Group", "name": "system:serviceaccounts:a" })));
        assert!(!subject(json!({ "kind": "Group", "name": "system:masters" })));
        assert!(subject(json!({ "kind": "User", "name": "system:serviceaccount:a:web" })));
    }
}

//! `site`, `cut` and `kill`: objects of the lab's own group (docs/sites.md), applied through the API as any
//! other. A cluster does not know their kinds.

use super::build::Builder;
use super::step::ManifestObject;
use super::value::{self, Unfit};
use crate::diag::suggest::nearest;
use crate::syntax::{Behaviour, Statement, Word};
use serde_json::{Value, json};

/// The group and version of `Site`, `Cut` and `Kill`.
pub const LAB_GROUP: &str = "lab.egress-scn.dev/v1";

/// The container that runs Envoy beside an application, and in a gateway.
const PROXY: &str = "istio-proxy";

impl Builder<'_> {
    /// `site HOST BEHAVIOUR…`: the site as a whole; what is not said is healthy.
    pub(super) fn site(
        &mut self,
        host: &Word,
        behaviour: &[Behaviour],
        statement: &Statement,
    ) -> Option<Vec<ManifestObject>> {
        self.changed(statement);
        let host = self.value(host, outside_host)?;
        let mut spec = json!({"hosts": [host]});
        for one in behaviour {
            let Some(word) = &one.value else {
                match one.name.as_str() {
                    "down" => spec["availability"] = "Down".into(),
                    "refused" => spec["availability"] = "Refused".into(),
                    _ => spec["dns"] = false.into(),
                }
                continue;
            };
            match one.name.as_str() {
                "status" => spec["status"] = self.value(word, http_status)?.into(),
                "delay" => {
                    self.value(word, value::duration)?;
                    spec["delay"] = self.fixed(word)?.into();
                }
                "tls" => {
                    let version = self.value(word, value::tls_version)?;
                    spec["tls"]["minVersion"] = version.clone().into();
                    spec["tls"]["maxVersion"] = version.into();
                }
                "certificate" => {
                    let known = [("expired", "Expired"), ("wrong-host", "WrongHost"), ("untrusted", "Untrusted")];
                    spec["tls"]["certificate"] = self.value(word, |w| one_of(w, &known))?.into();
                }
                "client-certificate" => {
                    let known = [("optional", "Optional"), ("required", "Required")];
                    spec["tls"]["clientCertificate"] = self.value(word, |w| one_of(w, &known))?.into();
                }
                "answer" => {
                    let known = [("page", "Page"), ("httpbin", "Httpbin"), ("facts", "Facts")];
                    spec["answer"] = self.value(word, |w| one_of(w, &known))?.into();
                }
                "address" => spec["addresses"] = json!([self.fixed(word)?]),
                _ => spec["body"] = self.fixed(word)?.into(),
            }
        }
        let name = object_name(&[&host.replace('*', "any")]);
        Some(self.own_object("Site", name, spec, statement))
    }

    /// `cut A -> B [refuse]`: packets of A's pods to B vanish, or connections are refused.
    pub(super) fn cut(
        &mut self,
        from: &Word,
        to: &Word,
        refuse: bool,
        statement: &Statement,
    ) -> Option<Vec<ManifestObject>> {
        self.changed(statement);
        let from = self.workload(from)?;
        let text = self.fixed(to)?;
        let (target, port) = self.read(&text, &to.span, value::host_port)?;
        let gateway = self.gateway.clone();
        let whole = !target.contains('.') || target.contains("deploy") && target.contains('/');
        let to_place = match target.parse::<std::net::Ipv4Addr>() {
            _ if target == "dns" => json!({"dns": true}),
            Ok(_) => json!({"address": target}),
            Err(_) if target.contains('/') && !whole => json!({"address": target}),
            Err(_) if whole || target == gateway.to_string() => {
                let namespace = self.namespace.clone();
                let to = self.read(&target, &to.span, |w| value::workload(w, &namespace, Some(&gateway)))?;
                json!({"workload": to.name, "namespace": to.namespace})
            }
            Err(_) => json!({"host": self.read(&target, &to.span, outside_host)?}),
        };
        let mut spec = json!({"from": {"workload": from.name, "namespace": from.namespace}, "to": to_place});
        if let Some(port) = port {
            spec["ports"] = json!([port]);
        }
        if refuse {
            spec["effect"] = "Refuse".into();
        }
        let name = object_name(&["cut", &from.to_string(), &text]);
        Some(self.own_object("Cut", name, spec, statement))
    }

    /// `kill P [-c CONTAINER]`: ends the process once; Kubernetes starts it again.
    pub(super) fn kill(
        &mut self,
        proxy: &Word,
        container: Option<&Word>,
        statement: &Statement,
    ) -> Option<Vec<ManifestObject>> {
        self.changed(statement);
        let workload = self.workload(proxy)?;
        let container = match container {
            Some(word) => self.fixed(word)?,
            // The control plane runs no proxy.
            None if workload.name.starts_with("istiod") => String::new(),
            None => PROXY.to_string(),
        };
        let mut spec = json!({"workload": workload.name, "namespace": workload.namespace});
        if !container.is_empty() {
            spec["container"] = container.into();
        }
        // Each `kill` is an object of its own: one that is there already ends nothing more.
        let number = self.steps.len().to_string();
        let name = object_name(&["kill", &workload.to_string(), &number]);
        Some(self.own_object("Kill", name, spec, statement))
    }

    fn own_object(&self, kind: &str, name: String, spec: Value, statement: &Statement) -> Vec<ManifestObject> {
        let body = json!({"apiVersion": LAB_GROUP, "kind": kind, "metadata": {"name": name}, "spec": spec});
        vec![ManifestObject::new(body, self.place(&statement.span), vec![])]
    }
}

/// A DNS subdomain made of the words.
fn object_name(words: &[&str]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = words.join("-").chars().map(plain).take(200).collect();
    name.trim_matches('-').to_string()
}

/// A DNS name outside of the cluster, or `*.SUFFIX`.
fn outside_host(word: &str) -> Result<String, Unfit> {
    let host = word.trim_end_matches('.').to_lowercase();
    let labels = host.strip_prefix("*.").unwrap_or(&host);
    let fits = labels.contains('.') && host.len() <= 253 && labels.split('.').all(value::is_label);
    match fits {
        true => Ok(host),
        false => Err(Unfit {
            why: "not the name of an outside site".into(),
            help: Some("write its DNS name: httpbin.org, *.example.org".into()),
        }),
    }
}

fn http_status(word: &str) -> Result<u16, Unfit> {
    match word.parse::<u16>() {
        Ok(n) if (200..=599).contains(&n) => Ok(n),
        _ => Err(Unfit { why: "not a status".into(), help: Some("a site answers with 200 to 599".into()) }),
    }
}

/// What the lab calls a word of the language.
fn one_of(word: &str, known: &[(&str, &'static str)]) -> Result<&'static str, Unfit> {
    if let Some((_, meant)) = known.iter().find(|(k, _)| *k == word.to_lowercase()) {
        return Ok(meant);
    }
    let all: Vec<&str> = known.iter().map(|(k, _)| *k).collect();
    let why = match nearest(word, all.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "unknown".into(),
    };
    Err(Unfit { why, help: Some(format!("known are: {}", all.join(" "))) })
}

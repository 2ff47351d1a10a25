//! The lab's admission as webhooks, for a real kube-apiserver: sidecar injection and what istiod's validation refuses.
//! The same functions that the lab's own API server calls within a write.

use crate::api::listener::{self, Answer, Serving, Tls};
use crate::istio::validation::validate;
use crate::lab::authority::{Authority, Leaf};
use crate::lab::controllers::injection;
use crate::lab::lab_kinds;
use crate::lab::webhooks::{INJECT, VALIDATE, VALIDATE_LAB, configurations};
use base64::Engine;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

/// An AdmissionReview holds two objects of at most 3 MiB.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// Serves the webhooks and registers them. They are served until the value is dropped.
pub async fn start(client: &kube::Client, ca: &Authority) -> Result<Serving, String> {
    let failed = |error: &dyn std::fmt::Display| format!("serving the admission webhooks: {error}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| failed(&error))?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    let leaf = Leaf { common_name: Some("webhook".into()), ips: vec![Ipv4Addr::LOCALHOST.into()], ..Leaf::default() };
    let identity = ca.issue(&leaf).map_err(|error| failed(&error))?;
    let tls = Tls { chain_pem: identity.chain_pem, key_pem: identity.key_pem, client_ca_pem: ca.root_pem() };
    let asked = client.clone();
    // A kube-apiserver shows webhooks no certificate. What is answered here is nobody's secret.
    let handler: listener::Handler = Arc::new(move |request, _| Box::pin(answer(asked.clone(), request)));
    let serving = listener::serve(listener, &tls, handler).map_err(|error| failed(&error))?;
    let bundle = base64::engine::general_purpose::STANDARD.encode(ca.root_pem());
    let url = |path: &str| json!({ "url": format!("https://{address}{path}"), "caBundle": bundle });
    for configuration in configurations(url, true) {
        register(client, &configuration).await.map_err(|error| format!("registering the webhooks: {error}"))?;
    }
    Ok(serving)
}

async fn register(client: &kube::Client, configuration: &Value) -> Result<(), kube::Error> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", &text(&configuration["kind"]));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let name = text(&configuration["metadata"]["name"]);
    api.patch(&name, &PatchParams::apply("egress-scn-lab").force(), &Patch::Apply(configuration)).await.map(drop)
}

async fn answer(client: kube::Client, request: hyper::Request<Incoming>) -> Answer {
    let path = request.uri().path().to_string();
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return listener::text(400, &format!("the body could not be read: {error}")),
    };
    let review: Value = match serde_json::from_slice(&body) {
        Ok(review) => review,
        Err(error) => return listener::text(400, &format!("the body is no AdmissionReview: {error}")),
    };
    let asked = &review["request"];
    let mut response = match path.as_str() {
        INJECT => inject(&client, asked).await,
        VALIDATE => verdict(&asked["object"]),
        VALIDATE_LAB => verdict_of_lab(&asked["object"]),
        other => return listener::text(404, &format!("{other} is not served here")),
    };
    response["uid"] = asked["uid"].clone();
    listener::json(&json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response }))
}

/// The injected pod as a JSON patch.
async fn inject(client: &kube::Client, asked: &Value) -> Value {
    let before = &asked["object"];
    let namespace = asked["namespace"].as_str().unwrap_or_default();
    let namespace = match Api::<Namespace>::all(client.clone()).get(namespace).await {
        Ok(namespace) => json!(namespace),
        Err(error) => return json!({ "allowed": false, "status": { "code": 500, "message": error.to_string() } }),
    };
    let mut pod = before.clone();
    // A pod is told its namespace by the request alone.
    pod["metadata"]["namespace"] = asked["namespace"].clone();
    if !injection::wanted(&namespace, &pod) {
        return json!({ "allowed": true });
    }
    injection::inject(&mut pod);
    let patch = json_patch::diff(before, &pod);
    let patch = base64::engine::general_purpose::STANDARD.encode(json!(patch).to_string());
    json!({ "allowed": true, "patchType": "JSONPatch", "patch": patch })
}

/// What istiod's webhook says of an object; its schema is the kube-apiserver's own concern.
fn verdict(object: &Value) -> Value {
    let verdict = validate(object);
    if !verdict.message.is_empty() {
        return json!({ "allowed": false, "status": { "message": verdict.message } });
    }
    let mut response = json!({ "allowed": true });
    if !verdict.warnings.is_empty() {
        response["warnings"] = json!(verdict.warnings);
    }
    response
}

/// Whether the lab could do what an object of its own kinds asks for.
fn verdict_of_lab(object: &Value) -> Value {
    match lab_kinds::read(object["kind"].as_str().unwrap_or_default(), &object["spec"]) {
        Ok(()) => json!({ "allowed": true }),
        Err(fault) => {
            let message = format!("{}: {}", fault.field, fault.message);
            json!({ "allowed": false, "status": { "message": message } })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_istiod_refuses_is_refused_in_its_words() {
        let entry = |hosts: Value| {
            json!({ "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
                "metadata": { "name": "a", "namespace": "b" },
                "spec": { "hosts": hosts, "ports": [{ "number": 443, "name": "tls", "protocol": "TLS" }],
                    "resolution": "DNS" } })
        };
        assert_eq!(verdict(&entry(json!(["httpbin.org"])))["allowed"], true);
        let refused = verdict(&entry(json!(["*"])));
        assert_eq!(refused["allowed"], false);
        assert!(refused["status"]["message"].as_str().unwrap().contains("invalid host *"), "{refused}");
    }
}

//! Reviews: who may do what (every client with a certificate may do everything), and ServiceAccount
//! tokens.

use super::answer::{self, Answer};
use super::context::Context;
use super::failure::Failure;
use super::object;
use super::protobuf;
use super::request::{Request, Target};
use super::resource::Resource;
use super::write;
use base64::Engine;
use serde_json::{Value, json};

/// Answers a review. A body in protobuf (kubectl's `auth can-i`) is answered without reading it,
/// since the answer is the same for all.
pub fn answer(ctx: &Context, resource: &Resource, request: &Request) -> Result<Answer, Failure> {
    let mut body = match request.media_type() {
        protobuf::MEDIA_TYPE => json!({ "spec": {} }),
        _ => request.object(ctx.schema)?,
    };
    body["apiVersion"] = json!(resource.api_version(resource.storage_version()));
    body["kind"] = json!(resource.kind);
    let everything = json!([{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }]);
    body["status"] = match resource.kind.as_str() {
        "SelfSubjectRulesReview" => json!({ "resourceRules": everything,
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }], "incomplete": false }),
        "TokenReview" => token_review(object::text(&body, &["spec", "token"])),
        "SelfSubjectReview" => {
            json!({ "userInfo": { "username": "lab-user", "groups": ["system:masters", "system:authenticated"] } })
        }
        _ => json!({ "allowed": true, "reason": "every client certificate of this API server may do everything" }),
    };
    Ok(answer::json_answer(201, &body))
}

/// The payload of tokens made here: they name their ServiceAccount and are not signed. They open
/// nothing on this server, which lets in certificates only.
fn token_review(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or("");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or(Value::Null);
    let user = object::text(&claims, &["sub"]);
    if !user.starts_with("system:serviceaccount:") {
        return json!({ "authenticated": false, "error": "invalid bearer token" });
    }
    json!({ "authenticated": true, "user": { "username": user }, "audiences": claims["aud"] })
}

/// `serviceaccounts/NAME/token`.
pub fn token(ctx: &Context, target: &Target, mut body: Value) -> Result<Answer, Failure> {
    let account = write::live(&ctx.store.lock(), target)?;
    let seconds = object::number(&body, &["spec", "expirationSeconds"]).unwrap_or(3600).clamp(600, 1 << 32);
    let now = jiff::Timestamp::now();
    let until = now + jiff::SignedDuration::from_secs(seconds);
    let (namespace, name) = (object::namespace(&account), object::name(&account));
    let audiences = match object::list(&body, &["spec", "audiences"]) {
        [] => json!(["https://kubernetes.default.svc"]),
        given => json!(given),
    };
    let claims = json!({ "iss": "https://kubernetes.default.svc", "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "aud": audiences, "iat": now.as_second(), "exp": until.as_second(),
        "kubernetes.io": { "namespace": namespace, "serviceaccount": { "name": name, "uid": object::uid(&account) } } });
    let part = |v: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(v.to_string());
    let token = format!("{}.{}.", part(&json!({ "alg": "none", "typ": "JWT" })), part(&claims));
    body["apiVersion"] = json!("authentication.k8s.io/v1");
    body["kind"] = json!("TokenRequest");
    body["spec"]["expirationSeconds"] = json!(seconds);
    body["spec"]["audiences"] = audiences;
    body["status"] = json!({ "token": token, "expirationTimestamp": until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() });
    Ok(answer::json_answer(201, &body))
}

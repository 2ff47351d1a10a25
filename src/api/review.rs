//! Reviews: who may do what (every client with a certificate may do everything), and ServiceAccount
//! tokens.

use super::answer::{self, Answer};
use super::authorize::Caller;
use super::context::Context;
use super::failure::Failure;
use super::object;
use super::protobuf;
use super::request::{Request, Target};
use super::resource::{Resource, resource_id};
use super::write;
use base64::Engine;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// This server as the audience of tokens, and their issuer.
const AUDIENCE: &str = "https://kubernetes.default.svc";

/// The tokens that were given out and have not expired.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<HashMap<String, Timestamp>>);

impl Tokens {
    fn remember(&self, token: String, until: Timestamp) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, until| *until > Timestamp::now());
        known.insert(token, until);
    }

    fn knows(&self, token: &str) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(token).is_some_and(|until| *until > Timestamp::now())
    }
}

/// Answers a review. A body in protobuf (kubectl's `auth can-i`) is answered without reading it,
/// since the answer is the same for all.
pub fn answer(ctx: &Context, resource: &Resource, request: &Request, caller: &Caller) -> Result<Answer, Failure> {
    let mut body = match request.media_type() {
        protobuf::MEDIA_TYPE => request.object(ctx.schema).unwrap_or_else(|_| json!({ "spec": {} })),
        _ => request.object(ctx.schema)?,
    };
    body["apiVersion"] = json!(resource.api_version(resource.storage_version()));
    body["kind"] = json!(resource.kind);
    let everything = json!([{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }]);
    body["status"] = match resource.kind.as_str() {
        "SelfSubjectRulesReview" => json!({ "resourceRules": everything,
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }], "incomplete": false }),
        "TokenReview" => {
            let audiences = object::list(&body, &["spec", "audiences"]);
            token_review(ctx, object::text(&body, &["spec", "token"]), audiences)
        }
        "SelfSubjectReview" => json!({ "userInfo": caller.user() }),
        "SelfSubjectAccessReview" if *caller != Caller::Administrator => {
            json!({ "allowed": caller.may(ctx, object::at(&body, &["spec"])) })
        }
        _ => json!({ "allowed": true, "reason": "every client certificate of this API server may do everything" }),
    };
    Ok(answer::json_answer(201, &body))
}

/// Tokens made here name their ServiceAccount, and are known by the number in place of a signature: only those that were
/// given out are believed.
fn token_review(ctx: &Context, token: &str, audiences: &[Value]) -> Value {
    let invalid = json!({ "authenticated": false, "error": "invalid bearer token" });
    if !ctx.tokens.knows(token) {
        return invalid;
    }
    let payload = token.split('.').nth(1).unwrap_or("");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or(Value::Null);
    let of_server = [json!(AUDIENCE)];
    let asked = if audiences.is_empty() { &of_server[..] } else { audiences };
    let common: Vec<&Value> = object::list(&claims, &["aud"]).iter().filter(|a| asked.contains(a)).collect();
    if common.is_empty() {
        return json!({ "authenticated": false,
            "error": format!("token audiences {} is invalid for the target audiences {}", claims["aud"], json!(asked)) });
    }
    let account = &claims["kubernetes.io"];
    let namespace = object::text(account, &["namespace"]);
    let groups = [
        "system:serviceaccounts".to_string(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_string(),
    ];
    let user = json!({ "username": claims["sub"], "uid": account["serviceaccount"]["uid"], "groups": groups });
    json!({ "authenticated": true, "user": user, "audiences": common })
}

/// The ServiceAccount whose token for this server it is, while there is such an account: namespace and name.
pub fn account(ctx: &Context, token: &str) -> Option<(String, String)> {
    let review = token_review(ctx, token, &[]);
    let user = object::text(&review, &["user", "username"]).strip_prefix("system:serviceaccount:")?;
    let (namespace, name) = user.split_once(':')?;
    let live = ctx.store.get(&resource_id("", "serviceaccounts"), namespace, name)?;
    let same = object::uid(&live) == object::text(&review, &["user", "uid"]);
    same.then(|| (namespace.to_string(), name.to_string()))
}

/// A kubelet asks for a pod's own token with this life, and gets one that lasts a year, should the pod not ask again.
const OF_PODS: i64 = 3607;
const YEAR: i64 = 365 * 24 * 3600;

/// `serviceaccounts/NAME/token`.
pub fn token(ctx: &Context, target: &Target, mut body: Value) -> Result<Answer, Failure> {
    let account = write::live(&ctx.store.lock(), target)?;
    let seconds = object::number(&body, &["spec", "expirationSeconds"]).unwrap_or(3600).clamp(600, 1 << 32);
    let now = Timestamp::now();
    let until = now + jiff::SignedDuration::from_secs(seconds);
    let (namespace, name) = (object::namespace(&account), object::name(&account));
    let audiences = match object::list(&body, &["spec", "audiences"]) {
        [] => json!([AUDIENCE]),
        given => json!(given),
    };
    let claims = json!({ "iss": AUDIENCE, "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "aud": audiences, "iat": now.as_second(), "exp": until.as_second(),
        "kubernetes.io": { "namespace": namespace, "serviceaccount": { "name": name, "uid": object::uid(&account) } } });
    let part = |v: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(v.to_string());
    let header = part(&json!({ "alg": "none", "typ": "JWT" }));
    let token = format!("{header}.{}.{}", part(&claims), uuid::Uuid::new_v4().simple());
    let extended = seconds == OF_PODS && audiences == json!([AUDIENCE]);
    let believed = if extended { until + jiff::SignedDuration::from_secs(YEAR) } else { until };
    ctx.tokens.remember(token.clone(), believed);
    body["apiVersion"] = json!("authentication.k8s.io/v1");
    body["kind"] = json!("TokenRequest");
    body["spec"]["expirationSeconds"] = json!(seconds);
    body["spec"]["audiences"] = audiences;
    body["status"] = json!({ "token": token, "expirationTimestamp": until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() });
    Ok(answer::json_answer(201, &body))
}

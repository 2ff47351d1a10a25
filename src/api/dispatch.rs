//! From an HTTP request to its answer.

use super::answer::{self, Answer, Form};
use super::authorize::Caller;
use super::context::Context;
use super::delete::{self, DeleteOptions};
use super::failure::Failure;
use super::object;
use super::read::{self, Scope};
use super::request::{MAX_BODY, Query, Request, Target};
use super::store::Key;
use super::write::{self, WriteOptions, Written};
use super::{binding, discovery, exec, logs, openapi, patch, portforward, review, watch};
use bytes::Bytes;
use http::{Method, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use serde_json::{Value, json};
use std::sync::Arc;

/// Answers a request; every failure becomes a `Status`.
pub async fn handle<B>(ctx: Arc<Context>, request: hyper::Request<B>, known: bool) -> Answer
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(caller) = Caller::of(&ctx, known, request.headers()) else {
        return answer::failure(&Failure::unauthorized());
    };
    match answer_to(ctx, request, caller).await {
        Ok(answer) => answer,
        Err(failure) => answer::failure(&failure),
    }
}

async fn answer_to<B>(ctx: Arc<Context>, mut incoming: hyper::Request<B>, caller: Caller) -> Result<Answer, Failure>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let writing = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(incoming.method());
    // Until the answer is made; streams (a POST, of old clients) end it before.
    let writing = writing.then(|| ctx.store.writing());
    let upgrade = incoming.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut incoming));
    let (parts, body) = incoming.into_parts();
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) if upgrade.is_none() => body.to_bytes(),
        Ok(_) => Bytes::new(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let what = format!("Request entity too large: limit is {MAX_BODY}");
            return Err(Failure::new(413, "RequestEntityTooLarge", what));
        }
        Err(error) => return Err(Failure::bad_request(format!("the body could not be read: {error}"))),
    };
    let request = Request {
        method: parts.method,
        path: parts.uri.path().to_string(),
        query: Query::parse(parts.uri.query().unwrap_or("")),
        headers: parts.headers,
        body,
    };
    if let Some(answer) = discovery::answer(&ctx.registry(), &request)? {
        return Ok(answer);
    }
    if let Some(answer) = openapi::answer(&ctx, &request)? {
        return Ok(answer);
    }
    let target = Target::parse(&request.path, &ctx.registry())?;
    caller.check(&ctx, &target, &request)?;
    match target.subresource() {
        "exec" | "attach" | "portforward" | "log" => drop(writing),
        _ => {
            let answer = resource(&ctx, &target, &request, &caller)?;
            let deprecated = target.resource.kind == "Endpoints" && !target.resource.is_custom();
            let warning = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
            return Ok(if deprecated { answer::warn(answer, &[warning.into()]) } else { answer });
        }
    }
    match target.subresource() {
        "portforward" => portforward::answer(ctx, &target, &request, upgrade).await,
        "log" => logs::answer(ctx, &target, &request).await,
        _ => exec::answer(ctx, &target, &request, upgrade).await,
    }
}

fn resource(ctx: &Arc<Context>, target: &Target, request: &Request, caller: &Caller) -> Result<Answer, Failure> {
    let query = &request.query;
    let form = answer::negotiate(request.header(header::ACCEPT))?;
    let user_agent = request.header(header::USER_AGENT);
    if target.resource.create_only {
        if request.method != Method::POST {
            return Err(Failure::method_not_allowed());
        }
        return review::answer(ctx, &target.resource, request, caller);
    }
    match (&request.method, target.name.is_some()) {
        (&Method::GET, _) if query.flag("watch") => {
            let events = watch::start(ctx, target, query, form)?;
            Ok(answer::with_type(200, "application/json", answer::stream(events)))
        }
        (&Method::GET, true) => match target.subresource() {
            "binding" | "eviction" | "token" | "finalize" => Err(Failure::method_not_allowed()),
            _ => read::get(ctx, target, query, form),
        },
        (&Method::GET, false) => read::list(ctx, target, query, form),
        (&Method::POST, named) => {
            let options = WriteOptions::parse(query, user_agent)?;
            let body = request.object(ctx.schema)?;
            match target.subresource() {
                "" if !named => written(target, form, write::create(ctx, target, &options, body)?),
                "binding" => binding::bind(ctx, target, &options, &body),
                "eviction" => binding::evict(ctx, target, &body),
                "token" => review::token(ctx, target, body),
                _ => Err(Failure::method_not_allowed()),
            }
        }
        (&Method::PUT, true) => {
            let options = WriteOptions::parse(query, user_agent)?;
            let body = request.object(ctx.schema)?;
            match target.subresource() {
                "scale" => {
                    let mut state = ctx.store.lock();
                    let live = write::live(&state, target)?;
                    let done = super::scale::update(ctx, &mut state, target, &options, &live, &body)?;
                    written(target, form, done)
                }
                "" | "status" | "finalize" => written(target, form, write::replace(ctx, target, &options, body)?),
                _ => Err(Failure::method_not_allowed()),
            }
        }
        (&Method::PATCH, true) => {
            let options = WriteOptions::parse(query, user_agent)?;
            match target.subresource() {
                "ephemeralcontainers" => Err(Failure::bad_request(
                    "a pod takes no further container here: kubectl exec -it runs a command in one that it has",
                )),
                "" | "status" | "scale" => written(target, form, patch::patch(ctx, target, &options, request)?),
                _ => Err(Failure::method_not_allowed()),
            }
        }
        (&Method::DELETE, named) if target.subresource.is_none() => {
            let body = if request.body.is_empty() { None } else { Some(request.object(ctx.schema)?) };
            let options = DeleteOptions::parse(body.as_ref(), query)?;
            if named { delete_one(ctx, target, &options) } else { delete_all(ctx, target, query, &options) }
        }
        _ => Err(Failure::method_not_allowed()),
    }
}

fn written(target: &Target, form: Form, written: Written) -> Result<Answer, Failure> {
    let shown = answer::in_version(&target.resource, &target.version, &written.object);
    let status = if written.created { 201 } else { 200 };
    let answer = match form {
        Form::Metadata => answer::json_answer(status, &answer::metadata_only(&shown)),
        _ => answer::json_answer(status, &shown),
    };
    Ok(answer::warn(answer, &written.warnings))
}

fn delete_one(ctx: &Context, target: &Target, options: &DeleteOptions) -> Result<Answer, Failure> {
    let deleted = delete::delete(ctx, target, options)?;
    let resource = &target.resource;
    let shown = answer::in_version(resource, &target.version, &deleted.object);
    if !deleted.gone || ["Pod", "Service", "ServiceAccount"].contains(&resource.kind.as_str()) {
        return Ok(answer::json_answer(200, &shown));
    }
    let mut details = json!({ "name": object::name(&shown), "kind": resource.plural, "uid": object::uid(&shown) });
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
    }
    let status =
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
    Ok(answer::json_answer(200, &status))
}

fn delete_all(ctx: &Context, target: &Target, query: &Query, options: &DeleteOptions) -> Result<Answer, Failure> {
    let scope = Scope::parse(target, query)?;
    let resource = &target.resource;
    let mut state = ctx.store.lock();
    let chosen: Vec<Arc<Value>> =
        state.objects(&resource.id, scope.namespace.as_deref()).filter(|o| scope.holds(o)).cloned().collect();
    let mut items = Vec::new();
    for object in chosen {
        let (namespace, name) = (object::namespace(&object).to_string(), object::name(&object).to_string());
        let key = Key { resource: resource.id.clone(), namespace, name };
        // One of them may have gone with its owner meanwhile: that is what was asked for.
        match delete::delete_key(ctx, &mut state, &key, options) {
            Ok(deleted) => items.push(answer::in_version(resource, &target.version, &deleted.object).into_owned()),
            Err(failure) if failure.code == 404 => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(answer::json_answer(
        200,
        &json!({
            "kind": format!("{}List", resource.kind),
            "apiVersion": resource.api_version(&target.version),
            "metadata": { "resourceVersion": state.revision().to_string() },
            "items": items,
        }),
    ))
}

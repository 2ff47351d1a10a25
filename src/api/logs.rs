//! `pods/NAME/log`.

use super::answer::{self, Answer};
use super::context::Context;
use super::failure::Failure;
use super::kubelet::LogRequest;
use super::object;
use super::pod;
use super::request::{Query, Request, Target};
use http::Method;
use std::sync::Arc;

pub async fn answer(ctx: Arc<Context>, target: &Target, request: &Request) -> Result<Answer, Failure> {
    if request.method != Method::GET {
        return Err(Failure::method_not_allowed());
    }
    let query = &request.query;
    let found = super::write::live(&ctx.store.lock(), target)?;
    let container = pod::container(&found, query.get("container"))?;
    pod::of(&ctx, target)?;
    let wanted = LogRequest {
        namespace: object::namespace(&found).into(),
        pod: object::name(&found).into(),
        container: Some(container),
        ..options(query)?
    };
    let lines = ctx.kubelet.logs(wanted).await.map_err(|r| refused(&r))?;
    Ok(answer::with_type(200, "text/plain", answer::stream(lines)))
}

/// What of a log is wanted, without whose it is.
pub fn options(query: &Query) -> Result<LogRequest, Failure> {
    let wanted = LogRequest {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines: query.number("tailLines")?,
        limit_bytes: query.number("limitBytes")?,
        since_seconds: query.number("sinceSeconds")?,
        since_time: query.get("sinceTime").map(str::to_string),
        ..LogRequest::default()
    };
    if wanted.since_seconds.is_some() && wanted.since_time.is_some() {
        return Err(Failure::bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    if wanted.since_time.as_deref().is_some_and(|t| t.parse::<jiff::Timestamp>().is_err()) {
        return Err(Failure::bad_request("sinceTime must be an RFC 3339 time"));
    }
    Ok(wanted)
}

/// A node's refusal, as the API server passes it on.
pub fn refused(refusal: &super::kubelet::Refusal) -> Failure {
    let reason = match refusal.status {
        400 => "BadRequest",
        404 => "NotFound",
        _ => "InternalError",
    };
    Failure::new(refusal.status, reason, refusal.message.clone())
}

//! HTTP answers: JSON bodies, streams, and the form (object, table, metadata) a client accepts.

use super::failure::Failure;
use super::resource::Resource;
use bytes::Bytes;
use futures::stream::{Stream, StreamExt};
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::convert::Infallible;

pub type Body = UnsyncBoxBody<Bytes, Infallible>;
pub type Answer = Response<Body>;

/// The form of objects in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Object,
    Table,
    Metadata,
}

/// Reads `Accept`: the first form that is served wins.
pub fn negotiate(accept: &str) -> Result<Form, Failure> {
    if accept.trim().is_empty() {
        return Ok(Form::Object);
    }
    for part in accept.split(',') {
        let mut words = part.split(';').map(str::trim);
        let media = words.next().unwrap_or("");
        if !["application/json", "*/*", "application/*", "application/yaml"].contains(&media) {
            continue;
        }
        let (mut form, mut served) = (Form::Object, true);
        for word in words {
            match word {
                "as=Table" => form = Form::Table,
                "as=PartialObjectMetadata" | "as=PartialObjectMetadataList" => form = Form::Metadata,
                "v=v1" | "g=meta.k8s.io" => {}
                w if w.starts_with("q=") || w.starts_with("charset=") => {}
                "stream=watch" => {}
                _ => served = false,
            }
        }
        if served {
            return Ok(form);
        }
    }
    let what = "only the following media types are accepted: application/json, application/yaml, \
                application/json;as=Table;v=v1;g=meta.k8s.io, application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    Err(Failure::new(406, "NotAcceptable", what))
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

pub fn stream(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)))).boxed_unsync()
}

/// An answer with any body; `status` is a valid HTTP status.
pub fn with_type(status: u16, content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer
}

pub fn text(body: impl Into<Bytes>) -> Answer {
    with_type(200, "text/plain; charset=utf-8", full(body))
}

pub fn json_answer(status: u16, value: &Value) -> Answer {
    with_type(status, "application/json", full(bytes(value)))
}

pub fn failure(failure: &Failure) -> Answer {
    if failure.is_no_page() {
        return with_type(404, "text/plain; charset=utf-8", full(format!("{}\n", failure.message)));
    }
    json_answer(failure.code, &failure.status())
}

/// A JSON line. Values always serialise; if one did not, an empty object would be sent.
pub fn bytes(value: &Value) -> Vec<u8> {
    let mut out = serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec());
    out.push(b'\n');
    out
}

/// Adds `Warning` headers: what kubectl prints as `Warning: ...`.
pub fn warn(mut answer: Answer, warnings: &[String]) -> Answer {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
        if let Ok(value) = header::HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            answer.headers_mut().append(header::WARNING, value);
        }
    }
    answer
}

/// The object in the version asked for.
pub fn in_version<'a>(resource: &Resource, version: &str, object: &'a Value) -> Cow<'a, Value> {
    if version == resource.storage_version() || object["kind"] != json!(resource.kind) {
        return Cow::Borrowed(object);
    }
    let mut copy = object.clone();
    copy["apiVersion"] = json!(resource.api_version(version));
    Cow::Owned(copy)
}

/// An object reduced to its metadata.
pub fn metadata_only(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_served_form_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(negotiate(table), Ok(Form::Table));
        assert_eq!(negotiate("application/vnd.kubernetes.protobuf,application/json"), Ok(Form::Object));
        assert_eq!(negotiate("application/json, */*"), Ok(Form::Object));
        assert_eq!(negotiate("application/vnd.kubernetes.protobuf").unwrap_err().code, 406);
    }
}

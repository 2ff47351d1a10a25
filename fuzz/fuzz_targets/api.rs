//! What the lab's API reads of a request: its path, query, selectors, body and patches; and a SPDY client's frames. All of it
//! is read or refused.
#![no_main]

use bytes::Bytes;
use egress_scn::api::merge::{json_merge, strategic_merge};
use egress_scn::api::request::{Query, Request, Target, percent_decode};
use egress_scn::api::resource::Registry;
use egress_scn::api::selector::{FieldSelector, LabelSelector};
use egress_scn::api::{inflate, spdy, structural, validate};
use egress_scn::kubernetes::schema::Schema;
use http::{HeaderMap, HeaderValue, Method, header};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use std::sync::LazyLock;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::builtin);

// Lines: the path with its query, a header's value, and all the rest is the body.
fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let line = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let kind = parts.next().unwrap_or_default();
    let body = parts.next().unwrap_or_default();
    let (path, query) = line.split_once('?').unwrap_or((&line, ""));
    percent_decode(path);
    let query = Query::parse(query);
    for key in ["limit", "resourceVersion", "timeoutSeconds", "gracePeriodSeconds"] {
        let _ = query.number(key);
    }
    query.flag("watch");
    let target = Target::parse(path, &REGISTRY);
    if let Err(refused) = &target {
        assert!(matches!(refused.code, 400..=499), "{refused:?}");
    }
    for text in query.all("labelSelector").chain([line.as_str()]) {
        if let Ok(selector) = LabelSelector::parse(text) {
            selector.matches(json!({"app": "sleep"}).as_object());
        }
    }
    for text in query.all("fieldSelector") {
        if let Ok(selector) = FieldSelector::parse(text, "Pod", false) {
            selector.matches(&json!({"metadata": {"name": "a"}}));
        }
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(kind) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    let body = Bytes::copy_from_slice(body);
    let request = Request { method: Method::POST, path: path.into(), query, headers, body: body.clone() };
    let schema = Schema::builtin();
    let patch = request.json();
    if let Ok(object) = request.object(schema) {
        if let Ok(target) = &target {
            validate::object(&target.resource, None, &object);
        }
        LabelSelector::from_object(&object["spec"]["selector"]);
        structural::check(&object, &json!({"a": {"b": [1, "c"]}}));
        structural::check(&json!({"type": "object", "properties": {"spec": {"type": "object"}}}), &object);
        if let Ok(patch) = &patch {
            let mut merged = object.clone();
            json_merge(&mut merged, patch);
            let mut merged = object.clone();
            let _ = strategic_merge(schema, &schema.kind("", "v1", "Pod"), &mut merged, patch);
        }
    }
    let mut frames = spdy::Reader::default();
    frames.feed(&body);
    while let Ok(Some(_)) = frames.next() {}
    let _ = inflate::Inflater::new(b"").part(&body, 1 << 16);
});

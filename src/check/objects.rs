//! Documents → Kubernetes objects: a kind, a name, a place.

use super::yaml::{self, Document, YamlError};
use crate::diag::{Diagnostic, Place};
use crate::plan::ManifestObject;
use serde_json::Value;
use std::ops::Range;

/// The objects of a text. `whole` is where it stands; `place` turns a range of it into a place.
pub fn read(
    text: &str,
    whole: &Place,
    place: &dyn Fn(Range<usize>) -> Place,
) -> Result<Vec<ManifestObject>, Vec<Diagnostic>> {
    let documents =
        yaml::read(text).map_err(|errors| errors.into_iter().map(|e| yaml_error(e, place)).collect::<Vec<_>>())?;
    let mut out = vec![];
    let mut errors = vec![];
    for document in documents {
        objects(document, place, &mut out, &mut errors);
    }
    if out.is_empty() && errors.is_empty() {
        let start = Place { source: whole.source.clone(), span: whole.span.start..whole.span.start };
        errors.push(Diagnostic::error("E0307", "no object stands here").at(start, "nothing to apply"));
    }
    if errors.is_empty() { Ok(out) } else { Err(errors) }
}

/// The one document of a text.
pub fn document(text: &str, whole: &Place, place: &dyn Fn(Range<usize>) -> Place) -> Result<Value, Vec<Diagnostic>> {
    let mut documents =
        yaml::read(text).map_err(|errors| errors.into_iter().map(|e| yaml_error(e, place)).collect::<Vec<_>>())?;
    if documents.len() == 1 {
        return Ok(documents.remove(0).value);
    }
    let title = if documents.is_empty() { "nothing stands here" } else { "one document stands here" };
    let d = Diagnostic::error("E0307", title).at(whole.clone(), format!("{} documents", documents.len()));
    Err(vec![d])
}

pub(super) fn yaml_error(e: YamlError, place: &dyn Fn(Range<usize>) -> Place) -> Diagnostic {
    let mut d = Diagnostic::error(e.code, e.title).at(place(e.span), e.label);
    if let Some((span, label)) = e.other {
        d = d.at(place(span), label);
    }
    d.help.extend(e.help);
    d
}

pub(super) fn objects(
    document: Document,
    place: &dyn Fn(Range<usize>) -> Place,
    out: &mut Vec<ManifestObject>,
    errors: &mut Vec<Diagnostic>,
) {
    let kind = document.value.get("kind").and_then(Value::as_str).unwrap_or("");
    let items = document.value.get("items").and_then(Value::as_array);
    if let (true, Some(items)) = (kind.ends_with("List"), items) {
        for (index, item) in items.iter().enumerate() {
            let root = format!("/items/{index}");
            let spans: Vec<_> = document
                .spans
                .iter()
                .filter_map(|(p, s)| {
                    p.strip_prefix(&root)
                        .filter(|r| r.is_empty() || r.starts_with('/'))
                        .map(|r| (r.to_string(), s.clone()))
                })
                .collect();
            let start = spans.iter().map(|(_, s)| s.start).min().unwrap_or(document.span.start);
            let end = spans.iter().map(|(_, s)| s.end).max().unwrap_or(document.span.end);
            object(item.clone(), start..end, spans, place, out, errors);
        }
        return;
    }
    object(document.value, document.span, document.spans, place, out, errors);
}

/// A field that every object has: perhaps misspelt, perhaps behind a comment that JSON does not know.
fn missing(body: &Value, field: &str, at: &dyn Fn(&str) -> Place) -> Diagnostic {
    let d = Diagnostic::error("E0307", format!("the object has no `{field}`"));
    let keys: Vec<&str> = body.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    if let Some(near) = crate::diag::suggest::nearest(field, keys.iter().copied()) {
        return d.at(at(&format!("/{near}")), format!("did you mean `{field}`?"));
    }
    if let Some(comment) = keys.iter().find(|k| k.trim_start().starts_with("//")) {
        let pointer = format!("/{}", comment.replace('~', "~0").replace('/', "~1"));
        return d.at(at(&pointer), "JSON has no comments").help("remove it, or write the manifest as YAML with `#`");
    }
    d.at(at(""), "this object")
}

fn object(
    body: Value,
    span: Range<usize>,
    spans: Vec<(String, Range<usize>)>,
    place: &dyn Fn(Range<usize>) -> Place,
    out: &mut Vec<ManifestObject>,
    errors: &mut Vec<Diagnostic>,
) {
    let at = |pointer: &str| {
        let exact = spans.iter().find(|(p, _)| p == pointer).map(|(_, s)| s.clone());
        place(exact.unwrap_or_else(|| spans.first().map_or(span.clone(), |(_, s)| s.clone())))
    };
    let before = errors.len();
    let refuse = |pointer: &str, title: &str, label: &str| {
        Diagnostic::error("E0307", title.to_string()).at(at(pointer), label.to_string())
    };
    if !body.is_object() {
        errors.push(refuse("", "a manifest is a map with apiVersion, kind and metadata", "not a map"));
        return;
    }
    for field in ["apiVersion", "kind"] {
        match body.get(field) {
            Some(Value::String(s)) if !s.is_empty() => {}
            Some(_) => errors.push(refuse(&format!("/{field}"), &format!("`{field}` is a word"), "not a word")),
            None => errors.push(missing(&body, field, &at)),
        }
    }
    match body.pointer("/metadata/name") {
        Some(Value::String(s)) if !s.is_empty() => {}
        Some(_) => errors
            .push(refuse("/metadata/name", "`metadata.name` is a word", "not a word").help("put quotes around it")),
        None if body.pointer("/metadata/generateName").is_some() => errors.push(refuse(
            "/metadata/generateName",
            "an object whose name is generated cannot be undone",
            "give it a `name`",
        )),
        None => errors.push(refuse("/metadata", "the object has no `metadata.name`", "this object")),
    }
    if let Some(namespace) = body.pointer("/metadata/namespace")
        && !namespace.is_string()
    {
        errors.push(refuse("/metadata/namespace", "`metadata.namespace` is a word", "not a word"));
    }
    if errors.len() > before {
        return;
    }
    // Spans of a heredoc are mapped to the scenario once, here.
    let spans = spans.into_iter().map(|(p, s)| (p, place(s).span)).collect();
    out.push(ManifestObject::new(body, place(span), spans));
}

//! A value of a wrong type, in words that say what to write.

use super::place;
use crate::diag::Diagnostic;
use crate::plan::ManifestObject;
use serde_json::Value;

/// What a field wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Text,
    Number,
    Whole,
    Boolean,
    List,
    Map,
    Other,
}

/// Kubernetes' decoder names Go's types.
pub fn of_go(name: &str) -> Wanted {
    match name {
        "string" | "[]uint8" | "time.Time" => Wanted::Text,
        "int32" => Wanted::Number,
        "bool" => Wanted::Boolean,
        "[]" => Wanted::List,
        "resource.Quantity" | "intstr.IntOrString" => Wanted::Other,
        _ => Wanted::Map,
    }
}

/// Resource definitions name OpenAPI's.
pub fn of_openapi(name: &str) -> Wanted {
    match name {
        "string" => Wanted::Text,
        "integer" => Wanted::Whole,
        "number" => Wanted::Number,
        "boolean" => Wanted::Boolean,
        "array" => Wanted::List,
        "object" => Wanted::Map,
        _ => Wanted::Other,
    }
}

pub fn wrong_type(object: &ManifestObject, pointer: &str, wanted: Wanted) -> Diagnostic {
    let value = object.body.pointer(pointer).unwrap_or(&Value::Null);
    let place = place::of_value(object, pointer);
    let written = place.source.text.get(place.span.clone()).unwrap_or("");
    let want = match wanted {
        Wanted::Text => "text",
        Wanted::Number => "a number",
        Wanted::Whole => "a whole number",
        Wanted::Boolean => "true or false",
        Wanted::List => "a list",
        Wanted::Map => "a map",
        Wanted::Other => "a number or text",
    };
    let is = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    let title = format!("`{}` is {want}, and {is} stands there", place::path(pointer));
    let (_, name) = place::split(pointer);
    let label = match (wanted, value) {
        (Wanted::Text, Value::Object(_)) if name == "matchLabels" => {
            "this selector holds its labels directly: remove `matchLabels:`, and indent them less".to_string()
        }
        (_, Value::Null) => "give it a value, or remove it".to_string(),
        (Wanted::Text, Value::Bool(b))
            if !written.eq_ignore_ascii_case("true") && !written.eq_ignore_ascii_case("false") =>
        {
            format!("YAML reads this word as {b}: put quotes around it")
        }
        (Wanted::Text, Value::Bool(_) | Value::Number(_)) => "put quotes around it".to_string(),
        (Wanted::Number | Wanted::Whole, Value::String(text)) if text.trim().parse::<f64>().is_ok() => {
            "remove the quotes".to_string()
        }
        (Wanted::Boolean, Value::String(text)) if matches!(text.as_str(), "true" | "false") => {
            "remove the quotes".to_string()
        }
        (Wanted::List, Value::String(text)) if text.starts_with(['-', '－', '–', '—', '•', '·']) && text.len() > 1 =>
        {
            let item = text.trim_start_matches(['-', '－', '–', '—', '•', '·']).trim_start();
            match text.starts_with('-') {
                true => format!("a blank is missing behind `-`: write `- {item}`"),
                false => format!("not an ordinary `-`: write `- {item}`"),
            }
        }
        (Wanted::List, Value::Object(_)) => "write a `-` before each item below".to_string(),
        (Wanted::List, _) if !written.is_empty() && written.len() < 60 && !written.contains('\n') => {
            format!("write `[{written}]`, or `- {written}` on a line of its own")
        }
        (Wanted::List, _) => "write each item on a line of its own, behind a `-`".to_string(),
        (Wanted::Map, Value::Array(_)) => "remove the `-` below it".to_string(),
        (Wanted::Map, _) => format!("write its fields below `{name}:`, indented"),
        _ => format!("write {want}"),
    };
    Diagnostic::error("E0312", title).at(place, label)
}

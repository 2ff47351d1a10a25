//! Tables: the rows and columns `kubectl get` prints.

use super::columns;
use super::object;
use super::request::Query;
use super::resource::{Column, Resource};
use serde_json::{Map, Value, json};

/// The `Table` of some objects. Rows carry their objects as the query's `includeObject` says.
pub fn of(resource: &Resource, objects: &[&Value], metadata: Value, query: &Query, header: bool) -> Value {
    let now = jiff::Timestamp::now();
    let definitions: Vec<Value>;
    let cells: Vec<Vec<Value>>;
    match &resource.columns {
        Some(custom) => {
            (definitions, cells) = custom_columns(custom, objects, now);
        }
        None => {
            let kind = columns::of(&resource.kind);
            definitions = kind.headers.iter().map(|c| definition(c.name, c.kind, c.wide, "")).collect();
            cells = objects.iter().map(|o| (kind.cells)(o, now)).collect();
        }
    }
    let include = query.get("includeObject").unwrap_or("Metadata");
    let rows: Vec<Value> = objects
        .iter()
        .zip(cells)
        .map(|(object, cells)| {
            let mut row = json!({ "cells": cells });
            match include {
                "Object" => row["object"] = (*object).clone(),
                "None" => {}
                _ => row["object"] = super::answer::metadata_only(object),
            }
            row
        })
        .collect();
    let mut table = json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata });
    if header {
        table["columnDefinitions"] = Value::Array(definitions);
    }
    table["rows"] = Value::Array(rows);
    table
}

fn definition(name: &str, kind: &str, wide: bool, description: &str) -> Value {
    let format = if name == "Name" { "name" } else { "" };
    json!({ "name": name, "type": kind, "format": format, "description": description, "priority": i64::from(wide) })
}

fn custom_columns(columns: &[Column], objects: &[&Value], now: jiff::Timestamp) -> (Vec<Value>, Vec<Vec<Value>>) {
    let mut definitions = vec![definition("Name", "string", false, "Name must be unique within a namespace.")];
    let age = [Column::new("Age", "date", ".metadata.creationTimestamp", "")];
    let columns = if columns.is_empty() { &age[..] } else { columns };
    for column in columns {
        let mut entry = definition(&column.name, &column.kind, false, &column.description);
        entry["priority"] = json!(column.priority);
        definitions.push(entry);
    }
    let rows = objects.iter().map(|object| {
        let mut cells = vec![json!(object::name(object))];
        cells.extend(columns.iter().map(|c| cell(object, c, now)));
        cells
    });
    let rows = rows.collect();
    (definitions, rows)
}

fn cell(object: &Value, column: &Column, now: jiff::Timestamp) -> Value {
    let found = json_path(object, &column.json_path);
    let Some(first) = found.first() else { return Value::Null };
    match column.kind.as_str() {
        "date" => first.as_str().map_or(Value::Null, |time| json!(columns::age(time, now))),
        "integer" | "number" | "boolean" => (*first).clone(),
        _ => match first {
            Value::String(text) => json!(text),
            Value::Null => Value::Null,
            other => json!(other.to_string()),
        },
    }
}

/// The simple JSONPath of printer columns: `.a.b`, `.a[0].b`, `.a[?(@.type=="Ready")].status`, `.a[*].b`.
fn json_path<'v>(object: &'v Value, path: &str) -> Vec<&'v Value> {
    let mut found = vec![object];
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let Some(end) = after.find(']') else { return Vec::new() };
            let inside = &after[..end];
            rest = &after[end + 1..];
            found = found.into_iter().flat_map(|v| bracket(v, inside)).collect();
        } else {
            let name = rest.trim_start_matches('.');
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let key = name[..end].replace("\\", "");
            rest = &name[end..];
            if key.is_empty() && rest.is_empty() {
                break;
            }
            found = found.into_iter().filter_map(|v| v.get(&key)).collect();
        }
    }
    found
}

fn bracket<'v>(value: &'v Value, inside: &str) -> Vec<&'v Value> {
    let items: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        other => other.as_object().into_iter().flat_map(Map::values).collect(),
    };
    if inside == "*" {
        return items;
    }
    if let Ok(index) = inside.parse::<usize>() {
        return items.get(index).copied().into_iter().collect();
    }
    let Some(test) = inside.strip_prefix("?(@.").and_then(|t| t.strip_suffix(')')) else {
        return value.get(inside.trim_matches(['\'', '"'])).into_iter().collect();
    };
    let Some((field, wanted)) = test.split_once("==") else { return Vec::new() };
    let wanted = wanted.trim().trim_matches(['\'', '"']);
    items.into_iter().filter(|i| object::text(i, &[field.trim()]) == wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printer_columns_follow_their_paths() {
        let object = json!({ "spec": { "hosts": ["a", "b"] }, "status": { "conditions": [
            { "type": "X", "status": "0" }, { "type": "Ready", "status": "True" }] } });
        assert_eq!(json_path(&object, ".spec.hosts"), [&json!(["a", "b"])]);
        assert_eq!(json_path(&object, ".spec.hosts[1]"), [&json!("b")]);
        assert_eq!(json_path(&object, ".status.conditions[?(@.type==\"Ready\")].status"), [&json!("True")]);
        assert!(json_path(&object, ".spec.none.deeper").is_empty());
        let column = Column::new("Hosts", "string", ".spec.hosts", "");
        assert_eq!(cell(&object, &column, jiff::Timestamp::now()), json!("[\"a\",\"b\"]"));
    }
}

//! Changes to ordered lists, such as the filters of a chain.

use super::{Operation, Patch};
use serde_json::{Map, Value};

/// Adds, inserts, replaces or removes elements. `specific`: the patch names the element that `found` tells.
/// Without one, inserting is adding at the end or at the start. Tells whether something changed.
pub fn edit(list: &mut Vec<Value>, patch: &Patch, specific: bool, found: impl Fn(&Value) -> bool) -> bool {
    let value = || patch.value.clone();
    let place = || if specific { list.iter().position(&found) } else { None };
    match (patch.operation, specific) {
        (Operation::Add, _) | (Operation::InsertAfter, false) => list.push(value()),
        (Operation::InsertFirst, _) | (Operation::InsertBefore, false) => list.insert(0, value()),
        (Operation::InsertAfter, true) => match place() {
            Some(at) => list.insert(at + 1, value()),
            None => return false,
        },
        (Operation::InsertBefore, true) => match place() {
            Some(at) => list.insert(at, value()),
            None => return false,
        },
        (Operation::Replace, true) => match place() {
            Some(at) => list[at] = value(),
            None => return false,
        },
        (Operation::Remove, true) => {
            let before = list.len();
            list.retain(|element| !found(element));
            return list.len() != before;
        }
        (Operation::Replace | Operation::Remove, false) | (Operation::Merge, _) => return false,
    }
    true
}

/// Takes a list out of a message; empty when there is none.
pub fn take(message: &mut Value, key: &str) -> Vec<Value> {
    match message.get_mut(key).map(Value::take) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// Puts a list back; an empty one is left out.
pub fn give(message: &mut Value, key: &str, list: Vec<Value>) {
    if let Some(fields) = message.as_object_mut() {
        if list.is_empty() {
            fields.shift_remove(key);
        } else {
            fields.insert(key.to_owned(), Value::Array(list));
        }
    }
}

/// Merges a filter into a filter: the name replaced, the typed config merged when it is of the same type.
pub fn merge_filter(target: &mut Value, from: &Value, rename: bool) -> bool {
    if !target["typedConfig"].is_object() {
        return false;
    }
    merge_any(&mut target["typedConfig"], &from["typedConfig"]);
    if let (true, Some(name), Some(fields)) = (rename, from["name"].as_str(), target.as_object_mut()) {
        fields.insert("name".to_owned(), Value::from(name));
    }
    true
}

/// Merges an `Any` into an `Any` of the same type.
pub fn merge_any(target: &mut Value, from: &Value) {
    let kind = target["@type"].as_str().unwrap_or("").to_owned();
    if !from.is_object() || from["@type"].as_str() != Some(kind.as_str()) {
        return;
    }
    let plain: Map<String, Value> = from
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(k, _)| *k != "@type")
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    super::schema::merge(kind.rsplit('/').next().unwrap_or(""), target, &Value::Object(plain));
}

//! JSON merge patches (RFC 7386) and Kubernetes' strategic merge patches.

use super::failure::Failure;
use super::schema::{Schema, Struct, Type};
use serde_json::{Map, Value};

/// RFC 7386: maps are merged, null removes, all else replaces.
pub fn json_merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.shift_remove(key);
        } else {
            json_merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// A strategic merge: lists with merge keys are merged by them, directives (`$patch`,
/// `$setElementOrder/…`, `$deleteFromPrimitiveList/…`, `$retainKeys`) are followed.
pub fn strategic_merge(schema: &Schema, ty: &Type, target: &mut Value, patch: &Value) -> Result<(), Failure> {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let mut replacement = patch.clone();
            replacement.shift_remove("$patch");
            *target = Value::Object(replacement);
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(Failure::bad_request(format!("Unknown patch type found: {other}"))),
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return Ok(()) };
    if let Some(keep) = patch.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|key, _| keep.iter().any(|k| k == key));
    }
    let fields = struct_of(schema, ty);
    for (key, value) in patch {
        if key == "$patch" || key == "$retainKeys" || key.starts_with("$setElementOrder/") {
            continue;
        }
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let Some(Value::Array(list)) = map.get_mut(field) {
                let gone = value.as_array().cloned().unwrap_or_default();
                list.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if value.is_null() {
            map.shift_remove(key);
            continue;
        }
        let field = field_type(schema, fields, ty, key);
        match (field, value) {
            (Type::Keyed(keys, item), Value::Array(items)) => {
                let slot = map.entry(key.clone()).or_insert_with(|| Value::Array(Vec::new()));
                if !slot.is_array() {
                    *slot = Value::Array(Vec::new());
                }
                if let Value::Array(list) = slot {
                    let before = list.clone();
                    // Strategic merge patches know one key a list: the first.
                    merge_list(schema, &keys[0], item, list, items)?;
                    let order = patch.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array);
                    sort_by_order(list, order.unwrap_or(items), &before, Some(&keys[0]));
                }
            }
            (Type::Set(_), Value::Array(items)) => {
                let slot = map.entry(key.clone()).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = slot {
                    let before = list.clone();
                    for item in items {
                        if !list.contains(item) {
                            list.push(item.clone());
                        }
                    }
                    let order = patch.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array);
                    sort_by_order(list, order.unwrap_or(items), &before, None);
                }
            }
            (field, Value::Object(_)) => {
                strategic_merge(schema, field, map.entry(key.clone()).or_insert(Value::Null), value)?;
            }
            _ => {
                map.insert(key.clone(), value.clone());
            }
        }
    }
    // An order without changes of the list itself still orders it.
    for (key, value) in patch {
        let Some(field) = key.strip_prefix("$setElementOrder/") else { continue };
        if patch.contains_key(field) {
            continue;
        }
        if let (Some(Value::Array(list)), Some(order)) = (map.get_mut(field), value.as_array()) {
            let merge_key = match field_type(schema, fields, ty, field) {
                Type::Keyed(keys, _) => Some(keys[0].as_str()),
                _ => None,
            };
            let before = list.clone();
            sort_by_order(list, order, &before, merge_key);
        }
    }
    Ok(())
}

fn struct_of<'s>(schema: &'s Schema, ty: &Type) -> Option<&'s Struct> {
    match ty {
        Type::Named(name) => schema.named(name),
        _ => None,
    }
}

fn field_type<'s>(schema: &'s Schema, fields: Option<&'s Struct>, ty: &'s Type, key: &str) -> &'s Type {
    match fields {
        Some(s) => schema.field(s, key),
        None => schema.item(ty),
    }
}

fn merge_list(
    schema: &Schema,
    merge_key: &str,
    item_type: &Type,
    list: &mut Vec<Value>,
    patches: &[Value],
) -> Result<(), Failure> {
    if patches.iter().any(|p| p.get("$patch").and_then(Value::as_str) == Some("replace") && p.get(merge_key).is_none())
    {
        *list = patches.iter().filter(|p| p.get("$patch").is_none()).cloned().collect();
        return Ok(());
    }
    for patch in patches {
        let Some(id) = patch.get(merge_key) else {
            let what = format!("map: {patch} does not contain declared merge key: {merge_key}");
            return Err(Failure::bad_request(what));
        };
        let found = list.iter().position(|item| item.get(merge_key) == Some(id));
        match (patch.get("$patch").and_then(Value::as_str), found) {
            (Some("delete"), Some(i)) => {
                list.remove(i);
            }
            (Some("delete"), None) => {}
            (_, Some(i)) => strategic_merge(schema, item_type, &mut list[i], patch)?,
            (_, None) => {
                let mut item = Value::Null;
                strategic_merge(schema, item_type, &mut item, patch)?;
                list.push(item);
            }
        }
    }
    Ok(())
}

/// Orders a merged list: the items of `order` in its order, and each other one before the first of these that it
/// stood before in `before`.
fn sort_by_order(list: &mut Vec<Value>, order: &[Value], before: &[Value], merge_key: Option<&str>) {
    let same = |a: &Value, b: &Value| match merge_key {
        Some(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        None => a == b,
    };
    let place = |among: &[Value], item: &Value| among.iter().position(|other| same(other, item));
    let mut named = Vec::new();
    let mut others = Vec::new();
    for item in list.drain(..) {
        match place(order, &item) {
            Some(rank) => named.push((rank, item)),
            None => others.push(item),
        }
    }
    named.sort_by_key(|(rank, _)| *rank);
    others.sort_by_key(|item| place(before, item));
    let (mut named, mut others) = (named.into_iter().map(|(_, item)| item).peekable(), others.into_iter().peekable());
    loop {
        let other_first = match (named.peek(), others.peek()) {
            (Some(named), Some(other)) => {
                matches!((place(before, other), place(before, named)), (Some(other), Some(named)) if other < named)
            }
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let Some(item) = (if other_first { others.next() } else { named.next() }) else { return };
        list.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(kind: &str, group: &str, mut target: Value, patch: Value) -> Value {
        let schema = Schema::builtin();
        strategic_merge(schema, &schema.kind(group, "v1", kind), &mut target, &patch).unwrap();
        target
    }

    #[test]
    fn containers_merge_by_name() {
        let live = json!({ "spec": { "containers": [{ "name": "a", "image": "x" }, { "name": "b", "image": "y" }] } });
        let patch =
            json!({ "spec": { "containers": [{ "name": "b", "image": "z" }, { "name": "a", "$patch": "delete" }] } });
        let wanted = json!({ "spec": { "containers": [{ "name": "b", "image": "z" }] } });
        assert_eq!(merged("Pod", "", live, patch), wanted);
    }

    #[test]
    fn null_removes_and_order_is_set() {
        let live = json!({ "metadata": { "labels": { "a": "1", "b": "2" } },
            "spec": { "ports": [{ "port": 80 }, { "port": 443 }] } });
        let patch = json!({ "metadata": { "labels": { "a": null } },
            "spec": { "$setElementOrder/ports": [{ "port": 443 }, { "port": 80 }], "ports": [{ "port": 80, "name": "http" }] } });
        let wanted = json!({ "metadata": { "labels": { "b": "2" } },
            "spec": { "ports": [{ "port": 443 }, { "port": 80, "name": "http" }] } });
        assert_eq!(merged("Service", "", live, patch), wanted);
    }

    #[test]
    fn merge_patch_replaces_lists() {
        let mut live = json!({ "a": [1, 2], "b": { "c": 1, "d": 2 } });
        json_merge(&mut live, &json!({ "a": [3], "b": { "c": null } }));
        assert_eq!(live, json!({ "a": [3], "b": { "d": 2 } }));
    }
}
